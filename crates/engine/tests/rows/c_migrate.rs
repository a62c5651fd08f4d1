//! Rows C-77, C-80, F-36 and F-39 for folios of more than one page: moved whole where as many
//! frames in a row are free, else in pieces; hugetlb pages inside their pool.

use crate::six::{Ask, Told, config};
use crate::support::{TestHost, World, page, row_in, rw};
use gup::addr::{PMD_ORDER, PUD_ORDER, Pfn};
use gup::errno::Errno;
use gup::fault::split_leaf;
use gup::file::{FileKind, Slot};
use gup::flags::{Foll, VmFlags};
use gup::frame::{FrameFlags, FramesConfig, Kind, Zone};
use gup::gup::Entry;
use gup::host::{Injection, Memory};
use gup::hugetlb::PoolCounts;
use gup::mapping::fork;
use gup::mm::{Counter, MachineConfig, Mm};
use gup::rule::{Rule, c, f};
use std::sync::Arc;

const ENOMEM: i64 = Errno::ENOMEM.negated();
const LONG: Foll = Foll::LONGTERM.union(Foll::WRITE);
const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);
/// Base pages of a huge page.
const HUGE: u64 = 512;
/// Normal frames without a run of 512 among them.
const NO_RUN: u64 = 1000;

/// `normal` ordinary frames, and movable ones, which faults prefer.
fn machine(normal: u64) -> MachineConfig {
    let frames = FramesConfig::normal(normal).and(Zone::Movable, 0, 4096);
    MachineConfig { frames, ..config() }
}
#[track_caller]
fn moves(rule: Rule, normal: u64, body: impl FnOnce(&World)) {
    row_in(rule, World::with(machine(normal)), |w| {
        body(w);
        w.machine.resize_hugetlb(PMD_ORDER, 0);
    });
}
fn pin(w: &World, foll: Foll, at: u64, nr: u64) -> Told {
    Ask::new(Entry::PinUnlocked, foll, page(at), nr).of(w)
}
fn zone(w: &World, pfn: Pfn) -> Zone {
    w.machine.frames().zone(pfn)
}
fn level(mm: &Mm<TestHost>, at: u64) -> u8 {
    mm.tables().walk(page(at)).place.level
}
fn exclusive(w: &World, pfn: Pfn) -> bool {
    w.machine.frames().has(pfn, FrameFlags::ANON_EXCLUSIVE)
}
/// A huge page at page 0, every page stored to.
fn thp(w: &World) -> Pfn {
    w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
    (0..HUGE).for_each(|n| assert!(w.store(page(n), byte(n))));
    let head = w.mapped(page(0), true).unwrap();
    assert_eq!((level(&w.mm, 0), zone(w, head)), (1, Zone::Movable));
    head
}
fn byte(n: u64) -> u8 {
    u8::try_from(n % 251).unwrap()
}
fn has_its_bytes(w: &World, pages: u64) {
    (0..pages).for_each(|n| assert_eq!(w.load(page(n)), Some(byte(n)), "page {n}"));
}

#[test]
fn c_77_a_huge_page_moves_whole_with_its_bytes_permissions_and_mark() {
    moves(c::C_77, 2048, |w| {
        let old = thp(w);
        let told = pin(w, LONG, 5, 2);
        let new = w.mapped(page(0), true).unwrap();
        assert_eq!((told.ret, &told.frames[..]), (2, &[new.offset(5), new.offset(6)][..]));
        assert_eq!((level(&w.mm, 0), zone(w, new)), (1, Zone::Normal), "still one entry");
        assert!(exclusive(w, new) && w.machine.frames().refs(old) == 0);
        assert_eq!(w.machine.frames().refs(new), 1, "the entry's");
        assert_eq!(w.mm.rss(Counter::Anon), 512);
        has_its_bytes(w, HUGE);
        assert_eq!(pin(w, LONG, 0, HUGE).ret, 512);
        assert_eq!(w.count(c::C_77), 1, "it stays there");
    });
}
#[test]
fn c_77_without_so_many_free_frames_in_a_row_a_huge_page_moves_in_pieces() {
    moves(c::C_77, NO_RUN, |w| {
        let old = thp(w);
        let told = pin(w, LONG, 5, 2);
        assert_eq!((told.ret, level(&w.mm, 0)), (2, 0));
        for n in 0..HUGE {
            let now = w.mapped(page(n), true).unwrap();
            assert!(zone(w, now) == Zone::Normal && exclusive(w, now), "page {n}");
            assert_eq!((w.machine.frames().refs(now), w.machine.frames().order(now)), (1, 0));
        }
        assert_eq!(w.machine.frames().kind(old), Kind::Free);
        assert_eq!(w.mm.rss(Counter::Anon), 512);
        has_its_bytes(w, HUGE);
    });
}
#[test]
fn c_77_a_huge_page_moves_for_all_who_map_it_whole_or_in_part() {
    for normal in [2048, NO_RUN] {
        moves(c::C_77, normal, |w| {
            let old = thp(w);
            let [whole, parts] = [(); 2].map(|()| fork(&mut w.mm.write(), &w.task).unwrap());
            split_leaf(&parts, page(0)).unwrap();
            // Nobody may store, so that a pin does not unshare first.
            w.machine.frames().set(old, FrameFlags::ANON_EXCLUSIVE);
            let told = pin(w, Foll::LONGTERM, 3, 1);
            w.machine.frames().clear(told.frames[0], FrameFlags::ANON_EXCLUSIVE);
            let now = w.mapped(page(3), false).unwrap();
            assert_eq!((told.ret, told.frames[0], zone(w, now)), (1, now, Zone::Normal));
            for space in [&whole, &parts] {
                let walked = space.tables().walk(page(3));
                assert_eq!(walked.frame(page(3)), Some(now));
                assert!(!walked.entry.is_writable());
            }
            let large = normal != NO_RUN;
            assert_eq!(level(&whole, 0), u8::from(large));
            assert_eq!((level(&parts, 0), w.machine.frames().is_large(now)), (0, large));
            assert_eq!(w.machine.frames().folio_mapcount(now), if large { 514 } else { 3 });
            has_its_bytes(w, HUGE);
        });
    }
}
#[test]
fn c_77_what_of_a_split_folio_nobody_maps_is_freed() {
    moves(c::C_77, NO_RUN, |w| {
        let old = thp(w);
        let half = HUGE / 2 * gup::addr::PAGE_SIZE;
        gup::mapping::munmap(&mut w.mm.write(), page(256), half).unwrap();
        assert_eq!(pin(w, LONG, 0, 1).ret, 1);
        assert_eq!(w.machine.frames().kind(old), Kind::Free);
        assert_eq!(w.machine.frames().stats().of(Kind::Anon), 256);
        has_its_bytes(w, 256);
    });
}
#[test]
fn c_77_a_large_folio_below_a_huge_page_moves_whole() {
    let mut config = machine(2048);
    config.sysctl.thp_orders = 1 << 4;
    row_in(c::C_77, World::with(config), |w| {
        w.area(0, 16, rw());
        (0..16).for_each(|n| assert!(w.store(page(n), byte(n))));
        let old = w.mapped(page(0), true).unwrap();
        assert_eq!((w.machine.frames().order(old), zone(w, old)), (4, Zone::Movable));
        assert_eq!(pin(w, LONG, 2, 3).ret, 3);
        let new = w.mapped(page(0), true).unwrap();
        assert_eq!((w.machine.frames().order(new), zone(w, new)), (4, Zone::Normal));
        assert_eq!((w.machine.frames().refs(new), w.machine.frames().refs(old)), (16, 0));
        assert!((0..16).all(|n| exclusive(w, new.offset(n))));
        has_its_bytes(w, 16);
    });
}
#[test]
fn c_77_a_large_folio_of_a_file_moves_in_its_cache() {
    for (normal, order) in [(2048, PMD_ORDER), (NO_RUN, 0)] {
        moves(c::C_77, normal, |w| {
            let file = w.file(FileKind::Shmem, HUGE, None);
            assert!(file.insert_folio(&w.machine, 0, PMD_ORDER).unwrap());
            // An area that begins inside the folio.
            w.area_of(0, 64, rw() | SHARED, World::backing(&file), 32);
            assert!(w.store(page(1), 7) && w.store(page(63), 8));
            let told = pin(w, LONG, 1, 1);
            assert_eq!((told.ret, zone(w, told.frames[0])), (1, Zone::Normal));
            assert_eq!(w.machine.frames().order(told.frames[0]), order);
            assert_eq!(file.pages.lock().get(&33), Some(&Slot::Page(told.frames[0])));
            let in_cache = |slot: &Slot| match slot {
                Slot::Page(page) => zone(w, *page) == Zone::Normal,
                Slot::Reading(..) | Slot::Swapped(_) => false,
            };
            let (count, all) = {
                let pages = file.pages.lock();
                (pages.len(), pages.values().all(in_cache))
            };
            assert!(all && count == 512, "all of it, mapped or not");
            assert_eq!((w.load(page(1)), w.load(page(63))), (Some(7), Some(8)));
        });
    }
}

/// A hugetlb area of one page at page 0, from a pool of `pool` movable pages.
fn hugetlb(w: &World, pool: u64, flags: VmFlags) -> (Arc<gup::file::File<TestHost>>, Pfn) {
    assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, pool), pool);
    let file = w.file(FileKind::Hugetlb(PMD_ORDER), HUGE, None);
    let flags = flags | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
    w.area_of(0, HUGE, flags, World::backing(&file), 0);
    assert!(w.store(page(0), 9));
    let old = w.mapped(page(0), true).unwrap();
    assert_eq!(zone(w, old), Zone::Movable);
    (file, old)
}

#[test]
fn c_77_a_hugetlb_page_moves_and_its_pool_stays_as_large_as_it_was() {
    for flags in [rw(), rw() | SHARED] {
        moves(c::C_77, 2048, |w| {
            let (file, old) = hugetlb(w, 1, flags);
            let told = pin(w, LONG, 3, 1);
            let new = w.mapped(page(0), true).unwrap();
            assert_eq!((told.ret, told.frames[0]), (1, new.offset(3)));
            assert_eq!(
                (zone(w, new), level(&w.mm, 0), w.load(page(0))),
                (Zone::Normal, 1, Some(9))
            );
            let shared = flags.contains(VmFlags::SHARED);
            assert_eq!(w.machine.frames().refs(new), 1 + u32::from(shared));
            assert_eq!(exclusive(w, new), !shared);
            let cached = file.pages.lock().get(&0).copied();
            assert_eq!(cached, shared.then_some(Slot::Page(new)));
            assert_eq!(w.machine.frames().kind(old), Kind::Free, "the pool has a page for it");
            let counts = PoolCounts { total: 1, free: 0, ..PoolCounts::default() };
            assert_eq!(w.machine.hugetlb().counts(PMD_ORDER), counts);
            drop(file);
            gup::mapping::munmap(&mut w.mm.write(), page(0), HUGE << 12).unwrap();
            let counts = PoolCounts { free: 1, ..counts };
            assert_eq!(w.machine.hugetlb().counts(PMD_ORDER), counts, "and gets it back");
        });
    }
}
#[test]
fn c_77_a_hugetlb_page_moves_to_a_free_one_of_its_pool_that_is_well_placed() {
    moves(c::C_77, 2048, |w| {
        let (_file, old) = hugetlb(w, 1, rw());
        // The pool's second page can only be a normal one.
        let movable: Vec<Pfn> = std::iter::from_fn(|| {
            let how = gup::frame::AllocFlags::MOVABLE;
            let got = w.machine.frames().alloc(w.host(), PMD_ORDER, Kind::Kernel, how).ok()?;
            let far = zone(w, got) == Zone::Movable;
            if !far {
                w.machine.put_page(got);
            }
            far.then_some(got)
        })
        .collect();
        assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, 2), 2);
        assert_eq!(pin(w, LONG, 0, 1).ret, 1);
        assert_eq!(w.machine.frames().kind(old), Kind::Hugetlb, "it changed places in the pool");
        let counts = PoolCounts { total: 2, free: 1, ..PoolCounts::default() };
        assert_eq!(w.machine.hugetlb().counts(PMD_ORDER), counts);
        for page in movable {
            w.machine.put_page(page);
        }
    });
}
#[test]
fn c_80_a_hugetlb_page_without_room_elsewhere_fails_the_pin() {
    moves(c::C_80, NO_RUN, |w| {
        let (_file, old) = hugetlb(w, 1, rw());
        assert_eq!(pin(w, LONG, 0, 1).ret, ENOMEM);
        assert_eq!((w.mapped(page(0), true), w.load(page(0))), (Some(old), Some(9)));
        assert_eq!((w.machine.frames().refs(old), exclusive(w, old)), (1, true));
        assert!(!w.machine.frames().has(old, FrameFlags::ISOLATED));
    });
}
#[test]
fn c_80_a_page_of_a_gigabyte_only_changes_places_with_one_of_its_pool() {
    let mut config = machine(2048);
    config.frames = FramesConfig::normal(1 << 18).and(Zone::Movable, 0, 1 << 18);
    row_in(c::C_80, World::with(config), |w| {
        assert_eq!(w.machine.resize_hugetlb(PUD_ORDER, 1), 1);
        let file = w.file(FileKind::Hugetlb(PUD_ORDER), 1 << 18, None);
        let flags = rw() | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
        w.area_of(0, 1 << 18, flags, World::backing(&file), 0);
        assert!(w.store(page(0), 9));
        assert_eq!(zone(w, w.mapped(page(0), true).unwrap()), Zone::Movable);
        assert_eq!(pin(w, LONG, 0, 1).ret, ENOMEM);
        assert_eq!(w.load(page(0)), Some(9));
        gup::mapping::munmap(&mut w.mm.write(), page(0), 1 << 30).unwrap();
        w.machine.resize_hugetlb(PUD_ORDER, 0);
    });
}
#[test]
fn c_80_when_not_even_small_pages_are_left_what_moved_has_moved_and_all_is_mapped() {
    moves(c::C_80, NO_RUN, |w| {
        thp(w);
        let mut left = 100;
        *w.host().inject.lock().unwrap() = Some(Box::new(move |point| {
            let page = point == Injection::FolioAlloc(0);
            left -= i32::from(page);
            page && left < 0
        }));
        assert_eq!(pin(w, LONG, 0, 1).ret, ENOMEM);
        *w.host().inject.lock().unwrap() = None;
        let zones: Vec<Zone> =
            (0..HUGE).map(|n| zone(w, w.mapped(page(n), true).unwrap())).collect();
        assert_eq!(zones.iter().filter(|zone| **zone == Zone::Normal).count(), 100);
        has_its_bytes(w, HUGE);
        assert_eq!(pin(w, LONG, 0, HUGE).ret, 512);
    });
}
#[test]
fn f_36_a_reference_to_any_page_of_a_huge_page_keeps_all_of_it() {
    moves(f::F_36, 2048, |w| {
        let old = thp(w);
        w.machine.frames().get(old.offset(300), 1).unwrap();
        assert_eq!(pin(w, LONG, 0, 1).ret, ENOMEM);
        assert_eq!((w.mapped(page(0), true), level(&w.mm, 0)), (Some(old), 1));
        assert!(exclusive(w, old));
        w.machine.put_page(old.offset(300));
        let mut bytes = [0];
        w.machine.memory().read(old, 0, &mut bytes);
        assert_eq!((bytes[0], w.machine.frames().refs(old)), (byte(0), 1));
    });
}
#[test]
fn f_39_a_huge_page_with_a_reference_is_not_taken_apart_to_be_moved() {
    moves(f::F_39, NO_RUN, |w| {
        let old = thp(w);
        w.machine.frames().get(old, 1).unwrap();
        assert_eq!(pin(w, LONG, 0, 1).ret, ENOMEM);
        assert_eq!((w.mapped(page(0), true), level(&w.mm, 0)), (Some(old), 1));
        w.machine.put_page(old);
        assert_eq!(pin(w, LONG, 0, 1).ret, 1);
    });
}
