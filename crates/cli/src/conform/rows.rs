//! `gup conform --record OUT --rows`: what the running kernel answers of every kind of memory
//! through every driver, in the form that `--replay` reads.

use crate::status::Failure;
use gup_conformance::ask::driver::Driver;
use gup_conformance::fixture::files;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::Workshop;
use gup_conformance::live::rows::record;
use gup_conformance::rows::Row;
use gup_conformance::{rows, sys};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How often a row is recorded that comes out otherwise each time.
const TRIES: u32 = 8;

/// A row that came out the same twice: pins are counted for the whole machine, and others pin too.
fn twice(workshop: &Workshop, kind: Kind, driver: Option<Driver>) -> Result<Row, String> {
    let mut row = record(workshop, kind, driver)?;
    for _ in 0..TRIES {
        let again = record(workshop, kind, driver)?;
        if again == row {
            return Ok(row);
        }
        row = again;
    }
    Err(format!("{}: another answer each time", kind.name()))
}

/// Records the rows.
pub(super) fn run_verb(path: &Path, out: &mut impl Write) -> Result<ExitCode, Failure> {
    sys::stay_on_one_cpu(0);
    let program = std::env::current_exe()?;
    let dir = files::usable_dir().unwrap_or_else(|| PathBuf::from("/"));
    let workshop = Workshop::new(&program, &dir);
    let (mut recorded, mut cannot) = (Vec::new(), BTreeSet::new());
    for kind in Kind::ALL.iter().filter(|kind| kind.family().is_recorded()) {
        for driver in std::iter::once(None).chain(Driver::ALL.into_iter().map(Some)) {
            match twice(&workshop, *kind, driver) {
                Ok(row) => recorded.push(row),
                Err(why) => drop(cannot.insert(why)),
            }
        }
    }
    if recorded.is_empty() {
        let why = cannot.into_iter().next().unwrap_or_default();
        return Err(Failure::Unreadable(format!("the kernel cannot be asked: {why}")));
    }
    let written = |error: std::io::Error| {
        Failure::Unreadable(format!("could not write {}: {error}", path.display()))
    };
    let mut file = rows::create(path).map_err(written)?;
    for row in &recorded {
        let line = serde_json::to_string(row).map_err(std::io::Error::from)?;
        writeln!(file, "{line}").map_err(written)?;
    }
    file.finish().map_err(written)?;
    for why in cannot {
        writeln!(out, "cannot ask: {why}")?;
    }
    writeln!(out, "{}: {} rows, as this kernel answers", path.display(), recorded.len())?;
    Ok(ExitCode::SUCCESS)
}
