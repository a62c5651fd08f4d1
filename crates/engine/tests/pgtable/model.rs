//! Random edits of a window that crosses a 1 GiB border, beside a map from pages to what is there.

use crate::machine::{Machine, SPANS, pages, ro, rw};
use gup::addr::{Pfn, VirtAddr, VirtRange};
use gup::pgtable::{
    Action, Decoded, Entry, MapError, Part, Perms, RunTo, SwapEntry, Visit, X86_64, level_pages,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const PAGES: u64 = 8 * 512;
const BASE: u64 = 3 * SPANS[2] - 4 * SPANS[1];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Frame(u64, Perms),
    Swap(SwapEntry),
}

/// What is where, by page number in the window.
type Model = BTreeMap<u64, There>;

#[derive(Clone, Debug)]
enum Op {
    Map { at: u64, count: u64, pfn: u64, perms: Perms, max_level: u8 },
    Protect { at: u64, count: u64, write: bool },
    SwapOut { at: u64, count: u64, slot: u64 },
    Unmap { at: u64, count: u64 },
    Split { at: u64 },
    FreeTables { at: u64, count: u64 },
}

/// A page of the window, often the first of a huge one; and a count, often of a whole one.
fn spot() -> impl Strategy<Value = (u64, u64)> {
    let at = prop_oneof![(0..PAGES / 512).prop_map(|n| n * 512), 0..PAGES];
    let count = prop_oneof![Just(1), Just(512), 1..40_u64, 1..1500_u64];
    (at, count).prop_map(|(at, count)| (at, count.min(PAGES - at)))
}

fn perms() -> impl Strategy<Value = Perms> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(write, dirty, protnone)| Perms {
        write,
        dirty,
        protnone,
        ..Perms::default()
    })
}

fn op() -> impl Strategy<Value = Op> {
    let pfn = prop_oneof![(1..64_u64).prop_map(|n| n * 512), 1..100_000_u64];
    prop_oneof![
        4 => (spot(), pfn, perms(), 0..3_u8).prop_map(|((at, count), pfn, perms, max_level)| {
            Op::Map { at, count, pfn, perms, max_level }
        }),
        2 => (spot(), any::<bool>())
            .prop_map(|((at, count), write)| Op::Protect { at, count, write }),
        1 => (spot(), 0..1_000_000_u64)
            .prop_map(|((at, count), slot)| Op::SwapOut { at, count, slot: slot & !511 }),
        2 => spot().prop_map(|(at, count)| Op::Unmap { at, count }),
        1 => (0..PAGES).prop_map(|at| Op::Split { at }),
        1 => spot().prop_map(|(at, count)| Op::FreeTables { at, count }),
    ]
}

fn window(at: u64, count: u64) -> VirtRange {
    pages(BASE + at * SPANS[0], count)
}

fn page_of(addr: VirtAddr) -> u64 {
    addr.pages_from(VirtAddr::new(BASE))
}

fn swap_slot(slot: u64) -> SwapEntry {
    SwapEntry::Swap { slot, exclusive: true, uffd_wp: false, soft_dirty: true }
}

/// What an entry that covers `pages` pages from `addr` says of each.
fn expand(addr: VirtAddr, entry: Entry<X86_64>, level: u8) -> Vec<(u64, There)> {
    let each = (0..level_pages(level)).map(|n| match entry.decode(level) {
        Decoded::Leaf(pfn, perms) => There::Frame(pfn.offset(n).get(), perms),
        Decoded::Swap(swap) => There::Swap(swap.offset(n)),
        Decoded::None | Decoded::Table(_) => unreachable!("no leaf: {entry:?}"),
    });
    each.enumerate().map(|(n, there)| (page_of(addr) + n as u64, there)).collect()
}

fn map<const HW: bool>(machine: &Machine<HW>, model: &mut Model, op: &Op) {
    let &Op::Map { at, count, pfn, perms, max_level } = op else { return };
    let result = machine.tables().map(window(at, count), Pfn::new(pfn), perms, max_level);
    let blocked = model.range(at..at + count).next().map(|(&page, _)| page);
    let stop = blocked.unwrap_or(at + count);
    model.extend((at..stop).map(|page| (page, There::Frame(pfn + page - at, perms))));
    let expected = blocked
        .map_or(Ok(()), |page| Err(MapError::Occupied(VirtAddr::new(BASE + page * SPANS[0]))));
    assert_eq!(result, expected, "{op:?}");
}

fn protect<const HW: bool>(
    machine: &Machine<HW>,
    model: &mut Model,
    at: u64,
    count: u64,
    write: bool,
) {
    let tables = machine.tables();
    tables.protect(window(at, count), |perms| Perms { write, ..perms }).expect("room");
    for there in model.range_mut(at..at + count).map(|(_, there)| there) {
        if let There::Frame(_, perms) = there {
            perms.write = write;
        }
    }
}

/// Replaces each leaf by a swap entry whose slots count up with the frames.
fn swap_out<const HW: bool>(
    machine: &Machine<HW>,
    model: &mut Model,
    at: u64,
    count: u64,
    slot: u64,
) {
    let swap = |entry: Entry<X86_64>| Entry::swap(swap_slot(slot + entry.pfn().get()));
    let mut visitor = |visit: &Visit<X86_64>| match visit.part {
        _ if !visit.entry.is_present() => Action::Keep,
        Part::Whole => Action::Replace(swap(visit.entry)),
        Part::Some => Action::SplitFirst,
    };
    machine.tables().for_each(window(at, count), &mut visitor).expect("room");
    for there in model.range_mut(at..at + count).map(|(_, there)| there) {
        if let There::Frame(pfn, _) = *there {
            *there = There::Swap(swap_slot(slot + pfn));
        }
    }
}

fn unmap<const HW: bool>(machine: &Machine<HW>, model: &mut Model, at: u64, count: u64) {
    let mut gone = Vec::new();
    let tables = machine.tables();
    tables
        .unmap(window(at, count), |addr, entry, level| gone.extend(expand(addr, entry, level)))
        .expect("room");
    let expected: Vec<_> =
        model.range(at..at + count).map(|(&page, &there)| (page, there)).collect();
    assert_eq!(gone, expected, "what was removed is what was there, once each, in order");
    model.retain(|page, _| !(at..at + count).contains(page));
}

fn split<const HW: bool>(machine: &Machine<HW>, at: u64) {
    let addr = VirtAddr::new(BASE + at * SPANS[0]);
    let before = machine.tables().walk(addr);
    let was_huge = before.place.level > 0 && !before.entry.is_none();
    assert_eq!(machine.tables().split(addr).expect("room").is_some(), was_huge);
    assert_eq!(machine.tables().walk(addr).frame(addr), before.frame(addr));
}

/// The model as `translate` tells it.
fn seen<const HW: bool>(machine: &Machine<HW>) -> Model {
    let mut model = Model::new();
    let mut next = BASE;
    for run in machine.runs(window(0, PAGES)) {
        assert_eq!(run.start.get(), next, "no gap and no overlap");
        next += run.pages * SPANS[0];
        let first = page_of(run.start);
        for n in 0..run.pages {
            let there = match run.to {
                RunTo::Hole => continue,
                RunTo::Frames(pfn, perms) => There::Frame(pfn.offset(n).get(), perms),
                RunTo::Swap(swap) => There::Swap(swap.offset(n)),
            };
            model.insert(first + n, there);
        }
    }
    assert_eq!(next, BASE + PAGES * SPANS[0]);
    model
}

/// `translate` gives a run's history as a whole, so the history is left out of comparisons with it.
fn timeless(model: &Model) -> Model {
    let strip = |(&page, &there): (&u64, &There)| match there {
        There::Frame(pfn, perms) => (page, There::Frame(pfn, perms.timeless())),
        There::Swap(_) => (page, there),
    };
    model.iter().map(strip).collect()
}

/// The model as single walks tell it.
fn walked<const HW: bool>(machine: &Machine<HW>) -> Model {
    let mut model = Model::new();
    for page in 0..PAGES {
        let addr = VirtAddr::new(BASE + page * SPANS[0]);
        let found = machine.tables().walk(addr);
        let level = found.place.level;
        if found.entry.is_none() {
            continue;
        }
        let all = expand(addr.align_down(12 + 9 * u32::from(level)), found.entry, level);
        model.extend(all.into_iter().filter(|&(at, _)| at == page));
    }
    model
}

/// Whether each page that was mapped before and is otherwise now was flushed.
fn flushed<const HW: bool>(machine: &Machine<HW>, before: &Model, after: &Model) {
    let flushes = machine.take_flushes();
    for (page, there) in before {
        let addr = VirtAddr::new(BASE + page * SPANS[0]);
        if matches!(there, There::Frame(..)) && after.get(page) != Some(there) {
            assert!(flushes.iter().any(|range| range.contains(addr)), "{addr} is stale");
        }
    }
}

fn play<const HW: bool>(ops: &[Op]) {
    let machine = Machine::<HW>::with(256);
    let mut model = Model::new();
    for op in ops {
        let before = model.clone();
        match *op {
            Op::Map { .. } => map(&machine, &mut model, op),
            Op::Protect { at, count, write } => {
                protect(&machine, &mut model, at, count, write);
            }
            Op::SwapOut { at, count, slot } => swap_out(&machine, &mut model, at, count, slot),
            Op::Unmap { at, count } => unmap(&machine, &mut model, at, count),
            Op::Split { at } => split(&machine, at),
            Op::FreeTables { at, count } => {
                let range = window(at, count);
                machine.tables().free_tables(range, VirtAddr::new(0), VirtAddr::new(u64::MAX));
            }
        }
        assert_eq!(walked(&machine), model, "after {op:?}");
        assert_eq!(timeless(&seen(&machine)), timeless(&model), "after {op:?}");
        flushed(&machine, &before, &model);
    }
    unmap(&machine, &mut model, 0, PAGES);
    machine.tables().free_tables(window(0, PAGES), VirtAddr::new(0), VirtAddr::new(u64::MAX));
    assert_eq!(machine.table_frames(), 1, "only the root is left");
    assert_eq!(machine.tables().destroy(), 1);
    assert_eq!(machine.table_frames(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn random_edits_leave_what_a_map_of_pages_would(ops in prop::collection::vec(op(), 1..20)) {
        play::<true>(&ops);
        play::<false>(&ops);
    }
}

#[test]
fn leaves_swap_entries_and_splits_across_table_borders_leave_what_a_map_of_pages_would() {
    let ops = [
        Op::Map { at: 1, count: 1500, pfn: 513, perms: rw(), max_level: 2 },
        Op::Unmap { at: 700, count: 1 },
        Op::FreeTables { at: 0, count: PAGES },
        Op::Map { at: 0, count: 1501, pfn: 512, perms: ro(), max_level: 1 },
        Op::SwapOut { at: 512, count: 512, slot: 1024 },
        Op::Split { at: 600 },
        Op::Protect { at: 3, count: 600, write: true },
    ];
    play::<true>(&ops);
    play::<false>(&ops);
}
