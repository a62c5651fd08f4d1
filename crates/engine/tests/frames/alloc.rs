//! Allocation: the buddy lists against a plain map of frames, zones, nodes, failures on purpose.

use crate::support::{Bare, anon, frames};
use gup::addr::Pfn;
use gup::frame::{AllocFlags, FrameFlags, Frames, FramesConfig, Kind, MAX_ORDER, OutOfMemory};
use gup::frame::{Zone, ZoneConfig};
use gup::host::Injection;
use proptest::prelude::*;

#[test]
fn everything_but_frame_0_can_be_had_and_nothing_more() {
    let (frames, host) = (frames(100), Bare::new());
    let get = || frames.alloc(&host, 0, Kind::Kernel, AllocFlags::MOVABLE);
    let mut all: Vec<Pfn> = std::iter::from_fn(|| get().ok()).collect();
    assert_eq!(get(), Err(OutOfMemory));
    assert_eq!((frames.stats().free_total(), frames.stats().of(Kind::Kernel)), (0, 99));
    all.sort_unstable();
    assert!(all.iter().copied().eq((1..100).map(Pfn::new)));
}

#[test]
fn a_gigantic_folio_needs_an_aligned_gibibyte() {
    let frames = frames(1 << 19);
    let (host, order) = (Bare::new(), MAX_ORDER);
    let get = || frames.alloc(&host, order, Kind::Hugetlb, AllocFlags::empty());
    assert_eq!(get(), Ok(Pfn::new(1 << 18)));
    assert_eq!(get(), Err(OutOfMemory), "the other half lacks frame 0");
    let too_large = frames.alloc(&host, MAX_ORDER + 1, Kind::Hugetlb, AllocFlags::empty());
    assert_eq!(too_large, Err(OutOfMemory));
    let absurd = frames.alloc(&host, u8::MAX, Kind::Hugetlb, AllocFlags::empty());
    assert_eq!(absurd, Err(OutOfMemory));
    let last = Pfn::new((1 << 19) - 1);
    assert_eq!((frames.head(last), frames.order(last)), (Pfn::new(1 << 18), 18));
    frames.put_and_free(last, 1);
    assert_eq!(frames.stats().free_total(), (1 << 19) - 1);
}

#[test]
fn movable_requests_prefer_movable_zones_and_others_never_go_there() {
    let config = FramesConfig::normal(64).and(Zone::Movable, 0, 64).and(Zone::Cma, 0, 64);
    let (frames, host) = (Frames::new(&config), Bare::new());
    let get = |how| frames.alloc(&host, 6, Kind::Anon, how).map(|pfn| frames.zone(pfn));
    assert_eq!(get(AllocFlags::MOVABLE), Ok(Zone::Movable));
    assert_eq!(get(AllocFlags::MOVABLE), Ok(Zone::Cma));
    assert_eq!(get(AllocFlags::MOVABLE), Err(OutOfMemory));
    let get = |how| frames.alloc(&host, 5, Kind::Anon, how).map(|pfn| frames.zone(pfn));
    assert_eq!(get(AllocFlags::MOVABLE), Ok(Zone::Normal));
    assert_eq!(get(AllocFlags::empty()), Err(OutOfMemory));
    assert!(Zone::Normal.is_longterm_pinnable());
    assert!(!Zone::Movable.is_longterm_pinnable() && !Zone::Cma.is_longterm_pinnable());
}

#[test]
fn a_node_is_preferred_and_with_thisnode_insisted_on() {
    let config = FramesConfig::normal(8).and(Zone::Normal, 1, 8);
    let (frames, host) = (Frames::new(&config), Bare::new());
    let get =
        |node, how| frames.alloc_on(&host, 2, Kind::Anon, how, node).map(|pfn| frames.node(pfn));
    let here = AllocFlags::THISNODE;
    assert_eq!(get(1, AllocFlags::empty()), Ok(1));
    assert_eq!(get(0, here), Ok(0));
    assert_eq!(get(0, here), Err(OutOfMemory));
    assert_eq!(get(0, AllocFlags::empty()), Ok(1), "elsewhere will do");
    assert_eq!(get(1, here), Err(OutOfMemory));
    assert_eq!(get(2, AllocFlags::empty()), Err(OutOfMemory));
}

#[test]
fn a_frame_in_no_zone_is_reserved_and_one_in_two_is_the_firsts() {
    let zone = |kind, frames| ZoneConfig { kind, node: 0, frames };
    let zones =
        vec![zone(Zone::Movable, 10..20), zone(Zone::Normal, 4..30), zone(Zone::Cma, 40..48)];
    let (frames, host) = (Frames::<Bare>::new(&FramesConfig { zones }), Bare::new());
    assert_eq!(frames.stats().free, [10, 16, 8]);
    assert_eq!((frames.len(), frames.stats().of(Kind::Special)), (48, 14));
    assert!(frames.has(Pfn::new(35), FrameFlags::RESERVED));
    assert_eq!(
        (frames.zone(Pfn::new(15)), frames.zone(Pfn::new(25))),
        (Zone::Movable, Zone::Normal)
    );
    assert!(frames.pfn_valid(Pfn::new(47)) && !frames.pfn_valid(Pfn::new(48)));
    assert!(!frames.pfn_valid(Pfn::new(u64::MAX)));
    let mut all = Vec::new();
    while let Ok(pfn) = frames.alloc(&host, 0, Kind::Anon, AllocFlags::MOVABLE) {
        all.push(pfn.get());
    }
    all.sort_unstable();
    assert!(all.into_iter().eq((4..30).chain(40..48)));
}

#[test]
fn an_injected_failure_takes_nothing() {
    let frames = frames(64);
    let before = frames.free_blocks();
    let host = Bare::failing(Injection::FolioAlloc(3));
    let get = |order, kind| frames.alloc(&host, order, kind, AllocFlags::empty());
    assert_eq!(get(3, Kind::Anon), Err(OutOfMemory));
    assert_eq!(frames.free_blocks(), before);
    let table = get(3, Kind::Table).expect("another point");
    let small = get(0, Kind::Anon).expect("another order");
    let passed = host.passed.lock().expect("no panic").clone();
    let (large, page) = (Injection::FolioAlloc(3), Injection::FolioAlloc(0));
    assert_eq!(passed, [large, Injection::TableAlloc, page], "once per point");
    frames.put_and_free(table, 1);
    frames.put_and_free(small, 1);
    assert_eq!(frames.free_blocks(), before);
}

#[test]
fn a_page_whose_memory_failed_is_never_handed_out_again() {
    let frames = frames(64);
    let folio = anon(&frames, 4);
    let bad = folio.offset(5);
    frames.set(bad, FrameFlags::HWPOISON);
    assert!(!frames.has(folio, FrameFlags::HWPOISON), "one page of it, not the folio");
    frames.put_and_free(folio, 1);
    assert_eq!((frames.stats().free_total(), frames.stats().poisoned), (62, 1));
    let host = Bare::new();
    while let Ok(pfn) = frames.alloc(&host, 0, Kind::Anon, AllocFlags::empty()) {
        assert_ne!(pfn, bad);
    }
    assert!(frames.has(bad, FrameFlags::HWPOISON));
}

#[test]
fn a_free_frame_that_fails_leaves_the_lists_and_comes_back_as_if_nothing_was() {
    let frames = frames(64);
    let before = frames.free_blocks();
    for n in [1, 2, 31, 32, 63] {
        let bad = Pfn::new(n);
        assert!(!frames.poison(bad));
        assert!(frames.poison(bad), "it was marked before");
        assert_eq!((frames.stats().free_total(), frames.stats().poisoned), (62, 1));
        let host = Bare::new();
        let get = || frames.alloc(&host, 0, Kind::Anon, AllocFlags::empty());
        let all: Vec<Pfn> = std::iter::from_fn(|| get().ok()).collect();
        assert!(!all.contains(&bad) && all.len() == 62);
        for pfn in all {
            frames.put_and_free(pfn, 1);
        }
        assert!(frames.unpoison(bad) && !frames.unpoison(bad));
        assert_eq!(frames.free_blocks(), before, "frame {n}");
    }
    let used = anon(&frames, 0);
    assert!(!frames.poison(used) && frames.unpoison(used));
    frames.put_and_free(used, 1);
    assert_eq!(frames.free_blocks(), before);
}

#[test]
fn a_freed_folio_leaves_nothing_to_the_next_owner() {
    let frames = frames(32);
    let folio = anon(&frames, 4);
    for n in 0..16 {
        frames.set(folio.offset(n), FrameFlags::ANON_EXCLUSIVE);
    }
    frames.set(folio, FrameFlags::DIRTY);
    frames.put_and_free(folio, 1);
    for _ in 0..16 {
        let page = anon(&frames, 0);
        assert_eq!((frames.flags(page), frames.order(page)), (FrameFlags::empty(), 0));
        assert_eq!((frames.refs(page), frames.mapcount(page)), (1, 0));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Alloc(u8),
    Free(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let small = (0..6_u8).prop_map(Step::Alloc);
    let large = (0..=9_u8).prop_map(Step::Alloc);
    let free = any::<usize>().prop_map(Step::Free);
    prop::collection::vec(prop_oneof![3 => small, 1 => large, 3 => free], 0..200)
}

proptest! {
    /// Whatever is allocated and freed: no two folios share a frame, the counts of free frames
    /// agree with a plain map, and when all is freed the lists are what they were.
    #[test]
    fn the_lists_agree_with_a_plain_map_of_frames(
        size in 2..1500_u64, split in 1..1500_u64, steps in steps()
    ) {
        let split = split.min(size - 1);
        let config = FramesConfig::normal(split).and(Zone::Movable, 0, size - split);
        let (frames, host) = (Frames::<Bare>::new(&config), Bare::new());
        let fresh = frames.free_blocks();
        let mut used = vec![false; usize::try_from(size).unwrap()];
        used[0] = true;
        let mut live: Vec<(Pfn, u8)> = Vec::new();
        for step in steps {
            match step {
                Step::Alloc(order) => {
                    let got = frames.alloc(&host, order, Kind::Anon, AllocFlags::MOVABLE);
                    let Ok(pfn) = got else {
                        prop_assert!(!has_room(&used, split, order), "room for order {order}");
                        continue;
                    };
                    prop_assert!(pfn.get().is_multiple_of(1 << order));
                    mark(&mut used, pfn, order, true);
                    live.push((pfn, order));
                }
                Step::Free(which) if !live.is_empty() => {
                    let (pfn, order) = live.swap_remove(which % live.len());
                    mark(&mut used, pfn, order, false);
                    frames.put_and_free(pfn.offset((1 << order) - 1), 1);
                }
                Step::Free(_) => {}
            }
            let free = used.iter().filter(|used| !**used).count() as u64;
            prop_assert_eq!(frames.stats().free_total(), free);
        }
        for (pfn, _) in live {
            frames.put_and_free(pfn, 1);
        }
        prop_assert_eq!(frames.free_blocks(), fresh);
    }
}

fn mark(used: &mut [bool], pfn: Pfn, order: u8, to: bool) {
    let start = usize::try_from(pfn.get()).unwrap();
    for frame in &mut used[start..start + (1 << order)] {
        assert_ne!(*frame, to, "frame of {pfn:?} order {order}");
        *frame = to;
    }
}

/// Whether an aligned block is free that lies in one zone.
fn has_room(used: &[bool], split: u64, order: u8) -> bool {
    let (split, size) = (usize::try_from(split).unwrap(), 1_usize << order);
    used.chunks_exact(size).enumerate().any(|(n, block)| {
        let whole = n * size >= split || (n + 1) * size <= split;
        whole && block.iter().all(|used| !used)
    })
}
