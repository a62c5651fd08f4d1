//! `gup conform --seed`: random programs in the engine and in the running kernel.

use super::verb::laboratory;
use crate::args::ConformArgs;
use crate::manners::{self, Bar};
use crate::status::{Answer, Failure, yes_or_no};
use gup::errno::Errno;
use gup_conformance::random::{
    First, Live, Made, Means, Plan, Progress, Set, Totals, markdown, run,
};
use gup_conformance::replay::{FirstDifference, Side};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Plays random programs.
pub(super) fn run_verb(args: &ConformArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let mut live = Live::new(laboratory(args)?);
    let (means, missing) = live.means();
    let plan = plan(args, means);
    if !args.json {
        writeln!(out, "seed {}, {} operations a program", plan.seed, plan.ops)?;
        writeln!(out, "drawn on: {means}")?;
        missing.iter().try_for_each(|why| writeln!(out, "not drawn: {why}"))?;
        live.shortcomings().iter().try_for_each(|why| writeln!(out, "not seen: {why}"))?;
    }
    let bar = Bar::new(plan.programs, "programs");
    manners::heed();
    let mut printed = Ok(());
    let totals = run(&plan, &mut live, |progress| {
        match progress {
            Progress::Played(totals) => show(&bar, totals),
            Progress::Differs(found) if !args.json && printed.is_ok() => {
                printed = bar.aside(|| difference(found, out));
            }
            Progress::Unsteady(found) if !args.json && printed.is_ok() => {
                printed = bar.aside(|| unsteady(found, out));
            }
            Progress::Differs(_) | Progress::Unsteady(_) => {}
        }
        printed.is_ok() && !manners::was_interrupted()
    });
    bar.end();
    printed?;
    if let Some(path) = &args.report {
        report(path, args, &plan, &totals)?;
    }
    if args.json {
        json(&plan, &totals, out)?;
    } else {
        summary(&totals, out)?;
    }
    if totals.operations == 0 && totals.cannot_ask > 0 {
        let why: Vec<&str> = totals.reasons.keys().map(String::as_str).collect();
        return Err(Failure::Unreadable(format!("cannot ask the kernel: {}", why.join("; "))));
    }
    if manners::was_interrupted() {
        return Ok(manners::status());
    }
    Ok(yes_or_no(if totals.differs == 0 { Answer::Yes } else { Answer::No }))
}

fn plan(args: &ConformArgs, means: Means) -> Plan {
    let time = args.minutes.map(|minutes| Duration::from_secs_f64(minutes.clamp(0.0, 1e6) * 60.0));
    let programs = args.programs.or(if time.is_some() { None } else { Some(100) });
    let set = match args.set.as_deref() {
        Some("slow") => Set::Slow,
        Some("huge") => Set::Huge,
        _ => Set::Usual,
    };
    Plan {
        seed: args.seed.unwrap_or_else(fresh_seed),
        programs,
        ops: usize::try_from(args.ops.unwrap_or(100)).unwrap_or(100),
        time,
        set,
        means,
        keep_going: args.keep_going,
    }
}

/// A seed that nobody has drawn before.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().wrapping_mul(1_000_000) & 0xffff_ffff_ffff
}

#[allow(clippy::cast_precision_loss, reason = "a figure of a few digits")]
fn rate(totals: &Totals) -> f64 {
    totals.operations as f64 / totals.took.as_secs_f64().max(0.001)
}

fn show(bar: &Bar, totals: &Totals) {
    let besides = format!(", {:.0} operations/s, {} differ", rate(totals), totals.differs);
    bar.show(totals.programs, besides);
}

fn difference(found: &First, out: &mut impl Write) -> std::io::Result<()> {
    let FirstDifference { seed, i, op, kernel, engine, note } = &found.difference;
    writeln!(out, "differs: program {}, step {i}, {op}", seed.unwrap_or(0))?;
    for (name, Side { ret, errno, state }) in [("kernel", kernel), ("engine", engine)] {
        let errno = match *errno {
            0 => String::new(),
            raw => format!(" {}", Errno::from_raw(raw)),
        };
        writeln!(out, "  {name}  {ret}{errno}  {state}")?;
    }
    if let Some(note) = note {
        writeln!(out, "  {note}")?;
    }
    let tries = found.shrunk.tries;
    writeln!(
        out,
        "the shortest program that differs, of {tries} tried; keep it under scenarios/regressions/:"
    )?;
    writeln!(out, "\n{}", found.shrunk.scenario)
}

/// The kernel did not give the same answer again: there is nothing to shrink.
fn unsteady(found: &FirstDifference, out: &mut impl Write) -> std::io::Result<()> {
    let FirstDifference { seed, i, op, note, .. } = found;
    writeln!(
        out,
        "unsteady: program {}, step {i}, {op}: asked again, the kernel answered otherwise ({})",
        seed.unwrap_or(0),
        note.as_deref().unwrap_or("")
    )
}

fn summary(totals: &Totals, out: &mut impl Write) -> std::io::Result<()> {
    if manners::was_interrupted() {
        writeln!(out, "interrupted; so far")?;
    }
    let Totals { programs, operations, ok, differs, unsteady, cannot_ask, .. } = totals;
    let (seconds, edits) = (totals.took.as_secs_f64(), totals.tally.edits());
    writeln!(
        out,
        "{programs} programs, {operations} operations ({edits} edits of a map), in {seconds:.1} s: \
         {:.0} operations/s",
        rate(totals)
    )?;
    writeln!(out, "  {ok:>8}  the same in the engine and in the running kernel")?;
    writeln!(out, "  {differs:>8}  programs that differ")?;
    writeln!(out, "  {unsteady:>8}  unsteady: the kernel, asked again, answered otherwise")?;
    writeln!(out, "  {cannot_ask:>8}  cannot be asked")?;
    for (why, count) in &totals.reasons {
        writeln!(out, "  {count:>8}    {why}")?;
    }
    Ok(())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Object<'t> {
    schema: &'static str,
    seed: u64,
    programs: u64,
    operations: u64,
    edits: u64,
    seconds: f64,
    ok: u64,
    differs: u64,
    unsteady: u64,
    drawn_on: &'t str,
    cannot_ask: u64,
    reasons: &'t BTreeMap<String, u64>,
    by_operation: BTreeMap<&'t str, gup_conformance::random::Count>,
    first_difference: Option<&'t FirstDifference>,
    scenario: Option<&'t str>,
}

fn json(plan: &Plan, totals: &Totals, out: &mut impl Write) -> Result<(), Failure> {
    let drawn_on = plan.means.to_string();
    let object = Object {
        schema: "gup.conform/1",
        seed: plan.seed,
        programs: totals.programs,
        operations: totals.operations + totals.cannot_ask,
        edits: totals.tally.edits(),
        seconds: totals.took.as_secs_f64(),
        ok: totals.ok,
        differs: totals.differs,
        unsteady: totals.unsteady,
        drawn_on: &drawn_on,
        cannot_ask: totals.cannot_ask,
        reasons: &totals.reasons,
        by_operation: totals.tally.by_operation(),
        first_difference: totals.first.as_ref().map(|first| &first.difference),
        scenario: totals.first.as_ref().map(|first| first.shrunk.scenario.as_str()),
    };
    writeln!(out, "{}", serde_json::to_string(&object).map_err(std::io::Error::from)?)?;
    Ok(())
}

fn report(path: &Path, args: &ConformArgs, plan: &Plan, totals: &Totals) -> Result<(), Failure> {
    let said = |name: &str, value: Option<String>| {
        value.map_or_else(String::new, |value| format!(" --{name} {value}"))
    };
    let programs = said("programs", args.programs.map(|programs| programs.to_string()));
    let minutes = said("minutes", args.minutes.map(|minutes| minutes.to_string()));
    let set = said("set", args.set.clone());
    let counts = if args.counts { " --counts" } else { "" };
    let setup = if args.setup { " --setup" } else { "" };
    let (seed, ops, file) = (plan.seed, plan.ops, path.display());
    let command = format!(
        "gup conform --seed {seed}{programs}{minutes}{set} --ops {ops}{counts}{setup} \
         --report {file}"
    );
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version: Vec<&str> = release.trim().split(['.', '-']).take(2).collect();
    let kernel = version.join(".");
    let made = Made { command: &command, kernel: &kernel, counts: args.counts };
    std::fs::write(path, markdown(totals, &made))
        .map_err(|error| Failure::Unreadable(format!("{}: {error}", path.display())))
}
