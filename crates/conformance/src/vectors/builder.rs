//! The running kernel's window: layouts, the descriptors of vectors, and what the window shows.
//!
//! Only for a process that was forked for one vector: nothing is put back. All memory is in the
//! arena ([`sys::ARENA`]), where no Rust object lives.

use super::layout::{Anon, Page, Run, runs};
use super::userfault;
use super::words::{WINDOW, WINDOW_PAGES};
use crate::fixture::files::{self, Access, Filled};
use crate::sys::{self, PAGE};
use rustix::fd::{AsRawFd, IntoRawFd};
use rustix::fs::{Mode, OFlags, SealFlags};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::path::Path;

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const MADV_GUARD_INSTALL: i32 = 102;

/// The descriptors that vectors name, and where files on a disk may lie.
pub(super) struct Desk<'d> {
    pub(super) memfd: i32,
    pub(super) rdonly: i32,
    pub(super) sealed: i32,
    pub(super) dir: Option<&'d Path>,
}

/// What cannot be built here, for a person.
pub(super) type Cannot = String;

pub(super) fn step<T>(what: &str, result: Result<T, Errno>) -> Result<T, Cannot> {
    result.map_err(|errno| format!("{what}: {errno}"))
}

impl<'d> Desk<'d> {
    pub(super) fn open(dir: Option<&'d Path>) -> Result<Self, Cannot> {
        let memfd = step("memfd", files::memfd(WINDOW_PAGES, Filled::Full))?;
        let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
        let rdonly = step("memfd", rustix::fs::open(path, OFlags::RDONLY, Mode::empty()))?;
        let sealed = step("memfd", files::memfd(WINDOW_PAGES, Filled::Full))?;
        step("F_ADD_SEALS", rustix::fs::fcntl_add_seals(&sealed, SealFlags::WRITE))?;
        let [memfd, rdonly, sealed] = [memfd, rdonly, sealed].map(IntoRawFd::into_raw_fd);
        Ok(Self { memfd, rdonly, sealed, dir })
    }
}

/// Builds the window.
pub(super) fn build(layout: &str, desk: &Desk<'_>) -> Result<(), Cannot> {
    let runs = runs(layout)?;
    for run in &runs {
        map(run, desk)?;
    }
    for run in &runs {
        finish(run)?;
    }
    Ok(())
}

fn start(run: &Run) -> (u64, u64) {
    (WINDOW + run.first * PAGE, run.pages * PAGE)
}

fn map(run: &Run, desk: &Desk<'_>) -> Result<(), Cannot> {
    let (anon, shared) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::MAP_SHARED);
    let (prot, flags, fd) = match run.page {
        Page::Anon(Anon::ReadOnlyFresh) => (libc::PROT_READ, anon, -1),
        Page::Anon(Anon::NoneFresh) => (libc::PROT_NONE, anon, -1),
        Page::Anon(Anon::GrowsDown) => (RW, anon | libc::MAP_GROWSDOWN, -1),
        Page::Anon(_) => (RW, anon, -1),
        Page::Shared => (RW, shared | libc::MAP_ANONYMOUS, -1),
        Page::FilePrivate => (RW, libc::MAP_PRIVATE, full()?),
        Page::FileShared => (RW, shared, full()?),
        Page::FileReadOnly => (libc::PROT_READ, shared, desk.rdonly),
        Page::PastEnd => {
            let fd = step("memfd", files::memfd(0, Filled::Hole))?;
            (RW, shared, fd.into_raw_fd())
        }
        Page::Disk => {
            let dir = desk.dir.ok_or("no directory here has direct I/O and nameless files")?;
            let fd = step("a file on a disk", files::file(dir, run.pages, Access::ReadWrite))?;
            (RW, shared, fd)
        }
        Page::Secret => {
            let fd = step("memfd_secret is switched off", sys::memfd_secret())?;
            step("ftruncate", truncate(fd, run.pages * PAGE))?;
            (RW, shared, fd)
        }
    };
    let (at, bytes) = start(run);
    step("mmap", sys::map(at, bytes, prot, flags, fd)).map(drop)
}

fn truncate(fd: i32, bytes: u64) -> Result<(), Errno> {
    let bytes = i64::try_from(bytes).map_err(|_| Errno::INVAL)?;
    // SAFETY: `fd` was just opened and is never closed in this process.
    sys::check(unsafe { libc::ftruncate(fd, bytes) }.into()).map(drop)
}

fn full() -> Result<i32, Cannot> {
    step("memfd", files::memfd(WINDOW_PAGES, Filled::Full)).map(IntoRawFd::into_raw_fd)
}

fn finish(run: &Run) -> Result<(), Cannot> {
    let Page::Anon(anon) = run.page else { return Ok(()) };
    let (at, bytes) = start(run);
    if is_written(anon) {
        for n in 0..run.pages {
            step("a store", sys::store(at + n * PAGE, 0x41))?;
        }
    }
    match anon {
        Anon::Fresh | Anon::Written | Anon::ReadOnlyFresh | Anon::NoneFresh | Anon::GrowsDown => {
            Ok(())
        }
        Anon::Read => {
            (0..run.pages).try_for_each(|n| step("a load", sys::load(at + n * PAGE)).map(drop))
        }
        Anon::ReadOnlyWritten => step("mprotect", sys::protect(at, bytes, libc::PROT_READ)),
        Anon::NoneWritten => step("mprotect", sys::protect(at, bytes, libc::PROT_NONE)),
        Anon::ExecuteOnly => step("mprotect", sys::protect(at, bytes, libc::PROT_EXEC)),
        Anon::Guarded => {
            step("MADV_GUARD_INSTALL (Linux 6.13)", sys::advise(at, bytes, MADV_GUARD_INSTALL))
        }
        Anon::Locked => {
            // SAFETY: locking changes no byte and no permission.
            let locked = unsafe { sys::call(libc::SYS_mlock, [at, bytes, 0, 0, 0, 0]) };
            step("mlock", locked).map(drop)
        }
        Anon::Sealed => step("mseal (Linux 6.10)", sys::seal(at, bytes)),
        Anon::SealedReadOnly => {
            step("mprotect", sys::protect(at, bytes, libc::PROT_READ))?;
            step("mseal (Linux 6.10)", sys::seal(at, bytes))
        }
        Anon::UffdMissing => userfault::watch(at, bytes, userfault::MISSING),
        Anon::UffdProtected => {
            userfault::watch(at, bytes, userfault::WP)?;
            step("UFFDIO_WRITEPROTECT", userfault::write_protect(at, bytes, 1))
        }
    }
}

/// Whether the recipe stores to every page.
pub(super) fn is_written(anon: Anon) -> bool {
    match anon {
        Anon::Written
        | Anon::ReadOnlyWritten
        | Anon::NoneWritten
        | Anon::ExecuteOnly
        | Anon::Guarded
        | Anon::GrowsDown
        | Anon::Locked
        | Anon::Sealed
        | Anon::SealedReadOnly
        | Anon::UffdProtected => true,
        Anon::Fresh | Anon::Read | Anon::ReadOnlyFresh | Anon::NoneFresh | Anon::UffdMissing => {
            false
        }
    }
}

/// What the window shows.
pub(super) fn after() -> Result<String, Cannot> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").map_err(|error| error.to_string())?;
    let mut tokens = vec![".".to_owned(); WINDOW_PAGES as usize];
    let mut head = None;
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags: ") {
            let Some((start, end, perms)) = head.take() else { continue };
            let locked = if flags.split(' ').any(|flag| flag == "lo") { "l" } else { "" };
            for (n, token) in (0..).zip(&mut tokens) {
                if (start..end).contains(&(WINDOW + n * PAGE)) {
                    *token = format!("{perms}{locked}");
                }
            }
        } else if let Some(found) = parse_head(line) {
            head = Some(found);
        }
    }
    let mut words = [0_u8; 8 * WINDOW_PAGES as usize];
    let pagemap = step("/proc/self/pagemap", open("/proc/self/pagemap"))?;
    step("pagemap", rustix::io::pread(&pagemap, &mut words, WINDOW / PAGE * 8))?;
    for (token, word) in tokens.iter_mut().zip(words.chunks_exact(8)) {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let _ = write!(token, "{}", presence(word));
    }
    Ok(tokens.join(" "))
}

fn open(path: &str) -> Result<rustix::fd::OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn presence(word: u64) -> &'static str {
    const GUARD: u64 = 1 << 58;
    const SWAPPED: u64 = 1 << 62;
    const PRESENT: u64 = 1 << 63;
    match (word & GUARD, word & (SWAPPED | PRESENT)) {
        (0, 0) => "",
        (0, _) => "+",
        _ => "g",
    }
}

/// `start-end perms …`.
fn parse_head(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some((hex(start)?, hex(end)?, words.next()?))
}
