//! The three programs of `docs/tutorial.md`, as people reported them: a limit on locked memory, a
//! shared file, a fork.
//!
//! `cases NAME` does what the report says, and prints what came of it. `cases hold NAME` makes the
//! same memory, prints where it is, and sleeps until it is killed. It needs no root: where it has
//! the right to lock memory without limit, it gives that up.

use gup_conformance::fixture::files;
use io_uring::IoUring;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::CapabilitySet;
use std::ffi::c_void;
use std::io::{self, Write};
use std::os::fd::AsFd;

const PAGE: usize = 4096;
/// A limit that was usual: 64 KiB.
const LIMIT: u64 = 64 << 10;

/// A range of the memory of this process.
#[derive(Clone, Copy)]
struct Range {
    start: *mut c_void,
    len: usize,
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["nine-buffers"] => told(&register(&nine_buffers(Lie::Odd)?)),
        ["nine-buffers", "--aligned"] => told(&register(&nine_buffers(Lie::OnPages)?)),
        ["shared-file"] => told(&register(&[shared_file()?])),
        ["private-file"] => told(&register(&[private_file()?])),
        ["fork"] => fork(one_page()?),
        ["hold", "nine-buffers"] => hold(&nine_buffers(Lie::Odd)?),
        ["hold", "shared-file"] => hold(&[shared_file()?]),
        ["hold", "fork"] => hold(&[one_page()?]),
        _ => {
            eprintln!(
                "usage: cases [hold] nine-buffers [--aligned] | shared-file | private-file | fork"
            );
            std::process::exit(2);
        }
    }
}

/// Where buffers lie.
enum Lie {
    /// Sixteen bytes after the beginning of a page, as malloc gives large ones.
    Odd,
    /// On whole pages.
    OnPages,
}

/// Nine buffers of a page each, as in liburing#365.
fn nine_buffers(lie: Lie) -> io::Result<Vec<Range>> {
    let first = match lie {
        Lie::Odd => 16,
        Lie::OnPages => 0,
    };
    let memory = anonymous(10)?;
    obey_a_limit()?;
    let start = |n: usize| memory.start.wrapping_byte_add(first + n * PAGE);
    Ok((0..9).map(|n| Range { start: start(n), len: PAGE }).collect())
}

/// Lowers the limit on locked memory, and gives up the right to ignore it.
fn obey_a_limit() -> io::Result<()> {
    let maximum = rustix::process::getrlimit(Resource::Memlock).maximum;
    let limit = Rlimit { current: Some(LIMIT), maximum };
    rustix::process::setrlimit(Resource::Memlock, limit)?;
    let mut rights = rustix::thread::capabilities(None)?;
    rights.effective.remove(CapabilitySet::IPC_LOCK);
    Ok(rustix::thread::set_capabilities(None, rights)?)
}

/// Registers buffers with `io_uring`; what the call answered.
fn register(buffers: &[Range]) -> io::Result<()> {
    let ring = IoUring::new(8)?;
    let vectors: Vec<libc::iovec> =
        buffers.iter().map(|it| libc::iovec { iov_base: it.start, iov_len: it.len }).collect();
    // SAFETY: the ranges are mapped until this process ends; no read or write is ever submitted.
    unsafe { ring.submitter().register_buffers(&vectors) }
}

fn told(answer: &io::Result<()>) -> io::Result<()> {
    match answer {
        Ok(()) => writeln!(io::stdout(), "registered"),
        Err(error) => writeln!(io::stdout(), "io_uring_register: {error}"),
    }
}

/// One page of a file that its writer shares, as in tt-kmd#39.
fn shared_file() -> io::Result<Range> {
    file(MapFlags::SHARED)
}

/// One page of a file, copied when it is written.
fn private_file() -> io::Result<Range> {
    file(MapFlags::PRIVATE)
}

fn file(flags: MapFlags) -> io::Result<Range> {
    let no_dir = || io::Error::other("no directory here is on a disk");
    let path = files::usable_dir().ok_or_else(no_dir)?.join("gup-cases.data");
    let file =
        std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(&path)?;
    file.set_len(PAGE as u64)?;
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping where the kernel likes; nothing else knows of it.
    let start =
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), PAGE, prot, flags, file.as_fd(), 0) }?;
    Ok(Range { start, len: PAGE })
}

/// The first half of a page, which a library registered and keeps from children, as
/// `ibv_fork_init` does: in ompi#1363 other data lay in the second half.
fn one_page() -> io::Result<Range> {
    let Range { start, len } = anonymous(1)?;
    // SAFETY: the page is ours; not to inherit it is what the case is about.
    unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontFork) }?;
    Ok(Range { start, len: PAGE / 2 })
}

/// Forks; the child reads what lies behind the registered half.
fn fork(registered: Range) -> io::Result<()> {
    let other = registered.start.wrapping_byte_add(registered.len).cast::<u8>();
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: in the parent the byte is mapped; that it is not in the child is the case.
        let byte = unsafe { other.read_volatile() };
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(byte)) };
    }
    let mut status = 0;
    // SAFETY: `status` is a writable int.
    if unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        return Err(io::Error::last_os_error());
    }
    if libc::WIFSIGNALED(status) {
        return writeln!(io::stdout(), "the child was killed by signal {}", libc::WTERMSIG(status));
    }
    writeln!(io::stdout(), "the child ended with {}", libc::WEXITSTATUS(status))
}

/// New pages, each stored to.
fn anonymous(pages: usize) -> io::Result<Range> {
    let (len, prot) = (pages * PAGE, ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: a new mapping where the kernel likes; nothing else knows of it.
    let start =
        unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, prot, MapFlags::PRIVATE) }?;
    for page in 0..pages {
        // SAFETY: inside the new mapping.
        unsafe { start.wrapping_byte_add(page * PAGE).cast::<u8>().write_volatile(1) };
    }
    Ok(Range { start, len })
}

/// Tells where the memory is, and keeps it: the process and the first range on one line, the others
/// on a second one, as `gup explain` takes them.
fn hold(ranges: &[Range]) -> io::Result<()> {
    let mut out = io::stdout();
    let place = |range: &Range| format!("{:#x} {}", range.start.addr(), range.len);
    let others = ranges.iter().skip(1).map(|range| format!("--also {}", place(range)));
    let others: Vec<String> = others.collect();
    if let Some(first) = ranges.first() {
        writeln!(out, "{} {}\n{}", std::process::id(), place(first), others.join(" "))?;
    }
    out.flush()?;
    loop {
        std::thread::park();
    }
}
