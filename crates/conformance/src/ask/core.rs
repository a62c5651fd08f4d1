//! A core dump: a child that shares the process's address space dies by a signal, and the file that
//! the kernel wrote is read.
//!
//! The kernel asks for each page of each area that it dumps and leaves a hole in the file where it
//! gets none, so the file says page by page what was got. The process itself lives on (since Linux
//! 5.16 only the dying one's threads are killed). The machine's pattern for names of core files is
//! left as it is: where it is no plain name, nothing can be asked. Which areas are dumped is the
//! process's own choice (`/proc/PID/coredump_filter`).
//!
//! Linux: fs/coredump.c `dump_user_range`, `vma_dump_size`; `fs/binfmt_elf.c`.

use crate::ask::answer::{Answer, Asked};
use crate::fixture::subject::Range;
use crate::sys::{self, PAGE};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Dumps the core of this process and reads off which pages of `range` it has.
pub(super) fn ask(range: Range) -> Asked {
    let dumped = || {
        let folder = Folder::new()?;
        dump_into(&folder.path()).map_err(|errno| no_dump(errno).to_owned())?;
        folder.read(range)
    };
    match dumped() {
        Ok(answer) => Asked::Answer(answer),
        Err(why) => Asked::Cannot(why),
    }
}

/// Why [`dump_into`] made no dump, for a person.
pub(crate) fn no_dump(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => "a process dumped no core (RLIMIT_CORE, or the file system)",
        _ => "no child can be made that shares the address space",
    }
}

/// A directory that is gone, with what is in it, when this value is.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// In memory if there is such a place: a dump has many pages.
    ///
    /// # Errors
    /// Why no core can be dumped into it: the machine's pattern, or no directory can be made.
    pub(crate) fn new() -> Result<Self, String> {
        let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
        let pattern = pattern.trim();
        if pattern.is_empty() || pattern.starts_with(['|', '@']) || pattern.contains('/') {
            let why = "a core dump goes elsewhere than to a file of the process";
            return Err(format!("{why} (kernel.core_pattern is {pattern:?})"));
        }
        Self::made().map_err(|error| format!("no directory for a core dump: {error}"))
    }

    fn made() -> std::io::Result<Self> {
        let shm = PathBuf::from("/dev/shm");
        let places = [shm, std::env::temp_dir()];
        let name = format!("gup-core-{}-{:?}", std::process::id(), std::thread::current().id());
        let name = name.replace(['(', ')'], "");
        let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
        for place in places {
            let path = place.join(&name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Its path, as C has it.
    pub(crate) fn path(&self) -> CString {
        // A path that was made from one has no zero byte.
        CString::new(self.0.as_os_str().as_encoded_bytes()).unwrap_or_default()
    }

    /// Which pages of `range` the dump in this directory has.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub(crate) fn read(&self, range: Range) -> Result<Answer, String> {
        let entry = std::fs::read_dir(&self.0).ok().and_then(|mut entries| entries.next()?.ok());
        let path = entry.ok_or("the kernel wrote no core dump")?.path();
        let core = File::open(path).map_err(|error| format!("core dump: {error}"))?;
        let segments = segments(&core).ok_or("the core dump is no ELF file of 64 bits")?;
        // The file ends with a byte that is written in any case, so that it has its length.
        let end = core.metadata().map_or(0, |file| file.len());
        let last = |addr| place(&segments, addr).is_some_and(|at| at + PAGE == end);
        let pages = || range.each_page().map(|addr| addr & !(PAGE - 1));
        if pages().any(last) {
            return Err("the last page of a core dump is written even where it is a hole".into());
        }
        let got = |addr| in_dump(&core, &segments, addr).then_some(()).ok_or(Errno::FAULT);
        Ok(Answer::per_page(pages().map(got)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays; nobody can be told.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A part of memory that the file has.
#[derive(Clone, Copy, Debug)]
struct Segment {
    addr: u64,
    offset: u64,
    bytes: u64,
}

/// The loadable segments of a core file.
fn segments(core: &File) -> Option<Vec<Segment>> {
    const LOAD: u32 = 1;
    const ENTRY: u64 = 56;
    let mut head = [0_u8; 64];
    core.read_exact_at(&mut head, 0).ok()?;
    if head[..5] != *b"\x7fELF\x02" {
        return None;
    }
    let count = u16::from_le_bytes([head[56], head[57]]);
    let table = word(&head, 32)?;
    let mut segments = Vec::new();
    for n in 0..u64::from(count) {
        let mut entry = [0_u8; ENTRY as usize];
        core.read_exact_at(&mut entry, table.checked_add(n * ENTRY)?).ok()?;
        if u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) == LOAD {
            let (offset, addr, bytes) = (word(&entry, 8)?, word(&entry, 16)?, word(&entry, 32)?);
            segments.push(Segment { addr, offset, bytes });
        }
    }
    Some(segments)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Where in the file the page at `addr` is, if it is there.
fn place(segments: &[Segment], addr: u64) -> Option<u64> {
    let holds = |segment: &&Segment| addr.wrapping_sub(segment.addr) < segment.bytes;
    let segment = segments.iter().find(holds)?;
    segment.offset.checked_add(addr - segment.addr)
}

/// Whether the file has contents for the page at `addr`, and no hole.
fn in_dump(core: &File, segments: &[Segment], addr: u64) -> bool {
    place(segments, addr).is_some_and(|at| rustix::fs::seek(core, SeekFrom::Data(at)) == Ok(at))
}

/// Lets a child that shares this address space dump its core into the directory at `path`, and
/// waits until it has. Allocates nothing.
///
/// # Errors
/// `ENOENT` if it ended without a dump; those of `clone`.
pub(crate) fn dump_into(path: &CStr) -> Result<(), Errno> {
    const DUMPED: i32 = 0x80;
    const STACK: usize = 16 << 10;
    let mut stack = [0_u8; STACK];
    // SAFETY: the end of the array, which the stack grows down from.
    let top = unsafe { stack.as_mut_ptr().add(STACK) };
    let top = top.map_addr(|addr| addr & !15).cast::<c_void>();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let argument = path.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: this thread waits until the child is gone, so that `stack` and `path` outlive it; the
    // child only makes system calls, on a stack of its own.
    let child = sys::check(unsafe { libc::clone(dies, top, flags, argument) }.into())?;
    let child = i32::try_from(child).map_err(|_| Errno::SRCH)?;
    let mut status = 0;
    // SAFETY: `status` is writable.
    unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) };
    std::hint::black_box(&stack);
    if status & DUMPED == 0 { Err(Errno::NOENT) } else { Ok(()) }
}

/// The child: goes to the directory, lets everything be dumped, and dies.
extern "C" fn dies(path: *mut c_void) -> c_int {
    const EVERYTHING: &[u8] = b"0x1ff";
    let filter = c"/proc/self/coredump_filter".as_ptr();
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `path` is the C string that `dump_into` passed.
    unsafe { libc::chdir(path.cast::<c_char>()) };
    // SAFETY: `limit` is a whole structure.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) };
    // SAFETY: a C string.
    let fd = unsafe { libc::open(filter, libc::O_WRONLY) };
    // SAFETY: as many readable bytes as said; no descriptor is no harm.
    unsafe { libc::write(fd, EVERYTHING.as_ptr().cast(), EVERYTHING.len()) };
    // SAFETY: no handler is passed; nothing but the end comes after it.
    unsafe { libc::signal(libc::SIGABRT, libc::SIG_DFL) };
    // SAFETY: no pointer is passed.
    let this = unsafe { libc::getpid() };
    // SAFETY: as above.
    unsafe { libc::kill(this, libc::SIGABRT) };
    sys::exit_now(1)
}

/// Lets this process, and those that it forks, dump every kind of area.
pub(crate) fn dump_everything() {
    // A kernel without core dumps has no such file.
    let _ = std::fs::write("/proc/self/coredump_filter", "0x1ff");
}
