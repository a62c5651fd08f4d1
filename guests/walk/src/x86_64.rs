//! x86-64: the examiner in ring 0, in tables of its own that map memory as it is; the program in
//! ring 3, with `exam`'s kernel.
//!
//! The kernel is mapped at the same addresses in the examiner's tables and in those examined, so
//! that it can change from one to the other. With 5 levels where the processor has them, else 4.
//! Source: Intel SDM volume 3; the Xen PVH boot protocol, by which the emulator begins.

use crate::{Room, report};
use alloc::sync::Arc;
use bare::Ram;
use core::arch::x86_64::__cpuid;
use core::arch::{asm, global_asm};
use core::ptr::with_exposed_provenance_mut;
use exam::{CannotAsk, Kernel, Processor, Walk};
use gup::addr::Pfn;
use gup::pgtable::X86;

type OwnKernel = Kernel<Ram>;

global_asm!(
    // Where a PVH loader enters, with 32 bits and no paging.
    ".section .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad start32",
    ".section .text.entry, \"ax\"",
    ".code32",
    "start32:",
    "cli",
    "mov esp, offset stack_top",
    // PAE; LA57 and one table more where the processor has it.
    "mov esi, 0x20",
    "mov edi, offset own_pml4",
    "mov eax, 7",
    "xor ecx, ecx",
    "cpuid",
    "bt ecx, 16",
    "jnc 2f",
    "or esi, 0x1000",
    "mov edi, offset own_pml5",
    "2:",
    "mov cr4, esi",
    "mov cr3, edi",
    // Long mode, NX; paging, and read-only is read-only.
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x900",
    "wrmsr",
    "mov eax, cr0",
    "or eax, 0x80010001",
    "mov cr0, eax",
    "lgdt [own_gdt_pointer]",
    "push 8",
    "mov eax, offset start64",
    "push eax",
    "retf",
    ".code64",
    "start64:",
    "xor eax, eax",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "lea rsp, [rip + stack_top]",
    "call start",
    ".section .data.entry, \"aw\"",
    ".balign 8",
    "own_gdt:",
    ".quad 0, 0x00af9b000000ffff",
    "own_gdt_pointer:",
    ".word 15",
    ".long own_gdt",
    // The lowest GiB as it is, in leaves of 2 MiB.
    ".balign 4096",
    "own_pml5:",
    ".quad own_pml4 + 3",
    ".balign 4096",
    "own_pml4:",
    ".quad own_pdpt + 3",
    ".balign 4096",
    "own_pdpt:",
    ".quad own_pd + 3",
    ".balign 4096",
    "own_pd:",
    ".set addr, 0",
    ".rept 512",
    ".quad addr + 0x83",
    ".set addr, addr + 0x200000",
    ".endr",
);

/// How the kernel ends: mov cr3, r8; mov rsp, r10; jmp r9.
const BACK: [u8; 10] = [0x41, 0x0f, 0x22, 0xd8, 0x4c, 0x89, 0xd4, 0x41, 0xff, 0xe1];

/// What LGDT and LIDT take.
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

impl From<(u64, u16)> for TablePointer {
    fn from((base, limit): (u64, u16)) -> Self {
        Self { limit, base }
    }
}

/// The processor.
struct Cpu<const LEVELS: u8> {
    memory: Arc<Ram>,
    kernel: OwnKernel,
}

impl<const LEVELS: u8> Cpu<LEVELS> {
    fn new(room: &Room) -> Self {
        let kernel = Kernel::new(&room.memory, room.own, &BACK);
        let root: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack)) };
        let (index, word) = kernel.root_entry(LEVELS);
        let place = with_exposed_provenance_mut::<u64>(root as usize).wrapping_add(index);
        // SAFETY: an entry of this program's root table, a page of its data that only the processor
        // reads, and that no reference is to; it is empty, so no translation changes.
        unsafe { place.write_volatile(word) };
        let (gdt, idt) = (OwnKernel::GDT.into(), OwnKernel::IDT.into());
        use_descriptors(&gdt, &idt);
        Self { memory: Arc::clone(&room.memory), kernel }
    }
}

/// Takes the kernel's segments, gates and task. Nothing here runs with interrupts.
fn use_descriptors(gdt: &TablePointer, idt: &TablePointer) {
    // SAFETY: the kernel is mapped; its code segment is the one in use, at the same place; its
    // gates are for exceptions, of which the examiner takes none.
    unsafe {
        asm!(
            "lgdt [{gdt}]", "lidt [{idt}]", "ltr {task:x}",
            gdt = in(reg) gdt, idt = in(reg) idt, task = in(reg) OwnKernel::TASK,
            options(nostack),
        );
    }
}

impl<const LEVELS: u8> Processor for Cpu<LEVELS> {
    type Format = X86<LEVELS>;
    type Memory = Ram;
    const FILL: [u8; 4] = [OwnKernel::BREAKPOINT; 4];
    const ALIGN: u64 = 1;
    fn memory(&self) -> &Arc<Ram> {
        &self.memory
    }
    fn largest(&self) -> u8 {
        // 1 GiB leaves.
        if __cpuid(0x8000_0001).edx >> 26 & 1 == 1 { 2 } else { 1 }
    }
    /// QEMU marks a leaf of 1 GiB before it looks whether it allows the access.
    fn may_mark_refused(&self, level: u8) -> bool {
        level == 2
    }
    fn program(&self) -> Pfn {
        self.kernel.program()
    }
    fn take(&mut self, walks: &mut [Walk]) -> Result<(), CannotAsk> {
        for walk in walks {
            self.kernel.map(walk.root, LEVELS);
            run(&self.kernel, walk)?;
            self.kernel.unmap(walk.root, LEVELS);
            self.kernel.note(walk);
        }
        Ok(())
    }
}

/// Lets the program of `walk` take its accesses.
fn run(kernel: &OwnKernel, walk: &Walk) -> Result<(), CannotAsk> {
    let begin = kernel.prepare(walk)?;
    let stack = kernel.push(&begin);
    // SAFETY: the kernel changes to the tables examined, where it is mapped too, and, after the
    // list, back to these, with the stack and at the label that were put in registers which neither
    // it nor the program uses. All that they change otherwise is named below, the kernel's own
    // pages, and bytes of data frames that only the program and atomics use.
    unsafe {
        asm!(
            "mov r8, cr3",
            "lea r9, [rip + 2f]",
            "mov r10, rsp",
            "mov rsp, {stack}",
            "jmp {enter}",
            "2:",
            stack = in(reg) stack,
            enter = in(reg) OwnKernel::ENTER,
            inout("rax") begin.rax => _,
            in("rcx") begin.rcx,
            inout("rdx") walk.root.get() << 12 => _,
            inout("rsi") begin.rsi => _,
            inout("rdi") begin.rdi => _,
            out("r8") _,
            out("r9") _,
            out("r10") _,
        );
    }
    Ok(())
}

/// Examines the mode that the processor is in.
pub(crate) fn examine_all(room: &Room) {
    let cr4: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack)) };
    if cr4 >> 12 & 1 == 1 {
        let cpu = Cpu::<5>::new(room);
        bare::println!("leaves up to level {}", cpu.largest());
        report("x86-64, 5 levels", cpu, room);
    } else {
        let cpu = Cpu::<4>::new(room);
        bare::println!("leaves up to level {}", cpu.largest());
        report("x86-64, 4 levels", cpu, room);
    }
}
