//! `cargo xtask linux-map`: row -> meaning -> code -> test, as `docs/linux-map.md`.
//!
//! Code is a file and the function around the decision, never a line, so that an edit elsewhere leaves the map as it
//! is. A row stands in the table only with evidence ([`crate::evidence`]); the others are listed by id.

use crate::evidence::{self, Evidence};
use crate::repo;
use crate::rows::{self, BEHAVIOUR, REQUIRED, Row, RowId};
use crate::rust_source::RustSource;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The map.
pub(crate) const PATH: &str = "docs/linux-map.md";
/// How many characters of a row's text the map shows.
const MEANING_CHARS_MAX: usize = 110;

/// What is known of one row: where it is decided, and which tests saw it.
#[derive(Default)]
struct Shown {
    code: BTreeSet<String>,
    tests: BTreeSet<String>,
}

/// The verb.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("linux-map takes --check or nothing"),
    };
    let evidence = evidence::collect()?;
    let map = render(&rows::all()?, &evidence)?;
    if check {
        let committed = repo::read(PATH).unwrap_or_default();
        ensure!(committed == map, "{PATH} is stale; run `cargo xtask linux-map`");
    } else {
        std::fs::write(repo::root().join(PATH), &map).context(PATH)?;
        println!("wrote {PATH}");
    }
    report(&evidence)?;
    let missing = missing_in(&map)?;
    let ids: Vec<String> = missing.iter().map(ToString::to_string).collect();
    ensure!(!check || missing.is_empty(), "rows without code and test: {}", ids.join(" "));
    Ok(())
}

/// Whether the committed map differs from what the row tests show.
pub(crate) fn is_stale() -> Result<bool> {
    let map = render(&rows::all()?, &evidence::fresh()?)?;
    Ok(repo::read(PATH).unwrap_or_default() != map)
}

/// The required rows that the committed map does not show with code and test.
pub(crate) fn missing_in_file() -> Result<Vec<RowId>> {
    missing_in(&repo::read(PATH).unwrap_or_default())
}

fn missing_in(map: &str) -> Result<Vec<RowId>> {
    let shown: BTreeSet<RowId> = map.lines().filter_map(shown_row).collect();
    let required = rows::all()?.into_iter().map(|row| row.id);
    Ok(required.filter(|id| REQUIRED.contains(&id.family) && !shown.contains(id)).collect())
}

/// The id of a table line that has all four cells filled.
fn shown_row(line: &str) -> Option<RowId> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
    let [id, _, code, tests] = cells.as_slice() else { return None };
    (code.contains('`') && tests.contains('`')).then(|| RowId::parse(id))?
}

fn report(evidence: &[Evidence]) -> Result<()> {
    for (family, shown, total) in counts(&rows::all()?, evidence) {
        let required = if REQUIRED.contains(&family) { ", all required" } else { "" };
        println!("{family}: {shown} of {total} rows have code and test{required}");
    }
    Ok(())
}

/// For each family: its letter, the rows with evidence, all rows.
fn counts(rows: &[Row], evidence: &[Evidence]) -> Vec<(char, usize, usize)> {
    let shown: BTreeSet<RowId> = evidence.iter().map(|line| line.row).collect();
    let of_family = |family: char| rows.iter().filter(move |row| row.id.family == family);
    BEHAVIOUR
        .iter()
        .map(|&family| {
            let with = of_family(family).filter(|row| shown.contains(&row.id)).count();
            (family, with, of_family(family).count())
        })
        .collect()
}

fn render(rows: &[Row], evidence: &[Evidence]) -> Result<String> {
    let shown = by_row(evidence)?;
    let mut out = String::from(
        "# From Linux to the code: row, code, test\n\n\
         Made by `cargo xtask linux-map`; not edited by hand. The rows are those of [semantics.md](semantics.md). A row\n\
         stands in a table here only if a test named for it ran, passed, and saw the engine take that decision.\n\n\
         | family | rows | with code and test |\n| --- | --- | --- |\n",
    );
    for (family, with, total) in counts(rows, evidence) {
        writeln!(out, "| {family} | {total} | {with} |")?;
    }
    for family in BEHAVIOUR {
        let of_family: Vec<&Row> = rows.iter().filter(|row| row.id.family == family).collect();
        render_family(&mut out, family, &of_family, &shown)?;
    }
    Ok(out)
}

fn render_family(
    out: &mut String,
    family: char,
    rows: &[&Row],
    shown: &BTreeMap<RowId, Shown>,
) -> Result<()> {
    writeln!(out, "\n## {family}\n")?;
    if rows.iter().any(|row| shown.contains_key(&row.id)) {
        writeln!(out, "| row | meaning | code | test |\n| --- | --- | --- | --- |")?;
    }
    for row in rows {
        let Some(found) = shown.get(&row.id) else { continue };
        let (code, tests) = (listed(&found.code), listed(&found.tests));
        writeln!(out, "| {} | {} | {code} | {tests} |", row.id, meaning(&row.text))?;
    }
    let missing: Vec<String> = rows
        .iter()
        .filter(|row| !shown.contains_key(&row.id))
        .map(|row| row.id.to_string())
        .collect();
    if !missing.is_empty() {
        writeln!(out, "\nNot shown by a test: {}.", missing.join(" "))?;
    }
    Ok(())
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// The row's text, cut at a word, with its bars escaped for a table.
fn meaning(text: &str) -> String {
    let plain = text.replace("**", "");
    let mut cut: String = plain.chars().take(MEANING_CHARS_MAX).collect();
    if cut.len() < plain.len() {
        cut.truncate(cut.rfind(' ').unwrap_or(cut.len()));
        cut.push('…');
    }
    cut.replace('|', "\\|")
}

fn by_row(evidence: &[Evidence]) -> Result<BTreeMap<RowId, Shown>> {
    let mut files: BTreeMap<&str, RustSource> = BTreeMap::new();
    let mut shown: BTreeMap<RowId, Shown> = BTreeMap::new();
    for line in evidence {
        if !files.contains_key(line.file.as_str()) {
            files.insert(&line.file, RustSource::new(&line.file, repo::read(&line.file)?));
        }
        let function = files[line.file.as_str()].function_around(line.line);
        let place = function.map_or_else(String::new, |name| format!(" `{name}`"));
        let found = shown.entry(line.row).or_default();
        found.code.insert(format!("`{}`{place}", line.file));
        found.tests.insert(format!("`{}`", line.test));
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_only_with_code_and_test() {
        assert_eq!(shown_row("| A-31 | x | `a.rs` `f` | `t` |"), RowId::parse("A-31"));
        assert_eq!(shown_row("| A-31 | x | `a.rs` |  |"), None);
        assert_eq!(shown_row("Not shown by a test: A-31."), None);
    }

    #[test]
    fn a_meaning_is_cut_at_a_word_and_keeps_the_table() {
        assert_eq!(meaning("FORCE|WRITE"), "FORCE\\|WRITE");
        let long = meaning(&"word ".repeat(60));
        assert!(long.ends_with("word…") && long.chars().count() <= MEANING_CHARS_MAX + 1);
    }
}
