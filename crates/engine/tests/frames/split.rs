//! A large folio taken apart.

use crate::support::{anon, frames, misused};
use gup::frame::{FrameFlags, Kind, Mapper, Owner};

#[test]
fn a_split_gives_every_page_its_own_counts_and_the_folios_kind_and_flags() {
    let frames = frames(64);
    let folio = anon(&frames, 3);
    frames.set(folio, FrameFlags::DIRTY | FrameFlags::UPTODATE | FrameFlags::LOCKED);
    frames.set_owner(folio, Owner { owner: 9, index: 40 });
    for n in [0, 1, 4] {
        frames.map(folio.offset(n), Mapper::UNKNOWN);
        frames.set(folio.offset(n), FrameFlags::ANON_EXCLUSIVE);
    }
    frames.map(folio.offset(4), Mapper::UNKNOWN);
    assert!(frames.freeze(folio, 1));
    let cache = 1;
    assert!(frames.split(folio, |_, mapcount| mapcount + cache));
    for n in 0..8 {
        let page = folio.offset(n);
        let maps = [1, 1, 0, 0, 2, 0, 0, 0][usize::try_from(n).unwrap()];
        assert_eq!((frames.head(page), frames.order(page)), (page, 0));
        assert_eq!((frames.refs(page), frames.pins(page)), (maps + cache, 0));
        assert_eq!((frames.mapcount(page), frames.folio_mapcount(page)), (maps, maps));
        assert_eq!((frames.kind(page), frames.index_of(page)), (Kind::Anon, 40 + n));
        assert_eq!(frames.owner(page).owner, 9);
        assert!(frames.has(page, FrameFlags::DIRTY | FrameFlags::UPTODATE));
        assert_eq!(frames.has(page, FrameFlags::ANON_EXCLUSIVE), [0, 1, 4].contains(&n));
        assert_eq!(frames.is_locked(page), n == 0, "the lock stays on the head");
    }
}

#[test]
fn pages_without_references_are_free_at_once() {
    let frames = frames(64);
    let before = frames.free_blocks();
    let folio = anon(&frames, 4);
    frames.map(folio.offset(7), Mapper::UNKNOWN);
    assert!(frames.freeze(folio, 1));
    assert!(frames.split(folio, |_, mapcount| mapcount));
    assert_eq!(frames.stats().free_total(), 62);
    assert_eq!(frames.unmap(folio.offset(7), Mapper::UNKNOWN), 0);
    frames.put_and_free(folio.offset(7), 1);
    assert_eq!(frames.free_blocks(), before);
}

#[test]
fn a_small_or_unfrozen_folio_is_not_split() {
    let frames = frames(64);
    let (small, large) = (anon(&frames, 0), anon(&frames, 2));
    assert!(matches!(misused(|| frames.split(large, |_, _| 1)), None | Some(false)));
    assert_eq!((frames.order(large), frames.refs(large)), (2, 1));
    assert!(frames.freeze(small, 1));
    assert!(matches!(misused(|| frames.split(small, |_, _| 1)), None | Some(false)));
    frames.unfreeze(small, 1);
    assert_eq!(frames.refs(small), 1);
}
