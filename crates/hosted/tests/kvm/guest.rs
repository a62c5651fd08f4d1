//! A virtual processor whose memory is the engine's, for many accesses of a user program at a time.
//!
//! The guest's kernel is a page of instructions. It notes how an access ended (by a breakpoint or
//! by a page fault), takes the next one from a list, and lets the program go on with that; at the
//! end of the list, and on any other exception, it executes HLT, which ends the run. Its pages are
//! mapped by tables of its own in the upper half, which the engine never looks at. Every data frame
//! is full of breakpoint instructions, so that an access that succeeds, fetches too, ends in one.
//! Invariant: the memory lives longer than the machine that maps it (field order of [`Guest`]).
//! Linux: Documentation/virt/kvm/api.rst.

use exam::{CannotAsk, Ended, Processor, Walk};
use gup::addr::Pfn;
use gup::host::Memory;
use gup::pgtable::{Touch, X86};
use gup_hosted::HostedMemory;
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// The kernel's pages, from the frame given to [`Guest::new`]: tables, then what they map.
const KERNEL_TABLES: u64 = 4;
const GDT: u64 = 0;
const IDT: u64 = 1;
const TSS: u64 = 2;
const STACK: u64 = 3;
const HANDLERS: u64 = 4;
/// Pairs of words: where the program begins an access, and the access's address; 0 ends the list.
const LIST: u64 = 5;
/// Pairs of words: the fault's error code, or [`DONE`], and its address.
const RESULTS: u64 = 6;
const KERNEL_PAGES: u64 = 7;
/// Accesses that the list has room for, with its end.
const LIST_MAX: usize = 255;
/// The frame of the program's instructions, after the kernel's.
const PROGRAM: u64 = KERNEL_TABLES + KERNEL_PAGES;
/// Frames that the kernel needs, and one for the program's instructions.
pub(crate) const KERNEL_FRAMES: u64 = KERNEL_TABLES + KERNEL_PAGES + 1;

/// The first address of the upper half with 4 levels; with 5, the addresses are sign-extended too.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// Present, writable, accessed and dirty: no leaf of a user.
const SUPERVISOR: u64 = 1 | 1 << 1 | 1 << 5 | 1 << 6;

const KERNEL_CODE: u16 = 8;
const USER_CODE: u16 = 0x18 | 3;
const USER_DATA: u16 = 0x20 | 3;
const TASK: u16 = 0x28;

/// An instruction of one byte that a program uses to say that it got here.
pub(crate) const BREAKPOINT: u8 = 0xcc;
const HLT: u8 = 0xf4;
/// A jump by as many bytes as its four-byte operand says, from its own end.
const JUMP: u8 = 0xe9;
const JUMP_BYTES: usize = 5;
const BREAKPOINT_VECTOR: u64 = 3;
const PAGE_FAULT_VECTOR: u64 = 14;

/// What the kernel notes of an access that was done.
const DONE: u64 = u64::MAX;
/// The kernel's routines, from byte 512 of its page on. `rsi` is where the next pair of the list
/// is, `rdi` where the next result goes, `rsp` where the program's registers were put.
#[rustfmt::skip]
const ROUTINES: [u8; 38] = [
    // A breakpoint: mov qword [rdi], -1; jmp next
    0x48, 0xc7, 0x07, 0xff, 0xff, 0xff, 0xff, 0xeb, 0x09,
    // A page fault: pop qword [rdi]; mov rbx, cr2; mov [rdi + 8], rbx
    0x8f, 0x07, 0x0f, 0x20, 0xd3, 0x48, 0x89, 0x5f, 0x08,
    // next: add rdi, 16; lodsq; test rax, rax; jz end
    0x48, 0x83, 0xc7, 0x10, 0x48, 0xad, 0x48, 0x85, 0xc0, 0x74, 0x08,
    // mov [rsp], rax; lodsq; iretq
    0x48, 0x89, 0x04, 0x24, 0x48, 0xad, 0x48, 0xcf,
    // end: hlt
    0xf4,
];
const ROUTINES_AT: usize = 512;
/// The routine of page faults, in [`ROUTINES`].
const FAULT_ROUTINE: usize = 9;

/// The machine, with one processor.
pub(crate) struct Guest<const LEVELS: u8> {
    vcpu: VcpuFd,
    vm: VmFd,
    sregs: kvm_sregs,
    largest: u8,
    first: Pfn,
    memory: Arc<HostedMemory>,
}

impl<const LEVELS: u8> Guest<LEVELS> {
    /// One in `memory`, whose frames from `first` on are the kernel's.
    pub(crate) fn new(memory: Arc<HostedMemory>, first: Pfn) -> Result<Self, CannotAsk> {
        let kvm = Kvm::new().map_err(|error| format!("/dev/kvm: {error}"))?;
        let vm = kvm.create_vm().map_err(|error| format!("KVM_CREATE_VM: {error}"))?;
        let vcpu = vm.create_vcpu(0).map_err(|error| format!("KVM_CREATE_VCPU: {error}"))?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(|error| format!("KVM_GET_SUPPORTED_CPUID: {error}"))?;
        let la57 =
            cpuid.as_slice().iter().any(|leaf| leaf.function == 7 && leaf.ecx >> 16 & 1 == 1);
        let extended = cpuid.as_slice().iter().find(|leaf| leaf.function == 0x8000_0001);
        let largest = if extended.is_some_and(|leaf| leaf.edx >> 26 & 1 == 1) { 2 } else { 1 };
        if LEVELS == 5 && !la57 {
            return Err("a guest's processor has no 5-level paging here".into());
        }
        vcpu.set_cpuid2(&cpuid).map_err(|error| format!("KVM_SET_CPUID2: {error}"))?;
        let sregs = vcpu.get_sregs().map_err(|error| format!("KVM_GET_SREGS: {error}"))?;
        let mut guest = Self { vcpu, vm, sregs, largest, first, memory };
        guest.write_kernel();
        guest.sregs = guest.user_sregs();
        Ok(guest)
    }

    fn page(&self, page: u64) -> Pfn {
        self.first.offset(KERNEL_TABLES + page)
    }
    fn set_word(&self, pfn: Pfn, index: usize, word: u64) {
        self.memory.table(pfn)[index].store(word, SeqCst);
    }

    fn write_kernel(&self) {
        // One table a level; with 4 levels the topmost stays unused.
        for level in 1..KERNEL_TABLES {
            let (table, below) = (self.first.offset(level), self.first.offset(level - 1));
            // With 5 levels, the addresses' bits 39 to 47 are those of entry 256.
            let index = if level == 3 { 256 } else { 0 };
            self.set_word(table, index, below.get() << 12 | SUPERVISOR);
        }
        for page in 0..KERNEL_PAGES {
            self.set_word(self.first, page as usize, self.page(page).get() << 12 | SUPERVISOR);
        }
        let tss = KERNEL + TSS * 4096;
        let low = 0x67 | (tss & 0xff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56;
        let descriptors = [
            0,
            0x00af_9b00_0000_ffff,
            0x00cf_9300_0000_ffff,
            0x00af_fb00_0000_ffff,
            0x00cf_f300_0000_ffff,
            low,
            tss >> 32,
        ];
        for (index, word) in descriptors.into_iter().enumerate() {
            self.set_word(self.page(GDT), index, word);
        }
        for vector in 0..32_u64 {
            let handler = KERNEL + HANDLERS * 4096 + 16 * vector;
            // An interrupt gate that a program may use.
            let low = handler & 0xffff
                | u64::from(KERNEL_CODE) << 16
                | 0xee << 40
                | (handler >> 16 & 0xffff) << 48;
            self.set_word(self.page(IDT), 2 * vector as usize, low);
            self.set_word(self.page(IDT), 2 * vector as usize + 1, handler >> 32);
        }
        let stack = KERNEL + STACK * 4096 + 4096;
        self.memory.write(self.page(TSS), 4, &stack.to_le_bytes());
        self.memory.write(self.page(HANDLERS), 0, &[HLT; ROUTINES_AT]);
        self.memory.write(self.page(HANDLERS), ROUTINES_AT, &ROUTINES);
        for (vector, routine) in [(BREAKPOINT_VECTOR, 0), (PAGE_FAULT_VECTOR, FAULT_ROUTINE)] {
            let from = 16 * vector as usize;
            let to = (ROUTINES_AT + routine - from - JUMP_BYTES) as u32;
            self.memory.write(self.page(HANDLERS), from, &[JUMP]);
            self.memory.write(self.page(HANDLERS), from + 1, &to.to_le_bytes());
        }
        let program = [
            // mov dl, [rax]; mov [rax], cl; jmp rax
            (Touch::Read, [0x8a, 0x10, BREAKPOINT]),
            (Touch::Write, [0x88, 0x08, BREAKPOINT]),
            (Touch::Execute, [0xff, 0xe0, BREAKPOINT]),
        ];
        for (touch, bytes) in program {
            let program = self.first.offset(PROGRAM);
            self.memory.write(program, entry_point(touch) as usize, &bytes);
        }
    }

    /// The special registers of a program in long mode.
    fn user_sregs(&self) -> kvm_sregs {
        let mut sregs = self.sregs;
        let flat =
            kvm_segment { limit: 0xffff_ffff, present: 1, g: 1, s: 1, ..kvm_segment::default() };
        let data = kvm_segment { selector: USER_DATA, type_: 3, dpl: 3, db: 1, ..flat };
        sregs.cs = kvm_segment { selector: USER_CODE, type_: 11, dpl: 3, l: 1, ..flat };
        (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
        let base = KERNEL + TSS * 4096;
        let task =
            kvm_segment { base, limit: 0x67, selector: TASK, type_: 11, ..kvm_segment::default() };
        sregs.tr = kvm_segment { present: 1, ..task };
        sregs.ldt = kvm_segment { unusable: 1, type_: 2, ..kvm_segment::default() };
        (sregs.gdt.base, sregs.gdt.limit) = (KERNEL + GDT * 4096, 7 * 8 - 1);
        (sregs.idt.base, sregs.idt.limit) = (KERNEL + IDT * 4096, 32 * 16 - 1);
        // PE, MP, ET, NE, WP, AM, PG.
        sregs.cr0 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 18 | 1 << 31;
        // PAE, PGE, OSFXSR, OSXMMEXCPT; LA57.
        let la57 = if LEVELS == 5 { 1 << 12 } else { 0 };
        sregs.cr4 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10 | la57;
        // SCE, LME, LMA, NXE.
        sregs.efer = 1 | 1 << 8 | 1 << 10 | 1 << 11;
        sregs
    }

    /// Shows the machine its memory anew, so that it forgets what it learnt from tables there.
    fn forget(&mut self) -> Result<(), CannotAsk> {
        let region = kvm_userspace_memory_region {
            slot: 0,
            guest_phys_addr: 0,
            memory_size: self.memory.frames() << 12,
            userspace_addr: self.memory.address(Pfn::new(0)).ok_or("no frame 0")? as u64,
            flags: 0,
        };
        let none = kvm_userspace_memory_region { memory_size: 0, ..region };
        // SAFETY: removes a region, or is refused if there is none yet.
        let _first_time_refused = unsafe { self.vm.set_user_memory_region(none) };
        // SAFETY: the range is the whole mapping of `memory`, which lives longer than the machine;
        // Rust reaches it through atomics only, as if the guest were another thread.
        unsafe { self.vm.set_user_memory_region(region) }
            .map_err(|error| format!("KVM_SET_USER_MEMORY_REGION: {error}"))
    }

    /// Where the kernel's tables hang in a root: its addresses have bits 47 and up set.
    fn kernel_index() -> usize {
        if LEVELS == 5 { 511 } else { 256 }
    }

    /// Takes the accesses of one program.
    fn run(&mut self, walk: &mut Walk) -> Result<(), CannotAsk> {
        let Some(&(rax, touch)) = walk.accesses.first() else { return Ok(()) };
        if walk.accesses.len() > LIST_MAX {
            return Err(format!("more than {LIST_MAX} accesses at a time"));
        }
        let begin = |touch| walk.program + entry_point(touch);
        for (n, &(addr, touch)) in walk.accesses.iter().enumerate() {
            self.set_word(self.page(LIST), 2 * n, begin(touch));
            self.set_word(self.page(LIST), 2 * n + 1, addr);
        }
        self.set_word(self.page(LIST), 2 * walk.accesses.len(), 0);
        let regs = kvm_regs {
            rip: begin(touch),
            rax,
            rcx: u64::from(BREAKPOINT),
            rsi: KERNEL + LIST * 4096 + 16,
            rdi: KERNEL + RESULTS * 4096,
            rsp: walk.program,
            rflags: 2,
            ..kvm_regs::default()
        };
        let put = |error| format!("setting registers: {error}");
        self.sregs.cr3 = walk.root.get() << 12;
        self.vcpu.set_sregs(&self.sregs).map_err(put)?;
        self.vcpu.set_regs(&regs).map_err(put)?;
        match self.vcpu.run().map_err(|error| format!("KVM_RUN: {error}"))? {
            VcpuExit::Hlt => self.note(walk),
            other => Err(format!("{:?} left the guest by {other:?}", walk.accesses)),
        }
    }

    /// Reads how the accesses of `walk` ended.
    fn note(&self, walk: &mut Walk) -> Result<(), CannotAsk> {
        let regs = self.vcpu.get_regs().map_err(|error| format!("KVM_GET_REGS: {error}"))?;
        let end = KERNEL + HANDLERS * 4096 + (ROUTINES_AT + ROUTINES.len()) as u64;
        if regs.rip != end {
            let vector = (regs.rip - (KERNEL + HANDLERS * 4096)) / 16;
            return Err(format!("exception {vector} in one of {:?}", walk.accesses));
        }
        let word = |n: usize| self.memory.table(self.page(RESULTS))[n].load(SeqCst);
        let ended = (0..walk.accesses.len()).map(|n| match word(2 * n) {
            DONE => Ended::Done,
            code => Ended::Fault { code, addr: word(2 * n + 1) },
        });
        walk.ended = ended.collect();
        Ok(())
    }
}

impl<const LEVELS: u8> Processor for Guest<LEVELS> {
    type Format = X86<LEVELS>;
    type Memory = HostedMemory;
    const FILL: [u8; 4] = [BREAKPOINT; 4];
    const ALIGN: u64 = 1;
    fn memory(&self) -> &Arc<HostedMemory> {
        &self.memory
    }
    /// Not every guest's processor has 1 GiB pages.
    fn largest(&self) -> u8 {
        self.largest
    }
    fn program(&self) -> Pfn {
        self.first.offset(PROGRAM)
    }
    fn take(&mut self, walks: &mut [Walk]) -> Result<(), CannotAsk> {
        let top = self.first.offset(u64::from(LEVELS) - 2);
        let index = Self::kernel_index();
        for walk in &*walks {
            self.set_word(walk.root, index, top.get() << 12 | SUPERVISOR);
        }
        self.forget()?;
        let taken = walks.iter_mut().try_for_each(|walk| self.run(walk));
        for walk in &*walks {
            self.set_word(walk.root, index, 0);
        }
        taken
    }
}

/// Where in the program's page an access begins.
const fn entry_point(touch: Touch) -> u64 {
    match touch {
        Touch::Read => 0,
        Touch::Write => 16,
        Touch::Execute => 32,
    }
}
