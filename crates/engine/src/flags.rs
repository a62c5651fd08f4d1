//! Flag words with the kernel's names and values: FOLL, VM, `FAULT_FLAG`, PROT, MAP.
//!
//! [`Foll`] is the engine's own canonical set: it holds every flag of both kernels. The raw words
//! of v4.4 and 6.18 give the same names different bits; [`Foll::from_v4_4`] and
//! [`Foll::from_v6_18`] translate. Absent: which combinations are legal ([`crate::gup::args`]).
#![allow(missing_docs, reason = "VM, FAULT_FLAG, PROT and MAP flags are the kernel's, by name")]

use bitflags::bitflags;

bitflags! {
    /// What a GUP call asks for. Bits are 6.18's where 6.18 has the flag, above bit 32 where only
    /// v4.4 has it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Foll: u64 {
        /// The pages will be written to.
        const WRITE = 1;
        /// Take a reference to each page.
        const GET = 1 << 1;
        /// Core dump: holes and zero pages are an error.
        const DUMP = 1 << 2;
        /// Go past the VMA's permissions where it may be done (ptrace).
        const FORCE = 1 << 3;
        /// Start what must be waited for, but do not wait.
        const NOWAIT = 1 << 4;
        /// Never fault.
        const NOFAULT = 1 << 5;
        /// Report poisoned memory as EHWPOISON.
        const HWPOISON = 1 << 6;
        /// Only anonymous VMAs.
        const ANON = 1 << 7;
        /// The pin lasts indefinitely.
        const LONGTERM = 1 << 8;
        /// Split a huge PMD mapping before taking the page.
        const SPLIT_PMD = 1 << 9;
        /// Pages of PCI peer-to-peer memory are acceptable.
        const PCI_P2PDMA = 1 << 10;
        /// Ordinary signals interrupt waits too.
        const INTERRUPTIBLE = 1 << 11;
        /// Take NUMA hinting faults.
        const HONOR_NUMA_FAULT = 1 << 12;
        /// Mark the page accessed (internal).
        const TOUCH = 1 << 16;
        /// This is a second attempt (internal).
        const TRIED = 1 << 17;
        /// The mm is not the caller's (internal).
        const REMOTE = 1 << 18;
        /// Pin, not get (internal in 6.18).
        const PIN = 1 << 19;
        /// Do not fall back to the slow path (internal).
        const FAST_ONLY = 1 << 20;
        /// The lock may be dropped (internal).
        const UNLOCKABLE = 1 << 21;
        /// `MADV_POPULATE_READ` and `_WRITE` (internal).
        const MADV_POPULATE = 1 << 22;
        /// v4.4: pre-fault for mlock and `MAP_POPULATE`; skips the stack guard page.
        const POPULATE = 1 << 32;
        /// v4.4: split a transparent huge page.
        const SPLIT = 1 << 33;
        /// v4.4: force NUMA hinting faults.
        const NUMA = 1 << 34;
        /// v4.4: wait for a page under migration.
        const MIGRATION = 1 << 35;
        /// v4.4: mlock the page on the way.
        const MLOCK = 1 << 36;
        /// v4.4 with the Dirty COW fix: this request has broken COW.
        const COW = 1 << 37;
    }
}

/// v4.4's bits, in order from bit 0. Bit 13 was unused there.
const V4_4: [Foll; 13] = [
    Foll::WRITE,
    Foll::TOUCH,
    Foll::GET,
    Foll::DUMP,
    Foll::FORCE,
    Foll::NOWAIT,
    Foll::POPULATE,
    Foll::SPLIT,
    Foll::HWPOISON,
    Foll::NUMA,
    Foll::MIGRATION,
    Foll::TRIED,
    Foll::MLOCK,
];

impl Foll {
    /// The flags that callers of 6.18's entry points may not pass (row C-01).
    pub const INTERNAL: Self = Self::TOUCH
        .union(Self::TRIED)
        .union(Self::REMOTE)
        .union(Self::PIN)
        .union(Self::FAST_ONLY)
        .union(Self::UNLOCKABLE)
        .union(Self::MADV_POPULATE);

    /// The set that v4.4's `gup_flags` names; bits that v4.4 has no name for are ignored, as it
    /// ignores them.
    pub fn from_v4_4(raw: u32) -> Self {
        let known = V4_4.iter().enumerate().filter(|(bit, _)| raw & (1 << bit) != 0);
        let set = known.fold(Self::empty(), |set, (_, flag)| set | *flag);
        if raw & 0x4000 == 0 { set } else { set | Self::COW }
    }
    /// The set as v4.4 writes it; flags that v4.4 does not have are left out.
    pub fn to_v4_4(self) -> u32 {
        let low = V4_4.iter().enumerate().filter(|(_, flag)| self.contains(**flag));
        let raw = low.fold(0, |raw, (bit, _)| raw | 1 << bit);
        if self.contains(Self::COW) { raw | 0x4000 } else { raw }
    }
    /// The set that 6.18's `gup_flags` names; other bits are ignored.
    pub fn from_v6_18(raw: u32) -> Self {
        Self::from_bits_truncate(u64::from(raw) & 0x007f_1fff)
    }
}

bitflags! {
    /// A VMA's flags (`vm_flags`), 6.18's values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct VmFlags: u64 {
        const READ = 1;
        const WRITE = 2;
        const EXEC = 4;
        const SHARED = 8;
        const MAYREAD = 0x10;
        const MAYWRITE = 0x20;
        const MAYEXEC = 0x40;
        const MAYSHARE = 0x80;
        const GROWSDOWN = 0x100;
        const UFFD_MISSING = 0x200;
        const PFNMAP = 0x400;
        const MAYBE_GUARD = 0x800;
        const UFFD_WP = 0x1000;
        const LOCKED = 0x2000;
        const IO = 0x4000;
        const SEQ_READ = 0x8000;
        const RAND_READ = 0x1_0000;
        const DONTCOPY = 0x2_0000;
        const DONTEXPAND = 0x4_0000;
        const LOCKONFAULT = 0x8_0000;
        const ACCOUNT = 0x10_0000;
        const NORESERVE = 0x20_0000;
        const HUGETLB = 0x40_0000;
        const SYNC = 0x80_0000;
        const ARCH_1 = 0x100_0000;
        const WIPEONFORK = 0x200_0000;
        const DONTDUMP = 0x400_0000;
        const SOFTDIRTY = 0x800_0000;
        const MIXEDMAP = 0x1000_0000;
        const HUGEPAGE = 0x2000_0000;
        const NOHUGEPAGE = 0x4000_0000;
        const MERGEABLE = 0x8000_0000;
        const PKEY_BIT0 = 1 << 32;
        const PKEY_BIT1 = 1 << 33;
        const PKEY_BIT2 = 1 << 34;
        const PKEY_BIT3 = 1 << 35;
        const SHADOW_STACK = 1 << 37;
        const DROPPABLE = 1 << 40;
        const UFFD_MINOR = 1 << 41;
        const SEALED = 1 << 42;
        /// Grows upwards (architectures with such stacks; not x86-64).
        const GROWSUP = 1 << 60;
    }
}

impl VmFlags {
    /// Any of READ, WRITE, EXEC: the VMA is *accessible*.
    pub const ACCESS: Self = Self::READ.union(Self::WRITE).union(Self::EXEC);

    /// The protection key of pages with these flags, 0 to 15.
    #[inline]
    pub const fn pkey(self) -> u8 {
        ((self.bits() >> 32) & 15) as u8
    }
    /// Private, and a copy may be made for a writer: SHARED clear, MAYWRITE set.
    #[inline]
    pub const fn is_cow_mapping(self) -> bool {
        self.bits() & (Self::SHARED.bits() | Self::MAYWRITE.bits()) == Self::MAYWRITE.bits()
    }
}

bitflags! {
    /// How a fault is taken (`FAULT_FLAG_…`), 6.18's values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct FaultFlags: u32 {
        const WRITE = 1;
        const MKWRITE = 2;
        const ALLOW_RETRY = 4;
        const RETRY_NOWAIT = 8;
        const KILLABLE = 16;
        const TRIED = 32;
        const USER = 64;
        const REMOTE = 128;
        const INSTRUCTION = 256;
        const INTERRUPTIBLE = 512;
        const UNSHARE = 1024;
    }
}

bitflags! {
    /// `PROT_…`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Prot: u32 {
        const NONE = 0;
        const READ = 1;
        const WRITE = 2;
        const EXEC = 4;
    }
}

bitflags! {
    /// `MAP_…`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct MapFlags: u32 {
        const SHARED = 1;
        const PRIVATE = 2;
        const DROPPABLE = 8;
        const FIXED = 0x10;
        const ANONYMOUS = 0x20;
        const GROWSDOWN = 0x100;
        const DENYWRITE = 0x800;
        const LOCKED = 0x2000;
        const NORESERVE = 0x4000;
        const POPULATE = 0x8000;
        const NONBLOCK = 0x1_0000;
        const STACK = 0x2_0000;
        const HUGETLB = 0x4_0000;
        const FIXED_NOREPLACE = 0x10_0000;
    }
}
