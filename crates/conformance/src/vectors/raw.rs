//! The calls of vectors, made by the subject about its own window.
//!
//! Whatever they change is in the arena, where no Rust object lives; a vector that names other
//! memory of the subject breaks that process, and nothing else.

use super::answer::Returned;
use super::builder::{Cannot, Desk, step};
use super::family::Entry;
use super::userfault;
use super::words::address;
use crate::ask::ring;
use crate::fixture::files;
use crate::sys::{self, PAGE};
use rustix::fd::AsRawFd;
use rustix::io::Errno;
use std::ffi::c_long;

const SYS_MSEAL: c_long = 462;

/// Makes the call.
pub(super) fn perform(entry: Entry, args: &[u64], desk: &Desk<'_>) -> Result<Returned, Cannot> {
    let arg = |n: usize| args.get(n).copied().unwrap_or(0);
    let six = [arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)];
    let number = |number: c_long| plain(call(number, six));
    let unit = |result: Result<(), Errno>| Ok(plain(result.map(|()| 0)));
    match entry {
        Entry::Mmap => {
            let fd = descriptor(arg(4), desk);
            let done = call(libc::SYS_mmap, [arg(0), arg(1), arg(2), arg(3), fd, arg(5)]);
            Ok(placed(done))
        }
        Entry::Mremap => Ok(placed(call(libc::SYS_mremap, six))),
        Entry::Munmap => Ok(number(libc::SYS_munmap)),
        Entry::Mprotect => Ok(number(libc::SYS_mprotect)),
        Entry::Madvise => Ok(number(libc::SYS_madvise)),
        Entry::Mlock => Ok(number(libc::SYS_mlock)),
        Entry::Mlock2 => Ok(number(libc::SYS_mlock2)),
        Entry::Munlock => Ok(number(libc::SYS_munlock)),
        Entry::Mlockall => Ok(number(libc::SYS_mlockall)),
        Entry::Mseal => Ok(number(SYS_MSEAL)),
        Entry::SecretFd => {
            let opened = call(libc::SYS_memfd_secret, six);
            Ok(plain(opened.map(|_| 0)))
        }
        Entry::Mincore => Ok(mincore(arg(0), arg(1))),
        Entry::Load | Entry::Store => touch(entry, arg(0)),
        Entry::CopyToUser | Entry::CopyFromUser => user_copy(entry, arg(0), arg(1)),
        Entry::VmReadv | Entry::VmWritev => Ok(process_vm(entry, arg(0), args.get(1..))),
        Entry::MemRead | Entry::MemWrite => own_memory(entry, arg(0), arg(1)),
        Entry::Vmsplice => vmsplice(arg(0), args.get(1..)),
        Entry::DirectRead | Entry::DirectWrite => direct(entry, arg(0), arg(1), desk),
        Entry::RingBuffer => {
            let ring = step("io_uring", ring::open())?;
            unit(ring::register(&ring, arg(0), arg(1)))
        }
        Entry::FutexWake => Ok(plain(call(libc::SYS_futex, [arg(0), 1, 1, 0, 0, 0]))),
        Entry::Mempolicy => Ok(mempolicy(arg(0), arg(1))),
        Entry::MovePages => Ok(nodes(args)),
        Entry::UffdRegister => unit(userfault::register(arg(0), arg(1), arg(2))),
        Entry::UffdUnregister => unit(userfault::unregister(arg(0), arg(1))),
        Entry::UffdCopy => unit(userfault::copy(arg(0), arg(1), arg(2), arg(3))),
        Entry::UffdZeropage => unit(userfault::zeropage(arg(0), arg(1), arg(2))),
        Entry::UffdProtect => unit(userfault::write_protect(arg(0), arg(1), arg(2))),
        Entry::UffdMove => unit(userfault::move_pages(arg(0), arg(1), arg(2), arg(3))),
        Entry::Peek | Entry::Poke => Err("another process must call".to_owned()),
    }
}

fn call(number: c_long, args: [u64; 6]) -> Result<i64, Errno> {
    // SAFETY: the module text says what such a call may change; pointers among the arguments are
    // addresses of the window, or made by the functions below for that call.
    unsafe { sys::call(number, args) }
}

fn plain(result: Result<i64, Errno>) -> Returned {
    result.map(|value| value.to_string()).map_err(Errno::raw_os_error)
}

fn placed(result: Result<i64, Errno>) -> Returned {
    result.map(|addr| address(addr.cast_unsigned())).map_err(Errno::raw_os_error)
}

fn descriptor(arg: u64, desk: &Desk<'_>) -> u64 {
    let fd = match arg {
        1000 => desk.memfd,
        1001 => desk.rdonly,
        1002 => desk.sealed,
        other => return other,
    };
    i64::from(fd).cast_unsigned()
}

fn mincore(at: u64, bytes: u64) -> Returned {
    let mut there = vec![0_u8; usize::try_from(bytes.div_ceil(PAGE).min(64)).unwrap_or(0)];
    let into = there.as_mut_ptr().expose_provenance() as u64;
    match call(libc::SYS_mincore, [at, bytes, into, 0, 0, 0]) {
        Ok(_) => Ok(there.iter().map(|byte| if byte & 1 == 1 { '1' } else { '0' }).collect()),
        Err(errno) => Err(errno.raw_os_error()),
    }
}

fn mempolicy(at: u64, flags: u64) -> Returned {
    let mut node = 0_i32;
    let node = (&raw mut node).expose_provenance() as u64;
    plain(call(libc::SYS_get_mempolicy, [node, 0, 0, at, flags, 0]))
}

/// `move_pages` that only asks: a status for each address.
fn nodes(addrs: &[u64]) -> Returned {
    let mut status = vec![0_i32; addrs.len()];
    let pages = addrs.as_ptr().expose_provenance() as u64;
    let into = status.as_mut_ptr().expose_provenance() as u64;
    match call(libc::SYS_move_pages, [0, addrs.len() as u64, pages, 0, into, 0]) {
        Ok(_) => Ok(status.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        Err(errno) => Err(errno.raw_os_error()),
    }
}

/// Pairs of address and length.
fn vectors(args: Option<&[u64]>) -> Vec<[u64; 2]> {
    let (pairs, _) = args.unwrap_or_default().as_chunks::<2>();
    pairs.to_vec()
}

fn process_vm(entry: Entry, flags: u64, remote: Option<&[u64]>) -> Returned {
    let remote = vectors(remote);
    let bytes: u64 = remote.iter().map(|[_, bytes]| *bytes & 0xf_ffff).sum();
    let mut buffer = vec![0x5a_u8; usize::try_from(bytes).unwrap_or(0)];
    let local = [buffer.as_mut_ptr().expose_provenance() as u64, bytes];
    let (local, count) = (local.as_ptr().expose_provenance() as u64, remote.len() as u64);
    let remote = remote.as_ptr().expose_provenance() as u64;
    let number = match entry {
        Entry::VmReadv => libc::SYS_process_vm_readv,
        _ => libc::SYS_process_vm_writev,
    };
    plain(call(number, [u64::from(std::process::id()), local, 1, remote, count, flags]))
}

fn vmsplice(flags: u64, ranges: Option<&[u64]>) -> Result<Returned, Cannot> {
    let (out, into) = step("pipe", rustix::pipe::pipe())?;
    let ranges = vectors(ranges);
    let (pairs, count) = (ranges.as_ptr().expose_provenance() as u64, ranges.len() as u64);
    let fd = i64::from(into.as_raw_fd()).cast_unsigned();
    let returned = plain(call(libc::SYS_vmsplice, [fd, pairs, count, flags, 0, 0]));
    drop(out);
    Ok(returned)
}

fn own_memory(entry: Entry, at: u64, bytes: u64) -> Result<Returned, Cannot> {
    let file = step("/proc/self/mem", crate::fixture::open("/proc/self/mem"))?;
    let mut buffer = vec![0x5a_u8; usize::try_from(bytes & 0xf_ffff).unwrap_or(0)];
    let result = match entry {
        Entry::MemRead => rustix::io::pread(&file, &mut buffer, at),
        _ => rustix::io::pwrite(&file, &buffer, at),
    };
    Ok(plain(result.map(|n| n as i64)))
}

/// Bytes that a device that is plain memory takes from the window, or puts there.
fn user_copy(entry: Entry, at: u64, bytes: u64) -> Result<Returned, Cannot> {
    let (number, fd) = match entry {
        Entry::CopyToUser => {
            let path = "/dev/zero";
            (libc::SYS_read, step(path, crate::fixture::open(path))?)
        }
        _ => (libc::SYS_write, step("memfd", files::memfd(0, files::Filled::Hole))?),
    };
    let fd = i64::from(fd.as_raw_fd()).cast_unsigned();
    Ok(plain(call(number, [fd, at, bytes, 0, 0, 0])))
}

fn direct(entry: Entry, at: u64, bytes: u64, desk: &Desk<'_>) -> Result<Returned, Cannot> {
    let dir = desk.dir.ok_or("no directory here has direct I/O and nameless files")?;
    let fd = step("direct I/O", files::direct(dir, 8))?;
    let fd = i64::from(fd.as_raw_fd()).cast_unsigned();
    let number = if entry == Entry::DirectRead { libc::SYS_pread64 } else { libc::SYS_pwrite64 };
    Ok(plain(call(number, [fd, at, bytes, 0, 0, 0])))
}

/// A load or store by a process of its own that shares this one's memory, so that a signal ends
/// only that.
fn touch(entry: Entry, at: u64) -> Result<Returned, Cannot> {
    extern "C" fn load(at: *mut libc::c_void) -> i32 {
        // SAFETY: one byte, any value of which is a `u8`; a fault ends only this process.
        unsafe { at.cast::<u8>().read_volatile() };
        0
    }
    extern "C" fn store(at: *mut libc::c_void) -> i32 {
        // SAFETY: one byte of the window, where no Rust object lives; a fault ends this process.
        unsafe { at.cast::<u8>().write_volatile(0x42) };
        0
    }
    let mut stack = vec![0_u128; 4096];
    let top = stack.as_mut_ptr_range().end.cast();
    let act = if entry == Entry::Load { load } else { store };
    let at = std::ptr::with_exposed_provenance_mut(at as usize);
    // SAFETY: the stack is 64 KiB and outlives the process, which is waited for below; `act` calls
    // nothing and returns or ends by a signal.
    let child = unsafe { libc::clone(act, top, libc::CLONE_VM | libc::SIGCHLD, at) };
    let child = step("clone", sys::check(child.into()))? as i32;
    let mut status = 0;
    // SAFETY: `status` is a writable integer.
    step("waitpid", sys::check(unsafe { libc::waitpid(child, &raw mut status, 0) }.into()))?;
    drop(stack);
    Ok(Ok(match libc::WTERMSIG(status) {
        libc::SIGSEGV => "SIGSEGV".to_owned(),
        libc::SIGBUS => "SIGBUS".to_owned(),
        _ => "0".to_owned(),
    }))
}
