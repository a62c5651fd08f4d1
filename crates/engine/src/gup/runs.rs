//! Pinned pages as runs of contiguous frames: what a device driver wants, at a cost by folio.
//!
//! *Run*: frames that follow one another, for pages that follow one another. *Segment*: a part of a
//! run that a device can take in one descriptor. A huge page that is mapped whole is one grab, one
//! run, and one unpin, however many base pages it has; [`super::Pins`] has a slot for each.
//!
//! Invariant: each frame of each run carries one pin (on v4.4 one reference) of this value's.
//! Absent: device addresses; segments are addresses in the machine's memory.
//! Linux: mm/gup.c `pin_user_pages_fast`, `unpin_user_page_range_dirty_lock`; lib/scatterlist.c
//! `sg_alloc_table_from_pages_segment` (6.18).

use super::family::{Entry, Locked, gup};
use super::fast::range;
use super::fast_walk::{Taken, lockless};
use super::outcome::Outcome;
use super::page::Page;
use super::pins::{Direction, GupError, Write, get_under_lock};
use super::segments::{SegmentLimits, Segments};
use super::stop::Stop;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, PMD_ORDER, Pfn, VirtAddr};
use crate::flags::Foll;
use crate::frame::{FrameFlags, FrameTable};
use crate::host::{Host, Memory};
use crate::linux::Linux;
use crate::mm::{Lock, Machine, Mm};
use crate::task::Task;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;

/// Contiguous frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// The first frame.
    pub first: Pfn,
    /// How many base pages; never 0.
    pub pages: u64,
}

impl Run {
    /// The address of its first byte in the machine's memory.
    #[inline]
    pub const fn address(self) -> u64 {
        self.first.get() << PAGE_SHIFT
    }
    /// Its length in bytes.
    #[inline]
    pub const fn bytes(self) -> u64 {
        self.pages << PAGE_SHIFT
    }
    /// Its parts that lie in one folio each, in order.
    fn by_folio(self, frames: &FrameTable) -> impl Iterator<Item = Self> {
        let mut rest = self;
        core::iter::from_fn(move || {
            if rest.pages == 0 {
                return None;
            }
            let in_folio = frames.folio_frames(rest.first)
                - (rest.first.get() - frames.head(rest.first).get());
            let pages = in_folio.clamp(1, rest.pages);
            let part = Self { first: rest.first, pages };
            rest = Self { first: rest.first.offset(pages), pages: rest.pages - pages };
            Some(part)
        })
    }
    /// How many base pages, for counts; a folio has fewer than 2^32.
    fn count(self) -> u32 {
        u32::try_from(self.pages).unwrap_or(u32::MAX)
    }
}

/// How long pages are to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// For the time of one transfer.
    Short,
    /// For as long as somebody likes (`FOLL_LONGTERM`): memory that must stay movable, and files
    /// whose dirty pages are tracked, refuse. v4.4 knows no difference.
    Long,
}

impl Term {
    const fn foll(self) -> Foll {
        match self {
            Self::Short => Foll::empty(),
            Self::Long => Foll::LONGTERM,
        }
    }
}

/// Runs in the making: what follows on the last one lengthens it.
#[derive(Debug, Default)]
struct Collected(Vec<Run>);

impl Collected {
    fn push(&mut self, first: Pfn, pages: u64) {
        match self.0.last_mut() {
            Some(last) if last.first.offset(last.pages) == first => last.pages += pages,
            Some(_) | None => self.0.push(Run { first, pages }),
        }
    }
}

impl Taken for Collected {
    #[inline]
    fn put(&mut self, _: u64, pfn: Pfn, count: u64) {
        self.push(pfn, count);
    }
    fn give_back<H: Host>(&mut self, machine: &Machine<H>, _: u64) {
        release(machine, &core::mem::take(&mut self.0));
    }
}

/// Gives the pins (v4.4: references) of `runs` back, folio by folio (row C-90).
fn release<H: Host>(machine: &Machine<H>, runs: &[Run]) {
    let frames = machine.frames();
    for part in runs.iter().flat_map(|run| run.by_folio(frames)) {
        match machine.linux() {
            Linux::V4_4 => machine.put_pages(part.first, part.count()),
            Linux::V6_18 => machine.unpin_pages(part.first, part.count()),
        }
    }
}

/// Pages of one call as runs, pinned until this is dropped.
#[must_use = "dropping the runs gives the pages back at once"]
pub struct PinnedRuns<H: Host, D: Direction> {
    machine: Arc<Machine<H>>,
    runs: Vec<Run>,
    pages: u64,
    stopped: Option<GupError>,
    direction: PhantomData<D>,
}

impl<H: Host, D: Direction> PinnedRuns<H, D> {
    /// The machine whose pages they are.
    pub fn machine(&self) -> &Arc<Machine<H>> {
        &self.machine
    }
    /// How many base pages are held.
    pub fn pages(&self) -> u64 {
        self.pages
    }
    /// How many bytes that is.
    pub fn bytes(&self) -> u64 {
        self.pages << PAGE_SHIFT
    }
    /// Whether nothing is held: only if nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }
    /// The runs, in the order of the pages. No run goes on where the one before it ends.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }
    /// Each page's frame, in the order of the pages.
    pub fn frames(&self) -> impl Iterator<Item = Pfn> {
        self.runs.iter().flat_map(|run| (0..run.pages).map(|n| run.first.offset(n)))
    }
    /// What refused the page after the last one held, if the request was not met whole.
    pub fn stopped(&self) -> Option<&GupError> {
        self.stopped.as_ref()
    }
    /// The segments that make up `bytes`, for a device with these limits.
    ///
    /// Bytes count from the first byte of the first page; those that are not held are left out. All
    /// of them: `0..runs.bytes()`; what lay at the `start` of the call: from `start.page_offset()`
    /// on.
    pub fn segments(&self, bytes: Range<u64>, limits: SegmentLimits) -> Segments<'_> {
        let end = bytes.end.min(self.bytes());
        Segments::new(&self.runs, bytes.start.min(end)..end, limits)
    }
    /// Reads bytes from byte `offset` on, counted from the first page's first byte; how many, fewer
    /// at the end.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        for (pfn, within, count) in self.parts(offset, into.len()) {
            self.machine.memory().read(pfn, within, &mut into[done..done + count]);
            done += count;
        }
        done
    }
    /// Frame, offset in it and number of bytes, page by page: at most `len` bytes from `offset` on.
    fn parts(&self, offset: u64, len: usize) -> impl Iterator<Item = (Pfn, usize, usize)> {
        let page = Some(PAGE_SIZE);
        let limits = SegmentLimits::new(PAGE_SIZE, page).unwrap_or_default();
        let end = offset.saturating_add(len as u64);
        self.segments(offset..end, limits).map(|segment| {
            let within = segment.address & (PAGE_SIZE - 1);
            (Pfn::new(segment.address >> PAGE_SHIFT), within as usize, segment.bytes as usize)
        })
    }
    /// Gives all pages back, as dropping does.
    pub fn unpin(self) {}
}

impl<H: Host> PinnedRuns<H, Write> {
    /// Writes bytes from byte `offset` on, counted from the first page's first byte, and marks the
    /// folios dirty; how many, fewer at the end.
    pub fn write(&self, offset: u64, from: &[u8]) -> usize {
        let mut done = 0;
        for (pfn, within, count) in self.parts(offset, from.len()) {
            self.machine.memory().write(pfn, within, &from[done..done + count]);
            self.machine.frames().set(pfn, FrameFlags::DIRTY);
            done += count;
        }
        done
    }
    /// Marks every folio dirty under its lock, once each, then gives all pages back: for devices
    /// that wrote (row C-91). May wait for a folio's lock.
    pub fn unpin_dirty(self) {
        let frames = self.machine.frames();
        for part in self.runs.iter().flat_map(|run| run.by_folio(frames)) {
            let _locked = frames.lock_folio(part.first);
            frames.set(part.first, FrameFlags::DIRTY);
        }
    }
}

impl<H: Host, D: Direction> Drop for PinnedRuns<H, D> {
    fn drop(&mut self) {
        release(&self.machine, &self.runs);
    }
}

impl<H: Host, D: Direction> fmt::Debug for PinnedRuns<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedRuns").field("runs", &self.runs).finish_non_exhaustive()
    }
}

impl<H: Host> Mm<H> {
    /// Pins up to `pages` pages as runs, beginning with the page that contains `start`: a pin on a
    /// 6.18 machine, a reference on a v4.4 one. `start` is a byte address, aligned or not.
    ///
    /// Takes no lock for what is present and can be pinned as it stands, and the mmap lock for
    /// reading, 2 MiB at a time, for the rest: the caller must not hold it. Fewer than `pages`:
    /// [`PinnedRuns::stopped`] says what refused the next one. 0 pins nothing.
    /// # Errors
    /// [`GupError`] if not even the first page could be pinned; nothing is held then.
    /// # Linux
    /// `pin_user_pages_fast` (6.18), `get_user_pages` (v4.4).
    pub fn pin_runs<D: Direction>(
        &self,
        task: &Task,
        start: VirtAddr,
        pages: u64,
        term: Term,
    ) -> Result<PinnedRuns<H, D>, GupError> {
        let start = start.page_floor();
        let (collected, outcome) = match self.machine().linux() {
            Linux::V4_4 => Wanted { task, start, pages, foll: D::FOLL }.by_reference(self),
            Linux::V6_18 => Wanted { task, start, pages, foll: D::FOLL | term.foll() }.by_pin(self),
        };
        let index = outcome.got;
        let addr = start.wrapping_add(index << PAGE_SHIFT);
        let stopped =
            outcome.stop.map(|Stop { rule, errno }| GupError { rule, errno, addr, index });
        match stopped {
            Some(error) if index == 0 => Err(error),
            stopped => Ok(PinnedRuns {
                machine: Arc::clone(self.machine()),
                runs: collected.0,
                pages: index,
                stopped,
                direction: PhantomData,
            }),
        }
    }
}

/// A request, and how far it got.
struct Wanted<'t> {
    task: &'t Task,
    start: VirtAddr,
    pages: u64,
    foll: Foll,
}

impl Wanted<'_> {
    /// 6.18: the walk without a lock, and where it ends the slow path, to the end of the table at
    /// most; then the walk again.
    fn by_pin<H: Host>(&self, mm: &Mm<H>) -> (Collected, Outcome) {
        let mut runs = Collected::default();
        if let Err(stop) = range(mm.machine().host(), self.start, self.pages) {
            return (runs, Outcome::stopped(0, stop));
        }
        mm.set_has_pinned();
        let mut slots = Vec::new();
        let mut got = 0;
        while got < self.pages {
            let at = self.start.wrapping_add(got << PAGE_SHIFT);
            got += self.walk(mm, at, self.pages - got, &mut runs);
            if got == self.pages {
                break;
            }
            let at = self.start.wrapping_add(got << PAGE_SHIFT);
            let in_table = (1 << PMD_ORDER) - (at.page_number() & ((1 << PMD_ORDER) - 1));
            let nr_pages = in_table.min(self.pages - got);
            slots.resize_with(nr_pages as usize, || None);
            let outcome = self.slow(mm, at, &mut slots);
            for page in slots.drain(..).flatten() {
                runs.push(page.pfn(), 1);
            }
            got += outcome.got;
            if outcome.stop.is_some() || outcome.got == 0 {
                return (runs, Outcome { got, stop: outcome.stop });
            }
        }
        (runs, Outcome::full(got))
    }
    fn walk<H: Host>(&self, mm: &Mm<H>, at: VirtAddr, pages: u64, runs: &mut Collected) -> u64 {
        // Its own, since a fork that comes between makes the whole walk come to nothing.
        let mut taken = Collected::default();
        let got = lockless(mm, at, pages, self.foll | Foll::PIN, &mut taken);
        for run in taken.0 {
            runs.push(run.first, run.pages);
        }
        got
    }
    fn slow<H: Host>(&self, mm: &Mm<H>, at: VirtAddr, slots: &mut [Option<Page>]) -> Outcome {
        let (entry, lock) = (Entry::PinUnlocked, &mut Lock::Dropped(mm));
        let nr_pages = slots.len() as u64;
        gup(entry, self.task, lock, at, nr_pages, self.foll, Some(slots), Locked::Null)
    }
    /// v4.4: references, under the lock, 2 MiB at a time.
    fn by_reference<H: Host>(&self, mm: &Mm<H>) -> (Collected, Outcome) {
        let mut runs = Collected::default();
        let lock = mm.read();
        let mut slots = Vec::new();
        let mut got = 0;
        while got < self.pages {
            let nr_pages = (self.pages - got).min(1 << PMD_ORDER);
            slots.resize_with(nr_pages as usize, || None);
            let at = self.start.wrapping_add(got << PAGE_SHIFT);
            let outcome = get_under_lock(self.task, &lock, at, self.foll, &mut slots);
            for page in slots.drain(..).flatten() {
                runs.push(page.pfn(), 1);
            }
            got += outcome.got;
            if outcome.stop.is_some() || outcome.got == 0 {
                return (runs, Outcome { got, stop: outcome.stop });
            }
        }
        (runs, Outcome::full(got))
    }
}
