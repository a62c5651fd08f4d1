//! The stage of a case: a machine with swap, processes on it, and what they do.
//!
//! *Snapshot*: the first bytes of the sampled pages of a range; every page of a range up to 512
//! pages is sampled, a few thousand apart of a larger one. *Held*: pages that a pipe or a device
//! has, with what is in them now. Invariant: nothing is read or written past an entry that does not
//! allow it.
//! Absent: what must hold ([`super::bodies`]).
//! Linux: the system calls that the functions are named for.

use crate::ram::Ram;
use gup::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::{Fault, FaultCx, handle_mm_fault};
use gup::flags::{FaultFlags, Foll, Prot, VmFlags};
use gup::frame::{FramesConfig, Kind, Zone};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page, gup};
use gup::host::{Host as _, Memory};
use gup::linux::Linux;
use gup::mapping::{Advice, GrowProt, MmapRequest, MremapFlags, MremapRequest, fork, madvise, sys};
use gup::memory::HeapMemory;
use gup::mm::{Lock, Machine, MachineConfig, Mm};
use gup::observe::{Event, Observer};
use gup::pgtable::{Action, Visit};
use gup::rule::Rule;
use gup::task::Task;
use gup_hosted::Std;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

/// The host of the cases.
pub(super) type Host = Std<HeapMemory, Seen>;

/// The rules that decided in a case, each with the place of its first decision.
pub type Decided = BTreeMap<Rule, &'static Location<'static>>;

/// Keeps which rules decided.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Decided>);

impl Observer for Seen {
    const ON: bool = true;
    fn event(&self, event: &Event, at: &'static Location<'static>) {
        if let Event::Rule { rule, .. } = event {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.entry(*rule).or_insert(at);
        }
    }
}

/// Where cases map: a multiple of every page size.
const ARENA: u64 = 0x2000_0000_0000;
/// Slots of swap.
const SWAP_SLOTS: u64 = 2048;
/// Pages that a pipe takes.
const PIPE: u64 = 16;
/// Of a larger range, only some pages are looked at.
const ALL_SAMPLED: u64 = 512;
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// Why a case did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It cannot be played here.
    Cannot(String),
    /// What must hold does not.
    Broken(String),
}

impl Failure {
    pub(super) fn broken(what: impl Into<String>) -> Self {
        Self::Broken(what.into())
    }
    pub(super) fn cannot(why: impl Into<String>) -> Self {
        Self::Cannot(why.into())
    }
}

/// A call that must not fail failed.
pub(super) fn must<T>(call: &str, result: Result<T, Errno>) -> Result<T, Failure> {
    result.map_err(|errno| Failure::broken(format!("{call}: errno {}", errno.raw())))
}

/// Whether something holds.
pub(super) fn holds(what: &str, is: bool) -> Result<(), Failure> {
    if is { Ok(()) } else { Err(Failure::broken(what)) }
}

/// A range of whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: VirtAddr,
    pub(super) pages: u64,
}

impl Span {
    /// `pages` pages in the arena's part `n`; parts are far apart.
    pub(super) fn part(n: u64, pages: u64) -> Self {
        Self { start: VirtAddr::new(ARENA + (n << 40)), pages }
    }
    pub(super) fn bytes(self) -> u64 {
        self.pages << PAGE_SHIFT
    }
    pub(super) fn range(self) -> VirtRange {
        VirtRange::new(self.start, self.page(self.pages))
    }
    /// The address of page `n`.
    pub(super) fn page(self, n: u64) -> VirtAddr {
        self.start.saturating_add(n << PAGE_SHIFT)
    }
    /// `pages` pages from page `n` on.
    pub(super) fn sub(self, n: u64, pages: u64) -> Self {
        Self { start: self.page(n), pages }
    }
    /// As much of it as a pipe takes.
    pub(super) fn piped(self) -> Self {
        Self { pages: self.pages.min(PIPE), ..self }
    }
}

/// The pages that are looked at, of this many.
fn samples(pages: u64) -> impl Iterator<Item = u64> {
    let all = pages.min(ALL_SAMPLED);
    let some = (all..pages).filter(move |n| n % 16_384 == 0 || n + 1 == pages);
    (0..all).chain(some)
}

/// The machine of a case.
pub(super) struct Stage {
    pub(super) machine: Arc<Machine<Host>>,
}

impl Stage {
    /// A machine with `frames` frames whose faults may use folios of the sizes in `orders`.
    /// # Panics
    /// The host has no memory for it.
    pub(super) fn new(frames: u64, orders: u16) -> Self {
        let mut config = MachineConfig::new(Linux::V6_18, frames);
        config.sysctl.thp_orders = orders;
        Self::with(config, frames)
    }
    /// A machine half of whose frames may not be held for long.
    /// # Panics
    /// The host has no memory for it.
    pub(super) fn with_movable(frames: u64) -> Self {
        let mut config = MachineConfig::new(Linux::V6_18, frames);
        config.frames = FramesConfig::normal(frames / 2).and(Zone::Movable, 0, frames / 2);
        Self::with(config, frames)
    }
    fn with(config: MachineConfig, frames: u64) -> Self {
        #[cfg(feature = "mutate")]
        if let Some(rule) = std::env::var("GUP_RULE_OFF").ok().and_then(|id| Rule::parse(&id)) {
            gup::rule::mutate::switch_off(rule);
        }
        let host = Std::new(HeapMemory::new(frames), Seen::default());
        let machine = Machine::new(host, config).expect("memory for the zero page");
        machine.swap().on(Arc::new(Ram::default()), SWAP_SLOTS);
        Self { machine }
    }
    /// The rules that decided so far.
    pub(super) fn decided(&self) -> Decided {
        self.machine.host().observer().0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// A process with nothing mapped.
    /// # Panics
    /// There is no frame for its root table.
    pub(super) fn process(&self) -> Process {
        let mm = Mm::new(&self.machine).expect("memory for a root");
        Process { mm, task: Task::default() }
    }
    /// Whether anonymous pages are left though every process is gone.
    pub(super) fn leaks(&self) -> bool {
        self.machine.frames().stats().of(Kind::Anon) != 0
    }
}

/// A process.
pub(super) struct Process {
    pub(super) mm: Arc<Mm<Host>>,
    pub(super) task: Task,
}

impl Process {
    /// Maps what `request` says at the span's start.
    pub(super) fn map(&self, span: Span, request: MmapRequest<Host>) -> Result<(), Failure> {
        must("mmap", sys::mmap(&self.mm, &self.task, &request.at(span.start))).map(drop)
    }
    /// Maps private anonymous memory.
    pub(super) fn map_anon(&self, span: Span) -> Result<(), Failure> {
        self.map(span, MmapRequest::anonymous(span.bytes(), RW))
    }
    pub(super) fn unmap(&self, span: Span) -> Result<(), Failure> {
        must("munmap", sys::munmap(&self.mm, span.start, span.bytes()))
    }
    pub(super) fn protect(&self, span: Span, prot: Prot) -> Result<(), Failure> {
        let (mm, task) = (&self.mm, &self.task);
        let done = sys::mprotect(mm, task, span.start, span.bytes(), prot, GrowProt::Exact);
        must("mprotect", done)
    }
    /// Read-only, and writable again: entries may stay read-only.
    pub(super) fn protect_and_back(&self, span: Span) -> Result<(), Failure> {
        self.protect(span, Prot::READ)?;
        self.protect(span, RW)
    }
    pub(super) fn advise(&self, span: Span, advice: Advice) -> Result<(), Errno> {
        madvise(&self.mm, &self.task, span.start, span.bytes(), advice)
    }
    pub(super) fn remap(&self, from: Span, to: Span) -> Result<(), Failure> {
        let request = MremapRequest {
            addr: from.start,
            old_bytes: from.bytes(),
            new_bytes: from.bytes(),
            flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
            new_addr: to.start,
        };
        must("mremap", sys::mremap(&self.mm, &self.task, &request)).map(drop)
    }
    pub(super) fn fork(&self) -> Result<Self, Failure> {
        let mm = must("fork", fork(&mut self.mm.write(), &self.task))?;
        Ok(Self { mm, task: Task::default() })
    }
    /// The child does not get `without`.
    pub(super) fn fork_without(&self, without: Option<Span>) -> Result<Self, Failure> {
        let advise = |advice| match without {
            Some(span) => must("madvise", self.advise(span, advice)),
            None => Ok(()),
        };
        advise(Advice::DontFork)?;
        let child = self.fork()?;
        advise(Advice::DoFork)?;
        Ok(child)
    }
    /// Makes entries read-only whose area is writable, as clearing their soft-dirty marks does.
    pub(super) fn clear_soft_dirty(&self, span: Span) -> Result<(), Failure> {
        let done = self.mm.tables().for_each(span.range(), &mut |visit: &Visit<_>| {
            let level = visit.place.level;
            if !visit.entry.is_leaf(level) {
                return Action::Keep;
            }
            Action::Replace(visit.entry.map_perms(level, |perms| perms.write = false))
        });
        must("clear_refs", done.map_err(|_| Errno::ENOMEM))?;
        let writable = samples(span.pages).any(|n| self.reach_now(span.page(n), true).is_some());
        holds("an entry stays read-only after its marks are cleared", !writable)
    }
}

impl Process {
    /// The frame that the processor reaches at `at`, if the entry allows the access.
    pub(super) fn reach_now(&self, at: VirtAddr, write: bool) -> Option<Pfn> {
        let found = self.mm.tables().walk(at);
        let perms = found.entry.perms(found.place.level)?;
        let allowed = !perms.protnone && (perms.write || !write);
        if allowed { found.frame(at) } else { None }
    }
    /// The same, after as many faults as it takes; `None` is a signal.
    fn reach(&self, at: VirtAddr, write: bool) -> Option<Pfn> {
        let wanted = if write { VmFlags::WRITE } else { VmFlags::ACCESS };
        let mut flags = FaultFlags::USER | FaultFlags::ALLOW_RETRY | FaultFlags::KILLABLE;
        flags.set(FaultFlags::WRITE, write);
        for _ in 0..16 {
            if let Some(pfn) = self.reach_now(at, write) {
                return Some(pfn);
            }
            let map = self.mm.read();
            let vma = map.lookup(at).filter(|vma| vma.flags.intersects(wanted))?;
            let cx = FaultCx { mm: &self.mm, map: &map, vma, task: &self.task };
            if let Fault::Failed(_) = handle_mm_fault(&cx, at, flags) {
                return None;
            }
        }
        None
    }
    /// Stores a word at the start of the page; false is a signal.
    pub(super) fn store(&self, at: VirtAddr, word: u64) -> bool {
        let Some(pfn) = self.reach(at, true) else { return false };
        let (tables, machine) = (self.mm.tables(), self.mm.machine());
        let found = tables.walk(at);
        let level = found.place.level;
        // As the hardware does.
        let guard = tables.lock(found.place.table);
        tables.store(found.place, found.entry.map_perms(level, |perms| perms.dirty = true));
        drop(guard);
        machine.memory().write(pfn, 0, &word.to_le_bytes());
        true
    }
    /// Loads the word at the start of the page; `None` is a signal.
    pub(super) fn load(&self, at: VirtAddr) -> Option<u64> {
        self.reach(at, false).map(|pfn| word_of(self.mm.machine(), pfn))
    }
    /// Stores to every sampled page words that begin with `tag`.
    pub(super) fn fill(&self, span: Span, tag: u8) -> Result<(), Failure> {
        let stored = samples(span.pages)
            .all(|n| self.store(span.page(n), u64::from(tag) << 56 | (n & 0xffff_ffff)));
        holds("a store to writable memory succeeds", stored)
    }
    pub(super) fn snapshot(&self, span: Span) -> Result<Vec<u64>, Failure> {
        let words: Option<Vec<u64>> =
            samples(span.pages).map(|n| self.load(span.page(n))).collect();
        words.ok_or_else(|| Failure::broken("a load from readable memory succeeds"))
    }
    /// Puts the pages into a pipe.
    pub(super) fn splice(&self, span: Span) -> Result<Held, Failure> {
        self.grab(How::Reference, span, |pages| {
            fast(FastEntry::Get, &self.task, &self.mm, span.start, span.pages, Foll::empty(), pages)
        })
        .map_err(|errno| Failure::broken(format!("vmsplice: errno {}", errno.raw())))
    }
    /// Pins the pages for long.
    pub(super) fn pin(&self, pin: Pin, span: Span) -> Result<Held, Errno> {
        let foll = if pin.write { Foll::LONGTERM | Foll::WRITE } else { Foll::LONGTERM };
        self.grab(How::Pin, span, |pages| {
            if pin.fast {
                let (task, mm) = (&self.task, &self.mm);
                return fast(FastEntry::Pin, task, mm, span.start, span.pages, foll, pages);
            }
            let mut lock = Lock::Read(self.mm.read());
            let (task, out) = (&self.task, Some(pages));
            gup(Entry::Pin, task, &mut lock, span.start, span.pages, foll, out, Locked::Null)
        })
    }
    fn grab(
        &self,
        how: How,
        span: Span,
        call: impl FnOnce(&mut [Option<Page>]) -> gup::gup::Outcome,
    ) -> Result<Held, Errno> {
        let slots = usize::try_from(span.pages).unwrap_or(0);
        let mut pages: Vec<Option<Page>> = std::iter::repeat_with(|| None).take(slots).collect();
        let outcome = call(&mut pages);
        let frames = pages.iter().flatten().map(Page::pfn).collect();
        let held = Held { machine: Arc::clone(self.mm.machine()), frames, how };
        if outcome.got == span.pages {
            return Ok(held);
        }
        Err(outcome.errno().unwrap_or(Errno::EFAULT))
    }
}

/// How pages are pinned for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    pub(super) write: bool,
    pub(super) fast: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Reference,
    Pin,
}

/// Pages that somebody holds; given back when dropped.
pub(super) struct Held {
    machine: Arc<Machine<Host>>,
    frames: Vec<Pfn>,
    how: How,
}

impl Held {
    /// What is in the pages now.
    pub(super) fn snapshot(&self) -> Vec<u64> {
        let frame = |n| usize::try_from(n).ok().and_then(|n: usize| self.frames.get(n));
        let sampled = samples(self.frames.len() as u64).filter_map(frame);
        sampled.map(|pfn| word_of(&self.machine, *pfn)).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for pfn in &self.frames {
            match self.how {
                How::Reference => self.machine.put_page(*pfn),
                How::Pin => self.machine.unpin_pages(*pfn, 1),
            }
        }
    }
}

fn word_of(machine: &Machine<Host>, pfn: Pfn) -> u64 {
    let mut bytes = [0; 8];
    machine.memory().read(pfn, 0, &mut bytes);
    u64::from_le_bytes(bytes)
}
