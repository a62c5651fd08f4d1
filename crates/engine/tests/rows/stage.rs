//! What the rows of fork, copy-on-write and pins need: a child, pages held, swap, huge areas.

use crate::support::{World, page, rw};
use gup::addr::{PAGE_SIZE, PMD_ORDER, Pfn};
use gup::fault::{PageOut, page_out};
use gup::file::FileKind;
use gup::flags::{Foll, Prot, VmFlags};
use gup::frame::FrameFlags;
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page, gup};
use gup::host::{ReadMode, Store, StoreRead, StoreWrite, Ticket};
use gup::mapping::{Advice, GrowProt, fork, madvise, sys};
use gup::mm::Lock;
use gup::observe::Event;
use gup::pgtable::{Decoded, SwapEntry};
use gup::rule::Rule;
use gup::vma::{UserFault, UserFaultMessage};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Base pages of a huge page.
pub const HUGE: u64 = 512;
pub const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);

pub fn frame(w: &World, at: u64) -> Pfn {
    w.mapped(page(at), false).expect("mapped")
}
pub fn writable(w: &World, at: u64) -> bool {
    w.mapped(page(at), true).is_some()
}
pub fn is_exclusive(w: &World, pfn: Pfn) -> bool {
    w.machine.frames().has(pfn, FrameFlags::ANON_EXCLUSIVE)
}
/// Whether the page at `at` is exclusive.
pub fn exclusive(w: &World, at: u64) -> bool {
    is_exclusive(w, frame(w, at))
}
/// The level of the entry that maps page `at`.
pub fn level(w: &World, at: u64) -> u8 {
    w.mm.tables().walk(page(at)).place.level
}
pub fn refs(w: &World, pfn: Pfn) -> u32 {
    w.machine.frames().refs(pfn)
}
pub fn swap_entry(w: &World, at: u64) -> Option<SwapEntry> {
    match w.entry(page(at)).decode(0) {
        Decoded::Swap(swap) => Some(swap),
        Decoded::None | Decoded::Table(_) | Decoded::Leaf(..) => None,
    }
}

/// A child of the process.
pub fn child(w: &World) -> World {
    let mm = fork(&mut w.mm.write(), &w.task).expect("a child");
    w.as_process(mm)
}

pub fn advise(w: &World, at: u64, pages: u64, advice: Advice) {
    madvise(&w.mm, &w.task, page(at), pages * PAGE_SIZE, advice).expect("advice taken");
}

/// `mprotect`.
pub fn protect(w: &World, at: u64, pages: u64, prot: Prot) {
    sys::mprotect(&w.mm, &w.task, page(at), pages * PAGE_SIZE, prot, GrowProt::Exact).unwrap();
}

/// An area of one transparent huge page at page `at`.
pub fn thp(w: &World, at: u64) {
    w.area(at, HUGE, rw() | VmFlags::HUGEPAGE);
}

/// A private hugetlb area of one page at page `at`.
pub fn hugetlb(w: &World, at: u64) {
    let file = w.file(FileKind::Hugetlb(PMD_ORDER), HUGE, None);
    let flags = rw() | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
    w.area_of(at, HUGE, flags, World::backing(&file), 0);
}

/// A row's test on 6.18 with a pool of `pages` huge pages, which is dissolved at the end.
#[track_caller]
pub fn pool_row6(rule: Rule, pages: u64, body: impl FnOnce(&World)) {
    crate::six::row6(rule, |w| {
        assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, pages), pages);
        body(w);
        w.machine.resize_hugetlb(PMD_ORDER, 0);
    });
}

/// Pages held, until it is dropped.
pub struct Held<'w> {
    w: &'w World,
    pins: bool,
    pub frames: Vec<Pfn>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for pfn in &self.frames {
            if self.pins {
                self.w.machine.unpin_pages(*pfn, 1);
            } else {
                self.w.machine.put_page(*pfn);
            }
        }
    }
}

fn hold(w: &World, entry: Entry, foll: Foll, at: u64, nr: u64) -> Held<'_> {
    let mut pages: Vec<Option<Page>> = (0..nr).map(|_| None).collect();
    let mut lock = Lock::Read(w.mm.read());
    let out = Some(&mut pages[..]);
    let outcome = gup(entry, &w.task, &mut lock, page(at), nr, foll, out, Locked::Null);
    assert_eq!(outcome.got, nr, "{:?}", outcome.stop);
    let frames = pages.into_iter().flatten().map(|page| page.pfn()).collect();
    Held { w, pins: entry == Entry::Pin, frames }
}
/// `pin_user_pages`.
pub fn pin(w: &World, foll: Foll, at: u64, nr: u64) -> Held<'_> {
    hold(w, Entry::Pin, foll, at, nr)
}
/// `get_user_pages`.
pub fn get(w: &World, foll: Foll, at: u64, nr: u64) -> Held<'_> {
    hold(w, Entry::Get, foll, at, nr)
}
/// `pin_user_pages_fast`.
pub fn pin_fast(w: &World, foll: Foll, at: u64, nr: u64) -> Held<'_> {
    let mut pages: Vec<Option<Page>> = (0..nr).map(|_| None).collect();
    let outcome = fast(FastEntry::Pin, &w.task, &w.mm, page(at), nr, foll, &mut pages);
    assert_eq!(outcome.got, nr, "{:?}", outcome.stop);
    let frames = pages.into_iter().flatten().map(|page| page.pfn()).collect();
    Held { w, pins: true, frames }
}
/// Runs `then` once, when the engine first decides by `rule`.
pub fn at_rule(w: &World, rule: Rule, then: impl FnOnce() + Send + 'static) {
    let mut then = Some(then);
    w.on_event(move |event| {
        let now = matches!(event, Event::Rule { rule: decided, .. } if *decided == rule);
        if now && let Some(then) = then.take() {
            then();
        }
        now
    });
}
/// Takes `n` plain references of page `pfn`.
pub fn references(w: &World, pfn: Pfn, n: usize) -> Held<'_> {
    (0..n).for_each(|_| w.machine.frames().get(pfn, 1).unwrap());
    Held { w, pins: false, frames: vec![pfn; n] }
}

/// Swap space.
#[derive(Default)]
struct SwapDisk(Mutex<BTreeMap<u64, Vec<u8>>>);

impl Store for SwapDisk {
    fn read_page(&self, index: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        into.copy_from_slice(&self.0.lock().unwrap()[&index]);
        StoreRead::Ready
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        self.0.lock().unwrap().insert(index, from.to_vec());
        StoreWrite::Done
    }
}

/// Adds 8 slots of swap.
pub fn swap_on(w: &World) {
    assert!(w.machine.swap().on(Arc::new(SwapDisk::default()), 8));
}
/// Reclaim takes page `at`, if it may.
pub fn out(w: &World, at: u64) -> PageOut {
    let map = w.mm.read();
    page_out(&w.mm, map.lookup(page(at)).expect("an area"), page(at))
}
/// Brings page `at` into the swap cache, mapped and exclusive.
pub fn swap_cached(w: &World, at: u64) -> Pfn {
    let held = get(w, Foll::WRITE, at, 1);
    assert_eq!(out(w, at), PageOut::Kept, "in the swap cache for as long as it is held");
    assert!(w.load(page(at)).is_some());
    let pfn = held.frames[0];
    assert_eq!(frame(w, at), pfn);
    assert!(w.machine.swap().slot_of(pfn).is_some());
    pfn
}

/// A userfaultfd whose handler is never done.
#[derive(Default)]
pub struct Handler {
    pub wp_async: bool,
    pub event_fork: bool,
    pub told: Mutex<Vec<UserFaultMessage>>,
}

impl UserFault for Handler {
    fn sigbus(&self) -> bool {
        false
    }
    fn wp_async(&self) -> bool {
        self.wp_async
    }
    fn event_fork(&self) -> bool {
        self.event_fork
    }
    fn deliver(&self, message: UserFaultMessage) -> Ticket {
        self.told.lock().unwrap().push(message);
        Ticket(1)
    }
}

/// Registers the area at page `at` with `handler`, for protected pages.
pub fn register_wp(w: &World, at: u64, handler: &Arc<Handler>) {
    let mut map = w.mm.write();
    let vma = map.lookup_mut(page(at)).expect("an area");
    vma.flags |= VmFlags::UFFD_WP;
    vma.uffd = Some(Arc::clone(handler) as Arc<dyn UserFault>);
}
