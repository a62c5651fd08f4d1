//! Rows C-27 … C-35: what an area's flags refuse in 6.18, before any fault is taken.

use crate::six::{Ask, row6};
use crate::support::{World, none, page, ro, rw};
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{Foll, VmFlags};
use gup::gup::Entry;
use gup::rule::{Rule, c};
use std::sync::atomic::Ordering::Relaxed;

const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);
const EFAULT: i64 = Errno::EFAULT.negated();
const PINNED: Foll = Foll::LONGTERM.union(Foll::WRITE);

/// What `entry` answers for page `at`, and the rule that stopped it.
fn ask(w: &World, entry: Entry, foll: Foll, at: u64) -> (i64, Option<Rule>) {
    let told = Ask::new(entry, foll, page(at), 1).of(w);
    (told.ret, told.rule)
}
/// A mapping of one page of a new file of this kind, at page `at`.
fn file(w: &World, at: u64, kind: FileKind, flags: VmFlags) {
    let file = w.file(kind, 1, None);
    w.area_of(at, 1, flags, World::backing(&file), 0);
}

#[test]
fn c_27_device_and_frame_areas_are_refused() {
    row6(c::C_27, |w| {
        w.area(0, 1, rw() | VmFlags::IO);
        w.area(2, 1, rw() | VmFlags::PFNMAP);
        for (at, foll) in [(0, Foll::empty()), (2, Foll::FORCE | Foll::WRITE)] {
            assert_eq!(ask(w, Entry::Get, foll, at), (EFAULT, Some(c::C_27)));
        }
        assert!(w.faults().is_empty());
    });
}
#[test]
fn c_28_who_wants_only_anonymous_memory_gets_no_file() {
    row6(c::C_28, |w| {
        file(w, 0, FileKind::Regular, rw());
        w.area(2, 1, rw());
        assert_eq!(ask(w, Entry::GetRemote, Foll::ANON, 0), (EFAULT, Some(c::C_28)));
        assert_eq!(ask(w, Entry::GetRemote, Foll::ANON, 2).0, 1);
        assert_eq!(ask(w, Entry::GetRemote, Foll::empty(), 0).0, 1);
    });
}
#[test]
fn c_29_a_long_term_pin_of_a_dax_file_is_eopnotsupp() {
    row6(c::C_29, |w| {
        file(w, 0, FileKind::Fsdax, ro());
        let refused = (Errno::EOPNOTSUPP.negated(), Some(c::C_29));
        assert_eq!(ask(w, Entry::Pin, Foll::LONGTERM, 0), refused);
        assert_eq!(ask(w, Entry::Pin, Foll::empty(), 0).0, 1);
    });
}
#[test]
fn c_30_a_hugetlb_mapping_cannot_be_split() {
    row6(c::C_30, |w| {
        let file = w.file(FileKind::Hugetlb(9), 512, None);
        w.area_of(0, 512, rw() | VmFlags::HUGETLB, World::backing(&file), 0);
        let refused = (Errno::EOPNOTSUPP.negated(), Some(c::C_30));
        assert_eq!(ask(w, Entry::Get, Foll::SPLIT_PMD, 0), refused);
    });
}
#[test]
fn c_31_secret_memory_is_refused_to_everyone() {
    row6(c::C_31, |w| {
        file(w, 0, FileKind::Secret, rw() | SHARED);
        for (entry, foll) in [(Entry::Get, Foll::empty()), (Entry::PinRemote, Foll::FORCE)] {
            assert_eq!(ask(w, entry, foll, 0), (EFAULT, Some(c::C_31)));
        }
        assert_eq!(w.load(page(0)), Some(0), "its process reads it");
    });
}
#[test]
fn c_32_a_long_term_write_pin_of_a_tracked_shared_file_is_refused() {
    row6(c::C_32, |w| {
        file(w, 0, FileKind::Regular, rw() | SHARED);
        assert_eq!(ask(w, Entry::Pin, PINNED, 0), (EFAULT, Some(c::C_32)));
        assert_eq!(ask(w, Entry::Pin, Foll::LONGTERM, 0).0, 1, "for reading it is fine");
        assert_eq!(ask(w, Entry::Pin, Foll::WRITE, 0).0, 1, "for a short time, too");
        file(w, 2, FileKind::Regular, rw());
        file(w, 4, FileKind::Shmem, rw() | SHARED);
        file(w, 6, FileKind::NoWriteback, rw() | SHARED);
        for at in [2, 4, 6] {
            assert_eq!(ask(w, Entry::Pin, PINNED, at).0, 1, "page {at}");
        }
    });
}
#[test]
fn c_33_a_write_needs_vm_write_or_force_on_a_private_area() {
    row6(c::C_33, |w| {
        w.area(0, 1, ro());
        file(w, 2, FileKind::Shmem, ro() | SHARED);
        w.area(4, 1, rw() | VmFlags::SHADOW_STACK);
        let forced = Foll::WRITE | Foll::FORCE;
        for (at, foll, want) in [
            (0, Foll::WRITE, EFAULT),
            (0, forced, 1),
            (2, forced, EFAULT),
            (4, Foll::WRITE, EFAULT),
        ] {
            assert_eq!(ask(w, Entry::Get, foll, at).0, want, "page {at}, {foll:?}");
        }
        assert!(w.host().warnings.lock().unwrap().is_empty(), "no warning any more");
    });
}
#[test]
fn c_34_a_read_needs_vm_read_or_force_and_vm_mayread() {
    row6(c::C_34, |w| {
        w.area(0, 1, none() | VmFlags::EXEC);
        w.area(2, 1, VmFlags::MAYWRITE);
        assert_eq!(ask(w, Entry::Get, Foll::empty(), 0), (EFAULT, Some(c::C_34)));
        assert_eq!(ask(w, Entry::Get, Foll::FORCE, 0).0, 1);
        assert_eq!(ask(w, Entry::Get, Foll::FORCE, 2), (EFAULT, Some(c::C_34)));
    });
}
#[test]
fn c_35_protection_keys_bind_only_the_process_itself() {
    row6(c::C_35, |w| {
        w.area(0, 1, rw() | VmFlags::PKEY_BIT0);
        w.task.pkru.store(0b10 << 2, Relaxed);
        assert_eq!(ask(w, Entry::Get, Foll::WRITE, 0), (EFAULT, Some(c::C_35)));
        assert_eq!(ask(w, Entry::Get, Foll::empty(), 0).0, 1, "only writing is disabled");
        assert_eq!(ask(w, Entry::GetRemote, Foll::WRITE, 0).0, 1, "a debugger has no keys");
        w.task.pkru.store(0b01 << 2, Relaxed);
        assert_eq!(ask(w, Entry::Get, Foll::FORCE, 0), (EFAULT, Some(c::C_35)));
        w.task.pkru.store(0, Relaxed);
    });
}
