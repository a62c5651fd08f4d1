//! `gup conform --replay`: plays recorded kernel answers in the engine, and prints what came of it.

use super::verb::{difference, object};
use crate::args::ConformArgs;
use crate::status::{Answer, Failure, yes_or_no};
use gup_conformance::replay::{AfterDifference, BadRecording, Heard, Recording, Totals, open, run};
use std::io::{IsTerminal, Write};
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
    let progress = Progress::new(&recording);
    let totals = run(&recording, after, |heard| match heard {
        Heard::Progress(totals) => progress.show(totals),
        Heard::Differs(_) if args.json => {}
        Heard::Differs(found) if printed.is_ok() => printed = difference(found, out),
        Heard::Differs(_) => {}
    });
    progress.end();
    printed?;
    if args.json {
        object(&totals, out)?;
    } else {
        summary(path, args, &totals, out)?;
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

/// A line on a terminal that says how far it is.
struct Progress {
    all: usize,
    shown: bool,
}

impl Progress {
    fn new(recording: &Recording) -> Self {
        let all = match recording {
            Recording::Programs(programs) => programs.len(),
            Recording::Rows(rows) => rows.len(),
        };
        Self { all, shown: std::io::stderr().is_terminal() }
    }
    fn show(&self, totals: &Totals) {
        if self.shown {
            let Totals { programs, operations, differs, .. } = totals;
            eprint!(
                "\r{programs}/{} programs, {operations} operations, {differs} differ",
                self.all
            );
        }
    }
    fn end(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

fn summary(
    path: &Path,
    args: &ConformArgs,
    totals: &Totals,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let Totals { programs, operations, ok, differs, cannot_ask, .. } = totals;
    let path = path.display();
    writeln!(out, "{path}: {programs} programs, {operations} operations, played in the engine")?;
    writeln!(out, "  {ok:>8}  answered as the kernel did, with the same pages after")?;
    writeln!(out, "  {differs:>8}  answered otherwise")?;
    writeln!(out, "  {cannot_ask:>8}  cannot be asked: no such operation, kind or driver here")?;
    if *differs > 0 && !args.keep_going {
        writeln!(out, "stopped at the first difference; --keep-going plays everything")?;
    }
    Ok(())
}
