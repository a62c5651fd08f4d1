//! Rows C-83 … C-85 (folios of a memfd), C-87 … C-91 (counts), C-96 … C-103 (kin of GUP).

use crate::six::{Ask, config, row6};
use crate::store::{byte_of, slow_area};
use crate::support::{World, none, page, ro, row_in, rw};
use gup::abi::v6_18 as abi;
use gup::addr::Pfn;
use gup::errno::Errno;
use gup::fault::memory_failure;
use gup::file::FileKind;
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::frame::{FrameFlags, FramesConfig, Zone};
use gup::gup::dump::{MayUnlock, fixup_user_fault, get_dump_page};
use gup::gup::fault_in::{fault_in_readable, fault_in_safe_writeable, fault_in_writeable};
use gup::gup::memfd::{PinnedFolios, memfd_pin_folios};
use gup::gup::proc_mem::{Tracer, proc_mem};
use gup::gup::remote::Access;
use gup::gup::unpin::{self, Written};
use gup::gup::{Entry, Page};
use gup::host::Injection;
use gup::mm::{Lock, MachineConfig, ProcMemForce};
use gup::rule::c;
use std::sync::atomic::Ordering::SeqCst;

const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);

fn slots(count: usize) -> Vec<Option<Page>> {
    (0..count).map(|_| None).collect()
}
fn written(w: &World, at: u64) -> Pfn {
    w.area(at, 1, rw());
    assert!(w.store(page(at), 1));
    w.mapped(page(at), true).unwrap()
}
/// Pins page `at`; the pin is the caller's to give back.
fn pinned(w: &World, at: u64, nr: usize) -> Vec<Option<Page>> {
    let mut pages = slots(nr);
    let out = Some(&mut pages[..]);
    let (start, nr) = (page(at).get(), nr as u64);
    let got = abi::pin_user_pages_unlocked(&w.task, &w.mm, start, nr, out, 1);
    assert_eq!(got.cast_unsigned(), nr);
    pages
}

#[test]
fn c_83_memfd_pin_folios_refuses_other_files_and_ranges_past_the_end() {
    row6(c::C_83, |w| {
        let memfd = w.file(FileKind::Shmem, 2, None);
        let other = w.file(FileKind::Regular, 2, None);
        let mut out = slots(4);
        let mut pin = |file, start, end, most| {
            let pinned = memfd_pin_folios(&w.machine, &w.task, file, start, end, &mut out[..most]);
            pinned.map(|pinned| pinned.count).map_err(|stop| stop.errno)
        };
        let refused = Err(Errno::EINVAL);
        assert_eq!(pin(None, 0, 1, 4), refused);
        assert_eq!(pin(Some(&other), 0, 1, 4), refused);
        assert_eq!(pin(Some(&memfd), -1, 1, 4), refused);
        assert_eq!(pin(Some(&memfd), 2, 1, 4), refused);
        assert_eq!(pin(Some(&memfd), 0, 8192, 4), refused, "the end is the last byte");
        assert_eq!(pin(Some(&memfd), 0, 1, 0), refused);
        assert_eq!(pin(Some(&memfd), 0, 8191, 4), Ok(2));
        unpin::unpin_folios(&w.machine, &mut out);
    });
}
#[test]
fn c_84_each_folio_is_pinned_once_and_those_that_are_missing_are_allocated() {
    let frames = FramesConfig::normal(2048).and(Zone::Movable, 0, 2048);
    row_in(c::C_84, World::with(MachineConfig { frames, ..config() }), |w| {
        let memfd = w.file(FileKind::Shmem, 16, None);
        assert_eq!(memfd.insert_folio(&w.machine, 0, 2), Ok(true));
        w.area_of(0, 16, rw() | SHARED, World::backing(&memfd), 0);
        assert!(w.store(page(5), 9));
        let moved = w.mapped(page(5), true).unwrap();
        let mut out = slots(3);
        // Its first folio lies badly, and somebody looks at it.
        let large = memfd.find(&w.machine, 3).unwrap();
        let stuck = memfd_pin_folios(&w.machine, &w.task, Some(&memfd), 0, 4095, &mut out);
        assert_eq!(stuck.map_err(|stop| stop.errno), Err(Errno::ENOMEM));
        assert!(out.iter().all(Option::is_none));
        w.machine.put_page(large);
        let pin = |start, end, out: &mut [Option<Page>]| {
            memfd_pin_folios(&w.machine, &w.task, Some(&memfd), start, end, out)
        };
        assert_eq!(pin(4096, 4096, &mut out), Ok(PinnedFolios { count: 1, offset: 4096 }));
        let now = out[0].as_ref().unwrap().pfn();
        let frames = w.machine.frames();
        assert_eq!((frames.zone(now), frames.order(now)), (Zone::Normal, 2), "moved whole");
        unpin::unpin_folios(&w.machine, &mut out[..1]);
        out[0] = None;
        let told = pin(4 * 4096 + 7, 16 * 4096 - 1, &mut out);
        assert_eq!(told, Ok(PinnedFolios { count: 3, offset: 7 }), "at most as many as asked for");
        let held: Vec<Pfn> = out.iter().flatten().map(Page::pfn).collect();
        let frames = w.machine.frames();
        assert!(held.iter().all(|pfn| frames.zone(*pfn) == Zone::Normal && frames.pins(*pfn) == 1));
        assert_ne!(held[1], moved, "out of movable memory");
        assert_eq!((w.mapped(page(5), true), w.byte(held[1])), (Some(held[1]), 9));
        assert!(!w.mm.has_pinned.load(SeqCst), "no address space is concerned");
        unpin::unpin_folios(&w.machine, &mut out);
        assert!(held.iter().all(|pfn| frames.pins(*pfn) == 0));
    });
    row_in(c::C_84, World::with(config()), |w| {
        let memfd = w.file(FileKind::Shmem, 16, None);
        assert_eq!(memfd.insert_folio(&w.machine, 4, 2), Ok(true));
        let mut out = slots(8);
        let (start, end) = (5 * 4096 + 1, 8 * 4096);
        let told = memfd_pin_folios(&w.machine, &w.task, Some(&memfd), start, end, &mut out);
        assert_eq!(told, Ok(PinnedFolios { count: 2, offset: 4097 }), "four pages, one folio");
        let large = out[0].as_ref().unwrap().pfn();
        assert_eq!((w.machine.frames().order(large), w.machine.frames().pins(large)), (2, 1));
        unpin::unpin_folios(&w.machine, &mut out);
    });
}
#[test]
fn c_85_a_further_pin_needs_one_that_exists() {
    row6(c::C_85, |w| {
        let pfn = written(w, 0);
        let mut pages = pinned(w, 0, 1);
        let first = pages[0].as_ref().unwrap();
        unpin::folio_add_pins(&w.machine, first, 2).unwrap();
        unpin::folio_add_pin(&w.machine, first).unwrap();
        let frames = w.machine.frames();
        assert_eq!((frames.pins(pfn), w.pinned()), (4, 1), "not counted as acquired");
        assert!(w.host().warnings.lock().unwrap().is_empty());
        w.machine.unpin_pages(pfn, 3);
        unpin::unpin_user_pages(&w.machine, &mut pages);
        let got = w.gup(4, page(0), 1);
        assert_eq!(got.ret, 1);
        let mut plain = slots(1);
        let out = Some(&mut plain[..]);
        abi::get_user_pages_unlocked(&w.task, &w.mm, page(0).get(), 1, out, 1);
        let only_got = plain[0].take().unwrap();
        unpin::folio_add_pin(&w.machine, &only_got).unwrap();
        assert_eq!(*w.host().warnings.lock().unwrap(), [c::C_85]);
        w.machine.unpin_pages(pfn, 1);
        w.hold([only_got]);
    });
}
#[test]
fn c_87_a_large_folio_counts_its_pins_exactly() {
    row6(c::C_87, |w| {
        w.area(0, 512, rw() | VmFlags::HUGEPAGE);
        assert!(w.store(page(0), 1));
        let head = w.mapped(page(0), true).unwrap();
        w.machine.frames().get(head, 5000).unwrap();
        assert!(!w.machine.maybe_pinned(head), "references alone are no pins");
        let mut pages = pinned(w, 3, 2);
        assert!(w.machine.maybe_pinned(head.offset(400)), "of any of its pages");
        assert_eq!(w.machine.frames().pins(head), 2);
        unpin::unpin_user_pages(&w.machine, &mut pages);
        assert!(!w.machine.maybe_pinned(head));
        w.machine.put_pages(head, 5000);
    });
}
#[test]
fn c_88_a_small_page_seems_pinned_from_1024_references_on_and_never_the_reverse() {
    row6(c::C_88, |w| {
        let pfn = written(w, 0);
        let frames = w.machine.frames();
        frames.get(pfn, 1022).unwrap();
        assert!(!w.machine.maybe_pinned(pfn), "1023");
        frames.get(pfn, 1).unwrap();
        assert!(w.machine.maybe_pinned(pfn), "1024, and not one pin");
        w.machine.put_pages(pfn, 1023);
        let mut pages = pinned(w, 0, 1);
        assert!(w.machine.maybe_pinned(pfn), "one pin suffices");
        unpin::unpin_user_pages(&w.machine, &mut pages);
        assert!(!w.machine.maybe_pinned(pfn));
    });
}
#[test]
fn c_89_a_small_page_takes_two_million_pins_and_a_large_one_more() {
    row6(c::C_89, |w| {
        let pfn = written(w, 0);
        let frames = w.machine.frames();
        frames.pin(pfn, (1 << 21) - 1).unwrap();
        let mut last = pinned(w, 0, 1);
        assert_eq!(frames.pins(pfn), 2_097_152);
        let pin = Ask::new(Entry::PinUnlocked, Foll::WRITE, page(0), 1);
        let told = pin.of(w);
        assert_eq!((told.ret, told.rule), (Errno::ENOMEM.negated(), Some(c::C_89)));
        let get = Ask::new(Entry::GetUnlocked, Foll::WRITE, page(0), 1).of(w);
        assert_eq!(get.ret, Errno::ENOMEM.negated(), "nor a reference: the count is negative");
        assert!(!frames.try_pin(pfn, 1) && !frames.try_get(pfn, 1));
        assert_eq!(frames.pins(pfn), 2_097_152, "counts are as they were");
        unpin::unpin_user_pages(&w.machine, &mut last);
        assert_eq!(pin.of(w).ret, 1);
        w.machine.unpin_pages(pfn, (1 << 21) - 1);
        w.area(512, 512, rw() | VmFlags::HUGEPAGE);
        assert!(w.store(page(512), 1));
        let huge = w.mapped(page(512), true).unwrap();
        frames.pin(huge, 1 << 22).unwrap();
        assert_eq!(Ask { start: page(512), ..pin }.of(w).ret, 1);
        w.machine.unpin_pages(huge, 1 << 22);
    });
}
#[test]
fn c_91_whoever_wrote_marks_the_folio_dirty_under_its_lock_and_then_unpins() {
    row6(c::C_91, |w| {
        let memfd = w.file(FileKind::Shmem, 2, None);
        w.area_of(0, 2, rw() | SHARED, World::backing(&memfd), 0);
        assert!(w.store(page(0), 1) && w.store(page(1), 1));
        let frames = w.machine.frames();
        let mut pages = pinned(w, 0, 2);
        let held: Vec<Pfn> = pages.iter().flatten().map(Page::pfn).collect();
        for pfn in &held {
            frames.clear(*pfn, FrameFlags::DIRTY);
        }
        unpin::unpin_user_pages_dirty_lock(&w.machine, &mut pages, Written::No);
        assert!(held.iter().all(|pfn| !frames.has(*pfn, FrameFlags::DIRTY)));
        assert!(w.seen(c::C_91).is_none());
        let mut pages = pinned(w, 0, 2);
        for pfn in &held {
            frames.clear(*pfn, FrameFlags::DIRTY);
        }
        frames.set(held[1], FrameFlags::DIRTY);
        // A folio that is dirty already is not locked: this would wait for ever.
        let locked = frames.try_lock_folio(held[1]).unwrap();
        unpin::unpin_user_pages_dirty_lock(&w.machine, &mut pages, Written::Yes);
        drop(locked);
        assert!(held.iter().all(|pfn| frames.has(*pfn, FrameFlags::DIRTY)));
        assert_eq!(w.count(c::C_91), 1);
        assert!(held.iter().all(|pfn| frames.pins(*pfn) == 0 && !frames.is_locked(*pfn)));
    });
}
#[test]
fn c_96_a_dump_takes_the_lock_killably_and_finds_no_holes() {
    row6(c::C_96, |w| {
        let pfn = written(w, 0);
        w.set_area_flags(page(0), none());
        let mut lock = Lock::Dropped(&w.mm);
        let got = get_dump_page(&w.task, &mut lock, page(0));
        assert_eq!((got.as_ref().map(Page::pfn), lock.is_held()), (Some(pfn), false), "forced");
        w.hold(got);
        w.area(2, 1, rw());
        lock.take();
        assert!(get_dump_page(&w.task, &mut lock, page(2)).is_none() && lock.is_held());
        assert!(w.faults().iter().all(|flags| !flags.contains(FaultFlags::ALLOW_RETRY)));
        lock.drop_lock();
        let contended = |point| point == Injection::LockContended;
        *w.host().inject.lock().unwrap() = Some(Box::new(contended));
        w.task.kill();
        assert!(get_dump_page(&w.task, &mut lock, page(0)).is_none());
        *w.host().inject.lock().unwrap() = None;
        w.task.clear_signals();
    });
}
#[test]
fn c_97_a_fixup_retries_after_a_drop_and_grows_no_stack() {
    row6(c::C_97, |w| {
        slow_area(w, 0, 1, ro());
        w.area(100, 1, rw() | VmFlags::GROWSDOWN);
        let mut lock = Lock::Read(w.mm.read());
        let mut unlocked = false;
        let write = FaultFlags::WRITE;
        let mut fix = |at, flags, may: Option<&mut bool>| {
            let may = may.map_or(MayUnlock::No, MayUnlock::Yes);
            fixup_user_fault(&w.task, &mut lock, page(at), flags, may).map_err(|stop| stop.errno)
        };
        assert_eq!(fix(0, FaultFlags::empty(), Some(&mut unlocked)), Ok(()));
        assert_eq!((unlocked, w.mapped(page(0), false).is_some()), (true, true));
        let tried: Vec<_> = w.faults().iter().map(|f| f.contains(FaultFlags::TRIED)).collect();
        assert_eq!(tried, [false, true]);
        assert_eq!(fix(0, write, None), Err(Errno::EFAULT), "read-only, and nothing is forced");
        assert_eq!(fix(99, write, None), Err(Errno::EFAULT), "below a stack");
        assert_eq!(fix(100, write, None), Ok(()));
        memory_failure(&w.mm, page(100));
        assert_eq!(fix(100, write, None), Err(Errno::EFAULT), "no EHWPOISON any more");
        w.task.kill();
        assert_eq!(fix(0, FaultFlags::empty(), Some(&mut unlocked)), Err(Errno::EINTR));
        w.task.clear_signals();
        drop(lock);
    });
}
#[test]
fn c_99_forced_access_is_for_everybody_for_debuggers_or_for_nobody() {
    for (force, stranger, debugger) in [
        (ProcMemForce::Always, Ok(1), Ok(1)),
        (ProcMemForce::Ptrace, Err(Errno::EIO), Ok(1)),
        (ProcMemForce::Never, Err(Errno::EIO), Err(Errno::EIO)),
    ] {
        let mut config = config();
        config.sysctl.proc_mem_force = force;
        row_in(c::C_99, World::with(config), |w| {
            w.area(0, 1, ro());
            let write = |who| proc_mem(&w.task, &w.mm, page(0), Access::Write(&[3]), who);
            assert_eq!(write(Tracer::No), stranger, "{force:?}");
            assert_eq!(write(Tracer::Attached), debugger, "{force:?}");
            let mut byte = [9];
            let read = proc_mem(&w.task, &w.mm, page(0), Access::Read(&mut byte), Tracer::No);
            let expect = if force == ProcMemForce::Never { 0 } else { 3 };
            assert_eq!((read, byte), (Ok(1), [expect]), "what needs no force is never refused");
        });
    }
}
#[test]
fn c_103_faulting_in_says_what_is_not_there_and_pins_nothing() {
    row6(c::C_103, |w| {
        slow_area(w, 0, 2, ro());
        let at = page(0).wrapping_add(4000);
        assert_eq!(fault_in_readable(&w.task, &w.mm, at, 96 + 4096 + 10), 10, "then a hole");
        assert_eq!(w.load(page(1)), Some(byte_of(1)));
        assert_eq!(fault_in_writeable(&w.task, &w.mm, at, 200), 200, "read-only");
        assert_eq!(fault_in_safe_writeable(&w.task, &w.mm, at, 200), 200);
        w.area(10, 2, rw());
        assert!(w.store(page(10), 7));
        assert_eq!(fault_in_safe_writeable(&w.task, &w.mm, page(10), 4096), 0);
        assert_eq!(w.load(page(10)), Some(7), "nothing is written");
        assert_eq!(fault_in_writeable(&w.task, &w.mm, page(10), 8192), 0);
        assert_eq!(w.load(page(10)), Some(0), "a zero is");
        assert_eq!(w.pinned(), 0);
        assert_eq!(w.machine.frames().refs(w.mapped(page(11), true).unwrap()), 1);
        w.area(500, 1, rw() | VmFlags::GROWSDOWN);
        assert_eq!(fault_in_safe_writeable(&w.task, &w.mm, page(499), 1), 1);
        assert_eq!(fault_in_readable(&w.task, &w.mm, page(499), 1), 0, "as the process reads it");
    });
}
