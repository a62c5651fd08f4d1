//! Random edits of a window in every format, beside a map from pages to what is there, and beside a
//! TLB that remembers each page's leaf until it is flushed.

use crate::every_format;
use crate::rig::{Bench, pages};
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::pgtable::{Decoded, Entry, Format, MapError, Perms, RunTo, level_span};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;

every_format!(random_edits_leave_what_a_map_of_pages_would);

const PAGES: u64 = 3 * 512;
/// The window crosses a 1 GiB border.
const BASE: u64 = (3 << 30) - (1 << 21);

/// What is where, by page number in the window.
type Model = BTreeMap<u64, (u64, Perms)>;

#[derive(Clone, Debug)]
enum Op {
    Map { at: u64, count: u64, pfn: u64, write: bool, max_level: u8 },
    Protect { at: u64, count: u64, write: bool },
    Unmap { at: u64, count: u64 },
    Split { at: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let at = prop_oneof![(0..PAGES / 512).prop_map(|n| n * 512), 0..PAGES];
    let count = prop_oneof![Just(1), Just(16), Just(512), 1..1200_u64];
    let spot = (at, count).prop_map(|(at, count)| (at, count.min(PAGES - at)));
    let spots = spot.boxed();
    let pfn = prop_oneof![
        (1..64_u64).prop_map(|n| n * 512),
        (1..900_u64).prop_map(|n| n * 16),
        1..100_000_u64
    ];
    prop_oneof![
        4 => (spots.clone(), pfn, any::<bool>(), 0..3_u8).prop_map(
            |((at, count), pfn, write, max_level)| Op::Map { at, count, pfn, write, max_level }
        ),
        2 => (spots.clone(), any::<bool>())
            .prop_map(|((at, count), write)| Op::Protect { at, count, write }),
        2 => spots.prop_map(|(at, count)| Op::Unmap { at, count }),
        1 => (0..PAGES).prop_map(|at| Op::Split { at }),
    ]
}

fn window(at: u64, count: u64) -> VirtRange {
    pages(BASE + at * PAGE_SIZE, count)
}

fn address(page: u64) -> VirtAddr {
    VirtAddr::new(BASE + page * PAGE_SIZE)
}

fn map<F: Format>(bench: &Bench<F>, model: &mut Model, op: &Op) {
    let &Op::Map { at, count, pfn, write, max_level } = op else { return };
    let perms = Perms { write, ..Perms::default() };
    let result = bench.tables().map(window(at, count), Pfn::new(pfn), perms, max_level);
    let blocked = model.range(at..at + count).next().map(|(&page, _)| page);
    let stop = blocked.unwrap_or(at + count);
    model.extend((at..stop).map(|page| (page, (pfn + page - at, perms))));
    assert_eq!(result, blocked.map_or(Ok(()), |page| Err(MapError::Occupied(address(page)))));
}

fn unmap<F: Format>(bench: &Bench<F>, model: &mut Model, at: u64, count: u64) {
    let mut gone = Vec::new();
    let mut note = |addr: VirtAddr, entry: Entry<F>, level: u8| {
        let Decoded::Leaf(pfn, perms) = entry.decode(level) else { panic!("{entry:?}") };
        let first = addr.pages_from(VirtAddr::new(BASE));
        let each = 0..level_span(level) / PAGE_SIZE;
        gone.extend(each.map(|n| (first + n, (pfn.get() + n, perms))));
    };
    bench.tables().unmap(window(at, count), &mut note).expect("room");
    let there: Vec<_> = model.range(at..at + count).map(|(&page, &leaf)| (page, leaf)).collect();
    assert_eq!(gone, there, "what was removed is what was there, once each, in order");
    model.retain(|page, _| !(at..at + count).contains(page));
}

fn seen<F: Format>(bench: &Bench<F>) -> Model {
    let mut model = Model::new();
    bench.tables().translate(window(0, PAGES), |run| {
        if let RunTo::Frames(pfn, perms) = run.to {
            let first = run.start.pages_from(VirtAddr::new(BASE));
            model.extend((0..run.pages).map(|n| (first + n, (pfn.get() + n, perms))));
        }
    });
    model
}

fn walked<F: Format>(bench: &Bench<F>) -> Model {
    let leaf = |page: u64| {
        let found = bench.tables().walk(address(page));
        let pfn = found.frame(address(page))?;
        Some((page, (pfn.get(), found.entry.perms(found.place.level)?)))
    };
    (0..PAGES).filter_map(leaf).collect()
}

fn play<F: Format>(ops: &[Op]) {
    let bench = Bench::<F>::new(64);
    let mut model = Model::new();
    for op in ops {
        bench.host.fill_tlb(bench.root, window(0, PAGES));
        match *op {
            Op::Map { .. } => map(&bench, &mut model, op),
            Op::Protect { at, count, write } => {
                let change = |perms| Perms { write, ..perms };
                bench.tables().protect(window(at, count), change).expect("room");
                model.range_mut(at..at + count).for_each(|(_, leaf)| leaf.1.write = write);
            }
            Op::Unmap { at, count } => unmap(&bench, &mut model, at, count),
            Op::Split { at } => {
                bench.tables().split(address(at)).expect("room");
            }
        }
        bench.host.check_tlb();
        assert_eq!(walked(&bench), model, "after {op:?}");
        assert_eq!(seen(&bench), model, "after {op:?}");
    }
    unmap(&bench, &mut model, 0, PAGES);
    bench.tables().free_tables(window(0, PAGES), VirtAddr::new(0), VirtAddr::new(u64::MAX));
    assert_eq!(bench.table_frames(), 1, "only the root is left");
}

fn random_edits_leave_what_a_map_of_pages_would<F: Format>() {
    let config =
        ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let programs = prop::collection::vec(op(), 1..16);
    runner
        .run(&programs, |ops| {
            play::<F>(&ops);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
