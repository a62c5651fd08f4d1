//! The entries' bits, beside the `x86_64` crate's opinion of them.

use crate::machine::{Machine, SPANS, pages, ro, rw};
use gup::addr::{Pfn, VirtAddr};
use gup::pgtable::{Decoded, Entry, Perms, SwapEntry, X86_64};
use x86_64::structures::paging::PageTableFlags as Bits;

/// Every combination of permissions.
fn all_perms() -> impl Iterator<Item = Perms> {
    (0..=u8::MAX).map(|bits| {
        let bit = |n: u8| bits & (1 << n) != 0;
        Perms {
            write: bit(0),
            exec: bit(1),
            protnone: bit(2),
            young: bit(3),
            dirty: bit(4),
            special: bit(5),
            uffd_wp: bit(6),
            soft_dirty: bit(7),
        }
    })
}

/// What the hardware, and Linux's software bits, say for `perms`.
fn expected(perms: Perms, level: u8) -> Bits {
    let mut bits = Bits::empty();
    bits.set(Bits::PRESENT | Bits::USER_ACCESSIBLE, !perms.protnone);
    bits.set(Bits::GLOBAL, perms.protnone);
    bits.set(Bits::WRITABLE, perms.write);
    bits.set(Bits::NO_EXECUTE, !perms.exec);
    bits.set(Bits::ACCESSED, perms.young);
    bits.set(Bits::DIRTY, perms.dirty);
    bits.set(Bits::HUGE_PAGE, level > 0);
    bits.set(Bits::BIT_9, perms.special);
    bits.set(Bits::BIT_10, perms.uffd_wp);
    bits.set(Bits::BIT_11, perms.soft_dirty);
    bits
}

#[test]
fn a_leaf_has_the_hardwares_bits_and_says_what_it_was_told() {
    for (level, pfn) in [(0, 1), (0, (1 << 40) - 1), (1, 512), (1, 0), (2, 1 << 18), (2, 0)] {
        for perms in all_perms() {
            let pfn = Pfn::new(pfn);
            let entry = Entry::<X86_64>::leaf(pfn, perms, level);
            let frame = pfn.get() << 12;
            assert_eq!(entry.raw(), frame | expected(perms, level).bits(), "{perms:?} {level}");
            assert_eq!(entry.decode(level), Decoded::Leaf(pfn, perms));
            assert_eq!(entry.perms(level), Some(perms));
            assert!(entry.is_present() && entry.is_leaf(level) && !entry.is_table(level));
            assert_eq!(
                Perms {
                    write: entry.is_writable(),
                    exec: perms.exec,
                    protnone: entry.is_protnone(),
                    young: entry.is_young(),
                    dirty: entry.is_dirty(),
                    special: entry.is_special(),
                    uffd_wp: entry.is_uffd_wp(),
                    soft_dirty: entry.is_soft_dirty(),
                },
                perms
            );
        }
    }
}

#[test]
fn changing_permissions_keeps_the_frame_and_changes_nothing_but_leaves() {
    for perms in all_perms() {
        let entry = Entry::<X86_64>::leaf(Pfn::new(77), rw(), 0);
        let changed = entry.map_perms(0, |p| *p = perms);
        assert_eq!(changed, Entry::leaf(Pfn::new(77), perms, 0));
    }
    let table = Entry::<X86_64>::table(Pfn::new(9));
    let swap = Entry::<X86_64>::swap(SwapEntry::Guard);
    for entry in [table, swap, Entry::NONE] {
        assert_eq!(entry.map_perms(1, |p| p.write = false), entry);
    }
}

#[test]
fn a_table_entry_lets_the_leaves_below_decide() {
    let entry = Entry::<X86_64>::table(Pfn::new(0x12345));
    let bits = Bits::from_bits_retain(entry.raw() & !(0x12345 << 12));
    assert!(bits.contains(Bits::PRESENT | Bits::WRITABLE | Bits::USER_ACCESSIBLE));
    assert!(!bits.intersects(Bits::NO_EXECUTE | Bits::HUGE_PAGE));
    for level in 1..4 {
        assert_eq!(entry.decode(level), Decoded::Table(Pfn::new(0x12345)));
        assert!(entry.is_table(level) && !entry.is_leaf(level) && entry.is_present());
    }
    assert!(!entry.is_table(0), "a level 0 entry maps memory or nothing");
}

fn swap_entries() -> Vec<SwapEntry> {
    let mut all = vec![SwapEntry::UffdWp, SwapEntry::Poisoned, SwapEntry::Guard];
    for number in [0, 1, 511, 1 << 32, (1 << 47) - 1] {
        all.push(SwapEntry::HwPoison(Pfn::new(number)));
        for bits in 0..8 {
            let (a, b, c) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            all.push(SwapEntry::Swap { slot: number, exclusive: a, uffd_wp: b, soft_dirty: c });
            all.push(SwapEntry::Migration { pfn: Pfn::new(number), write: a, exclusive: b });
        }
    }
    all
}

#[test]
fn a_swap_entry_is_neither_present_nor_empty_and_is_read_as_written() {
    for level in 0..3 {
        for swap in swap_entries() {
            let entry = Entry::<X86_64>::swap(swap);
            assert!(!Bits::from_bits_retain(entry.raw()).contains(Bits::PRESENT), "{swap:?}");
            assert!(!entry.is_present() && !entry.is_none(), "{swap:?}");
            assert!(!entry.is_leaf(level) && !entry.is_table(level), "{swap:?}");
            assert_eq!(entry.decode(level), Decoded::Swap(swap));
            assert_eq!(entry.perms(level), None);
        }
    }
}

#[test]
fn any_word_at_all_can_be_read() {
    let mut raw = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..100_000_u32 {
        raw = raw.wrapping_mul(0x5851_f42d_4c95_7f2d).rotate_left(round % 64) ^ u64::from(round);
        for level in 0..4 {
            let entry = Entry::<X86_64>::from_raw(raw);
            let agrees = match entry.decode(level) {
                Decoded::None => entry.is_none(),
                Decoded::Table(_) => entry.is_table(level) && !entry.is_leaf(level),
                Decoded::Leaf(..) => entry.is_leaf(level) && !entry.is_table(level),
                Decoded::Swap(_) => !entry.is_present() && !entry.is_none(),
            };
            assert!(agrees, "{raw:#x} at level {level}");
            // At level 3 bit 7 is reserved to the hardware; the engine never writes it there.
            let bits = Bits::from_bits_retain(raw);
            if bits.contains(Bits::PRESENT) && level > 0 {
                assert_eq!(entry.is_leaf(level), bits.contains(Bits::HUGE_PAGE));
            }
        }
    }
}

/// The frame for `addr` as hardware finds it, in the `x86_64` crate's terms, and its leaf's bits.
fn hardware_walk(machine: &Machine, addr: u64) -> Option<(u64, Bits)> {
    let addr = x86_64::VirtAddr::try_new(addr).ok()?;
    let tables = machine.tables();
    let mut table = tables.root;
    let path = [addr.p4_index(), addr.p3_index(), addr.p2_index(), addr.p1_index()];
    for (level, index) in (0..4_u8).rev().zip(path) {
        let word = &tables.entries(table)[usize::from(u16::from(index))];
        let raw = word.load(std::sync::atomic::Ordering::Relaxed);
        let bits = Bits::from_bits_truncate(raw);
        if !bits.contains(Bits::PRESENT | Bits::USER_ACCESSIBLE) {
            return None;
        }
        let base = x86_64::PhysAddr::new(raw & 0x000f_ffff_ffff_f000);
        if level == 0 || bits.contains(Bits::HUGE_PAGE) {
            let span = SPANS[usize::from(level)];
            assert!(base.is_aligned(span), "a leaf's frame fits its size");
            return Some((base.as_u64() + addr.as_u64() % span, bits));
        }
        assert!(bits.contains(Bits::WRITABLE) && !bits.contains(Bits::NO_EXECUTE));
        table = Pfn::new(base.as_u64() >> 12);
    }
    None
}

#[test]
fn hardware_would_find_the_frames_that_the_walk_finds() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    let last = (1 << 47) - SPANS[0];
    let table = [
        (0x1000, 3, 5, 0, ro()),
        (SPANS[1], 512, 1024, 1, rw()),
        (SPANS[2] * 7 + SPANS[1] * 511, 1024, 1 << 20, 2, Perms { exec: true, ..ro() }),
        (SPANS[2] * 512 * 3, 1 << 18, 1 << 18, 2, rw()),
        (last, 1, (1 << 40) - 1, 0, Perms { dirty: true, young: true, ..rw() }),
        (SPANS[1] * 9, 4, 40, 0, Perms { protnone: true, ..rw() }),
    ];
    for (start, count, pfn, level, perms) in table {
        tables.map(pages(start, count), Pfn::new(pfn), perms, level).expect("room");
    }
    for (start, count, pfn, _, perms) in table {
        for n in [0, 1, 2, 511, 512, count / 2, count - 1] {
            let addr = start + n % count * SPANS[0] + 0x123;
            let found = tables.walk(VirtAddr::new(addr));
            let frame = Pfn::new(pfn + n % count);
            assert_eq!(found.frame(VirtAddr::new(addr)), Some(frame), "{addr:#x}");
            let hardware = hardware_walk(&machine, addr);
            assert_eq!(hardware.is_none(), perms.protnone, "{addr:#x}");
            let Some((bytes, bits)) = hardware else { continue };
            assert_eq!(bytes, frame.get() * SPANS[0] + 0x123);
            assert_eq!(bits.contains(Bits::WRITABLE), perms.write);
            assert_eq!(bits.contains(Bits::NO_EXECUTE), !perms.exec);
        }
    }
    for addr in [0, 0x4000, SPANS[1] - 1, 2 * SPANS[1], last - 1, 1 << 47, u64::MAX] {
        assert!(tables.walk(VirtAddr::new(addr)).entry.is_none(), "{addr:#x}");
        assert_eq!(hardware_walk(&machine, addr), None, "{addr:#x}");
    }
}
