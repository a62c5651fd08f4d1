//! Every kind that this machine can make, explained for every consumer and asked of the kernel: the
//! answer to the caller is the same (rows C-15 … C-37, C-63, C-64, C-83, C-93 … C-96, C-101).
//!
//! `GUP_KINDS` and `GUP_CONSUMERS` name what to ask about, as a part of the names. Pages are best
//! seen by root; what cannot be seen is no difference.

use gup_conformance::agree::{Comparison, Outcome, Pair, compare, driver_of};
use gup_conformance::fixture::files;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::serve::serve;
use gup_conformance::fixture::subject::{HIDDEN_ARGUMENT, Workshop};
use gup_conformance::sys;
use gup_mirror::consumer::Consumer;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(HIDDEN_ARGUMENT) {
        let (kind, dir) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
        return ExitCode::from(u8::try_from(serve(&kind, Path::new(&dir))).unwrap_or(1));
    }
    sys::stay_on_one_cpu(0);
    let program = std::env::current_exe().expect("this program has a path");
    let dir = files::usable_dir().unwrap_or_else(|| PathBuf::from("/"));
    let workshop = Workshop::new(&program, &dir);
    let wanted = |name| std::env::var(name).unwrap_or_default();
    let (kinds, consumers) = (wanted("GUP_KINDS"), wanted("GUP_CONSUMERS"));
    let (mut alike, mut differ, mut cannot) = (0, 0, BTreeSet::new());
    let mut unseen = 0;
    for kind in Kind::ALL.iter().filter(|kind| kind.name().contains(&kinds)) {
        let asked = Consumer::ALL.iter().filter(|consumer| driver_of(**consumer).is_some());
        for consumer in asked.filter(|consumer| consumer.name().contains(&consumers)) {
            match compare(&workshop, *kind, *consumer) {
                Comparison::Both(pair) => match pair.outcome() {
                    Outcome::Same => alike += 1,
                    Outcome::Unknown => {
                        unseen += 1;
                        eprintln!("not seen: {}", unlike(*kind, *consumer, &pair));
                    }
                    Outcome::Differs => {
                        differ += 1;
                        println!("{}", unlike(*kind, *consumer, &pair));
                    }
                },
                Comparison::CannotMake(why) => {
                    cannot.insert(format!("{}: {why}", kind.name()));
                    break;
                }
                Comparison::CannotAsk(why) => {
                    cannot.insert(format!("{}: {why}", consumer.name()));
                }
                Comparison::CannotExplain(why) => {
                    differ += 1;
                    println!("{}/{}: {why}", kind.name(), consumer.name());
                }
            }
        }
    }
    for why in &cannot {
        eprintln!("cannot ask: {why}");
    }
    println!("\ntest result: {alike} passed; {differ} failed; {unseen} said to be unknown");
    if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn unlike(kind: Kind, consumer: Consumer, pair: &Pair) -> String {
    let rule = pair.verdict.stop.as_ref().map(|stop| stop.rule.to_string()).unwrap_or_default();
    let (engine, kernel) = (pair.predicted(), pair.kernel);
    format!("{}/{}: engine {engine} {rule}, kernel {kernel}", kind.name(), consumer.name())
}
