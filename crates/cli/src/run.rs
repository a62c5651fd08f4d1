//! `gup run`: plays scenario files in the engine and prints what each step did.
//!
//! Exit status: 0 all that was expected came; 1 it did not; 2 a scenario with a mistake, which is
//! shown with its line and column; 3 a file that cannot be read.
//! Absent: the language ([`gup_conformance::scenario`]).

use crate::args::RunArgs;
use crate::status::{Answer, Failure, yes_or_no};
use anstyle::{AnsiColor, Style};
use gup::addr::{PAGE_SHIFT, VirtAddr};
use gup::flags::FaultFlags;
use gup::linux::Linux;
use gup::observe::{Event, FaultEnd};
use gup_conformance::scenario::{Player, Program, Report, Seen, Setup, Step, parse_bytes};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// The column at which a step's result stands.
const RESULT_COLUMN: usize = 64;

/// What is printed, and when it waits.
struct Show<'a> {
    args: &'a RunArgs,
    player: Player,
}

/// Runs `gup run`.
pub(crate) fn run(args: &RunArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let mut answer = Answer::Yes;
    for (index, file) in args.files.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        if !play(args, file, out)? {
            answer = Answer::No;
        }
    }
    Ok(yes_or_no(answer))
}

/// Plays one file; whether all that was expected came.
fn play(args: &RunArgs, file: &Path, out: &mut impl Write) -> Result<bool, Failure> {
    let name = file.display();
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::Unreadable(format!("could not read {name}: {error}")))?;
    let program =
        parse_bytes(&bytes).map_err(|mistake| Failure::Usage(format!("{name}: {mistake}")))?;
    let player = Player::new(&program.setup)
        .map_err(|why| Failure::Usage(format!("{name}: this machine cannot be made: {why}")))?;
    let bold = Style::new().bold();
    writeln!(out, "{bold}{name}{bold:#}, {}", machine(&program.setup))?;
    let mut playing = Show { args, player };
    let mut wrong = Vec::new();
    for step in &program.steps {
        let report = playing.player.step(step);
        playing.print(step, &report, out)?;
        if !report.is_as_expected() {
            wrong.push(step.line);
        }
        playing.pause(out)?;
    }
    story(&program.epilogue, out)?;
    let leaks = playing.player.finish();
    summary(&program, &wrong, &leaks, out)?;
    Ok(wrong.is_empty() && leaks.is_empty())
}

/// The machine, in words.
fn machine(setup: &Setup) -> String {
    let kernel = match setup.linux {
        Linux::V4_4 => "Linux 4.4",
        Linux::V6_18 => "Linux 6.18",
    };
    let mut words = format!("{kernel}, {} MiB", setup.frames >> (20 - PAGE_SHIFT));
    for (is, word) in [
        (setup.nommu, ", no MMU"),
        (setup.dirty_cow, ", with Dirty COW"),
        (setup.thp_always, ", transparent huge pages always"),
        (setup.swap_pages > 0, ", swap"),
        (setup.huge_pages > 0, ", a hugetlb pool"),
    ] {
        if is {
            words.push_str(word);
        }
    }
    words
}

fn story(lines: &[String], out: &mut impl Write) -> io::Result<()> {
    let italic = Style::new().italic();
    if !lines.is_empty() {
        writeln!(out)?;
    }
    for line in lines {
        writeln!(out, "{italic}{line}{italic:#}")?;
    }
    Ok(())
}

fn summary(
    program: &Program,
    wrong: &[u32],
    leaks: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    let (good, bad) = (AnsiColor::Green.on_default(), AnsiColor::Red.on_default());
    let steps = program.steps.len();
    writeln!(out)?;
    for leak in leaks {
        writeln!(out, "{bad}left behind{bad:#}: {leak}")?;
    }
    if wrong.is_empty() {
        return writeln!(out, "{good}{steps} steps, all as expected{good:#}");
    }
    let lines: Vec<String> = wrong.iter().map(u32::to_string).collect();
    let (count, lines) = (wrong.len(), lines.join(", "));
    writeln!(out, "{bad}{count} of {steps} steps not as expected{bad:#}: lines {lines}")
}

impl Show<'_> {
    fn print(&self, step: &Step, report: &Report, out: &mut impl Write) -> io::Result<()> {
        story(&step.story, out)?;
        let bold = Style::new().bold();
        let text = &step.text;
        let gap = RESULT_COLUMN.saturating_sub(text.chars().count()).max(2);
        writeln!(out, "{:>4}  {bold}{text}{bold:#}{:gap$}{}", step.line, "", report.value)?;
        if self.args.trace {
            self.trace(report, out)?;
        } else {
            self.digest(report, out)?;
        }
        self.pages(report, out)?;
        for (label, state) in &report.states {
            note(out, label, state)?;
        }
        let bad = AnsiColor::Red.on_default().bold();
        for miss in &report.unmet {
            writeln!(out, "      {bad}NOT AS EXPECTED{bad:#}: {miss}")?;
        }
        Ok(())
    }

    /// Faults, waits and the lock, a line each.
    fn digest(&self, report: &Report, out: &mut impl Write) -> io::Result<()> {
        const LINES: usize = 12;
        let lines: Vec<(&str, String)> =
            report.seen.iter().enumerate().filter_map(|(at, _)| self.line(report, at)).collect();
        for (label, text) in lines.iter().take(LINES) {
            note(out, label, text)?;
        }
        let more = lines.len().saturating_sub(LINES);
        if more > 0 {
            note(out, "", &format!("… and {more} more"))?;
        }
        match pins(report) {
            (0, 0) => Ok(()),
            (taken, 0) => note(out, "pins", &format!("{taken} acquired")),
            (0, given) => note(out, "pins", &format!("{given} released")),
            (taken, given) => note(out, "pins", &format!("{taken} acquired, {given} released")),
        }
    }
    /// What is worth a line without `--trace`.
    fn line(&self, report: &Report, at: usize) -> Option<(&'static str, String)> {
        let seen = &report.seen[at];
        Some(match seen {
            Seen::Event(Event::FaultEnd { addr, what }) => {
                let begun = report.seen[..at].iter().rev().find_map(|seen| match seen {
                    Seen::Event(Event::Fault { addr: of, flags }) if of == addr => Some(*flags),
                    _ => None,
                });
                let how = begun.map_or("fault", access);
                ("fault", format!("{how} at {}: {}", self.place(*addr), end(*what)))
            }
            Seen::Event(Event::LockDropped) => ("lock", "dropped".into()),
            Seen::Event(_) => return None,
            Seen::Meanwhile => ("", outside(seen)?),
            Seen::Bug(_) => ("bug", outside(seen)?),
            Seen::Warned(_) => ("warning", outside(seen)?),
            Seen::ReadStarted(_) | Seen::ReadUnderLock(_) | Seen::Waited => {
                ("disk", outside(seen)?)
            }
        })
    }
    /// Every event.
    fn trace(&self, report: &Report, out: &mut impl Write) -> io::Result<()> {
        for seen in &report.seen {
            match seen {
                Seen::Event(event) => self.event(event, out)?,
                other => note(out, "host", &outside(other).unwrap_or_default())?,
            }
        }
        Ok(())
    }
    fn event(&self, event: &Event, out: &mut impl Write) -> io::Result<()> {
        match event {
            Event::Rule { rule, addr } => {
                let at = if addr.get() == 0 { String::new() } else { self.place(*addr) };
                let meaning = rule.row().meaning;
                note(out, &rule.to_string(), &format!("{at:10} {meaning}"))
            }
            Event::VmaFound { start, end } => note(out, "area", &format!("{start}-{end}")),
            Event::Walk { level, addr, entry } => {
                note(out, "walk", &format!("level {level} at {}: {entry:#x}", self.place(*addr)))
            }
            Event::Fault { addr, flags } => {
                let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
                let flags = if names.is_empty() { "no flags".into() } else { names.join("|") };
                let text = format!("begins at {}, {flags}", self.place(*addr));
                note(out, "fault", &text)
            }
            Event::FaultEnd { addr, what } => {
                note(out, "fault", &format!("ends at {}: {}", self.place(*addr), end(*what)))
            }
            Event::Grab { index, pfn } => note(out, "grab", &format!("page {index}: {pfn:?}")),
            Event::Pinned(count) => note(out, "pins", &format!("{count} acquired")),
            Event::Unpinned(count) => note(out, "pins", &format!("{count} released")),
            Event::Unmapped { start, end, .. } => {
                note(out, "area", &format!("{start}-{end} is gone"))
            }
            Event::LockDropped => note(out, "lock", "dropped"),
            Event::LockTaken => note(out, "lock", "taken"),
            Event::Wait(ticket) => note(out, "wait", &format!("for ticket {ticket}")),
            other => note(out, "event", &format!("{other:?}")),
        }
    }
    fn place(&self, addr: VirtAddr) -> String {
        self.player.describe(addr)
    }
    /// The pages handed out, with the walk to each and their counts.
    fn pages(&self, report: &Report, out: &mut impl Write) -> io::Result<()> {
        for page in &report.handed {
            let counts = format!(
                "{:?}, refs {}, pins {}, mapcount {}",
                page.pfn, page.refs, page.pins, page.mapcount
            );
            note(out, "page", &format!("{:8} {counts:42} {}", self.place(page.addr), page.walk))?;
        }
        if report.more_handed > 0 {
            note(out, "", &format!("… and {} more pages", report.more_handed))?;
        }
        Ok(())
    }
    /// Waits for Enter, if asked to; the end of the input goes on.
    fn pause(&self, out: &mut impl Write) -> io::Result<()> {
        if self.args.step {
            write!(out, "      [Enter] ")?;
            out.flush()?;
            io::stdin().read_line(&mut String::new())?;
        }
        Ok(())
    }
}

/// Pins acquired and released.
fn pins(report: &Report) -> (u64, u64) {
    report.seen.iter().fold((0, 0), |(taken, given), seen| match seen {
        Seen::Event(Event::Pinned(count)) => (taken + u64::from(*count), given),
        Seen::Event(Event::Unpinned(count)) => (taken, given + u64::from(*count)),
        _ => (taken, given),
    })
}

fn note(out: &mut impl Write, label: &str, text: &str) -> io::Result<()> {
    let dim = Style::new().dimmed();
    writeln!(out, "      {dim}{label:<7}{dim:#} {}", text.trim_end())
}

/// What the host did, in words.
fn outside(seen: &Seen) -> Option<String> {
    Some(match seen {
        Seen::Event(_) => return None,
        Seen::ReadStarted(page) => format!("begins to read page {page}"),
        Seen::ReadUnderLock(page) => format!("page {page} is waited for where it is read"),
        Seen::Waited => "a page is waited for until it is there".into(),
        Seen::Meanwhile => "another thread acts now".into(),
        Seen::Bug(rule) => format!("the kernel asserts that this does not happen ({rule})"),
        Seen::Warned(rule) => format!("{} ({rule})", rule.row().meaning),
    })
}

fn access(flags: FaultFlags) -> &'static str {
    if flags.contains(FaultFlags::UNSHARE) {
        "unshare"
    } else if flags.contains(FaultFlags::WRITE) {
        "store"
    } else {
        "load"
    }
}

fn end(what: FaultEnd) -> &'static str {
    match what {
        FaultEnd::Minor => "minor",
        FaultEnd::Major => "major, data was read",
        FaultEnd::Kept => "not finished, the lock is kept",
        FaultEnd::Retry => "not finished, drop the lock and wait",
        FaultEnd::Completed => "done, but the lock must be dropped",
        FaultEnd::Oom => "no memory",
        FaultEnd::Sigbus => "SIGBUS",
        FaultEnd::Sigsegv => "SIGSEGV",
        FaultEnd::HwPoison => "poisoned memory",
        FaultEnd::Fallback => "falls back to small pages",
    }
}
