//! `gup explain` for a person: the answer, then the reason, then what to do.

use crate::answers::count;
use crate::explain::Answered;
use crate::explain::json::flag_names;
use anstyle::{AnsiColor, Style};
use gup_mirror::consumer::{Answers, Consumer};
use gup_mirror::explain::verdict::{StopAt, Verdict};
use gup_mirror::proc::backing::Backing;
use std::io::{self, Write};

const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();

/// Prints one answer.
pub(crate) fn print(answered: &Answered<'_>, out: &mut impl Write) -> io::Result<()> {
    let verdict = answered.verdict;
    let (name, pid) = (answered.process.name(), answered.process.pid());
    let what = match verdict.consumer {
        Some(consumer) => consumer.name().to_owned(),
        None => flag_names(verdict.flags).join("|"),
    };
    let pages = count(verdict.nr_pages, "page");
    let (start, kernel) = (verdict.start, answered.rules);
    writeln!(out, "{what}, {pages} at {start:#x} of {name} ({pid}), Linux {kernel}")?;
    writeln!(out)?;
    match (&verdict.stop, answered.interrupted) {
        (None, None) => fine(answered, out)?,
        (None, Some(asked)) => unfinished(verdict, asked, out)?,
        (Some(stop), asked) => {
            stopped(verdict, stop, out)?;
            if let Some(asked) = asked {
                let seen = verdict.nr_pages;
                writeln!(out, "\n  interrupted: only {seen} of {asked} pages were looked at")?;
            }
        }
    }
    changed(answered, out)?;
    notes(answered, out)
}

fn fine(answered: &Answered<'_>, out: &mut impl Write) -> io::Result<()> {
    let verdict = answered.verdict;
    let all = match verdict.nr_pages {
        1 => "the page".to_owned(),
        n => format!("all {n} pages"),
    };
    writeln!(out, "  {GOOD}would work{GOOD:#} on {all}: nothing is wrong with the memory")?;
    let done = done(verdict);
    if !done.is_empty() {
        writeln!(out, "  pages     {done}")?;
    }
    if !answered.why_fine().is_empty() {
        writeln!(out)?;
        writeln!(out, "  if it fails all the same, the cause is elsewhere; look at")?;
    }
    for hint in answered.why_fine() {
        writeln!(out, "  - {hint}")?;
    }
    Ok(())
}

/// An answer about the pages before an interruption.
fn unfinished(verdict: &Verdict, asked: u64, out: &mut impl Write) -> io::Result<()> {
    let seen = verdict.nr_pages;
    writeln!(out, "  {BAD}interrupted{BAD:#}: only {seen} of {asked} pages were looked at")?;
    writeln!(out, "  nothing is wrong with those; of the others nothing is known")?;
    let done = done(verdict);
    if !done.is_empty() {
        writeln!(out, "  pages     {done}")?;
    }
    Ok(())
}

fn stopped(verdict: &Verdict, stop: &StopAt, out: &mut impl Write) -> io::Result<()> {
    let row = stop.rule.row();
    let (index, addr) = (stop.index, stop.addr);
    writeln!(out, "  {BAD}{}{BAD:#} at page {index}, {addr:#x}", outcome(verdict, stop))?;
    let since = row.since.map_or(String::new(), |since| format!(", since {since}"));
    let until = row.until.map_or(String::new(), |until| format!(", before {until}"));
    writeln!(out, "  because   {}    {}{since}{until}", row.meaning, stop.rule)?;
    if let Some(fault) = stop.fault {
        writeln!(out, "  there     {fault}")?;
    }
    match &stop.place {
        Some(place) => writeln!(out, "  mapping   {}{}", place.area, behind(&place.backing))?,
        None => writeln!(out, "  mapping   none: nothing is mapped there")?,
    }
    if !row.remedy.is_empty() {
        writeln!(out, "  instead   {}", row.remedy)?;
    }
    let done = done(verdict);
    if !done.is_empty() {
        writeln!(out)?;
        writeln!(out, "  before it {done}")?;
        if verdict.consumer.is_some_and(Consumer::all_or_nothing) {
            writeln!(
                out,
                "  {what} takes all or nothing: none would stay pinned",
                what = name(verdict)
            )?;
        }
    }
    Ok(())
}

/// What stands behind a mapping, where the maps file does not say.
fn behind(backing: &Backing) -> String {
    let bytes = |size: Option<u64>| size.map_or(String::new(), |size| format!(", {size} bytes"));
    match backing {
        Backing::File { fs_type, size } => {
            format!("  ({}{})", fs_type.as_deref().unwrap_or("unknown file system"), bytes(*size))
        }
        Backing::Shmem { size } => format!("  (shared memory{})", bytes(*size)),
        Backing::Hugetlb { size } => format!("  (hugetlb{})", bytes(*size)),
        Backing::Anonymous | Backing::Secretmem | Backing::Vdso | Backing::Vvar => String::new(),
        Backing::Gate | Backing::AioRing | Backing::Device => String::new(),
    }
}

/// What the caller sees, in words.
fn outcome(verdict: &Verdict, stop: &StopAt) -> String {
    let Some(call) = verdict.call else {
        return match verdict.gup {
            Ok(got) => format!("would stop after {}", count(got, "page")),
            Err(errno) => format!("would fail with {errno}"),
        };
    };
    match (call.errno, verdict.consumer.map(Consumer::answers)) {
        (Some(errno), Some(Answers::PerPage)) if call.ret > 0 => {
            format!(
                "would work on {} and fail with {errno} first",
                count(call.ret.unsigned_abs(), "page")
            )
        }
        (Some(errno), _) => format!("would fail with {errno}"),
        (None, _) if call.ret > 0 => format!("would stop after {} bytes", call.ret),
        (None, _) => format!("would fail with {}", stop.errno),
    }
}

/// What happens to the pages before the stop, most frequent first.
fn done(verdict: &Verdict) -> String {
    let mut counts = Vec::new();
    for segment in &verdict.segments {
        match counts.iter_mut().find(|(action, _)| *action == segment.action) {
            Some((_, pages)) => *pages += segment.pages,
            None => counts.push((segment.action, segment.pages)),
        }
    }
    counts.sort_by_key(|(_, pages)| std::cmp::Reverse(*pages));
    let words = counts.iter().enumerate().map(|(i, (action, pages))| match i {
        0 => format!("{} {}", count(*pages, "page"), action.sentence()),
        _ => format!("{pages} {}", action.sentence()),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What changed between the kernel asked about and the one that it runs on.
fn changed(answered: &Answered<'_>, out: &mut impl Write) -> io::Result<()> {
    if !answered.is_other() {
        return Ok(());
    }
    writeln!(out)?;
    if answered.changed.is_empty() {
        let (rules, kernel) = (answered.rules, answered.kernel);
        return writeln!(out, "  no rule that matters here changed between {rules} and {kernel}");
    }
    for change in answered.changed {
        let when = match (change.since, change.until) {
            (Some(since), Some(until)) => format!("since {since}, before {until}"),
            (Some(since), None) => format!("since {since}"),
            (None, Some(until)) => format!("before {until}"),
            (None, None) => "in some kernels".to_owned(),
        };
        writeln!(out, "  changed   {when}: {}    {}", change.rule.row().meaning, change.rule)?;
        writeln!(out, "            {}", change.effect())?;
    }
    Ok(())
}

fn notes(answered: &Answered<'_>, out: &mut impl Write) -> io::Result<()> {
    let verdict = answered.verdict;
    let not_measured = verdict.consumer.is_some_and(|consumer| !consumer.measured());
    if !not_measured && verdict.unseen.is_empty() && answered.is_exact() && !answered.raced {
        return Ok(());
    }
    writeln!(out)?;
    if not_measured {
        writeln!(out, "  read, not measured: this consumer's flags come from its source")?;
    }
    if answered.is_other() {
        let (rules, kernel) = (answered.rules, answered.kernel);
        writeln!(out, "  by the versions of the rules, for Linux {rules}; it runs on {kernel}")?;
    } else if !answered.is_exact() {
        writeln!(out, "  by the versions of the rules, which were measured on Linux 6.18")?;
    }
    if answered.raced {
        writeln!(out, "  raced     the process changed meanwhile: this is the last reading of it")?;
    }
    for unseen in &verdict.unseen {
        writeln!(out, "  unknown   {}", unseen.sentence())?;
    }
    Ok(())
}

fn name(verdict: &Verdict) -> &'static str {
    verdict.consumer.map_or("it", Consumer::name)
}
