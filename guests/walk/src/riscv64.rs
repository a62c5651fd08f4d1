//! RISC-V: the examiner in M-mode, where addresses are physical; the program in U-mode.
//!
//! Every exception of the program comes to M-mode, with its cause and address.
//! Source: *The RISC-V Instruction Set Manual, Volume II: Privileged Architecture*.

use crate::program::Program;
use crate::{Room, report};
use alloc::format;
use bare::println;
use core::arch::{asm, global_asm};
use core::sync::atomic::Ordering::SeqCst;
use exam::{Access, Ended};
use gup::addr::{PAGE_SIZE, Pfn};
use gup::host::Memory;
use gup::pgtable::{Format, Perms, Riscv, Sv39, Touch, level_pages};

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
/// EBREAK.
pub(crate) const BREAKPOINT: u32 = 0x0010_0073;
/// The program's parts: a load, a store, a jump.
pub(crate) const PARTS: [&[u32]; 3] = [&[LB, BREAKPOINT], &[SB, BREAKPOINT], &[JR]];
/// Bit 60 is reserved without Svrsw60t59b.
pub(crate) const RESERVES_UFFD_WP: bool = true;

/// The cause of a breakpoint.
const BROKE: u64 = 3;

/// What `satp` holds for tables of format `F` under `root`.
fn satp<F: Format>(root: Pfn) -> u64 {
    let mode = 8 + u64::from(F::LEVELS) - 3;
    mode << 60 | root.get()
}

/// Lets the processor use the tables under `root`, and forget all translations.
pub(crate) fn load<F: Format>(root: Pfn) {
    set(satp::<F>(root));
}

/// Writes `satp` and forgets all translations; what it holds then.
fn set(satp: u64) -> u64 {
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

/// Lets the program go on at `pc` in U-mode, with the access's address in a0 and `byte` in a1,
/// until it takes an exception.
pub(crate) fn run(pc: u64, (addr, _): Access, byte: u8) -> Ended {
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
    match cause {
        BROKE => Ended::Done,
        code => Ended::Fault { code, addr: value },
    }
}

/// Whether the processor marks a leaf accessed itself.
fn marks_leaves(room: &Room) -> bool {
    // A root with one 1 GiB leaf, not accessed, for the lowest addresses: if the processor wants it
    // marked, not even the program can begin.
    let (page, root) = (room.own, room.own.offset(1));
    let _written = Program::<Sv39>::new(room);
    let giant = Pfn::new(page.get() & !(level_pages(2) - 1));
    let leaf = Sv39::leaf(giant, Perms { exec: true, ..Perms::default() }, 2);
    room.memory.zero(root, 1);
    room.memory.table(root)[0].store(leaf, SeqCst);
    load::<Sv39>(root);
    let within = (page.get() - giant.get()) * PAGE_SIZE;
    run(within, (within, Touch::Read), 0) == Ended::Done
}

fn one<F: Format>(name: &str, room: &Room) {
    let wanted = satp::<F>(room.own);
    if set(wanted) == wanted {
        report(name, Program::<F>::new(room), room);
    } else {
        println!("cannot ask, {name}: the processor has no such mode");
    }
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
