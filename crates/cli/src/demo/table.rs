//! The demo's table: a line per kind and answer, the prediction beside the kernel's word, who gets
//! it.

use crate::demo::Tally;
use anstyle::{AnsiColor, Style};
use gup::errno::Errno;
use gup_conformance::agree::{Outcome, Pair};
use gup_conformance::ask::answer::Answer;
use gup_conformance::fixture::kind::{Family, Kind};
use gup_mirror::consumer::{Answers, Consumer};
use gup_mirror::proc::kernel::KernelVersion;
use std::io::{self, Write};

const DIFFERS: Style = AnsiColor::Red.on_default().bold();
const AGREES: Style = AnsiColor::Green.on_default();
const QUIET: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// The answers about one kind, grouped by what was predicted and what came.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<Line>);

#[derive(Debug)]
struct Line {
    predicted: String,
    kernel: String,
    outcome: Outcome,
    consumers: Vec<&'static str>,
    rule: Option<String>,
}

impl Lines {
    /// Adds one answer.
    pub(crate) fn add(&mut self, consumer: Consumer, pair: &Pair) {
        let pages = pair.verdict.nr_pages;
        let predicted = words(consumer, pair.predicted(), pages);
        let kernel = words(consumer, pair.kernel, pages);
        let rule = pair.verdict.stop.as_ref().map(|stop| stop.rule.to_string());
        let outcome = pair.outcome();
        let same = |line: &&mut Line| {
            (&line.predicted, &line.kernel, line.outcome, &line.rule)
                == (&predicted, &kernel, outcome, &rule)
        };
        if let Some(line) = self.0.iter_mut().find(same) {
            line.consumers.push(consumer.name());
            return;
        }
        self.0.push(Line { predicted, kernel, outcome, consumers: vec![consumer.name()], rule });
    }

    /// Prints the kind and its answers, most frequent first.
    pub(crate) fn print(mut self, out: &mut impl Write, kind: Kind) -> io::Result<()> {
        self.0.sort_by_key(|line| std::cmp::Reverse(line.consumers.len()));
        let total: usize = self.0.iter().map(|line| line.consumers.len()).sum();
        writeln!(out, "{BOLD}{}{BOLD:#}  {QUIET}{}{QUIET:#}", kind.name(), kind.line())?;
        for line in &self.0 {
            line.print(out, total)?;
        }
        Ok(())
    }
}

impl Line {
    fn print(&self, out: &mut impl Write, total: usize) -> io::Result<()> {
        let (mark, style) = match self.outcome {
            Outcome::Same => ("=", AGREES),
            Outcome::Unknown => ("?", QUIET),
            Outcome::Differs => ("!", DIFFERS),
        };
        let who = if self.consumers.len() == total && total > 1 {
            format!("all {total}")
        } else {
            self.consumers.join(" ")
        };
        let rule = self.rule.as_deref().unwrap_or("");
        let (predicted, kernel) = (&self.predicted, &self.kernel);
        let mut lines = wrapped(&who, WIDTH - INDENT).into_iter();
        let first = lines.next().unwrap_or_default();
        writeln!(out, "  {predicted:>9} {style}{mark}{style:#} {kernel:<9} {rule:5} {first}")?;
        for line in lines {
            writeln!(out, "{:INDENT$}{line}", "")?;
        }
        Ok(())
    }
}

/// Columns of the table, and those before the system calls.
const WIDTH: usize = 100;
const INDENT: usize = 30;

/// `words` in lines of at most `width` columns.
fn wrapped(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What a caller got, in a word or two.
fn words(consumer: Consumer, answer: Answer, pages: u64) -> String {
    let errno = || Errno::from_raw(answer.errno).name().to_owned();
    if answer.ret < 0 {
        return errno();
    }
    let got = answer.ret.unsigned_abs();
    let worked = match consumer.answers() {
        Answers::Bytes | Answers::AllBytes => got.div_ceil(4096),
        Answers::PerPage => got,
        Answers::All | Answers::Status => pages,
    };
    match worked {
        worked if worked == pages => "ok".into(),
        1 => "1 page".into(),
        worked => format!("{worked} pages"),
    }
}

const INTRODUCTION: &str = "\
For each kind of memory a process is started that holds 4 pages of it. gup looks at it from outside
and predicts what each system call would get; then the call is made. ok: all pages; N pages: so many
of them; else the errno; ? where gup says that it cannot know. The rule that refuses is named;
`gup rule C-33` says what it means.";

/// Prints what the table is.
pub(crate) fn heading(out: &mut impl Write, kernel: &KernelVersion) -> io::Result<()> {
    writeln!(out, "gup demo on Linux {}", kernel.release)?;
    writeln!(out)?;
    writeln!(out, "{INTRODUCTION}")?;
    writeln!(out)?;
    writeln!(out, "  predicted = kernel    rule  system calls")
}

/// Prints the heading of a family of kinds.
pub(crate) fn family(out: &mut impl Write, family: Family) -> io::Result<()> {
    let heading = family.heading();
    writeln!(out)?;
    writeln!(out, "{BOLD}-- {heading} {}{BOLD:#}", "-".repeat(WIDTH - 4 - heading.len()))
}

/// Prints that a kind cannot be made here.
pub(crate) fn not_made(out: &mut impl Write, kind: Kind, why: &str) -> io::Result<()> {
    writeln!(out, "{BOLD}{}{BOLD:#}  {QUIET}{}{QUIET:#}", kind.name(), kind.line())?;
    writeln!(out, "  {QUIET}cannot be made here: {why}{QUIET:#}")
}

/// Prints the count of agreements, and what could not be asked or seen.
pub(crate) fn closing(
    out: &mut impl Write,
    tally: &Tally,
    kernel: &KernelVersion,
) -> io::Result<()> {
    let asked = tally.agree + tally.differ;
    let not_asked: usize = tally.cannot.values().sum();
    let style = if tally.differ == 0 { AGREES.bold() } else { DIFFERS };
    writeln!(out)?;
    writeln!(
        out,
        "{style}{} of {asked} answers agree{style:#}; {not_asked} could not be asked",
        tally.agree
    )?;
    for (why, count) in &tally.cannot {
        writeln!(out, "  {count:4} {why}")?;
    }
    if !tally.unseen.is_empty() {
        writeln!(out, "Not seen, and it could have mattered:")?;
        for unseen in &tally.unseen {
            writeln!(out, "       {}", unseen.sentence())?;
        }
    }
    if (kernel.major, kernel.minor) != (6, 18) {
        writeln!(out, "The rules are those of Linux 6.18; this is {}.", kernel.release)?;
    }
    Ok(())
}
