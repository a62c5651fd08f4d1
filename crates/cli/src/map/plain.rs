//! The picture as lines of letters: for pipes, dumb terminals, and `--plain`.
//!
//! Letters carry everything; colour is added where the terminal shows it. Lines fit into the
//! terminal's width, or 100 columns where there is none.

use super::ink::{By, Ink, Weight};
use super::rows::{Cell, Row, Scale, cells, pages_of, rows, title, totals};
use super::verb::Shown;
use super::words::{self, size};
use crate::answers::count;
use anstyle::{Color, RgbColor, Style};
use gup_mirror::picture::fate::Fate;
use std::io::{self, Write};

/// The most rows for areas.
const ROWS: usize = 100;

/// Prints the picture in lines of `width` columns.
pub(crate) fn print(shown: &Shown<'_>, width: usize, out: &mut impl Write) -> io::Result<()> {
    let picture = shown.picture;
    for line in headline(shown) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;
    let rows = rows(picture, ROWS);
    let columns = Columns::of(width);
    let scale = Scale::new(picture, &rows, columns.strip);
    for row in &rows {
        match row {
            Row::Gap { pages } => writeln!(out, "{}", columns.gap(*pages))?,
            Row::Areas(group) => {
                let start = picture.regions[group.start].place.area.start;
                let pages = pages_of(picture, group);
                let (name, perms) = title(picture, group);
                write!(out, "{}", columns.labels(start, &perms, pages, &name))?;
                let count = scale.cells(pages);
                for cell in cells(picture, group, count, 0..count) {
                    draw(&cell, shown, out)?;
                }
                writeln!(out)?;
            }
        }
    }
    writeln!(out)?;
    legend(shown, out)
}

/// What the picture shows, in one or two lines.
pub(crate) fn headline(shown: &Shown<'_>) -> Vec<String> {
    let picture = shown.picture;
    let pages: u64 = picture.regions.iter().map(gup_mirror::picture::Region::pages).sum();
    let (name, pid) = (words::clean(&picture.name), picture.pid);
    let kernel = shown.kernel;
    let mut first = format!(
        "{name} ({pid}), Linux {kernel}: {} in {}",
        size(pages),
        count(picture.regions.len() as u64, "area")
    );
    if picture.raced {
        first.push_str("; its areas changed while they were read");
    }
    let mut lines = vec![first];
    if let Some(asker) = words::asker_on(picture, kernel) {
        let refused =
            totals(picture, By::Verdict).into_iter().find(|(ink, _)| *ink == Ink::Refused);
        lines.push(match refused {
            Some((_, pages)) => format!("{asker}: {} would be refused", size(pages)),
            None => format!("{asker}: no page would be refused"),
        });
    }
    lines
}

/// Which columns there is room for.
struct Columns {
    address: bool,
    perms: bool,
    name: usize,
    strip: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        let (address, perms) = (width >= 72, width >= 60);
        let name = if width >= 90 { 24 } else { 14 };
        let labels = if address { 13 } else { 0 } + if perms { 5 } else { 0 } + 6 + name + 1;
        Self { address, perms, name, strip: width.saturating_sub(labels).max(8) }
    }

    fn labels(&self, start: u64, perms: &str, pages: u64, name: &str) -> String {
        let address = if self.address { format!("{start:012x} ") } else { String::new() };
        let perms = if self.perms { format!("{perms} ") } else { String::new() };
        let name = fitted(name, self.name);
        format!("{address}{perms}{:>5} {name:<1$} ", size(pages), self.name)
    }

    fn gap(&self, pages: u64) -> String {
        let before = if self.address { 13 } else { 0 } + if self.perms { 5 } else { 0 };
        format!("{:before$}{:>5} ⋮", "", size(pages))
    }
}

/// `name` cut to `room` columns.
pub(crate) fn fitted(name: &str, room: usize) -> String {
    if name.chars().count() <= room {
        return name.to_owned();
    }
    let kept: String = name.chars().take(room.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn draw(cell: &Cell, shown: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
    let (ink, _) = cell.main_ink(shown.picture, shown.by);
    let (letter, style) = (cell.letter(shown.picture, shown.by), style(ink));
    write!(out, "{style}{letter}{style:#}")
}

fn style(ink: Ink) -> Style {
    if ink.weight() == Weight::Ground {
        return Style::new().dimmed();
    }
    let (red, green, blue) = ink.rgb();
    let text = if ink.is_bright() { RgbColor(0, 0, 0) } else { RgbColor(255, 255, 255) };
    Style::new()
        .bg_color(Some(Color::Rgb(RgbColor(red, green, blue))))
        .fg_color(Some(Color::Rgb(text)))
}

fn legend(shown: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
    for (ink, pages) in totals(shown.picture, shown.by) {
        let style = style(ink);
        let letter = ink.letter().to_ascii_uppercase();
        writeln!(out, "{style}{letter}{style:#} {:>5}  {}", size(pages), ink.line())?;
    }
    if shown.by == By::Verdict {
        for Refusal { why, pages, .. } in refusals(shown) {
            writeln!(out, "{:>7}  {why}", size(pages))?;
        }
    }
    writeln!(
        out,
        "a letter is a page or more: in capitals, most of them are so; a longer strip is"
    )?;
    writeln!(out, "a larger area, by the logarithm of its size")
}

/// Why so many pages are refused.
pub(crate) struct Refusal {
    /// In words.
    pub(crate) why: String,
    /// What to do about it; may be empty.
    pub(crate) remedy: &'static str,
    /// How many.
    pub(crate) pages: u64,
}

/// Why pages are refused, most first.
pub(crate) fn refusals(shown: &Shown<'_>) -> Vec<Refusal> {
    let mut found: Vec<Refusal> = Vec::new();
    for kind in shown.picture.regions.iter().flat_map(|region| &region.kinds) {
        let Some(fate @ Fate::Refused { .. }) = &kind.fate else { continue };
        let (why, remedy, pages) = (words::outcome(fate), words::remedy(fate), kind.pages);
        match found.iter_mut().find(|known| known.why == why) {
            Some(known) => known.pages += pages,
            None => found.push(Refusal { why, remedy, pages }),
        }
    }
    found.sort_by_key(|refusal| std::cmp::Reverse(refusal.pages));
    found
}
