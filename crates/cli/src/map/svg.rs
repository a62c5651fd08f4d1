//! The picture as SVG: one file without references, in light and in dark.
//!
//! A cell is a column four units wide; where its pages differ, it is divided in proportion. Only
//! the last part of a path is written, so that a picture can be shown around.

use super::ink::{By, Ink, Weight};
use super::plain::{fitted, headline};
use super::rows::{Cell, Row, Scale, cells, pages_of, rows, title, totals};
use super::verb::Shown;
use super::words::size;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The most rows for areas.
const ROWS: usize = 90;
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;
/// Where strips begin.
const STRIP: f64 = 364.0;
const CELL: f64 = 4.0;
const CELLS: usize = 143;
const HEIGHT: f64 = 13.0;
/// From one row to the next.
const PITCH: f64 = 18.0;
/// The least height of what is there at all.
const LEAST: f64 = 2.0;

/// The drawing, as a whole file.
pub(crate) fn drawing(shown: &Shown<'_>) -> String {
    let mut body = String::new();
    let mut y = head(shown, &mut body);
    y = legend(shown, &mut body, y);
    y = areas(shown, &mut body, y);
    let height = y + MARGIN - 8.0;
    let title = escape(&headline(shown).join(". "));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n<defs>\n{}</defs>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n{body}</svg>\n",
        style(shown.by),
        hatch(),
    )
}

fn style(by: By) -> String {
    let mut text = String::from(
        "text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;\
         fill:#1f2328;white-space:pre}\n.head{font-size:17px;font-weight:600}\n\
         .soft{fill:#636c76}\n.end{text-anchor:end}\n.ground{fill:#ffffff;stroke:#d8dce1}\n\
         .line{stroke:#c4cad1;stroke-dasharray:2 3}\n.h{fill:url(#hatch)}\n\
         .hl{stroke:#fff;stroke-opacity:.75}\n",
    );
    let inks = || Ink::ALL.iter().filter(|ink| ink.by() == by);
    for ink in inks() {
        let _ = writeln!(text, ".{}{{fill:{}}}", ink.id(), ink.light());
    }
    text.push_str(
        "@media (prefers-color-scheme:dark){\ntext{fill:#e6e8eb}\n.soft{fill:#9aa4af}\n\
         .ground{fill:#0f1216;stroke:#2d333b}\n.line{stroke:#3a424c}\n\
         .hl{stroke:#000;stroke-opacity:.55}\n",
    );
    for ink in inks() {
        let _ = writeln!(text, ".{}{{fill:{}}}", ink.id(), ink.dark());
    }
    text.push_str("}\n");
    text
}

fn hatch() -> &'static str {
    "<pattern id=\"hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" \
     patternTransform=\"rotate(45)\"><path class=\"hl\" d=\"M0 0V5\" stroke-width=\"2.4\"/>\
     </pattern>\n"
}

/// Title and subtitle; where the next thing goes.
fn head(shown: &Shown<'_>, body: &mut String) -> f64 {
    let mut y = MARGIN + 16.0;
    for (i, line) in headline(shown).iter().enumerate() {
        let class = if i == 0 { "head" } else { "soft" };
        let _ = writeln!(
            body,
            "<text class=\"{class}\" x=\"{MARGIN}\" y=\"{y}\">{}</text>",
            escape(line)
        );
        y += 20.0;
    }
    y
}

fn legend(shown: &Shown<'_>, body: &mut String, y: f64) -> f64 {
    const COLUMN: f64 = 304.0;
    let mut at = (MARGIN, y);
    for (ink, pages) in totals(shown.picture, shown.by) {
        if at.0 + COLUMN > WIDTH {
            at = (MARGIN, at.1 + PITCH);
        }
        let (x, y) = at;
        swatch(body, ink, x, y - 10.0);
        let (x, words) = (x + 20.0, format!("{} {}", size(pages), ink.line()));
        let _ =
            writeln!(body, "<text class=\"soft\" x=\"{x}\" y=\"{y}\">{}</text>", escape(&words));
        at.0 += COLUMN;
    }
    at.1 + PITCH + 6.0
}

fn swatch(body: &mut String, ink: Ink, x: f64, y: f64) {
    let rect = format!("x=\"{x}\" y=\"{y}\" width=\"13\" height=\"12\" rx=\"2\"");
    let _ = writeln!(body, "<rect class=\"{}\" {rect}/>", ink.id());
    if ink.hatched() {
        let _ = writeln!(body, "<rect class=\"h\" {rect}/>");
    }
}

fn areas(shown: &Shown<'_>, body: &mut String, mut y: f64) -> f64 {
    let picture = shown.picture;
    let rows = rows(picture, ROWS);
    let scale = Scale::new(picture, &rows, CELLS);
    for row in &rows {
        match row {
            Row::Gap { pages } => {
                let _ = writeln!(
                    body,
                    "<text class=\"soft end\" x=\"206\" y=\"{}\">{}</text>\
                     <path class=\"line\" d=\"M218 {mid}H{}\"/>",
                    y + 9.0,
                    size(*pages),
                    WIDTH - MARGIN,
                    mid = y + 5.5,
                );
                y += 15.0;
            }
            Row::Areas(group) => {
                let pages = pages_of(picture, group);
                let start = picture.regions[group.start].place.area.start;
                let (name, perms) = title(picture, group);
                let line = y + 10.5;
                let _ = writeln!(
                    body,
                    "<g><title>{}</title><text class=\"soft\" x=\"{MARGIN}\" y=\"{line}\">\
                     {start:012x} {perms}</text>\
                     <text class=\"end\" x=\"206\" y=\"{line}\">{}</text>\
                     <text x=\"214\" y=\"{line}\">{}</text>",
                    escape(&name),
                    size(pages),
                    escape(&fitted(&name, 20)),
                );
                let count = scale.cells(pages);
                strip(shown, &cells(picture, group, count, 0..count), body, y);
                body.push_str("</g>\n");
                y += PITCH;
            }
        }
    }
    y
}

/// One path for each ink: neighbours alike are one rectangle.
fn strip(shown: &Shown<'_>, cells: &[Cell], body: &mut String, y: f64) {
    let mut paths: BTreeMap<Ink, String> = BTreeMap::new();
    let bands: Vec<Vec<Band>> = cells.iter().map(|cell| bands(shown, cell)).collect();
    let mut first = 0;
    while first < bands.len() {
        let alike = bands[first..].iter().take_while(|other| **other == bands[first]).count();
        let x = STRIP + f64::from(u32::try_from(first).unwrap_or(0)) * CELL;
        let width = f64::from(u32::try_from(alike).unwrap_or(0)) * CELL;
        for band in &bands[first] {
            let path = paths.entry(band.ink).or_default();
            let _ = write!(
                path,
                "M{} {}h{}v{}h-{2}z",
                number(x),
                number(y + band.top),
                number(width),
                number(band.height)
            );
        }
        first += alike;
    }
    for (ink, path) in paths {
        let _ = write!(body, "<path class=\"{}\" d=\"{path}\"/>", ink.id());
        if ink.hatched() {
            let _ = write!(body, "<path class=\"h\" d=\"{path}\"/>");
        }
    }
}

/// A part of a cell, from `top` down.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Band {
    ink: Ink,
    top: f64,
    height: f64,
}

/// The parts of a cell from below: what weighs most stands on the ground line.
fn bands(shown: &Shown<'_>, cell: &Cell) -> Vec<Band> {
    let mut inks = cell.inks(shown.picture, shown.by);
    inks.sort_by_key(|(ink, pages)| (ink.weight(), *pages));
    let total: u64 = inks.iter().map(|(_, pages)| pages).sum();
    let share = |pages: u64| {
        let per_mille = u128::from(pages) * 1000 / u128::from(total.max(1));
        HEIGHT * f64::from(u32::try_from(per_mille).unwrap_or(0)) / 1000.0
    };
    let ground = |ink: Ink| ink.weight() == Weight::Ground;
    let mut bottom = HEIGHT;
    let mut bands = Vec::new();
    for &(ink, pages) in inks.iter().rev() {
        let least = if ground(ink) { 0.0 } else { LEAST };
        let height = share(pages).max(least).min(bottom);
        // Whole tenths, so that cells that look alike are alike.
        let height = (height * 10.0).round() / 10.0;
        bottom = ((bottom - height) * 10.0).round() / 10.0;
        if height > 0.0 {
            bands.push(Band { ink, top: bottom, height });
        }
    }
    if let Some(last) = bands.last_mut() {
        last.height = ((last.height + bottom) * 10.0).round() / 10.0;
        last.top = 0.0;
    }
    bands
}

/// A number with one decimal at most.
fn number(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// `text` as XML has it.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // What XML cannot have at all.
            '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}
