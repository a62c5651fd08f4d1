//! What came of a run, as a page for people: `docs/exactness.md`.

use super::purpose::ON_PURPOSE;
use super::run::Totals;
use super::tally::Count;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What the figures are about.
const HOW: &str = " Random programs are played in the engine
and in the running kernel, and compared after every operation: what it returned, the areas of every
process (range, permissions, offset, file, merging), and the state of every page of every process
(which entries there are, exclusive or shared, mapcount, which pages are the same frame).
";
/// What else, where it was looked at.
const COUNTS: &str =
    "Also every page's counts and what its entry says, as far as [counts.md](counts.md) says.\n";

/// How a page was made.
#[derive(Clone, Copy, Debug)]
pub struct Made<'m> {
    /// The command that made it.
    pub command: &'m str,
    /// The kernel's version.
    pub kernel: &'m str,
    /// Counts and entries were compared.
    pub counts: bool,
}

/// The page.
pub fn markdown(totals: &Totals, made: &Made<'_>) -> String {
    let Made { command, kernel, counts } = made;
    let Totals { programs, operations, ok, differs, unsteady, cannot_ask, .. } = totals;
    let took = totals.took.as_millis().max(1);
    let rate = u64::try_from(u128::from(*operations) * 1000 / took).unwrap_or(u64::MAX);
    let edits = totals.tally.edits();
    let mut page = format!("# How exact\n\nMade by `{command}` on Linux {kernel}.{HOW}");
    page.push_str(if *counts { COUNTS } else { "" });
    page.push('\n');
    let rows = [
        ("programs", *programs),
        ("operations", *operations),
        ("of these, edits of a map", edits),
        ("the same in both", *ok),
        ("programs that differ", *differs),
        ("unsteady: the kernel, asked again, answered otherwise", *unsteady),
        ("could not be asked", *cannot_ask),
        ("operations per second", rate),
    ];
    page.push_str("| | |\n|---|---:|\n");
    for (what, count) in rows {
        let _ = writeln!(page, "| {what} | {count} |");
    }
    page.push_str(
        "\n## By operation and kind of memory\n\nEach cell: asked, and if not all agreed or could \
         be asked, how many did not.\n\n",
    );
    table(totals, &mut page);
    page.push_str("\n## What could not be asked\n\n");
    if totals.reasons.is_empty() {
        page.push_str("Nothing.\n");
    }
    for (why, count) in &totals.reasons {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "- {count} times: {why}");
    }
    page.push_str("\n## What stays different on purpose\n\nNot drawn, by name:\n\n");
    for purpose in ON_PURPOSE {
        let _ = writeln!(page, "- **{}**: {}.", purpose.name, purpose.reason);
    }
    page
}

fn table(totals: &Totals, page: &mut String) {
    let kinds: BTreeSet<&str> = totals.tally.0.keys().map(|(_, kind)| *kind).collect();
    page.push_str("| operation |");
    for kind in &kinds {
        let _ = write!(page, " {} |", if *kind == "-" { "of no memory" } else { kind });
    }
    page.push_str("\n|---|");
    page.push_str(&"---:|".repeat(kinds.len()));
    page.push('\n');
    for operation in totals.tally.by_operation().keys() {
        let _ = write!(page, "| {operation} |");
        for kind in &kinds {
            let count = totals.tally.0.get(&((*operation).to_owned(), *kind));
            let _ = write!(page, " {} |", count.map(cell).unwrap_or_default());
        }
        page.push('\n');
    }
}

fn cell(count: &Count) -> String {
    let Count { asked, agreed, cannot_ask } = *count;
    let mut text = asked.to_string();
    if agreed < asked {
        let _ = write!(text, ", {} differ", asked - agreed);
    }
    if cannot_ask > 0 {
        let _ = write!(text, ", {cannot_ask} not asked");
    }
    text
}
