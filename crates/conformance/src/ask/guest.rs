//! A guest of KVM that writes one byte to each page of the range.
//!
//! The guest is a program in user mode, with page tables of its own: it stores to one address, then
//! loads from one without memory, which ends the run. Which page lies behind the first address is
//! what is changed from run to run. A page that KVM does not get ends the run with `EFAULT`.
//!
//! Linux: `Documentation/virt/kvm/api.rst`; `virt/kvm/kvm_main.c` `hva_to_pfn` (6.18).

use crate::ask::answer::{Answer, Asked};
use crate::fixture::subject::Range;
use crate::sys::{self, PAGE};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const CREATE_VM: u64 = 0xae01;
const VCPU_MMAP_SIZE: u64 = 0xae04;
const SUPPORTED_CPUID: u64 = 0xc008_ae05;
const SET_USER_MEMORY_REGION: u64 = 0x4020_ae46;
const CREATE_VCPU: u64 = 0xae41;
const RUN: u64 = 0xae80;
const SET_REGS: u64 = 0x4090_ae82;
const GET_SREGS: u64 = 0x8138_ae83;
const SET_SREGS: u64 = 0x4138_ae84;
const SET_CPUID2: u64 = 0x4008_ae90;

/// Where the guest's own pages lie for it: four tables and the program.
const OWN: u64 = 0x1_0000;
const OWN_PAGES: usize = 5;
/// Where the page that is written to lies for it.
const TARGET: u64 = 0x20_0000;
/// Where nothing is.
const NOTHING: u64 = 0x30_0000;
/// The program's addresses: of itself, of the target, of nothing.
const PROGRAM_AT: u64 = 0x40_0000;
const TARGET_AT: u64 = PROGRAM_AT + PAGE;
const NOTHING_AT: u64 = PROGRAM_AT + 2 * PAGE;
/// `mov [rdi], al; mov al, [rsi]; jmp` to the beginning.
const PROGRAM: [u8; 6] = [0x88, 0x07, 0x8a, 0x06, 0xeb, 0xfa];

/// Lets a guest write to each page of `range` of this process.
pub(super) fn write(range: Range) -> Asked {
    let mut guest = match Guest::new() {
        Ok(guest) => guest,
        Err((what, errno)) => return Asked::cannot(what, errno),
    };
    let mut results = Vec::new();
    for addr in range.each_page() {
        match guest.write(addr & !(PAGE - 1)) {
            Ok(result) => results.push(result),
            Err(exit) => return Asked::Cannot(format!("the guest ended with exit {exit} of KVM")),
        }
    }
    Asked::Answer(Answer::per_page(results))
}

/// A virtual machine with one processor.
struct Guest {
    vm: OwnedFd,
    vcpu: OwnedFd,
    /// What the processor shares with its user: the address.
    shared: u64,
    _kvm: OwnedFd,
}

/// KVM said by a signal that the guest met memory that failed.
static POISONED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_poison(_signal: c_int) {
    POISONED.store(true, Relaxed);
}

/// What was tried, and the kernel's answer.
type Refused = (&'static str, Errno);

impl Guest {
    fn new() -> Result<Self, Refused> {
        let named = |what| move |errno| (what, errno);
        let note = note_poison as extern "C" fn(c_int);
        // SAFETY: the handler only stores to an atomic.
        unsafe { libc::signal(libc::SIGBUS, note as libc::sighandler_t) };
        let kvm = crate::fixture::open("/dev/kvm").map_err(named("/dev/kvm"))?;
        let vm = descriptor(ioctl(&kvm, CREATE_VM, 0)).map_err(named("KVM_CREATE_VM"))?;
        let own = room(OWN_PAGES as u64 * PAGE, -1).map_err(named("mmap"))?;
        fill(own);
        set_region(&vm, 0, (OWN, own, OWN_PAGES as u64 * PAGE))
            .map_err(named("KVM_SET_USER_MEMORY_REGION"))?;
        let vcpu = descriptor(ioctl(&vm, CREATE_VCPU, 0)).map_err(named("KVM_CREATE_VCPU"))?;
        let size = ioctl(&kvm, VCPU_MMAP_SIZE, 0).map_err(named("KVM_GET_VCPU_MMAP_SIZE"))?;
        let shared = room(size.cast_unsigned(), vcpu.as_raw_fd()).map_err(named("mmap"))?;
        set_up(&kvm, &vcpu).map_err(named("setting up a virtual processor"))?;
        Ok(Self { vm, vcpu, shared, _kvm: kvm })
    }

    /// Lets the guest write to the page at `addr` of this process; the exit where it does neither.
    fn write(&mut self, addr: u64) -> Result<Result<(), Errno>, u32> {
        const MMIO: u32 = 6;
        // A range outside user space is no memory of a guest's.
        if set_region(&self.vm, 1, (TARGET, addr, PAGE)).is_err() {
            return Ok(Err(Errno::FAULT));
        }
        let (ran, exit) = (self.run(), self.exit());
        // What KVM may only read, it takes for memory of a device when it is written to; then the
        // program goes on.
        let for_device = (ran, exit) == (Ok(()), (MMIO, TARGET));
        let (ran, exit) = if for_device { (self.run(), self.exit()) } else { (ran, exit) };
        // An error means that there was no such region.
        let _ = set_region(&self.vm, 1, (TARGET, addr, 0));
        match (ran, exit) {
            (Ok(()), (MMIO, NOTHING)) if !for_device => Ok(Ok(())),
            (Ok(()), (MMIO, _)) | (Err(_), _) => Ok(Err(Errno::FAULT)),
            (Ok(()), (exit, _)) => Err(exit),
        }
    }

    fn run(&self) -> Result<(), Errno> {
        loop {
            match ioctl(&self.vcpu, RUN, 0) {
                Err(Errno::INTR) if POISONED.swap(false, Relaxed) => return Err(Errno::FAULT),
                Err(Errno::INTR | Errno::AGAIN) => {}
                ran => return ran.map(drop),
            }
        }
    }

    /// Why the processor came back, and for which address of the guest.
    fn exit(&self) -> (u32, u64) {
        let word = |n: u64| {
            let at = std::ptr::with_exposed_provenance::<u64>((self.shared + 8 * n) as usize);
            // SAFETY: a word of the page that was mapped for this, which lives as long.
            unsafe { at.read_volatile() }
        };
        (word(1) as u32, word(4))
    }
}

fn ioctl(fd: &OwnedFd, op: u64, argument: u64) -> Result<i64, Errno> {
    let fd = u64::from(fd.as_raw_fd().cast_unsigned());
    // SAFETY: every operation here takes a number, or the address of what it is said to take; the
    // guest writes to the fixture's range and to memory of its own only.
    unsafe { sys::call(libc::SYS_ioctl, [fd, op, argument, 0, 0, 0]) }
}

/// An ioctl whose argument is `N` words that it reads or writes.
fn with<const N: usize>(fd: &OwnedFd, op: u64, words: &mut [u64; N]) -> Result<(), Errno> {
    ioctl(fd, op, words.as_mut_ptr().expose_provenance() as u64).map(drop)
}

fn descriptor(returned: Result<i64, Errno>) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(returned?).map_err(|_| Errno::BADF)?;
    // SAFETY: the descriptor was just opened and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Memory outside the arena, for good: of `fd`, or anonymous for -1.
fn room(bytes: u64, fd: i32) -> Result<u64, Errno> {
    let prot = (libc::PROT_READ | libc::PROT_WRITE).cast_unsigned();
    let flags = if fd < 0 { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS } else { libc::MAP_SHARED };
    let fd = i64::from(fd).cast_unsigned();
    let args = [0, bytes, prot.into(), flags.cast_unsigned().into(), fd, 0];
    // SAFETY: no address is asked for, so nothing that is mapped is replaced.
    unsafe { sys::call(libc::SYS_mmap, args) }.map(i64::cast_unsigned)
}

/// Writes the guest's tables and program into its own pages.
fn fill(own: u64) {
    // Present, writable, for users, accessed, dirty.
    const ENTRY: u64 = 0x67;
    let put = |page: u64, index: u64, what: u64| {
        let at = (own + page * PAGE + 8 * index) as usize;
        let at = std::ptr::with_exposed_provenance_mut::<u64>(at);
        // SAFETY: a word of the pages that were just mapped, which nobody else uses yet.
        unsafe { at.write_volatile(what) };
    };
    let index = |level: u64| (PROGRAM_AT >> (12 + 9 * level)) & 511;
    for (page, level) in [(0, 3), (1, 2), (2, 1)] {
        put(page, index(level), (OWN + (page + 1) * PAGE) | ENTRY);
    }
    for (page, behind) in (0_u64..).zip([OWN + 4 * PAGE, TARGET, NOTHING]) {
        put(3, index(0) + page, behind | ENTRY);
    }
    let mut program = [0; 8];
    program[..PROGRAM.len()].copy_from_slice(&PROGRAM);
    put(4, 0, u64::from_le_bytes(program));
}

/// Says that `bytes` bytes of the guest's memory from `guest` on lie at `user`; none removes them.
fn set_region(vm: &OwnedFd, slot: u64, at: (u64, u64, u64)) -> Result<(), Errno> {
    let (guest, user, bytes) = at;
    with(vm, SET_USER_MEMORY_REGION, &mut [slot, guest, bytes, user])
}

/// A user program in long mode, about to begin.
fn set_up(kvm: &OwnedFd, vcpu: &OwnedFd) -> Result<(), Errno> {
    /// `struct kvm_cpuid2` with room for that many entries of 40 bytes.
    const LEAVES: u64 = 256;
    let mut cpuid = [0_u64; 1 + LEAVES as usize * 5];
    cpuid[0] = LEAVES;
    with(kvm, SUPPORTED_CPUID, &mut cpuid)?;
    with(vcpu, SET_CPUID2, &mut cpuid)?;
    // `struct kvm_sregs`: eight segments of 3 words, two tables of 2, control registers and more.
    let mut sregs = [0_u64; 39];
    with(vcpu, GET_SREGS, &mut sregs)?;
    let segment = |selector: u64, kind: u64, more: u64| {
        [0, 0xffff_ffff | selector << 32 | kind << 48 | 1 << 56, more]
    };
    // dpl, db, s, l, g: a byte each.
    let code = segment(0x33, 11, 3 | 1 << 16 | 1 << 24 | 1 << 32);
    let data = segment(0x2b, 3, 3 | 1 << 8 | 1 << 16 | 1 << 32);
    let task = [0, 0x67 | 0x40 << 32 | 11 << 48 | 1 << 56, 0];
    let none = [0, 2 << 48, 1 << 48];
    for (n, segment) in [code, data, data, data, data, data, task, none].into_iter().enumerate() {
        sregs[3 * n..3 * n + 3].copy_from_slice(&segment);
    }
    // The control registers 0, 2, 3, 4 and 8, and EFER.
    let control = [0x8005_0033, 0, OWN, 1 << 5 | 1 << 7 | 1 << 9, 0, 0xd01];
    sregs[28..34].copy_from_slice(&control);
    with(vcpu, SET_SREGS, &mut sregs)?;
    // `struct kvm_regs`: rsi and rdi are words 4 and 5, rip and rflags the last two.
    let mut regs = [0_u64; 18];
    (regs[0], regs[4], regs[5]) = (0x5a, NOTHING_AT, TARGET_AT);
    (regs[16], regs[17]) = (PROGRAM_AT, 2);
    with(vcpu, SET_REGS, &mut regs)
}
