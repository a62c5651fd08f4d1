//! What came of a run, as a page for people: `docs/exactness.md`.

use super::purpose::ON_PURPOSE;
use super::run::Totals;
use super::tally::Count;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The page. `command` made it, on `kernel`.
pub fn markdown(totals: &Totals, command: &str, kernel: &str) -> String {
    let Totals { programs, operations, ok, differs, cannot_ask, .. } = totals;
    let seconds = totals.took.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a figure of a few digits")]
    let rate = (*operations as f64 / seconds.max(0.001)).round();
    let edits = totals.tally.edits();
    let mut page = format!(
        "# How exact\n\nMade by `{command}` on Linux {kernel}. Random programs are played in the engine and in the \
         running kernel, and compared\nafter every operation: what it returned, the areas of every process (range, \
         permissions, offset, file, merging), and the state of\nevery page of every process (which entries there are, \
         exclusive or shared, mapcount, which pages are the same frame).\n\n\
         | | |\n|---|---:|\n| programs | {programs} |\n| operations | {operations} |\n| of these, edits of a map | {edits} |\n\
         | the same in both | {ok} |\n| programs that differ | {differs} |\n| could not be asked | {cannot_ask} |\n\
         | operations per second | {rate} |\n\n"
    );
    page.push_str("## By operation and kind of memory\n\nEach cell: asked, and if not all agreed or could be asked, how many did not.\n\n");
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
