//! Failures, hostile ranges, and what visitors may do.

use crate::machine::{EVERYTHING, Machine, SPANS, mapped, pages, ro, rw};
use gup::addr::{Pfn, VirtAddr, VirtRange};
use gup::frame::OutOfMemory;
use gup::pgtable::{
    Action, Cursor, Decoded, Entry, MakeError, MapError, Part, Perms, Split, SwapEntry, Visit,
    X86_64, level_pages,
};

/// Maps, splits, protects and unmaps; the first failure ends it.
fn scenario(machine: &Machine) -> Result<(), ()> {
    let tables = machine.tables();
    let range = pages(SPANS[2] - SPANS[1], 4 * 512);
    tables.map(range, Pfn::new(512), rw(), 1).map_err(|_| ())?;
    tables.map(pages(SPANS[2] * 600, 3), Pfn::new(3), rw(), 0).map_err(|_| ())?;
    tables.map(pages(SPANS[2] * 8, 1 << 18), Pfn::new(1 << 18), rw(), 2).map_err(|_| ())?;
    tables.split(VirtAddr::new(SPANS[2])).map_err(|OutOfMemory| ())?;
    let odd = pages(SPANS[2] - SPANS[0] * 3, 700);
    tables.protect(odd, |perms| Perms { write: false, ..perms }).map_err(|OutOfMemory| ())?;
    let middle = pages(SPANS[2] * 8 + SPANS[1] * 3 + SPANS[0], 5);
    tables.unmap(middle, |_, _, _| {}).map_err(|OutOfMemory| ())?;
    tables.make(VirtAddr::new(0x7000_0000_0000), 0).map(|_| ()).map_err(|_| ())
}

#[test]
fn a_table_allocation_that_fails_anywhere_leaks_nothing() {
    for limit in 0..64 {
        let machine = Machine::new(128);
        machine.limit_tables(limit);
        let done = scenario(&machine);
        machine.limit_tables(0);
        machine.tables().unmap(EVERYTHING, |_, _, _| {}).expect("whole entries need no split");
        assert_eq!(machine.runs(EVERYTHING).len(), 1, "one hole");
        let held = machine.table_frames();
        assert_eq!(machine.tables().destroy(), held);
        assert_eq!(machine.table_frames(), 0);
        if done.is_ok() {
            assert!(limit > 12, "the scenario could fail in {limit} places");
            return;
        }
    }
    panic!("the scenario never succeeds");
}

#[test]
fn a_failed_edit_has_done_what_lies_below_and_nothing_above() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    let range = pages(SPANS[1] * 3, 1024);
    machine.limit_tables(3);
    let stop = VirtAddr::new(SPANS[1] * 4);
    assert_eq!(tables.map(range, Pfn::new(1), rw(), 0), Err(MapError::OutOfMemory(stop)));
    assert_eq!(tables.make(stop, 0), Err(MakeError::OutOfMemory));
    assert_eq!(machine.runs(range)[0], mapped(range.start.get(), 512, 1, rw()));
    assert_eq!(machine.runs(range).len(), 2);

    tables.map(pages(SPANS[1] * 4, 512), Pfn::new(1024), rw(), 1).expect("a PMD leaf");
    let across = pages(SPANS[1] * 4 - SPANS[0], 2);
    assert_eq!(tables.protect(across, |_| ro()), Err(OutOfMemory));
    assert_eq!(tables.unmap(pages(SPANS[1] * 4, 1), |_, _, _| {}), Err(OutOfMemory));
    assert_eq!(tables.split(stop), Err(OutOfMemory));
    assert_eq!(
        machine.runs(range),
        [
            mapped(range.start.get(), 511, 1, rw()),
            mapped(across.start.get(), 1, 512, ro()),
            mapped(stop.get(), 512, 1024, rw()),
        ]
    );
}

#[test]
fn protecting_part_of_a_leaf_that_would_not_change_splits_nothing() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    tables.map(pages(SPANS[2], 1 << 18), Pfn::new(1 << 18), rw(), 2).expect("room");
    machine.limit_tables(0);
    tables.protect(pages(SPANS[2] + 5 * SPANS[0], 3), |perms| perms).expect("nothing to split");
    assert!(machine.take_flushes().is_empty());
}

#[test]
fn a_leaf_in_the_way_stops_make_and_map_and_is_not_touched() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    let huge = pages(SPANS[1] * 8, 512);
    tables.map(huge, Pfn::new(512), rw(), 1).expect("room");
    let place = tables.walk(huge.start).place;
    for level in [0, 1, 2, 3] {
        let expected = if level == 0 { Err(MakeError::HugeLeaf(place)) } else { Ok(()) };
        let made = tables.make(huge.start.wrapping_add(SPANS[0]), level);
        assert_eq!(made.map(|place| assert_eq!(place.level, level)), expected);
    }
    assert_eq!(tables.make(huge.start, 4), Err(MakeError::Unaddressable), "no such level");
    let over = pages(SPANS[1] * 7, 1024);
    let occupied = Err(MapError::Occupied(huge.start));
    assert_eq!(tables.map(over, Pfn::new(2048), ro(), 2), occupied);
    let runs = machine.runs(over);
    assert_eq!(runs[0], mapped(over.start.get(), 512, 2048, ro()), "what lies below is mapped");
    assert_eq!(runs[1], mapped(huge.start.get(), 512, 512, rw()));
}

#[test]
fn hostile_ranges_are_refused_or_hold_nothing() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    tables.map(pages(0x1000, 4), Pfn::new(9), rw(), 0).expect("room");
    let top = VirtAddr::new(u64::MAX);
    let table = [
        (VirtAddr::new(0x2001), VirtAddr::new(0x3000), MapError::Unaddressable),
        (VirtAddr::new(0x2000), VirtAddr::new(0x3001), MapError::Unaddressable),
        (VirtAddr::new(0), top, MapError::Unaddressable),
        (VirtAddr::new(1 << 47), VirtAddr::new((1 << 47) + 4096), MapError::Unaddressable),
        (top.page_floor(), top, MapError::Unaddressable),
    ];
    for (start, end, error) in table {
        let range = VirtRange { start, end };
        assert_eq!(tables.map(range, Pfn::new(1), rw(), 2), Err(error), "{range:?}");
    }
    for pfn in [1 << 40, (1 << 40) - 1, u64::MAX, 1 << 52] {
        let result = tables.map(pages(0x10000, 2), Pfn::new(pfn), rw(), 0);
        assert_eq!(result, Err(MapError::Unaddressable), "{pfn:#x}");
    }
    let backwards = VirtRange { start: VirtAddr::new(0x5000), end: VirtAddr::new(0x1000) };
    let beyond = VirtRange { start: VirtAddr::new(1 << 47), end: top };
    let empty = pages(0x2000, 0);
    for range in [backwards, beyond, empty] {
        assert_eq!(machine.runs(range), []);
        tables.protect(range, |_| panic!("nothing is in it")).expect("nothing to split");
        tables.unmap(range, |_, _, _| panic!("nothing is in it")).expect("nothing to split");
        assert_eq!(tables.free_tables(range, VirtAddr::new(0), top), 0);
    }
    assert_eq!(tables.map(backwards, Pfn::new(1), rw(), 0), Ok(()), "holds nothing");
    assert_eq!(machine.runs(EVERYTHING).len(), 3);
}

#[test]
fn a_range_within_a_page_means_the_page() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    tables.map(pages(0x1000, 4), Pfn::new(9), rw(), 0).expect("room");
    let bytes = VirtRange { start: VirtAddr::new(0x2fff), end: VirtAddr::new(0x3001) };
    assert_eq!(machine.runs(bytes), [mapped(0x2000, 2, 10, rw())]);
    tables.unmap(bytes, |_, _, _| {}).expect("nothing to split");
    assert_eq!(machine.runs(pages(0x1000, 4)).len(), 3);
}

#[test]
fn tables_are_freed_only_where_nothing_else_can_use_them() {
    let (low, high) = (SPANS[2] * 4 + SPANS[1] * 10, SPANS[2] * 4 + SPANS[1] * 13);
    let range = VirtRange { start: VirtAddr::new(low), end: VirtAddr::new(high) };
    let whole = (0, u64::MAX);
    let table = [
        // floor, ceiling, freed, because
        (whole.0, whole.1, 5, "three PTE tables, their PMD table and its PUD table"),
        (low, high, 3, "the PMD table reaches beyond"),
        (low + 1, high, 2, "the first PTE table is shared below"),
        (low, high - 1, 2, "the last PTE table is shared above"),
        (SPANS[2] * 4, SPANS[2] * 5, 4, "the PMD table just fits, the PUD table does not"),
        (high, low, 0, "nothing lies between"),
    ];
    for (floor, ceiling, freed, because) in table {
        let machine = Machine::new(64);
        let tables = machine.tables();
        tables.map(range, Pfn::new(1), rw(), 0).expect("room");
        let free = || tables.free_tables(range, VirtAddr::new(floor), VirtAddr::new(ceiling));
        assert_eq!(free(), 0, "tables with entries are kept");
        tables.unmap(range, |_, _, _| {}).expect("nothing to split");
        let before = machine.table_frames();
        machine.take_flushes();
        assert_eq!(free(), freed, "{because}");
        assert_eq!(machine.table_frames(), before - freed, "{because}");
        assert_eq!(machine.take_flushes().len() as u64, freed, "an unlinked table is flushed");
        tables.destroy();
    }
}

#[test]
fn a_removed_entry_is_handed_on_after_its_flush() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    tables.map(pages(SPANS[1] - SPANS[0] * 300, 600), Pfn::new(1), rw(), 0).expect("room");
    let mut removed = 0;
    tables
        .unmap(EVERYTHING, |addr, _, _| {
            let flushes = machine.host.flushes.lock().unwrap();
            assert!(flushes.iter().any(|range| range.contains(addr)), "{addr} was not flushed");
            removed += 1;
        })
        .expect("nothing to split");
    assert_eq!(removed, 600);
}

#[test]
fn a_visitor_can_stop_and_is_asked_again_when_the_hardware_marked_the_entry() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    tables.map(pages(0x4000, 8), Pfn::new(100), rw(), 0).expect("room");
    let mut asked = Vec::new();
    let mut visitor = |visit: &Visit<X86_64>| {
        asked.push((visit.addr.get(), visit.entry.is_young()));
        let young = |perms: &mut Perms| perms.young = true;
        match asked.len() {
            1 => {
                // As the hardware would, between the look and the edit.
                tables.store(visit.place, visit.entry.map_perms(0, young));
                Action::Replace(visit.entry.map_perms(0, |perms| perms.write = false))
            }
            2 => Action::Replace(visit.entry.map_perms(0, |perms| perms.write = false)),
            3 => Action::SplitFirst,
            _ => Action::Stop,
        }
    };
    tables.for_each(EVERYTHING, &mut visitor).expect("nothing to split");
    assert_eq!(asked, [(0x4000, false), (0x4000, true), (0x5000, false), (0x6000, false)]);
    let first = tables.walk(VirtAddr::new(0x4000)).entry;
    assert_eq!(first.perms(0), Some(Perms { young: true, ..ro() }), "the mark is not lost");
}

#[test]
fn a_visitor_sees_how_much_of_a_huge_leaf_is_in_the_range() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    tables.map(pages(SPANS[1] * 4, 1536), Pfn::new(512), rw(), 1).expect("room");
    let range = VirtRange {
        start: VirtAddr::new(SPANS[1] * 4 + SPANS[0]),
        end: VirtAddr::new(SPANS[1] * 7 - SPANS[0]),
    };
    let mut parts = Vec::new();
    let mut visitor = |visit: &Visit<X86_64>| {
        assert!(machine.frames.is_locked(visit.place.table), "the table is locked");
        parts.push((visit.addr.get() / SPANS[1], visit.part));
        Action::Keep
    };
    tables.for_each(range, &mut visitor).expect("nothing to split");
    assert_eq!(parts, [(4, Part::Some), (5, Part::Whole), (6, Part::Some)]);
    assert!(!machine.frames.is_locked(tables.walk(range.start).place.table), "and no longer");
}

#[test]
fn splitting_keeps_what_every_kind_of_entry_says() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    let addr = VirtAddr::new(SPANS[2] * 3);
    let perms = Perms { exec: true, young: true, soft_dirty: true, uffd_wp: true, ..rw() };
    let swap = SwapEntry::Swap { slot: 4096, exclusive: true, uffd_wp: true, soft_dirty: false };
    let migration = SwapEntry::Migration { pfn: Pfn::new(1 << 20), write: true, exclusive: true };
    let none = Perms { protnone: true, ..ro() };
    let entries = [
        Entry::leaf(Pfn::new(1 << 18), perms, 2),
        Entry::leaf(Pfn::new(1 << 18), none, 2),
        Entry::swap(swap),
        Entry::swap(migration),
        Entry::swap(SwapEntry::HwPoison(Pfn::new(1 << 18))),
        Entry::swap(SwapEntry::Guard),
    ];
    for entry in entries {
        let place = tables.make(addr, 2).expect("room");
        tables.store(place, entry);
        let page = addr.wrapping_add(SPANS[1] * 7 + SPANS[0] * 9);
        let offset = 7 * 512 + 9;
        assert!(tables.split(page).expect("room").is_some());
        assert_eq!(tables.walk(page).place.level, 1);
        assert!(tables.split(page).expect("room").is_some());
        let expected = match entry.decode(2) {
            Decoded::Leaf(pfn, perms) => Decoded::Leaf(pfn.offset(offset), perms),
            Decoded::Swap(swap) => Decoded::Swap(swap.offset(offset)),
            Decoded::None | Decoded::Table(_) => unreachable!("not written"),
        };
        let found = tables.walk(page);
        assert_eq!((found.place.level, found.entry.decode(0)), (0, expected));
        assert_eq!(tables.split(page), Ok(None), "nothing huge is left there");
        tables.unmap(EVERYTHING, |_, _, _| {}).expect("nothing to split");
        tables.free_tables(EVERYTHING, VirtAddr::new(0), EVERYTHING.end);
    }
    assert_eq!(machine.table_frames(), 1);
}

#[test]
fn a_split_into_a_table_at_hand_needs_no_memory_and_refuses_what_is_not_huge() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    let addr = VirtAddr::new(SPANS[1] * 3);
    tables.map(pages(addr.get(), 513), Pfn::new(512), rw(), 1).expect("room");
    let spare = gup::pgtable::Tables::new_root(&machine.host, &machine.frames).expect("room");
    machine.limit_tables(0);
    let small = tables.walk(addr.wrapping_add(SPANS[1]));
    assert_eq!(tables.split_into(addr, small.place, spare), Split::NotHuge);
    let huge = tables.walk(addr);
    assert_eq!(tables.split_into(addr, huge.place, spare), Split::Done);
    assert_eq!(tables.split_into(addr, huge.place, spare), Split::NotHuge, "it is a table now");
    assert_eq!(tables.leaf_table(addr).map(|(table, _)| table), Some(spare));
    assert_eq!(machine.runs(pages(addr.get(), 513)), [mapped(addr.get(), 513, 512, rw())]);
}

#[test]
fn write_protecting_takes_the_write_out_of_pages_under_migration_and_never_puts_it_in() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    let migration = |write| SwapEntry::Migration { pfn: Pfn::new(5), write, exclusive: true };
    for (at, write) in [(0x1000, true), (0x2000, false)] {
        let place = tables.make(VirtAddr::new(at), 0).expect("room");
        tables.store(place, Entry::swap(migration(write)));
    }
    let all = |write| tables.protect(EVERYTHING, move |perms| Perms { write, ..perms });
    let at = |addr| tables.walk(VirtAddr::new(addr)).entry.decode(0);
    all(true).expect("nothing to split");
    assert_eq!(at(0x1000), Decoded::Swap(migration(true)));
    assert_eq!(at(0x2000), Decoded::Swap(migration(false)));
    all(false).expect("nothing to split");
    assert_eq!(at(0x1000), Decoded::Swap(migration(false)));
}

#[test]
fn a_run_tells_what_happened_to_any_of_its_pages_and_breaks_where_permissions_do() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    let range = pages(SPANS[1] - 4 * SPANS[0], 8);
    tables.map(range, Pfn::new(100), rw(), 0).expect("room");
    let mark = |n: u64, change: fn(&mut Perms)| {
        let place = tables.walk(range.start.wrapping_add(n * SPANS[0])).place;
        tables.store(place, tables.load(place).map_perms(0, change));
    };
    mark(2, |perms| perms.young = true);
    mark(5, |perms| perms.dirty = true);
    mark(6, |perms| perms.soft_dirty = true);
    let history = Perms { young: true, dirty: true, soft_dirty: true, ..rw() };
    assert_eq!(machine.runs(range), [mapped(range.start.get(), 8, 100, history)]);
    let breaks: [fn(&mut Perms); 5] = [
        |perms| perms.write = false,
        |perms| perms.exec = true,
        |perms| perms.protnone = true,
        |perms| perms.special = true,
        |perms| perms.uffd_wp = true,
    ];
    for change in breaks {
        tables.unmap(range, |_, _, _| {}).expect("nothing to split");
        tables.map(range, Pfn::new(100), rw(), 0).expect("room");
        mark(6, change);
        assert_eq!(machine.runs(range).len(), 3, "before, the page, after");
    }
}

#[test]
fn runs_go_on_across_leaf_sizes_and_tables_and_start_anywhere_in_a_leaf() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    let range = pages(SPANS[2] - SPANS[1] - 3 * SPANS[0], 3 + 512 + 5);
    tables.map(range, Pfn::new(1024 - 3), rw(), 1).expect("room");
    assert_eq!(machine.table_frames(), 1 + 1 + 2 + 2, "two PMD tables, two PTE tables");
    assert_eq!(machine.runs(range), [mapped(range.start.get(), 520, 1021, rw())]);
    let inside = pages(SPANS[2] - 10 * SPANS[0], 2);
    assert_eq!(machine.runs(inside), [mapped(inside.start.get(), 2, 1536 - 10, rw())]);
}

#[test]
fn a_cursor_finds_what_a_walk_finds() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    tables.map(pages(SPANS[1] * 3 - 4 * SPANS[0], 9), Pfn::new(100), rw(), 0).expect("room");
    tables.map(pages(SPANS[1] * 8, 512), Pfn::new(512), ro(), 1).expect("room");
    let mut cursor = Cursor::new(tables);
    let around = |base: u64| (0..8).map(move |n| (base - 4 * SPANS[0]).wrapping_add(n * SPANS[0]));
    let order = [SPANS[1] * 3, SPANS[1] * 8, SPANS[1] * 3, 1 << 47, SPANS[1] * 9, 4 * SPANS[0]];
    for addr in order.into_iter().flat_map(around).chain([u64::MAX, 0, SPANS[1] * 3]) {
        let addr = VirtAddr::new(addr);
        assert_eq!(cursor.walk(addr), tables.walk(addr), "{addr}");
    }
    let addr = VirtAddr::new(SPANS[1] * 3);
    tables.unmap(EVERYTHING, |_, _, _| {}).expect("nothing to split");
    assert!(cursor.walk(addr).entry.is_none(), "entries are read, not remembered");
    tables.free_tables(EVERYTHING, VirtAddr::new(0), EVERYTHING.end);
    cursor.forget();
    assert_eq!(cursor.walk(addr), tables.walk(addr));
}

#[test]
fn after_its_borders_are_split_a_range_is_edited_without_memory() {
    let table = [
        // first page, pages, new tables, because
        (0, 1 << 18, 0, "a whole leaf has no border inside"),
        (512, 512, 1, "both borders are those of 2 MiB parts"),
        (0, 1, 2, "the end is a page of the first 2 MiB"),
        (700, 2, 2, "both borders in the same 2 MiB"),
        (700, 2000, 3, "borders in different parts"),
    ];
    for (first, count, tables_made, because) in table {
        let machine = Machine::new(64);
        let tables = machine.tables();
        tables.map(pages(SPANS[2], 1 << 18), Pfn::new(1 << 18), rw(), 2).expect("room");
        let before = machine.table_frames();
        let range = pages(SPANS[2] + first * SPANS[0], count);
        tables.split_borders(range).expect("room");
        assert_eq!(machine.table_frames(), before + tables_made, "{because}");
        machine.limit_tables(0);
        tables.split_borders(range).expect("nothing left to split");
        tables.protect(range, |_| ro()).expect("nothing left to split");
        let mut removed = 0;
        tables
            .unmap(range, |_, entry, level| {
                assert_eq!(entry.perms(level), Some(ro()));
                removed += level_pages(level);
            })
            .expect("nothing left to split");
        assert_eq!(removed, count);
    }
    let machine = Machine::new(64);
    machine.tables().split_borders(EVERYTHING).expect("nothing there");
    machine.tables().split_borders(pages(0x1001, 1)).expect("nothing there");
}
