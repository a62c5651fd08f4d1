//! What the terminal shows, and what keys do to it; without a terminal.
//!
//! The *cursor* is a cell: a row and a place in its strip. *Lines* are lines of the list, of which
//! a row has one, or more when zoomed. Invariants: the cursor is on a row of areas if there is one,
//! and in the part of the list that is seen.

use super::ink::By;
use super::rows::{Cell, Row, Scale, cells, pages_of, rows};
use gup_mirror::picture::Picture;
use std::ops::Range;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Move by cells.
    Cells(i64),
    /// Move by lines.
    Lines(i64),
    /// Move by screens.
    Screens(i64),
    /// To the lowest address.
    First,
    /// To the highest address.
    Last,
    /// More cells.
    In,
    /// Fewer cells.
    Out,
    /// To the next page that would be refused; or backwards.
    Refused(Step),
    /// Begin to type a search.
    Search,
    /// To the next find; or backwards.
    Next(Step),
    /// A character of a search.
    Type(char),
    /// Take the last character of a search back.
    Rub,
    /// Search for what was typed.
    Enter,
    /// Leave the search, or the help.
    Leave,
    /// Colour by state or by verdict.
    Colour,
    /// Show the keys, or hide them.
    Help,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To higher addresses.
    On,
    /// To lower addresses.
    Back,
}

/// What the keys mean at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Moving.
    Look,
    /// Typing a search.
    Typing(String),
    /// Reading the keys.
    Help,
}

/// What the terminal shows.
pub(crate) struct View<'a> {
    pub(super) picture: &'a Picture,
    pub(super) by: By,
    pub(super) mode: Mode,
    /// What to tell at the foot; empty for the usual keys.
    pub(super) note: String,
    pub(super) rows: Vec<Row>,
    /// The first line of each row, and the number of lines at the end.
    pub(super) tops: Vec<usize>,
    pub(super) row: usize,
    pub(super) cell: u64,
    /// The first line that is seen.
    pub(super) top: usize,
    /// Cells in a line, and lines that are seen.
    pub(super) strip: usize,
    pub(super) height: usize,
    zoom: u32,
    scale: Scale,
    pub(super) sought: String,
}

impl<'a> View<'a> {
    /// The lowest addresses of `picture`.
    pub(crate) fn new(picture: &'a Picture, by: By) -> Self {
        let rows = rows(picture, usize::MAX);
        let row = rows.iter().position(|row| matches!(row, Row::Areas(_))).unwrap_or(0);
        let scale = Scale::new(picture, &rows, 8);
        let mut view = Self {
            picture,
            by,
            mode: Mode::Look,
            note: String::new(),
            rows,
            tops: Vec::new(),
            row,
            cell: 0,
            top: 0,
            strip: 8,
            height: 1,
            zoom: 0,
            scale,
            sought: String::new(),
        };
        view.lay_out();
        view
    }

    /// There is room for `height` lines with `strip` cells each.
    pub(crate) fn resize(&mut self, strip: usize, height: usize) {
        if (strip, height) != (self.strip, self.height) {
            let page = self.page();
            (self.strip, self.height) = (strip.max(1), height.max(1));
            self.scale = Scale::new(self.picture, &self.rows, self.strip);
            self.lay_out();
            self.go(self.row, page);
        }
    }

    /// Does what `key` asks for.
    pub(crate) fn key(&mut self, key: Key) {
        self.note.clear();
        if let Mode::Typing(text) = &mut self.mode {
            match key {
                Key::Type(c) => text.push(c),
                Key::Rub => drop(text.pop()),
                Key::Enter => {
                    self.sought = std::mem::take(text);
                    self.mode = Mode::Look;
                    self.search(Step::On);
                }
                _ => self.mode = Mode::Look,
            }
            return;
        }
        if self.mode == Mode::Help {
            self.mode = Mode::Look;
            return;
        }
        match key {
            Key::Cells(by) => self.by_cells(by),
            Key::Lines(by) => self.by_lines(by),
            Key::Screens(by) => {
                self.by_lines(by.saturating_mul(i64::try_from(self.height).unwrap_or(1)));
            }
            Key::First => self.go(0, 0),
            Key::Last => self.go(self.rows.len().saturating_sub(1), u64::MAX),
            Key::In => self.rezoom(self.zoom + 1),
            Key::Out => self.rezoom(self.zoom.saturating_sub(1)),
            Key::Refused(step) => self.refused(step),
            Key::Search => self.mode = Mode::Typing(String::new()),
            Key::Next(step) => self.search(step),
            Key::Colour => self.recolour(),
            Key::Help => self.mode = Mode::Help,
            Key::Type(_) | Key::Rub | Key::Enter | Key::Leave => {}
        }
    }

    /// The regions of a row of areas.
    pub(super) fn group(&self, row: usize) -> Option<&Range<usize>> {
        match self.rows.get(row)? {
            Row::Areas(group) => Some(group),
            Row::Gap { .. } => None,
        }
    }

    /// How many cells a row has.
    pub(super) fn count(&self, row: usize) -> u64 {
        let Some(group) = self.group(row) else { return 0 };
        let pages = pages_of(self.picture, group);
        self.scale.cells(pages).saturating_mul(1 << (2 * self.zoom)).min(pages.max(1))
    }

    /// The cells of line `line` of a row.
    pub(super) fn line(&self, row: usize, line: usize) -> Vec<Cell> {
        let Some(group) = self.group(row) else { return Vec::new() };
        let first = (line * self.strip) as u64;
        cells(self.picture, group, self.count(row), first..first + self.strip as u64)
    }

    /// The cell under the cursor.
    pub(super) fn cell(&self) -> Option<Cell> {
        let group = self.group(self.row)?;
        cells(self.picture, group, self.count(self.row), self.cell..self.cell + 1).pop()
    }

    /// The first page of the cursor's cell, counted from the beginning of its row.
    fn page(&self) -> u64 {
        let Some(group) = self.group(self.row) else { return 0 };
        first_page(pages_of(self.picture, group), self.count(self.row), self.cell)
    }

    /// The cell of row `row` in which its page `page` lies.
    pub(super) fn cell_of(&self, row: usize, page: u64) -> u64 {
        let pages = self.group(row).map_or(1, |group| pages_of(self.picture, group));
        let (count, page) = (self.count(row), page.min(pages.saturating_sub(1)));
        // Cells begin at rounded-down pages: the quotient is the cell, or the one before it.
        let near = u128::from(count) * u128::from(page) / u128::from(pages.max(1));
        let cell = u64::try_from(near).unwrap_or(0).min(count.saturating_sub(1));
        let next = cell + 1;
        if next < count && first_page(pages, count, next) <= page { next } else { cell }
    }

    pub(super) fn tell(&mut self, note: impl Into<String>) {
        self.note = note.into();
    }

    fn lay_out(&mut self) {
        let mut tops = Vec::with_capacity(self.rows.len() + 1);
        let mut line = 0_usize;
        for row in 0..self.rows.len() {
            tops.push(line);
            let cells = usize::try_from(self.count(row)).unwrap_or(usize::MAX);
            line = line.saturating_add(cells.div_ceil(self.strip).max(1));
        }
        tops.push(line);
        self.tops = tops;
    }

    /// Puts the cursor on page `page` of row `row`, or on the row of areas nearest to it.
    pub(super) fn go(&mut self, row: usize, page: u64) {
        let at = row.min(self.rows.len().saturating_sub(1));
        let near = (at..self.rows.len()).find(|&row| self.group(row).is_some());
        let Some(row) = near.or_else(|| (0..at).rfind(|&row| self.group(row).is_some())) else {
            return;
        };
        let cell = self.cell_of(row, page);
        self.stand(row, cell);
    }

    /// Puts the cursor on a cell, and brings it into sight.
    pub(super) fn stand(&mut self, row: usize, cell: u64) {
        (self.row, self.cell) = (row, cell.min(self.count(row).saturating_sub(1)));
        let line = self.tops[row] + self.line_of(self.cell);
        if line < self.top || line >= self.top + self.height {
            self.top = line.saturating_sub(self.height / 3);
        }
        let end = self.tops.last().copied().unwrap_or(0);
        self.top = self.top.min(end.saturating_sub(self.height));
    }

    /// The line of its row in which a cell lies.
    pub(super) fn line_of(&self, cell: u64) -> usize {
        usize::try_from(cell).unwrap_or(0) / self.strip
    }

    fn by_cells(&mut self, by: i64) {
        match self.cell.checked_add_signed(by) {
            Some(cell) if cell < self.count(self.row) => self.stand(self.row, cell),
            Some(_) => self.beside(Step::On, 0),
            None => self.beside(Step::Back, u64::MAX),
        }
    }

    fn by_lines(&mut self, by: i64) {
        let step = if by < 0 { Step::Back } else { Step::On };
        for _ in 0..by.unsigned_abs().min(1 << 20) {
            let column = self.cell % self.strip as u64;
            let next = self.cell.checked_add_signed(match step {
                Step::On => self.strip as i64,
                Step::Back => -(self.strip as i64),
            });
            let lines = self.line_of(self.count(self.row).saturating_sub(1));
            match next {
                Some(cell) if self.line_of(cell) <= lines => self.stand(self.row, cell),
                _ => self.beside(step, column),
            }
        }
    }

    /// To the next row of areas: to `column` of its nearest line.
    fn beside(&mut self, step: Step, column: u64) {
        let row = match step {
            Step::On => (self.row + 1..self.rows.len()).find(|&row| self.group(row).is_some()),
            Step::Back => (0..self.row).rfind(|&row| self.group(row).is_some()),
        };
        let Some(row) = row else { return };
        let last = self.count(row).saturating_sub(1);
        let line = (self.line_of(last) * self.strip) as u64;
        match step {
            Step::On => self.stand(row, column),
            Step::Back => self.stand(row, line.saturating_add(column).min(last)),
        }
    }

    fn rezoom(&mut self, zoom: u32) {
        let finest = (0..self.rows.len()).all(|row| {
            self.group(row).is_none_or(|group| self.count(row) == pages_of(self.picture, group))
        });
        if zoom > self.zoom && (finest || self.tops.last().is_some_and(|end| *end > 1 << 24)) {
            self.tell("a cell is one page already, or there is no room for more");
            return;
        }
        let page = self.page();
        self.zoom = zoom;
        self.lay_out();
        self.go(self.row, page);
    }

    fn recolour(&mut self) {
        self.by = match (self.by, self.picture.ask) {
            (By::Verdict, _) => By::State,
            (By::State, Some(_)) => By::Verdict,
            (By::State, None) => {
                self.tell("nobody pins: start with --as CONSUMER to see verdicts");
                By::State
            }
        };
    }
}

/// The first page of cell `cell` of a row of `pages` pages in `count` cells.
fn first_page(pages: u64, count: u64, cell: u64) -> u64 {
    let page = u128::from(pages) * u128::from(cell) / u128::from(count.max(1));
    u64::try_from(page).unwrap_or(0)
}
