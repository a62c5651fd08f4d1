//! AArch64: the examiner in EL2, where addresses are not translated; the program in EL0.
//!
//! The program's exceptions go to EL1, whose vectors are one page of HVC in the upper half, which
//! the engine's tables are not for; so each comes to EL2, with its syndrome and address still in
//! EL1's registers. Source: *Arm Architecture Reference Manual for A-profile architecture*.

use crate::program::Program;
use crate::{Room, report};
use bare::println;
use core::arch::{asm, global_asm};
use core::sync::atomic::Ordering::SeqCst;
use exam::{Access, Ended};
use gup::addr::Pfn;
use gup::host::Memory;
use gup::pgtable::{AArch64, Format, Touch};

global_asm!(
    ".section .text.entry, \"ax\"",
    ".globl _start",
    "_start:",
    "ldr x0, =stack_top",
    "mov sp, x0",
    // Vector registers may be used.
    "mov x0, #0x33ff",
    "msr cptr_el2, x0",
    // EL1 is AArch64, and nothing of what it does comes here but HVC.
    "mov x0, #0x80000000",
    "msr hcr_el2, x0",
    "adr x0, vectors",
    "msr vbar_el2, x0",
    "isb",
    "b start",
    ".balign 2048",
    "vectors:",
    ".rept 8",
    ".balign 128",
    "b unexpected",
    ".endr",
    // Synchronous, from a lower level: `run` waits for it.
    ".balign 128",
    "br x9",
    ".rept 7",
    ".balign 128",
    "b unexpected",
    ".endr",
);

const LDRB: u32 = 0x3940_0002;
const STRB: u32 = 0x3900_0001;
const BR: u32 = 0xd61f_0000;
const HVC: u32 = 0xd400_0002;
/// SVC.
pub(crate) const BREAKPOINT: u32 = 0xd400_0001;
/// The program's parts: a load, a store, a jump.
pub(crate) const PARTS: [&[u32]; 3] = [&[LDRB, BREAKPOINT], &[STRB, BREAKPOINT], &[BR]];
/// Bit 58 is left to software.
pub(crate) const RESERVES_UFFD_WP: bool = false;

/// Where EL1's vectors are: the first page of the upper half.
const VECTORS: u64 = 0xffff_0000_0000_0000;
/// Valid, table or page, accessed, shareable.
const SUPERVISOR: u64 = 1 | 1 << 1 | 1 << 10 | 3 << 8;

// Classes of exceptions.
const FETCH_ABORT: u64 = 0x20;
const DATA_ABORT: u64 = 0x24;
const SYSTEM_CALL: u64 = 0x15;

/// The 4 KiB granule, 48-bit addresses in both halves, 40 bits of physical addresses, tables in
/// cached memory.
const TRANSLATION: u64 =
    16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30 | 2 << 32;
/// The processor marks leaves accessed and dirty.
const HARDWARE_MARKS: u64 = 1 << 39 | 1 << 40;

/// An exception that the examiner took itself.
#[unsafe(no_mangle)]
extern "C" fn unexpected() -> ! {
    let (syndrome, at): (u64, u64);
    // SAFETY: reads two registers.
    unsafe { asm!("mrs {}, esr_el2", "mrs {}, elr_el2", out(reg) syndrome, out(reg) at) };
    panic!("exception in EL2: syndrome {syndrome:#x}, at {at:#x}");
}

/// Sets EL1 up: `marks` is 0 or [`HARDWARE_MARKS`].
fn prepare(room: &Room, marks: u64) {
    let vectors = room.own.offset(1);
    for offset in (0..2048).step_by(128) {
        room.memory.write(vectors, offset, &HVC.to_le_bytes());
    }
    let mut below = vectors;
    for table in 2..6 {
        let table = room.own.offset(table);
        room.memory.zero(table, 1);
        room.memory.table(table)[0].store(below.get() << 12 | SUPERVISOR, SeqCst);
        below = table;
    }
    // SAFETY: registers of EL1 and EL0, in which nothing runs now.
    unsafe {
        asm!(
            "msr ttbr1_el1, {top}", "msr tcr_el1, {tcr}", "msr mair_el1, {mair}",
            "msr vbar_el1, {vectors}", "msr sctlr_el1, {sctlr}", "isb",
            top = in(reg) below.get() << 12,
            tcr = in(reg) TRANSLATION | marks,
            mair = in(reg) 0xff_u64,
            vectors = in(reg) VECTORS,
            // Reserved ones; translation, and caches.
            sctlr = in(reg) 0x30d0_0800_u64 | 1 | 1 << 2 | 1 << 12,
            options(nostack),
        );
    }
}

/// Makes `root` the lower half's, and forgets all translations.
pub(crate) fn load<F: Format>(root: Pfn) {
    // SAFETY: EL2's own addresses are not translated, so nothing changes for this program; the
    // tables are complete before (the asm may touch memory, so stores are not moved behind it).
    unsafe {
        asm!(
            "dsb sy", "msr ttbr0_el1, {root}", "isb", "tlbi alle1", "ic iallu", "dsb sy", "isb",
            root = in(reg) root.get() << 12, options(nostack),
        );
    }
}

/// Lets the program go on at `pc` in EL0, with the access's address in x0 and `byte` in w1, until
/// it takes an exception.
pub(crate) fn run(pc: u64, (addr, touch): Access, byte: u8) -> Ended {
    let (syndrome, fault_addr): (u64, u64);
    // SAFETY: the program's instructions are those of its page, or SVC: all it changes is w2 and a
    // byte of a data frame that only it and atomics use. Each exception goes through EL1's HVC to
    // the label in x9, with all other registers as they were.
    unsafe {
        asm!(
            "adr x9, 2f",
            "msr elr_el2, {pc}",
            // EL0, all interrupts masked.
            "mov x10, #0x3c0",
            "msr spsr_el2, x10",
            "isb",
            "eret",
            "2:",
            "mrs {syndrome}, esr_el1",
            "mrs {fault_addr}, far_el1",
            pc = in(reg) pc,
            syndrome = lateout(reg) syndrome,
            fault_addr = lateout(reg) fault_addr,
            in("x0") addr,
            in("x1") u64::from(byte),
            out("x2") _,
            out("x9") _,
            out("x10") _,
            options(nostack),
        );
    }
    let aborts = if touch == Touch::Execute { FETCH_ABORT } else { DATA_ABORT };
    match syndrome >> 26 {
        SYSTEM_CALL => Ended::Done,
        class if class == aborts => Ended::Fault { code: syndrome & 0x3f, addr: fault_addr },
        class => panic!("{touch:?} of {addr:#x}: exception class {class:#x}"),
    }
}

/// Examines software and, where the processor has it, hardware marks.
pub(crate) fn examine_all(room: &Room) {
    let features: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, id_aa64mmfr1_el1", out(reg) features) };
    prepare(room, 0);
    report("AArch64, marks by software", Program::<AArch64>::new(room), room);
    if features & 0xf >= 2 {
        prepare(room, HARDWARE_MARKS);
        let program = Program::<AArch64<false, true>>::new(room);
        report("AArch64, FEAT_HAFDBS", program, room);
        let program = Program::<AArch64<true, true>>::new(room);
        report("AArch64, FEAT_HAFDBS, contiguous", program, room);
    } else {
        println!("cannot ask, AArch64, FEAT_HAFDBS: the processor has it not");
    }
}
