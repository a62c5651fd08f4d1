//! Programs that once went wrong, each as small as it can be.

use crate::audit::{Held, audit};
use crate::failures::Kept;
use crate::support::{World, page};
use gup::addr::{PAGE_SIZE, PMD_ORDER, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{MapFlags, Prot};
use gup::frame::OutOfMemory;
use gup::gup::Read;
use gup::gup::populate::{MadvisePopulate, OnError, madvise_populate, mm_populate};
use gup::heap_host::HeapHost;
use gup::host::Injection;
use gup::linux::Linux;
use gup::mapping::{self, Advice, MmapRequest, MremapFlags, MremapRequest, sys};
use gup::mm::{Machine, MachineConfig};
use std::sync::Arc;

const RW: Prot = Prot::READ.union(Prot::WRITE);
const HUGE: u64 = 512 * PAGE_SIZE;

fn books(world: &World) {
    audit(&world.machine, [&*world.mm], &[], &Held::new());
}

/// A huge page at page 512, mapped by one entry.
fn huge_page(world: &World) {
    let request = MmapRequest::anonymous(HUGE, RW).at(page(512));
    sys::mmap(&world.mm, &world.task, &request).expect("room");
    let huge = Advice::HugePage;
    mapping::madvise(&world.mm, &world.task, page(512), HUGE, huge).expect("advice");
    assert!(world.store(page(512), 1));
    assert_eq!(world.mm.tables().walk(page(512)).place.level, 1);
}

#[test]
fn advice_and_protection_do_not_cut_pages_of_hugetlb() {
    let world = World::new(Linux::V6_18);
    assert_eq!(world.machine.resize_hugetlb(PMD_ORDER, 1), 1);
    let request = MmapRequest::anonymous(HUGE, RW).at(page(512)).with(MapFlags::HUGETLB);
    let (mm, task) = (&world.mm, &world.task);
    sys::mmap(mm, task, &request).expect("the pool has a page");
    assert!(world.store(page(512), 1));
    let cut = mapping::madvise(mm, task, page(512), 8 * PAGE_SIZE, Advice::DontDump);
    assert_eq!(cut, Err(Errno::EINVAL));
    let cut = sys::mprotect(mm, task, page(520), PAGE_SIZE, Prot::READ, mapping::GrowProt::Exact);
    assert_eq!(cut, Err(Errno::EINVAL));
    assert_eq!(sys::munmap(mm, page(520), PAGE_SIZE), Err(Errno::EINVAL));
    books(&world);
    assert_eq!(mm.read().len(), 1, "still one area");
    sys::munmap(mm, page(512), HUGE).expect("whole");
    world.machine.resize_hugetlb(PMD_ORDER, 0);
    world.end();
}

#[test]
fn a_part_of_a_huge_page_moves_with_its_counts() {
    for (from, to) in [(512, 5), (516, 1024), (512, 1024)] {
        let world = World::new(Linux::V6_18);
        huge_page(&world);
        let request = MremapRequest {
            addr: page(from),
            old_bytes: 4 * PAGE_SIZE,
            new_bytes: 4 * PAGE_SIZE,
            flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
            new_addr: page(to),
        };
        sys::mremap(&world.mm, &world.task, &request).expect("moved");
        books(&world);
        world.end();
    }
}

#[test]
fn populating_less_than_a_page_ends() {
    let world = World::new(Linux::V6_18);
    let (mm, task) = (&world.mm, &world.task);
    sys::mmap(mm, task, &MmapRequest::anonymous(4 * PAGE_SIZE, RW).at(page(0))).expect("room");
    assert_eq!(gup::abi::__mm_populate(task, mm, page(0).get() + 100, 5, 0), 0);
    let piece = |at: u64| VirtRange::new(page(at).wrapping_add(10), page(at).wrapping_add(20));
    assert_eq!(mm_populate(mm, task, piece(1), OnError::Return), Ok(()));
    assert_eq!(madvise_populate(mm, task, piece(2), MadvisePopulate::Write), Ok(()));
    let present = |at: u64| world.mapped(page(at), true).is_some();
    assert_eq!([0, 1, 2, 3].map(present), [true, true, true, false]);
    let last = VirtRange::new(VirtAddr::new(u64::MAX - 5), VirtAddr::new(u64::MAX));
    assert_eq!(mm_populate(mm, task, last, OnError::Return), Ok(()));
    world.end();
}

#[test]
fn a_part_of_a_huge_page_goes_though_no_table_is_left_for_the_rest() {
    type Part = fn(&World) -> Result<(), Errno>;
    let parts: [(&str, Part); 5] = [
        ("DONTNEED", |w| mapping::madvise(&w.mm, &w.task, page(514), PAGE_SIZE, Advice::DontNeed)),
        ("guards", |w| {
            mapping::madvise(&w.mm, &w.task, page(514), PAGE_SIZE, Advice::GuardInstall)
        }),
        ("munmap", |w| sys::munmap(&w.mm, page(514), PAGE_SIZE)),
        ("mprotect", |w| {
            let exact = mapping::GrowProt::Exact;
            sys::mprotect(&w.mm, &w.task, page(514), PAGE_SIZE, Prot::READ, exact)
        }),
        ("mlock", |w| mapping::mlock(&w.mm, &w.task, page(514), PAGE_SIZE)),
    ];
    for (name, part) in parts {
        let world = World::new(Linux::V6_18);
        huge_page(&world);
        let no_tables = |point| matches!(point, Injection::TableAlloc);
        *world.host().inject.lock().unwrap() = Some(Box::new(no_tables));
        assert_eq!(part(&world), Ok(()), "{name}");
        assert_eq!(world.mm.tables().walk(page(514)).place.level, 0, "{name}");
        books(&world);
        *world.host().inject.lock().unwrap() = None;
        assert!(world.mapped(page(516), false).is_some(), "{name}");
        world.end();
    }
}

#[test]
fn an_absurd_number_of_pages_costs_what_can_be_had() {
    for linux in [Linux::V4_4, Linux::V6_18] {
        let world = World::new(linux);
        let request = MmapRequest::anonymous(3 * PAGE_SIZE, RW).at(page(0));
        sys::mmap(&world.mm, &world.task, &request).expect("room");
        let pins = world.mm.pin::<Read>(&world.task, page(0), usize::MAX).expect("three");
        assert_eq!(pins.len(), 3);
        let stopped = pins.stopped().expect("by the end of the area");
        assert_eq!((stopped.addr, stopped.index), (page(3), 3));
        drop(pins);
        world.end();
    }
}

#[test]
fn a_machine_larger_than_its_memory_is_refused() {
    for frames in [65, u64::MAX] {
        let host = HeapHost::new(64);
        let error = Machine::new(host, MachineConfig::new(Linux::V6_18, frames)).err();
        assert_eq!(error, Some(OutOfMemory));
    }
}

#[test]
fn pages_of_no_size_there_is_cannot_be_mapped() {
    let world = World::new(Linux::V6_18);
    for order in [0, 1, 10, 52, 63, 64, u8::MAX] {
        let file = world.machine.new_file(FileKind::Hugetlb(order), HUGE, None);
        let request = MmapRequest::file(&file, 0, HUGE, RW, MapFlags::SHARED).at(page(512));
        assert_eq!(sys::mmap(&world.mm, &world.task, &request), Err(Errno::EINVAL), "{order}");
    }
    world.end();
}

#[test]
fn swap_that_no_memory_could_count_is_refused() {
    let world = World::new(Linux::V6_18);
    assert!(!world.machine.swap().on(Arc::new(Kept::default()), u64::MAX));
    assert!(world.machine.swap().on(Arc::new(Kept::default()), 8), "nothing was switched on");
    assert_eq!(world.machine.swap().free_slots(), 8);
    world.end();
}
