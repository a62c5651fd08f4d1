//! RISC-V: the examiner in M-mode, where addresses are physical; the program in U-mode.
//!
//! Every exception of the program comes to M-mode, with its cause and address.
//! Source: *The RISC-V Instruction Set Manual, Volume II: Privileged Architecture*.

use crate::{Room, report};
use alloc::format;
use alloc::sync::Arc;
use bare::Ram;
use core::arch::{asm, global_asm};
use core::marker::PhantomData;
use exam::{Access, CannotAsk, Ended, Processor, Walk};
use gup::addr::Pfn;
use gup::host::Memory;
use gup::pgtable::{Format, Perms, Riscv, Touch};

global_asm!(
    ".section .text.entry, \"ax\"",
    ".globl _start",
    "_start:",
    "la sp, stack_top",
    // The floating-point registers may be used; the previous mode is U.
    "li t0, 0x2000",
    "csrw mstatus, t0",
    // U-mode may reach all memory (one PMP entry).
    "li t0, -1",
    "csrw pmpaddr0, t0",
    "li t0, 0x1f",
    "csrw pmpcfg0, t0",
    "call start",
);

const LB: u32 = 0x0005_0283;
const SB: u32 = 0x00b5_0023;
const JR: u32 = 0x0005_0067;
const EBREAK: u32 = 0x0010_0073;
const BREAKPOINT: u64 = 3;

/// The processor, for tables of format `F`.
struct Hart<F> {
    memory: Arc<Ram>,
    program: Pfn,
    format: PhantomData<F>,
}

impl<F: Format> Hart<F> {
    fn new(room: &Room) -> Self {
        let parts: [&[u32]; 3] = [&[LB, EBREAK], &[SB, EBREAK], &[JR]];
        room.write_program(room.own, &parts);
        Self { memory: Arc::clone(&room.memory), program: room.own, format: PhantomData }
    }
    /// What `satp` holds for tables under `root`.
    fn satp(root: Pfn) -> u64 {
        let mode = 8 + u64::from(F::LEVELS) - 3;
        mode << 60 | root.get()
    }
    fn access(&self, program: u64, (addr, touch): Access) -> Ended {
        let part = match touch {
            Touch::Read => 0,
            Touch::Write => 16,
            Touch::Execute => 32,
        };
        let byte = Self::FILL[addr as usize % 4];
        let (cause, value) = run(program + part, addr, byte);
        match cause {
            BREAKPOINT => Ended::Done,
            code => Ended::Fault { code, addr: value },
        }
    }
}

impl<F: Format> Processor for Hart<F> {
    type Format = F;
    type Memory = Ram;
    const FILL: [u8; 4] = EBREAK.to_le_bytes();
    const ALIGN: u64 = 4;
    fn memory(&self) -> &Arc<Ram> {
        &self.memory
    }
    fn largest(&self) -> u8 {
        2
    }
    /// Bit 60 is reserved without Svrsw60t59b.
    fn never(&self) -> Perms {
        Perms { uffd_wp: true, ..Perms::default() }
    }
    fn program(&self) -> Pfn {
        self.program
    }
    fn take(&mut self, walks: &mut [Walk]) -> Result<(), CannotAsk> {
        for walk in walks {
            load(Self::satp(walk.root));
            let ended = walk.accesses.iter().map(|&access| self.access(walk.program, access));
            walk.ended = ended.collect();
        }
        Ok(())
    }
}

/// Writes `satp` and forgets all translations; what it holds then.
fn load(satp: u64) -> u64 {
    let held: u64;
    // SAFETY: M-mode's own addresses are not translated, so nothing changes for this program; the
    // tables are complete before (the asm may touch memory, so stores are not moved behind it).
    unsafe {
        asm!(
            "csrw satp, {satp}", "sfence.vma", "fence.i", "csrr {held}, satp",
            satp = in(reg) satp, held = out(reg) held, options(nostack),
        );
    }
    held
}

/// Lets a program go on at `pc` in U-mode, with `addr` in a0 and `byte` in a1, until it takes an
/// exception: its cause, and the value that came with it.
fn run(pc: u64, addr: u64, byte: u8) -> (u64, u64) {
    let (cause, value): (u64, u64);
    // SAFETY: the program's instructions are those of its page, or breakpoints: all it changes is
    // t0 and a byte of a data frame that only it and atomics use. Each exception comes back to the
    // label, whose address is a multiple of four, with all other registers as they were.
    unsafe {
        asm!(
            "la t1, 2f",
            "csrw mtvec, t1",
            "csrw mepc, {pc}",
            // The previous mode: U.
            "li t1, 0x1800",
            "csrc mstatus, t1",
            "mret",
            ".balign 4",
            "2:",
            "csrr {cause}, mcause",
            "csrr {value}, mtval",
            pc = in(reg) pc,
            cause = lateout(reg) cause,
            value = lateout(reg) value,
            in("a0") addr,
            in("a1") u64::from(byte),
            out("t0") _,
            out("t1") _,
            options(nostack),
        );
    }
    (cause, value)
}

/// Whether the processor marks a leaf accessed itself.
fn marks_leaves(room: &Room) -> bool {
    let hart = Hart::<Riscv<3>>::new(room);
    // A root with one 1 GiB leaf, not accessed, for the lowest addresses: what is mapped there does
    // not matter but for the program, which never begins if it may not.
    let root = room.own.offset(1);
    let giant = Pfn::new(hart.program.get() & !0x3_ffff);
    let perms = Perms { exec: true, ..Perms::default() };
    room.memory.zero(root, 1);
    room.memory.table(root)[0]
        .store(Riscv::<3>::leaf(giant, perms, 2), core::sync::atomic::Ordering::SeqCst);
    load(Hart::<Riscv<3>>::satp(root));
    let within = (hart.program.get() & 0x3_ffff) << 12;
    hart.access(within, (within, Touch::Read)) == Ended::Done
}

fn one<F: Format>(name: &str, room: &Room) {
    let wanted = Hart::<F>::satp(room.own);
    if load(wanted) != wanted {
        bare::println!("cannot ask, {name}: the processor has no such mode");
        return;
    }
    report(name, Hart::<F>::new(room), &room.layout);
}

/// Examines every mode that there is.
pub(crate) fn examine_all(room: &Room) {
    if marks_leaves(room) {
        all_modes::<true>("Svadu", room);
    } else {
        all_modes::<false>("Svade", room);
    }
}

fn all_modes<const SVADU: bool>(marks: &str, room: &Room) {
    one::<Riscv<3, false, SVADU>>(&format!("Sv39, {marks}"), room);
    one::<Riscv<4, false, SVADU>>(&format!("Sv48, {marks}"), room);
    one::<Riscv<5, false, SVADU>>(&format!("Sv57, {marks}"), room);
    one::<Riscv<3, true, SVADU>>(&format!("Sv39, Svnapot, {marks}"), room);
}
