//! Rows C-64 … C-75: 6.18's walk without the lock.

use crate::six::{Told, ask_fast, row6};
use crate::store::quick_file;
use crate::support::{World, page, ro, rw};
use gup::addr::{Pfn, TASK_SIZE, VirtAddr};
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{Foll, VmFlags};
use gup::frame::FrameFlags;
use gup::gup::fast::FastEntry;
use gup::rule::c;
use std::sync::atomic::Ordering::SeqCst;

const EFAULT: i64 = Errno::EFAULT.negated();
const EOVERFLOW: i64 = Errno::EOVERFLOW.negated();

fn only(w: &World, foll: Foll, at: u64, nr: u64) -> Told {
    ask_fast(w, FastEntry::GetOnly, foll, page(at), nr)
}
fn pin(w: &World, foll: Foll, at: u64, nr: u64) -> Told {
    ask_fast(w, FastEntry::Pin, foll, page(at), nr)
}
/// Pages 0 to `pages` of a writable area, all written to.
fn written(w: &World, pages: u64) -> Vec<Pfn> {
    w.area(0, pages, rw());
    (0..pages).for_each(|n| assert!(w.store(page(n), 1)));
    (0..pages).map(|n| w.mapped(page(n), true).unwrap()).collect()
}

#[test]
fn c_64_the_range_is_judged_before_the_walk_and_the_rest_is_left_to_the_slow_path() {
    row6(c::C_64, |w| {
        let there = written(w, 2);
        let ask = |start, nr| ask_fast(w, FastEntry::Get, Foll::empty(), start, nr).ret;
        assert_eq!(ask(VirtAddr::new(u64::MAX), 2), EOVERFLOW);
        assert_eq!(ask(page(0), u64::MAX), EINVAL, "no slots for so many");
        w.area(2, 1, rw());
        let told = ask_fast(w, FastEntry::Get, Foll::empty(), page(0).wrapping_add(9), 4);
        assert_eq!((told.ret, &told.frames[..2]), (3, &there[..]), "fast, slow, and then a hole");
        assert_eq!(ask(page(3), 1), EFAULT, "alone it shows");
        assert!(!w.mm.has_pinned.load(SeqCst));
        assert_eq!(pin(w, Foll::empty(), 3, 1).ret, EFAULT);
        assert!(w.mm.has_pinned.load(SeqCst), "though nothing was pinned");
    });
}
const EINVAL: i64 = Errno::EINVAL.negated();
#[test]
fn c_66_the_fast_only_form_works_while_the_lock_is_held_for_writing() {
    row6(c::C_66, |w| {
        let there = written(w, 3);
        let writer = w.mm.write();
        assert_eq!(only(w, Foll::WRITE, 0, 3).frames, there);
        assert_eq!(only(w, Foll::empty(), 3, 1).ret, 0, "a hole is not waited for");
        drop(writer);
    });
}
#[test]
fn c_67_a_range_beyond_user_space_is_efault() {
    row6(c::C_67, |w| {
        let ask = |start, nr| {
            let told = ask_fast(w, FastEntry::GetOnly, Foll::empty(), VirtAddr::new(start), nr);
            (told.ret, told.rule)
        };
        assert_eq!(ask(TASK_SIZE, 1), (EFAULT, Some(c::C_67)));
        assert_eq!(ask(TASK_SIZE - 4096, 2), (EFAULT, Some(c::C_67)));
        assert_eq!(ask(TASK_SIZE - 4096, 1), (0, None), "the last page is one");
    });
}
#[test]
fn c_68_while_a_fork_write_protects_a_pin_is_left_to_the_slow_path() {
    row6(c::C_68, |w| {
        let there = written(w, 1);
        w.mm.write_protect_seq.store(1, SeqCst);
        w.forget();
        let told = pin(w, Foll::WRITE, 0, 1);
        assert_eq!((told.ret, told.counts), (1, vec![(2, 1)]), "the slow path pins it");
        assert!(w.seen(c::C_44).is_some() && w.seen(c::C_74).is_none());
        assert_eq!(only(w, Foll::WRITE, 0, 1).frames, there, "a plain get does not mind");
        w.mm.write_protect_seq.store(2, SeqCst);
    });
}
#[test]
fn c_69_the_walk_stops_at_entries_it_may_not_judge() {
    row6(c::C_69, |w| {
        written(w, 3);
        w.change_entry(page(0), |perms| perms.protnone = true);
        w.change_entry(page(1), |perms| perms.write = false);
        w.area(8, 1, rw());
        w.load(page(8));
        assert_eq!(only(w, Foll::empty(), 0, 1).ret, 0, "hinted");
        assert_eq!(only(w, Foll::WRITE, 1, 1).ret, 0, "read-only");
        assert_eq!(only(w, Foll::empty(), 1, 1).ret, 1);
        assert_eq!(only(w, Foll::empty(), 8, 1).ret, 0, "the zero page is special");
        assert_eq!(only(w, Foll::empty(), 9, 1).ret, 0, "nothing there");
        w.change_entry(page(0), |perms| perms.protnone = false);
    });
}
#[test]
fn c_70_force_gains_nothing_without_the_lock() {
    row6(c::C_70, |w| {
        w.area(0, 1, ro());
        w.load(page(0));
        let forced = Foll::WRITE | Foll::FORCE;
        assert_eq!(only(w, forced, 0, 1).ret, 0);
        assert_eq!(ask_fast(w, FastEntry::Get, forced, page(0), 1).ret, 1, "the slow path forces");
        assert_eq!(only(w, forced, 0, 1).ret, 0, "and still not");
    });
}
#[test]
fn c_71_a_page_that_must_not_be_kept_is_given_back() {
    row6(c::C_71, |w| {
        let file = w.file(FileKind::Secret, 1, None);
        w.area_of(0, 1, rw() | VmFlags::SHARED | VmFlags::MAYSHARE, World::backing(&file), 0);
        w.load(page(0));
        let pfn = w.mapped(page(0), false).unwrap();
        let before = w.machine.frames().refs(pfn);
        assert_eq!(only(w, Foll::empty(), 0, 1).ret, 0);
        assert_eq!(w.machine.frames().refs(pfn), before);
    });
}
#[test]
fn c_73_secret_truncated_and_tracked_pages_are_left_to_the_slow_path() {
    row6(c::C_73, |w| {
        let shared = VmFlags::SHARED | VmFlags::MAYSHARE;
        let secret = w.file(FileKind::Secret, 1, None);
        w.area_of(0, 1, rw() | shared, World::backing(&secret), 0);
        let tracked = quick_file(w, 1);
        w.area_of(2, 1, rw() | shared, World::backing(&tracked), 0);
        let memfd = w.file(FileKind::Shmem, 1, None);
        w.area_of(4, 1, rw() | shared, World::backing(&memfd), 0);
        assert!([0, 2, 4].iter().all(|at| w.store(page(*at), 1)));
        assert_eq!(only(w, Foll::empty(), 0, 1).ret, 0, "secret");
        let long = Foll::LONGTERM | Foll::WRITE;
        let refused = pin(w, long, 2, 1);
        assert_eq!((refused.ret, refused.rule), (EFAULT, Some(c::C_32)), "the slow path refuses");
        assert_eq!(pin(w, Foll::WRITE, 2, 1).ret, 1);
        w.forget();
        assert_eq!(pin(w, long, 4, 1).ret, 1);
        assert!(w.seen(c::C_44).is_none(), "shmem needs no slow path");
        let pfn = w.mapped(page(4), true).unwrap();
        let owner = w.machine.frames().owner(pfn);
        w.machine.frames().set_owner(pfn, gup::frame::Owner::default());
        assert_eq!(only(w, Foll::empty(), 4, 1).ret, 0, "truncated");
        w.machine.frames().set_owner(pfn, owner);
    });
}
#[test]
fn c_74_the_walk_marks_pages_referenced_and_nothing_dirty() {
    row6(c::C_74, |w| {
        let pfn = written(w, 1)[0];
        let frames = w.machine.frames();
        frames.clear(pfn, FrameFlags::REFERENCED);
        frames.clear(pfn, FrameFlags::DIRTY);
        w.change_entry(page(0), |perms| {
            perms.dirty = false;
            perms.young = false;
        });
        assert_eq!(pin(w, Foll::WRITE, 0, 1).ret, 1);
        assert!(frames.has(pfn, FrameFlags::REFERENCED) && !frames.has(pfn, FrameFlags::DIRTY));
        assert!(!w.entry(page(0)).is_dirty() && !w.entry(page(0)).is_young());
    });
}
#[test]
fn c_75_a_page_of_the_walk_was_mapped_with_that_permission() {
    row6(c::C_75, |w| {
        let there = written(w, 4);
        assert_eq!(only(w, Foll::WRITE, 0, 4).frames, there);
        w.change_entry(page(2), |perms| perms.write = false);
        assert_eq!(only(w, Foll::WRITE, 0, 4).frames, there[..2], "up to the one that is not");
        assert_eq!(only(w, Foll::empty(), 0, 4).frames, there);
    });
}
