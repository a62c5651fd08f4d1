//! The drivers that another process makes.

use crate::ask::answer::{Answer, Asked};
use crate::ask::driver::Driver;
use crate::fixture::subject::Range;
use crate::sys::{call, check};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::ffi::{c_long, c_void};

/// Asks the kernel through `driver` about `range` of process `pid`.
///
/// A driver that only the subject can use is not askable here.
pub fn ask_remote(driver: Driver, pid: u32, range: Range) -> Asked {
    match driver {
        Driver::VmRead => Asked::Answer(Answer::once(vm(libc::SYS_process_vm_readv, pid, range))),
        Driver::VmWrite => Asked::Answer(Answer::once(vm(libc::SYS_process_vm_writev, pid, range))),
        Driver::MemRead | Driver::MemWrite => mem(driver, pid, range),
        Driver::Peek | Driver::Poke => traced(driver, pid, range),
        _ => Asked::Cannot(format!("only the process itself can call {}", driver.name())),
    }
}

/// `process_vm_readv` or `process_vm_writev` of the whole range.
fn vm(number: c_long, pid: u32, range: Range) -> Result<i64, Errno> {
    let mut bytes = vec![0x5a_u8; range.len_bytes()];
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let base = std::ptr::with_exposed_provenance_mut(range.start as usize);
    let remote = libc::iovec { iov_base: base, iov_len: bytes.len() };
    let local = (&raw const local).expose_provenance() as u64;
    let remote = (&raw const remote).expose_provenance() as u64;
    let args = [u64::from(pid), local, 1, remote, 1, 0];
    // SAFETY: `local` describes `bytes`, which outlives the call; `remote` is only a description
    // of memory of the subject, a process of our own that waits meanwhile.
    unsafe { call(number, args) }
}

fn mem(driver: Driver, pid: u32, range: Range) -> Asked {
    let path = format!("/proc/{pid}/mem");
    let fd = match rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => fd,
        Err(errno) => return Asked::cannot(&path, errno),
    };
    if let Err(errno) = rustix::fs::seek(&fd, SeekFrom::Start(range.start))
        && errno.raw_os_error() > 0
        && range.start < 1 << 63
    {
        return Asked::cannot("lseek", errno);
    }
    Asked::Answer(Answer::once(read_or_write(driver, &fd, range)))
}

fn read_or_write(driver: Driver, fd: &OwnedFd, range: Range) -> Result<i64, Errno> {
    let mut bytes = vec![0x5a_u8; range.len_bytes()];
    let n = match driver {
        Driver::MemRead => rustix::io::read(fd, &mut bytes)?,
        _ => rustix::io::write(fd, &bytes)?,
    };
    Ok(n as i64)
}

fn traced(driver: Driver, pid: u32, range: Range) -> Asked {
    let Ok(pid) = i32::try_from(pid) else { return Asked::cannot("ptrace", Errno::SRCH) };
    let pages = || range.each_page().map(|addr| word(driver, pid, addr)).collect();
    match with_traced(pid, pages) {
        Ok::<Vec<_>, _>(pages) => Asked::Answer(Answer::per_page(pages)),
        Err(errno) => Asked::cannot("ptrace", errno),
    }
}

/// Does `ask` while process `pid`, one of our own, is stopped by ptrace.
pub(crate) fn with_traced<T>(pid: i32, ask: impl FnOnce() -> T) -> Result<T, Errno> {
    attach(pid)?;
    let answer = ask();
    // SAFETY: lets a process of our own go on; the pointers are ignored.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, NONE, NONE) };
    Ok(answer)
}

/// No address and no data.
const NONE: *mut c_void = std::ptr::null_mut();

fn attach(pid: i32) -> Result<(), Errno> {
    // SAFETY: attaches to a process of our own; the pointers are ignored.
    check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, NONE, NONE) })?;
    // SAFETY: stops it; the pointers are ignored.
    check(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, NONE, NONE) })?;
    // SAFETY: a null status pointer is allowed: the status is not wanted.
    check(unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) }.into()).map(drop)
}

/// The kernel's number of the request, whose type differs between C libraries.
const PTRACE_PEEKDATA: u64 = 2;

/// One word of the subject at `addr`, read or written.
pub(crate) fn word(driver: Driver, pid: i32, addr: u64) -> Result<(), Errno> {
    if driver == Driver::Poke {
        // SAFETY: `addr` is an address of the subject, a stopped process of our own.
        return check(unsafe { libc::ptrace(libc::PTRACE_POKEDATA, pid, addr, 0x5a_u64) })
            .map(drop);
    }
    let mut word = 0_u64;
    let into = (&raw mut word).expose_provenance() as u64;
    let args = [PTRACE_PEEKDATA, u64::from(pid.cast_unsigned()), addr, into, 0, 0];
    // The raw call stores the word where the fourth argument points; it returns 0 or -1.
    // SAFETY: `into` is a writable word; `addr` belongs to the subject, a stopped process.
    unsafe { call(libc::SYS_ptrace, args) }.map(drop)
}
