//! Mapping, protecting, unmapping, splitting and translating ranges.

use crate::machine::{EVERYTHING, Machine, SPANS, mapped, pages, ro, rw};
use gup::addr::{Pfn, VirtAddr};
use gup::pgtable::{Decoded, MakeError, MapError, Perms, X86_64, user_end};

#[test]
fn protecting_one_page_of_a_gigabyte_of_2_mib_leaves_splits_one_leaf() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    let before = machine.table_frames();
    let range = pages(SPANS[2], 1 << 18);
    tables.map(range, Pfn::new(0x40000), rw(), 1).expect("room");
    let held = machine.table_frames();
    assert_eq!(held, before + 2, "a PUD table and a PMD table");
    let page = pages(SPANS[2] + 5 * SPANS[1] + 7 * SPANS[0], 1);
    tables.protect(page, |perms| Perms { write: false, ..perms }).expect("room");
    assert_eq!(machine.table_frames(), held + 1, "exactly one split");
    let at = 5 * 512 + 7;
    assert_eq!(
        machine.runs(range),
        [
            mapped(SPANS[2], at, 0x40000, rw()),
            mapped(page.start.get(), 1, 0x40000 + at, ro()),
            mapped(page.end.get(), (1 << 18) - at - 1, 0x40000 + at + 1, rw()),
        ]
    );
    tables.unmap(range, |_, _, _| {}).expect("nothing left to split");
    tables.free_tables(range, VirtAddr::new(0), user_end::<X86_64>());
    assert_eq!(machine.table_frames(), before);
    assert_eq!(tables.destroy(), 1);
    assert_eq!(machine.table_frames(), before - 1);
}

#[test]
fn addresses_outside_the_user_half_are_never_mapped_and_never_found() {
    let machine = Machine::new(64);
    let tables = machine.tables();
    tables.map(pages(0, 1), Pfn::new(7), rw(), 0).expect("room");
    tables.map(pages((1 << 47) - 4096, 1), Pfn::new(8), rw(), 0).expect("the last page");
    for addr in [1 << 47, 1 << 48, (1 << 48) - 1, 1 << 63, u64::MAX, u64::MAX - 4095] {
        let addr = VirtAddr::new(addr);
        assert!(tables.walk(addr).entry.is_none(), "{addr}");
        assert_eq!(tables.leaf_table(addr).map(|(table, _)| table), None, "{addr}");
        assert_eq!(tables.make(addr, 0), Err(MakeError::Unaddressable), "{addr}");
        assert_eq!(tables.split(addr), Ok(None), "{addr}");
    }
    let found = tables.walk(VirtAddr::new((1 << 47) - 1));
    assert_eq!(found.entry.decode(0), Decoded::Leaf(Pfn::new(8), rw()));
    let past = pages((1 << 47) - 4096, 2);
    assert_eq!(tables.map(past, Pfn::new(1), rw(), 0), Err(MapError::Unaddressable));
    let runs = machine.runs(EVERYTHING);
    assert_eq!(runs.iter().map(|run| run.pages).sum::<u64>(), 1 << 35);
    assert_eq!(runs.len(), 3, "{runs:?}");
}
