//! System calls of the fixture that rustix does not have, and the arena in which they act.
//!
//! The *arena* is one range of addresses that Rust never uses: no allocation, stack or mapping of
//! the process lies there, no reference points there, and the functions below refuse any address
//! outside. That is why they are safe: whatever they map, unmap or protect, no Rust object can be
//! touched. Bytes of the arena are only touched one at a time, by volatile access.
//!
//! Absent: any policy. What to map is in [`crate::fixture`], what to ask in [`crate::ask`].

use rustix::io::Errno;
use std::ffi::{c_long, c_void};
use std::ops::Range;

/// The addresses of the arena.
pub const ARENA: Range<u64> = 0x2000_0000_0000..0x2000_8000_0000;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// The result of a system call as C sees it: the value, or the errno.
///
/// # Errors
/// The errno of the calling thread, when `ret` is -1.
pub fn check(ret: c_long) -> Result<i64, Errno> {
    if ret == -1 { Err(last_errno()) } else { Ok(ret) }
}

/// The errno that the last failed call of this thread left.
pub fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// A system call by its number, with every argument a whole word.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// As the system call itself demands of its pointers and of the memory that it changes.
pub(crate) unsafe fn call(number: c_long, args: [u64; 6]) -> Result<i64, Errno> {
    let [a, b, c, ..] = args;
    // SAFETY: the caller answers for the call; arguments that it does not have are ignored.
    check(unsafe { libc::syscall(number, a, b, c, args[3], args[4], args[5]) })
}

fn in_arena(start: u64, len: u64) -> Result<(), Errno> {
    let end = start.checked_add(len).ok_or(Errno::INVAL)?;
    if ARENA.start <= start && end <= ARENA.end { Ok(()) } else { Err(Errno::INVAL) }
}

const fn pointer(addr: u64) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(addr as usize)
}

/// `mmap` at exactly `start`: `prot` and `flags` are libc's; `fd` is -1 for none.
///
/// # Errors
/// `EINVAL` outside the arena; else the kernel's.
pub fn map(start: u64, len: u64, prot: i32, flags: i32, fd: i32) -> Result<u64, Errno> {
    in_arena(start, len)?;
    let flags = flags | libc::MAP_FIXED;
    // SAFETY: the range lies in the arena, where no Rust object lives (checked above).
    let at = unsafe { libc::mmap(pointer(start), len as usize, prot, flags, fd, 0) };
    if at == libc::MAP_FAILED { Err(last_errno()) } else { Ok(at.addr() as u64) }
}

/// `munmap` in the arena.
///
/// # Errors
/// `EINVAL` outside the arena; else the kernel's.
pub fn unmap(start: u64, len: u64) -> Result<(), Errno> {
    in_arena(start, len)?;
    // SAFETY: the range lies in the arena, where no Rust object lives (checked above).
    check(unsafe { libc::munmap(pointer(start), len as usize) }.into()).map(drop)
}

/// `mprotect` in the arena.
///
/// # Errors
/// `EINVAL` outside the arena; else the kernel's.
pub fn protect(start: u64, len: u64, prot: i32) -> Result<(), Errno> {
    in_arena(start, len)?;
    // SAFETY: the range lies in the arena, where no Rust object lives (checked above).
    check(unsafe { libc::mprotect(pointer(start), len as usize, prot) }.into()).map(drop)
}

/// `madvise` with any advice in the arena.
///
/// # Errors
/// `EINVAL` outside the arena; else the kernel's.
pub fn advise(start: u64, len: u64, advice: i32) -> Result<(), Errno> {
    in_arena(start, len)?;
    // SAFETY: the range lies in the arena, where no Rust object lives (checked above).
    check(unsafe { libc::madvise(pointer(start), len as usize, advice) }.into()).map(drop)
}

/// `mseal` in the arena (Linux 6.10).
///
/// # Errors
/// `EINVAL` outside the arena; else the kernel's.
pub fn seal(start: u64, len: u64) -> Result<(), Errno> {
    const SYS_MSEAL: c_long = 462;
    in_arena(start, len)?;
    // SAFETY: sealing only forbids later edits of a range where no Rust object lives.
    unsafe { call(SYS_MSEAL, [start, len, 0, 0, 0, 0]) }.map(drop)
}

/// Stores `byte` at `addr`.
///
/// The page must be writable: the process ends by a signal otherwise.
///
/// # Errors
/// `EINVAL` outside the arena.
pub fn store(addr: u64, byte: u8) -> Result<(), Errno> {
    in_arena(addr, 1)?;
    // SAFETY: one byte of the arena, which no reference points to; a fault ends the process.
    unsafe { pointer(addr).cast::<u8>().write_volatile(byte) };
    Ok(())
}

/// Loads the byte at `addr`.
///
/// # Errors
/// `EINVAL` outside the arena.
pub fn load(addr: u64) -> Result<u8, Errno> {
    in_arena(addr, 1)?;
    // SAFETY: one byte of the arena, any value is a `u8`; a fault ends the process.
    Ok(unsafe { pointer(addr).cast::<u8>().read_volatile() })
}

/// `memfd_secret` (Linux 5.14): a descriptor of secret memory, or `ENOSYS` where it is switched
/// off.
///
/// # Errors
/// The kernel's.
pub fn memfd_secret() -> Result<i32, Errno> {
    // SAFETY: no pointer is passed.
    let fd = unsafe { call(libc::SYS_memfd_secret, [0; 6]) }?;
    i32::try_from(fd).map_err(|_| Errno::BADF)
}

/// Which process this is after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The parent, with the child's id.
    Parent(i32),
    /// The child.
    Child,
}

/// `fork` of the fixture, which has one thread.
///
/// # Errors
/// The kernel's.
pub fn fork() -> Result<Forked, Errno> {
    // SAFETY: the fixture never starts a thread, so the child may run any code.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(Forked::Child),
        child => Ok(Forked::Parent(i32::try_from(child).unwrap_or(-1))),
    }
}

/// Lets this process die with its parent, `parent`; at once, if that has ended already.
pub fn die_with_parent(parent: u32) {
    // SAFETY: sets one attribute of this process; no pointer is passed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if std::os::unix::process::parent_id() != parent {
        exit_now(0);
    }
}

/// Sleeps until a signal ends this process.
pub fn sleep_forever() -> ! {
    loop {
        // SAFETY: waits for a signal; no pointer is passed.
        unsafe { libc::pause() };
    }
}

/// Ends this process at once, without unwinding or exit handlers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(status) }
}

/// Waits until child `pid` has ended.
pub fn wait_for(pid: i32) {
    // SAFETY: a null status pointer is allowed: the status is not wanted.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

/// Ends child `pid`, and waits until it has ended.
pub fn end(pid: i32) {
    // SAFETY: a signal to a child of this process that was not waited for yet; no pointer.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    wait_for(pid);
}

/// Lets this thread, and the processes it starts, run only on one CPU: the `nth` of those that it
/// may use, counted around.
///
/// Two processes on two CPUs do not always get the same answer twice: pages wait in lists per CPU.
pub fn stay_on_one_cpu(nth: usize) {
    // SAFETY: an all-zero CPU set is a valid, empty set.
    let mut may: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: `may` is a writable CPU set of the given size; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut may) } != 0 {
        return;
    }
    let bits = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: every number is below the size of the set.
    let usable = (0..bits).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &may) });
    let usable: Vec<usize> = usable.collect();
    let Some(cpu) = nth.checked_rem(usable.len()).and_then(|n| usable.get(n)) else { return };
    // SAFETY: an all-zero CPU set is a valid, empty set.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number was a member of a set, so it is below the size of one.
    unsafe { libc::CPU_SET(*cpu, &mut one) };
    // SAFETY: `one` is a CPU set of the given size; 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, size, &raw const one) };
}

/// How many bytes this process may lock: no limit with `CAP_IPC_LOCK`.
pub fn memlock() -> u64 {
    const CAP_IPC_LOCK: u32 = 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let caps = line.and_then(|caps| u64::from_str_radix(caps.trim(), 16).ok()).unwrap_or(0);
    if caps >> CAP_IPC_LOCK & 1 == 1 {
        return u64::MAX;
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    limit.rlim_cur
}

/// The CPUs that a thread may use.
#[derive(Clone, Copy)]
pub struct Affinity(Option<libc::cpu_set_t>);

impl std::fmt::Debug for Affinity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Affinity").finish_non_exhaustive()
    }
}

impl Affinity {
    /// Those of the calling thread.
    pub fn of_this_thread() -> Self {
        // SAFETY: an all-zero CPU set is a valid, empty set.
        let mut may: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: `may` is a writable CPU set of the given size; 0 is the calling thread.
        let read = unsafe { libc::sched_getaffinity(0, size_of_val(&may), &raw mut may) };
        Self((read == 0).then_some(may))
    }
    /// Lets the calling thread use them again.
    pub fn put_back(&self) {
        if let Some(may) = &self.0 {
            // SAFETY: a whole CPU set; 0 is the calling thread.
            unsafe { libc::sched_setaffinity(0, size_of_val(may), std::ptr::from_ref(may)) };
        }
    }
}
