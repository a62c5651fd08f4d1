//! Making a long window short, and finding the old places again.
//!
//! *Cut*: whole 2 MiB blocks out of the middle of a run that lies in one area, or in none, on one
//! side of its file's end. So every page keeps its offset in its block, its neighbours, and what
//! stands behind it; only its address and its place in the file are smaller. What counts pages, the
//! limit on locked memory, is told how many are missing. Not cut: huge pages of a pool that are not
//! there yet, since the pool counts them; a range that leaves user space.

use crate::large::survey::{Run, Survey};
use crate::proc::backing::Backing;
use crate::window::{Page, PageState, Place};
use gup::addr::TASK_SIZE;

/// The pages that stay on each side of a cut, at least.
const KEPT: u64 = 1024;
/// Bytes of a block.
const BLOCK: u64 = 1 << 21;

/// One cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// The address where it began.
    start: u64,
    /// Bytes.
    len: u64,
}

/// What was cut out of a range.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts {
    start: u64,
    cuts: Vec<Cut>,
}

/// A window without what was cut out of it.
pub(crate) struct Condensed {
    /// The areas, moved together.
    pub(crate) places: Vec<Place>,
    /// The pages.
    pub(crate) pages: Vec<Page>,
    /// What was cut out.
    pub(crate) cuts: Cuts,
    /// Pages that were cut out of areas that are not locked, and out of holes.
    pub(crate) unlocked: u64,
}

impl Condensed {
    /// Cuts what `survey` read from `start` on, in which these areas lie.
    pub(crate) fn new(survey: &Survey, start: u64, places: &[Place]) -> Self {
        let total: u64 = survey.runs.iter().map(|run| run.pages).sum();
        let end = start.saturating_add(total << 12);
        let mut cuts = Cuts { start, cuts: Vec::new() };
        let (mut pages, mut unlocked, mut at) = (Vec::new(), 0, start);
        for run in &survey.runs {
            let mut left = run.pages;
            while left > 0 {
                let here = ((boundary(places, at) - at) >> 12).clamp(1, left);
                let part = Run { pages: here, page: run.page };
                let place = place_at(places, at);
                let cut = if end <= TASK_SIZE { cut_of(part, at, place) } else { None };
                let gone = cut.map_or(0, |cut| cut.len >> 12);
                cuts.cuts.extend(cut);
                if !place.is_some_and(|place| place.has("lo")) {
                    unlocked += gone;
                }
                let stay = usize::try_from(here - gone).unwrap_or(0);
                pages.extend(std::iter::repeat_n(run.page, stay));
                at = at.saturating_add(here << 12);
                left -= here;
            }
        }
        let places = places.iter().map(|place| cuts.shortened(place)).collect();
        Self { places, pages, cuts, unlocked }
    }
}

/// The first address after `at` where something else stands behind it.
fn boundary(places: &[Place], at: u64) -> u64 {
    let after = places.partition_point(|place| place.area.end <= at);
    let Some(place) = places.get(after) else { return !0xfff };
    if at < place.area.start {
        return place.area.start;
    }
    let end_of_file = end_of_file(place).filter(|end| at < *end && *end < place.area.end);
    end_of_file.unwrap_or(place.area.end)
}

fn place_at(places: &[Place], at: u64) -> Option<&Place> {
    let after = places.partition_point(|place| place.area.end <= at);
    places.get(after).filter(|place| place.area.contains(at))
}

/// The first page address that the file does not reach, if its size is known.
fn end_of_file(place: &Place) -> Option<u64> {
    let size = place.backing.file_size()?;
    let bytes = size.saturating_sub(place.area.offset).checked_next_multiple_of(4096)?;
    place.area.start.checked_add(bytes)
}

fn cut_of(run: Run, at: u64, place: Option<&Place>) -> Option<Cut> {
    let pool = place.is_some_and(|place| matches!(place.backing, Backing::Hugetlb { .. }));
    if pool && run.page.state == PageState::Absent {
        return None;
    }
    let end = at.checked_add(run.pages.checked_mul(4096)?)?;
    let first = at.checked_add(KEPT << 12)?.checked_next_multiple_of(BLOCK)?;
    let last = end.checked_sub(KEPT << 12)? & !(BLOCK - 1);
    (first < last).then(|| Cut { start: first, len: last - first })
}

impl Cuts {
    /// The bytes that were cut out before `addr`, an old address that was kept.
    fn before(&self, addr: u64) -> u64 {
        self.cuts.iter().take_while(|cut| cut.start < addr).map(|cut| cut.len).sum()
    }

    /// The pages that were cut out before page `index`, one of those that are left.
    pub(crate) fn pages_before(&self, index: u64) -> u64 {
        let mut gone = 0;
        for cut in &self.cuts {
            if ((cut.start - self.start) >> 12) - gone > index {
                break;
            }
            gone += cut.len >> 12;
        }
        gone
    }

    /// The pages that were cut out behind page `index`, right after it.
    pub(crate) fn pages_behind(&self, index: u64) -> u64 {
        self.pages_before(index + 1) - self.pages_before(index)
    }

    /// How many bytes were cut out.
    pub(crate) fn bytes(&self) -> u64 {
        self.cuts.iter().map(|cut| cut.len).sum()
    }

    /// The old address of `addr`, one in what is left.
    pub(crate) fn old_address(&self, addr: u64) -> u64 {
        let index = addr.saturating_sub(self.start) >> 12;
        addr.saturating_add(self.pages_before(index) << 12)
    }

    /// The area without what was cut out of it and before it.
    fn shortened(&self, place: &Place) -> Place {
        let mut new = place.clone();
        let (start, end) = (place.area.start, place.area.end);
        new.area.start = start - self.before(start);
        new.area.end = end - self.before(end);
        if let Some(end_of_file) = end_of_file(place) {
            let gone = self.before(end_of_file.min(end)) - self.before(start);
            match &mut new.backing {
                Backing::File { size, .. }
                | Backing::Shmem { size }
                | Backing::Hugetlb { size } => *size = size.map(|size| size - gone.min(size)),
                Backing::Anonymous | Backing::Secretmem | Backing::Vdso | Backing::Vvar => {}
                Backing::Gate | Backing::AioRing | Backing::Device => {}
            }
        }
        new
    }
}
