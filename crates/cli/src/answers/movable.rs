//! `--movable`: which pages a long-term pin must move first.

use gup_mirror::answer::movable::{Movable, Warning};
use serde::Serialize;
use std::io::{self, Write};

/// The field `movable`.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    longterm: bool,
    pages: Pages,
    maybe_cma_at_most: u64,
    moved_pages: u64,
    moved_folios: u64,
    fails: Option<String>,
    warnings: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Pages {
    ordinary: u64,
    movable: u64,
    cma: u64,
    device: u64,
    unknown: u64,
}

impl Object {
    /// The JSON form.
    pub(crate) fn new(movable: &Movable) -> Self {
        let places = &movable.places;
        Self {
            longterm: movable.longterm,
            pages: Pages {
                ordinary: places.ordinary,
                movable: places.movable,
                cma: places.cma,
                device: places.device,
                unknown: places.unknown,
            },
            maybe_cma_at_most: movable.maybe_cma,
            moved_pages: movable.moves.pages,
            moved_folios: movable.moves.folios,
            fails: movable.fails.map(|rule| rule.to_string()),
            warnings: movable.warnings.iter().map(|warning| Warning::name(*warning)).collect(),
        }
    }
}

/// The paragraph.
pub(crate) fn print(movable: &Movable, out: &mut impl Write) -> io::Result<()> {
    let moves = movable.moves;
    match (movable.longterm, moves.pages) {
        (false, _) => writeln!(out, "  moves     nothing: this is no long-term pin")?,
        (true, 0) => {
            writeln!(out, "  moves     nothing that is known to lie where it may not stay")?;
        }
        (true, pages) => writeln!(
            out,
            "  moves     {pages} pages ({} folios) out of movable memory first",
            moves.folios
        )?,
    }
    if let Some(rule) = movable.fails {
        let row = rule.row();
        writeln!(out, "            and fails there: {}    {rule}", row.meaning)?;
        writeln!(out, "  instead   {}", row.remedy)?;
    }
    let places = &movable.places;
    let parts = [
        (places.ordinary, "ordinary"),
        (places.movable, "in the movable zone"),
        (places.cma, "in CMA"),
        (places.device, "in device memory"),
        (places.unknown, "not seen (frame numbers need CAP_SYS_ADMIN)"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(pages, _)| *pages > 0)
        .map(|(pages, what)| format!("{pages} {what}"))
        .collect();
    if !parts.is_empty() {
        writeln!(out, "  pages     {} of those in memory", parts.join(", "))?;
    }
    if movable.maybe_cma > 0 {
        writeln!(
            out,
            "  unknown   whether up to {} of the ordinary pages are in CMA, which the kernel does \
             not publish (debugfs may: /sys/kernel/debug/cma)",
            movable.maybe_cma
        )?;
    }
    for warning in &movable.warnings {
        writeln!(out, "  warning   {}", warning.sentence())?;
    }
    Ok(())
}
