//! The order of clearing, flushing and installing, as a TLB sees it.

use crate::every_format;
use crate::rig::{Bench, pages, rw};
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::pgtable::{Action, Decoded, Entry, Format, Perms, Visit, level_span};

every_format!(
    a_split_is_broken_before_it_is_made_where_the_format_demands_it,
    a_leaf_that_moves_is_broken_before_it_is_made_where_the_format_demands_it,
    permissions_change_without_a_break,
    a_broken_entry_is_empty_and_flushed_before_anything_else_stands_there,
);

const AT: u64 = 0x4000_0000;

fn a_split_is_broken_before_it_is_made_where_the_format_demands_it<F: Format>() {
    for level in 1..=F::MAX_LEAF {
        let bench = Bench::<F>::new(16);
        let span = level_span(level) / PAGE_SIZE;
        let young = Perms { young: true, ..rw() };
        bench.tables().map(pages(AT, span), Pfn::new(0), young, level).expect("room");
        bench.host.fill_tlb(bench.root, pages(AT, 1024.min(span)));
        let table = bench.tables().split(VirtAddr::new(AT)).expect("room").expect("huge");
        bench.host.check_tlb();
        let flushes = bench.host.take_flushes();
        let [flush] = flushes[..] else { panic!("one flush: {flushes:?}") };
        assert_eq!(flush.range, pages(AT, span), "all of the leaf at level {level}");
        assert_eq!(flush.raw == 0, F::BREAK_BEFORE_MAKE, "what stood there at the flush");
        let part = Entry::<F>::leaf(Pfn::new(0), young, level - 1);
        assert_eq!(bench.walk(AT).entry, part);
        assert_eq!(bench.walk(AT).place.table, table);
    }
}

fn a_leaf_that_moves_is_broken_before_it_is_made_where_the_format_demands_it<F: Format>() {
    let bench = Bench::<F>::new(16);
    bench.tables().map(pages(AT, 4), Pfn::new(7), rw(), 0).expect("room");
    bench.host.fill_tlb(bench.root, pages(AT, 4));
    let other = Entry::<F>::leaf(Pfn::new(99), rw(), 0);
    let mut visitor = |_: &Visit<F>| Action::Replace(other);
    bench.tables().for_each(pages(AT + PAGE_SIZE, 1), &mut visitor).expect("no split");
    bench.host.check_tlb();
    let flushes = bench.host.take_flushes();
    let [flush] = flushes[..] else { panic!("one flush: {flushes:?}") };
    assert_eq!(flush.range, pages(AT + PAGE_SIZE, 1));
    assert_eq!(flush.raw == 0, F::BREAK_BEFORE_MAKE);
    assert_eq!(bench.walk(AT + PAGE_SIZE).entry, other);
}

fn permissions_change_without_a_break<F: Format>() {
    let bench = Bench::<F>::new(16);
    bench.tables().map(pages(AT, 1), Pfn::new(7), rw(), 0).expect("room");
    bench.tables().protect(pages(AT, 1), |_| Perms::default()).expect("no split");
    let flushes = bench.host.take_flushes();
    let [flush] = flushes[..] else { panic!("one flush: {flushes:?}") };
    let leaf = Entry::<F>::from_raw(flush.raw).decode(0);
    assert_eq!(leaf, Decoded::Leaf(Pfn::new(7), Perms::default()), "installed, then flushed");
}

fn a_broken_entry_is_empty_and_flushed_before_anything_else_stands_there<F: Format>() {
    let bench = Bench::<F>::new(16);
    bench.tables().map(pages(AT, 1), Pfn::new(7), rw(), 0).expect("room");
    let found = bench.walk(AT);
    let held = bench.tables().lock(found.place.table);
    let old = bench.tables().break_entry(VirtAddr::new(AT), found.place);
    drop(held);
    assert_eq!(old, found.entry);
    let flushes = bench.host.take_flushes();
    assert_eq!(
        flushes.iter().map(|flush| (flush.range, flush.raw)).collect::<Vec<_>>(),
        [(pages(AT, 1), 0)]
    );
    let held = bench.tables().lock(found.place.table);
    bench.tables().break_entry(VirtAddr::new(AT), found.place);
    drop(held);
    assert!(bench.host.take_flushes().is_empty(), "an empty entry is in no TLB");
}
