//! madvise: what it does to areas, and what it does to pages, area by area and over holes.
//!
//! Advice about an area changes its flags, with the lock held for writing; advice about pages is
//! taken with the lock held for reading; populating takes the lock itself. Absent: `HWPOISON` and
//! `SOFT_OFFLINE`, which are not about this address space.
//! Linux: mm/madvise.c, mm/ksm.c `ksm_madvise`, mm/khugepaged.c `hugepage_madvise` (6.18).

use super::edit::{modify, page_align};
use super::{guard, pages};
use crate::addr::{VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::fault::collapse_range;
use crate::flags::VmFlags;
use crate::gup::populate::{MadvisePopulate, madvise_populate};
use crate::host::Host;
use crate::linux::Linux;
use crate::mm::{Mm, MmWrite};
use crate::pgtable::level_span;
use crate::rule::m;
use crate::task::Task;
use crate::vma::{Backing, SPECIAL, Vma};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `MADV_…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the kernel's names")]
#[repr(i32)]
pub enum Advice {
    Normal = 0,
    Random = 1,
    Sequential = 2,
    WillNeed = 3,
    DontNeed = 4,
    Free = 8,
    Remove = 9,
    DontFork = 10,
    DoFork = 11,
    Mergeable = 12,
    Unmergeable = 13,
    HugePage = 14,
    NoHugePage = 15,
    DontDump = 16,
    DoDump = 17,
    WipeOnFork = 18,
    KeepOnFork = 19,
    Cold = 20,
    PageOut = 21,
    PopulateRead = 22,
    PopulateWrite = 23,
    DontNeedLocked = 24,
    Collapse = 25,
    GuardInstall = 102,
    GuardRemove = 103,
}

impl Advice {
    /// All of it.
    pub const ALL: [Self; 25] = [
        Self::Normal,
        Self::Random,
        Self::Sequential,
        Self::WillNeed,
        Self::DontNeed,
        Self::Free,
        Self::Remove,
        Self::DontFork,
        Self::DoFork,
        Self::Mergeable,
        Self::Unmergeable,
        Self::HugePage,
        Self::NoHugePage,
        Self::DontDump,
        Self::DoDump,
        Self::WipeOnFork,
        Self::KeepOnFork,
        Self::Cold,
        Self::PageOut,
        Self::PopulateRead,
        Self::PopulateWrite,
        Self::DontNeedLocked,
        Self::Collapse,
        Self::GuardInstall,
        Self::GuardRemove,
    ];
    /// The advice with this number, if there is one (EINVAL to a caller otherwise).
    pub fn from_raw(raw: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|advice| *advice as i32 == raw)
    }
    /// What it is about.
    fn about(self) -> About {
        match self {
            Self::PopulateRead => About::Populate(MadvisePopulate::Read),
            Self::PopulateWrite => About::Populate(MadvisePopulate::Write),
            Self::WillNeed
            | Self::DontNeed
            | Self::DontNeedLocked
            | Self::Free
            | Self::Cold
            | Self::PageOut
            | Self::GuardRemove => About::Pages,
            Self::Collapse => About::HugePages,
            Self::GuardInstall => About::Guards,
            Self::Remove => About::File,
            Self::Normal
            | Self::Random
            | Self::Sequential
            | Self::DontFork
            | Self::DoFork
            | Self::Mergeable
            | Self::Unmergeable
            | Self::HugePage
            | Self::NoHugePage
            | Self::DontDump
            | Self::DoDump
            | Self::WipeOnFork
            | Self::KeepOnFork => About::Area,
        }
    }
    /// It takes contents away, which sealed read-only memory does not allow.
    fn discards(self) -> bool {
        matches!(
            self,
            Self::DontNeed
                | Self::DontNeedLocked
                | Self::Free
                | Self::Remove
                | Self::DontFork
                | Self::WipeOnFork
                | Self::GuardInstall
        )
    }
}

enum About {
    Guards,
    HugePages,
    File,
    Area,
    Pages,
    Populate(MadvisePopulate),
}

/// Advises about `bytes` bytes, rounded up to pages, from `addr`.
/// # Errors
/// Areas before the one that refuses are advised about all the same (row M-03).
/// - EINVAL: `addr` is not at a page, the range wraps, or an area is of a kind that the advice is
///   not for;
/// - ENOMEM: there was a hole: all areas around it are done (row M-03);
/// - EAGAIN: too many areas, or a page to be part of a huge one is in use (row F-38); EACCES: the
///   file's pages may not be removed; EPERM: sealed;
/// - populating: as [`madvise_populate`].
/// # Linux
/// `madvise()`.
pub fn madvise<H: Host>(
    mm: &Mm<H>,
    task: &Task,
    addr: VirtAddr,
    bytes: u64,
    advice: Advice,
) -> Result<(), Errno> {
    let size = page_align(bytes);
    let end = addr.checked_add(size).ok_or(Errno::EINVAL)?;
    if addr.page_offset() != 0 || (bytes != 0 && size == 0) {
        return Err(Errno::EINVAL);
    }
    let range = VirtRange::new(addr, end);
    if range.is_empty() {
        return Ok(());
    }
    match advice.about() {
        About::Populate(access) => {
            madvise_populate(mm, task, range, access).map_err(|stop| stop.errno)
        }
        About::Area => about_areas(mm, range, advice),
        About::Pages => about_pages(mm, range, advice),
        About::File => remove(mm, range),
        About::Guards => install_guards(mm, range),
        About::HugePages => collapse(mm, task, range),
    }
}

/// Whether an area may be advised so at all: only anonymous memory can lose what it holds.
fn allowed<H: Host>(vma: &Vma<H>, advice: Advice) -> Result<(), Errno> {
    let kept = vma.flags.contains(VmFlags::SEALED)
        && advice.discards()
        && vma.is_anonymous()
        && !vma.flags.intersects(VmFlags::SHARED | VmFlags::WRITE);
    if kept { Err(Errno::EPERM) } else { Ok(()) }
}

fn about_pages<H: Host>(mm: &Mm<H>, range: VirtRange, advice: Advice) -> Result<(), Errno> {
    let mut dropped = Vec::new();
    let result = advise_pages(mm, range, advice, &mut dropped);
    free_tables(mm, &dropped);
    result
}

/// Advises about pages; `dropped` gets the ranges that lose their pages.
fn advise_pages<H: Host>(
    mm: &Mm<H>,
    range: VirtRange,
    advice: Advice,
    dropped: &mut Vec<VirtRange>,
) -> Result<(), Errno> {
    let map = mm.read();
    let mut walk = Walk { mm, at: range.start, end: range.end, hole: false };
    while let Some(vma) = map.find(walk.at) {
        let Some(part) = walk.part(vma) else { break };
        allowed(vma, advice)?;
        match advice {
            Advice::GuardRemove => guard::remove(mm, vma, part)?,
            other => pages::advise(&map, vma, part, other)?,
        }
        if matches!(advice, Advice::DontNeed | Advice::DontNeedLocked) && !vma.is_hugetlb() {
            dropped.push(part);
        }
    }
    walk.result()
}

/// Frees the tables in `ranges`, each one's whole 2 MiB, that hold nothing any more (row M-16).
///
/// Linux does so under the lock held for reading. Here faults rely on their tables then, so the
/// lock is taken for writing, if it is free: else the tables stay, as they do in Linux where their
/// locks are taken.
fn free_tables<H: Host>(mm: &Mm<H>, ranges: &[VirtRange]) {
    let whole = |range: &&VirtRange| {
        let up = range.start.get().saturating_add(level_span(1) - 1) & !(level_span(1) - 1);
        up.saturating_add(level_span(1)) <= range.end.get()
    };
    for range in ranges.iter().filter(whole) {
        let frees = mm.machine().linux() != Linux::V4_4;
        if !mm.machine().host().rule(m::M_16, frees, range.start) {
            continue;
        }
        let Some(lock) = mm.try_write() else { return };
        lock.mm().tables().free_leaf_tables(*range);
    }
}

/// Puts guards into every page of a range; its areas remember for ever that they may have some.
fn install_guards<H: Host>(mm: &Mm<H>, range: VirtRange) -> Result<(), Errno> {
    let mut lock = mm.write();
    let mut walk = Walk { mm, at: range.start, end: range.end, hole: false };
    while let Some(vma) = lock.find(walk.at) {
        let Some(part) = walk.part(vma) else { break };
        allowed(vma, Advice::GuardInstall)?;
        guard::install(mm, &lock, vma, part)?;
        if let Some(vma) = lock.lookup_mut(part.start) {
            vma.flags |= VmFlags::MAYBE_GUARD;
        }
    }
    walk.result()
}

/// Punches holes into the files behind a range. The lock is dropped for each: a file's mappers are
/// locked then.
fn remove<H: Host>(mm: &Mm<H>, range: VirtRange) -> Result<(), Errno> {
    let mut walk = Walk { mm, at: range.start, end: range.end, hole: false };
    loop {
        let map = mm.read();
        let Some(vma) = map.find(walk.at) else { break };
        let Some(part) = walk.part(vma) else { break };
        allowed(vma, Advice::Remove)?;
        let file = vma.backing.file().filter(|_| !vma.flags.contains(VmFlags::LOCKED));
        let file = Arc::clone(file.ok_or(Errno::EINVAL)?);
        if !vma.flags.contains(VmFlags::SHARED | VmFlags::MAYWRITE) {
            return Err(Errno::EACCES);
        }
        let first = vma.index_of(part.start);
        drop(map);
        file.punch_hole(mm.machine(), first, first.saturating_add(part.pages()));
    }
    walk.result()
}

/// Assembles huge pages, area by area; the lock is dropped for each.
fn collapse<H: Host>(mm: &Mm<H>, task: &Task, range: VirtRange) -> Result<(), Errno> {
    let mut walk = Walk { mm, at: range.start, end: range.end, hole: false };
    loop {
        let map = mm.read();
        let Some(part) = map.find(walk.at).and_then(|vma| walk.part(vma)) else { break };
        drop(map);
        collapse_range(mm, task, part)?;
    }
    walk.result()
}

/// Advises about the ranges of `parts`, address and bytes, one after the other, in an address space
/// that need not be `task`'s. Answers how many bytes were advised about.
/// # Errors
/// EINVAL: the advice is not for other processes. What [`madvise`] refuses the first range with;
/// a later one ends the call there.
/// # Linux
/// `process_madvise()`.
pub fn process_madvise<H: Host>(
    mm: &Mm<H>,
    task: &Task,
    whose: Whose,
    parts: &[(VirtAddr, u64)],
    advice: Advice,
) -> Result<u64, Errno> {
    let remote =
        matches!(advice, Advice::Cold | Advice::PageOut | Advice::WillNeed | Advice::Collapse);
    if whose == Whose::Others && !remote {
        return Err(Errno::EINVAL);
    }
    let mut done = 0_u64;
    for &(addr, bytes) in parts {
        match madvise(mm, task, addr, bytes, advice) {
            Ok(()) => done = done.saturating_add(bytes),
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Whose address space is advised about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The caller's.
    Own,
    /// Another process's.
    Others,
}

fn about_areas<H: Host>(mm: &Mm<H>, range: VirtRange, advice: Advice) -> Result<(), Errno> {
    let mut lock = mm.write();
    let mut walk = Walk { mm, at: range.start, end: range.end, hole: false };
    while let Some(vma) = lock.find(walk.at) {
        let Some(part) = walk.part(vma) else { break };
        allowed(vma, advice)?;
        let flags = new_flags(vma, advice)?;
        change(&mut lock, part, flags)?;
    }
    walk.result()
}

fn change<H: Host>(
    lock: &mut MmWrite<'_, H>,
    part: VirtRange,
    flags: VmFlags,
) -> Result<(), Errno> {
    modify(lock, part, flags).map_err(|errno| match errno {
        Errno::ENOMEM => Errno::EAGAIN,
        other => other,
    })
}

/// The way from area to area; remembers holes.
struct Walk<'m, H: Host> {
    mm: &'m Mm<H>,
    at: VirtAddr,
    end: VirtAddr,
    hole: bool,
}

impl<H: Host> Walk<'_, H> {
    /// The next part, which lies in `vma`, the first area above; `None` at the end.
    fn part(&mut self, vma: &Vma<H>) -> Option<VirtRange> {
        if self.at >= self.end {
            return None;
        }
        self.note_hole(vma.start() > self.at);
        let part = VirtRange::new(self.at, self.end).intersect(vma.range());
        self.at = if part.is_empty() { self.end } else { part.end };
        (!part.is_empty()).then_some(part)
    }
    fn note_hole(&mut self, hole: bool) {
        self.hole |= self.mm.machine().host().rule(m::M_03, hole, self.at);
    }
    fn result(mut self) -> Result<(), Errno> {
        self.note_hole(self.at < self.end);
        if self.hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }
}

/// The flags that an area has after advice about it.
fn new_flags<H: Host>(vma: &Vma<H>, advice: Advice) -> Result<VmFlags, Errno> {
    let flags = vma.flags;
    let special = flags.intersects(SPECIAL);
    let readahead = VmFlags::SEQ_READ | VmFlags::RAND_READ;
    Ok(match advice {
        Advice::Normal => flags - readahead,
        Advice::Sequential => (flags - readahead) | VmFlags::SEQ_READ,
        Advice::Random => (flags - readahead) | VmFlags::RAND_READ,
        Advice::DontFork => flags | VmFlags::DONTCOPY,
        Advice::DoFork if flags.contains(VmFlags::IO) => return Err(Errno::EINVAL),
        Advice::DoFork => flags - VmFlags::DONTCOPY,
        Advice::WipeOnFork if !may_wipe(vma) => return Err(Errno::EINVAL),
        Advice::WipeOnFork => flags | VmFlags::WIPEONFORK,
        Advice::KeepOnFork if flags.contains(VmFlags::DROPPABLE) => return Err(Errno::EINVAL),
        Advice::KeepOnFork => flags - VmFlags::WIPEONFORK,
        Advice::DontDump => flags | VmFlags::DONTDUMP,
        Advice::DoDump if !may_dump(vma) => return Err(Errno::EINVAL),
        Advice::DoDump => flags - VmFlags::DONTDUMP,
        Advice::Mergeable if may_share_equal_pages(vma) && !special => flags | VmFlags::MERGEABLE,
        Advice::Unmergeable => flags - VmFlags::MERGEABLE,
        Advice::HugePage => (flags - VmFlags::NOHUGEPAGE) | VmFlags::HUGEPAGE,
        Advice::NoHugePage => (flags - VmFlags::HUGEPAGE) | VmFlags::NOHUGEPAGE,
        Advice::Mergeable
        | Advice::WillNeed
        | Advice::DontNeed
        | Advice::DontNeedLocked
        | Advice::Free
        | Advice::Remove
        | Advice::Cold
        | Advice::PageOut
        | Advice::PopulateRead
        | Advice::PopulateWrite
        | Advice::Collapse
        | Advice::GuardInstall
        | Advice::GuardRemove => flags,
    })
}

/// Private, and no file's.
fn may_wipe<H: Host>(vma: &Vma<H>) -> bool {
    vma.backing.file().is_none() && !vma.flags.contains(VmFlags::SHARED)
}

fn may_dump<H: Host>(vma: &Vma<H>) -> bool {
    let special = vma.flags.intersects(SPECIAL) && !vma.is_hugetlb();
    !special && !vma.flags.contains(VmFlags::DROPPABLE)
}

/// `vma_ksm_compatible`: private, and its pages are ordinary ones.
fn may_share_equal_pages<H: Host>(vma: &Vma<H>) -> bool {
    let never = VmFlags::SHARED | VmFlags::MAYSHARE | VmFlags::HUGETLB | VmFlags::DROPPABLE;
    !vma.flags.intersects(never) && !matches!(vma.backing, Backing::Special(_))
}
