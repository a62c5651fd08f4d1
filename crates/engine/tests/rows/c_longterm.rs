//! Rows C-76 … C-82: pins that last, and pages that have to be moved for them.

use crate::six::{Ask, Told, ask_fast, config, row6};
use crate::support::{World, page, ro, row_in, rw};
use gup::addr::Pfn;
use gup::errno::Errno;
use gup::file::{FileKind, Slot};
use gup::flags::{Foll, VmFlags};
use gup::frame::{FrameFlags, FramesConfig, Zone};
use gup::gup::Entry;
use gup::gup::fast::FastEntry;
use gup::mapping::fork;
use gup::mm::MachineConfig;
use gup::observe::Event;
use gup::rule::{Rule, c, f};
use std::sync::Arc;

const ENOMEM: i64 = Errno::ENOMEM.negated();
const LONG: Foll = Foll::LONGTERM.union(Foll::WRITE);
const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);

/// Normal memory, and some of the kind `zone`, which faults prefer.
fn zones(zone: Zone) -> MachineConfig {
    let frames = FramesConfig::normal(2048).and(zone, 0, 2048);
    MachineConfig { frames, ..config() }
}
#[track_caller]
fn row_z(rule: Rule, zone: Zone, body: impl FnOnce(&World)) {
    row_in(rule, World::with(zones(zone)), body);
}
fn pin(w: &World, foll: Foll, at: u64, nr: u64) -> Told {
    Ask::new(Entry::PinUnlocked, foll, page(at), nr).of(w)
}
fn zone(w: &World, pfn: Pfn) -> Zone {
    w.machine.frames().zone(pfn)
}
/// An area of `nr` pages at `at`, all written to, in the zone that faults prefer.
fn written(w: &World, at: u64, nr: u64) -> Vec<Pfn> {
    w.area(at, nr, rw());
    (at..at + nr).for_each(|n| assert!(w.store(page(n), u8::try_from(n + 1).unwrap())));
    (at..at + nr).map(|n| w.mapped(page(n), true).unwrap()).collect()
}

#[test]
fn c_76_what_a_long_term_pin_allocates_is_well_placed_from_the_start() {
    row_z(c::C_76, Zone::Movable, |w| {
        w.area(0, 2, rw());
        let told = pin(w, LONG, 0, 1);
        assert_eq!((told.ret, zone(w, told.frames[0])), (1, Zone::Normal));
        assert!(w.seen(c::C_77).is_none(), "nothing had to move");
        assert!(w.store(page(1), 1));
        assert_eq!(zone(w, w.mapped(page(1), true).unwrap()), Zone::Movable, "only in the call");
        let file = w.file(FileKind::Shmem, 1, None);
        w.area_of(4, 1, rw() | SHARED, World::backing(&file), 0);
        assert_eq!(zone(w, pin(w, LONG, 4, 1).frames[0]), Zone::Normal);
        assert!(w.seen(c::C_77).is_none());
    });
}
#[test]
fn c_77_pages_are_moved_with_bytes_and_permissions_and_then_pinned() {
    row_z(c::C_77, Zone::Movable, |w| {
        let old = written(w, 0, 3);
        assert!(old.iter().all(|pfn| zone(w, *pfn) == Zone::Movable));
        let told = pin(w, LONG, 0, 3);
        assert_eq!((told.ret, told.counts), (3, vec![(2, 1); 3]));
        for (n, pfn) in (0..3).zip(&told.frames) {
            assert_eq!((zone(w, *pfn), w.mapped(page(n), true)), (Zone::Normal, Some(*pfn)));
            assert!(w.machine.frames().has(*pfn, FrameFlags::ANON_EXCLUSIVE));
            assert_eq!(w.load(page(n)).map(u64::from), Some(n + 1));
        }
        assert!(old.iter().all(|pfn| w.machine.frames().refs(*pfn) == 0), "freed");
        assert_eq!((w.count(c::C_77), w.pinned()), (1, 6), "pinned, given up, pinned again");
        assert_eq!(pin(w, LONG, 0, 3).frames, told.frames);
        assert_eq!(w.count(c::C_77), 1, "they stay where they are now");
    });
}
#[test]
fn c_77_a_page_that_is_mapped_twice_moves_for_both() {
    row_z(c::C_77, Zone::Cma, |w| {
        let shared = written(w, 0, 1)[0];
        let child = fork(&mut w.mm.write(), &w.task).unwrap();
        let file = w.file(FileKind::Shmem, 2, None);
        w.area_of(4, 2, rw() | SHARED, World::backing(&file), 0);
        w.area_of(8, 1, ro() | SHARED, World::backing(&file), 1);
        assert!(w.store(page(5), 9) && w.load(page(8)) == Some(9));
        let told = pin(w, LONG, 5, 1);
        assert_eq!((told.ret, zone(w, told.frames[0])), (1, Zone::Normal));
        assert_eq!(w.mapped(page(8), false), Some(told.frames[0]));
        assert_eq!(file.pages.lock().get(&1), Some(&Slot::Page(told.frames[0])));
        // Read-only, forced to look at the page itself: nobody may write, so nobody unshares.
        w.machine.frames().set(shared, FrameFlags::ANON_EXCLUSIVE);
        let told = pin(w, Foll::LONGTERM, 0, 1);
        w.machine.frames().clear(told.frames[0], FrameFlags::ANON_EXCLUSIVE);
        assert_eq!(zone(w, told.frames[0]), Zone::Normal);
        let theirs = child.tables().walk(page(0)).entry;
        assert_eq!((theirs.pfn(), theirs.is_writable()), (told.frames[0], false));
        drop(child);
    });
}
#[test]
fn c_78_movable_memory_and_cma_are_refused_and_normal_memory_is_not() {
    row_z(c::C_78, Zone::Movable, |w| {
        written(w, 0, 1);
        assert_eq!(pin(w, Foll::WRITE, 0, 1).ret, 1);
        assert!(w.seen(c::C_78).is_none(), "a short pin may stay anywhere");
        // The walk without the lock does not take it either (S-13).
        let fast = ask_fast(w, FastEntry::Pin, LONG, page(0), 1);
        assert_eq!((fast.ret, zone(w, fast.frames[0])), (1, Zone::Normal));
        let before = w.count(c::C_78);
        assert!(before >= 1);
        let again = ask_fast(w, FastEntry::Pin, LONG, page(0), 1);
        assert_eq!((again.frames, w.count(c::C_78)), (fast.frames, before));
    });
}
#[test]
fn c_79_a_page_that_somebody_else_moves_is_tried_until_it_can_be_had() {
    row_z(c::C_79, Zone::Movable, |w| {
        let old = written(w, 0, 1)[0];
        w.machine.frames().set(old, FrameFlags::ISOLATED);
        let machine = Arc::clone(&w.machine);
        let mut seen = 0;
        w.on_event(move |event| {
            seen += u32::from(matches!(event, Event::Rule { rule: c::C_79, .. }));
            if seen == 3 {
                machine.frames().clear(old, FrameFlags::ISOLATED);
            }
            seen == 3
        });
        let told = pin(w, LONG, 0, 1);
        assert_eq!((told.ret, w.count(c::C_79)), (1, 3));
        assert_eq!(zone(w, told.frames[0]), Zone::Normal);
    });
}
#[test]
fn c_80_a_page_that_cannot_move_fails_the_call_and_nothing_stays_pinned() {
    row_z(c::C_80, Zone::Movable, |w| {
        let old = written(w, 0, 2);
        w.machine.frames().get(old[1], 1).unwrap();
        let told = pin(w, LONG, 0, 2);
        assert_eq!((told.ret, told.frames), (ENOMEM, vec![]), "not even the first page");
        assert!(w.seen(f::F_36).is_some(), "somebody else's reference");
        let now = w.mapped(page(1), true);
        assert_eq!(now, Some(old[1]), "it is mapped as it was, writable");
        assert!(w.machine.frames().has(old[1], FrameFlags::ANON_EXCLUSIVE));
        let (refs, pins) = (w.machine.frames().refs(old[1]), w.machine.frames().pins(old[1]));
        assert_eq!((refs, pins), (2, 0));
        w.machine.put_page(old[1]);
        assert_eq!(pin(w, LONG, 0, 2).ret, 2);
    });
}
#[test]
fn c_80_a_pinned_page_and_a_huge_page_that_is_referred_to_do_not_move() {
    row_z(c::C_80, Zone::Movable, |w| {
        let old = written(w, 0, 1)[0];
        w.machine.frames().pin(old, 1).unwrap();
        assert_eq!(pin(w, LONG, 0, 1).ret, ENOMEM);
        assert!(w.seen(f::F_34).is_some());
        assert_eq!(w.mapped(page(0), true), Some(old));
        w.machine.unpin_pages(old, 1);
        w.area(512, 512, rw() | VmFlags::HUGEPAGE);
        assert!(w.store(page(512), 1));
        let huge = w.mapped(page(512), true).unwrap();
        w.machine.frames().get(huge, 1).unwrap();
        assert_eq!(pin(w, LONG, 700, 1).ret, ENOMEM);
        assert_eq!(w.mm.tables().walk(page(512)).place.level, 1, "nor is it split");
        assert_eq!(w.mapped(page(512), true), Some(huge));
        w.machine.put_page(huge);
    });
}
#[test]
fn c_81_an_error_or_nothing_of_the_inner_call_ends_the_loop() {
    row6(c::C_81, |w| {
        assert_eq!(pin(w, LONG, 0, 1).ret, Errno::EFAULT.negated());
        assert_eq!(w.count(c::C_81), 1);
        w.area(0, 1, rw());
        assert_eq!(pin(w, LONG, 0, 2).ret, 1, "an error after a page is no such end");
        w.task.kill();
        assert_eq!(pin(w, LONG, 0, 1).ret, Errno::EINTR.negated());
        w.task.clear_signals();
        assert_eq!(w.count(c::C_81), 2);
    });
}
#[test]
fn c_82_where_pages_cannot_be_moved_nobody_looks_where_they_lie() {
    let mut config = zones(Zone::Movable);
    config.sysctl.migration = false;
    row_in(c::C_82, World::with(config), |w| {
        let old = written(w, 0, 1);
        assert_eq!(pin(w, LONG, 0, 1).frames, old);
        assert!(w.seen(c::C_78).is_none());
    });
}
