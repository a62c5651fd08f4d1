//! Rows C-37 … C-46: what one entry gives in 6.18.

use crate::six::{Ask, Told, row6};
use crate::store::quick_file;
use crate::support::{World, none, page, ro, rw};
use gup::addr::Pfn;
use gup::errno::Errno;
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::frame::FrameFlags;
use gup::gup::Entry;
use gup::pgtable::{Entry as Pte, Perms};
use gup::rule::c;

const EFAULT: i64 = Errno::EFAULT.negated();

fn ask(w: &World, entry: Entry, foll: Foll, at: u64) -> Told {
    Ask::new(entry, foll, page(at), 1).of(w)
}

#[test]
fn c_37_a_dump_stops_where_nothing_was_written() {
    row6(c::C_37, |w| {
        w.area(0, 1, rw());
        assert_eq!(ask(w, Entry::Get, Foll::DUMP, 0).ret, EFAULT);
        assert!(w.faults().is_empty());
        let file = quick_file(w, 1);
        w.area_of(2, 1, ro(), World::backing(&file), 0);
        assert_eq!(ask(w, Entry::Get, Foll::DUMP, 2).ret, 1, "a file's page is read in");
    });
}
#[test]
fn c_38_force_writes_through_a_read_only_entry_only_to_an_exclusive_page() {
    row6(c::C_38, |w| {
        w.area(0, 1, ro());
        let foll = Foll::WRITE | Foll::FORCE;
        let first = ask(w, Entry::GetRemote, foll, 0);
        assert_eq!((first.ret, w.mapped(page(0), true)), (1, None), "the entry stays read-only");
        w.forget();
        assert_eq!(ask(w, Entry::GetRemote, foll, 0).frames, first.frames);
        assert!(w.faults().is_empty(), "the page is exclusive: no fault");
        let pfn = first.frames[0];
        w.machine.frames().clear(pfn, FrameFlags::ANON_EXCLUSIVE);
        w.machine.frames().get(pfn, 1).unwrap();
        let copy = ask(w, Entry::GetRemote, foll, 0);
        assert_ne!(copy.frames, [pfn], "a shared page is copied first, dirty or not");
        w.machine.put_page(pfn);
    });
}
#[test]
fn c_39_hinted_entries_are_followed_unless_hints_are_honoured() {
    row6(c::C_39, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = w.mapped(page(0), true);
        let hint = || w.change_entry(page(0), |perms| perms.protnone = true);
        hint();
        w.forget();
        assert_eq!(ask(w, Entry::Get, Foll::empty(), 0).frames, [pfn.unwrap()]);
        assert!(w.faults().is_empty() && w.entry(page(0)).is_protnone());
        assert_eq!(ask(w, Entry::Get, Foll::HONOR_NUMA_FAULT, 0).frames, [pfn.unwrap()]);
        assert_eq!(w.faults().len(), 1, "the hinting fault");
        w.set_area_flags(page(0), none());
        hint();
        let forced = Foll::FORCE | Foll::HONOR_NUMA_FAULT;
        assert_eq!(ask(w, Entry::GetRemote, forced, 0).ret, 1);
        assert_eq!(w.faults().len(), 1, "a PROT_NONE area is no hint");
    });
}
#[test]
fn c_41_a_dump_refuses_the_zero_page_and_bare_frames() {
    row6(c::C_41, |w| {
        w.area(0, 2, rw() | VmFlags::MIXEDMAP);
        w.load(page(0));
        assert_eq!(ask(w, Entry::Get, Foll::DUMP, 0).ret, EFAULT);
        let special = Perms { special: true, ..Perms::default() };
        w.set_entry(page(1), 0, Pte::leaf(Pfn::new(1 << 20), special, 0));
        assert_eq!(ask(w, Entry::Get, Foll::DUMP, 1).ret, EFAULT);
        w.set_entry(page(1), 0, Pte::NONE);
    });
}
#[test]
fn c_42_a_bare_frame_is_touched_and_then_eexist() {
    row6(c::C_42, |w| {
        w.area(0, 1, rw() | VmFlags::MIXEDMAP);
        let special = Perms { special: true, write: true, ..Perms::default() };
        w.set_entry(page(0), 0, Pte::leaf(Pfn::new(1 << 20), special, 0));
        assert_eq!(ask(w, Entry::Pin, Foll::empty(), 0).ret, Errno::EEXIST.negated());
        assert!(!w.entry(page(0)).is_young(), "pin_user_pages does not touch");
        assert_eq!(ask(w, Entry::Get, Foll::WRITE, 0).ret, Errno::EEXIST.negated());
        assert!(w.entry(page(0)).is_young() && w.entry(page(0)).is_dirty());
        w.set_entry(page(0), 0, Pte::NONE);
    });
}
#[test]
fn c_43_a_read_pin_unshares_what_is_shared_and_a_get_does_not() {
    row6(c::C_43, |w| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, ro(), World::backing(&file), 0);
        w.load(page(0));
        let cached = w.mapped(page(0), false).unwrap();
        assert_eq!(ask(w, Entry::Pin, Foll::empty(), 0).frames, [cached], "a short pin may share");
        w.forget();
        let long = ask(w, Entry::Pin, Foll::LONGTERM, 0);
        assert!(long.ret == 1 && long.frames != [cached], "a long one has a copy");
        assert!(w.faults()[0].contains(FaultFlags::UNSHARE));
        w.area(2, 1, rw());
        w.store(page(2), 3);
        let anon = w.mapped(page(2), true).unwrap();
        w.machine.frames().clear(anon, FrameFlags::ANON_EXCLUSIVE);
        w.machine.frames().get(anon, 1).unwrap();
        w.change_entry(page(2), |perms| perms.write = false);
        assert_eq!(ask(w, Entry::Get, Foll::empty(), 2).frames, [anon], "a get looks at any page");
        assert_ne!(ask(w, Entry::Pin, Foll::empty(), 2).frames, [anon]);
        w.machine.put_page(anon);
        w.area(4, 1, rw());
        w.load(page(4));
        assert_eq!(ask(w, Entry::Pin, Foll::empty(), 4).frames, [w.machine.zero_page()]);
        assert_ne!(ask(w, Entry::Pin, Foll::LONGTERM, 4).frames, [w.machine.zero_page()]);
    });
}
#[test]
fn c_44_a_page_that_a_write_may_not_have_is_neither_taken_nor_touched() {
    row6(c::C_44, |w| {
        w.area(0, 1, ro());
        w.load(page(0));
        w.store(page(0), 1);
        let told = ask(w, Entry::GetRemote, Foll::WRITE | Foll::FORCE, 0);
        assert_eq!(told.counts, [(2, 0)]);
        let pfn = told.frames[0];
        w.machine.frames().clear(pfn, FrameFlags::REFERENCED);
        w.machine.frames().clear(pfn, FrameFlags::ANON_EXCLUSIVE);
        let refused = ask(w, Entry::GetRemote, Foll::WRITE | Foll::FORCE | Foll::NOFAULT, 0);
        assert_eq!(refused.ret, EFAULT);
        assert_eq!(w.machine.frames().refs(pfn), 1);
        assert!(!w.machine.frames().has(pfn, FrameFlags::REFERENCED));
    });
}
#[test]
fn c_46_touch_marks_the_folio_and_dirties_it_only_for_a_write() {
    row6(c::C_46, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = w.mapped(page(0), true).unwrap();
        let frames = w.machine.frames();
        let clean = || {
            frames.clear(pfn, FrameFlags::REFERENCED);
            frames.clear(pfn, FrameFlags::DIRTY);
            w.change_entry(page(0), |perms| perms.dirty = false);
        };
        let marks =
            || (frames.has(pfn, FrameFlags::REFERENCED), frames.has(pfn, FrameFlags::DIRTY));
        clean();
        ask(w, Entry::Get, Foll::empty(), 0);
        assert_eq!(marks(), (true, false));
        clean();
        ask(w, Entry::Get, Foll::WRITE, 0);
        assert_eq!(marks(), (true, true));
        clean();
        ask(w, Entry::Pin, Foll::WRITE, 0);
        assert_eq!(marks(), (false, false), "pin_user_pages does not touch");
    });
}
