//! The smaller programs: populating, dirt that allows no stores, guard regions, equal pages.
//!
//! Each case stands for itself. Linux: rows T-24 (`madv_populate.c`), T-25 (mkdirty.c), T-26
//! (`ksm_functional_tests.c`), T-32 (guard-regions.c).

use super::play::{Failure, Pin, Process, Span, Stage, holds, must};
use gup::errno::Errno;
use gup::fault::{Merge, merge_equal, userfault};
use gup::flags::{Foll, Prot, VmFlags};
use gup::gup::remote::{Access, access_remote_vm, process_vm};
use gup::host::Ticket;
use gup::mapping::{Advice, MmapRequest, clear_soft_dirty};
use gup::vma::{UserFault, UserFaultMessage};
use std::fmt;
use std::sync::Arc;

/// Frames of a machine.
const FRAMES: u64 = 4096;
/// Pages of a huge page.
const HUGE: u64 = 512;

/// How populating is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's names")]
pub enum Populate {
    Read,
    Write,
}

/// Where a page is missing in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Hole {
    Start,
    Middle,
    End,
}

/// What is looked at when memory is populated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing is there before.
    Before,
    /// The call succeeds.
    Call,
    /// Every page is there after.
    After,
}

/// What is looked at when cleared memory is populated, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Marks {
    /// No mark is there after they were cleared.
    Cleared,
    /// Populating for reading succeeds.
    Read,
    /// There is still none.
    StillCleared,
    /// Populating for writing succeeds.
    Write,
    /// Every page is marked.
    Marked,
}

/// How a merged page comes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parted {
    /// By a store.
    Store,
    /// By a debugger's store to memory without any permission.
    Force,
}

/// What made the pages dirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dirt {
    /// A debugger's store.
    Force,
    /// A page that comes back from swap.
    Swap,
    /// A page that was moved.
    Migration,
    /// `UFFDIO_COPY`.
    Copy,
}

/// The size of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Size {
    Base,
    Huge,
}

/// What is done with a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Populating over it is refused with EFAULT.
    Populate(Populate),
    /// `process_vm_writev` into it moves nothing.
    Remote,
    /// A child has it too.
    Fork,
    /// A child whose memory is wiped has it not.
    Wipe,
}

/// A case that stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// T-24: such populating of memory with only this permission.
    Permission(Populate, Prot),
    /// T-24: a hole.
    Hole(Populate, Hole),
    /// T-24: populated memory is there.
    Populated(Populate, Look),
    /// T-24: what populating does to soft-dirty marks.
    SoftDirty(Marks),
    /// T-25: dirt does not mean that stores are allowed.
    Dirty(Dirt, Size),
    /// T-26: equal pages that were merged part again.
    Merged(Parted),
    /// T-32: guards.
    Guard(Guard),
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission(how, prot) => write!(f, "T-24 populate for {how:?} with {prot:?}"),
            Self::Hole(how, hole) => write!(f, "T-24 populate for {how:?}, hole at {hole:?}"),
            Self::Populated(how, look) => write!(f, "T-24 populate for {how:?}: {look:?}"),
            Self::SoftDirty(marks) => write!(f, "T-24 populate, soft-dirty: {marks:?}"),
            Self::Dirty(dirt, size) => write!(f, "T-25 dirty by {dirt:?}, {size:?}"),
            Self::Merged(parted) => write!(f, "T-26 merged pages, then {parted:?}"),
            Self::Guard(guard) => write!(f, "T-32 guard: {guard:?}"),
        }
    }
}

impl Populate {
    const BOTH: [Self; 2] = [Self::Read, Self::Write];
    fn advice(self) -> Advice {
        match self {
            Self::Read => Advice::PopulateRead,
            Self::Write => Advice::PopulateWrite,
        }
    }
    /// The permission that it needs.
    fn needs(self) -> Prot {
        match self {
            Self::Read => Prot::READ,
            Self::Write => Prot::WRITE,
        }
    }
}

impl Other {
    pub(super) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for how in Populate::BOTH {
            all.extend([Prot::READ, Prot::WRITE].map(|prot| Self::Permission(how, prot)));
            all.extend([Hole::Start, Hole::Middle, Hole::End].map(|hole| Self::Hole(how, hole)));
            all.extend([Look::Before, Look::Call, Look::After].map(|l| Self::Populated(how, l)));
        }
        let marks = [Marks::Cleared, Marks::Read, Marks::StillCleared, Marks::Write, Marks::Marked];
        all.extend(marks.map(Self::SoftDirty));
        for dirt in [Dirt::Force, Dirt::Swap, Dirt::Migration] {
            all.extend([Size::Base, Size::Huge].map(|size| Self::Dirty(dirt, size)));
        }
        all.push(Self::Dirty(Dirt::Copy, Size::Base));
        all.extend([Parted::Store, Parted::Force].map(Self::Merged));
        all.extend(Populate::BOTH.map(|how| Self::Guard(Guard::Populate(how))));
        all.extend([Guard::Remote, Guard::Fork, Guard::Wipe].map(Self::Guard));
        all
    }
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Dirty(Dirt::Migration, _) => Stage::with_movable(FRAMES),
            _ => Stage::new(FRAMES, 0),
        }
    }
    /// Plays it.
    pub(super) fn on(self, stage: &Stage) -> Result<(), Failure> {
        let process = stage.process();
        match self {
            Self::Permission(how, prot) => {
                let span = Span::part(0, 16);
                process.map(span, MmapRequest::anonymous(span.bytes(), prot))?;
                let want = if prot == how.needs() { Ok(()) } else { Err(Errno::EINVAL) };
                answers(process.advise(span, how.advice()), want)
            }
            Self::Hole(how, hole) => {
                let span = Span::part(0, 16);
                process.map_anon(span)?;
                let at = match hole {
                    Hole::Start => 0,
                    Hole::Middle => 8,
                    Hole::End => 15,
                };
                process.unmap(span.sub(at, 1))?;
                answers(process.advise(span, how.advice()), Err(Errno::ENOMEM))
            }
            Self::Populated(how, look) => populated(&process, how, look),
            Self::SoftDirty(until) => soft_dirty(&process, until),
            Self::Dirty(dirt, size) => dirty(&process, dirt, size),
            Self::Merged(parted) => merged(&process, parted),
            Self::Guard(guard) => guarded(stage, &process, guard),
        }
    }
}

fn answers(got: Result<(), Errno>, want: Result<(), Errno>) -> Result<(), Failure> {
    let name = |result: Result<(), Errno>| result.map_or_else(Errno::raw, |()| 0);
    if got == want {
        return Ok(());
    }
    Err(Failure::broken(format!("errno {}, not {}", name(got), name(want))))
}

fn populated(process: &Process, how: Populate, look: Look) -> Result<(), Failure> {
    let span = Span::part(0, 16);
    process.map_anon(span)?;
    let write = how == Populate::Write;
    let there = |n| process.reach_now(span.page(n), write).is_some();
    if look == Look::Before {
        return holds("nothing is there before", !(0..span.pages).any(there));
    }
    answers(process.advise(span, how.advice()), Ok(()))?;
    holds("all is there after", look == Look::Call || (0..span.pages).all(there))
}

fn soft_dirty(process: &Process, until: Marks) -> Result<(), Failure> {
    let span = Span::part(0, 16);
    process.map_anon(span)?;
    clear_soft_dirty(&process.mm.write());
    let marked = |n| process.mm.tables().walk(span.page(n)).entry.is_soft_dirty();
    let none = || holds("no page is marked", !(0..span.pages).any(marked));
    none()?;
    if until >= Marks::Read {
        answers(process.advise(span, Advice::PopulateRead), Ok(()))?;
    }
    if until >= Marks::StillCleared {
        none()?;
    }
    if until >= Marks::Write {
        answers(process.advise(span, Advice::PopulateWrite), Ok(()))?;
    }
    holds("every page is marked", until < Marks::Marked || (0..span.pages).all(marked))
}

/// Two equal pages become one, by hand: the engine has no daemon that looks for them.
fn merged(process: &Process, parted: Parted) -> Result<(), Failure> {
    let span = Span::part(0, 2);
    process.map_anon(span)?;
    must("MADV_MERGEABLE", process.advise(span, Advice::Mergeable))?;
    let pages = [span.page(0), span.page(1)];
    holds("stores succeed", pages.iter().all(|at| process.store(*at, 5)))?;
    let merge = merge_equal(&process.mm.read(), pages[0], pages[1]);
    holds("equal pages are merged", matches!(merge, Merge::Merged(_)))?;
    let merged = process.reach_now(pages[0], false);
    match parted {
        Parted::Store => holds("the store succeeds", process.store(pages[1], 6))?,
        Parted::Force => {
            process.protect(span, Prot::NONE)?;
            let write = Access::Write(&[6]);
            let (task, mm) = (&process.task, &process.mm);
            let moved = access_remote_vm(task, mm, pages[1], write, Foll::FORCE);
            holds("the debugger's store succeeds", moved.bytes == 1)?;
            process.protect(span, Prot::READ)?;
        }
    }
    let frames = pages.map(|at| process.reach_now(at, false));
    holds("the pages are two again", frames[0].is_some() && frames[0] != frames[1])?;
    let words = pages.map(|at| process.load(at));
    holds("only one was stored to", words == [Some(5), Some(6)])?;
    // Mapped once now, the merged page is still nobody's own.
    process.protect(span, Prot::READ | Prot::WRITE)?;
    holds("stores succeed", process.store(pages[0], 7))?;
    holds("a merged page is never stored to", process.reach_now(pages[0], false) != merged)
}

/// Dirties a page of memory that allows no stores; then a store must be a signal.
fn dirty(process: &Process, dirt: Dirt, size: Size) -> Result<(), Failure> {
    let span = Span::part(0, if size == Size::Huge { HUGE } else { 1 });
    process.map_anon(span)?;
    if size == Size::Huge {
        must("MADV_HUGEPAGE", process.advise(span, Advice::HugePage))?;
    }
    if dirt != Dirt::Copy {
        process.fill(span, 1)?;
    }
    if dirt == Dirt::Copy {
        register(process, span)?;
    }
    process.protect(span, Prot::READ)?;
    match dirt {
        Dirt::Force => {
            let bytes = Access::Write(&[7]);
            let (task, mm) = (&process.task, &process.mm);
            let moved = access_remote_vm(task, mm, span.start, bytes, Foll::FORCE);
            holds("the debugger's store succeeds", moved.bytes == 1)?;
        }
        Dirt::Swap => {
            must("MADV_PAGEOUT", process.advise(span, Advice::PageOut))?;
            let out = process.reach_now(span.start, false).is_none();
            if !out {
                return Err(Failure::cannot("the memory was not swapped out"));
            }
            process.snapshot(span)?;
        }
        Dirt::Migration => {
            let before = process.reach_now(span.start, false);
            let pin = process.pin(Pin { write: false, fast: false }, span);
            drop(pin.map_err(|errno| Failure::cannot(format!("no move: errno {}", errno.raw())))?);
            if process.reach_now(span.start, false) == before {
                return Err(Failure::cannot("the page was not moved"));
            }
        }
        Dirt::Copy => {
            let bytes = vec![7; usize::try_from(span.bytes()).unwrap_or(0)];
            must("UFFDIO_COPY", userfault::copy(&process.mm.read(), span.start, &bytes))?;
        }
    }
    holds("the memory can be read", process.load(span.start).is_some())?;
    holds("a store is a signal", !process.store(span.start, 9))
}

/// A userfaultfd for missing pages that nobody reads.
struct Silent;

impl UserFault for Silent {
    fn sigbus(&self) -> bool {
        true
    }
    fn wp_async(&self) -> bool {
        false
    }
    fn deliver(&self, _: UserFaultMessage) -> Ticket {
        Ticket(0)
    }
}

fn register(process: &Process, span: Span) -> Result<(), Failure> {
    let mut lock = process.mm.write();
    let vma = lock.lookup_mut(span.start).ok_or_else(|| Failure::broken("there is an area"))?;
    vma.flags |= VmFlags::UFFD_MISSING;
    vma.uffd = Some(Arc::new(Silent));
    Ok(())
}

fn guarded(stage: &Stage, process: &Process, guard: Guard) -> Result<(), Failure> {
    let span = Span::part(0, 8);
    process.map_anon(span)?;
    let page = span.sub(4, 1);
    must("MADV_GUARD_INSTALL", process.advise(page, Advice::GuardInstall))?;
    holds("a load from a guard is a signal", process.load(page.start).is_none())?;
    match guard {
        Guard::Populate(how) => answers(process.advise(span, how.advice()), Err(Errno::EFAULT)),
        Guard::Remote => {
            let other = stage.process();
            let write = Access::Write(&[1, 2, 3]);
            let moved = process_vm(&other.task, &process.mm, page.start, write);
            holds("nothing is moved", moved.bytes == 0)
        }
        Guard::Fork => {
            let child = process.fork()?;
            holds("the child has the guard", child.load(page.start).is_none())?;
            holds("and its neighbours", child.load(span.start) == Some(0))
        }
        Guard::Wipe => {
            must("MADV_WIPEONFORK", process.advise(span, Advice::WipeOnFork))?;
            let child = process.fork()?;
            holds("the child's guard is wiped", child.load(page.start) == Some(0))?;
            holds("the parent's is not", process.load(page.start).is_none())
        }
    }
}
