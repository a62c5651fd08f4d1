//! The verb `demo`: every kind for every consumer, then the closing count.

use super::table;
use crate::args::DemoArgs;
use crate::status::{Answer, Failure, yes_or_no};
use gup_conformance::agree::{Comparison, Outcome, compare, driver_of};
use gup_conformance::fixture::files;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::Workshop;
use gup_conformance::sys;
use gup_mirror::consumer::Consumer;
use gup_mirror::proc::kernel::KernelVersion;
use gup_mirror::unseen::Unseen;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;

/// What came of all questions.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Predictions that the kernel confirmed.
    pub(super) agree: usize,
    /// Predictions that it did not.
    pub(super) differ: usize,
    /// Questions that could not be put, by reason.
    pub(super) cannot: BTreeMap<String, usize>,
    /// What could not be seen of the process.
    pub(super) unseen: BTreeSet<Unseen>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.agree += other.agree;
        self.differ += other.differ;
        for (why, count) in other.cannot {
            *self.cannot.entry(why).or_default() += count;
        }
        self.unseen.extend(other.unseen);
    }
}

/// Runs `gup demo`.
pub(crate) fn run(args: &DemoArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let kernel = KernelVersion::running();
    let program = std::env::current_exe()?;
    let dir = files::usable_dir();
    let workshop = Workshop::new(&program, &dir.unwrap_or_else(|| PathBuf::from("/")));
    table::heading(out, &kernel)?;
    let wanted =
        |kind: &&Kind| args.kind.as_ref().is_none_or(|part| kind.name().contains(part.as_str()));
    let kinds: Vec<Kind> = Kind::ALL.iter().filter(wanted).copied().collect();
    let mut tally = Tally::default();
    let mut family = None;
    in_order(&workshop, &kinds, |kind, told| {
        let (lines, part) = told?;
        if family != Some(kind.family()) {
            family = Some(kind.family());
            table::family(out, kind.family())?;
        }
        out.write_all(&lines)?;
        tally.add(part);
        Ok(())
    })?;
    table::closing(out, &tally, &kernel)?;
    Ok(yes_or_no(if tally.differ == 0 { Answer::Yes } else { Answer::No }))
}

/// What was found about one kind: its lines of the table, and its part of the count.
type Told = Result<(Vec<u8>, Tally), Failure>;

/// Explains `kinds` on several CPUs, each kind on one of them, and tells in the order of `kinds`.
fn in_order(
    workshop: &Workshop,
    kinds: &[Kind],
    mut tell: impl FnMut(Kind, Told) -> Result<(), Failure>,
) -> Result<(), Failure> {
    const MOST: usize = 8;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
    let next = AtomicUsize::new(0);
    let (send, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for cpu in 0..cpus {
            let (next, send) = (&next, send.clone());
            scope.spawn(move || {
                sys::stay_on_one_cpu(cpu);
                while let Some(&kind) = kinds.get(next.fetch_add(1, Relaxed)) {
                    if send.send((kind, explain_kind(workshop, kind))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        // Taken along, so that the workers end when nobody listens any more.
        let told = told;
        let mut early = BTreeMap::new();
        for &kind in kinds {
            while !early.contains_key(&kind) {
                let Ok((ready, told)) = told.recv() else { return Ok(()) };
                early.insert(ready, told);
            }
            if let Some(told) = early.remove(&kind) {
                tell(kind, told)?;
            }
        }
        Ok(())
    })
}

/// Asks everybody about one kind.
fn explain_kind(workshop: &Workshop, kind: Kind) -> Told {
    let (mut tally, mut out) = (Tally::default(), Vec::new());
    let mut lines = table::Lines::default();
    for &consumer in Consumer::ALL.iter().filter(|consumer| driver_of(**consumer).is_some()) {
        match compare(workshop, kind, consumer) {
            Comparison::Both(pair) => {
                match pair.outcome() {
                    Outcome::Same => tally.agree += 1,
                    Outcome::Differs => tally.differ += 1,
                    Outcome::Unknown => {
                        let why = format!("{}: said to be unknown", consumer.name());
                        *tally.cannot.entry(why).or_default() += 1;
                    }
                }
                tally.unseen.extend(pair.verdict.unseen.iter().copied());
                lines.add(consumer, &pair);
            }
            Comparison::CannotMake(why) => {
                table::not_made(&mut out, kind, &why)?;
                *tally.cannot.entry(format!("{}: {why}", kind.name())).or_default() += 1;
                return Ok((out, tally));
            }
            Comparison::CannotAsk(why) => {
                *tally.cannot.entry(format!("{}: {why}", consumer.name())).or_default() += 1;
            }
            Comparison::CannotExplain(why) => {
                *tally.cannot.entry(format!("{}: {why}", kind.name())).or_default() += 1;
            }
        }
    }
    lines.print(&mut out, kind)?;
    Ok((out, tally))
}
