//! `cargo xtask linux-map`: row -> meaning -> code -> test, as `docs/linux-map.md`.
//!
//! Code is a file and the function around the decision, never a line, so that an edit elsewhere
//! leaves the map as it is. A row stands in the table only with evidence ([`crate::evidence`]); the
//! others are listed by id.

use crate::evidence::{self, Evidence};
use crate::repo;
use crate::rows::{self, BEHAVIOUR, REQUIRED, RowId};
use crate::rust_source::RustSource;
use anyhow::{Context, Result, bail, ensure};
use gup::rule::Rule;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The map.
pub(crate) const PATH: &str = "docs/linux-map.md";

/// How the map begins.
const HEAD: &str = "\
# From Linux to the code: row, code, test

Made by `cargo xtask linux-map`; not edited by hand. The rows are those of
[semantics.md](semantics.md). A row stands in a table here only if a test named for it ran,
passed, and saw the engine take that decision.

| family | rows | with code and test |
| --- | --- | --- |
";

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
    let required = rows::all()?.into_iter();
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
fn counts(rows: &[RowId], evidence: &[Evidence]) -> Vec<(char, usize, usize)> {
    let shown: BTreeSet<RowId> = evidence.iter().map(|line| line.row).collect();
    let of_family = |family: char| rows.iter().filter(move |row| row.family == family);
    BEHAVIOUR
        .iter()
        .map(|&family| {
            let with = of_family(family).filter(|row| shown.contains(row)).count();
            (family, with, of_family(family).count())
        })
        .collect()
}

fn render(rows: &[RowId], evidence: &[Evidence]) -> Result<String> {
    let shown = by_row(evidence)?;
    let mut out = String::from(HEAD);
    for (family, with, total) in counts(rows, evidence) {
        writeln!(out, "| {family} | {total} | {with} |")?;
    }
    for family in BEHAVIOUR {
        let of_family: Vec<RowId> =
            rows.iter().copied().filter(|row| row.family == family).collect();
        render_family(&mut out, family, &of_family, &shown)?;
    }
    Ok(out)
}

fn render_family(
    out: &mut String,
    family: char,
    rows: &[RowId],
    shown: &BTreeMap<RowId, Shown>,
) -> Result<()> {
    writeln!(out, "\n## {family}\n")?;
    if rows.iter().any(|row| shown.contains_key(row)) {
        writeln!(out, "| row | meaning | code | test |\n| --- | --- | --- | --- |")?;
    }
    for row in rows {
        let Some(found) = shown.get(row) else { continue };
        let (code, tests) = (listed(&found.code), listed(&found.tests));
        writeln!(out, "| {} | {} | {code} | {tests} |", row, meaning(*row))?;
    }
    let missing: Vec<String> =
        rows.iter().filter(|row| !shown.contains_key(row)).map(ToString::to_string).collect();
    if !missing.is_empty() {
        writeln!(out, "\nNot shown by a test: {}.", missing.join(" "))?;
    }
    Ok(())
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// What the engine's rule says, with its bars escaped for a table.
fn meaning(id: RowId) -> String {
    let rule = Rule::parse(&id.to_string());
    rule.map_or_else(String::new, |rule| rule.row().meaning.replace('|', "\\|"))
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
    fn the_meaning_is_the_rules_own() {
        let id = RowId::parse("A-01").unwrap();
        assert!(meaning(id).starts_with("A request for 0 pages"));
        assert_eq!(meaning(RowId { family: 'A', number: 26 }), "");
    }
}
