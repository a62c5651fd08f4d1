//! Rows W-01 … W-06: the seed's words as requirements; and the race that broke one of them (A-143,
//!

use crate::store::{byte_of, quick_file, slow_area};
use crate::support::{Call, FRAMES, World, page, ro, row, row_in, rw};
use gup::abi;
use gup::abi::flags::{FOLL_FORCE, FOLL_GET, FOLL_NOWAIT, FOLL_WRITE};
use gup::fault::{Zap, zap_range_as};
use gup::file::FileKind;
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::FrameFlags;
use gup::host::ReadMode;
use gup::linux::Linux;
use gup::mm::{MachineConfig, Quirks};
use gup::rule::{a, w as rows};
use std::sync::Arc;

#[test]
fn w_01_the_frame_handed_out_is_the_frame_that_a_walk_reaches() {
    row(rows::W_01, |w| {
        w.area(0, 4, rw());
        w.area(4, 4, rw() & !VmFlags::WRITE);
        w.store(page(1), 1);
        w.load(page(2));
        let answer = w.gup(FOLL_GET, page(0), 8);
        assert_eq!(answer.ret, 8);
        for (n, pfn) in answer.pages.iter().enumerate() {
            assert_eq!(*pfn, w.mapped(page(n as u64), false), "page {n}");
        }
    });
}
#[test]
fn w_02_a_page_held_keeps_frame_and_bytes_when_the_file_loses_it() {
    row(rows::W_02, |w| {
        let file = w.file(FileKind::Shmem, 1, None);
        let shared = VmFlags::SHARED | VmFlags::MAYSHARE;
        w.area_of(0, 1, rw() | shared, World::backing(&file), 0);
        file.add_mapper(&w.mm);
        assert!(w.store(page(0), 7));
        let held = w.gup(FOLL_GET, page(0), 1).pages[0].unwrap();
        file.truncate(&w.machine, 0);
        assert!(w.entry(page(0)).is_none(), "it is mapped no more");
        file.set_size(4096);
        assert!(w.store(page(0), 8));
        assert_ne!(w.mapped(page(0), true), Some(held), "the file has another page now");
        assert_eq!((w.byte(held), w.load(page(0))), (7, Some(8)));
    });
}
#[test]
fn w_04_no_pages_is_0_and_a_huge_number_ends_at_the_first_refusal() {
    row(rows::W_04, |w| {
        w.area(0, 2, rw());
        assert_eq!(w.gup(FOLL_GET, page(0), 0).ret, 0);
        for nr_pages in [(-1i64).cast_unsigned(), i64::MIN.cast_unsigned(), u64::MAX] {
            let call = Call { pages: false, flags: 0, nr_pages, ..Call::default() };
            assert_eq!(w.call(call).ret, 2);
        }
    });
}
#[test]
fn w_05_a_page_is_dirtied_and_given_back() {
    row(rows::W_05, |w| {
        w.area(0, 1, rw());
        let mut pages = [None];
        let mut lock = gup::mm::Lock::Read(w.mm.read());
        let flags = FOLL_GET | FOLL_WRITE;
        let (start, out) = (page(0).get(), Some(&mut pages[..]));
        let ret = abi::__get_user_pages(&w.task, None, &mut lock, start, 1, flags, out, None, None);
        assert_eq!(ret, 1);
        let held = pages[0].take().unwrap();
        let pfn = held.pfn();
        w.machine.frames().clear(pfn, FrameFlags::DIRTY);
        assert!(abi::set_page_dirty_lock(&w.machine, &held), "it was clean");
        assert!(!abi::set_page_dirty(&w.machine, &held), "it is dirty already");
        let refs = w.machine.frames().refs(pfn);
        abi::put_page(&w.machine, held);
        assert_eq!(w.machine.frames().refs(pfn), refs - 1);
    });
}
#[test]
fn w_06_an_area_s_id_finds_nothing_once_the_area_is_gone() {
    row(rows::W_06, |w| {
        w.area(0, 1, rw());
        let id = w.call(Call { vmas: true, ..Call::default() }).vmas[0].unwrap();
        let mut map = w.mm.write();
        assert_eq!(map.by_id(id).map(gup::vma::Vma::start), Some(page(0)));
        let gone = map.remove(page(1)).unwrap();
        assert!(map.by_id(id).is_none());
        let fresh = map.new_id();
        assert_ne!(fresh, id, "ids are not used twice");
        map.insert(gone);
    });
}

#[test]
fn w_03_nonblocking_starts_the_read_drops_the_lock_and_says_so() {
    row(rows::W_03, |w| {
        w.area(0, 1, rw());
        let disk = slow_area(w, 1, 1, ro());
        let answer = w.call(Call { nr_pages: 2, nonblocking: true, ..Call::default() });
        assert_eq!((answer.ret, answer.nonblocking, answer.lock_held), (1, 0, false));
        assert_eq!(*disk.asked.lock().unwrap(), [(0, ReadMode::Start)], "started, not waited for");
        assert!(w.mapped(page(1), false).is_none());
        drop(w.mm.write());
        let again = w.call(Call { start: page(1), nonblocking: true, ..Call::default() });
        assert_eq!((again.ret, again.nonblocking, again.lock_held), (1, 1, true));
        assert_eq!(again.pages[0].map(|pfn| w.byte(pfn)), Some(byte_of(0)));
    });
}
#[test]
fn w_03_nowait_starts_the_read_and_keeps_the_lock() {
    row(rows::W_03, |w| {
        let disk = slow_area(w, 0, 1, ro());
        let answer = w.gup(FOLL_GET | FOLL_NOWAIT, page(0), 1);
        assert_eq!((answer.ret, answer.lock_held), (0, true));
        assert_eq!(*disk.asked.lock().unwrap(), [(0, ReadMode::Start)]);
        assert!(w.host().waited.lock().unwrap().is_empty(), "nobody waited");
        let still = w.gup(FOLL_GET | FOLL_NOWAIT, page(0), 1);
        assert_eq!((still.ret, still.lock_held), (0, true), "the disk is as slow as before");
    });
}
#[test]
fn w_03_with_neither_the_call_waits_under_the_lock() {
    row(rows::W_03, |w| {
        slow_area(w, 0, 2, ro());
        let answer = w.gup(FOLL_GET, page(0), 2);
        assert_eq!((answer.ret, answer.lock_held), (2, true));
        assert_eq!(w.host().waited.lock().unwrap().len(), 2, "for each page");
        let bytes: Vec<_> = answer.pages.iter().map(|pfn| w.byte(pfn.unwrap())).collect();
        assert_eq!(bytes, [byte_of(0), byte_of(1)]);
    });
}

/// A machine with a read-only private mapping of a file at page 0. Somebody drops the copy that a
/// forced write makes, in between the fault that finished it and the next look at the entry.
/// Answers the file's own frame.
fn race(w: &World) -> gup::addr::Pfn {
    let file = quick_file(w, 1);
    w.area_of(0, 1, ro(), World::backing(&file), 0);
    assert_eq!(w.load(page(0)), Some(byte_of(0)));
    let cached = w.mapped(page(0), false).unwrap();
    let mm = Arc::downgrade(&w.mm);
    let mut armed = true;
    *w.host().on_relax.lock().unwrap() = Some(Box::new(move || {
        let Some(mm) = mm.upgrade() else { return };
        let copied = mm.tables().walk(page(0)).frame(page(0)).is_some_and(|pfn| pfn != cached);
        if copied && std::mem::take(&mut armed) {
            let map = mm.read();
            let vma = map.lookup(page(0)).unwrap();
            zap_range_as(&mm, vma, vma.range(), Zap::PAGES).unwrap();
        }
    }));
    cached
}
const FORCED: u32 = FOLL_GET | FOLL_WRITE | FOLL_FORCE;

#[test]
fn a_143_dirty_cow_hands_the_file_s_own_page_out_for_writing() {
    let mut config = MachineConfig::new(Linux::V4_4, FRAMES);
    config.quirks = Quirks { dirty_cow: true };
    row_in(a::A_143, World::with(config), |w| {
        let cached = race(w);
        let answer = w.gup(FORCED, page(0), 1);
        assert_eq!(answer.pages, [Some(cached)], "v4.4 as published");
        assert!(w.mapped(page(0), true).is_none(), "though the entry never allowed a store");
        assert!(w.seen(a::A_144).is_none());
    });
}
#[test]
fn a_144_the_fix_copies_again_when_the_copy_is_gone() {
    row(a::A_144, |w| {
        let cached = race(w);
        let answer = w.gup(FORCED, page(0), 1);
        let got = answer.pages[0].unwrap();
        assert_ne!(got, cached, "a copy, not the file's page");
        let writes = w.faults().iter().filter(|f| f.contains(FaultFlags::WRITE)).count();
        assert_eq!(writes, 2, "the copy was made twice");
        assert_eq!(w.mapped(page(0), false), Some(got));
        assert_eq!(w.byte(got), byte_of(0));
        assert_eq!(w.byte(cached), byte_of(0));
        assert!(w.seen(a::A_143).is_none());
    });
}
#[test]
fn a_143_without_the_race_the_copy_itself_is_handed_out() {
    let mut config = MachineConfig::new(Linux::V4_4, FRAMES);
    config.quirks = Quirks { dirty_cow: true };
    row_in(a::A_143, World::with(config), |w| {
        let cached = race(w);
        *w.host().on_relax.lock().unwrap() = None;
        let got = w.gup(FORCED, page(0), 1).pages[0].unwrap();
        assert!(got != cached && w.mapped(page(0), false) == Some(got));
    });
}
