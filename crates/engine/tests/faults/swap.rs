//! Swap: what goes out, what stays, what comes back exclusive, and what is cached meanwhile.

use crate::world::{DISK, Disk, RO, RW, RWS, Shared, Space, assert_empty, fail_everywhere, page};
use gup::abi::v6_18 as abi;
use gup::addr::PAGE_SIZE;
use gup::fault::{Fault, FaultError, PageOut, memory_failure, page_out};
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::FrameFlags;
use gup::gup::unpin::{Written, unpin_user_pages_dirty_lock};
use gup::host::{Memory, ReadMode, Store, StoreRead, StoreWrite};
use gup::linux::Linux;
use gup::mapping::{Advice, madvise};
use gup::mm::Counter;
use gup::pgtable::{Entry, SwapEntry};
use gup::rule::{c, f, m};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

const MAJOR: Fault = Fault::Done { major: true, wrote: false };
const MAJOR_WROTE: Fault = Fault::Done { major: true, wrote: true };

fn with_swap(slots: u64) -> (Space, Arc<Disk>) {
    let space = Space::new(Linux::V6_18);
    let disk = Disk::new(0);
    assert!(space.machine().swap().on(Arc::new(Shared(Arc::clone(&disk))), slots));
    space.anon(0, 8, RW);
    (space, disk)
}

impl Space {
    fn out(&self, n: u64) -> PageOut {
        let map = self.mm.read();
        page_out(&self.mm, map.lookup(page(n)).unwrap(), page(n))
    }
}

/// A [`Disk`] during whose next read, when the bytes are there, something else happens.
struct Interrupted {
    disk: Shared,
    during: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Store for Interrupted {
    fn read_page(&self, index: u64, mode: ReadMode, into: &mut [u8]) -> StoreRead {
        let read = self.disk.read_page(index, mode, into);
        let during = self.during.lock().unwrap().take();
        if let Some(during) = during {
            during();
        }
        read
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        self.disk.write_page(index, from)
    }
}

fn with_interrupted_swap() -> (Arc<Space>, Arc<Interrupted>) {
    let space = Space::new(Linux::V6_18);
    let (disk, during) = (Shared(Disk::new(0)), Mutex::default());
    let store = Arc::new(Interrupted { disk, during });
    assert!(space.machine().swap().on(Arc::clone(&store) as Arc<dyn Store>, 4));
    space.anon(0, 8, RW);
    (Arc::new(space), store)
}

/// Brings a swapped page into the swap cache.
fn will_need(space: &Space, n: u64) {
    madvise(&space.mm, &space.task, page(n), PAGE_SIZE, Advice::WillNeed).unwrap();
}

#[test]
fn m_12_bytes_read_past_the_swap_cache_are_not_mapped_if_the_page_was_stored_to_meanwhile() {
    for (held, left) in [(0, PageOut::Out), (1, PageOut::Kept)] {
        let (space, store) = with_interrupted_swap();
        let machine = space.machine();
        space.poke(0, 7);
        assert_eq!(space.out(0), PageOut::Out);
        let another = Arc::clone(&space);
        *store.during.lock().unwrap() = Some(Box::new(move || {
            will_need(&another, 0);
            assert_eq!((another.read(0), another.state(0)), (Fault::MINOR, "Ax1wc".into()));
            another.poke(0, 9);
            let (machine, pfn) = (another.machine(), another.pfn(0));
            machine.frames().get(pfn, 1).unwrap();
            (held..1).for_each(|_| machine.put_page(pfn));
            assert_eq!((another.out(0), another.state(0)), (left, "Sx".into()));
            (0..held).for_each(|_| machine.put_page(pfn));
        }));
        assert!(matches!(space.read(0), Fault::Done { .. }));
        assert_eq!(space.peek(0), 9, "{left:?}");
        drop(space);
        assert_empty(&machine);
        assert_eq!(machine.swap().free_slots(), 4);
    }
}

#[test]
fn a_slot_that_shared_memory_got_again_is_read_again() {
    let (space, store) = with_interrupted_swap();
    let machine = space.machine();
    let memfd = space.memfd(2);
    space.file(16, 18, RWS, &memfd);
    space.poke(16, 7);
    assert_eq!(space.out(16), PageOut::Out);
    let slot = memfd.pages.lock().get(&0).copied();
    let (another, file) = (Arc::clone(&space), Arc::clone(&memfd));
    *store.during.lock().unwrap() = Some(Box::new(move || {
        assert_eq!(another.read(16), MAJOR);
        another.poke(16, 9);
        assert_eq!(another.out(16), PageOut::Out);
        assert_eq!(file.pages.lock().get(&0).copied(), slot);
    }));
    assert!(matches!(space.read(16), Fault::Done { .. }));
    assert_eq!(space.peek(16), 9);
    drop((space, memfd));
    assert_empty(&machine);
    assert_eq!(machine.swap().free_slots(), 4);
}

#[test]
fn f_52_a_store_through_a_pin_survives_swap_only_if_it_is_said() {
    for (written, kept) in [(Written::No, 7), (Written::Yes, 9)] {
        let (space, _) = with_swap(4);
        let machine = space.machine();
        space.poke(0, 7);
        assert_eq!(space.out(0), PageOut::Out);
        will_need(&space, 0);
        assert_eq!((space.read(0), space.state(0)), (Fault::MINOR, "Ax1wc".into()));
        let mut pages = [None];
        let start = page(0).get();
        assert_eq!(abi::pin_user_pages_fast(&space.task, &space.mm, start, 1, 1, &mut pages), 1);
        machine.memory().write(space.pfn(0), 0, &[9]);
        unpin_user_pages_dirty_lock(&machine, &mut pages, written);
        assert_eq!(space.out(0), PageOut::Out);
        assert_eq!(space.peek(0), kept, "{written:?}");
    }
}

#[test]
fn m_12_a_slot_with_one_user_is_read_fresh_and_comes_back_exclusive() {
    let (space, _) = with_swap(4);
    space.poke(0, 7);
    assert_eq!(space.out(0), PageOut::Out);
    assert_eq!(space.state(0), "Sx", "the entry remembers that the page was exclusive");
    assert_eq!((space.mm.rss(Counter::Anon), space.mm.rss(Counter::Swap)), (0, 1));
    assert!(space.decided(f::F_02, 0));
    assert_eq!(space.read(0), MAJOR);
    assert_eq!(space.state(0), "Ax1w", "and not in the swap cache");
    assert_eq!(space.peek(0), 7);
    assert!(space.decided(m::M_12, 0) && space.decided(f::F_22, 0));
    assert_eq!((space.mm.rss(Counter::Anon), space.mm.rss(Counter::Swap)), (1, 0));
    assert_eq!(space.machine().swap().free_slots(), 4);
}

#[test]
fn f_16_fork_takes_the_mark_away_and_the_slot_goes_through_the_swap_cache() {
    let (space, _) = with_swap(4);
    let machine = space.machine();
    space.poke(0, 7);
    let _ = space.out(0);
    let child = space.fork().unwrap();
    assert_eq!((space.state(0), child.state(0)), ("S".into(), "S".into()));
    assert_eq!(child.read(0), MAJOR);
    assert_eq!(child.state(0), "As1rc");
    assert_eq!(space.read(0), Fault::MINOR, "the page is in the swap cache");
    assert_eq!((space.state(0), space.pfn(0)), ("As2rc".into(), child.pfn(0)));
    assert_eq!(space.write(0), Fault::WROTE);
    assert_eq!((space.state(0), child.state(0)), ("Ax1w".into(), "As1rc".into()));
    assert_eq!(child.write(0), Fault::WROTE);
    assert_eq!(child.state(0), "Ax1w", "the last user frees the slot and reuses the page (F-23)");
    assert_eq!(machine.swap().free_slots(), 4);
    drop((space, child));
    assert_empty(&machine);
}

#[test]
fn a_store_reads_a_shared_slot_and_copies() {
    let (space, _) = with_swap(4);
    let machine = space.machine();
    space.poke(0, 7);
    let _ = space.out(0);
    let child = space.fork().unwrap();
    assert_eq!(space.write(0), MAJOR_WROTE);
    assert_eq!((space.state(0), space.peek(0)), ("Ax1w".into(), 7));
    assert_eq!(child.peek(0), 7);
    drop((space, child));
    assert_empty(&machine);
    assert_eq!(machine.swap().free_slots(), 4);
}

#[test]
fn m_09_f_33_shared_and_pinned_pages_stay() {
    let (space, _) = with_swap(4);
    let machine = space.machine();
    space.poke(0, 1);
    space.poke(1, 1);
    let child = space.fork().unwrap();
    assert_eq!(space.out(0), PageOut::Kept);
    assert!(space.decided(m::M_09, 0));
    assert_eq!(child.state(0), "As2r");
    drop(child);
    let _ = space.write(1);
    let held = space.pfn(1);
    machine.frames().pin(held, 1).unwrap();
    assert_eq!(space.out(1), PageOut::Kept);
    assert!(space.decided(f::F_33, 1));
    assert_eq!(space.state(1), "Ax1w");
    machine.unpin_pages(held, 1);
    assert_eq!(space.out(1), PageOut::Out);
}

#[test]
fn f_34_a_page_pinned_while_in_the_swap_cache_gets_its_entry_back() {
    let (space, _) = with_swap(4);
    let machine = space.machine();
    space.poke(0, 1);
    let held = space.pfn(0);
    // A reference keeps it in the swap cache when it is unmapped; then it is mapped again, and
    // pinned.
    machine.frames().get(held, 1).unwrap();
    assert_eq!(space.out(0), PageOut::Kept);
    assert_eq!(space.read(0), Fault::MINOR, "found in the swap cache");
    assert_eq!((space.state(0), space.pfn(0)), ("Ax1wc".into(), held));
    machine.frames().pin(held, 1).unwrap();
    assert_eq!(space.out(0), PageOut::Kept);
    assert!(space.decided(f::F_34, 0));
    assert_eq!(space.state(0), "Ax1wc");
    machine.unpin_pages(held, 1);
    machine.put_page(held);
    space.zap(0, 1);
    assert_eq!(machine.swap().free_slots(), 4, "the last entry took it out of the swap cache");
    drop(space);
    assert_empty(&machine);
}

#[test]
fn unmapping_a_swapped_page_frees_its_slot() {
    let (space, _) = with_swap(2);
    space.poke(0, 1);
    space.poke(1, 1);
    let _ = (space.out(0), space.out(1));
    assert_eq!(space.machine().swap().free_slots(), 0);
    space.poke(2, 1);
    assert_eq!(space.out(2), PageOut::Kept, "there is no slot");
    assert_eq!(space.state(2), "Ax1w");
    space.zap(0, 2);
    assert_eq!(space.machine().swap().free_slots(), 2);
    assert_eq!(space.mm.rss(Counter::Swap), 0);
}

#[test]
fn w_03_a_slow_swap_device_is_waited_for_as_the_flags_say() {
    let (space, disk) = with_swap(2);
    let machine = space.machine();
    space.poke(0, 9);
    let _ = space.out(0);
    disk.ready.store(false, Relaxed);
    let nowait = FaultFlags::ALLOW_RETRY | FaultFlags::RETRY_NOWAIT;
    assert_eq!(space.fault(0, nowait), Fault::Kept(DISK));
    assert_eq!(space.fault(0, FaultFlags::ALLOW_RETRY), Fault::Retry(DISK));
    assert_eq!(space.state(0), "Sx");
    disk.ready.store(true, Relaxed);
    assert_eq!(space.read(0), MAJOR);
    assert_eq!((space.state(0), space.peek(0)), ("Ax1wc".into(), 9));
    drop(space);
    assert_empty(&machine);
    assert_eq!(machine.swap().free_slots(), 2);
}

#[test]
fn a_device_that_fails_is_sigbus_and_a_page_it_cannot_keep_stays() {
    let (space, disk) = with_swap(2);
    space.poke(0, 9);
    disk.fails.store(true, Relaxed);
    assert_eq!(space.out(0), PageOut::Kept);
    assert_eq!(space.state(0), "Sx", "but it is unmapped, and in the swap cache");
    assert_eq!(space.peek(0), 9);
    disk.fails.store(false, Relaxed);
    let _ = space.out(0);
    disk.fails.store(true, Relaxed);
    assert_eq!(space.read(0), Fault::SIGBUS);
}

#[test]
fn shared_memory_leaves_the_page_cache_for_swap() {
    let (space, _) = with_swap(2);
    let machine = space.machine();
    let memfd = space.memfd(2);
    space.file(16, 18, RWS, &memfd);
    space.poke(16, 3);
    let _ = space.read(17);
    assert_eq!(space.out(16), PageOut::Out);
    assert_eq!(space.state(16), "-");
    assert_eq!(machine.swap().free_slots(), 1);
    assert_eq!(space.read(16), MAJOR);
    assert_eq!((space.state(16), space.peek(16)), ("F1w".into(), 3));
    assert_eq!(machine.swap().free_slots(), 2);
    assert_eq!(space.out(16), PageOut::Out);
    memfd.truncate(&machine, 0);
    assert_eq!(machine.swap().free_slots(), 2, "truncation frees slots");
    drop((space, memfd));
    assert_empty(&machine);
}

#[test]
fn a_clean_file_page_leaves_the_cache_and_a_dirty_one_only_its_entry() {
    let (space, _) = with_swap(2);
    let file = space.regular(2, &Disk::new(1));
    space.file(16, 18, RWS, &file);
    let _ = (space.read(16), space.write(17));
    assert_eq!((space.out(16), space.out(17)), (PageOut::Out, PageOut::Kept));
    assert_eq!((space.state(16), space.state(17)), ("-".into(), "-".into()));
    assert_eq!(space.read(17), Fault::MINOR);
    assert_eq!(space.read(16), MAJOR);
    let held = file.find(&space.machine(), 0).unwrap();
    assert_eq!(space.out(16), PageOut::Kept, "somebody has it");
    space.machine().put_page(held);
}

#[test]
fn m_10_lazily_freed_memory_vanishes_unless_it_was_written_since() {
    let (space, _) = with_swap(2);
    let machine = space.machine();
    for (n, dirty, extra) in [(0, false, 0), (1, true, 0), (2, false, 1)] {
        space.poke(n, 5);
        let held = space.pfn(n);
        machine.frames().clear(held, FrameFlags::SWAPBACKED);
        let place = space.mm.tables().walk(page(n)).place;
        let entry = space.mm.tables().load(place);
        space.mm.tables().store(place, entry.map_perms(0, |perms| perms.dirty = dirty));
        machine.frames().get(held, extra).unwrap();
    }
    assert_eq!(space.out(0), PageOut::Out);
    assert_eq!((space.state(0), space.peek(0)), ("-".into(), 0));
    assert_eq!(space.out(1), PageOut::Kept);
    assert!(space.decided(m::M_10, 1));
    assert_eq!(space.out(1), PageOut::Out, "the second time it is swapped");
    assert_eq!(space.peek(1), 5);
    assert_eq!(space.out(2), PageOut::Kept);
    assert!(space.decided(f::F_35, 2));
    assert_eq!(space.peek(2), 5);
    machine.put_page(space.pfn(2));
}

#[test]
fn f_44_failed_memory_leaves_the_entry_and_stays_with_the_pin() {
    let (space, _) = with_swap(2);
    let machine = space.machine();
    space.poke(0, 5);
    let held = space.pfn(0);
    machine.frames().pin(held, 1).unwrap();
    assert!(memory_failure(&space.mm, page(0)));
    assert_eq!(space.swap_entry(0), Some(SwapEntry::HwPoison(held)));
    assert_eq!(space.read(0), Fault::Failed(FaultError::HwPoison));
    assert!(space.decided(f::F_44, 0));
    let child = space.fork().unwrap();
    assert_eq!(child.swap_entry(0), Some(SwapEntry::HwPoison(held)));
    let mut byte = [0];
    machine.memory().read(held, 0, &mut byte);
    assert_eq!(byte, [5]);
    machine.unpin_pages(held, 1);
    assert_eq!(machine.frames().stats().poisoned, 1, "the frame is never used again");
}

#[test]
fn c_63_markers_fail_a_fault_for_good() {
    let (space, _) = with_swap(1);
    let put = |n, entry| {
        let place = space.mm.tables().make(page(n), 0).unwrap();
        space.mm.tables().store(place, Entry::swap(entry));
    };
    put(0, SwapEntry::Guard);
    put(1, SwapEntry::Poisoned);
    put(2, SwapEntry::UffdWp);
    assert_eq!(space.write(0), Fault::SIGSEGV);
    assert_eq!(space.read(1), Fault::Failed(FaultError::HwPoison));
    assert!(space.decided(c::C_63, 0) && space.decided(c::C_63, 1));
    assert_eq!(space.write(2), Fault::MINOR, "a marker without a context is dropped");
    assert_eq!(space.state(2), "-");
}

#[test]
fn a_numa_hint_is_taken_away_and_an_exclusive_page_is_writable_at_once() {
    let (space, _) = with_swap(1);
    space.anon(16, 17, RO - VmFlags::READ);
    space.poke(0, 1);
    for n in [0, 16] {
        let _ = space.write(n);
        let place = space.mm.tables().walk(page(n)).place;
        let entry = space.mm.tables().load(place);
        let hinted = entry.map_perms(0, |perms| {
            perms.protnone = true;
            perms.write = false;
        });
        space.mm.tables().store(place, hinted);
    }
    assert_eq!(space.read(0), Fault::MINOR);
    let perms = space.leaf(0).unwrap().1;
    assert!(!perms.protnone && perms.write);
    assert!(space.decided(f::F_32, 0));
    let _ = space.read(16);
    assert!(space.leaf(16).unwrap().1.protnone, "a PROT_NONE area is no hint");
}

#[test]
fn no_failed_allocation_leaks_a_slot_or_a_page() {
    fail_everywhere(Linux::V6_18, |space| {
        let disk = Disk::new(0);
        let machine = space.machine();
        machine.swap().on(Arc::new(Shared(Arc::clone(&disk))), 8);
        let memfd = space.memfd(2);
        space.anon(0, 4, RW);
        space.file(16, 18, RWS, &memfd);
        for n in [0, 1, 2, 16] {
            let _ = space.write(n);
            let _ = space.leaf(n).is_some().then(|| space.out(n));
        }
        let child = space.fork();
        for n in [0, 1, 16] {
            let _ = (space.read(n), space.write(n));
        }
        if let Ok(child) = &child {
            let _ = (child.write(0), child.read(2));
        }
        space.zap(0, 4);
        drop((child, memfd));
    });
}
