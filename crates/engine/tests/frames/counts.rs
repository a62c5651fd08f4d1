//! References, pins, mapcounts, flags.

use crate::support::{anon, frames, misused};
use gup::addr::Pfn;
use gup::frame::{COUNT_LIMIT, CountError, FrameFlags, Kind, Last, METADATA_BYTES, Mapper, Owner};

#[test]
fn metadata_is_at_most_24_bytes_per_frame() {
    const { assert!(METADATA_BYTES <= 24) }
}

#[test]
fn a_new_folio_has_one_reference_and_nothing_else() {
    let frames = frames(64);
    let folio = anon(&frames, 2);
    assert_eq!((frames.refs(folio), frames.pins(folio), frames.folio_mapcount(folio)), (1, 0, 0));
    assert_eq!((frames.order(folio), frames.kind(folio)), (2, Kind::Anon));
    let tail = folio.offset(3);
    assert_eq!((frames.head(tail), frames.kind(tail), frames.refs(tail)), (folio, Kind::Anon, 1));
    assert_eq!((frames.flags(folio), frames.flags(tail)), Default::default());
    assert_eq!(frames.owner(tail), Owner::default());
}

#[test]
fn a_pin_is_a_reference_too_and_both_come_back() {
    let frames = frames(64);
    for order in [0, 3] {
        let folio = anon(&frames, order);
        let page = folio.offset((1 << order) - 1);
        frames.pin(page, 2).expect("known");
        frames.get(page, 3).expect("known");
        assert_eq!((frames.refs(folio), frames.pins(folio)), (6, 2));
        assert_eq!(frames.unpin(page, 2), Last::No);
        assert_eq!(frames.put(page, 3), Last::No);
        assert_eq!((frames.refs(folio), frames.pins(folio)), (1, 0));
        assert_eq!(frames.put(page, 1), Last::Yes);
        frames.free(folio);
    }
    assert_eq!(frames.stats().free_total(), 63);
}

#[test]
fn c_88_a_small_folio_looks_pinned_from_1024_references_on_and_a_large_one_never_lies() {
    let frames = frames(64);
    // order, pins, more references, what Linux shows, maybe pinned
    let table = [
        (0, 0, 0, 1, false),
        (0, 1, 0, 1025, true),
        (0, 2, 5, 2054, true),
        (0, 0, 1022, 1023, false),
        (0, 0, 1023, 1024, true),
        (2, 0, 1023, 1024, false),
        (2, 0, 5000, 5001, false),
        (2, 1, 0, 2, true),
    ];
    for (order, pins, gets, shown, maybe) in table {
        let folio = anon(&frames, order);
        frames.pin(folio, pins).expect("known");
        frames.get(folio, gets).expect("known");
        let case = (order, pins, gets);
        assert_eq!(frames.linux_refcount(folio), shown, "{case:?}");
        assert_eq!(frames.maybe_pinned(folio), maybe, "{case:?}");
        assert_eq!(frames.unpin(folio, pins), Last::No);
        frames.put_and_free(folio, gets + 1);
    }
}

#[test]
fn i_11_a_count_refuses_at_its_limit_and_stays_as_it_was() {
    let frames = frames(8);
    let folio = anon(&frames, 0);
    assert_eq!(frames.get(folio, COUNT_LIMIT - 3), Ok(()), "a great many at once");
    assert_eq!(frames.refs(folio), COUNT_LIMIT - 2);
    assert_eq!(frames.get(folio, 2), Err(CountError::Limit));
    assert_eq!(frames.pin(folio, 2), Err(CountError::Limit));
    assert_eq!(frames.get(folio, COUNT_LIMIT), Err(CountError::Limit));
    assert_eq!(frames.get(folio, u32::MAX), Err(CountError::Limit));
    assert!(!frames.try_get(folio, 2) && !frames.try_pin(folio, 2));
    assert_eq!((frames.refs(folio), frames.pins(folio)), (COUNT_LIMIT - 2, 0), "no trace");
    assert_eq!(frames.pin(folio, 1), Ok(()), "one still fits");
    assert_eq!(frames.get(folio, 1), Err(CountError::Limit));
    assert!(!frames.try_get(folio, 1));
    assert_eq!((frames.refs(folio), frames.pins(folio)), (COUNT_LIMIT - 1, 1));
    assert_eq!(frames.unpin(folio, 1), Last::No);
    assert_eq!(frames.put(folio, COUNT_LIMIT - 2), Last::Yes);
}

#[test]
fn a_free_or_frozen_folio_is_grabbed_by_nobody() {
    let frames = frames(8);
    let folio = anon(&frames, 0);
    assert!(!frames.freeze(folio, 2), "not the expected count");
    assert!(frames.freeze(folio, 1));
    assert_eq!(frames.get(folio, 1), Err(CountError::Gone));
    assert_eq!(frames.pin(folio, 7), Err(CountError::Gone));
    assert_eq!(frames.get(folio, 1 << 30), Err(CountError::Gone));
    assert!(!frames.try_get(folio, 1) && !frames.try_pin(folio, 1));
    assert_eq!((frames.refs(folio), frames.pins(folio)), (0, 0), "no trace");
    frames.unfreeze(folio, 3);
    assert!(frames.try_pin(folio, 1));
    assert!(!frames.freeze(folio, 4), "a pinned folio is not frozen");
    assert_eq!(frames.unpin(folio, 1), Last::No);
    frames.put_and_free(folio, 3);
    assert!(!frames.try_get(folio, 1));
    assert_eq!(frames.refs(folio), 0);
}

#[test]
fn i_12_plain_references_cannot_cancel_a_pin() {
    let frames = frames(8);
    let folio = anon(&frames, 0);
    frames.pin(folio, 1).expect("known");
    assert_eq!(frames.put(folio, 1), Last::No);
    let stolen = misused(|| frames.put(folio, 1));
    assert!(matches!(stolen, None | Some(Last::No)));
    assert_eq!((frames.refs(folio), frames.pins(folio)), (1, 1), "the pin holds");
    assert_eq!(frames.unpin(folio, 1), Last::Yes);
}

#[test]
fn returning_more_than_was_taken_changes_nothing() {
    let frames = frames(8);
    let folio = anon(&frames, 0);
    let attempts = [
        misused(|| frames.put(folio, 2)),
        misused(|| frames.unpin(folio, 1)),
        misused(|| frames.put(folio, u32::MAX)),
        misused(|| frames.unpin(folio, u32::MAX)),
    ];
    assert!(attempts.iter().all(|last| matches!(last, None | Some(Last::No))));
    assert_eq!((frames.refs(folio), frames.pins(folio)), (1, 0));
    misused(|| frames.unmap(folio, Mapper::UNKNOWN));
    misused(|| frames.unmap_huge(folio, Mapper::UNKNOWN));
    assert_eq!(frames.mapcount(folio), 0);
    misused(|| frames.free(folio));
    assert_eq!(frames.stats().free_total(), 6, "a folio with references is not freed");
    frames.put_and_free(folio, 1);
    misused(|| frames.free(folio));
    misused(|| frames.free(Pfn::new(0)));
    assert_eq!(frames.stats().free_total(), 7, "nor twice, nor frame 0");
}

#[test]
fn mapcounts_tell_pages_from_folios() {
    let frames = frames(64);
    let folio = anon(&frames, 2);
    let (first, last) = (folio, folio.offset(3));
    frames.map(last, Mapper::UNKNOWN);
    frames.map(last, Mapper::UNKNOWN);
    frames.map(first, Mapper::UNKNOWN);
    frames.map_huge(folio, Mapper::UNKNOWN);
    assert_eq!((frames.mapcount(first), frames.mapcount(last)), (2, 3));
    assert_eq!((frames.mapcount(folio.offset(1)), frames.entire_mapcount(last)), (1, 1));
    assert_eq!(frames.folio_mapcount(last), 4);
    assert_eq!(frames.unmap(last, Mapper::UNKNOWN), 1);
    assert_eq!(frames.unmap_huge(folio, Mapper::UNKNOWN), 0);
    assert_eq!(frames.unmap(last, Mapper::UNKNOWN), 0);
    assert_eq!((frames.folio_mapcount(folio), frames.is_mapped(last)), (1, true));
    misused(|| frames.unmap_huge(folio, Mapper::UNKNOWN));
    assert_eq!((frames.folio_mapcount(folio), frames.entire_mapcount(folio)), (1, 0));
    assert_eq!(frames.unmap(first, Mapper::UNKNOWN), 0);
    assert!(!frames.is_mapped(first));
    assert_eq!(frames.refs(folio), 1, "mapping takes no reference");
    frames.put_and_free(folio, 1);
    let again = anon(&frames, 1);
    assert_eq!((frames.folio_mapcount(again), frames.entire_mapcount(again)), (0, 0));
    let small = anon(&frames, 0);
    frames.map(small, Mapper::UNKNOWN);
    assert_eq!((frames.mapcount(small), frames.folio_mapcount(small)), (1, 1));
    assert_eq!((frames.entire_mapcount(small), frames.unmap(small, Mapper::UNKNOWN)), (0, 0));
}

#[test]
fn a_folios_flags_are_its_heads_and_a_pages_flags_its_own() {
    let frames = frames(64);
    let folio = anon(&frames, 2);
    let (one, two) = (folio.offset(1), folio.offset(2));
    frames.set(one, FrameFlags::DIRTY | FrameFlags::UPTODATE);
    assert!(frames.has(two, FrameFlags::DIRTY) && frames.has(folio, FrameFlags::UPTODATE));
    assert!(!frames.test_and_set(one, FrameFlags::ANON_EXCLUSIVE));
    assert!(frames.test_and_set(one, FrameFlags::ANON_EXCLUSIVE));
    assert!(!frames.has(two, FrameFlags::ANON_EXCLUSIVE));
    assert!(!frames.has(folio, FrameFlags::ANON_EXCLUSIVE));
    assert!(frames.test_and_clear(two, FrameFlags::DIRTY));
    assert!(!frames.test_and_clear(folio, FrameFlags::DIRTY));
    assert_eq!(frames.flags(one), FrameFlags::UPTODATE | FrameFlags::ANON_EXCLUSIVE);
    frames.set_kind(two, Kind::Shmem);
    assert_eq!((frames.kind(folio), frames.order(folio)), (Kind::Shmem, 2));
    assert_eq!(frames.flags(one), FrameFlags::UPTODATE | FrameFlags::ANON_EXCLUSIVE);
    frames.set_owner(two, Owner { owner: 5, index: 100 });
    assert_eq!(frames.owner(folio), Owner { owner: 5, index: 100 });
    assert_eq!((frames.index_of(folio), frames.index_of(two)), (100, 102));
    assert_eq!(frames.head(two), folio, "the owner does not overwrite the way to the head");
}

#[test]
fn a_lock_is_held_by_one_until_dropped() {
    let frames = frames(64);
    let (table, folio) = (anon(&frames, 0), anon(&frames, 2));
    let guard = frames.lock_table(table);
    assert_eq!(guard.table(), table);
    assert!(frames.try_lock_table(table).is_none());
    drop(guard);
    assert!(frames.try_lock_table(table).is_some());
    assert!(frames.try_lock_table(table).is_some(), "the guard before was dropped");
    let guard = frames.lock_folio(folio.offset(1));
    assert_eq!(guard.folio(), folio);
    assert!(frames.try_lock_folio(folio.offset(3)).is_none() && frames.is_locked(folio));
    guard.keep_locked();
    assert!(frames.is_locked(folio));
    frames.unlock_folio(folio.offset(2));
    assert!(!frames.is_locked(folio));
}

#[test]
fn every_kind_survives_the_word_it_is_kept_in() {
    let frames = frames(64);
    for kind in Kind::ALL.into_iter().filter(|&kind| kind != Kind::Free) {
        let folio = anon(&frames, 1);
        frames.set(folio, FrameFlags::all() - FrameFlags::PER_PAGE);
        frames.set_kind(folio, kind);
        assert_eq!((frames.kind(folio), frames.order(folio)), (kind, 1));
        assert_eq!(frames.flags(folio), FrameFlags::all() - FrameFlags::PER_PAGE);
        frames.clear(folio, FrameFlags::all() - FrameFlags::PER_PAGE);
        frames.put_and_free(folio, 1);
    }
}
