//! Collecting: reads from `/proc` what a bundle has.
//!
//! Words of pagemap are read only where `PAGEMAP_SCAN` finds pages, so that a reservation of
//! terabytes costs its areas. The areas are read before and after the pages, and must be the same.

use crate::bundle::kept::{Bundle, Run};
use crate::error::MirrorError;
use crate::kernel::PROBES;
use crate::proc::backing::Backing;
use crate::proc::hugepages::HugePages;
use crate::proc::kernel::KernelVersion;
use crate::proc::kpage::Kpages;
use crate::proc::maps::{self, Area};
use crate::proc::mounts::Mounts;
use crate::proc::pagemap::PagemapWord;
use crate::proc::{pagemap, scan, thp, uffd};
use crate::process::Process;
use crate::range::ByteRange;
use crate::window::Window;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Files of `/proc/PID` that are kept as they are.
const OF_PROCESS: [&str; 5] = ["status", "limits", "uid_map", "cgroup", "coredump_filter"];

/// Files of the machine that are kept as they are.
const OF_MACHINE: [&str; 3] = ["/proc/zoneinfo", "/proc/meminfo", thp::FILE];

/// Bits of pagemap's words that are kept: all but soft-dirty, by which runs would fall apart.
const WORD_BITS: u64 = !(1 << 55);

/// Flags of frames that are kept: anonymous, hugetlb, poisoned, merged, transparent huge, zero
/// page, exclusive, with data of the file system. The others change all the time, or tell sizes of
/// folios, which are kept apart.
const FLAG_BITS: u64 =
    1 << 12 | 1 << 17 | 1 << 19 | 1 << 21 | 1 << 22 | 1 << 24 | 1 << 34 | 1 << 35;

/// Bytes of a block that a huge page maps.
const BLOCK: u64 = 1 << 21;

/// Pages that are looked at in one piece.
const PIECE: u64 = 1 << 18;

/// How many readings may disagree before the collecting is given up.
const TRIES: u32 = 4;

/// Which pages are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of every area.
    Everything,
    /// Those of one range.
    Range(ByteRange),
}

impl Wanted {
    /// First address, and the one after the last page: whole blocks of 2 MiB, since what a fault
    /// does may depend on what else is in one.
    fn bounds(self) -> (u64, u64) {
        match self {
            Self::Everything => (0, u64::MAX),
            Self::Range(range) => {
                let first = range.first_page();
                let end = first.saturating_add(range.pages().saturating_mul(4096));
                (first & !(BLOCK - 1), end.checked_next_multiple_of(BLOCK).unwrap_or(end))
            }
        }
    }
}

/// Collects what a verdict about `wanted` of `process` rests on.
///
/// # Errors
/// As [`Window::read`].
pub fn collect(process: &Process, wanted: Wanted) -> Result<Bundle, MirrorError> {
    let (start, end) = wanted.bounds();
    for _ in 0..TRIES {
        let areas = maps::around(process, 0, u64::MAX)?;
        let Seen { runs, folios, .. } = Seen::of(process, &areas, start, end)?;
        let scanned = scan::occupied(process, 0, 4096)?.is_some();
        let bundle = Bundle {
            pid: process.pid(),
            release: KernelVersion::running().release,
            looked_at: (start, end),
            files: files(process, &areas),
            backings: backings(process, &areas),
            userfaultfd: uffd::features(process).map(uffd::Features::bits),
            huge_pages: HugePages::now(),
            scanned,
            last_byte: last_byte(process, wanted)?,
            runs,
            folios,
        };
        if maps::around(process, 0, u64::MAX)? == areas {
            return Ok(bundle);
        }
    }
    Err(MirrorError::Raced { pid: process.pid(), start, tries: TRIES })
}

fn files(process: &Process, areas: &[Area]) -> BTreeMap<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let of_process = OF_PROCESS.iter().filter_map(|&name| {
        let bytes = process.read_file(name).ok()?;
        Some((name.to_owned(), text(bytes)))
    });
    let of_machine = OF_MACHINE.iter().filter_map(|&path| {
        let bytes = process.read_machine_file(path)?;
        Some((path.to_owned(), bytes))
    });
    let mounts = process.read_file("mountinfo").unwrap_or_default();
    let own = [
        ("cma".to_owned(), process.cma_ranges()),
        ("smaps".to_owned(), smaps(areas)),
        (PROBES.to_owned(), process.facts().probes()),
        ("mountinfo".to_owned(), mounts_of(&text(mounts), areas)),
    ];
    of_process.chain(of_machine).chain(own).collect()
}

/// The lines of smaps that a mirror reads: areas, and their kernel flags.
fn smaps(areas: &[Area]) -> String {
    let mut text = String::new();
    for area in areas {
        let Area { start, end, perms, offset, dev: (major, minor), inode, name, flags } = area;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{start:x}-{end:x} {perms} {offset:08x} {major:02x}:{minor:02x} {inode} {name}"
        );
        if let Some(flags) = flags {
            let _ = writeln!(text, "VmFlags: {flags}");
        }
    }
    text
}

/// The lines of mountinfo whose file systems some area maps.
fn mounts_of(mountinfo: &str, areas: &[Area]) -> String {
    let wanted = |line: &&str| {
        let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
        let dev = (major.parse().ok()?, minor.parse().ok()?);
        areas.iter().any(|area| area.dev == dev).then_some(())
    };
    let lines = mountinfo.lines().filter(|line| wanted(line).is_some());
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn backings(process: &Process, areas: &[Area]) -> BTreeMap<u64, Backing> {
    let mounts = process.read_file("mountinfo").unwrap_or_default();
    let mounts = Mounts::parse(&String::from_utf8_lossy(&mounts));
    let of = |area: &Area| (area.start, Backing::of(process, area, &mounts));
    areas.iter().map(of).collect()
}

/// Where the last byte of a range is, and whether it is 0, as [`Window::look_at_the_end`] sees it.
fn last_byte(process: &Process, wanted: Wanted) -> Result<Option<(u64, bool)>, MirrorError> {
    let Wanted::Range(range) = wanted else { return Ok(None) };
    let last = range.first_page().saturating_add((range.pages() - 1).saturating_mul(4096));
    let mut window = Window::read(process, last, 1)?;
    window.look_at_the_end(process);
    Ok(window.last_byte.map(|byte| (last.saturating_add(4095), byte == 0)))
}

/// Pages that are not absent.
struct Seen<'a> {
    process: &'a Process,
    kpages: Option<Kpages>,
    runs: Vec<Run>,
    folios: BTreeMap<u64, u64>,
}

impl<'a> Seen<'a> {
    /// Those of `areas` in `[start, end)`.
    fn of(process: &'a Process, areas: &[Area], start: u64, end: u64) -> Result<Self, MirrorError> {
        let (runs, folios) = (Vec::new(), BTreeMap::new());
        let mut seen = Self { process, kpages: process.kpages(), runs, folios };
        for area in areas.iter().filter(|area| is_user(area.start)) {
            let (mut from, to) = (area.start.max(start), area.end.min(end));
            while from < to {
                let next = to.min(from.saturating_add(PIECE << 12));
                let found = scan::occupied(process, from, next)?;
                for piece in found.unwrap_or_else(|| vec![(from, next)]) {
                    seen.add(piece)?;
                }
                from = next;
            }
        }
        Ok(seen)
    }

    /// Adds the pages in `[from, to)`.
    fn add(&mut self, (from, to): (u64, u64)) -> Result<(), MirrorError> {
        let count = usize::try_from((to - from) >> 12).unwrap_or(0);
        let words = pagemap::words(self.process, from, count)?;
        let categories = scan::categories(self.process, from, count)?;
        for (index, word) in words.into_iter().enumerate() {
            let at = from + ((index as u64) << 12);
            let categories = categories.as_ref().and_then(|all| all.get(index)).map(|c| c.bits());
            let word = PagemapWord(word.without_slot().0 & WORD_BITS);
            if word.0 == 0 {
                continue;
            }
            let (flags, mapped) = self.frame(word);
            let run = Run { at, pages: 1, word: word.0, step: 0, categories, flags, mapped };
            Run::push(&mut self.runs, run);
        }
        Ok(())
    }

    /// Flags and map count of a page's frame; keeps its folio.
    fn frame(&mut self, word: PagemapWord) -> (Option<u64>, Option<u64>) {
        let Some((pfn, kpages)) = word.pfn().zip(self.kpages.as_ref()) else { return (None, None) };
        let flags = kpages.flags(pfn);
        let large = flags.is_some_and(|flags| flags.compound_head() || flags.compound_tail());
        let before = self.folios.range(..=pfn).next_back();
        let known = before.is_some_and(|(head, pages)| pfn - head < *pages);
        if large
            && !known
            && let Some(folio) = kpages.folio(pfn)
        {
            self.folios.insert(folio.head, folio.pages);
        }
        (flags.map(|flags| flags.0 & FLAG_BITS), kpages.mapcount(pfn))
    }
}

/// Whether pagemap has words for the page at `addr`: the vsyscall page has none.
const fn is_user(addr: u64) -> bool {
    addr >> 63 == 0
}
