//! Taking pages out of entries: munmap, `MADV_DONTNEED`, truncation, exit.
//!
//! Pins do not matter here: the entry goes, and the pin keeps the page alive (row F-45). What the
//! hardware noted in the entry of a file page, dirty and accessed, goes to the page. Invariants: a
//! page's reference is given back only after its translations are flushed; tables stay. Linux:
//! `zap_pte_range`, `unmap_vmas`, `exit_mmap` (mm/memory.c, mm/mmap.c, 6.18).

use super::hugetlb::{pages_of, remove_hugetlb};
use super::mlocked;
use super::page::{counter_of, normal_page, remove_huge_mapping, remove_mapping};
use super::pageout::forget_wanted;
use super::split::{split_edges, split_leaf};
use super::thp::PMD;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use crate::frame::{FrameFlags, Kind, OutOfMemory};
use crate::host::Host;
use crate::mm::{Counter, Mm};
use crate::observe::{Event, Observer};
use crate::pgtable::{Action, Decoded, Entry, Part, SwapEntry, Visit, Visitor, level_pages};
use crate::rule::{f, s};
use crate::vma::Vma;

/// Whether private copies of file pages go too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cows {
    /// They go.
    Drop,
    /// They stay: a hole was punched into the file, which a copy does not see.
    Keep,
}

/// Whether markers (guard regions, userfaultfd) go too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markers {
    /// They go: the area does.
    Drop,
    /// They stay: only the pages are dropped (`MADV_DONTNEED`).
    Keep,
}

/// What is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zap {
    /// Private copies.
    pub cows: Cows,
    /// Markers.
    pub markers: Markers,
}

impl Zap {
    /// Everything: munmap and exit.
    pub const ALL: Self = Self { cows: Cows::Drop, markers: Markers::Drop };
    /// All pages, no markers: `MADV_DONTNEED`, truncation.
    pub const PAGES: Self = Self { cows: Cows::Drop, markers: Markers::Keep };
    /// Pages of the file itself: a punched hole.
    pub const FILE_PAGES: Self = Self { cows: Cows::Keep, markers: Markers::Keep };
}

/// Unmaps all of `vma`: entries, counts, swap slots, markers. Tables stay. No huge entry reaches
/// across an area's border, so nothing is to be split, and nothing can fail.
pub(crate) fn zap_area<H: Host>(mm: &Mm<H>, vma: &Vma<H>) {
    let mut zapper = Zapper { mm, vma, zap: Zap::ALL, cut: None };
    let _ = mm.tables().for_each(vma.range(), &mut zapper);
    debug_assert!(zapper.cut.is_none(), "a huge entry reaches out of {vma:?}");
}

/// Unmaps everything in `range` of `vma`, as [`zap_area`] does, and splits the huge entries that
/// `range` cuts.
///
/// The mmap lock is held. `range` is clipped to the area.
/// # Errors
/// [`OutOfMemory`]: a huge entry that no fault made is to be split, and there is no frame for its
/// table; nothing is unmapped. Transparent huge pages have one put aside (row F-58).
/// # Linux
/// `zap_page_range_single()`.
pub fn zap_range<H: Host>(mm: &Mm<H>, vma: &Vma<H>, range: VirtRange) -> Result<(), OutOfMemory> {
    zap_range_as(mm, vma, range, Zap::ALL)
}

/// As [`zap_range`], but only what `zap` says.
/// # Errors
/// As [`zap_range`].
pub fn zap_range_as<H: Host>(
    mm: &Mm<H>,
    vma: &Vma<H>,
    range: VirtRange,
    zap: Zap,
) -> Result<(), OutOfMemory> {
    let range = whole_pages(vma, range.intersect(vma.range()));
    if range.start >= range.end {
        return Ok(());
    }
    split_edges(mm, range)?;
    let mut zapper = Zapper { mm, vma, zap, cut: None };
    loop {
        let _ = mm.tables().for_each(range, &mut zapper);
        // With the mmap lock held for reading only, a fault may make a huge entry meanwhile.
        match zapper.cut.take() {
            Some(addr) => split_leaf(mm, addr)?,
            None => return Ok(()),
        }
    }
}

/// The huge pages of a hugetlb area that lie in `range` whole; in other areas, `range`.
fn whole_pages<H: Host>(vma: &Vma<H>, range: VirtRange) -> VirtRange {
    let bytes = pages_of(vma) << PAGE_SHIFT;
    let up = range.start.get().saturating_add(bytes - 1) & !(bytes - 1);
    VirtRange::new(VirtAddr::new(up), VirtAddr::new(range.end.get() & !(bytes - 1)))
}

/// Empties the address space and frees its tables. Nobody else uses it any more.
pub(crate) fn teardown<H: Host>(mm: &Mm<H>) {
    let map = mm.read();
    for vma in map.iter() {
        zap_area(mm, vma);
        let (root, start, end) = (mm.root(), vma.start(), vma.end());
        mm.machine().host().see(Event::Unmapped { root, start, end });
    }
    mm.tables().destroy();
}

struct Zapper<'a, H: Host> {
    mm: &'a Mm<H>,
    vma: &'a Vma<H>,
    zap: Zap,
    /// A huge entry that reaches out of the range, and is to be split.
    cut: Option<VirtAddr>,
}

impl<H: Host> Visitor<H::Format> for Zapper<'_, H> {
    fn visit(&mut self, visit: &Visit<H::Format>) -> Action<H::Format> {
        if !self.goes(visit) {
            return Action::Keep;
        }
        match visit.part {
            Part::Whole => Action::Remove,
            // Behind it are counts, which a split of the entry alone would not keep up.
            Part::Some => {
                self.cut = Some(visit.addr);
                Action::Keep
            }
        }
    }
    fn removed(&mut self, addr: VirtAddr, entry: Entry<H::Format>, level: u8) {
        match entry.decode(level) {
            Decoded::None | Decoded::Table(_) => {}
            Decoded::Leaf(..) => self.leaf(addr, entry, level),
            Decoded::Swap(swap) => self.swap(swap, level),
        }
        if level == PMD && self.vma.is_anonymous() {
            let tables = self.mm.tables();
            tables.withdraw_and_free(tables.walk_to(addr, PMD).place.table);
        }
    }
}

impl<H: Host> Zapper<'_, H> {
    fn goes(&self, visit: &Visit<H::Format>) -> bool {
        let frames = self.mm.machine().frames();
        match visit.entry.decode(visit.place.level) {
            Decoded::None | Decoded::Table(_) => false,
            Decoded::Leaf(..) => {
                let anon = normal_page(visit.entry).is_some_and(|page| frames.is_anon(page));
                self.zap.cows == Cows::Drop || !anon
            }
            Decoded::Swap(
                SwapEntry::Swap { .. } | SwapEntry::HwPoison(_) | SwapEntry::Poisoned,
            ) => self.zap.cows == Cows::Drop,
            Decoded::Swap(SwapEntry::Migration { pfn, .. }) => {
                self.zap.cows == Cows::Drop || !frames.is_anon(pfn)
            }
            Decoded::Swap(SwapEntry::UffdWp | SwapEntry::Guard) => {
                self.zap.markers == Markers::Drop
            }
        }
    }
    fn leaf(&self, addr: VirtAddr, entry: Entry<H::Format>, level: u8) {
        let Some(page) = normal_page(entry) else { return };
        let frames = self.mm.machine().frames();
        self.note_pins(addr, page, level);
        if frames.kind(page) != Kind::Anon {
            // A page that belongs to no file any more has nowhere to be written to (row F-47).
            if entry.is_dirty() && !frames.has(page, FrameFlags::TRUNCATED) {
                frames.set(page, FrameFlags::DIRTY);
                forget_wanted(frames, page);
            }
            if entry.is_young() {
                frames.set(page, FrameFlags::REFERENCED);
            }
        }
        mlocked::loses(self.mm, self.vma, page);
        if level == 0 {
            remove_mapping(self.mm, page);
        } else if frames.kind(page) == Kind::Hugetlb {
            remove_hugetlb(self.mm, self.vma, addr, page);
        } else {
            remove_huge_mapping(self.mm, page, level);
        }
    }
    /// Says that pins changed nothing: the page leaves its address with all marks, and lives on.
    fn note_pins(&self, addr: VirtAddr, page: Pfn, level: u8) {
        let (host, frames) = (self.mm.machine().host(), self.mm.machine().frames());
        if !H::Observer::ON {
            return;
        }
        let held = frames.refs(page) > frames.folio_mapcount(page);
        host.decided_if(f::F_45, frames.maybe_pinned(page), addr);
        host.decided_if(f::F_46, held && frames.has(page, FrameFlags::ANON_EXCLUSIVE), addr);
        // The flush came before the last reference goes, and while the table was locked.
        host.decided_if(s::S_25, level > 0 && frames.kind(page) == Kind::Hugetlb, addr);
    }
    fn swap(&self, entry: SwapEntry, level: u8) {
        match entry {
            SwapEntry::Swap { slot, .. } => {
                self.mm.add_rss(Counter::Swap, -1);
                self.mm.machine().swap().drop_user(self.mm.machine(), slot);
            }
            // The page is counted while it moves; whoever moves it finds the entry gone.
            SwapEntry::Migration { pfn, .. } => {
                let frames = self.mm.machine().frames();
                if frames.pfn_valid(pfn) && !self.vma.is_hugetlb() {
                    #[allow(clippy::cast_possible_wrap, reason = "at most 1 << 18")]
                    self.mm.add_rss(counter_of(frames, pfn), -(level_pages(level) as i64));
                }
            }
            SwapEntry::HwPoison(_) | SwapEntry::UffdWp | SwapEntry::Poisoned | SwapEntry::Guard => {
            }
        }
    }
}
