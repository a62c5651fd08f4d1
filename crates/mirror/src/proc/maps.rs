//! `/proc/PID/maps` and `/proc/PID/smaps`: the areas of an address space.
//!
//! An *area* is one VMA as Linux publishes it: `[start, end)`, permissions, file, name. smaps adds
//! the `VmFlags`; it is read as a stream and left as soon as the asked range is past, since the
//! kernel walks page tables for every area that it prints.
//! Linux: `fs/proc/task_mmu.c`.

use crate::error::MirrorError;
use crate::proc::vmflags::VmFlagNames;
use crate::process::Process;
use rustix::io::Errno;
use std::fmt;

/// The four permission letters of an area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Perms([u8; 4]);

impl Perms {
    /// Readable (`r`).
    pub const fn read(self) -> bool {
        self.0[0] == b'r'
    }
    /// Writable (`w`).
    pub const fn write(self) -> bool {
        self.0[1] == b'w'
    }
    /// Executable (`x`).
    pub const fn exec(self) -> bool {
        self.0[2] == b'x'
    }
    /// Shared: may be shared with other processes (`s`, else `p`).
    pub const fn shared(self) -> bool {
        self.0[3] == b's'
    }
}

impl fmt::Display for Perms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&letter| write!(f, "{}", letter as char))
    }
}

/// One area of an address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// First byte address.
    pub start: u64,
    /// First byte address after it.
    pub end: u64,
    /// Permission letters.
    pub perms: Perms,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Device of the file, major and minor.
    pub dev: (u32, u32),
    /// Inode of the file; 0 if there is none.
    pub inode: u64,
    /// Path, or a name in brackets; empty for plain anonymous memory.
    pub name: String,
    /// Kernel flags; `None` when only maps was read, or smaps had no such line.
    pub flags: Option<VmFlagNames>,
}

impl Area {
    /// Whether `addr` lies in this area.
    pub const fn contains(&self, addr: u64) -> bool {
        self.start <= addr && addr < self.end
    }

    /// Reads one line of maps, or the first line of an area in smaps.
    pub fn parse(line: &str) -> Option<Self> {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let mut words = rest.splitn(4, ' ');
        let perms: [u8; 4] = words.next()?.as_bytes().try_into().ok()?;
        let offset = u64::from_str_radix(words.next()?, 16).ok()?;
        let (major, minor) = words.next()?.split_once(':')?;
        let tail = words.next()?;
        let (inode, name) = tail.split_once(' ').unwrap_or((tail, ""));
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            perms: Perms(perms),
            offset,
            dev: (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
            inode: inode.trim().parse().ok()?,
            name: name.trim_start().to_owned(),
            flags: None,
        })
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x} {}", self.start, self.end, self.perms)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "  {}", self.name) }
    }
}

/// Every area of `process`, in address order, without kernel flags.
///
/// # Errors
/// As [`Process::read_file`]; [`MirrorError::Malformed`] for a line that is not an area.
pub fn all(process: &Process) -> Result<Vec<Area>, MirrorError> {
    if process.bundle().is_some() {
        return around(process, 0, u64::MAX);
    }
    let text = process.read_file("maps")?;
    let text = String::from_utf8_lossy(&text);
    text.lines().map(|line| Area::parse(line).ok_or_else(|| malformed(process, line))).collect()
}

/// The areas that overlap `[start, end)`, with kernel flags, and the nearest one on each side.
///
/// # Errors
/// As [`all`].
pub fn around(process: &Process, start: u64, end: u64) -> Result<Vec<Area>, MirrorError> {
    Ok(surveyed(process, start, end)?.areas)
}

/// The same areas, and whether entries of theirs may map huge pages. Linux looks at every page of
/// the process to answer this.
///
/// # Errors
/// As [`all`].
pub(crate) fn surveyed(process: &Process, start: u64, end: u64) -> Result<Around, MirrorError> {
    let around = Around { start, end, areas: Vec::new(), huge: Huge::No, done: false };
    read_around(process, "smaps", around)
}

/// The same areas without kernel flags, for which Linux looks at no page.
///
/// # Errors
/// As [`all`].
pub(crate) fn listed(process: &Process, start: u64, end: u64) -> Result<Vec<Area>, MirrorError> {
    let around = Around { start, end, areas: Vec::new(), huge: Huge::No, done: false };
    let mut areas = read_around(process, "maps", around)?.areas;
    for area in &mut areas {
        area.flags = None;
    }
    Ok(areas)
}

fn read_around(process: &Process, name: &str, mut around: Around) -> Result<Around, MirrorError> {
    if let Some(text) = process.bundle().and_then(|bundle| bundle.file("smaps")) {
        for line in text.lines() {
            around.line(line).ok_or_else(|| malformed(process, line))?;
        }
        return Ok(around);
    }
    let fd = process.open_file(name)?;
    let mut chunk = vec![0_u8; 16 * 1024];
    let mut pending = Vec::new();
    while !around.done {
        let n = match rustix::io::read(&fd, &mut chunk) {
            Ok(n) => n,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(process.error(name, errno)),
        };
        if n == 0 {
            break;
        }
        pending.extend_from_slice(&chunk[..n]);
        let whole = pending.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        for line in String::from_utf8_lossy(&pending[..whole]).lines() {
            around.line(line).ok_or_else(|| malformed(process, line))?;
        }
        pending.drain(..whole);
    }
    Ok(around)
}

fn malformed(process: &Process, line: &str) -> MirrorError {
    let tried = format!("/proc/{}/maps", process.pid());
    MirrorError::Malformed { pid: process.pid(), tried, line: line.to_owned() }
}

/// Whether entries may map huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Huge {
    /// None was counted.
    No,
    /// Some do.
    Some,
}

/// Keeps the areas around one range while smaps goes by.
pub(crate) struct Around {
    start: u64,
    end: u64,
    /// The areas.
    pub(crate) areas: Vec<Area>,
    /// Whether entries of theirs may map huge pages.
    pub(crate) huge: Huge,
    done: bool,
}

impl Around {
    /// Takes one line; `None` if it is neither an area nor a `Key: value`.
    fn line(&mut self, line: &str) -> Option<()> {
        if self.done {
            return Some(());
        }
        if !line.starts_with(|first: char| first.is_ascii_uppercase()) {
            self.area(Area::parse(line)?);
        } else if let Some(words) = line.strip_prefix("VmFlags:")
            && let Some(area) = self.areas.last_mut()
        {
            let flags = VmFlagNames::parse(words);
            if flags.has("ht") {
                self.huge = Huge::Some;
            }
            area.flags = Some(flags);
        } else if let Some((_, kib)) =
            line.split_once("HugePages:").or(line.split_once("PmdMapped:"))
            && kib.trim() != "0 kB"
        {
            self.huge = Huge::Some;
        }
        Some(())
    }

    fn area(&mut self, area: Area) {
        if self.areas.last().is_some_and(|last| last.start >= self.end) {
            self.done = true;
            return;
        }
        if self.areas.len() == 1 && area.end <= self.start {
            self.areas.clear();
        }
        self.areas.push(area);
    }
}

#[cfg(test)]
mod tests {
    use super::{Area, Around, Huge};

    #[test]
    fn a_line_of_maps_keeps_a_path_with_spaces() {
        let line = "7f00-8f00 rw-s 00001000 fe:0a 77   /tmp/a b (deleted)";
        let area = Area::parse(line).unwrap();
        assert_eq!((area.start, area.end, area.offset), (0x7f00, 0x8f00, 0x1000));
        assert_eq!((area.dev, area.inode), ((0xfe, 0x0a), 77));
        assert_eq!(area.name, "/tmp/a b (deleted)");
        assert!(area.perms.read() && area.perms.write() && area.perms.shared());
        assert!(!area.perms.exec());
    }

    #[test]
    fn an_anonymous_line_has_no_name() {
        let area = Area::parse("1000-2000 r--p 00000000 00:00 0 ").unwrap();
        assert_eq!(area.name, "");
        assert_eq!(Area::parse("1000 r--p"), None);
    }

    #[test]
    fn the_neighbours_of_a_range_are_kept_and_no_more() {
        let mut around =
            Around { start: 0x4000, end: 0x5000, areas: vec![], huge: Huge::No, done: false };
        for at in (0x1000_u64..0xa000).step_by(0x1000) {
            around.line(&format!("{at:x}-{:x} r--p 0 00:00 0", at + 0x800)).unwrap();
            around.line("Rss: 0 kB").unwrap();
            around.line("VmFlags: rd mr").unwrap();
        }
        let starts: Vec<u64> = around.areas.iter().map(|a| a.start).collect();
        assert_eq!(starts, [0x3000, 0x4000, 0x5000]);
        assert!(around.done && around.areas.iter().all(|a| a.flags.is_some()));
    }
}
