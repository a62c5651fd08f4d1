//! `gup bench`: measures, and prints the table or the JSON object.

use crate::args::BenchArgs;
use crate::status::{Answer, Failure, yes_or_no};
use gup_conformance::bench::{CannotBench, Effort, run as measure};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Runs `gup bench`.
pub(crate) fn run(args: &BenchArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let show = std::io::stderr().is_terminal();
    let progress = |name: &str| {
        if show {
            eprintln!("measuring {name}");
        }
    };
    let report = measure(effort, &args.rows, progress).map_err(|error| match error {
        CannotBench::NoSuchRow(..) => Failure::Usage(error.to_string()),
        CannotBench::Memory(..) | CannotBench::Frames(_) | CannotBench::Map(_) => {
            Failure::Mirror(error.to_string())
        }
    })?;
    if args.json {
        let text = serde_json::to_string(&report).map_err(std::io::Error::from)?;
        writeln!(out, "{text}")?;
    } else if args.markdown {
        write!(out, "{}", report.markdown())?;
    } else {
        write!(out, "{report}")?;
        if cfg!(debug_assertions) {
            writeln!(
                out,
                "a debug build: run `cargo run --release -- bench` for figures that mean something"
            )?;
        }
    }
    Ok(yes_or_no(Answer::Yes))
}
