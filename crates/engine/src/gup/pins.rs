//! Pages held, as values: given back when dropped, and never more often than taken.
//!
//! [`Pins`] owns the pages of one call; what may be done with their bytes is its type ([`Read`],
//! [`Write`]). Invariant: each frame in it carries one reference (or pin) that belongs to this
//! value. The kernel hides the reason of a short count; [`Pins::stopped`] keeps it.

use super::family::{Entry, Locked, gup};
use super::outcome::Outcome;
use super::page::Page;
use super::request::{Cx, Output, Request};
use super::slow::pass;
use super::stop::{End, Stop};
use super::v4_4::V4_4;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::errno::Errno;
use crate::flags::Foll;
use crate::frame::FrameFlags;
use crate::host::{Host, Memory};
use crate::linux::Linux;
use crate::mm::{Lock, Machine, Mm, MmRead};
use crate::rule::{Rule, f};
use crate::task::Task;
use crate::vma::Vma;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

/// The bytes are only read.
#[derive(Clone, Copy, Debug)]
pub enum Read {}
/// The bytes are read and written.
#[derive(Clone, Copy, Debug)]
pub enum Write {}

mod sealed {
    pub trait Sealed {
        const FOLL: crate::flags::Foll;
    }
    impl Sealed for super::Read {
        const FOLL: crate::flags::Foll = crate::flags::Foll::empty();
    }
    impl Sealed for super::Write {
        const FOLL: crate::flags::Foll = crate::flags::Foll::WRITE;
    }
}

/// What pinned pages are for: [`Read`] or [`Write`].
pub trait Direction: sealed::Sealed {}
impl Direction for Read {}
impl Direction for Write {}

/// Why a page could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GupError {
    /// The rule that refused.
    pub rule: Rule,
    /// The kernel's errno for it.
    pub errno: Errno,
    /// The page that it refused.
    pub addr: VirtAddr,
    /// That page's index in the request.
    pub index: u64,
}

impl fmt::Display for GupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, errno, addr, index } = self;
        let row = rule.row();
        write!(f, "cannot pin page {index} at {addr}: {errno}, {} ({rule})", row.meaning)?;
        if row.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", row.remedy) }
    }
}
impl core::error::Error for GupError {}

/// How the pages are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// One reference each.
    Reference,
    /// One pin each.
    Pin,
}

/// Pages of one call, held until this is dropped.
///
/// Nobody returns the same pin twice, or one that is another's (row S-16):
/// ```compile_fail,E0382
/// # use gup::{gup::{Pins, Write}, heap_host::HeapHost};
/// fn twice(pins: Pins<HeapHost, Write>) {
///     pins.unpin_dirty();
///     pins.unpin_dirty();
/// }
/// ```
#[must_use = "dropping the pins gives the pages back at once"]
pub struct Pins<H: Host, D: Direction> {
    machine: Arc<Machine<H>>,
    frames: Vec<Pfn>,
    hold: Hold,
    stopped: Option<GupError>,
    direction: PhantomData<D>,
}

impl<H: Host, D: Direction> Pins<H, D> {
    /// How many pages are held.
    pub fn len(&self) -> usize {
        self.frames.len()
    }
    /// Whether none is: never true of a successful call.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
    /// The frames, in address order.
    pub fn frames(&self) -> &[Pfn] {
        &self.frames
    }
    /// What refused the page after the last one held, if the request was not met whole.
    pub fn stopped(&self) -> Option<&GupError> {
        self.stopped.as_ref()
    }
    /// Reads bytes of page `index`, from `offset` in it; how many, fewer at the page's end.
    pub fn read(&self, index: usize, offset: usize, into: &mut [u8]) -> usize {
        let Some(pfn) = self.frames.get(index) else { return 0 };
        let count = into.len().min((PAGE_SIZE as usize).saturating_sub(offset));
        self.machine.memory().read(*pfn, offset, &mut into[..count]);
        count
    }
}

impl<H: Host> Pins<H, Write> {
    /// Writes bytes of page `index`, from `offset` in it, and marks it dirty; how many, fewer at
    /// the page's end.
    pub fn write(&self, index: usize, offset: usize, from: &[u8]) -> usize {
        let Some(pfn) = self.frames.get(index) else { return 0 };
        let count = from.len().min((PAGE_SIZE as usize).saturating_sub(offset));
        self.machine.memory().write(*pfn, offset, &from[..count]);
        self.machine.frames().set(*pfn, FrameFlags::DIRTY);
        count
    }
    /// Marks every page dirty under its folio's lock, then gives all back: for devices that wrote
    /// (row C-91).
    pub fn unpin_dirty(self) {
        for pfn in &self.frames {
            let _locked = self.machine.frames().lock_folio(*pfn);
            self.machine.host().decided(f::F_52, VirtAddr::new(0));
            self.machine.frames().set(*pfn, FrameFlags::DIRTY);
        }
    }
}

impl<H: Host, D: Direction> Drop for Pins<H, D> {
    fn drop(&mut self) {
        for pfn in &self.frames {
            match self.hold {
                Hold::Reference => self.machine.put_page(*pfn),
                Hold::Pin => self.machine.unpin_pages(*pfn, 1),
            }
        }
    }
}

impl<H: Host, D: Direction> fmt::Debug for Pins<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pins")
            .field("frames", &self.frames)
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}

impl<H: Host> Mm<H> {
    /// Pins up to `count` pages, beginning with the page that contains `start`: a pin on a 6.18
    /// machine, a reference on a v4.4 one, which has no pins.
    ///
    /// `start` is a byte address, aligned or not. Takes the mmap lock for reading; on 6.18 it is
    /// dropped while a fault waits, on v4.4 kept. Fewer than `count` pages: [`Pins::stopped`] says
    /// what refused the next one. `count` 0 pins nothing.
    /// # Errors
    /// [`GupError`] if not even the first page could be pinned; nothing is held then.
    /// # Linux
    /// `pin_user_pages_unlocked` (6.18), `get_user_pages` (v4.4).
    pub fn pin<D: Direction>(
        &self,
        task: &Task,
        start: VirtAddr,
        count: usize,
    ) -> Result<Pins<H, D>, GupError> {
        let machine = self.machine();
        match machine.linux() {
            Linux::V4_4 => {
                let lock = self.read();
                collect(machine, Hold::Reference, start, count, |at, out| {
                    get_under_lock(task, &lock, at, D::FOLL, out)
                })
            }
            Linux::V6_18 => collect(machine, Hold::Pin, start, count, |at, out| {
                // The bytes are what is wanted, so the pages are pinned, not only referred to.
                machine.host().decided(f::F_53, at);
                let (entry, nr_pages) = (Entry::PinUnlocked, out.len() as u64);
                let mut lock = Lock::Dropped(self);
                gup(entry, task, &mut lock, at, nr_pages, D::FOLL, Some(out), Locked::Null)
            }),
        }
    }
}

/// Pages with the areas they lie in, for as long as the lock is held (row W-06).
///
/// The areas borrow the guard: they cannot outlive it.
/// ```compile_fail
/// # use gup::{heap_host::HeapHost, mm::Mm, task::Task, addr::VirtAddr};
/// # use gup::gup::{PinsWithAreas, Read};
/// fn escape(mm: &Mm<HeapHost>, task: &Task) {
///     let lock = mm.read();
///     let held: PinsWithAreas<'_, HeapHost, Read> =
///         lock.get_with_areas(task, VirtAddr::new(0x1000), 1).unwrap();
///     drop(lock); // the areas may be gone from here on
///     let _ = held.areas[0].flags;
/// }
/// ```
pub struct PinsWithAreas<'g, H: Host, D: Direction> {
    /// The pages.
    pub pins: Pins<H, D>,
    /// The area of each.
    pub areas: Vec<&'g Vma<H>>,
}

impl<H: Host> MmRead<'_, H> {
    /// Gets up to `count` pages and the areas they lie in. The lock is not dropped, so faults that
    /// must wait do so under it.
    /// # Errors
    /// [`GupError`] if not even the first page could be had.
    /// # Linux
    /// `get_user_pages` with `vmas`, v4.4.
    pub fn get_with_areas<D: Direction>(
        &self,
        task: &Task,
        start: VirtAddr,
        count: usize,
    ) -> Result<PinsWithAreas<'_, H, D>, GupError> {
        let machine = self.mm().machine();
        let pins = collect(machine, Hold::Reference, start, count, |at, out| {
            get_under_lock(task, self, at, D::FOLL, out)
        })?;
        let addrs = (0..pins.len() as u64).map(|n| start.wrapping_add(n << PAGE_SHIFT));
        let areas = addrs.filter_map(|addr| self.lookup(addr)).collect();
        Ok(PinsWithAreas { pins, areas })
    }
}

/// Pages asked for in one call. Memory is needed for what was had, not for what was asked for.
const PIECE: usize = 512;

/// Gets `count` pages from `start` on, piece by piece.
fn collect<H: Host, D: Direction>(
    machine: &Arc<Machine<H>>,
    hold: Hold,
    start: VirtAddr,
    count: usize,
    mut get: impl FnMut(VirtAddr, &mut [Option<Page>]) -> Outcome,
) -> Result<Pins<H, D>, GupError> {
    let mut pages: Vec<Option<Page>> = Vec::new();
    pages.resize_with(count.min(PIECE), || None);
    let mut pins = Pins {
        machine: Arc::clone(machine),
        frames: Vec::new(),
        hold,
        stopped: None,
        direction: PhantomData,
    };
    let mut done = 0;
    loop {
        let left = usize::try_from(done).map_or(0, |done| count.saturating_sub(done));
        let out = &mut pages[..left.min(PIECE)];
        let asked = out.len() as u64;
        let outcome = get(start.wrapping_add(done << PAGE_SHIFT), &mut *out);
        pins.frames.extend(out.iter_mut().filter_map(Option::take).map(|page| page.pfn()));
        done += outcome.got;
        let addr = start.wrapping_add(done << PAGE_SHIFT);
        let error = |Stop { rule, errno }| GupError { rule, errno, addr, index: done };
        pins.stopped = outcome.stop.map(error);
        let more = outcome.got == asked && left > out.len();
        match pins.stopped {
            Some(error) if pins.frames.is_empty() => return Err(error),
            None if more => {}
            Some(_) | None => return Ok(pins),
        }
    }
}

/// The flags of `get_user_pages` on v4.4 (row A-150).
const V4_4_TYPED: Foll = Foll::GET.union(Foll::TOUCH);

/// One pass with v4.4's rules under a lock that is kept.
pub(super) fn get_under_lock<H: Host>(
    task: &Task,
    lock: &MmRead<'_, H>,
    start: VirtAddr,
    foll: Foll,
    pages: &mut [Option<Page>],
) -> Outcome {
    let cx = Cx {
        current: task,
        charged: Some(task),
        mm: lock.mm(),
        map: lock,
        wants_pages: true,
        wants_vmas: false,
        may_drop: false,
    };
    let request = Request { start, nr_pages: pages.len() as u64, foll: V4_4_TYPED | foll };
    let mut out = Output { pages: Some(pages), vmas: None };
    let pass = pass::<V4_4, H>(&cx, &request, &mut out);
    match pass.end {
        End::Stop(stop) => Outcome::stopped(pass.got, stop),
        End::Full | End::Busy(_) => Outcome::full(pass.got),
    }
}
