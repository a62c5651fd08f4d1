//! Bits as others define them: the crates `x86_64` and `aarch64-paging`, and the RISC-V privileged
//! specification by hand.

use aarch64_paging::descriptor::{El1Attributes, PagingAttributes};
use gup::addr::Pfn;
use gup::pgtable::{
    AArch64, AArch64Contiguous, Format, Perms, Riscv, Sv39, Touch, Touched, X86_64, X86_64L5,
};
use x86_64::structures::paging::page_table::PageTableFlags;

const PFN: Pfn = Pfn::new(0x8_7654_3200);

fn young_rwx() -> Perms {
    Perms { write: true, exec: true, young: true, dirty: true, ..Perms::default() }
}

#[test]
fn aarch64_leaves_and_tables_are_what_the_paging_crate_calls_them() {
    type A = El1Attributes;
    let always = A::VALID | A::USER | A::INNER_SHAREABLE | A::NON_GLOBAL | A::PXN;
    let (ro, dbm) = (A::READ_ONLY, A::DBM);
    let perms = Perms::default();
    let table = [
        // permissions, attributes, because
        (perms, ro | A::UXN, "clean, not accessed, read-only"),
        (Perms { young: true, ..perms }, ro | A::UXN | A::ACCESSED, "accessed"),
        (Perms { exec: true, ..perms }, ro, "executable for the user alone"),
        (Perms { write: true, ..perms }, ro | dbm | A::UXN, "writable and clean"),
        (Perms { dirty: true, ..perms }, ro | A::SWFLAG_0 | A::UXN, "dirty, protected since"),
        (young_rwx(), dbm | A::SWFLAG_0 | A::ACCESSED, "written to"),
        (Perms { special: true, ..perms }, ro | A::UXN | A::SWFLAG_1, "special"),
        (Perms { soft_dirty: true, ..perms }, ro | A::UXN | A::SWFLAG_2, "soft-dirty"),
        (Perms { uffd_wp: true, ..perms }, ro | A::UXN | A::SWFLAG_3, "uffd-wp"),
    ];
    for (perms, attributes, because) in table {
        for level in 0..3 {
            let page = if level == 0 { A::TABLE_OR_PAGE } else { A::empty() };
            let bits = (always | attributes | page).bits() as u64 | PFN.get() << 12;
            assert_eq!(<AArch64>::leaf(PFN, perms, level), bits, "level {level}: {because}");
        }
    }
    let table = (A::VALID | A::TABLE_OR_PAGE).bits() as u64 | PFN.get() << 12;
    assert_eq!(<AArch64>::table(PFN), table);
    let leaf = <AArch64Contiguous>::leaf(PFN, perms, 0);
    let contiguous = A::CONTIGUOUS_OR_PROTECTED.bits() as u64;
    assert_eq!(<AArch64Contiguous>::grouped(leaf), leaf | contiguous);
    assert_eq!(A::VALID, <A as PagingAttributes>::VALID);
}

#[test]
fn aarch64_entries_that_are_not_present_are_not_valid_to_the_processor() {
    let protnone = <AArch64>::leaf(PFN, Perms { protnone: true, ..young_rwx() }, 0);
    let guard = <AArch64>::swap(gup::pgtable::SwapEntry::Guard);
    for raw in [protnone, guard] {
        let attributes = El1Attributes::from_bits_truncate(raw as usize);
        assert!(!attributes.contains(El1Attributes::VALID));
    }
}

#[test]
fn five_level_x86_64_entries_are_those_of_four_levels() {
    let present = PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE;
    let used = PageTableFlags::WRITABLE | PageTableFlags::ACCESSED | PageTableFlags::DIRTY;
    let frame = PFN.get() << 12;
    assert_eq!(X86_64L5::leaf(PFN, young_rwx(), 0), (present | used).bits() | frame);
    let huge = present | used | PageTableFlags::HUGE_PAGE;
    assert_eq!(X86_64L5::leaf(PFN, young_rwx(), 1), huge.bits() | frame);
    let table = present | PageTableFlags::WRITABLE | PageTableFlags::ACCESSED;
    assert_eq!(X86_64L5::table(PFN), table.bits() | frame);
    assert_eq!((X86_64L5::LEVELS, X86_64L5::USER_BITS), (5, 56));
}

/// The privileged specification's letters, lowest bit first, as the low byte of an entry.
fn letters(text: &str) -> u64 {
    "VRWXUGAD"
        .bytes()
        .zip(0..)
        .filter(|&(c, _)| text.as_bytes().contains(&c))
        .map(|(_, n)| 1 << n)
        .sum()
}

#[test]
fn riscv_leaves_and_tables_are_what_the_privileged_specification_says() {
    let perms = Perms::default();
    let table = [
        // permissions, letters, software bits
        (perms, "VRU", 0),
        (Perms { write: true, ..perms }, "VRWU", 0),
        (Perms { exec: true, ..perms }, "VRXU", 0),
        (Perms { young: true, ..perms }, "VRUA", 0),
        (young_rwx(), "VRWXUAD", 0),
        (Perms { protnone: true, ..perms }, "RUG", 0),
        (Perms { special: true, ..perms }, "VRU", 1 << 8),
        (Perms { soft_dirty: true, ..perms }, "VRU", 1 << 9),
        (Perms { uffd_wp: true, ..perms }, "VRU", 1 << 60),
    ];
    for (perms, text, software) in table {
        for level in 0..3 {
            let bits = letters(text) | software | PFN.get() << 10;
            assert_eq!(Sv39::leaf(PFN, perms, level), bits, "{text} at level {level}");
        }
    }
    assert_eq!(Sv39::table(PFN), letters("V") | PFN.get() << 10);
}

#[test]
fn svnapot_names_the_size_in_the_low_bits_of_the_frame_number() {
    type F = Riscv<3, true>;
    let frame = |number: u64| F::leaf(Pfn::new(number), Perms::default(), 0);
    // 64 KiB: N set, and ppn[3:0] is 1000.
    let napot = letters("VRU") | 1 << 63 | 0x4568 << 10;
    for n in 0..16 {
        assert_eq!(F::grouped(frame(0x4560 + n)), napot);
        assert_eq!(F::alone(napot, 512 - 16 + n as usize), frame(0x4560 + n));
    }
}

#[test]
fn what_is_not_broken_before_it_is_made_is_safe_to_the_paging_crate() {
    let attributes = |perms: Perms| {
        El1Attributes::from_bits_truncate(<AArch64>::leaf(Pfn::new(0), perms, 0) as usize)
    };
    for old in crate::rig::all_perms() {
        for new in crate::rig::all_perms() {
            let safe = El1Attributes::is_bbm_safe(attributes(old), attributes(new));
            assert!(safe || old.protnone != new.protnone, "{old:?} to {new:?}");
        }
    }
}

/// What the processor reports of `touch` at the leaf of `perms` at `level`.
fn fault<F: Format>(perms: Perms, touch: Touch, level: u8) -> Option<u64> {
    let raw = F::leaf(PFN, perms, level);
    let touched = if perms.protnone {
        Touched::Absent
    } else {
        F::touch(raw, level, touch).map_or(Touched::Denied, |_| Touched::Frame(PFN))
    };
    F::fault_code(touched, touch, raw, level)
}

/// arm64 that marks leaves itself.
type Hafdbs = AArch64<false, true>;

#[test]
fn a_fault_is_reported_as_the_manuals_say() {
    let (ro, new) = (Perms { young: true, ..Perms::default() }, Perms::default());
    let none = Perms { protnone: true, ..ro };
    let table = [
        // by x86-64, arm64, arm64 with FEAT_HAFDBS, Sv39
        (ro, Touch::Read, [None, None, None, None], "allowed"),
        (ro, Touch::Write, [Some(7), Some(0xf), Some(0xf), Some(15)], "read-only"),
        (ro, Touch::Execute, [Some(0x15), Some(0xf), Some(0xf), Some(12)], "no code"),
        (new, Touch::Read, [None, Some(0xb), None, Some(13)], "marked by software, where it is"),
        (new, Touch::Write, [Some(7), Some(0xb), Some(0xf), Some(15)], "access flag first"),
        (none, Touch::Read, [Some(4), Some(7), Some(7), Some(13)], "PROT_NONE is not there"),
    ];
    for (perms, touch, codes, because) in table {
        let x86 = fault::<X86_64>(perms, touch, 0);
        let (arm, hardware) = (fault::<AArch64>(perms, touch, 0), fault::<Hafdbs>(perms, touch, 0));
        let riscv = fault::<Sv39>(perms, touch, 0);
        assert_eq!([x86, arm, hardware, riscv], codes, "{because}");
        // arm64 also says at which level, counted from the root.
        let huge = fault::<AArch64>(perms, touch, 1);
        assert_eq!(huge, codes[1].map(|code| code - 1), "{because}");
    }
    let dirty = Perms { write: true, young: true, ..new };
    assert_eq!(fault::<Sv39>(dirty, Touch::Write, 0), Some(15), "Svade: clean is a fault");
    assert_eq!(fault::<Riscv<3, false, true>>(dirty, Touch::Write, 0), None, "Svadu marks it");
}
