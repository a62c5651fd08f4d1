//! `cargo xtask linux-map`: row -> meaning -> code -> test, as `docs/linux-map.md`.
//!
//! Code is a file and the function around the decision, never a line, so that an edit elsewhere
//! leaves the map as it is. A row stands in the table only with evidence ([`crate::evidence`]); the
//! others are listed by id, and those that apply to nothing here with the reason.

use crate::evidence::{self, Evidence};
use crate::mutate;
use crate::repo;
use crate::rows::{self, BEHAVIOUR, Row, RowId};
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
passed, and saw the engine take that decision. Invariants (I), oddities (O) and public tests (T) are
no decisions of their own: *switch* names the rule that keeps them, and *code* is where that rule
decided.

*switch*: `cargo xtask mutate` switches the decision off and expects the row's tests to fail. Where
it says *reports*, the code has no branch to switch: it says that it does what the row says, and the
test asserts that it did.

| family | rows | with code and test | with a switch |
| --- | --- | --- | --- |
";

/// What is known of one row: where it is decided, which tests saw it, and which rules decided.
#[derive(Default)]
struct Shown {
    code: BTreeSet<String>,
    tests: BTreeSet<String>,
    by: BTreeSet<RowId>,
}

/// Everything that the map says.
struct Known {
    rows: Vec<Row>,
    shown: BTreeMap<RowId, Shown>,
    /// Rules that can be switched off.
    switches: BTreeSet<RowId>,
}

/// The verb.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("linux-map takes --check or nothing"),
    };
    let known = Known::from(&evidence::collect()?)?;
    let map = known.render()?;
    if check {
        let committed = repo::read(PATH).unwrap_or_default();
        ensure!(committed == map, "{PATH} is stale; run `cargo xtask linux-map`");
    } else {
        std::fs::write(repo::root().join(PATH), &map).context(PATH)?;
        println!("wrote {PATH}");
    }
    for family in BEHAVIOUR {
        let count = known.count(family);
        println!("{family}: {} of {} rows have code and test", count.shown, count.rows);
    }
    let missing = missing_in(&map)?;
    let ids: Vec<String> = missing.iter().map(ToString::to_string).collect();
    ensure!(!check || missing.is_empty(), "rows without code and test: {}", ids.join(" "));
    Ok(())
}

/// Whether the committed map differs from what the row tests show.
pub(crate) fn is_stale() -> Result<bool> {
    let map = Known::from(&evidence::fresh()?)?.render()?;
    Ok(repo::read(PATH).unwrap_or_default() != map)
}

/// The rows that the committed map does not show with code and test, though it should.
pub(crate) fn missing_in_file() -> Result<Vec<RowId>> {
    missing_in(&repo::read(PATH).unwrap_or_default())
}

fn missing_in(map: &str) -> Result<Vec<RowId>> {
    let shown: BTreeSet<RowId> = map.lines().filter_map(shown_row).collect();
    let wanted = rows::all()?.into_iter().filter(|row| row.not_here.is_none());
    Ok(wanted.map(|row| row.id).filter(|id| !shown.contains(id)).collect())
}

/// The id of a table line that has all its cells filled.
fn shown_row(line: &str) -> Option<RowId> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
    let [id, _, code, tests, _] = cells.as_slice() else { return None };
    (code.contains('`') && tests.contains('`')).then(|| RowId::parse(id))?
}

/// Of one family: rows that apply, those with evidence, those of them with a switch.
struct Count {
    rows: usize,
    shown: usize,
    switched: usize,
}

impl Known {
    fn from(evidence: &[Evidence]) -> Result<Self> {
        let switches = mutate::switches()?;
        Ok(Self { rows: rows::all()?, shown: by_row(evidence)?, switches })
    }

    fn of_family(&self, family: char) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.id.family == family)
    }

    fn count(&self, family: char) -> Count {
        let rows = self.of_family(family).filter(|row| row.not_here.is_none());
        let shown: Vec<&Shown> =
            self.of_family(family).filter_map(|row| self.shown.get(&row.id)).collect();
        let switched = shown.iter().filter(|shown| !shown.by.is_disjoint(&self.switches));
        Count { rows: rows.count(), shown: shown.len(), switched: switched.count() }
    }

    fn render(&self) -> Result<String> {
        let mut out = String::from(HEAD);
        for family in BEHAVIOUR {
            let Count { rows, shown, switched } = self.count(family);
            writeln!(out, "| {family} | {rows} | {shown} | {switched} |")?;
        }
        for family in BEHAVIOUR {
            self.render_family(&mut out, family)?;
        }
        Ok(out)
    }

    fn render_family(&self, out: &mut String, family: char) -> Result<()> {
        writeln!(out, "\n## {family}\n")?;
        if self.of_family(family).any(|row| self.shown.contains_key(&row.id)) {
            let rule = "| --- | --- | --- | --- | --- |";
            writeln!(out, "| row | meaning | code | test | switch |\n{rule}")?;
        }
        for row in self.of_family(family) {
            let Some(found) = self.shown.get(&row.id) else { continue };
            let (code, tests) = (listed(&found.code), listed(&found.tests));
            let switch = self.switch(row.id, found);
            writeln!(out, "| {} | {} | {code} | {tests} | {switch} |", row.id, meaning(row))?;
        }
        let open = |row: &&Row| row.not_here.is_none() && !self.shown.contains_key(&row.id);
        let open: Vec<String> =
            self.of_family(family).filter(open).map(|row| row.id.to_string()).collect();
        if !open.is_empty() {
            writeln!(out, "\nNot shown by a test: {}.", open.join(" "))?;
        }
        let absent: Vec<String> = self
            .of_family(family)
            .filter_map(|row| Some(format!("- {}: {}", row.id, row.not_here.as_ref()?)))
            .collect();
        if !absent.is_empty() {
            writeln!(out, "\nWhat applies to nothing here:\n\n{}", absent.join("\n"))?;
        }
        Ok(())
    }

    /// Which switch a row has.
    fn switch(&self, row: RowId, found: &Shown) -> String {
        let named = |id: &RowId| {
            if *id == row { "own".to_owned() } else { id.to_string() }
        };
        let switches: Vec<String> = found.by.intersection(&self.switches).map(named).collect();
        if !switches.is_empty() {
            return switches.join(", ");
        }
        let by: Vec<String> =
            found.by.iter().filter(|id| **id != row).map(ToString::to_string).collect();
        if by.is_empty() { "reports".to_owned() } else { format!("reports ({})", by.join(", ")) }
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// What the engine's rule says, or else the specification; with its bars escaped for a table.
fn meaning(row: &Row) -> String {
    let rule = Rule::parse(&row.id.to_string());
    let said = rule.map_or(row.subject.as_str(), |rule| rule.row().meaning);
    said.replace("\\|", "|").replace('|', "\\|")
}

/// A link from the map to a file of the repository.
fn link(text: &str, file: &str) -> String {
    format!("[`{text}`](../{file})")
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
        let short = line.file.strip_prefix("crates/").unwrap_or(&line.file);
        let found = shown.entry(line.row).or_default();
        found.code.insert(link(short, &line.file) + &place);
        found.tests.insert(link(&line.test, &line.test_file));
        found.by.insert(line.by);
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_only_with_code_and_test() {
        assert_eq!(shown_row("| A-31 | x | `a.rs` `f` | `t` | own |"), RowId::parse("A-31"));
        assert_eq!(shown_row("| A-31 | x | `a.rs` |  | own |"), None);
        assert_eq!(shown_row("Not shown by a test: A-31."), None);
    }

    #[test]
    fn the_meaning_is_the_rules_own_or_the_specifications() {
        let row = |id| Row { id: RowId::parse(id).unwrap(), subject: "a|b".into(), not_here: None };
        assert!(meaning(&row("A-01")).starts_with("A request for 0 pages"));
        assert_eq!(meaning(&row("T-26")), "a\\|b");
    }

    #[test]
    fn a_row_without_a_switch_of_its_own_names_the_rule_that_keeps_it() {
        let id = |id| RowId::parse(id).unwrap();
        let switches = BTreeSet::from([id("S-01"), id("A-31")]);
        let known = Known { rows: Vec::new(), shown: BTreeMap::new(), switches };
        let by = |by| Shown { by: BTreeSet::from([id(by)]), ..Shown::default() };
        assert_eq!(known.switch(id("A-31"), &by("A-31")), "own");
        assert_eq!(known.switch(id("A-32"), &by("A-32")), "reports");
        assert_eq!(known.switch(id("I-01"), &by("S-01")), "S-01");
        assert_eq!(known.switch(id("I-02"), &by("S-02")), "reports (S-02)");
    }
}
