//! A failed call for a person: the call as it was made, then the verdict as `gup explain` prints
//! it.

use crate::explain::{Answered, human};
use crate::follow::report::Report;
use anstyle::Style;
use gup_follow::calls::table::Kind;
use gup_follow::trace::foreign::Note;
use std::io::{self, Write};

const CALL: Style = Style::new().bold();

/// Prints one report.
pub(crate) fn print(
    report: &Report<'_>,
    answered: Option<&Answered<'_>>,
    out: &mut impl Write,
) -> io::Result<()> {
    call(report, out)?;
    let Some(answered) = answered else { return without_verdict(report, out) };
    let ranges = report.failed.asked.ranges.len();
    if ranges > 1 {
        writeln!(out, "  of its {ranges} ranges, number {}:", report.index + 1)?;
    }
    writeln!(out)?;
    human::print(answered, out)?;
    answered.answers.print(out)?;
    if answered.verdict.is_fine() {
        if answered.why_fine().is_empty() && !report.look_at.is_empty() {
            writeln!(out, "\n  the pages are fine; look at")?;
        }
        look_at(report, out)?;
    }
    writeln!(out)
}

/// The call as it was made, and what it gave.
fn call(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    let failed = report.failed;
    let (name, args) = (failed.row.name, failed.arguments().join(", "));
    let gave = match failed.errno() {
        Some(errno) if failed.row.kind == Kind::Completions => format!("brought {errno}"),
        Some(errno) => format!("failed with {errno}"),
        None => format!("did a part: {}", failed.value),
    };
    let (comm, pid, tid) = (&report.comm, failed.pid, failed.tid);
    let thread = if tid == pid { String::new() } else { format!(", thread {tid}") };
    writeln!(out, "gup: {CALL}{name}({args}){CALL:#} {gave} in {comm} ({pid}{thread})")
}

fn without_verdict(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    if let Some(why) = &report.unknown {
        writeln!(out, "  unknown   {why}")?;
    }
    if !report.look_at.is_empty() {
        writeln!(out, "  no page stops it that could be named; look at")?;
    }
    look_at(report, out)?;
    writeln!(out)
}

fn look_at(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    report.look_at.iter().try_for_each(|hint| writeln!(out, "  - {hint}"))
}

/// What is to be known about an executed program, for a person.
pub(crate) const fn sentence(note: Note) -> &'static str {
    match note {
        Note::Foreign => {
            "it is built for another architecture than gup: what its calls do is unknown"
        }
        Note::WithoutItsRights => {
            "it is set-user-ID or set-group-ID: traced by somebody without privilege, it runs \
             without those rights"
        }
    }
}
