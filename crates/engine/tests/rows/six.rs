//! Calls of 6.18's family, for the C-rows, and what they answered.

use crate::support::{FRAMES, World, kept_in, row_in};
use gup::addr::{Pfn, VirtAddr};
use gup::flags::Foll;
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Outcome, Page, gup};
use gup::linux::{Kernel, Linux, Version};
use gup::mm::{Lock, MachineConfig};
use gup::rule::Rule;

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub entry: Entry,
    pub foll: Foll,
    pub start: VirtAddr,
    pub nr_pages: u64,
    pub pages: bool,
    pub locked: Locked,
}

/// What it answered. The pages were given back already.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// The kernel's return value.
    pub ret: i64,
    pub frames: Vec<Pfn>,
    /// References and pins of each frame while it was held.
    pub counts: Vec<(u32, u32)>,
    pub lock_held: bool,
    /// The rule that stopped the call, hidden or not.
    pub rule: Option<Rule>,
}

impl Ask {
    /// Through `entry`, `nr_pages` pages from `start` on; `locked` is NULL.
    pub fn new(entry: Entry, foll: Foll, start: VirtAddr, nr_pages: u64) -> Self {
        Self { entry, foll, start, nr_pages, pages: true, locked: Locked::Null }
    }
    pub fn of(self, w: &World) -> Told {
        let slots = usize::try_from(self.nr_pages.min(1 << 12)).unwrap();
        let mut pages: Vec<Option<Page>> = (0..slots).map(|_| None).collect();
        let mut lock = match self.entry {
            Entry::GetUnlocked | Entry::PinUnlocked => Lock::Dropped(&w.mm),
            Entry::Get | Entry::GetRemote | Entry::Pin | Entry::PinRemote => {
                Lock::Read(w.mm.read())
            }
        };
        let out = self.pages.then_some(&mut pages[..]);
        let (start, nr) = (self.start, self.nr_pages);
        let outcome = gup(self.entry, &w.task, &mut lock, start, nr, self.foll, out, self.locked);
        let lock_held = lock.is_held();
        drop(lock);
        told(w, pins(self.entry), self.entry.code(outcome), outcome, pages, lock_held)
    }
}

/// A call of a fast entry point.
pub fn ask_fast(w: &World, entry: FastEntry, foll: Foll, start: VirtAddr, nr: u64) -> Told {
    let slots = usize::try_from(nr.min(1 << 12)).unwrap();
    let mut pages: Vec<Option<Page>> = (0..slots).map(|_| None).collect();
    let outcome = fast(entry, &w.task, &w.mm, start, nr, foll, &mut pages);
    told(w, entry == FastEntry::Pin, outcome.code(), outcome, pages, false)
}

fn pins(entry: Entry) -> bool {
    match entry {
        Entry::Pin | Entry::PinRemote | Entry::PinUnlocked => true,
        Entry::Get | Entry::GetRemote | Entry::GetUnlocked => false,
    }
}

fn told(
    w: &World,
    pinned: bool,
    ret: i64,
    outcome: Outcome,
    pages: Vec<Option<Page>>,
    lock_held: bool,
) -> Told {
    let frames: Vec<Pfn> = pages.into_iter().flatten().map(|page| page.pfn()).collect();
    let meta = w.machine.frames();
    let counts = frames.iter().map(|pfn| (meta.refs(*pfn), meta.pins(*pfn))).collect();
    for pfn in &frames {
        if pinned {
            w.machine.unpin_pages(*pfn, 1);
        } else {
            w.machine.put_page(*pfn);
        }
    }
    Told { ret, frames, counts, lock_held, rule: outcome.stop.map(|stop| stop.rule) }
}

/// Runs the test of `rule` on a machine of 6.18.
#[track_caller]
pub fn row6(rule: Rule, body: impl FnOnce(&World)) {
    row_in(rule, World::new(Linux::V6_18), body);
}

/// Runs the test of a row that other rules keep, on a machine of 6.18.
#[track_caller]
pub fn kept6(row: Rule, by: &[Rule], body: impl FnOnce(&World)) {
    kept_in(row, by, World::new(Linux::V6_18), body);
}

/// Runs the test of a row that the kernels in between have, on a machine of `version`.
#[track_caller]
pub fn row_of(rule: Rule, version: Version, body: impl FnOnce(&World)) {
    row_in(rule, world(version), body);
}

/// Runs `body` on a machine of `version`, for what it does not do.
pub fn world_of(version: Version, body: impl FnOnce(&World)) {
    let world = world(version);
    body(&world);
    world.end();
}

fn world(version: Version) -> World {
    let world = World::new(Linux::V6_18);
    world.host().kernel.set(Kernel::released(version)).expect("a fresh host");
    world
}

/// A configuration of 6.18 to change.
pub fn config() -> MachineConfig {
    MachineConfig::new(Linux::V6_18, FRAMES)
}
