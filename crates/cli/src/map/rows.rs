//! Rows: the address space from low to high, one row for each area or group of areas, and one for
//! each gap; and the cells of a row.
//!
//! A *strip* of cells stands for the pages of a row. It grows with the logarithm of their number,
//! so that one page and 100 GiB fit on one picture; *zoom* multiplies the number of cells until
//! each is one page. Where there are more areas than rows are wanted, neighbours are put into
//! groups, the closest first.

use super::ink::{By, Ink};
use super::words;
use gup_mirror::picture::{Kind, Picture, Region};
use std::ops::Range;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// Addresses without an area.
    Gap {
        /// Number of pages.
        pages: u64,
    },
    /// One area, or neighbours, by their places in the picture.
    Areas(Range<usize>),
}

/// Pages of one kind in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The region, by its place in the picture.
    pub(crate) region: usize,
    /// The kind, by its place in the region; `None` if the pages were not looked at.
    pub(crate) kind: Option<usize>,
    /// Number of pages; where kinds alternate quickly, in proportion.
    pub(crate) pages: u64,
}

impl Part {
    /// Its kind.
    pub(crate) fn kind_in(self, picture: &Picture) -> Option<&Kind> {
        picture.regions.get(self.region)?.kinds.get(self.kind?)
    }
}

/// A piece of a strip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// First byte address.
    pub(crate) start: u64,
    /// Number of pages.
    pub(crate) pages: u64,
    /// What its pages are.
    pub(crate) parts: Vec<Part>,
}

impl Cell {
    /// How many pages of each ink it has, in the order of legends.
    pub(crate) fn inks(&self, picture: &Picture, by: By) -> Vec<(Ink, u64)> {
        let mut inks: Vec<(Ink, u64)> = Vec::new();
        for part in &self.parts {
            let ink = Ink::of(part.kind_in(picture), by);
            match inks.iter_mut().find(|(known, _)| *known == ink) {
                Some((_, pages)) => *pages += part.pages,
                None => inks.push((ink, part.pages)),
            }
        }
        inks.sort_unstable_by_key(|(ink, _)| *ink);
        inks
    }

    /// The ink that it is drawn in where there is room for one, and whether that fills half of it.
    pub(crate) fn main_ink(&self, picture: &Picture, by: By) -> (Ink, Share) {
        let inks = self.inks(picture, by);
        let most = inks.iter().max_by_key(|(ink, pages)| (ink.weight(), *pages));
        let &(ink, pages) = most.unwrap_or(&(Ink::Unread, 0));
        (ink, if pages.saturating_mul(2) >= self.pages { Share::Most } else { Share::Some })
    }

    /// The letter that it is drawn as.
    pub(crate) fn letter(&self, picture: &Picture, by: By) -> char {
        match self.main_ink(picture, by) {
            (ink, Share::Most) => ink.letter().to_ascii_uppercase(),
            (ink, Share::Some) => ink.letter(),
        }
    }
}

/// How much of a cell its main ink fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Half or more.
    Most,
    /// Less.
    Some,
}

/// The rows of `picture`, with at most about `most` rows for areas.
pub(crate) fn rows(picture: &Picture, most: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut end = 0;
    for group in groups(&picture.regions, most) {
        let start = picture.regions[group.start].place.area.start;
        if start > end {
            rows.push(Row::Gap { pages: (start - end) >> 12 });
        }
        end = picture.regions[group.end - 1].place.area.end;
        rows.push(Row::Areas(group));
    }
    rows
}

/// Regions in at most `most` groups of neighbours.
fn groups(regions: &[Region], most: usize) -> Vec<Range<usize>> {
    let most = most.max(1);
    if regions.len() <= most {
        return (0..regions.len()).map(|i| i..i + 1).collect();
    }
    // Where the widest gaps are, or another file begins, groups end.
    let distance = |i: usize| {
        let (a, b) = (&regions[i - 1].place.area, &regions[i].place.area);
        (b.start.saturating_sub(a.end), u64::from(a.name != b.name))
    };
    let mut ends: Vec<usize> = (1..regions.len()).collect();
    ends.sort_by_key(|&i| std::cmp::Reverse(distance(i)));
    ends.truncate(most - 1);
    ends.push(0);
    ends.push(regions.len());
    ends.sort_unstable();
    ends.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Number of pages of a group.
pub(crate) fn pages_of(picture: &Picture, group: &Range<usize>) -> u64 {
    picture.regions[group.clone()].iter().map(Region::pages).sum()
}

/// Name and permissions of a group.
pub(crate) fn title(picture: &Picture, group: &Range<usize>) -> (String, String) {
    let regions = &picture.regions[group.clone()];
    let Some(first) = regions.first() else { return Default::default() };
    let name = words::label(&first.place.area);
    if regions.len() == 1 {
        return (name, first.place.area.perms.to_string());
    }
    let same = regions.iter().all(|region| region.place.area.name == first.place.area.name);
    let name = if same { name } else { format!("{name}…") };
    (format!("{} × {name}", regions.len()), "····".to_owned())
}

/// How many cells strips have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    width: f64,
    slope: f64,
}

impl Scale {
    /// One page is one cell up to this many pages.
    const LINEAR: f64 = 16.0;

    /// The longest row of `rows` has `width` cells.
    pub(crate) fn new(picture: &Picture, rows: &[Row], width: usize) -> Self {
        let longest = rows.iter().map(|row| match row {
            Row::Gap { .. } => 0,
            Row::Areas(group) => pages_of(picture, group),
        });
        let longest = as_float(longest.max().unwrap_or(0)).max(4096.0);
        let width = as_float(width as u64).max(Self::LINEAR);
        let slope = (width - Self::LINEAR) / (longest / Self::LINEAR).log2();
        Self { width, slope }
    }

    /// The number of cells for `pages` pages: at least one, at most one for each page.
    pub(crate) fn cells(self, pages: u64) -> u64 {
        let n = as_float(pages);
        let cells = if n <= Self::LINEAR {
            n.min(self.width)
        } else {
            Self::LINEAR + self.slope * (n / Self::LINEAR).log2()
        };
        as_count(cells).clamp(1, pages.max(1))
    }
}

#[allow(clippy::cast_precision_loss, reason = "a size on a picture needs no more")]
fn as_float(n: u64) -> f64 {
    n as f64
}

#[allow(clippy::cast_sign_loss, reason = "negative widths become 0")]
fn as_count(x: f64) -> u64 {
    x.round() as u64
}

/// The cells `wanted` of the `count` cells of a group.
pub(crate) fn cells(
    picture: &Picture,
    group: &Range<usize>,
    count: u64,
    wanted: Range<u64>,
) -> Vec<Cell> {
    let total = pages_of(picture, group);
    let count = count.clamp(1, total.max(1));
    let cut = |i: u64| {
        u64::try_from(u128::from(total) * u128::from(i) / u128::from(count)).unwrap_or(total)
    };
    let mut pieces = Pieces::new(picture, group, cut(wanted.start.min(count)));
    let mut cells = Vec::new();
    for i in wanted.start..wanted.end.min(count) {
        cells.push(pieces.cell(cut(i + 1) - cut(i)));
    }
    cells
}

/// Cuts the runs of a group, one after the other.
struct Pieces<'a> {
    picture: &'a Picture,
    regions: Range<usize>,
    region: usize,
    run: usize,
    /// Pages of the run that are gone already.
    gone: u64,
}

impl<'a> Pieces<'a> {
    fn new(picture: &'a Picture, group: &Range<usize>, skip: u64) -> Self {
        let (regions, region) = (group.clone(), group.start);
        let mut pieces = Self { picture, regions, region, run: 0, gone: 0 };
        let mut left = skip;
        while let Some(here) = pieces.picture.regions.get(pieces.region) {
            if !pieces.regions.contains(&pieces.region) || left < here.pages() {
                break;
            }
            left -= here.pages();
            pieces.region += 1;
        }
        if let Some(here) = pieces.picture.regions.get(pieces.region) {
            let first = here.runs.first().map_or(0, |run| run.start);
            let at = first.saturating_add(left << 12);
            pieces.run = here.runs.partition_point(|run| run.end() <= at);
            pieces.gone = here.runs.get(pieces.run).map_or(0, |run| (at - run.start) >> 12);
        }
        pieces
    }

    fn cell(&mut self, pages: u64) -> Cell {
        let mut cell = Cell { start: self.addr(), pages, parts: Vec::new() };
        let mut left = pages;
        while left > 0 && self.regions.contains(&self.region) {
            let Some(run) = self.picture.regions[self.region].runs.get(self.run) else {
                (self.region, self.run, self.gone) = (self.region + 1, 0, 0);
                continue;
            };
            let here = left.min(run.pages - self.gone);
            self.add(&mut cell, run.pages, here, &run.parts);
            left -= here;
            self.gone += here;
            if self.gone >= run.pages {
                (self.run, self.gone) = (self.run + 1, 0);
            }
        }
        cell
    }

    fn addr(&self) -> u64 {
        let run =
            self.picture.regions.get(self.region).and_then(|region| region.runs.get(self.run));
        run.map_or(0, |run| run.start.saturating_add(self.gone << 12))
    }

    fn add(&self, cell: &mut Cell, of: u64, here: u64, parts: &[(u16, u64)]) {
        let region = self.region;
        if parts.is_empty() {
            return put(cell, Part { region, kind: None, pages: here });
        }
        for &(kind, pages) in parts {
            let share = (u128::from(pages) * u128::from(here)).div_ceil(u128::from(of));
            let pages = u64::try_from(share).unwrap_or(here);
            put(cell, Part { region, kind: Some(usize::from(kind)), pages });
        }
    }
}

fn put(cell: &mut Cell, part: Part) {
    let same = |known: &&mut Part| (known.region, known.kind) == (part.region, part.kind);
    // In a group of many areas most parts are new; those that are not came just before.
    match cell.parts.iter_mut().rev().take(8).find(same) {
        Some(known) => known.pages += part.pages,
        None => cell.parts.push(part),
    }
}

/// How many pages of each ink the whole picture has, in the order of legends.
pub(crate) fn totals(picture: &Picture, by: By) -> Vec<(Ink, u64)> {
    let mut totals: Vec<(Ink, u64)> = Ink::ALL.iter().map(|&ink| (ink, 0)).collect();
    let mut add = |ink: Ink, pages: u64| {
        if let Some((_, total)) = totals.iter_mut().find(|(known, _)| *known == ink) {
            *total += pages;
        }
    };
    for region in &picture.regions {
        for kind in &region.kinds {
            add(Ink::of(Some(kind), by), kind.pages);
        }
        let unread = region.runs.iter().filter(|run| run.parts.is_empty());
        add(Ink::of(None, by), unread.map(|run| run.pages).sum());
    }
    totals.retain(|(_, pages)| *pages > 0);
    totals
}
