//! Drivers that the controller puts to a subject: `process_vm_*`, `/proc/PID/mem`, ptrace.

use super::mailbox::raw;
use crate::scenario::Value;
use crate::sys::{PAGE, check};
use gup::errno::Errno;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::ffi::c_void;

/// Bytes that calls may move at most.
pub(crate) const ROOM: usize = 2 << 20;

/// What the controller moves bytes through, all touched.
#[derive(Debug)]
pub(crate) struct Desk {
    bytes: Vec<u8>,
    usage: [[u64; 18]; 2],
}

/// An answer, and the faults charged to the controller.
pub(crate) type Charged<T> = (T, (u64, u64));

fn engine_errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

impl Desk {
    /// A desk.
    pub(crate) fn new() -> Self {
        let mut bytes = vec![0; ROOM];
        bytes.fill(0x55);
        Self { bytes, usage: [[0; 18]; 2] }
    }
    fn faults(&mut self, which: usize) -> (u64, u64) {
        let into = self.usage[which].as_mut_ptr().expose_provenance() as u64;
        let this_thread = 1;
        let _ = raw(libc::SYS_getrusage.cast_unsigned(), [this_thread, into, 0, 0, 0, 0]);
        (self.usage[which][8], self.usage[which][9])
    }
    fn charged(&mut self, call: u64, args: [u64; 6]) -> Charged<Result<i64, Errno>> {
        self.usage.iter_mut().for_each(|usage| usage.fill(0));
        let before = self.faults(0);
        let result = raw(call, args);
        let after = self.faults(1);
        (result.map_err(engine_errno), (after.0 - before.0, after.1 - before.1))
    }
    /// The buffer's address, filled with what is written into subjects.
    fn filled(&mut self, len: u64) -> u64 {
        let len = usize::try_from(len).unwrap_or(0).min(ROOM);
        self.bytes[..len].fill(0x55);
        self.bytes.as_mut_ptr().expose_provenance() as u64
    }
    /// Puts bytes on the desk.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> u64 {
        self.bytes.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.bytes.as_mut_ptr().expose_provenance() as u64
    }
    /// The first bytes on the desk.
    pub(crate) fn taken(&self, len: usize) -> Vec<u8> {
        self.bytes.iter().take(len).copied().collect()
    }
    /// `process_vm_readv`, or `_writev` of what `buffer` shows.
    pub(crate) fn vm(
        &mut self,
        pid: i32,
        (addr, len): (u64, u64),
        write: Option<u64>,
    ) -> Charged<Result<i64, Errno>> {
        let (call, buffer) = match write {
            Some(buffer) => (libc::SYS_process_vm_writev, buffer),
            None => (libc::SYS_process_vm_readv, self.filled(len)),
        };
        let (local, remote) = ([buffer, len], [addr, len]);
        let local = local.as_ptr().expose_provenance() as u64;
        let remote = remote.as_ptr().expose_provenance() as u64;
        let pid = u64::from(pid.unsigned_abs());
        self.charged(call.cast_unsigned(), [pid, local, 1, remote, 1, 0])
    }
    /// The same through `/proc/PID/mem`.
    pub(crate) fn mem(
        &mut self,
        fd: &OwnedFd,
        (addr, len): (u64, u64),
        write: Option<u64>,
    ) -> Charged<Result<i64, Errno>> {
        let (call, buffer) = match write {
            Some(buffer) => (libc::SYS_pwrite64, buffer),
            None => (libc::SYS_pread64, self.filled(len)),
        };
        let fd = u64::from(fd.as_raw_fd().unsigned_abs());
        self.charged(call.cast_unsigned(), [fd, buffer, len, addr, 0, 0])
    }
    /// What is written where only the length matters.
    pub(crate) fn noise(&mut self, len: u64) -> u64 {
        self.filled(len)
    }
    /// One word a page, by ptrace.
    pub(crate) fn words(
        &mut self,
        pid: i32,
        (addr, pages): (u64, u64),
        poke: bool,
    ) -> Result<Charged<Value>, String> {
        attach(pid).map_err(|errno| format!("ptrace: {errno}"))?;
        let (mut mask, mut last) = (0, None);
        let mut faults = (0, 0);
        let into = self.filled(8);
        for n in 0..pages {
            let at = addr.wrapping_add(n.wrapping_mul(PAGE));
            let (request, data) = if poke {
                (PTRACE_POKEDATA, 0x5555_5555_5555_5555)
            } else {
                (PTRACE_PEEKDATA, into)
            };
            let args = [request, u64::from(pid.unsigned_abs()), at, data, 0, 0];
            let (result, (minor, major)) = self.charged(libc::SYS_ptrace.cast_unsigned(), args);
            faults = (faults.0 + minor, faults.1 + major);
            match result {
                Ok(_) => mask |= 1 << (n & 63),
                Err(errno) => last = Some(errno),
            }
        }
        // SAFETY: lets a process of our own go on; the pointers are ignored.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, NONE, NONE) };
        Ok((Value::PerPage { mask, last }, faults))
    }
}

/// No address and no data.
/// The kernel's numbers of the requests, whose type differs between C libraries.
const PTRACE_PEEKDATA: u64 = 2;
const PTRACE_POKEDATA: u64 = 5;

const NONE: *mut c_void = std::ptr::null_mut();

fn attach(pid: i32) -> Result<(), rustix::io::Errno> {
    // SAFETY: attaches to a process of our own; the pointers are ignored.
    check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, NONE, NONE) })?;
    // SAFETY: stops it; the pointers are ignored.
    check(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, NONE, NONE) })?;
    // SAFETY: a null status pointer is allowed: the status is not wanted.
    check(unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) }.into()).map(drop)
}

/// Opens the memory of process `pid`.
/// # Errors
/// The kernel's.
pub(crate) fn open_mem(pid: i32) -> Result<OwnedFd, rustix::io::Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/{pid}/mem"), flags, Mode::empty())
}
