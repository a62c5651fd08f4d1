//! `gup conform --vectors`: situations and answers as data, put to the engine or to the running
//! kernel.

use crate::args::ConformArgs;
use crate::manners::{self, Bar};
use crate::status::{Answer, Failure, yes_or_no};
use gup_conformance::fixture::files;
use gup_conformance::sys;
use gup_conformance::vectors::{
    BadVectors, Found, VectorTotals, ask_engine, ask_kernel, open, run,
};
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Plays the vectors of `path`.
pub(super) fn run_verb(
    path: &Path,
    args: &ConformArgs,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let vectors = open(path).map_err(|bad| failure(path, &bad))?;
    let bar = Bar::new(Some(vectors.len() as u64), "vectors");
    manners::heed();
    let heard = |asked| {
        bar.show(asked, String::new());
        !manners::was_interrupted()
    };
    let totals = if args.kernel {
        sys::stay_on_one_cpu(0);
        let dir = files::usable_dir();
        run(&vectors, |vector| ask_kernel(vector, dir.as_deref()), heard)
    } else {
        run(&vectors, ask_engine, heard)
    };
    bar.end();
    let world = if args.kernel { "the running kernel" } else { "the engine" };
    for found in totals.found.iter().take(if args.keep_going { usize::MAX } else { 1 }) {
        difference(found, out)?;
    }
    if args.json {
        let object = Object { schema: "gup.vectors/1", world, totals: &totals };
        writeln!(out, "{}", serde_json::to_string(&object).map_err(std::io::Error::from)?)?;
    } else {
        summary(path, world, &totals, out)?;
    }
    if manners::was_interrupted() {
        return Ok(manners::status());
    }
    Ok(yes_or_no(if totals.all.differs == 0 { Answer::Yes } else { Answer::No }))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Object<'t> {
    schema: &'static str,
    world: &'static str,
    #[serde(flatten)]
    totals: &'t VectorTotals,
}

fn failure(path: &Path, bad: &BadVectors) -> Failure {
    let text = format!("{}: {bad}", path.display());
    match bad {
        BadVectors::Unreadable(_) => Failure::Unreadable(text),
        BadVectors::Line { .. } => Failure::Usage(text),
    }
}

fn difference(found: &Found, out: &mut impl Write) -> std::io::Result<()> {
    let Found { vector, answer } = found;
    let said = |answer: &gup_conformance::vectors::Answer| {
        let errno = answer.errno.as_deref().unwrap_or("");
        format!("{} {errno}  {}", answer.ret, answer.after)
    };
    writeln!(out, "differs: {} ({} of {:?})", vector.id, vector.entry, vector.layout)?;
    writeln!(out, "  vector    {}", said(&vector.answer))?;
    writeln!(out, "  answered  {}", said(answer))
}

fn summary(
    path: &Path,
    world: &str,
    totals: &VectorTotals,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let all = totals.all;
    if manners::was_interrupted() {
        writeln!(out, "interrupted; so far")?;
    }
    writeln!(
        out,
        "{}: {} vectors, put to {world}",
        path.display(),
        all.ok + all.differs + all.cannot_ask
    )?;
    writeln!(out, "  {:>8}  answered as they say", all.ok)?;
    writeln!(out, "  {:>8}  answered otherwise", all.differs)?;
    writeln!(out, "  {:>8}  cannot be asked", all.cannot_ask)?;
    for (why, count) in &totals.reasons {
        writeln!(out, "  {count:>8}    {why}")?;
    }
    Ok(())
}
