//! Rows … A-123: what one page-table entry gives.

use crate::support::{Call, World, page, ro, row, rw};
use gup::abi::flags::{FOLL_DUMP, FOLL_FORCE, FOLL_GET, FOLL_MLOCK, FOLL_TOUCH, FOLL_WRITE};
use gup::addr::Pfn;
use gup::file::FileKind;
use gup::flags::VmFlags;
use gup::frame::FrameFlags;
use gup::pgtable::{Entry, Perms, SwapEntry};
use gup::rule::a;
use gup::vma::{Backing, Special};
use std::sync::Arc;

const EFAULT: i64 = -14;
const RAW: Pfn = Pfn::new(7);

fn raw_entry(w: &World, at: u64) {
    let perms = Perms { write: true, special: true, ..Perms::default() };
    w.set_entry(page(at), 0, Entry::leaf(RAW, perms, 0));
}

#[test]
fn a_91_without_a_table_a_dump_meets_a_hole_and_others_fault() {
    row(a::A_91, |w| {
        w.area(0, 1, rw());
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(0), 1).ret, EFAULT, "it would be zeroes");
        let file = w.file(FileKind::Shmem, 1, None);
        w.area_of(2, 1, rw() | VmFlags::SHARED | VmFlags::MAYSHARE, World::backing(&file), 0);
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(2), 1).ret, 1, "a file is not a hole");
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
    });
}
#[test]
fn a_110_an_entry_above_that_leads_nowhere_is_no_table() {
    row(a::A_110, |w| {
        w.area(0, 512, rw());
        let moving = SwapEntry::Migration { pfn: RAW, write: true, exclusive: true };
        w.set_entry(page(0), 1, Entry::swap(moving));
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(0), 1).ret, EFAULT);
        w.set_entry(page(0), 1, Entry::NONE);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
    });
}
#[test]
fn a_111_an_empty_pte_is_no_table() {
    row(a::A_111, |w| {
        w.area(0, 2, rw());
        w.store(page(1), 1);
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(0), 1).ret, EFAULT);
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(1), 1).ret, 1);
    });
}
#[test]
fn a_113_an_entry_that_is_not_present_goes_to_the_fault() {
    row(a::A_113, |w| {
        w.area(0, 1, rw());
        w.set_entry(page(0), 0, Entry::swap(SwapEntry::HwPoison(RAW)));
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(0), 1).ret, EFAULT);
        assert!(w.seen(a::A_138).is_some(), "the fault said why");
    });
}
#[test]
fn a_114_a_hinted_pte_is_faulted() {
    row(a::A_114, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        w.change_entry(page(0), |perms| perms.protnone = true);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
        assert!(!w.entry(page(0)).is_protnone());
    });
}
#[test]
fn a_115_a_write_through_a_read_only_entry_faults_first() {
    row(a::A_115, |w| {
        w.area(0, 1, rw());
        w.load(page(0));
        let zero = w.machine.zero_page();
        assert_eq!(w.gup(FOLL_GET, page(0), 1).pages, [Some(zero)]);
        let pages = w.gup(FOLL_GET | FOLL_WRITE, page(0), 1).pages;
        assert_eq!(pages, [w.mapped(page(0), true)]);
        assert_ne!(pages, [Some(zero)]);
    });
}
#[test]
fn a_116_a_dump_does_not_want_pages_that_are_none() {
    row(a::A_116, |w| {
        w.area(0, 1, rw());
        w.load(page(0));
        w.area(2, 1, rw() | VmFlags::MIXEDMAP);
        raw_entry(w, 2);
        for at in [0, 2] {
            assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(at), 1).ret, EFAULT);
        }
    });
}
#[test]
fn a_117_the_zero_page_is_handed_out_with_a_reference() {
    row(a::A_117, |w| {
        w.area(0, 1, rw());
        let refs = w.machine.frames().refs(w.machine.zero_page());
        assert_eq!(w.gup(FOLL_GET, page(0), 1).pages, [Some(w.machine.zero_page())]);
        assert_eq!(w.machine.frames().refs(w.machine.zero_page()), refs + 1);
    });
}
#[test]
fn a_118_a_frame_number_is_no_page() {
    row(a::A_118, |w| {
        w.area(0, 1, rw() | VmFlags::MIXEDMAP);
        raw_entry(w, 0);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT);
    });
}
#[test]
fn a_119_touching_a_frame_number_marks_its_entry() {
    row(a::A_119, |w| {
        w.area(0, 2, rw() | VmFlags::MIXEDMAP);
        raw_entry(w, 0);
        raw_entry(w, 1);
        let touch = |flags, at| {
            w.call(Call { flags, pages: false, start: page(at), ..Call::default() }).ret
        };
        assert_eq!(touch(FOLL_TOUCH, 0), 1);
        assert_eq!((w.entry(page(0)).is_young(), w.entry(page(0)).is_dirty()), (true, false));
        assert_eq!(touch(FOLL_TOUCH | FOLL_WRITE, 1), 1);
        assert_eq!((w.entry(page(1)).is_young(), w.entry(page(1)).is_dirty()), (true, true));
    });
}
#[test]
fn a_120_a_reference_is_taken_for_foll_get_only() {
    row(a::A_120, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = w.mapped(page(0), true).unwrap();
        w.call(Call { flags: 0, pages: false, ..Call::default() });
        assert_eq!(w.machine.frames().refs(pfn), 1);
        w.gup(FOLL_GET, page(0), 1);
        assert_eq!(w.machine.frames().refs(pfn), 2);
    });
}
#[test]
fn a_121_touch_marks_the_page_and_not_the_entry() {
    row(a::A_121, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = w.mapped(page(0), true).unwrap();
        let frames = w.machine.frames();
        frames.clear(pfn, FrameFlags::DIRTY | FrameFlags::REFERENCED);
        w.change_entry(page(0), |perms| (perms.dirty, perms.young) = (false, false));
        w.gup(FOLL_GET | FOLL_WRITE, page(0), 1);
        assert!(!frames.has(pfn, FrameFlags::DIRTY), "not without TOUCH");
        w.gup(FOLL_GET | FOLL_TOUCH, page(0), 1);
        assert!(frames.has(pfn, FrameFlags::REFERENCED));
        assert!(!frames.has(pfn, FrameFlags::DIRTY), "not for a read");
        w.gup(FOLL_GET | FOLL_TOUCH | FOLL_WRITE, page(0), 1);
        assert!(frames.has(pfn, FrameFlags::DIRTY));
        let entry = w.entry(page(0));
        assert_eq!((entry.is_dirty(), entry.is_young()), (false, false), "the entry is as it was");
    });
}
#[test]
fn a_122_mlock_marks_pages_of_locked_areas_but_never_the_zero_page() {
    row(a::A_122, |w| {
        w.area(0, 2, rw() | VmFlags::LOCKED);
        w.area(4, 1, rw());
        w.store(page(0), 1);
        w.store(page(4), 1);
        w.load(page(1));
        for at in [0, 1, 4] {
            w.call(Call { flags: FOLL_MLOCK, pages: false, start: page(at), ..Call::default() });
        }
        let mlocked =
            |at| w.machine.frames().has(w.mapped(page(at), false).unwrap(), FrameFlags::MLOCKED);
        assert_eq!([mlocked(0), mlocked(1), mlocked(4)], [true, false, false]);
    });
}
#[test]
fn a_123_behind_a_special_entry_is_what_the_area_says_or_nothing() {
    row(a::A_123, |w| {
        w.area(9, 1, ro());
        w.load(page(9));
        w.area(8, 1, rw());
        w.store(page(8), 1);
        let found = w.mapped(page(8), true).unwrap();
        let special = Special {
            name: "[ring]",
            pages: Vec::new(),
            find_special: vec![(0, found)],
            access: None,
        };
        let backing = Backing::Special(Arc::new(special));
        w.area_of(0, 2, rw() | VmFlags::MIXEDMAP, backing, 0);
        raw_entry(w, 0);
        raw_entry(w, 1);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).pages, [Some(found)], "find_special_page");
        assert_eq!(w.gup(FOLL_GET, page(1), 1).ret, EFAULT, "a frame number");
        assert_eq!(w.gup(FOLL_GET | FOLL_FORCE, page(9), 1).pages, [Some(w.machine.zero_page())]);
    });
}
