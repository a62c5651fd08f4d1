//! The drivers that only the process itself can use: made in the subject, about its own range.
//!
//! Some of them write into the range; it is never memory that Rust uses, but the arena, or the
//! special areas of the recipes, of which the writable ones are the arena's.

use crate::ask::answer::{Answer, Asked};
use crate::ask::cmdline;
use crate::ask::driver::Driver;
use crate::ask::{core, guest, ring, udmabuf};
use crate::fixture::files;
use crate::fixture::subject::Range;
use crate::sys::{call, check};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::{c_long, c_void};
use std::path::Path;

const MADV_POPULATE_READ: i32 = 22;
const MADV_POPULATE_WRITE: i32 = 23;

/// Asks the kernel through `driver` about `range` of this process; files lie in `dir`.
///
/// A driver that another process must use is not askable here.
pub fn ask_inside(driver: Driver, range: Range, dir: &Path) -> Asked {
    match driver {
        Driver::Mempolicy => per_page(range, mempolicy),
        Driver::FutexWake => per_page(range, futex_wake),
        Driver::PopulateRead => once(madvise(range, MADV_POPULATE_READ)),
        Driver::PopulateWrite => once(madvise(range, MADV_POPULATE_WRITE)),
        Driver::Mlock => once(mlock(range, 0)),
        Driver::MlockOnfault => once(mlock(range, libc::MLOCK_ONFAULT.cast_signed())),
        Driver::Vmsplice => vmsplice(range),
        Driver::DirectWrite | Driver::DirectRead => direct(driver, range, dir),
        Driver::RingBuffer | Driver::RingPbuf => registered(driver, range),
        Driver::XdpUmem => xdp_umem(range),
        Driver::Cmdline => cmdline::read(range),
        Driver::Udmabuf => udmabuf::create(range),
        Driver::CoreDump => core::ask(range),
        Driver::KvmGuest => guest::write(range),
        Driver::SelfMemRead | Driver::SelfMemWrite => self_mem(driver, range),
        _ => Asked::Cannot(format!("{} must be called by another process", driver.name())),
    }
}

fn once(result: Result<i64, Errno>) -> Asked {
    Asked::Answer(Answer::once(result))
}

fn per_page(range: Range, call: fn(u64) -> Result<i64, Errno>) -> Asked {
    Asked::Answer(Answer::per_page(range.each_page().map(call)))
}

const fn pointer(addr: u64) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(addr as usize)
}

/// The node of the page at `addr`, which the kernel gets by GUP-fast.
pub(crate) fn mempolicy(addr: u64) -> Result<i64, Errno> {
    const NODE_OF_ADDR: u64 = 1 | 2;
    let mut node = 0_i32;
    let node = (&raw mut node).expose_provenance() as u64;
    // SAFETY: `node` is writable; a null mask of 0 bits is allowed; `addr` is only looked up.
    unsafe { call(libc::SYS_get_mempolicy, [node, 0, 0, addr, NODE_OF_ADDR, 0]) }
}

fn futex_wake(addr: u64) -> Result<i64, Errno> {
    const FUTEX_WAKE: u64 = 1;
    // SAFETY: wakes no one: nobody waits on this word; its contents are not changed.
    unsafe { call(libc::SYS_futex, [addr, FUTEX_WAKE, 1, 0, 0, 0]) }
}

fn madvise(range: Range, advice: i32) -> Result<i64, Errno> {
    // SAFETY: populating pages changes no contents and no permissions.
    check(unsafe { libc::madvise(pointer(range.start), range.len_bytes(), advice) }.into())
}

fn mlock(range: Range, flags: i32) -> Result<i64, Errno> {
    let (start, len) = (range.start, range.len_bytes());
    if flags == 0 {
        // SAFETY: locking changes no contents and no permissions.
        return check(unsafe { libc::mlock(pointer(start), len) }.into());
    }
    let flags = u64::from(flags.cast_unsigned());
    // SAFETY: as above.
    unsafe { call(libc::SYS_mlock2, [start, len as u64, flags, 0, 0, 0]) }
}

fn vmsplice(range: Range) -> Asked {
    let (out, into) = match rustix::pipe::pipe() {
        Ok(pipe) => pipe,
        Err(errno) => return Asked::cannot("pipe", errno),
    };
    // A pipe that is too small for the range gets what fits; then the answer shows that.
    let _ = rustix::pipe::fcntl_setpipe_size(&into, range.len_bytes());
    let area = libc::iovec { iov_base: pointer(range.start), iov_len: range.len_bytes() };
    // SAFETY: the pipe takes references to the pages; no one reads it before it is closed.
    let ret =
        unsafe { libc::vmsplice(into.as_raw_fd(), &raw const area, 1, libc::SPLICE_F_NONBLOCK) };
    let answer = once(check(ret as c_long));
    drop(out);
    answer
}

fn direct(driver: Driver, range: Range, dir: &Path) -> Asked {
    let fd = match files::direct(dir, range.pages()) {
        Ok(fd) => fd,
        Err(errno) => return Asked::cannot("no direct I/O in the fixture's directory", errno),
    };
    let (fd, len) = (fd.as_raw_fd(), range.len_bytes());
    let ret = if driver == Driver::DirectRead {
        // SAFETY: the range is never memory that Rust uses (module text).
        unsafe { libc::pread(fd, pointer(range.start), len, 0) }
    } else {
        // SAFETY: reading the range changes nothing; unreadable memory is an errno.
        unsafe { libc::pwrite(fd, pointer(range.start), len, 0) }
    };
    once(check(ret as c_long))
}

fn registered(driver: Driver, range: Range) -> Asked {
    let ring = match ring::open() {
        Ok(ring) => ring,
        Err(errno) => return Asked::cannot("io_uring", errno),
    };
    let len = range.bytes;
    if driver == Driver::RingPbuf && !len.is_power_of_two() {
        return Asked::Cannot("a buffer ring has a power of two of pages".into());
    }
    let result = match driver {
        Driver::RingPbuf => ring::register_pbuf(&ring, range.start, len),
        _ => ring::register(&ring, range.start, len),
    };
    once(result.map(|()| 0))
}

/// `struct xdp_umem_reg` of Linux 6.8 and later.
#[repr(C)]
struct UmemReg {
    addr: u64,
    len: u64,
    chunk_size: u32,
    headroom: u32,
    flags: u32,
    tx_metadata_len: u32,
}

fn xdp_umem(range: Range) -> Asked {
    const AF_XDP: i32 = 44;
    const SOL_XDP: i32 = 283;
    const XDP_UMEM_REG: i32 = 4;
    // SAFETY: no pointer is passed.
    let fd = match check(unsafe { libc::socket(AF_XDP, libc::SOCK_RAW, 0) }.into()) {
        // SAFETY: the descriptor was just opened and has no other owner.
        Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd as i32) },
        Err(errno) => return Asked::cannot("AF_XDP socket (needs CAP_NET_RAW)", errno),
    };
    let (chunk_size, len) = (2048, range.bytes);
    let addr = range.start;
    let reg = UmemReg { addr, len, chunk_size, headroom: 0, flags: 0, tx_metadata_len: 0 };
    let (reg, size) = (&raw const reg, size_of::<UmemReg>() as libc::socklen_t);
    // SAFETY: `reg` is one structure of the given size; no ring is made, so nothing is written.
    let ret = unsafe { libc::setsockopt(fd.as_raw_fd(), SOL_XDP, XDP_UMEM_REG, reg.cast(), size) };
    once(check(ret.into()))
}

fn self_mem(driver: Driver, range: Range) -> Asked {
    let file = match crate::fixture::open("/proc/self/mem") {
        Ok(file) => file,
        Err(errno) => return Asked::cannot("/proc/self/mem", errno),
    };
    let mut bytes = vec![0x5a_u8; range.len_bytes()];
    let result = match driver {
        Driver::SelfMemRead => rustix::io::pread(&file, &mut bytes, range.start),
        _ => rustix::io::pwrite(&file, &bytes, range.start),
    };
    once(result.map(|n| n as i64))
}
