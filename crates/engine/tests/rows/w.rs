//! Rows W-01, W-04 … W-06: the seed's words as requirements.

use crate::support::{Call, page, row, rw};
use gup::abi;
use gup::abi::flags::{FOLL_GET, FOLL_WRITE};
use gup::flags::VmFlags;
use gup::frame::FrameFlags;
use gup::rule::w as rows;

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
