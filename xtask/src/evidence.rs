//! Evidence: what the row tests say that they have seen.
//!
//! A row test that passed, whose name carries a row's id, and that saw the engine take that row's
//! decision appends one JSON line to a file in the folder that `GUP_ROWS_DIR` names:
//! `{"row":"A-31","by":"A-31","test":"check::a_31_…","in":"crates/engine/tests/rows",
//! "src":"crates/engine/src/gup/check.rs:57"}`. An invariant, an oddity or a public test is no
//! decision of its own: `by` names the rule that keeps it. Nothing else counts.

use crate::repo;
use crate::rows::RowId;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The variable that tells the row tests where to write.
const ROWS_DIR: &str = "GUP_ROWS_DIR";
/// The folders whose newest file decides whether evidence is fresh.
const SOURCES: [&str; 3] = ["crates/engine/", "crates/conformance/", "Cargo.lock"];

/// The test programs that leave evidence: package, target.
pub(crate) const PROGRAMS: [(&str, &str); 2] = [("gup", "rows"), ("gup-conformance", "t_rows")];

/// One line: this test saw this row decided there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Evidence {
    /// The row.
    pub(crate) row: RowId,
    /// The rule that decided: the row itself, or the one that keeps it.
    pub(crate) by: RowId,
    /// The test's path in its binary.
    pub(crate) test: String,
    /// The file that the test is in, below the repository's root.
    pub(crate) test_file: String,
    /// The file that took the decision, below the repository's root.
    pub(crate) file: String,
    /// The line in that file, from 1.
    pub(crate) line: usize,
}

/// The evidence of the last run if it is newer than the engine and its tests, else that of a new
/// run.
pub(crate) fn fresh() -> Result<Vec<Evidence>> {
    let stamp = stamp_path();
    let written = fs::metadata(&stamp).and_then(|meta| meta.modified()).ok();
    match (written, newest_source()?) {
        (Some(written), newest) if written > newest => read(&folder()),
        _ => collect(),
    }
}

/// Runs the row tests and returns what they saw.
///
/// # Errors
/// The tests fail or cannot be built.
pub(crate) fn collect() -> Result<Vec<Evidence>> {
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for (package, target) in PROGRAMS {
        println!("running the row tests: cargo test -p {package} --test {target}");
        let output = repo::cargo()
            .args(["test", "--quiet", "-p", package, "--test", target])
            .env(ROWS_DIR, &folder)
            .output()
            .context("cannot start cargo")?;
        ensure!(
            output.status.success(),
            "the row tests failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let found = read(&folder)?;
    fs::write(stamp_path(), "")?;
    Ok(found)
}

fn folder() -> PathBuf {
    repo::target().join("rows")
}

/// A file beside the folder that is written once a whole run is in it.
fn stamp_path() -> PathBuf {
    repo::target().join("rows.stamp")
}

fn newest_source() -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for path in repo::files()? {
        if SOURCES.iter().any(|source| path.starts_with(source)) {
            newest = newest.max(fs::metadata(repo::root().join(&path))?.modified()?);
        }
    }
    Ok(newest)
}

fn read(folder: &Path) -> Result<Vec<Evidence>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        for line in text.lines().filter(|line| !line.is_empty()) {
            let parsed = parse(line);
            found.push(parsed.with_context(|| format!("{}: no evidence: {line}", path.display()))?);
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn parse(line: &str) -> Option<Evidence> {
    let value: Value = serde_json::from_str(line).ok()?;
    let (file, number) = value["src"].as_str()?.rsplit_once(':')?;
    let test = value["test"].as_str()?;
    Some(Evidence {
        row: RowId::parse(value["row"].as_str()?)?,
        by: RowId::parse(value["by"].as_str()?)?,
        test: test.to_owned(),
        test_file: test_file(value["in"].as_str()?, test),
        file: file.to_owned(),
        line: number.parse().ok()?,
    })
}

/// The file of a test: that of its module in the folder, or the one file that there is.
fn test_file(place: &str, test: &str) -> String {
    match test.split_once("::") {
        Some((module, _)) => format!("{place}/{module}.rs"),
        None => place.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_source_line_is_no_evidence() {
        let line = r#"{"row":"I-01","by":"S-01","test":"i::i_01","in":"tests","src":"a.rs:57"}"#;
        let found = parse(line).unwrap();
        assert_eq!((found.row.to_string().as_str(), found.line), ("I-01", 57));
        assert_eq!((found.by.to_string().as_str(), &*found.test_file), ("S-01", "tests/i.rs"));
        assert_eq!(parse(&line.replace(":57", "")), None);
    }
}
