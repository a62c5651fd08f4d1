//! Rows M-14 and M-15: huge pages on demand, and pages ahead of need. The cases are those that a
//! running 6.18 kernel was asked.

use crate::six::row6;
use crate::store::slow_area;
use crate::support::{World, page, ro, rw};
use gup::addr::{PAGE_SIZE, PMD_ORDER};
use gup::errno::Errno;
use gup::fault::Fault;
use gup::file::{FileKind, Slot};
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::{FrameFlags, Kind};
use gup::host::{Injection, ReadMode, Store, StoreRead, StoreWrite};
use gup::mapping::{Advice, Whose, fork, madvise, process_madvise};
use gup::rule::m;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);
const HUGE: u64 = 512;
const INVALID: Result<(), Errno> = Err(Errno::EINVAL);

/// A swap device.
#[derive(Default)]
struct Device(Mutex<BTreeMap<u64, Vec<u8>>>);

impl Store for Device {
    fn read_page(&self, slot: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        let pages = self.0.lock().unwrap();
        pages.get(&slot).map_or(StoreRead::Failed, |bytes| {
            into.copy_from_slice(bytes);
            StoreRead::Ready
        })
    }
    fn write_page(&self, slot: u64, from: &[u8]) -> StoreWrite {
        self.0.lock().unwrap().insert(slot, from.to_vec());
        StoreWrite::Done
    }
}
fn swap_on(w: &World) {
    assert!(w.machine.swap().on(Arc::new(Device::default()), 64));
}
fn advise(w: &World, at: u64, pages: u64, advice: Advice) -> Result<(), Errno> {
    madvise(&w.mm, &w.task, page(at), pages * PAGE_SIZE, advice)
}
fn collapse(w: &World, at: u64, pages: u64) -> Result<(), Errno> {
    advise(w, at, pages, Advice::Collapse)
}
fn is_huge(w: &World, at: u64) -> bool {
    let walked = w.mm.tables().walk(page(at));
    walked.place.level == 1 && walked.entry.is_present()
}

#[test]
fn m_14_small_pages_become_huge_ones_in_every_2_mib_of_the_range() {
    row6(m::M_14, |w| {
        w.area(0, 2 * HUGE + 5, rw());
        w.store(page(1), 7);
        assert_eq!((collapse(w, 0, HUGE), is_huge(w, 0)), (Ok(()), true));
        assert_eq!((w.load(page(1)), w.load(page(2))), (Some(7), Some(0)));
        assert_eq!(collapse(w, 0, HUGE), Ok(()), "it is one");
        assert_eq!(collapse(w, 0, 2 * HUGE), INVALID, "nothing is in the second");
        w.store(page(HUGE + 3), 8);
        advise(w, HUGE + 3, 1, Advice::DontNeed).unwrap();
        assert_eq!(collapse(w, 5, 2 * HUGE), Ok(()), "a table, and nothing in it");
        assert!(is_huge(w, HUGE));
        assert_eq!(collapse(w, 5, HUGE), Ok(()), "not one whole one");
        assert_eq!(collapse(w, 5, 3), INVALID, "less than that");
        assert_eq!(collapse(w, 8 * HUGE, HUGE), Err(Errno::ENOMEM), "a hole");
        assert_eq!(collapse(w, 0, 3 * HUGE), Err(Errno::ENOMEM), "all of it, and a hole");
    });
}
#[test]
fn m_14_areas_without_room_or_leave_or_private_memory_are_refused() {
    row6(m::M_14, |w| {
        w.area(1, HUGE, rw());
        assert!(w.store(page(1), 1) && w.store(page(HUGE), 1));
        assert_eq!(collapse(w, 0, 2 * HUGE), INVALID, "no 2 MiB of it are aligned");
        w.area(4 * HUGE, HUGE, rw());
        assert_eq!(collapse(w, 4 * HUGE, HUGE), INVALID, "never written to");
        w.store(page(4 * HUGE), 1);
        advise(w, 4 * HUGE, HUGE, Advice::NoHugePage).unwrap();
        assert_eq!(collapse(w, 4 * HUGE, HUGE), INVALID);
        advise(w, 4 * HUGE, HUGE, Advice::HugePage).unwrap();
        w.set_area_flags(page(4 * HUGE), ro());
        assert_eq!((collapse(w, 4 * HUGE, HUGE), is_huge(w, 4 * HUGE)), (Ok(()), true));
        assert!(w.mapped(page(4 * HUGE), true).is_none(), "read-only, as it was");
        let file = w.file(FileKind::Regular, HUGE, None);
        w.area_of(8 * HUGE, HUGE, rw() | SHARED, World::backing(&file), 0);
        w.store(page(8 * HUGE), 1);
        assert_eq!(collapse(w, 8 * HUGE, HUGE), INVALID);
    });
}
#[test]
fn m_14_a_page_that_is_held_is_tried_around_and_want_of_memory_or_a_guard_ends_it() {
    row6(m::M_14, |w| {
        w.area(0, 2 * HUGE, rw());
        assert!(w.store(page(0), 1) && w.store(page(HUGE), 2));
        let none = |point| point == Injection::FolioAlloc(PMD_ORDER);
        *w.host().inject.lock().unwrap() = Some(Box::new(none));
        assert_eq!(collapse(w, 0, 2 * HUGE), Err(Errno::ENOMEM));
        *w.host().inject.lock().unwrap() = None;
        let held = w.mapped(page(0), false).unwrap();
        w.machine.frames().get(held, 1).unwrap();
        assert_eq!(collapse(w, 0, 2 * HUGE), Err(Errno::EAGAIN));
        assert_eq!((is_huge(w, 0), is_huge(w, HUGE)), (false, true), "the second all the same");
        w.machine.put_page(held);
        advise(w, HUGE, HUGE, Advice::DontNeed).unwrap();
        w.store(page(HUGE), 3);
        gup::fault::split_leaf(&w.mm, page(HUGE)).unwrap();
        advise(w, 1, 1, Advice::GuardInstall).unwrap();
        assert_eq!((collapse(w, 0, 2 * HUGE), is_huge(w, HUGE)), (INVALID, false));
        advise(w, 1, 1, Advice::GuardRemove).unwrap();
        let child = w.as_process(fork(&mut w.mm.write(), &w.task).unwrap());
        assert_eq!((collapse(w, 0, HUGE), is_huge(w, 0)), (Ok(()), true), "a copy");
        assert_eq!((child.load(page(0)), is_huge(&child, 0)), (Some(1), false));
        let World { mm, .. } = child;
        drop(mm);
    });
}
#[test]
fn m_14_swapped_pages_are_read_and_nobody_is_charged() {
    row6(m::M_14, |w| {
        swap_on(w);
        w.area(0, HUGE, rw());
        (0..3).for_each(|n| assert!(w.store(page(n), 5)));
        advise(w, 0, 3, Advice::PageOut).unwrap();
        assert_eq!((w.mapped(page(0), false), w.machine.swap().free_slots()), (None, 61));
        w.forget();
        assert_eq!((collapse(w, 0, HUGE), is_huge(w, 0)), (Ok(()), true));
        assert_eq!((w.load(page(2)), w.machine.swap().free_slots()), (Some(5), 64));
        assert!(w.faults().is_empty());
    });
}
#[test]
fn m_15_swapped_pages_come_into_the_swap_cache_and_are_mapped_by_a_minor_fault() {
    row6(m::M_15, |w| {
        swap_on(w);
        w.area(0, 4, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 5)));
        advise(w, 0, 2, Advice::PageOut).unwrap();
        let anon = || w.machine.frames().stats().of(Kind::Anon);
        assert_eq!(anon(), 0);
        assert_eq!(advise(w, 0, 4, Advice::WillNeed), Ok(()));
        assert_eq!((anon(), w.mapped(page(0), false)), (2, None));
        assert_eq!(advise(w, 0, 4, Advice::WillNeed), Ok(()));
        assert_eq!(anon(), 2, "once");
        let read = w.fault(page(0), FaultFlags::USER);
        assert_eq!(read, Fault::Done { major: false, wrote: false });
        assert_eq!((w.load(page(0)), w.store(page(1), 6)), (Some(5), true));
        assert_eq!(w.load(page(1)), Some(6));
        let second = w.mapped(page(1), true).unwrap();
        assert!(w.machine.frames().has(second, FrameFlags::ANON_EXCLUSIVE));
        advise(w, 0, 4, Advice::DontNeed).unwrap();
        assert_eq!((anon(), w.machine.swap().free_slots()), (0, 64));
    });
}
#[test]
fn m_15_file_pages_are_read_ahead_up_to_the_end_and_shmem_pages_from_swap() {
    row6(m::M_15, |w| {
        swap_on(w);
        let disk = slow_area(w, 0, 8, ro() | SHARED);
        assert_eq!(advise(w, 2, 3, Advice::WillNeed), Ok(()));
        let begun: Vec<u64> = disk.asked.lock().unwrap().iter().map(|(index, _)| *index).collect();
        assert_eq!((begun, w.mapped(page(2), false)), (vec![2, 3, 4], None));
        let memfd = w.file(FileKind::Shmem, 2, None);
        w.area_of(16, 4, rw() | SHARED, World::backing(&memfd), 0);
        w.store(page(16), 9);
        advise(w, 16, 2, Advice::PageOut).unwrap();
        let slot = memfd.pages.lock().get(&0).copied();
        assert!(matches!(slot, Some(Slot::Swapped(_))));
        assert_eq!(advise(w, 16, 4, Advice::WillNeed), Ok(()), "beyond its end, too");
        assert_eq!(memfd.pages.lock().get(&0).copied(), slot);
        assert_eq!(w.load(page(16)), Some(9));
        assert_eq!(advise(w, 2, 8, Advice::WillNeed), Err(Errno::ENOMEM), "a hole");
    });
}
#[test]
fn m_15_another_process_can_be_advised_about_its_use_of_memory_and_nothing_else() {
    row6(m::M_15, |w| {
        w.area(0, 4, rw());
        let parts = [(page(0), PAGE_SIZE), (page(2), 2 * PAGE_SIZE), (page(9), PAGE_SIZE)];
        let tell =
            |whose, parts: &[_], advice| process_madvise(&w.mm, &w.task, whose, parts, advice);
        let part = 3 * PAGE_SIZE;
        assert_eq!(tell(Whose::Others, &parts, Advice::WillNeed), Ok(part), "up to the hole");
        assert_eq!(tell(Whose::Others, &parts[2..], Advice::WillNeed), Err(Errno::ENOMEM));
        assert_eq!(tell(Whose::Others, &parts, Advice::DontNeed), Err(Errno::EINVAL));
        assert_eq!(tell(Whose::Own, &parts[..2], Advice::DontNeed), Ok(part));
        assert_eq!(tell(Whose::Own, &[], Advice::DontNeed), Ok(0));
    });
}
