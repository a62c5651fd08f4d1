//! Every kind that this machine can make, asked of through every driver: the engine answers as the
//! running kernel does, with the same state of all pages before and after.
//!
//! Root only, since pages are looked at. `GUP_KINDS` names the kinds to ask about, as a part of
//! their names.

use gup_conformance::ask::driver::Driver;
use gup_conformance::fixture::files;
use gup_conformance::fixture::kind::{Family, Kind};
use gup_conformance::fixture::serve::serve;
use gup_conformance::fixture::subject::{HIDDEN_ARGUMENT, Workshop};
use gup_conformance::live::rows::record;
use gup_conformance::replay::compare;
use gup_conformance::sys;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How often a row is recorded again that differs: others on this machine pin pages too.
const TRIES: u32 = 6;

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
    let wanted = std::env::var("GUP_KINDS").unwrap_or_default();
    let (mut alike, mut differ, mut cannot) = (0, 0, BTreeSet::new());
    // This program's own calls touch the vDSO, more or less of it.
    let kinds = Kind::ALL.iter().filter(|kind| kind.family().is_recorded());
    let kinds = kinds.filter(|kind| **kind != Kind::Vdso);
    for kind in kinds.filter(|kind| kind.name().contains(&wanted)) {
        for driver in std::iter::once(None).chain(Driver::ALL.iter().copied().map(Some)) {
            match ask(&workshop, *kind, driver) {
                Ok(None) => alike += 1,
                Ok(Some(difference)) => {
                    differ += 1;
                    println!("{difference}");
                }
                Err(why) => drop(cannot.insert(why)),
            }
        }
    }
    for why in &cannot {
        eprintln!("cannot ask: {why}");
    }
    println!("\ntest result: {alike} passed; {differ} failed");
    if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The difference, if there is one.
fn ask(workshop: &Workshop, kind: Kind, driver: Option<Driver>) -> Result<Option<String>, String> {
    let mut last = None;
    for _ in 0..TRIES {
        let mut row = record(workshop, kind, driver)?;
        let made = || format!("{}: not made in the engine", row.kind);
        let mut compared = compare(&row).ok_or_else(made)?;
        if compared.is_some() && kind.family() == Family::Swap {
            // Swap on a disk leaves what is read in its cache; the engine's is in RAM, like zram.
            row.after.retain(|c| c != 'c');
            compared = compare(&row).ok_or_else(made)?;
        }
        let Some(unlike) = compared else { return Ok(None) };
        last = Some(unlike.to_string());
    }
    Ok(last)
}
