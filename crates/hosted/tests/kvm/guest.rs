//! A virtual processor whose memory is the engine's, for one access of a user program at a time.
//!
//! The guest's kernel is a page of HLT instructions, one for each exception: whatever ends the
//! program's access ends the run, and the place of the HLT says what it was. The kernel's pages are
//! mapped by tables of its own in the upper half, which the engine never looks at. Every data frame
//! is full of breakpoint instructions, so that an access that succeeds, fetches too, ends in one.
//! Invariant: the memory lives longer than the machine that maps it (field order of [`Guest`]).
//! Linux: Documentation/virt/kvm/api.rst.

use gup::addr::Pfn;
use gup::host::Memory;
use gup::pgtable::Touch;
use gup_hosted::HostedMemory;
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// Why the processor cannot be asked.
pub(crate) type CannotAsk = String;

/// The kernel's pages, from the frame given to [`Guest::new`]: tables, then what they map.
const KERNEL_TABLES: u64 = 4;
const GDT: u64 = 0;
const IDT: u64 = 1;
const TSS: u64 = 2;
const STACK: u64 = 3;
const HANDLERS: u64 = 4;
const KERNEL_PAGES: u64 = 5;
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
const BREAKPOINT_VECTOR: u64 = 3;
const PAGE_FAULT_VECTOR: u64 = 14;

/// How a program's access ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was done.
    Done,
    /// A page fault with this error code, at this address.
    PageFault {
        /// The code.
        code: u64,
        /// What CR2 held.
        addr: u64,
    },
}

/// The machine, with one processor.
pub(crate) struct Guest {
    vcpu: VcpuFd,
    vm: VmFd,
    sregs: kvm_sregs,
    levels: u8,
    largest: u8,
    first: Pfn,
    memory: Arc<HostedMemory>,
}

impl Guest {
    /// One in `memory`, whose frames from `first` on are the kernel's, and whose tables have
    /// `levels` levels.
    pub(crate) fn new(
        memory: Arc<HostedMemory>,
        first: Pfn,
        levels: u8,
    ) -> Result<Self, CannotAsk> {
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
        if levels == 5 && !la57 {
            return Err("a guest's processor has no 5-level paging here".into());
        }
        vcpu.set_cpuid2(&cpuid).map_err(|error| format!("KVM_SET_CPUID2: {error}"))?;
        let sregs = vcpu.get_sregs().map_err(|error| format!("KVM_GET_SREGS: {error}"))?;
        let mut guest = Self { vcpu, vm, sregs, levels, largest, first, memory };
        guest.write_kernel();
        guest.sregs = guest.user_sregs();
        Ok(guest)
    }

    /// The level of the largest leaves that the processor knows: not every guest's has 1 GiB pages.
    pub(crate) fn largest(&self) -> u8 {
        self.largest
    }

    /// The frame of the program's instructions.
    pub(crate) fn program(&self) -> Pfn {
        self.first.offset(KERNEL_TABLES + KERNEL_PAGES)
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
        self.memory.write(self.page(HANDLERS), 0, &[HLT; 512]);
        let program = [
            // mov dl, [rax]; mov [rax], cl; jmp rax
            (Touch::Read, [0x8a, 0x10, BREAKPOINT]),
            (Touch::Write, [0x88, 0x08, BREAKPOINT]),
            (Touch::Execute, [0xff, 0xe0, BREAKPOINT]),
        ];
        for (touch, bytes) in program {
            self.memory.write(self.program(), entry_point(touch) as usize, &bytes);
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
        let la57 = if self.levels == 5 { 1 << 12 } else { 0 };
        sregs.cr4 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10 | la57;
        // SCE, LME, LMA, NXE.
        sregs.efer = 1 | 1 << 8 | 1 << 10 | 1 << 11;
        sregs
    }

    /// Lets the processor use the tables under `root`, and forget all others and all translations.
    pub(crate) fn load(&mut self, root: Pfn) -> Result<(), CannotAsk> {
        let top = self.first.offset(u64::from(self.levels) - 2);
        self.set_word(root, self.kernel_index(), top.get() << 12 | SUPERVISOR);
        let region = kvm_userspace_memory_region {
            slot: 0,
            guest_phys_addr: 0,
            memory_size: self.memory.frames() << 12,
            userspace_addr: self.memory.address(Pfn::new(0)).ok_or("no frame 0")? as u64,
            flags: 0,
        };
        let none = kvm_userspace_memory_region { memory_size: 0, ..region };
        // Without its memory, the machine keeps nothing that it learnt from tables there.
        // SAFETY: removes a region, or is refused if there is none yet.
        let _first_time_refused = unsafe { self.vm.set_user_memory_region(none) };
        // SAFETY: the range is the whole mapping of `memory`, which lives longer than the machine;
        // Rust reaches it through atomics only, as if the guest were another thread.
        unsafe { self.vm.set_user_memory_region(region) }
            .map_err(|error| format!("KVM_SET_USER_MEMORY_REGION: {error}"))?;
        self.sregs.cr3 = root.get() << 12;
        Ok(())
    }

    /// Takes the kernel's pages out of the tables under `root` again.
    pub(crate) fn unload(&self, root: Pfn) {
        self.set_word(root, self.kernel_index(), 0);
    }

    /// Where the kernel's tables hang in a root: its addresses have bits 47 and up set.
    fn kernel_index(&self) -> usize {
        if self.levels == 5 { 511 } else { 256 }
    }

    /// Takes one access of a program whose instructions are mapped at `program`.
    pub(crate) fn access(
        &mut self,
        program: u64,
        addr: u64,
        touch: Touch,
    ) -> Result<Ended, CannotAsk> {
        let rip = program + entry_point(touch);
        let regs = kvm_regs {
            rip,
            rax: addr,
            rcx: u64::from(BREAKPOINT),
            rsp: program,
            rflags: 2,
            ..kvm_regs::default()
        };
        let put = |error| format!("setting registers: {error}");
        self.vcpu.set_sregs(&kvm_sregs { cr2: 0, ..self.sregs }).map_err(put)?;
        self.vcpu.set_regs(&regs).map_err(put)?;
        match self.vcpu.run().map_err(|error| format!("KVM_RUN: {error}"))? {
            VcpuExit::Hlt => self.ended(),
            other => Err(format!("{touch:?} of {addr:#x} left the guest by {other:?}")),
        }
    }

    fn ended(&self) -> Result<Ended, CannotAsk> {
        let regs = self.vcpu.get_regs().map_err(|error| format!("KVM_GET_REGS: {error}"))?;
        let vector = (regs.rip - (KERNEL + HANDLERS * 4096)) / 16;
        match vector {
            BREAKPOINT_VECTOR => Ok(Ended::Done),
            PAGE_FAULT_VECTOR => {
                let mut code = [0; 8];
                self.memory.read(self.page(STACK), (regs.rsp & 0xfff) as usize, &mut code);
                let sregs =
                    self.vcpu.get_sregs().map_err(|error| format!("KVM_GET_SREGS: {error}"))?;
                Ok(Ended::PageFault { code: u64::from_le_bytes(code), addr: sregs.cr2 })
            }
            other => Err(format!("exception {other} at {:#x}", regs.rip)),
        }
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
