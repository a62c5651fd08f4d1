//! One range of a live process, read once: its areas, and the state of each page.
//!
//! A *window* is consistent: the areas read before and after the pages are the same, or the read is
//! tried again. Pages may still change in between (a fault, reclaim); a verdict speaks of the
//! instant of the read. Nothing outside the range is read but the area on each side.

use crate::bundle::kept::KeptPage;
use crate::error::MirrorError;
use crate::kernel::Facts;
use crate::proc::backing::Backing;
use crate::proc::frames::FrameWords;
use crate::proc::hugepages::HugePages;
use crate::proc::kpage::{KpageFlags, Kpages};
use crate::proc::limits::LockRights;
use crate::proc::maps::{self, Area, Huge};
use crate::proc::mounts::Mounts;
use crate::proc::pagemap::{self, PagemapWord};
use crate::proc::scan::{self, Categories};
use crate::proc::uffd::{self, Features};
use crate::process::Process;
use crate::unseen::Unseen;
use crate::world::dumped;
use std::collections::BTreeSet;

/// What one page-table entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageState {
    /// Nothing: no area, or an empty entry.
    Absent,
    /// The zero page, small or huge.
    Zero,
    /// An anonymous page that belongs to this address space alone.
    AnonExclusive,
    /// An anonymous page that is, or was, shared since a fork.
    AnonShared,
    /// An anonymous page mapped once; whether it is exclusive was not seen.
    AnonOnce,
    /// A page merged by KSM.
    Ksm,
    /// A page of a file or of shared memory, or a page of a driver.
    File,
    /// A swap entry, or another entry without a page (migration, a marker).
    Swap,
    /// A guard region.
    Guard,
    /// Poisoned by `UFFDIO_POISON`: touching it is as touching memory that failed.
    Poisoned,
    /// Absent, and write-protected by userfaultfd once it comes.
    Marked,
    /// A present page that is neither surely anonymous nor surely the zero page.
    AnonOrZero,
}

impl PageState {
    /// The name that `--json` prints; a closed list, see `docs/json.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Zero => "zero",
            Self::AnonExclusive => "anon-exclusive",
            Self::AnonShared => "anon-shared",
            Self::AnonOnce => "anon-once",
            Self::Ksm => "ksm",
            Self::File => "file",
            Self::Swap => "swap",
            Self::Guard => "guard",
            Self::Poisoned => "poisoned",
            Self::Marked => "marked",
            Self::AnonOrZero => "anon-or-zero",
        }
    }
}

impl PageState {
    /// Whether no page was there, and none in swap.
    pub const fn is_empty(self) -> bool {
        match self {
            Self::Absent | Self::Guard | Self::Poisoned | Self::Marked => true,
            Self::Zero | Self::AnonExclusive | Self::AnonShared | Self::AnonOnce => false,
            Self::Ksm | Self::File | Self::Swap | Self::AnonOrZero => false,
        }
    }
}

/// What was seen of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// What the entry holds.
    pub state: PageState,
    /// Mapped by a PMD, or hugetlb.
    pub huge: bool,
    /// Write-protected by userfaultfd.
    pub userfault_wp: bool,
    /// The frame, if it may be seen.
    pub pfn: Option<u64>,
    /// How often the frame is mapped, if it may be seen.
    pub mapcount: Option<u64>,
    /// A memory error was found in the frame; `None` if unseen.
    pub hwpoison: Option<bool>,
}

/// An area and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The area.
    pub area: Area,
    /// What stands behind it.
    pub backing: Backing,
}

impl Place {
    /// Whether the kernel shows the flag `name` of the area, as smaps writes it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.area.flags.as_ref().is_some_and(|flags| flags.has(name))
    }

    /// Whether a driver mapped frame numbers there, which no fault brings.
    pub fn by_frame(&self) -> bool {
        self.has("io") || self.has("pf")
    }

    /// Whether a userfaultfd hears of pages of the file that are cached and not mapped.
    pub fn watched_for_minor(&self) -> bool {
        self.has("ui")
    }
}

/// One range of a live process, read once.
#[derive(Clone, Debug)]
pub struct Window {
    /// Address of the first page, in bytes.
    pub start: u64,
    /// The areas that overlap the range and the nearest one on each side, in address order.
    pub places: Vec<Place>,
    /// One entry per page of the range.
    pub pages: Vec<Page>,
    /// What the process's userfaultfds have in common; looked at if an area is registered with one.
    pub userfault: Option<Features>,
    /// The last byte of the range, once [`Window::look_at_the_end`] has looked.
    pub last_byte: Option<u8>,
    /// How much the process may lock.
    pub rights: LockRights,
    /// The machine's 2 MiB pages.
    pub huge_pages: HugePages,
    /// What a core dump of the process has (`/proc/PID/coredump_filter`).
    pub core_filter: u64,
    /// The kernel whose rules apply.
    pub kernel: Facts,
    /// What could not be seen and may matter.
    pub unseen: BTreeSet<Unseen>,
    /// The process changed while it was looked at: its areas between two readings, or its program
    /// since it was opened. What is here is the last reading.
    pub raced: bool,
}

/// What is known of a process beside its areas and pages.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    /// What its userfaultfds have in common.
    pub(crate) userfault: Option<Features>,
    /// How much it may lock.
    pub(crate) rights: LockRights,
    /// The machine's 2 MiB pages.
    pub(crate) huge_pages: HugePages,
    /// What a core dump of it has.
    pub(crate) core_filter: u64,
    /// The kernel whose rules apply.
    pub(crate) kernel: Facts,
    /// Whether frame numbers, and so markers among swap entries, may be seen.
    pub(crate) frames_seen: bool,
}

/// How many readings may disagree before the read is given up.
const TRIES: u32 = 4;

impl Window {
    /// Reads `pages` pages of `process`, beginning with the page that contains `start`.
    ///
    /// # Errors
    /// [`MirrorError::Raced`] when the areas kept changing; else as [`Process::open_file`].
    pub fn read(process: &Process, start: u64, pages: usize) -> Result<Self, MirrorError> {
        let start = start & !0xfff;
        let end = start.saturating_add((pages as u64).saturating_mul(4096));
        let mounts = process.read_file("mountinfo").unwrap_or_default();
        let mounts = Mounts::parse(&String::from_utf8_lossy(&mounts));
        for before in 0..TRIES {
            let image = process.image_now()?;
            let maps::Around { areas, huge, .. } = maps::surveyed(process, start, end)?;
            let raw = Raw::read(process, start, pages, huge)?;
            let mut window = Self::assemble(process, start, pages, areas.clone(), &raw, &mounts);
            let now = maps::listed(process, start, end)?;
            let same = parts(&now, start, end) == parts(&areas, start, end);
            // One that has ended has no areas any more, at both readings.
            if process.image_now()? == image && same {
                window.raced = before > 0 || image != process.image();
                return Ok(window);
            }
        }
        Err(MirrorError::Raced { pid: process.pid(), start, tries: TRIES })
    }

    /// One page of `place`, as if nothing else had been asked about; for a look at many pages that
    /// are alike.
    pub(crate) fn of_page(start: u64, place: &Place, page: Page, around: &Around) -> Self {
        let absent = if page.state == PageState::Absent { Absent::Some } else { Absent::None };
        let mut unseen: BTreeSet<Unseen> = unseen_of(place, absent).into_iter().collect();
        let userfault = around.userfault.filter(|_| is_watched(place));
        if is_watched(place) && !userfault.is_some_and(|uffd| uffd.sigbus() || uffd.wp_async()) {
            unseen.insert(Unseen::Userfault);
        }
        if page.state == PageState::AnonOrZero {
            unseen.insert(Unseen::ZeroPage);
        }
        if is_watched(place) && page.state == PageState::Swap && !around.frames_seen {
            unseen.insert(Unseen::FrameNumbers);
        }
        let (places, pages) = (vec![place.clone()], vec![page]);
        let Around { rights, huge_pages, core_filter, .. } = *around;
        let kernel = around.kernel.clone();
        Self {
            start,
            places,
            pages,
            userfault,
            last_byte: None,
            rights,
            huge_pages,
            core_filter,
            kernel,
            unseen,
            raced: false,
        }
    }

    /// The place that contains `addr`.
    pub fn place_at(&self, addr: u64) -> Option<&Place> {
        let after = self.places.partition_point(|place| place.area.end <= addr);
        self.places.get(after).filter(|place| place.area.contains(addr))
    }

    fn assemble(
        process: &Process,
        start: u64,
        pages: usize,
        areas: Vec<Area>,
        raw: &Raw,
        mounts: &Mounts,
    ) -> Self {
        let mut notes = Notes::default();
        let places = places_of(process, areas, mounts);
        let seen: Vec<Page> = (0..pages).map(|i| raw.page(i, &mut notes)).collect();
        Self::of(process, start, places, seen, notes)
    }

    /// A window of these pages.
    pub(crate) fn of(
        process: &Process,
        start: u64,
        places: Vec<Place>,
        seen: Vec<Page>,
        notes: Notes,
    ) -> Self {
        let mut unseen = notes.unseen;
        let end = start.saturating_add((seen.len() as u64).saturating_mul(4096));
        let inside = |place: &&Place| place.area.start < end && start < place.area.end;
        let watched = places.iter().filter(inside).any(is_watched);
        let userfault = if watched { uffd::features(process) } else { None };
        if watched && notes.swap_hidden {
            unseen.insert(Unseen::FrameNumbers);
        }
        for place in places.iter().filter(inside) {
            unseen.extend(unseen_of(place, has_absent(place, start, &seen)));
        }
        // Where nobody is asked, nothing depends on what a handler would answer.
        if watched && !userfault.is_some_and(|features| features.sigbus() || features.wp_async()) {
            unseen.insert(Unseen::Userfault);
        }
        let rights = LockRights::of(process);
        let huge_pages = process.huge_pages();
        Self {
            start,
            places,
            pages: seen,
            userfault,
            last_byte: None,
            rights,
            huge_pages,
            core_filter: dumped::filter_of(process),
            kernel: process.facts(),
            unseen,
            raced: false,
        }
    }

    /// Looks at the last byte of the range, on which a read of the process's text depends.
    ///
    /// Only a page that is there is read, which changes nothing. What was never stored to is 0. Of
    /// a page in swap nothing is known.
    pub fn look_at_the_end(&mut self, process: &Process) {
        let Some(page) = self.pages.last() else { return };
        let end = self.start.saturating_add((self.pages.len() as u64) << 12);
        self.last_byte = match page.state {
            PageState::Absent | PageState::Zero | PageState::AnonOrZero => Some(0),
            PageState::Poisoned | PageState::Marked => Some(0),
            PageState::AnonExclusive | PageState::AnonShared | PageState::AnonOnce => {
                process.byte_at(end - 1)
            }
            PageState::Ksm => process.byte_at(end - 1),
            PageState::Swap | PageState::Guard | PageState::File => None,
        };
        if self.last_byte.is_none() && page.state != PageState::File {
            self.unseen.insert(Unseen::Contents);
        }
    }
}

/// Whether a userfaultfd watches a place.
pub(crate) fn is_watched(place: &Place) -> bool {
    ["um", "uw", "ui"].into_iter().any(|name| place.has(name))
}

/// What stands behind each of the areas.
pub(crate) fn places_of(process: &Process, areas: Vec<Area>, mounts: &Mounts) -> Vec<Place> {
    let place = |area| Place { backing: Backing::of(process, &area, mounts), area };
    areas.into_iter().map(place).collect()
}

/// The parts of areas that lie in `[start, end)`, without kernel flags: what must not change while
/// pages are read. A neighbour may come and go, and merge.
pub(crate) fn parts(areas: &[Area], start: u64, end: u64) -> Vec<Area> {
    let inside = areas.iter().filter(|area| area.start < end && start < area.end);
    let part = |area: &Area| {
        let first = area.start.max(start);
        let file = area.inode != 0 || area.offset != 0;
        let skipped = if file { first - area.start } else { 0 };
        let offset = area.offset.wrapping_add(skipped);
        Area { start: first, end: area.end.min(end), offset, flags: None, ..area.clone() }
    };
    inside.map(part).collect()
}

/// Whether some page of `place` is not mapped yet: then it matters whether the file reaches
/// that far.
fn has_absent(place: &Place, start: u64, pages: &[Page]) -> Absent {
    let mut inside = pages_in(place, start, pages).iter();
    let absent = inside.any(|page| page.state == PageState::Absent);
    if absent { Absent::Some } else { Absent::None }
}

/// Those of `pages`, the first of which is at `start`, that lie in `place`.
pub(crate) fn pages_in<'a>(place: &Place, start: u64, pages: &'a [Page]) -> &'a [Page] {
    let index = |addr: u64| usize::try_from(addr.saturating_sub(start) >> 12).unwrap_or(usize::MAX);
    let end = index(place.area.end).min(pages.len());
    pages.get(index(place.area.start).min(end)..end).unwrap_or_default()
}

/// Whether there are pages that are not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    Some,
    None,
}

/// What is unseen of one place.
fn unseen_of(place: &Place, absent: Absent) -> Vec<Unseen> {
    let mut unseen = Vec::new();
    if place.area.flags.is_none() {
        unseen.push(Unseen::VmFlags);
    }
    if let Backing::File { fs_type: None, .. } = &place.backing {
        unseen.push(Unseen::FileSystem);
    }
    let no_size = match &place.backing {
        Backing::File { size, .. } | Backing::Shmem { size } | Backing::Hugetlb { size } => {
            size.is_none()
        }
        Backing::Anonymous | Backing::Secretmem | Backing::Vdso | Backing::Vvar => false,
        Backing::Gate | Backing::AioRing | Backing::Device => false,
    };
    if place.backing == Backing::Device && (absent == Absent::Some || place.by_frame()) {
        unseen.push(Unseen::Driver);
    }
    if place.watched_for_minor() && absent == Absent::Some {
        unseen.push(Unseen::PageCache);
    }
    if no_size && absent == Absent::Some {
        unseen.push(Unseen::FileSize);
    }
    unseen
}

/// What was noticed while pages were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    /// What could not be seen of a page.
    pub(crate) unseen: BTreeSet<Unseen>,
    /// A swap entry may be a marker.
    pub(crate) swap_hidden: bool,
}

/// The kernel's words about the pages of a range.
pub(crate) struct Raw {
    words: Vec<PagemapWord>,
    categories: Option<Vec<Categories>>,
    frames: Frames,
}

/// Where flags and map counts of frames come from.
enum Frames {
    /// The running kernel; `None` where it does not tell.
    Live(Option<FrameWords>),
    /// A bundle, by page of the range.
    Kept(Vec<KeptPage>),
}

impl Frames {
    fn flags(&self, i: usize) -> Option<KpageFlags> {
        match self {
            Self::Live(words) => words.as_ref()?.flags(i),
            Self::Kept(pages) => pages.get(i)?.flags,
        }
    }

    fn mapcount(&self, i: usize) -> Option<u64> {
        match self {
            Self::Live(words) => words.as_ref()?.mapcount(i),
            Self::Kept(pages) => pages.get(i)?.mapped,
        }
    }
}

impl Raw {
    /// Reads `pages` pages from `start` on; `huge` is what smaps says of them.
    ///
    /// # Errors
    /// As [`Process::open_file`].
    pub(crate) fn read(
        process: &Process,
        start: u64,
        pages: usize,
        huge: Huge,
    ) -> Result<Self, MirrorError> {
        if let Some(bundle) = process.bundle() {
            let range = || process.not_collected(&format!("all pages from {start:#x}"));
            let kept = bundle.pages(start, pages).ok_or_else(range)?;
            return Ok(Self {
                words: kept.iter().map(|page| page.word).collect(),
                categories: kept.iter().map(|page| page.categories).collect(),
                frames: Frames::Kept(kept),
            });
        }
        let words = pagemap::words(process, start, pages)?;
        Self::with_words(process, start, words, huge, process.kpages().as_ref())
    }

    /// The same, once the words of pagemap were read.
    ///
    /// # Errors
    /// As [`Process::open_file`].
    pub(crate) fn with_words(
        process: &Process,
        start: u64,
        words: Vec<PagemapWord>,
        huge: Huge,
        kpages: Option<&Kpages>,
    ) -> Result<Self, MirrorError> {
        let frames = kpages.map(|kpages| FrameWords::of(kpages, &words));
        // What the words do not say: by what size a page is mapped, which one is the zero page
        // where flags are hidden, and guard regions before Linux 6.15. smaps counts no huge zero
        // page among the huge ones.
        let flags = |i| frames.as_ref().and_then(|frames| frames.flags(i));
        let small = |flags: KpageFlags| !(flags.zero_page() && flags.thp());
        let mut all = words.iter().enumerate();
        let hidden = all.any(|(i, word)| word.may_be_zero_page() && !flags(i).is_some_and(small));
        let categories = if huge == Huge::Some || hidden || process.kernel().guards_need_a_scan() {
            scan::categories(process, start, words.len())?
        } else {
            None
        };
        Ok(Self { words, categories, frames: Frames::Live(frames) })
    }

    /// Page `i` of the range; notes what could not be seen of it.
    pub(crate) fn page(&self, i: usize, notes: &mut Notes) -> Page {
        let word = self.words.get(i).copied().unwrap_or_default();
        let categories = self.categories.as_ref().and_then(|all| all.get(i).copied());
        let flags = word.pfn().and_then(|_| self.frames.flags(i));
        let mapcount = word.pfn().and_then(|_| self.frames.mapcount(i));
        let state = state_of(word, categories, flags);
        match state {
            PageState::AnonOnce => {
                notes.unseen.extend([Unseen::Exclusive, Unseen::Ksm]);
            }
            PageState::AnonShared if flags.is_none() => {
                notes.unseen.insert(Unseen::Ksm);
            }
            PageState::AnonOrZero => {
                notes.unseen.insert(Unseen::ZeroPage);
            }
            _ => {}
        }
        notes.swap_hidden |= word.swap_hidden();
        let huge =
            categories.is_some_and(Categories::huge) || flags.is_some_and(KpageFlags::hugetlb);
        Page {
            state,
            huge,
            userfault_wp: word.userfault_wp(),
            pfn: word.pfn(),
            mapcount,
            hwpoison: flags.map(KpageFlags::hwpoison),
        }
    }
}

/// What an entry holds, from what was seen of it.
pub(crate) fn state_of(
    word: PagemapWord,
    categories: Option<Categories>,
    flags: Option<KpageFlags>,
) -> PageState {
    let zero = flags.map(KpageFlags::zero_page).or(categories.map(Categories::zero_page));
    if word.guard() || categories.is_some_and(Categories::guard) {
        PageState::Guard
    } else if word.poisoned() {
        PageState::Poisoned
    } else if word.userfault_marker() {
        PageState::Marked
    } else if word.swapped() {
        PageState::Swap
    } else if !word.present() {
        PageState::Absent
    } else if zero == Some(true) {
        PageState::Zero
    } else if word.file() {
        PageState::File
    } else if let Some(flags) = flags {
        known(flags)
    } else if word.mapped_once() {
        PageState::AnonOnce
    } else if zero == Some(false) {
        PageState::AnonShared
    } else {
        PageState::AnonOrZero
    }
}

/// What a present page is whose flags were seen and that pagemap does not call a file's.
const fn known(flags: KpageFlags) -> PageState {
    if flags.ksm() {
        PageState::Ksm
    } else if flags.anon_exclusive() {
        PageState::AnonExclusive
    } else if flags.anon() || flags.hugetlb() {
        PageState::AnonShared
    } else {
        PageState::File
    }
}

#[cfg(test)]
mod tests {
    use super::{PageState, parts, state_of};
    use crate::proc::kpage::KpageFlags;
    use crate::proc::maps::Area;
    use crate::proc::pagemap::PagemapWord;

    #[test]
    fn a_neighbour_that_merges_changes_nothing_of_the_range_and_a_hole_does() {
        let area = |line: &str| Area::parse(line).expect("a line of maps");
        let before = [area("1000-3000 rw-p 00000000 00:00 0"), area("8000-9000 r--p 0 00:00 0")];
        let merged = [area("0-4000 rw-p 00000000 00:00 0")];
        let cut = [area("1000-2000 rw-p 00000000 00:00 0")];
        let of = |areas: &[Area]| parts(areas, 0x1000, 0x3000);
        assert!(of(&before) == of(&merged) && of(&before) != of(&cut));
        let file = [area("1000-3000 r--p 00005000 fe:00 7")];
        let longer = [area("0-3000 r--p 00004000 fe:00 7")];
        let moved = [area("0-3000 r--p 00005000 fe:00 7")];
        assert!(of(&file) == of(&longer) && of(&file) != of(&moved));
    }

    #[test]
    fn mapped_once_is_not_taken_for_exclusive() {
        let word = PagemapWord(1 << 63 | 1 << 56);
        assert_eq!(state_of(word, None, None), PageState::AnonOnce);
        let anon = KpageFlags(1 << 12);
        assert_eq!(state_of(word, None, Some(anon)), PageState::AnonShared);
        let exclusive = KpageFlags(1 << 12 | 1 << 34);
        assert_eq!(state_of(word, None, Some(exclusive)), PageState::AnonExclusive);
    }

    #[test]
    fn a_page_mapped_several_times_may_be_the_zero_page_until_that_is_seen() {
        assert_eq!(state_of(PagemapWord(1 << 63), None, None), PageState::AnonOrZero);
        let zero = KpageFlags(1 << 24);
        assert_eq!(state_of(PagemapWord(1 << 63), None, Some(zero)), PageState::Zero);
    }

    #[test]
    fn entries_without_a_page_are_told_apart() {
        assert_eq!(state_of(PagemapWord(0), None, None), PageState::Absent);
        assert_eq!(state_of(PagemapWord(1 << 62), None, None), PageState::Swap);
        assert_eq!(state_of(PagemapWord(1 << 62 | 1 << 58), None, None), PageState::Guard);
    }
}
