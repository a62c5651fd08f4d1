//! Rows that kernels between v4.4 and 6.18 have, or do not have yet: a kernel by its version.

use crate::six::{Ask, Told, row_of, row6};
use crate::store::quick_file;
use crate::support::{World, page, ro, rw};
use gup::addr::{PMD_ORDER, Pfn};
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{Foll, VmFlags};
use gup::frame::FrameFlags;
use gup::gup::Entry;
use gup::linux::{Kernel, Version};
use gup::rule::{Rule, a, c, f};

const EFAULT: i64 = Errno::EFAULT.negated();

fn ask(w: &World, entry: Entry, foll: Foll, at: u64) -> Told {
    Ask::new(entry, foll, page(at), 1).of(w)
}

/// Page 0, private and shared since a fork: this process's entry is read-only.
fn shared(w: &World) -> Pfn {
    w.area(0, 1, rw());
    w.store(page(0), 3);
    let anon = w.mapped(page(0), true).expect("stored to");
    w.machine.frames().clear(anon, FrameFlags::ANON_EXCLUSIVE);
    w.machine.frames().get(anon, 1).expect("a reference");
    w.change_entry(page(0), |perms| perms.write = false);
    anon
}

#[test]
fn c_104_in_5_8_a_read_copies_what_is_shared_and_what_is_a_files() {
    row_of(c::C_104, Version(5, 8), |w| {
        let anon = shared(w);
        assert_ne!(ask(w, Entry::Get, Foll::empty(), 0).frames, [anon], "a get copies too");
        let file = quick_file(w, 1);
        w.area_of(2, 1, ro(), World::backing(&file), 0);
        w.load(page(2));
        let cached = w.mapped(page(2), false).expect("mapped");
        assert_ne!(ask(w, Entry::Pin, Foll::empty(), 2).frames, [cached]);
        w.machine.put_page(anon);
    });
}
#[test]
fn c_43_before_5_19_a_read_pin_takes_what_is_shared() {
    row6(c::C_43, |w| {
        let old = Kernel::released(Version(5, 15));
        assert!(!old.has(c::C_43) && old.has(f::F_04));
        let anon = shared(w);
        assert_ne!(ask(w, Entry::Pin, Foll::empty(), 0).frames, [anon]);
        w.machine.put_page(anon);
    });
    crate::six::world_of(Version(5, 15), |w| {
        let anon = shared(w);
        assert_eq!(ask(w, Entry::Pin, Foll::empty(), 0).frames, [anon]);
        w.machine.put_page(anon);
    });
}
#[test]
fn f_59_a_long_read_pin_of_a_private_file_has_a_copy_from_6_2_on() {
    let long = |w: &World| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, ro(), World::backing(&file), 0);
        w.load(page(0));
        let cached = w.mapped(page(0), false).expect("mapped");
        (ask(w, Entry::Pin, Foll::LONGTERM, 0).frames, cached)
    };
    row6(f::F_59, |w| {
        let (got, cached) = long(w);
        assert_ne!(got, [cached]);
    });
    crate::six::world_of(Version(6, 1), |w| {
        let (got, cached) = long(w);
        assert_eq!(got, [cached]);
    });
}
#[test]
fn c_22_from_6_1_to_6_14_a_forced_write_to_read_only_hugetlb_memory_is_refused() {
    row_of(c::C_22, Version(6, 1), |w| {
        assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, 1), 1);
        let file = w.file(FileKind::Hugetlb(PMD_ORDER), 512, None);
        let flags = ro() | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
        w.area_of(0, 512, flags, World::backing(&file), 0);
        let told = ask(w, Entry::GetRemote, Foll::FORCE | Foll::WRITE, 0);
        assert_eq!((told.ret, told.rule), (EFAULT, Some(c::C_22)));
        assert!(w.faults().is_empty(), "refused before any fault");
        w.machine.resize_hugetlb(PMD_ORDER, 0);
    });
}
#[test]
fn a_07_before_6_5_any_request_grows_a_stack() {
    row_of(a::A_07, Version(6, 4), |w| {
        w.area(100, 4, rw() | VmFlags::GROWSDOWN);
        assert_eq!(ask(w, Entry::GetRemote, Foll::empty(), 98).ret, 1);
        assert_eq!(w.mm.read().lookup(page(98)).map(gup::vma::Vma::start), Some(page(98)));
    });
}
#[test]
fn a_50_from_4_12_on_a_request_grows_no_stack_into_its_gap() {
    row_of(a::A_50, Version(5, 15), |w| {
        w.area(0, 1, rw());
        w.area(300, 4, rw() | VmFlags::GROWSDOWN);
        assert_eq!(ask(w, Entry::GetRemote, Foll::empty(), 257).ret, 1, "256 pages stay free");
        assert_eq!(ask(w, Entry::GetRemote, Foll::empty(), 256).ret, EFAULT);
    });
    crate::six::world_of(Version(4, 9), |w| {
        w.area(0, 1, rw());
        w.area(300, 4, rw() | VmFlags::GROWSDOWN);
        assert_eq!(ask(w, Entry::GetRemote, Foll::empty(), 2).ret, 1, "one page is enough");
    });
}
#[test]
fn c_32_before_6_5_a_long_write_pin_of_a_shared_file_is_taken() {
    let long = |w: &World| {
        let file = w.file(FileKind::Regular, 1, None);
        let flags = rw() | VmFlags::SHARED | VmFlags::MAYSHARE;
        w.area_of(0, 1, flags, World::backing(&file), 0);
        ask(w, Entry::Pin, Foll::WRITE | Foll::LONGTERM, 0).ret
    };
    row6(c::C_32, |w| assert_eq!(long(w), EFAULT));
    crate::six::world_of(Version(6, 4), |w| assert_eq!(long(w), 1));
}
#[test]
fn c_31_what_a_distribution_carries_back_counts_against_the_version() {
    let rule: Rule = c::C_31;
    let kernel = Kernel { version: Version(4, 18), otherwise: vec![rule] };
    assert!(kernel.has(rule) && !Kernel::released(Version(4, 18)).has(rule));
    row6(rule, |w| {
        w.host().kernel.set(kernel).expect("a fresh host");
        let file = w.file(FileKind::Secret, 1, None);
        let flags = rw() | VmFlags::SHARED | VmFlags::MAYSHARE;
        w.area_of(0, 1, flags, World::backing(&file), 0);
        assert_eq!(ask(w, Entry::Get, Foll::empty(), 0).ret, EFAULT);
    });
}
