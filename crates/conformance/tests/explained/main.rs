//! What `gup explain` answers besides its verdict, against what the kernel does to a process that
//! is told to do it.
//!
//! Without the test harness, since the program is also the process that is looked at
//! (`gup_conformance::puppet`). `GUP_EXPLAINED` names the checks to run, by a part of their names.

mod chance;
mod fork;
mod memlock;
mod rss;

use gup_conformance::puppet::{PUPPET_ARGUMENT, Puppet, serve};
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::look::Look;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::proc::pagemap;
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use std::io::Write as _;
use std::process::ExitCode;

/// Where puppets map memory: a block of 2 MiB of the arena.
pub(crate) const START: u64 = 0x2000_0000_0000;

/// A check, and its name, which is a sentence.
type Check = (&'static str, fn());

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(PUPPET_ARGUMENT) {
        return ExitCode::from(serve());
    }
    let wanted = std::env::var("GUP_EXPLAINED").unwrap_or_default();
    let checks = [memlock::CHECKS, fork::CHECKS, rss::CHECKS].concat();
    for (name, check) in checks.iter().filter(|(name, _)| name.contains(&wanted)) {
        println!("{name}");
        check();
    }
    ExitCode::SUCCESS
}

/// A puppet of this program.
pub(crate) fn puppet() -> Puppet {
    let program = std::env::current_exe().expect("this program has a path");
    Puppet::start(&program).expect("a puppet")
}

/// Tells `puppet` lines that succeed.
#[track_caller]
pub(crate) fn tell(puppet: &mut Puppet, lines: &str) {
    for line in lines.lines() {
        puppet.tell(line).unwrap_or_else(|errno| panic!("{line}: {errno}"));
    }
}

/// What `consumer` would get from the first of `ranges`; the others are of the same call.
pub(crate) fn with_look<T>(
    puppet: &Puppet,
    consumer: Consumer,
    ranges: &[(u64, u64)],
    then: impl FnOnce(&Look<'_>) -> T,
) -> T {
    let process = Process::open(puppet.pid()).expect("the puppet lives");
    let range = |&(start, len): &(u64, u64)| ByteRange::new(start, len).expect("a range");
    let request = Request { ask: Ask::Consumer(consumer), range: range(&ranges[0]) };
    let mut look = Look::at(&process, request).expect("it can be looked at");
    look.also = ranges[1..].iter().map(range).collect();
    then(&look)
}

/// Says why a check could not ask.
pub(crate) fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}

/// The frame of each of `pages` pages of process `pid` from `start`; `None` if none are shown here.
pub(crate) fn frames(pid: u32, start: u64, pages: u64) -> Option<Vec<Option<u64>>> {
    let process = Process::open(pid).expect("it lives");
    let words = pagemap::words(&process, start, pages as usize).expect("its pages can be read");
    let hidden = words.iter().any(|word| word.present() && word.pfn().is_none());
    (!hidden).then(|| words.iter().map(|word| word.pfn()).collect())
}
