//! Processes that end, map, unmap, or run another program while they are looked at.

use crate::targets::{HERE, PAGES, Target};
use gup_mirror::consumer::Consumer;
use gup_mirror::error::MirrorError;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::explain::{Glance, NoVerdict, glance};
use gup_mirror::proc::image::Image;
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use std::time::Duration;

/// How one look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// All pages, and whether it was marked.
    All { raced: bool },
    /// Nothing is mapped there, and whether it was marked.
    Nothing { raced: bool },
    /// No two readings agreed.
    Raced,
    /// It has ended.
    Gone,
}

/// A few pages, that are read one by one, or all of them, that are read as runs.
const LENGTHS: [u64; 2] = [16, PAGES];

fn look(process: &Process, pages: u64) -> Seen {
    let range = ByteRange::new(HERE, pages << 12).expect("a range");
    let request = Request { ask: Ask::Consumer(Consumer::ProcessVmReadv), range };
    match glance(process, &request, &process.facts()) {
        Ok(Glance { verdict, raced, .. }) => match &verdict.stop {
            None => Seen::All { raced },
            Some(stop) if stop.index == 0 && stop.place.is_none() => Seen::Nothing { raced },
            Some(stop) => panic!("a state that the process never had: {stop:?}"),
        },
        Err(NoVerdict::Look(error)) => of_error(&error),
        Err(error @ (NoVerdict::Build(_) | NoVerdict::Range(_))) => panic!("{error}"),
    }
}

fn of_error(error: &MirrorError) -> Seen {
    match error {
        MirrorError::Gone { .. } | MirrorError::Zombie { .. } => Seen::Gone,
        MirrorError::Raced { .. } => Seen::Raced,
        other => panic!("no clear answer: {other}"),
    }
}

/// A process that ends is there with all its memory, or it is gone.
pub(crate) fn ends() {
    let mut gone = 0;
    for round in 0..150_u64 {
        let target = Target::start("ends");
        let Ok(process) = Process::open(target.pid()) else { continue };
        std::thread::sleep(Duration::from_micros(round * 37 % 4000));
        match look(&process, LENGTHS[round as usize % 2]) {
            Seen::All { .. } | Seen::Raced => {}
            Seen::Gone => gone += 1,
            Seen::Nothing { raced } => assert!(raced, "a process that ended has no holes"),
        }
    }
    println!("{gone} of 150 were gone");
}

/// A process that maps and unmaps has all of it or nothing.
pub(crate) fn maps() {
    let target = Target::start("maps");
    let process = Process::open(target.pid()).expect("it runs");
    let (mut all, mut nothing, mut marked, mut none) = (0, 0, 0, 0);
    for round in 0..20_000_usize {
        if round >= 200 && marked + none > 0 {
            break;
        }
        match look(&process, LENGTHS[round % 2]) {
            Seen::All { raced } => {
                all += 1;
                marked += u32::from(raced);
            }
            Seen::Nothing { raced } => {
                nothing += 1;
                marked += u32::from(raced);
            }
            Seen::Raced => none += 1,
            Seen::Gone => panic!("it runs on"),
        }
    }
    println!("{all} all, {nothing} nothing, {marked} of them marked, {none} without an answer");
    assert!(marked + none > 0, "20,000 looks at a busy process, and none saw it change");
}

/// A process that runs another program is marked, or has no answer.
pub(crate) fn execs() {
    let target = Target::start("execs");
    let mut marked = 0;
    for round in 0..50 {
        let process = match Process::open(target.pid()) {
            Ok(process) => process,
            // While it starts a program its memory may belong to root.
            Err(MirrorError::NotPermitted { .. }) => continue,
            Err(error) => panic!("it runs on: {error}"),
        };
        wait_for_exec(&process);
        match look(&process, LENGTHS[round % 2]) {
            Seen::All { raced } | Seen::Nothing { raced } => {
                assert!(raced, "it runs another program than when it was opened");
                marked += 1;
            }
            Seen::Raced => marked += 1,
            Seen::Gone => panic!("it runs on"),
        }
    }
    println!("{marked} of 50 were marked");
    assert!(marked > 10);
}

/// Waits until the process runs another program than when it was opened.
fn wait_for_exec(process: &Process) {
    for _ in 0..10_000 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid()));
        let now = stat.ok().and_then(|text| Image::parse(&text));
        if now.is_some_and(|now| now != process.image() && now.stack != 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it runs no other program");
}
