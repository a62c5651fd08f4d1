//! `gup conform --replay`: plays recorded kernel answers in the engine, and prints what came of it.

use super::verb::{difference, object};
use crate::args::ConformArgs;
use crate::manners::{self, Bar};
use crate::status::{Answer, Failure, yes_or_no};
use gup_conformance::replay::{AfterDifference, BadRecording, Heard, Recording, Totals, open, run};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Runs `gup conform --replay`.
pub(super) fn run_verb(
    args: &ConformArgs,
    path: &Path,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let recording = open(path).map_err(|bad| failure(path, &bad))?;
    let after = if args.keep_going { AfterDifference::GoOn } else { AfterDifference::Stop };
    let mut printed = Ok(());
    let bar = Bar::new(Some(length(&recording)), "programs");
    manners::heed();
    let totals = run(&recording, after, |heard| {
        match heard {
            Heard::Progress(totals) => show(&bar, totals),
            Heard::Differs(found) if !args.json && printed.is_ok() => {
                printed = bar.aside(|| difference(found, out));
            }
            Heard::Differs(_) => {}
        }
        printed.is_ok() && !manners::was_interrupted()
    });
    bar.end();
    printed?;
    if args.json {
        object(&totals, out)?;
    } else {
        summary(path, args, &totals, out)?;
    }
    if manners::was_interrupted() {
        return Ok(manners::status());
    }
    Ok(yes_or_no(if totals.differs == 0 { Answer::Yes } else { Answer::No }))
}

fn failure(path: &Path, bad: &BadRecording) -> Failure {
    let text = format!("{}: {bad}", path.display());
    match bad {
        BadRecording::Unreadable(_) => Failure::Unreadable(text),
        BadRecording::Line { .. } | BadRecording::Empty => Failure::Usage(text),
    }
}

/// How many programs or rows there are.
fn length(recording: &Recording) -> u64 {
    match recording {
        Recording::Programs(programs) => programs.len() as u64,
        Recording::Rows(rows) => rows.len() as u64,
    }
}

fn show(bar: &Bar, totals: &Totals) {
    let Totals { programs, operations, differs, .. } = totals;
    bar.show(*programs as u64, format!(", {operations} operations, {differs} differ"));
}

fn summary(
    path: &Path,
    args: &ConformArgs,
    totals: &Totals,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let Totals { programs, operations, ok, differs, cannot_ask, .. } = totals;
    let path = path.display();
    if manners::was_interrupted() {
        writeln!(out, "interrupted; so far")?;
    }
    writeln!(out, "{path}: {programs} programs, {operations} operations, played in the engine")?;
    writeln!(out, "  {ok:>8}  answered as the kernel did, with the same pages after")?;
    writeln!(out, "  {differs:>8}  answered otherwise")?;
    writeln!(out, "  {cannot_ask:>8}  cannot be asked: no such operation, kind or driver here")?;
    if *differs > 0 && !args.keep_going {
        writeln!(out, "stopped at the first difference; --keep-going plays everything")?;
    }
    Ok(())
}
