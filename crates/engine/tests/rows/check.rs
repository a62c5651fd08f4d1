//! Rows A-30 … A-39: may this request look into this VMA at all?

use crate::support::{Call, World, none, page, ro, row, rw};
use gup::abi::flags::{FOLL_FORCE, FOLL_GET, FOLL_WRITE};
use gup::errno::Errno;
use gup::flags::VmFlags;
use gup::rule::a;

const EFAULT: i64 = Errno::EFAULT.negated();
const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);

/// One page of an area with these flags, asked for with these.
fn verdict(world: &World, vma: VmFlags, foll: u32) -> i64 {
    world.area(0, 1, vma);
    world.gup(FOLL_GET | foll, page(0), 1).ret
}

#[test]
fn a_30_io_and_pfn_areas_are_refused_even_by_force() {
    row(a::A_30, |w| {
        w.area(0, 1, rw() | VmFlags::IO);
        w.area(2, 1, rw() | VmFlags::PFNMAP);
        for (at, foll) in
            [(0, 0), (0, FOLL_WRITE), (0, FOLL_FORCE), (2, 0), (2, FOLL_WRITE | FOLL_FORCE)]
        {
            assert_eq!(w.gup(FOLL_GET | foll, page(at), 1).ret, EFAULT, "page {at}, {foll:#x}");
        }
    });
}
#[test]
fn a_31_a_write_to_a_writable_area_is_allowed() {
    row(a::A_31, |w| assert_eq!(verdict(w, rw(), FOLL_WRITE), 1));
}
#[test]
fn a_32_a_write_to_a_read_only_area_without_force_is_refused() {
    row(a::A_32, |w| assert_eq!(verdict(w, ro(), FOLL_WRITE), EFAULT));
}
#[test]
fn a_33_force_writes_to_a_read_only_private_area() {
    row(a::A_33, |w| {
        assert_eq!(verdict(w, ro(), FOLL_WRITE | FOLL_FORCE), 1);
        assert!(w.mapped(page(0), true).is_none(), "the entry stays read-only");
    });
}
#[test]
fn a_34_force_never_writes_to_a_shared_or_never_writable_area() {
    row(a::A_34, |w| {
        w.area(0, 1, ro() | SHARED);
        w.area(2, 1, VmFlags::READ | VmFlags::MAYREAD);
        for at in [0, 2] {
            assert_eq!(w.gup(FOLL_GET | FOLL_WRITE | FOLL_FORCE, page(at), 1).ret, EFAULT);
        }
        assert_eq!(*w.host().warnings.lock().unwrap(), [a::A_34], "only with VM_MAYWRITE");
    });
}
#[test]
fn a_35_a_read_of_a_readable_area_is_allowed() {
    row(a::A_35, |w| assert_eq!(verdict(w, ro(), 0), 1));
}
#[test]
fn a_36_execute_only_and_write_only_areas_are_not_readable() {
    row(a::A_36, |w| {
        w.area(0, 1, none() | VmFlags::EXEC);
        w.area(2, 1, none() | VmFlags::WRITE);
        for at in [0, 2] {
            assert_eq!(w.gup(FOLL_GET, page(at), 1).ret, EFAULT);
        }
    });
}
#[test]
fn a_37_force_reads_what_may_become_readable() {
    row(a::A_37, |w| {
        w.area(0, 1, none());
        w.area(2, 1, VmFlags::MAYWRITE);
        assert_eq!(w.gup(FOLL_GET | FOLL_FORCE, page(0), 1).ret, 1);
        assert_eq!(w.gup(FOLL_GET | FOLL_FORCE, page(2), 1).ret, EFAULT);
    });
}
#[test]
fn a_38_a_mixed_map_is_decided_page_by_page() {
    row(a::A_38, |w| {
        assert_eq!(verdict(w, rw() | VmFlags::MIXEDMAP, FOLL_WRITE), 1);
    });
}
#[test]
fn a_39_protection_keys_are_not_looked_at() {
    row(a::A_39, |w| {
        w.task.pkru.store(0b01 << 2, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(verdict(w, rw() | VmFlags::PKEY_BIT0, FOLL_WRITE), 1);
        assert!(w.call(Call { start: page(0), ..Call::default() }).ret == 1);
    });
}
