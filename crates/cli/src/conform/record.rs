//! `gup conform --record`: what the running kernel answers to random programs, in the form that
//! `--replay` reads.

use super::verb::laboratory;
use crate::args::ConformArgs;
use crate::manners::Bar;
use crate::status::Failure;
use gup_conformance::replay::record_program;
use gup_conformance::rows;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Runs `gup conform --record`.
pub(super) fn run_verb(
    args: &ConformArgs,
    path: &Path,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let written = |error: std::io::Error| {
        Failure::Unreadable(format!("could not write {}: {error}", path.display()))
    };
    let (seed, ops) = (args.seed.unwrap_or(1), args.ops.unwrap_or(60));
    let programs = args.programs.unwrap_or(240);
    let mut lab = laboratory(args)?;
    let mut file = rows::create(path).map_err(written)?;
    let mut operations = 0;
    let bar = Bar::new(Some(programs), "programs");
    for nth in (seed..).take(usize::try_from(programs).unwrap_or(usize::MAX)) {
        let program = record_program(&mut lab, nth, ops).map_err(|why| {
            // A file of nothing would look like an answer.
            let _ = std::fs::remove_file(path);
            Failure::Unreadable(format!("the kernel cannot be asked: {why}"))
        })?;
        operations += program.len();
        for record in &program {
            let line = serde_json::to_string(record).map_err(std::io::Error::from)?;
            writeln!(file, "{line}").map_err(written)?;
        }
        bar.show(nth - seed + 1, String::new());
    }
    file.finish().map_err(written)?;
    bar.end();
    let path = path.display();
    writeln!(out, "{path}: {programs} programs, {operations} operations, as this kernel answers")?;
    Ok(ExitCode::SUCCESS)
}
