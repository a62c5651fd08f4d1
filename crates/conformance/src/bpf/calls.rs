//! The system calls: a map, a program, a run of it, and the words that it found.
//!
//! Linux: `bpf(2)`; `include/uapi/linux/bpf.h`, `union bpf_attr`.

use super::program::{HEAD, ROOM, WORDS, program};
use crate::sys::call;
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const MAP_CREATE: u64 = 0;
const PROG_LOAD: u64 = 5;
const PROG_TEST_RUN: u64 = 10;
const ARRAY: u64 = 2;
const MMAPABLE: u64 = 1 << 10;
const RAW_TRACEPOINT: u64 = 17;
/// `bpf_probe_read_kernel` is for programs that say a licence which goes with the GPL.
const LICENCE: &CStr = c"Dual MIT/GPL";

/// Words of kernel memory, by their addresses.
#[derive(Debug)]
pub(super) struct KernelWords {
    program: OwnedFd,
    room: NonNull<AtomicU64>,
    _map: OwnedFd,
}

fn bpf(command: u64, attr: &[u64]) -> Result<i64, Errno> {
    let at = attr.as_ptr().expose_provenance() as u64;
    let size = size_of_val(attr) as u64;
    // SAFETY: the attributes live until the end; what they point to is the caller's, who passes
    // only addresses of his own constants and locals.
    unsafe { call(libc::SYS_bpf, [command, at, size, 0, 0, 0]) }
}

fn descriptor(made: i64) -> OwnedFd {
    // SAFETY: the kernel just made it for us.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(made).unwrap_or(-1)) }
}

impl KernelWords {
    /// Loads the program.
    /// # Errors
    /// Why it cannot be loaded, in words.
    pub(super) fn open() -> Result<Self, String> {
        let refused = |what: &str, errno: Errno| format!("bpf: {what}: {errno} (root is needed)");
        let no = |what: &'static str| move |errno| refused(what, errno);
        // map_type and key_size, value_size and max_entries, map_flags.
        let map = [ARRAY | 4 << 32, ROOM as u64 | 1 << 32, MMAPABLE, 0];
        let map = descriptor(bpf(MAP_CREATE, &map).map_err(no("a map"))?);
        let code = program(map.as_raw_fd());
        let insns = code.as_ptr().expose_provenance() as u64;
        let licence = LICENCE.as_ptr().expose_provenance() as u64;
        // prog_type and insn_cnt, insns, license; nothing is logged.
        let load = [RAW_TRACEPOINT | (code.len() as u64) << 32, insns, licence, 0, 0, 0];
        let program = descriptor(bpf(PROG_LOAD, &load).map_err(no("a program"))?);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping where the kernel chooses.
        let room = unsafe { mmap(std::ptr::null_mut(), ROOM, access, MapFlags::SHARED, &map, 0) };
        let room = room.map_err(no("the map's memory"))?;
        let room = NonNull::new(room.cast()).ok_or("bpf: the map is nowhere")?;
        Ok(Self { program, room, _map: map })
    }
    fn word(&self, n: usize) -> &AtomicU64 {
        debug_assert!(n < ROOM / 8, "within the room");
        // SAFETY: within the mapping of `ROOM` bytes, which starts at `room` and lives as long as
        // `self`: every caller's `n` is below `HEAD + 2 * WORDS`.
        let word = unsafe { self.room.add(n) };
        // SAFETY: mapped memory, aligned as the page it is in; any bits are a word, and nothing
        // but atomics and the kernel touch it.
        unsafe { word.as_ref() }
    }
    fn run(&self, count: usize) -> Result<(), Errno> {
        self.word(0).store(count as u64, Relaxed);
        let program = u64::from(self.program.as_raw_fd().unsigned_abs());
        bpf(PROG_TEST_RUN, &[program, 0, 0, 0, 0, 0, 0, 0, 0, 0]).map(drop)
    }
    /// The words at `addrs`; 0 for one that cannot be read.
    /// # Errors
    /// The kernel's.
    pub(super) fn read(&self, addrs: &[u64]) -> Result<Vec<u64>, Errno> {
        let mut found = Vec::with_capacity(addrs.len());
        for some in addrs.chunks(WORDS) {
            (0..).zip(some).for_each(|(n, addr)| self.word(HEAD + n).store(*addr, Relaxed));
            self.run(some.len())?;
            found.extend((0..some.len()).map(|n| self.word(HEAD + WORDS + n).load(Relaxed)));
        }
        Ok(found)
    }
    /// The word at `addr`.
    /// # Errors
    /// As [`KernelWords::read`].
    pub(super) fn at(&self, addr: u64) -> Result<u64, Errno> {
        Ok(self.read(&[addr])?.first().copied().unwrap_or(0))
    }
    /// Where the task of the calling thread is.
    /// # Errors
    /// The kernel's.
    pub(super) fn task(&self) -> Result<u64, Errno> {
        self.run(0)?;
        Ok(self.word(1).load(Relaxed))
    }
}

impl Drop for KernelWords {
    fn drop(&mut self) {
        // SAFETY: our own mapping of so many bytes, to which no reference is left.
        let _ = unsafe { munmap(self.room.as_ptr().cast(), ROOM) };
    }
}
