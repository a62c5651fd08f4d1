//! Memory that the controller shares with its subjects: one slot each, through which an order goes
//! and its answer comes back.
//!
//! *Turn*: whose it is to act on a slot; a futex. Both sides run on one CPU, so that a turn costs
//! two switches. Invariant: only who has the turn touches the rest of the slot.

use crate::sys::{call, last_errno};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use std::ffi::c_long;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Slots: the most processes that live at a time.
pub(crate) const SLOTS: usize = 12;
/// Bytes of a slot's buffer.
pub(crate) const DATA: usize = 2 << 20;
/// Where subjects see the mailbox.
pub(crate) const BASE: u64 = 0x1000_0000_0000;

/// Nobody waits for anything.
const IDLE: u32 = 0;
/// The subject is to act.
const ORDERED: u32 = 1;
/// The subject has acted.
const ANSWERED: u32 = 2;

/// One subject's slot.
#[repr(C, align(4096))]
pub(crate) struct Slot {
    turn: AtomicU32,
    /// What is to be done.
    pub(crate) order: AtomicU32,
    /// With what.
    pub(crate) args: [AtomicU64; 8],
    /// The answer.
    pub(crate) ret: AtomicI64,
    /// Its errno, 0 for none.
    pub(crate) errno: AtomicI64,
    /// The signal that came, 0 for none.
    pub(crate) signal: AtomicI64,
    /// Of calls per page, a bit per page that worked.
    pub(crate) mask: AtomicU64,
    /// Minor and major faults charged.
    pub(crate) faults: [AtomicU64; 2],
    /// Room for two `struct rusage`, so that reading them writes to no private page.
    pub(crate) usage: [[AtomicU64; 18]; 2],
    /// Bytes for and from the subject.
    pub(crate) data: Buffer,
}

/// A slot's buffer, page-aligned.
#[repr(C, align(4096))]
pub(crate) struct Buffer(pub(crate) [AtomicU8; DATA]);

impl Slot {
    /// Lets the subject act on `order`, and waits for its answer.
    ///
    /// `is_alive` is asked now and then.
    /// # Errors
    /// The subject ended instead.
    pub(crate) fn post(
        &self,
        order: u32,
        args: &[u64],
        is_alive: impl Fn() -> bool,
    ) -> Result<(), Gone> {
        self.order.store(order, Relaxed);
        for (slot, value) in self.args.iter().zip(args) {
            slot.store(*value, Relaxed);
        }
        self.turn.store(ORDERED, Release);
        wake(&self.turn);
        loop {
            if self.turn.load(Acquire) == ANSWERED {
                self.turn.store(IDLE, Relaxed);
                return Ok(());
            }
            wait(&self.turn, ORDERED, Some(Duration::from_millis(200)));
            if self.turn.load(Acquire) != ANSWERED && !is_alive() {
                self.turn.store(IDLE, Relaxed);
                return Err(Gone);
            }
        }
    }
    /// Waits for an order.
    pub(crate) fn wait_for_order(&self) -> u32 {
        loop {
            let turn = self.turn.load(Acquire);
            if turn == ORDERED {
                return self.order.load(Relaxed);
            }
            wait(&self.turn, turn, None);
        }
    }
    /// Says that the order is done.
    pub(crate) fn answer(&self) {
        self.turn.store(ANSWERED, Release);
        wake(&self.turn);
    }
    /// The `n`-th argument.
    pub(crate) fn arg(&self, n: usize) -> u64 {
        self.args.get(n).map_or(0, |arg| arg.load(Relaxed))
    }
}

/// A subject ended before it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

fn wake(word: &AtomicU32) {
    const FUTEX_WAKE: c_long = 1;
    // SAFETY: wakes who waits for a word that lives as long as this reference.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), FUTEX_WAKE, 1_u32) };
}

fn wait(word: &AtomicU32, while_it_is: u32, at_most: Option<Duration>) {
    const FUTEX_WAIT: c_long = 0;
    let timeout =
        at_most.map(|time| libc::timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the timeout live until the call returns.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), FUTEX_WAIT, while_it_is, timeout) };
}

/// The whole mailbox, mapped here.
#[derive(Debug)]
pub(crate) struct Mailbox {
    fd: OwnedFd,
    slots: NonNull<Slot>,
}

/// Bytes of the mailbox.
const LEN: usize = size_of::<Slot>() * SLOTS;

impl Mailbox {
    /// A new mailbox.
    /// # Errors
    /// The kernel's.
    pub(crate) fn new() -> Result<Self, Errno> {
        let fd = rustix::fs::memfd_create("gup-mailbox", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&fd, LEN as u64)?;
        let slots = map(&fd, None)?;
        Ok(Self { fd, slots })
    }
    /// Its descriptor in this process.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        rustix::fd::AsFd::as_fd(&self.fd)
    }
    /// Slot `n`.
    pub(crate) fn slot(&self, n: usize) -> &Slot {
        // SAFETY: `slots` points to `SLOTS` slots.
        let slot = unsafe { self.slots.add(n % SLOTS) };
        // SAFETY: they stay mapped as long as this value; every field is atomic, and any bytes are
        // a slot.
        unsafe { slot.as_ref() }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no reference to it outlives this value.
        unsafe { libc::munmap(self.slots.as_ptr().cast(), LEN) };
    }
}

/// Maps the mailbox for good, where subjects see it.
/// # Errors
/// The kernel's.
pub(crate) fn map_for_subjects(fd: &OwnedFd) -> Result<&'static [Slot], Errno> {
    let slots = map(fd, Some(BASE))?;
    // SAFETY: as in `Mailbox::slot`; it is never unmapped in this process or its children.
    Ok(unsafe { std::slice::from_raw_parts(slots.as_ptr(), SLOTS) })
}

fn map(fd: &OwnedFd, at: Option<u64>) -> Result<NonNull<Slot>, Errno> {
    let (addr, fixed) = match at {
        Some(at) => (at, libc::MAP_FIXED_NOREPLACE),
        None => (0, 0),
    };
    let addr = std::ptr::with_exposed_provenance_mut(usize::try_from(addr).unwrap_or(0));
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | fixed);
    // SAFETY: nothing is replaced: the kernel chooses, or refuses where something is.
    let got = unsafe { libc::mmap(addr, LEN, prot, flags, fd.as_raw_fd(), 0) };
    if got == libc::MAP_FAILED {
        return Err(last_errno());
    }
    NonNull::new(got.cast()).ok_or(Errno::NOMEM)
}

/// The address at which subjects see the buffer of slot `n`.
pub(crate) fn data_address(n: usize) -> u64 {
    BASE + (n * size_of::<Slot>() + std::mem::offset_of!(Slot, data)) as u64
}

/// A system call of a subject: its value, or minus one with the errno.
pub(crate) fn raw(number: u64, args: [u64; 6]) -> Result<i64, Errno> {
    let number = c_long::try_from(number).unwrap_or(-1);
    // SAFETY: made by a process that exists to make it; its own memory is not in the arena, and
    // who orders the call answers for the addresses.
    unsafe { call(number, args) }
}
