//! Rows A-40 … A-50: stacks that a lookup grows, and how far.
//!
//! The stack of these tests is pages 100..104; the tests look below it.

use crate::support::{World, evidence, page, row, row_in, rw};
use gup::abi::flags::{FOLL_FORCE, FOLL_GET, FOLL_POPULATE, FOLL_TOUCH, FOLL_WRITE};
use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::errno::Errno;
use gup::flags::VmFlags;
use gup::linux::Linux;
use gup::mapping::{self, MmapRequest};
use gup::mm::MachineConfig;
use gup::rule::{a, c};
use gup::task::{Limits, Task};
use gup::vma::{Backing, expand_stack};
use std::sync::atomic::Ordering::Relaxed;

const EFAULT: i64 = Errno::EFAULT.negated();

fn down() -> VmFlags {
    rw() | VmFlags::GROWSDOWN
}
fn stack(world: &World) {
    stack_at(world, 100, down());
}
fn stack_at(world: &World, at: u64, flags: VmFlags) {
    world.area_of(at, 4, flags, Backing::Anonymous, page(at).page_number());
}
/// Where the area that ends at page `end` starts.
fn start_of(world: &World, end: u64) -> Option<VirtAddr> {
    world.mm.read().lookup(page(end - 1)).map(gup::vma::Vma::start)
}
fn limited(limits: Limits) -> World {
    let mut world = World::new(Linux::V4_4);
    world.task = Task::new(limits);
    world
}

#[test]
fn a_40_a_lookup_inside_an_area_grows_nothing() {
    row(a::A_40, |w| {
        stack(w);
        assert_eq!(w.gup(FOLL_GET, page(101).wrapping_add(77), 1).ret, 1);
        assert_eq!(start_of(w, 104), Some(page(100)));
    });
}
#[test]
fn a_41_only_areas_that_grow_down_do() {
    row(a::A_41, |w| {
        w.area(100, 4, rw());
        assert_eq!(w.gup(FOLL_GET, page(99), 1).ret, EFAULT);
        assert_eq!(start_of(w, 104), Some(page(100)));
    });
}
#[test]
fn a_42_a_stack_grows_while_others_read() {
    row(a::A_42, |w| {
        stack(w);
        let reader = w.mm.read();
        assert_eq!(w.gup(FOLL_GET | FOLL_WRITE, page(90), 1).ret, 1, "under the read lock");
        assert_eq!(
            reader.lookup(page(90)).map(gup::vma::Vma::start),
            reader.lookup(page(103)).map(gup::vma::Vma::start)
        );
        assert!(reader.lookup(page(90)).is_some_and(|vma| vma.start() <= page(90)));
    });
}
#[test]
fn a_43_a_stack_stops_at_an_area_that_ends_right_there() {
    row(a::A_43, |w| {
        stack(w);
        w.area(90, 5, rw());
        assert_eq!(w.gup(FOLL_GET, page(95), 1).ret, EFAULT, "it would abut");
        assert_eq!(start_of(w, 104), Some(page(100)));
        assert_eq!(w.gup(FOLL_GET | FOLL_FORCE, page(97), 1).ret, 1, "a page further up is free");
    });
}
#[test]
fn a_44_growth_is_bound_by_the_limits_of_who_asks() {
    let small = |stack| Limits { stack, ..Limits::default() };
    // The guard page is free: 6 pages of stack and the page below it.
    row_in(a::A_44, limited(small(5 * PAGE_SIZE)), |w| {
        stack(w);
        assert_eq!(w.gup(FOLL_GET, page(97), 1).ret, EFAULT);
        assert_eq!(
            w.gup(FOLL_GET, page(98), 1).ret,
            EFAULT,
            "its fault would grow it to 97 (A-48)"
        );
        assert_eq!(start_of(w, 104), Some(page(98)), "the lookup grew it all the same");
    });
    let world = limited(Limits { address_space: 5 * PAGE_SIZE, ..small(1 << 20) });
    world.mm.total_vm.store(4, Relaxed);
    stack(&world);
    assert_eq!(world.gup(FOLL_GET, page(98), 1).ret, EFAULT, "RLIMIT_AS");
    let world = limited(Limits { memlock: 5 * PAGE_SIZE, ..small(1 << 20) });
    world.mm.locked_vm.store(4, Relaxed);
    stack_at(&world, 100, down() | VmFlags::LOCKED);
    assert_eq!(world.gup(FOLL_GET, page(98), 1).ret, EFAULT, "RLIMIT_MEMLOCK");
}
#[test]
fn a_45_who_may_not_map_low_does_not_grow_low() {
    row(a::A_45, |w| {
        let top = w.machine.sysctl.mmap_min_addr;
        let request = MmapRequest::anonymous(PAGE_SIZE, gup::flags::Prot::READ)
            .at(VirtAddr::new(top))
            .with(gup::flags::MapFlags::GROWSDOWN);
        mapping::mmap(&mut w.mm.write(), &w.task, &request).expect("the lowest page");
        assert_eq!(w.gup(FOLL_GET, VirtAddr::new(top - 1), 1).ret, EFAULT);
        assert_eq!(
            w.mm.read().find(VirtAddr::new(0)).map(gup::vma::Vma::start),
            Some(VirtAddr::new(top))
        );
    });
}
#[test]
fn a_46_any_distance_will_do_even_for_another_process() {
    row(a::A_46, |w| {
        stack_at(w, 2000, down());
        assert_eq!(w.gup(FOLL_GET, page(500), 1).ret, 1, "6 MB below; no stack pointer is asked");
        assert_eq!(start_of(w, 2004), Some(page(499)), "a page more for the fault's guard page");
    });
}
#[test]
fn a_47_what_a_locked_stack_grew_by_is_populated() {
    row(a::A_47, |w| {
        stack_at(w, 100, down() | VmFlags::LOCKED);
        assert_eq!(w.gup(FOLL_GET, page(95), 1).ret, 1);
        assert_eq!(w.mm.locked_vm.load(Relaxed), 5 + 1, "and the guard page that the fault added");
        for n in 96..100 {
            assert!(w.mapped(page(n), true).is_some(), "page {n}");
        }
        assert!(w.mapped(page(102), true).is_none(), "only the new part");
    });
}
#[test]
fn a_48_a_fault_at_the_lowest_page_grows_the_stack_by_one_more_or_fails() {
    row(a::A_48, |w| {
        stack(w);
        assert_eq!(w.gup(FOLL_GET | FOLL_WRITE, page(100), 1).ret, 1);
        assert_eq!(start_of(w, 104), Some(page(99)), "a fresh guard page below");
        assert!(w.mapped(page(99), false).is_none(), "which is not there yet");
        w.area(90, 5, rw());
        stack_at(w, 95, down());
        assert_eq!(w.gup(FOLL_GET, page(95), 1).ret, EFAULT, "something else ends right there");
        assert_eq!(w.gup(FOLL_GET, page(96), 1).ret, 1, "the pages above are not concerned");
        assert_eq!(start_of(w, 99), Some(page(95)));
    });
}
#[test]
fn a_49_populating_passes_over_the_guard_page() {
    row(a::A_49, |w| {
        stack(w);
        let flags = FOLL_TOUCH | FOLL_POPULATE | FOLL_WRITE;
        let call = crate::support::Call {
            flags,
            start: page(100),
            nr_pages: 2,
            pages: false,
            ..Default::default()
        };
        assert_eq!(w.call(call).ret, 2, "counted");
        assert!(w.mapped(page(100), false).is_none() && w.mapped(page(101), true).is_some());
    });
}
#[test]
fn a_50_later_kernels_keep_a_gap_of_256_pages() {
    let world = World::with(MachineConfig::new(Linux::V6_18, crate::support::FRAMES));
    stack_at(&world, 1000, down());
    world.area(700, 10, rw());
    let grow = |n: u64| expand_stack(world.mm.read(), &world.task, page(n)).map(drop);
    assert_eq!(grow(710 + 255), Err(Errno::ENOMEM), "255 pages above the area below");
    assert_eq!(grow(710 + 256), Ok(()));
    assert_eq!(start_of(&world, 1004), Some(page(966)));
    evidence(a::A_50, world.seen(a::A_50));
    world.end();
}
#[test]
fn c_100_stacks_grow_under_the_write_lock_and_never_below_the_minimum() {
    let world = World::with(MachineConfig::new(Linux::V6_18, crate::support::FRAMES));
    let top = world.machine.sysctl.mmap_min_addr;
    let request = MmapRequest::anonymous(PAGE_SIZE, gup::flags::Prot::READ)
        .at(VirtAddr::new(top))
        .with(gup::flags::MapFlags::GROWSDOWN);
    mapping::mmap(&mut world.mm.write(), &world.task, &request).expect("the lowest page");
    let grow =
        |addr: u64| expand_stack(world.mm.read(), &world.task, VirtAddr::new(addr)).map(drop);
    assert_eq!(grow(top - 1), Err(Errno::EPERM));
    assert_eq!(grow(top), Ok(()), "nothing to grow");
    assert_eq!(grow(top + PAGE_SIZE), Err(Errno::EFAULT), "no area above");
    evidence(c::C_100, world.seen(c::C_100));
    world.end();
}
