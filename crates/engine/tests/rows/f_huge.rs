//! Rows C-22, F-14, F-15, F-24 … F-26, F-28, F-39 and F-58: huge pages of 6.18, shared, copied and
//! split.

use crate::support::{World, page, ro, row_in, rw};
use gup::addr::{PMD_ORDER, Pfn};
use gup::errno::Errno;
use gup::fault::Fault;
use gup::file::FileKind;
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::frame::{FrameFlags, Kind};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page, gup};
use gup::host::Injection;
use gup::linux::Linux;
use gup::mapping::{Advice, MremapFlags, MremapRequest, fork, madvise, mremap, munmap};
use gup::mm::{Lock, Mm};
use gup::rule::{Rule, c, f};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Base pages of a huge page.
const HUGE: u64 = 512;

/// A row's test under 6.18, with a pool of `pool` hugetlb pages that is dissolved at the end.
#[track_caller]
fn huge_row(rule: Rule, pool: u64, body: impl FnOnce(&World)) {
    row_in(rule, World::new(Linux::V6_18), |w| {
        assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, pool), pool);
        body(w);
        w.machine.resize_hugetlb(PMD_ORDER, 0);
    });
}

/// A transparent huge page at page 0, stored to.
fn thp(w: &World) -> Pfn {
    w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
    assert!(w.store(page(0), 7));
    frame(w)
}

/// A private hugetlb area of one page at page 0.
fn hugetlb(w: &World, flags: VmFlags) {
    let file = w.file(FileKind::Hugetlb(PMD_ORDER), HUGE, None);
    let flags = flags | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
    w.area_of(0, HUGE, flags, World::backing(&file), 0);
}

fn child_of(w: &World) -> Result<Arc<Mm<crate::support::TestHost>>, Errno> {
    fork(&mut w.mm.write(), &w.task)
}

fn frame(w: &World) -> Pfn {
    w.mapped(page(0), false).expect("mapped")
}

fn level(mm: &Mm<crate::support::TestHost>) -> u8 {
    mm.tables().walk(page(0)).place.level
}

fn is_exclusive(w: &World, pfn: Pfn) -> bool {
    w.machine.frames().has(pfn, FrameFlags::ANON_EXCLUSIVE)
}

/// Page 0 by a fast call.
fn take(w: &World, entry: FastEntry, foll: Foll) -> Page {
    let mut slot = [None];
    assert_eq!(fast(entry, &w.task, &w.mm, page(0), 1, foll, &mut slot).got, 1);
    slot[0].take().expect("a page")
}

#[test]
fn c_22_a_forced_write_leaves_the_entry_of_a_hugetlb_page_read_only() {
    huge_row(c::C_22, 1, |w| {
        hugetlb(w, ro());
        let mut slot = [None];
        let mut lock = Lock::Read(w.mm.read());
        let foll = Foll::FORCE | Foll::WRITE;
        let entry = Entry::GetRemote;
        let pages = Some(&mut slot[..]);
        let got = gup(entry, &w.task, &mut lock, page(0), 1, foll, pages, Locked::Null);
        assert_eq!(got.got, 1);
        w.hold(slot[0].take());
        assert!(w.mapped(page(0), true).is_none() && w.entry(page(0)).is_dirty());
        w.put_all();
    });
}
#[test]
fn f_14_fork_splits_a_pinned_huge_page_and_copies_every_page_of_it() {
    huge_row(f::F_14, 0, |w| {
        let head = thp(w);
        let pin = take(w, FastEntry::Pin, Foll::WRITE);
        let child = child_of(w).unwrap();
        assert_eq!((level(&w.mm), level(&child)), (0, 0));
        for n in [0, 1, HUGE - 1] {
            let theirs = child.tables().walk(page(n)).frame(page(n)).unwrap();
            assert!(theirs != head.offset(n) && is_exclusive(w, theirs), "page {n}");
            assert_eq!(w.mapped(page(n), true), Some(head.offset(n)), "the parent's, writable");
        }
        w.machine.unpin_pages(pin.pfn(), 1);
    });
}
#[test]
fn f_15_fork_copies_a_pinned_hugetlb_page_from_the_pool_or_fails() {
    huge_row(f::F_15, 2, |w| {
        hugetlb(w, rw());
        assert!(w.store(page(0), 7));
        let pin = take(w, FastEntry::Pin, Foll::WRITE);
        let child = child_of(w).unwrap();
        let theirs = child.tables().walk(page(0)).frame(page(0)).unwrap();
        assert!(theirs != frame(w) && w.byte(theirs) == 7);
        assert_eq!(w.mapped(page(0), true), Some(frame(w)));
        assert_eq!(child_of(w).err(), Some(Errno::ENOMEM), "the pool is empty");
        w.machine.unpin_pages(pin.pfn(), 1);
    });
}
#[test]
fn f_24_a_split_huge_page_is_reused_if_all_its_references_are_mappings_of_one_process() {
    huge_row(f::F_24, 0, |w| {
        let head = thp(w);
        let child = child_of(w).unwrap();
        gup::fault::split_leaf(&w.mm, page(0)).unwrap();
        assert!(w.store(page(1), 1));
        assert_ne!(w.mapped(page(1), true), Some(head.offset(1)), "the child has it, too");
        drop(child);
        assert!(w.store(page(2), 1));
        assert_eq!(w.mapped(page(2), true), Some(head.offset(2)));
        w.hold([take(w, FastEntry::Get, Foll::empty())]);
        assert!(w.store(page(3), 1));
        assert_ne!(w.mapped(page(3), true), Some(head.offset(3)), "somebody else refers to it");
        w.put_all();
    });
}
#[test]
fn f_25_a_huge_page_is_reused_if_nobody_else_has_it_and_split_otherwise() {
    huge_row(f::F_25, 0, |w| {
        let head = thp(w);
        drop(child_of(w).unwrap());
        assert!(!is_exclusive(w, head) && w.store(page(1), 1));
        assert_eq!((frame(w), level(&w.mm), is_exclusive(w, head)), (head, 1, true));
        let child = child_of(w).unwrap();
        assert!(w.store(page(1), 2));
        assert_eq!((level(&w.mm), level(&child)), (0, 1));
        assert_eq!(w.byte(child.tables().walk(page(1)).frame(page(1)).unwrap()), 1);
    });
}
#[test]
fn f_26_a_hugetlb_page_mapped_once_is_reused_whatever_refers_to_it() {
    huge_row(f::F_26, 2, |w| {
        hugetlb(w, rw());
        assert!(w.store(page(0), 1));
        let head = frame(w);
        let child = child_of(w).unwrap();
        w.hold([take(w, FastEntry::Get, Foll::empty())]);
        drop(child);
        assert!(!is_exclusive(w, head) && w.store(page(0), 2));
        assert_eq!((frame(w), w.byte(head)), (head, 2), "the reference sees the store");
        let child = child_of(w).unwrap();
        assert!(w.store(page(0), 3) && frame(w) != head, "mapped twice: copied");
        drop(child);
        w.put_all();
    });
}
#[test]
fn f_28_unsharing_the_huge_zero_page_gives_a_huge_page_of_zeros_or_small_ones() {
    huge_row(f::F_28, 0, |w| {
        w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
        assert_eq!(w.load(page(0)), Some(0));
        let pin = take(w, FastEntry::Pin, Foll::LONGTERM);
        assert!(level(&w.mm) == 1 && frame(w) == pin.pfn() && is_exclusive(w, pin.pfn()));
        assert_eq!(w.byte(pin.pfn()), 0);
        w.machine.unpin_pages(pin.pfn(), 1);
    });
}
#[test]
fn f_39_a_folio_with_extra_references_stays_whole_but_its_mapping_is_split() {
    huge_row(f::F_39, 0, |w| {
        let head = thp(w);
        w.hold([take(w, FastEntry::Get, Foll::empty())]);
        gup::fault::split_page(&w.mm, page(0)).unwrap();
        assert_eq!((level(&w.mm), w.machine.frames().order(head)), (0, PMD_ORDER));
        w.put_all();
        gup::fault::split_page(&w.mm, page(0)).unwrap();
        assert_eq!(w.machine.frames().order(head), 0);
    });
}

/// How often a table was allocated in `body`, which finds none if `left` says so.
fn tables_in(w: &World, none: bool, body: impl FnOnce()) -> u64 {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    *w.host().inject.lock().unwrap() = Some(Box::new(move |point| {
        let table = point == Injection::TableAlloc;
        count.fetch_add(u64::from(table), SeqCst);
        table && none
    }));
    body();
    *w.host().inject.lock().unwrap() = None;
    asked.load(SeqCst)
}
#[test]
fn f_58_a_huge_page_is_split_and_dropped_in_part_without_a_new_table() {
    huge_row(f::F_58, 0, |w| {
        let before = w.machine.frames().stats().of(Kind::Table);
        thp(w);
        let with = w.machine.frames().stats().of(Kind::Table);
        assert_eq!(with - before, 3, "two upper tables, and one put aside");
        let asked = tables_in(w, true, || {
            let gone = madvise(&w.mm, &w.task, page(4), 8 << 12, Advice::DontNeed);
            assert_eq!((gone, level(&w.mm)), (Ok(()), 0));
        });
        assert_eq!((asked, w.mapped(page(4), false), w.load(page(0))), (0, None, Some(7)));
        assert_eq!(w.machine.frames().stats().of(Kind::Table), with, "it is in use now");
        munmap(&mut w.mm.write(), page(0), HUGE << 12).unwrap();
        w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
        // The huge zero page has one, too; and what is dropped whole takes it along.
        assert_eq!(w.load(page(0)), Some(0));
        madvise(&w.mm, &w.task, page(0), HUGE << 12, Advice::DontNeed).unwrap();
        assert_eq!(w.machine.frames().stats().of(Kind::Table), with - 1);
        assert_eq!(w.load(page(0)), Some(0));
        let asked = tables_in(w, true, || assert!(gup::fault::split_leaf(&w.mm, page(0)).is_ok()));
        assert_eq!((asked, level(&w.mm)), (0, 0));
    });
}
#[test]
fn f_58_a_fault_and_fork_need_a_table_to_put_aside_and_fail_without() {
    huge_row(f::F_58, 0, |w| {
        w.area(0, 2 * HUGE, rw() | VmFlags::HUGEPAGE);
        assert!(w.store(page(HUGE), 7));
        let wants = FaultFlags::WRITE | FaultFlags::USER;
        let served = |flags| {
            let mut fault = Fault::MINOR;
            tables_in(w, true, || fault = w.fault(page(0), flags));
            fault
        };
        assert_eq!(served(wants), Fault::OOM, "a store");
        assert_eq!(served(FaultFlags::USER), Fault::OOM, "a load");
        // Without a huge page small ones do.
        let no_huge = |point| point == Injection::FolioAlloc(PMD_ORDER);
        *w.host().inject.lock().unwrap() = Some(Box::new(no_huge));
        assert!(w.store(page(0), 8));
        *w.host().inject.lock().unwrap() = None;
        assert_eq!(level(&w.mm), 0);
        let frames = w.machine.frames().stats();
        let mut nth = 0;
        *w.host().inject.lock().unwrap() = Some(Box::new(move |point| {
            nth += u32::from(point == Injection::TableAlloc);
            // The root, two below it, the small pages', and the one to put aside.
            nth == 5
        }));
        assert_eq!(child_of(w).err(), Some(Errno::ENOMEM));
        *w.host().inject.lock().unwrap() = None;
        assert_eq!(w.machine.frames().stats(), frames, "nothing is left of the child");
        let child = child_of(w).unwrap();
        let split = || gup::fault::split_leaf(&child, page(HUGE)).unwrap();
        assert_eq!(tables_in(w, true, split), 0);
        drop(child);
        gup::fault::split_leaf(&w.mm, page(HUGE)).unwrap();
    });
}
#[test]
fn f_58_the_table_follows_a_huge_page_that_moves_and_a_collapsed_one_keeps_its_old() {
    huge_row(f::F_58, 0, |w| {
        thp(w);
        gup::fault::split_leaf(&w.mm, page(0)).unwrap();
        let before = w.machine.frames().stats().of(Kind::Table);
        let asked = tables_in(w, true, || {
            gup::fault::collapse(&w.mm.write(), page(0)).unwrap();
        });
        assert_eq!((asked, level(&w.mm)), (0, 1));
        assert_eq!(w.machine.frames().stats().of(Kind::Table), before);
        let far = 1 << 20;
        let request = MremapRequest {
            addr: page(0),
            old_bytes: HUGE << 12,
            new_bytes: HUGE << 12,
            flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
            new_addr: page(far),
        };
        mremap(&mut w.mm.write(), &w.task, &request).unwrap();
        assert_eq!(w.mm.tables().walk(page(far)).place.level, 1);
        let split = || gup::fault::split_leaf(&w.mm, page(far)).unwrap();
        assert_eq!(tables_in(w, true, split), 0);
        assert_eq!(w.load(page(far)), Some(7));
        munmap(&mut w.mm.write(), page(far), HUGE << 12).unwrap();
    });
}
