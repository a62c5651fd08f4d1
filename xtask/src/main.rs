//! Chores of this repository, run as `cargo xtask VERB`.
//!
//! Each verb is one module and prints what it did; a failed check ends with status 1. Absent:
//! anything that a plain cargo command does already (fmt, clippy, doc, test); `.ci/run` calls those
//! itself.

mod bare_metal;
mod emulate;
mod evidence;
mod explore;
mod linux_map;
mod man;
mod mutate;
mod no_std;
mod package;
mod repo;
mod rows;
mod rules;
mod rust_source;
mod tidy;

use std::process::ExitCode;

/// What `cargo xtask` prints when the verb is missing or unknown.
const USAGE: &str = "\
usage: cargo xtask VERB

  tidy                 sizes, headers, dead files, words, engine promises, the map of rows
  linux-map [--check]  write docs/linux-map.md (row, code, test), or check that it is fresh
  rules [--check]      write docs/rules (why a pin fails, by what people see), or check it
  man [FOLDER]         write the manual pages of the command (target/man)
  mutate [--rules A-30,A-31] [--at-least N]
                       switch rules off one at a time; a test must notice each
  explore [--schedules N]
                       run the concurrent code in many orders, as it is and with planted faults
  no-std [--all-targets]
                       prove that the engine needs no std, here and on bare-metal targets
  emulate [x86_64] [aarch64] [riscv64] [cortex-m]
                       emulated processors walk the engine's tables; a microcontroller pins
  package              the command as one file without libraries, and a .deb of it";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match verb.as_str() {
        "tidy" => tidy::run(&rest),
        "linux-map" => linux_map::run(&rest),
        "rules" => rules::run(&rest),
        "man" => man::run(&rest),
        "mutate" => mutate::run(&rest),
        "explore" => explore::run(&rest),
        "no-std" => no_std::run(&rest),
        "emulate" => emulate::run(&rest),
        "package" => package::run(&rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {verb}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
