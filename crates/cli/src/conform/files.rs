//! `gup conform FILE`: scenarios played in the engine and in the running kernel, step by step.

use super::verb::{difference, laboratory, object};
use crate::args::ConformArgs;
use crate::status::{Answer, Failure, yes_or_no};
use anstyle::{AnsiColor, Style};
use gup_conformance::live::{Kernel, Lab};
use gup_conformance::replay::{FirstDifference, Side, Totals};
use gup_conformance::scenario::{Program, Step, parse_bytes};
use gup_conformance::world::{Both, Engine, Heard, Pair, Verdict};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// The column at which a step's verdict stands.
const VERDICT_COLUMN: usize = 64;

/// Runs `gup conform FILE…`.
pub(super) fn run_verb(args: &ConformArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let mut programs = Vec::new();
    for path in &args.files {
        let name = path.display();
        let bytes = std::fs::read(path)
            .map_err(|error| Failure::Unreadable(format!("could not read {name}: {error}")))?;
        let program =
            parse_bytes(&bytes).map_err(|mistake| Failure::Usage(format!("{name}: {mistake}")))?;
        programs.push((path.as_path(), program));
    }
    let mut lab = laboratory(args)?;
    let mut played = Files { args, totals: Totals::default() };
    if !args.json {
        for lack in lab.shortcomings() {
            writeln!(out, "not compared: {lack}")?;
        }
    }
    for (path, program) in &programs {
        played.program(&mut lab, path, program, out)?;
        if played.totals.differs > 0 && !args.keep_going {
            break;
        }
    }
    let totals = &played.totals;
    if args.json {
        object(totals, out)?;
    } else {
        let Totals { operations, ok, differs, cannot_ask, .. } = totals;
        writeln!(
            out,
            "{operations} steps: {ok} ok, {differs} differ, {cannot_ask} cannot be asked"
        )?;
    }
    Ok(yes_or_no(if totals.differs == 0 { Answer::Yes } else { Answer::No }))
}

struct Files<'a> {
    args: &'a ConformArgs,
    totals: Totals,
}

impl Files<'_> {
    fn program(
        &mut self,
        lab: &mut Lab,
        path: &Path,
        program: &Program,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        self.totals.programs += 1;
        let bold = Style::new().bold();
        if !self.args.json {
            writeln!(out, "{bold}{}{bold:#}", path.display())?;
        }
        let engine = Engine::new(&program.setup, gup_conformance::sys::memlock())
            .map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))?;
        let engine = if self.args.counts { engine.exactly() } else { engine };
        let kernel = match Kernel::new(lab, &program.setup) {
            Ok(kernel) => kernel,
            Err(why) => {
                self.totals.operations += program.steps.len();
                self.totals.cannot_ask += program.steps.len();
                if !self.args.json {
                    writeln!(out, "  cannot ask: {why}")?;
                }
                return Ok(());
            }
        };
        let mut pair = Pair::new(engine, kernel);
        for (i, step) in (0..).zip(&program.steps) {
            let both = pair.play(step);
            self.count(i, step, &both);
            if !self.args.json {
                self.print(step, &both, out)?;
            }
            if matches!(both.verdict, Verdict::Differs(_)) && !self.args.keep_going {
                break;
            }
        }
        Ok(())
    }

    fn count(&mut self, i: u64, step: &Step, both: &Both) {
        self.totals.operations += 1;
        match &both.verdict {
            Verdict::Same => self.totals.ok += 1,
            Verdict::CannotAsk(_) => self.totals.cannot_ask += 1,
            Verdict::Differs(what) => {
                self.totals.differs += 1;
                let found = FirstDifference {
                    seed: None,
                    i,
                    op: step.text.clone(),
                    kernel: both.other.as_ref().map(side).unwrap_or_default(),
                    engine: side(&both.engine),
                    note: Some(what.to_string()),
                };
                self.totals.first_difference.get_or_insert(found);
            }
        }
    }

    fn print(&self, step: &Step, both: &Both, out: &mut impl Write) -> std::io::Result<()> {
        let (good, bad) = (AnsiColor::Green.on_default(), AnsiColor::Red.on_default().bold());
        let dim = Style::new().dimmed();
        let gap = VERDICT_COLUMN.saturating_sub(step.text.chars().count()).max(2);
        write!(out, "{:>4}  {}{:gap$}", step.line, step.text, "")?;
        let value = &both.engine.value;
        match &both.verdict {
            Verdict::Same => writeln!(out, "{good}ok{good:#}  {dim}{value}{dim:#}"),
            Verdict::CannotAsk(why) => writeln!(out, "{dim}cannot ask: {why}{dim:#}"),
            Verdict::Differs(what) => {
                writeln!(out, "{bad}differs{bad:#}: {what}")?;
                self.totals.first_difference.as_ref().map_or(Ok(()), |found| difference(found, out))
            }
        }
    }
}

/// What one world said, as recorded operations have it.
fn side(heard: &Heard) -> Side {
    let (ret, errno) = heard.recorded();
    Side { ret, errno, state: heard.state() }
}
