//! What the pin ledger reports of drivers that are wrong, and that it reports nothing of one that
//! is right.

#![allow(missing_docs, reason = "a test program")]

use gup::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use gup::errno::Errno;
use gup::flags::{Foll, Prot};
use gup::gup::{Page, Read, Write};
use gup::linux::Linux;
use gup::mapping::{self, Advice, MmapRequest, MremapFlags, MremapRequest};
use gup::memory::HeapMemory;
use gup::mm::{Machine, MachineConfig, Mm};
use gup::task::Task;
use gup_hosted::{Held, Ledger, Mistake, Site, Std, Why};
use std::sync::Arc;

type Host = Std<HeapMemory, Ledger>;

const FRAMES: u64 = 1024;
/// Where everything is mapped.
const BASE: u64 = 0x2000_0000_0000;

struct World {
    ledger: Ledger,
    machine: Arc<Machine<Host>>,
    mm: Arc<Mm<Host>>,
    task: Task,
}

impl World {
    fn new() -> Self {
        let ledger = Ledger::new();
        let host = Std::new(HeapMemory::new(FRAMES), ledger.clone());
        let config = MachineConfig::new(Linux::V6_18, FRAMES);
        let machine = Machine::new(host, config).expect("a frame");
        let mm = Mm::new(&machine).expect("a frame");
        Self { ledger, machine, mm, task: Task::default() }
    }
    fn map(&self, at: u64, pages: u64) -> VirtAddr {
        let addr = VirtAddr::new(BASE + at * PAGE_SIZE);
        let request = MmapRequest::anonymous(pages << PAGE_SHIFT, Prot::READ | Prot::WRITE);
        mapping::sys::mmap(&self.mm, &self.task, &request.at(addr)).expect("room")
    }
    fn unmap(&self, addr: VirtAddr, pages: u64) {
        mapping::sys::munmap(&self.mm, addr, pages << PAGE_SHIFT).expect("mapped");
    }
    fn texts(&self) -> Vec<String> {
        self.ledger.reports().iter().map(ToString::to_string).collect()
    }
}

/// A driver that locks user memory, and gives it back with the wrong call: it asks for pages by
/// reference, and unpins them.
struct Locker<'w> {
    world: &'w World,
    pages: Vec<Page>,
}

impl<'w> Locker<'w> {
    const LOCKS_AT: u32 = line!() + 3;
    fn lock(world: &'w World, addr: VirtAddr, count: usize) -> Result<Self, Errno> {
        let (task, mm) = (&world.task, &world.mm);
        let pages = world.ledger.here().get_user_pages(task, mm, addr, count, Foll::WRITE)?;
        Ok(Self { world, pages })
    }
    const UNLOCKS_AT: u32 = line!() + 4;
    fn unlock(self) {
        let Self { world, pages } = self;
        for page in pages {
            world.ledger.here().unpin_user_page(&world.machine, page);
        }
    }
}

#[test]
fn a_driver_that_gets_and_unpins_is_named_with_both_lines() {
    let w = World::new();
    let addr = w.map(0, 8);
    let locker = Locker::lock(&w, addr, 8).expect("memory");
    assert_eq!((w.ledger.reports().len(), w.ledger.held()), (0, 8), "so far all is well");
    locker.unlock();
    let text = &w.texts()[..];
    assert_eq!(text.len(), 1, "one report for all pages: {text:?}");
    for part in [
        format!("taken with get_user_pages at {}:{}", file!(), Locker::LOCKS_AT),
        format!("given back with unpin_user_page at {}:{}", file!(), Locker::UNLOCKS_AT),
        "8 pages".to_owned(),
    ] {
        assert!(text[0].contains(&part), "{part:?} is not in {text:?}");
    }
    assert_eq!(w.ledger.leaks(), [], "and the engine has its references back");
}

#[test]
fn a_get_and_unpin_loop_is_counted_at_every_turn() {
    let w = World::new();
    let addr = w.map(0, 1);
    for turn in 1..=3 {
        Locker::lock(&w, addr, 1).expect("memory").unlock();
        assert_eq!(w.ledger.reports().iter().map(|report| report.pages).sum::<u64>(), turn);
    }
}

/// A registration cache: the frames of a buffer, found by its address.
struct Cache {
    pages: Vec<Page>,
    addr: VirtAddr,
}

#[test]
fn a_cached_registration_of_memory_mapped_anew_is_stale_on_the_second_turn() {
    let w = World::new();
    let mut cache: Option<Cache> = None;
    for turn in 1..=2 {
        let addr = w.map(0, 4);
        let entry = cache.take().filter(|entry| entry.addr == addr);
        let entry = entry.unwrap_or_else(|| {
            let here = w.ledger.labelled("cache: register");
            let pages = here.pin_user_pages(&w.task, &w.mm, addr, 4, Foll::WRITE);
            Cache { pages: pages.expect("memory"), addr }
        });
        let good = w.ledger.labelled("cache: post send").uses(
            &w.mm,
            addr,
            entry.pages.iter().map(Page::pfn),
        );
        assert_eq!(good, turn == 1, "turn {turn}: {:?}", w.texts());
        w.unmap(addr, 4);
        cache = Some(entry);
    }
    let report = w.ledger.reports()[0];
    let (at, used) = (Site::Label("cache: register"), Site::Label("cache: post send"));
    assert_eq!(report.mistake, Mistake::Stale { why: Why::Unmapped, at: Some(at), used });
    assert_eq!(report.pages, 4);
    for page in cache.expect("an entry").pages {
        w.ledger.here().unpin_user_page(&w.machine, page);
    }
    assert_eq!((w.ledger.held(), w.ledger.machine_pins()), (0, 0));
}

#[test]
fn a_page_that_was_dropped_and_faulted_in_anew_is_another_frame() {
    let w = World::new();
    let addr = w.map(0, 1);
    let here = w.ledger.labelled("reg");
    let pages = here.pin_user_pages(&w.task, &w.mm, addr, 1, Foll::WRITE).expect("memory");
    let frames: Vec<Pfn> = pages.iter().map(Page::pfn).collect();
    mapping::madvise(&w.mm, &w.task, addr, PAGE_SIZE, Advice::DontNeed).expect("an area");
    assert!(here.uses(&w.mm, addr, frames.clone()), "nothing else stands there yet");
    drop(w.mm.pin::<Write>(&w.task, addr, 1).expect("memory"));
    assert!(!here.uses(&w.mm, addr, frames.clone()));
    for page in pages {
        here.unpin_user_page(&w.machine, page);
    }
    assert!(!here.uses(&w.mm, addr, frames), "given back");
    let text = w.texts();
    assert!(text[0].contains("maps another frame now; the page was taken at reg"), "{text:?}");
    assert!(text[1].contains("the page is not held"), "{text:?}");
}

#[test]
fn what_was_moved_away_is_no_longer_where_it_was_taken() {
    let w = World::new();
    let addr = w.map(0, 2);
    let here = w.ledger.labelled("reg");
    let pages = here.pin_user_pages(&w.task, &w.mm, addr, 2, Foll::WRITE).expect("memory");
    let request = MremapRequest {
        addr,
        old_bytes: PAGE_SIZE,
        new_bytes: PAGE_SIZE,
        flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
        new_addr: addr.wrapping_add(64 * PAGE_SIZE),
    };
    mapping::sys::mremap(&w.mm, &w.task, &request).expect("room");
    let frames: Vec<Pfn> = pages.iter().map(Page::pfn).collect();
    assert!(!here.uses(&w.mm, addr, frames[..1].iter().copied()));
    assert!(here.uses(&w.mm, addr.wrapping_add(PAGE_SIZE), frames[1..].iter().copied()));
    assert_eq!(w.ledger.reports().len(), 1);
    for page in pages {
        here.unpin_user_page(&w.machine, page);
    }
}

#[test]
fn a_leak_is_named_by_its_site_and_what_nobody_holds_cannot_be_given_back() {
    let w = World::new();
    let addr = w.map(0, 3);
    let here = w.ledger.labelled("probe");
    let pages = here.pin_user_pages(&w.task, &w.mm, addr, 3, Foll::WRITE).expect("memory");
    let leaks = w.ledger.leaks();
    let mistake = Mistake::Leak { taken: Held::Pin, at: Site::Label("probe") };
    assert_eq!((leaks.len(), leaks[0].mistake, leaks[0].pages), (1, mistake, 3));
    assert_eq!(w.ledger.machine_pins(), 3);
    let first = pages[0].pfn();
    for page in pages {
        here.unpin_user_page(&w.machine, page);
    }
    assert_eq!(w.ledger.labelled("remove").gave_back(Held::Pin, first), None);
    let text = w.texts();
    assert!(text[0].contains("unpin_user_page at remove, but nobody holds it"), "{text:?}");
}

#[test]
fn two_holders_of_one_page_are_told_apart_by_how_they_hold_it() {
    let w = World::new();
    let addr = w.map(0, 1);
    let (get, pin) = (w.ledger.labelled("get"), w.ledger.labelled("pin"));
    let got = get.get_user_pages(&w.task, &w.mm, addr, 1, Foll::WRITE).expect("memory");
    let pinned = pin.pin_user_pages(&w.task, &w.mm, addr, 1, Foll::WRITE).expect("memory");
    for page in got {
        get.put_page(&w.machine, page);
    }
    for page in pinned {
        pin.unpin_user_page(&w.machine, page);
    }
    assert_eq!(w.texts(), [""; 0]);
    let refused =
        pin.pin_user_pages(&w.task, &w.mm, addr.wrapping_add(PAGE_SIZE), 1, Foll::empty());
    assert_eq!((refused, w.ledger.held()), (Err(Errno::EFAULT), 0));
}

#[test]
fn runs_and_guards_can_be_entered_by_hand() {
    let w = World::new();
    let addr = w.map(0, 3);
    let pins = w.mm.pin::<Read>(&w.task, addr, 3).expect("memory");
    let here = w.ledger.here();
    here.took(Held::Pin, &w.mm, addr, pins.frames().iter().copied());
    assert_eq!(w.ledger.held(), 3);
    for pfn in pins.frames() {
        assert_eq!(here.gave_back(Held::Pin, *pfn), Some(Held::Pin));
    }
    drop(pins);
    assert_eq!((w.ledger.held(), w.texts().len()), (0, 0));
}

/// Numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Where a buffer is, and what a driver that is right holds of it.
struct Buffer {
    addr: VirtAddr,
    pages: u64,
    registered: Option<Vec<Page>>,
}

/// A driver that is right: it registers, uses and unregisters, and lets go before memory goes.
struct Driver<'w> {
    w: &'w World,
    numbers: Numbers,
    buffers: Vec<Option<Buffer>>,
    child: Option<Arc<Mm<Host>>>,
}

impl Driver<'_> {
    fn step(&mut self) {
        let slot = self.numbers.below(self.buffers.len() as u64);
        let at = usize::try_from(slot).expect("small");
        let Some(buffer) = &mut self.buffers[at] else {
            let pages = 1 + self.numbers.below(6);
            let addr = self.w.map(slot * 8, pages);
            self.buffers[at] = Some(Buffer { addr, pages, registered: None });
            return;
        };
        let (w, addr, count) = (self.w, buffer.addr, usize::try_from(buffer.pages).expect("small"));
        let deed = self.numbers.below(10);
        match (deed, buffer.registered.take()) {
            (0, None) => {
                w.unmap(addr, buffer.pages);
                self.buffers[at] = None;
            }
            (1, None) => {
                let bytes = buffer.pages << PAGE_SHIFT;
                mapping::madvise(&w.mm, &w.task, addr, bytes, Advice::DontNeed).expect("an area");
            }
            (2..=4, None) => {
                let foll = if deed == 2 { Foll::WRITE | Foll::LONGTERM } else { Foll::WRITE };
                let here = w.ledger.here();
                let pages = here.pin_user_pages(&w.task, &w.mm, addr, count, foll);
                buffer.registered = Some(pages.expect("memory"));
            }
            (0..=2, Some(pages)) => {
                for page in pages {
                    w.ledger.here().unpin_user_page(&w.machine, page);
                }
            }
            (3..=5, Some(pages)) => {
                assert!(w.ledger.here().uses(&w.mm, addr, pages.iter().map(Page::pfn)));
                buffer.registered = Some(pages);
            }
            (6, registered) => {
                buffer.registered = registered;
                self.child = match self.child.take() {
                    None => mapping::fork(&mut w.mm.write(), &w.task).ok(),
                    Some(_) => None,
                };
            }
            (7, registered) => {
                buffer.registered = registered;
                for page in w
                    .ledger
                    .here()
                    .get_user_pages(&w.task, &w.mm, addr, count, Foll::empty())
                    .expect("memory")
                {
                    w.ledger.here().put_page(&w.machine, page);
                }
            }
            (_, registered) => {
                buffer.registered = registered;
                drop(w.mm.pin::<Write>(&w.task, addr, count).expect("memory"));
            }
        }
    }
    fn end(mut self) {
        for pages in self.buffers.iter_mut().flatten().filter_map(|buffer| buffer.registered.take())
        {
            for page in pages {
                self.w.ledger.here().unpin_user_page(&self.w.machine, page);
            }
        }
    }
}

#[test]
fn a_driver_that_is_right_is_never_reported_in_100_000_steps() {
    let w = World::new();
    let buffers = std::iter::repeat_with(|| None).take(24).collect();
    let mut driver =
        Driver { w: &w, numbers: Numbers(0x9e37_79b9_7f4a_7c15), buffers, child: None };
    for step in 0..100_000 {
        driver.step();
        assert!(step % 1000 != 0 || w.ledger.reports().is_empty(), "{step}: {:?}", w.texts());
    }
    driver.end();
    assert_eq!(w.texts(), [""; 0]);
    assert_eq!((w.ledger.leaks().len(), w.ledger.machine_pins()), (0, 0));
}
