//! `gup conform`: plays recorded kernel answers in the engine, and prints what came of it.

use crate::args::ConformArgs;
use crate::status::{Answer, Failure, yes_or_no};
use gup::errno::Errno;
use gup_conformance::replay::{
    AfterDifference, BadRecording, FirstDifference, Heard, Recording, Side, Totals, open, run,
};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Runs `gup conform`.
pub(crate) fn run_verb(args: &ConformArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let Some(path) = &args.replay else {
        return Err(Failure::Usage(
            "conform plays recorded kernel answers: name a file of them with --replay FILE \
             (gup demo asks the running kernel)"
                .to_owned(),
        ));
    };
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
        let object = Object { schema: "gup.conform/1", totals: &totals };
        writeln!(out, "{}", serde_json::to_string(&object).map_err(std::io::Error::from)?)?;
    } else {
        summary(path, args, &totals, out)?;
    }
    Ok(yes_or_no(if totals.differs == 0 { Answer::Yes } else { Answer::No }))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Object<'t> {
    schema: &'static str,
    #[serde(flatten)]
    totals: &'t Totals,
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

fn difference(found: &FirstDifference, out: &mut impl Write) -> std::io::Result<()> {
    match found.seed {
        Some(seed) => {
            writeln!(out, "differs: program {seed}, operation {}, {}", found.i, found.op)?;
        }
        None => writeln!(out, "differs: row {}, {}", found.i, found.op)?,
    }
    for (name, Side { ret, errno, state }) in [("kernel", &found.kernel), ("engine", &found.engine)]
    {
        let errno = match *errno {
            0 => String::new(),
            raw => format!(" {:?}", Errno::from_raw(raw)),
        };
        writeln!(out, "  {name}  {ret}{errno}  {state}")?;
    }
    match &found.note {
        Some(note) => writeln!(out, "  {note}"),
        None => Ok(()),
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
