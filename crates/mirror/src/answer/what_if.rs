//! What if: the same range in memory that was made or prepared otherwise.
//!
//! A *what-if* is a change of what was read, on which the consumer is then played as on the truth.
//! *Touched* means that every page is there already; a huge page is there where one fits and huge
//! pages are asked for. Areas of files are left as they are, but for `--touched`.

use crate::proc::backing::Backing;
use crate::proc::hugepages::HugePages;
use crate::proc::vmflags::VmFlagNames;
use crate::range::ByteRange;
use crate::window::{Page, PageState, Place, Window};

/// Bytes that a huge page maps.
const BLOCK: u64 = 1 << 21;

/// How the memory would have been made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WhatIf {
    /// In transparent huge pages: `MADV_HUGEPAGE` before it was touched.
    pub thp: Wanted,
    /// In hugetlb pages of 2 MiB, from a pool that has enough of them.
    pub hugetlb: Wanted,
    /// Every page stored to before.
    pub touched: Wanted,
}

/// Whether something is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// It is.
    Yes,
    /// It is left as it was.
    #[default]
    No,
}

impl From<bool> for Wanted {
    fn from(wanted: bool) -> Self {
        if wanted { Self::Yes } else { Self::No }
    }
}

impl WhatIf {
    /// Whether nothing is changed.
    pub fn is_truth(self) -> bool {
        self == Self::default()
    }

    /// `window` so changed, for `range` of it. The window has whole blocks.
    pub fn apply(self, window: &Window, range: ByteRange) -> Window {
        let mut window = window.clone();
        if self.hugetlb == Wanted::Yes {
            in_hugetlb(&mut window, range);
        }
        if self.thp == Wanted::Yes {
            in_huge_pages(&mut window, range);
        }
        if self.touched == Wanted::Yes {
            touch(&mut window, range);
        }
        window
    }
}

/// First address of the range's pages, and the one after.
fn bounds(range: ByteRange) -> (u64, u64) {
    (range.first_page(), range.first_page().saturating_add(range.pages() << 12))
}

fn page(state: PageState, huge: bool) -> Page {
    Page { state, huge, userfault_wp: false, pfn: None, mapcount: None, hwpoison: None }
}

/// The pages of `window` with their addresses.
fn pages(window: &mut Window) -> impl Iterator<Item = (u64, &mut Page)> {
    let start = window.start;
    let with_address = move |(i, page)| (start.wrapping_add((i as u64) << 12), page);
    window.pages.iter_mut().enumerate().map(with_address)
}

/// One private hugetlb area over the blocks of the range; what was touched is in huge pages.
fn in_hugetlb(window: &mut Window, range: ByteRange) {
    let (start, end) = bounds(range);
    let (from, to) = (start & !(BLOCK - 1), end.checked_next_multiple_of(BLOCK).unwrap_or(end));
    let Some(model) = window.place_at(start).cloned() else { return };
    let mut area = model.area;
    (area.start, area.end, area.offset) = (from, to, 0);
    area.flags = Some(VmFlagNames::parse("rd wr mr mw me de ht"));
    window.places.retain(|place| place.area.end <= from || to <= place.area.start);
    window.places.push(Place { area, backing: Backing::Hugetlb { size: None } });
    window.places.sort_by_key(|place| place.area.start);
    window.huge_pages = HugePages { free: (to - from) / BLOCK, reserved: 0 };
    in_blocks(window, |addr| from <= addr && addr < to);
}

/// Huge pages are asked for in the anonymous areas of the range; blocks that were touched are huge.
fn in_huge_pages(window: &mut Window, range: ByteRange) {
    let (start, end) = bounds(range);
    let mut fits = Vec::new();
    for place in &mut window.places {
        let area = &mut place.area;
        if place.backing != Backing::Anonymous || area.end <= start || end <= area.start {
            continue;
        }
        let words = area.flags.as_ref().map_or("rd wr mr mw me".to_owned(), ToString::to_string);
        area.flags = Some(VmFlagNames::parse(&words.replace("nh", "hg")));
        if !area.flags.as_ref().is_some_and(|flags| flags.has("hg")) {
            area.flags = Some(VmFlagNames::parse(&format!("{words} hg")));
        }
        let first = area.start.checked_next_multiple_of(BLOCK).unwrap_or(area.start);
        fits.push((first, area.end & !(BLOCK - 1)));
    }
    in_blocks(window, |addr| fits.iter().any(|(from, to)| *from <= addr && addr < *to));
}

/// Makes one huge page of each block that `fits` and of which some page is there.
fn in_blocks(window: &mut Window, fits: impl Fn(u64) -> bool) {
    let start = window.start;
    let per_block = (BLOCK >> 12) as usize;
    for (n, block) in window.pages.chunks_mut(per_block).enumerate() {
        let addr = start.wrapping_add(n as u64 * BLOCK);
        if !fits(addr) {
            continue;
        }
        let there = |page: &Page| !matches!(page.state, PageState::Absent | PageState::Zero);
        let state = if block.iter().any(there) {
            page(PageState::AnonExclusive, true)
        } else {
            page(PageState::Absent, false)
        };
        block.fill(state);
    }
}

/// Every page of the range is there.
fn touch(window: &mut Window, range: ByteRange) {
    let (start, end) = bounds(range);
    let places = window.places.clone();
    for (addr, page) in pages(window) {
        let missing = matches!(page.state, PageState::Absent | PageState::Zero | PageState::Swap);
        let Some(place) = places.iter().find(|place| place.area.contains(addr)) else { continue };
        let block = addr & !(BLOCK - 1);
        let whole = place.area.start <= block && block.saturating_add(BLOCK) <= place.area.end;
        let huge = whole && (place.has("hg") || place.has("ht"));
        // A huge page that is there reaches beyond the range.
        let wanted = if huge {
            block < end && start < block.saturating_add(BLOCK)
        } else {
            start <= addr && addr < end
        };
        if !(wanted && missing) {
            continue;
        }
        let shared = place.area.perms.shared() && place.backing != Backing::Anonymous;
        let state = if shared { PageState::File } else { PageState::AnonExclusive };
        *page = self::page(state, huge && !shared);
    }
}
