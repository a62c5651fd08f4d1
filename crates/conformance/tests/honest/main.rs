//! The explainer is honest: without privilege it says what it cannot see and nothing else differs;
//! a look leaves no trace in the process; one that changes meanwhile gets a clear answer; huge
//! reservations and many areas cost little memory.
//!
//! Without the test harness, since the program is also the processes that are looked at.

mod large;
mod looks;
mod privilege;
mod races;
mod reader;
mod targets;
mod trace;

use gup_conformance::fixture::serve::serve;
use gup_conformance::fixture::subject::HIDDEN_ARGUMENT;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[1..] {
        [HIDDEN_ARGUMENT, kind, dir] => {
            return ExitCode::from(u8::try_from(serve(kind, Path::new(dir))).unwrap_or(1));
        }
        [reader::ROLE] => return reader::serve(),
        [targets::ROLE, what] => return targets::serve(what),
        [large::ROLE, pid, start, len, consumer] => {
            return large::serve(pid, start, len, consumer);
        }
        _ => {}
    }
    let mut failed = 0;
    for (name, check) in [
        ("without privilege a verdict is the same or says unknown", privilege::check as fn()),
        ("a process that ends gives no answer about nothing", races::ends),
        ("a process that maps and unmaps gives one of its own states", races::maps),
        ("a process that runs another program is marked", races::execs),
        ("a reservation of 1 TiB and 65,000 areas cost little memory", large::check),
    ] {
        println!("test {name} ...");
        let outcome = std::panic::catch_unwind(check);
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed += u32::from(outcome.is_err());
    }
    println!("\ntest result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
