//! Draws a view with ratatui: heading, legend, the list, what is under the cursor, keys.

use super::ink::{By, Ink, Weight};
use super::plain::{fitted, headline};
use super::rows::{Row, pages_of, title, totals};
use super::verb::Shown;
use super::view::{Mode, View};
use super::words::{self, size};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

/// Whether colours may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// Yes.
    Yes,
    /// Letters alone: `NO_COLOR` is set.
    No,
}

const HELP: &str = "\
arrows, h j k l   move from cell to cell, from area to area
PgUp PgDn         a screen up, down
Home End, g G     lowest, highest address
+ -               more cells, down to one for each page; fewer
/                 search a name, permissions or an address
n N               next find; previous
r R               next page that would be refused; previous
c                 colour by state or by verdict
u                 look at the process again
q                 quit

A cell is a page or more: its letter says what weighs most in it, a capital that most of it is so.
A longer strip is a larger area, by the logarithm of its size. Each page is asked about alone.";

/// Draws all of it; tells the view how much room it has.
pub(crate) fn draw(
    view: &mut View<'_>,
    shown: &Shown<'_>,
    colours: Colours,
    frame: &mut Frame<'_>,
) {
    let legend = legend(view, colours, frame.area().width);
    let detail = if frame.area().height >= 20 { 5 } else { 2 };
    let [head, key, list, foot, keys] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(u16::try_from(legend.len()).unwrap_or(1)),
        Constraint::Min(1),
        Constraint::Length(detail),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let columns = Columns::of(list.width);
    view.resize(usize::from(list.width).saturating_sub(columns.labels), usize::from(list.height));
    heading(shown, head, frame);
    frame.render_widget(Paragraph::new(legend), key);
    let lines = (view.top..view.top + view.height)
        .map_while(|line| row_line(view, line, &columns, colours));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), list);
    under_cursor(view, foot, frame);
    frame.render_widget(Paragraph::new(footing(view)), keys);
    if view.mode == Mode::Help {
        help(frame);
    }
}

fn heading(shown: &Shown<'_>, area: Rect, frame: &mut Frame<'_>) {
    let lines = headline(shown).into_iter().enumerate().map(|(i, line)| match i {
        0 => Line::from(Span::styled(line, Modifier::BOLD)),
        _ => Line::from(line),
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

/// The inks that occur, as many lines as they need.
fn legend(view: &View<'_>, colours: Colours, width: u16) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut line: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (ink, pages) in totals(view.picture, view.by) {
        let words = format!(" {} {}   ", size(pages), ink.line());
        let room = words.chars().count() + 1;
        if used > 0 && used + room > usize::from(width) {
            lines.push(Line::from(std::mem::take(&mut line)));
            used = 0;
        }
        used += room;
        let letter = ink.letter().to_ascii_uppercase().to_string();
        line.push(Span::styled(letter, style(ink, colours)));
        line.push(Span::raw(words));
    }
    lines.push(Line::from(line));
    lines.truncate(4);
    lines
}

/// Which columns stand before strips.
struct Columns {
    address: bool,
    name: usize,
    labels: usize,
}

impl Columns {
    const fn of(width: u16) -> Self {
        let address = width >= 80;
        let name = if width >= 110 { 22 } else { 13 };
        let before = if address { 18 } else { 0 };
        Self { address, name, labels: before + 6 + name + 1 }
    }
}

/// One line of the list; `None` after the last.
fn row_line(
    view: &View<'_>,
    line: usize,
    columns: &Columns,
    colours: Colours,
) -> Option<Line<'static>> {
    let row = view.tops.partition_point(|top| *top <= line).checked_sub(1)?;
    let nth = line - view.tops[row];
    let before = if columns.address { 18 } else { 0 };
    match view.rows.get(row)? {
        Row::Gap { pages } => {
            let dots = "┈".repeat(view.strip.min(24));
            let text = format!(
                "{:before$}{:>5} {:name$} {dots}",
                "",
                size(*pages),
                "",
                name = columns.name
            );
            Some(Line::from(Span::styled(text, Modifier::DIM)))
        }
        Row::Areas(group) => {
            let mut spans = Vec::new();
            if nth == 0 {
                let start = view.picture.regions[group.start].place.area.start;
                let (name, perms) = title(view.picture, group);
                if columns.address {
                    spans.push(Span::styled(format!("{start:012x} {perms} "), Modifier::DIM));
                }
                let name = fitted(&name, columns.name);
                let pages = size(pages_of(view.picture, group));
                let name = format!("{pages:>5} {name:<width$} ", width = columns.name);
                let here = if row == view.row { Modifier::BOLD } else { Modifier::empty() };
                spans.push(Span::styled(name, here));
            } else {
                spans.push(Span::raw(" ".repeat(columns.labels)));
            }
            let cursor = (row == view.row && nth == view.line_of(view.cell))
                .then(|| usize::try_from(view.cell).unwrap_or(0) % view.strip);
            for (i, cell) in view.line(row, nth).iter().enumerate() {
                let (ink, _) = cell.main_ink(view.picture, view.by);
                let mut style = style(ink, colours);
                if cursor == Some(i) {
                    style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
                }
                spans.push(Span::styled(cell.letter(view.picture, view.by).to_string(), style));
            }
            Some(Line::from(spans))
        }
    }
}

fn style(ink: Ink, colours: Colours) -> Style {
    if ink.weight() == Weight::Ground {
        return Style::new().add_modifier(Modifier::DIM);
    }
    if colours == Colours::No {
        return Style::new();
    }
    let (red, green, blue) = ink.rgb();
    let text = if ink.is_bright() { Color::Rgb(0, 0, 0) } else { Color::Rgb(255, 255, 255) };
    Style::new().bg(Color::Rgb(red, green, blue)).fg(text)
}

/// What the cell under the cursor is.
fn under_cursor(view: &View<'_>, area: Rect, frame: &mut Frame<'_>) {
    let Some(cell) = view.cell() else {
        frame.render_widget(Paragraph::new("nothing is mapped"), area);
        return;
    };
    let pages = if cell.pages == 1 { "1 page".to_owned() } else { format!("{} pages", cell.pages) };
    let place = cell.parts.first().and_then(|part| view.picture.regions.get(part.region));
    let mapping = place.map(|region| words::clean(&region.place.area.to_string()));
    let first = format!("{:#x}, {pages}, in {}", cell.start, mapping.unwrap_or_default());
    let mut lines = vec![Line::from(Span::styled(first, Modifier::BOLD))];
    let mut parts = cell.parts.clone();
    parts.sort_by_key(|part| {
        let ink = Ink::of(part.kind_in(view.picture), By::Verdict);
        std::cmp::Reverse((ink == Ink::Refused, part.pages))
    });
    for part in parts {
        let kind = part.kind_in(view.picture);
        let what = kind.map_or("not looked at".to_owned(), words::sentence);
        let mut line = format!("{:>5}  {what}", size(part.pages));
        let remedy = kind.and_then(|kind| kind.fate.as_ref()).map_or("", words::remedy);
        if !remedy.is_empty() {
            line.push_str("; instead: ");
            line.push_str(remedy);
        }
        lines.push(Line::from(line));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn footing(view: &View<'_>) -> Line<'static> {
    match &view.mode {
        Mode::Typing(text) => Line::from(format!("/{text}▏")),
        Mode::Look | Mode::Help if !view.note.is_empty() => Line::from(view.note.clone()),
        Mode::Look | Mode::Help => Line::from(Span::styled(
            "arrows move   + - zoom   / search   r refused   c colour   ? help   q quit",
            Modifier::DIM,
        )),
    }
}

fn help(frame: &mut Frame<'_>) {
    let all = frame.area();
    let (width, height) = (all.width.min(76), all.height.min(18));
    let (x, y) = ((all.width - width) / 2, (all.height - height) / 2);
    let area = Rect { x, y, width, height };
    let help = Paragraph::new(HELP).wrap(Wrap { trim: false });
    frame.render_widget(Clear, area);
    frame.render_widget(help.block(Block::bordered().title(" keys ")), area);
}
