//! What `gup conform` is asked for, and what its parts share: a laboratory, and how a difference is
//! printed.

use crate::args::ConformArgs;
use crate::status::Failure;
use gup::errno::Errno;
use gup_conformance::live::{Changes, Lab, Watch};
use gup_conformance::replay::{FirstDifference, Side, Totals};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// Runs `gup conform`.
pub(crate) fn run_verb(args: &ConformArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    match (&args.replay, &args.record) {
        (Some(path), _) => super::replay::run_verb(args, path, out),
        (None, Some(path)) if args.rows => super::rows::run_verb(path, out),
        (None, Some(path)) => super::record::run_verb(args, path, out),
        (None, None) if !args.files.is_empty() => super::files::run_verb(args, out),
        (None, None) => others(args, out),
    }
}

fn others(args: &ConformArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    if let Some(path) = &args.vectors {
        return super::vectors::run_verb(path, args, out);
    }
    if args.seed.is_some() || args.programs.is_some() || args.minutes.is_some() {
        return super::random::run_verb(args, out);
    }
    Err(Failure::Usage(
        "conform compares the engine with a kernel: name scenario files, random programs with \
         --seed N, vectors with --vectors FILE, recorded answers with --replay FILE, or a file \
         for new ones with --record OUT"
            .to_owned(),
    ))
}

/// A place to ask the running kernel in.
pub(super) fn laboratory(args: &ConformArgs) -> Result<Lab, Failure> {
    let watch = Watch { exact: args.counts, ..Watch::default() };
    let program = std::env::current_exe()
        .map_err(|error| Failure::Unreadable(format!("where this program is: {error}")))?;
    let changes = if args.setup { Changes::ALL } else { Changes::NONE };
    Lab::new(&program, changes, watch)
        .map_err(|why| Failure::Unreadable(format!("the kernel cannot be asked: {why}")))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Object<'t> {
    schema: &'static str,
    #[serde(flatten)]
    totals: &'t Totals,
}

pub(super) fn object(totals: &Totals, out: &mut impl Write) -> std::io::Result<()> {
    let object = Object { schema: "gup.conform/1", totals };
    writeln!(out, "{}", serde_json::to_string(&object)?)
}

pub(super) fn difference(found: &FirstDifference, out: &mut impl Write) -> std::io::Result<()> {
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
