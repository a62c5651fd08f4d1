//! The verb `demo`: every kind for every consumer, then the closing count.

use super::table;
use crate::args::DemoArgs;
use crate::status::{Answer, Failure, yes_or_no};
use gup_conformance::agree::{Comparison, compare, driver_of};
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

/// Runs `gup demo`.
pub(crate) fn run(args: &DemoArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let kernel = KernelVersion::running();
    sys::stay_on_this_cpu();
    let program = std::env::current_exe()?;
    let dir = files::usable_dir();
    let workshop = Workshop::new(&program, &dir.clone().unwrap_or_else(|| PathBuf::from("/")));
    table::heading(out, &kernel)?;
    let mut tally = Tally::default();
    let mut family = None;
    let wanted =
        |kind: &&Kind| args.kind.as_ref().is_none_or(|part| kind.name().contains(part.as_str()));
    for &kind in Kind::ALL.iter().filter(wanted) {
        if family != Some(kind.family()) {
            family = Some(kind.family());
            table::family(out, kind.family())?;
        }
        explain_kind(&workshop, kind, &mut tally, out)?;
    }
    table::closing(out, &tally, &kernel)?;
    Ok(yes_or_no(if tally.differ == 0 { Answer::Yes } else { Answer::No }))
}

/// Asks everybody about one kind, and prints its lines.
fn explain_kind(
    workshop: &Workshop,
    kind: Kind,
    tally: &mut Tally,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut lines = table::Lines::default();
    for &consumer in Consumer::ALL.iter().filter(|consumer| driver_of(**consumer).is_some()) {
        match compare(workshop, kind, consumer) {
            Comparison::Both(pair) => {
                if pair.agree() {
                    tally.agree += 1;
                } else {
                    tally.differ += 1;
                }
                tally.unseen.extend(pair.verdict.unseen.iter().copied());
                lines.add(consumer, &pair);
            }
            Comparison::CannotMake(why) => {
                table::not_made(out, kind, &why)?;
                *tally.cannot.entry(format!("{}: {why}", kind.name())).or_default() += 1;
                return Ok(());
            }
            Comparison::CannotAsk(why) => {
                *tally.cannot.entry(format!("{}: {why}", consumer.name())).or_default() += 1;
            }
            Comparison::CannotExplain(why) => {
                *tally.cannot.entry(format!("{}: {why}", kind.name())).or_default() += 1;
            }
        }
    }
    lines.print(out, kind)?;
    Ok(())
}
