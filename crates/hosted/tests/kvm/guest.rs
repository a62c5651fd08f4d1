//! A virtual processor whose memory is the engine's, for many accesses of a user program at a time.
//!
//! The guest is `exam`'s kernel and program; the kernel halts at the end of a list, which ends the
//! run. Invariant: the memory lives longer than the machine that maps it (field order of
//! [`Guest`]). Linux: Documentation/virt/kvm/api.rst.

use exam::{CannotAsk, Kernel, Processor, Walk};
use gup::addr::Pfn;
use gup::host::Memory;
use gup::pgtable::X86;
use gup_hosted::HostedMemory;
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::sync::Arc;

type GuestKernel = Kernel<HostedMemory>;

/// Frames that the guest's kernel needs.
pub(crate) const KERNEL_FRAMES: u64 = GuestKernel::FRAMES;
const HLT: u8 = 0xf4;

/// The machine, with one processor.
pub(crate) struct Guest<const LEVELS: u8> {
    vcpu: VcpuFd,
    vm: VmFd,
    sregs: kvm_sregs,
    largest: u8,
    kernel: GuestKernel,
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
        let kernel = Kernel::new(&memory, first, &[HLT]);
        Ok(Self { vcpu, vm, sregs: user_sregs(sregs, LEVELS), largest, kernel, memory })
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

    /// Takes the accesses of one program.
    fn run(&mut self, walk: &mut Walk) -> Result<(), CannotAsk> {
        let begin = self.kernel.prepare(walk)?;
        let regs = kvm_regs {
            rip: begin.rip,
            rax: begin.rax,
            rcx: begin.rcx,
            rsi: begin.rsi,
            rdi: begin.rdi,
            rsp: begin.rsp,
            rflags: 2,
            ..kvm_regs::default()
        };
        let put = |error| format!("setting registers: {error}");
        self.sregs.cr3 = walk.root.get() << 12;
        self.vcpu.set_sregs(&self.sregs).map_err(put)?;
        self.vcpu.set_regs(&regs).map_err(put)?;
        match self.vcpu.run().map_err(|error| format!("KVM_RUN: {error}"))? {
            VcpuExit::Hlt => {}
            other => return Err(format!("{:?} left the guest by {other:?}", walk.accesses)),
        }
        let regs = self.vcpu.get_regs().map_err(|error| format!("KVM_GET_REGS: {error}"))?;
        if regs.rip != GuestKernel::END + 1 {
            return Err(format!("{:?} ended at {:#x}", walk.accesses, regs.rip));
        }
        self.kernel.note(walk);
        Ok(())
    }
}

/// The special registers of a program in long mode.
fn user_sregs(mut sregs: kvm_sregs, levels: u8) -> kvm_sregs {
    let flat = kvm_segment { limit: 0xffff_ffff, present: 1, g: 1, s: 1, ..kvm_segment::default() };
    let (code, data) = (GuestKernel::USER_CODE, GuestKernel::USER_DATA);
    let data = kvm_segment { selector: data, type_: 3, dpl: 3, db: 1, ..flat };
    sregs.cs = kvm_segment { selector: code, type_: 11, dpl: 3, l: 1, ..flat };
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    let (base, limit) = GuestKernel::TSS;
    let task = kvm_segment { base, limit: limit.into(), type_: 11, ..kvm_segment::default() };
    sregs.tr = kvm_segment { selector: GuestKernel::TASK, present: 1, ..task };
    sregs.ldt = kvm_segment { unusable: 1, type_: 2, ..kvm_segment::default() };
    (sregs.gdt.base, sregs.gdt.limit) = GuestKernel::GDT;
    (sregs.idt.base, sregs.idt.limit) = GuestKernel::IDT;
    // PE, MP, ET, NE, WP, AM, PG.
    sregs.cr0 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 18 | 1 << 31;
    // PAE, PGE, OSFXSR, OSXMMEXCPT; LA57.
    let la57 = if levels == 5 { 1 << 12 } else { 0 };
    sregs.cr4 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10 | la57;
    // SCE, LME, LMA, NXE.
    sregs.efer = 1 | 1 << 8 | 1 << 10 | 1 << 11;
    sregs
}

impl<const LEVELS: u8> Processor for Guest<LEVELS> {
    type Format = X86<LEVELS>;
    type Memory = HostedMemory;
    const FILL: [u8; 4] = [GuestKernel::BREAKPOINT; 4];
    const ALIGN: u64 = 1;
    fn memory(&self) -> &Arc<HostedMemory> {
        &self.memory
    }
    /// Not every guest's processor has 1 GiB pages.
    fn largest(&self) -> u8 {
        self.largest
    }
    fn program(&self) -> Pfn {
        self.kernel.program()
    }
    fn take(&mut self, walks: &mut [Walk]) -> Result<(), CannotAsk> {
        for walk in &*walks {
            self.kernel.map(walk.root, LEVELS);
        }
        self.forget()?;
        let taken = walks.iter_mut().try_for_each(|walk| self.run(walk));
        for walk in &*walks {
            self.kernel.unmap(walk.root, LEVELS);
        }
        taken
    }
}
