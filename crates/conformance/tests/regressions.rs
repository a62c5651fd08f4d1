//! What random programs once found: played in the engine, and in the running kernel where it can
//! be asked.
//!
//! Without the test harness: the program is also the kernel's keeper. `scenarios/regressions/` has
//! one program for each difference, as it was shrunk, with the kernel's answers.

use gup_conformance::live::{Changes, KEEPER_ARGUMENT, Kernel, Lab, Watch, serve_keeper};
use gup_conformance::scenario::{Program, parse, play};
use gup_conformance::world::{Engine, Verdict, World, compare};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, hidden, words @ ..] = args.as_slice()
        && hidden == KEEPER_ARGUMENT
    {
        return ExitCode::from(u8::try_from(serve_keeper(words)).unwrap_or(1));
    }
    let programs = programs();
    assert!(programs.len() >= 36, "{} regressions", programs.len());
    let failed = in_the_engine(&programs) + in_the_kernel(&programs);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn programs() -> Vec<(PathBuf, Program)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/regressions");
    let entries = std::fs::read_dir(dir).expect("the folder is in the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "gup"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a text");
        let program =
            parse(&text).unwrap_or_else(|mistake| panic!("{}: {mistake:?}", path.display()));
        (path, program)
    };
    paths.into_iter().map(read).collect()
}

/// What was recorded of the kernel comes of every step.
fn in_the_engine(programs: &[(PathBuf, Program)]) -> usize {
    let mut failed = 0;
    for (path, program) in programs {
        let played = play(program).expect("a machine");
        for (step, report) in program.steps.iter().zip(&played.reports) {
            if !report.unmet.is_empty() {
                failed += 1;
                println!("{}: {}: {:?}", path.display(), step.text, report.unmet);
            }
        }
    }
    println!("{} regressions played in the engine, {failed} steps otherwise", programs.len());
    failed
}

/// Engine and kernel say the same of every step, areas and pages included.
fn in_the_kernel(programs: &[(PathBuf, Program)]) -> usize {
    let cannot = |why: &str| {
        let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if !release.starts_with("6.18") {
        cannot("this kernel is not the one that the engine is exact for");
        return 0;
    }
    let program = std::env::current_exe().expect("this program");
    let mut lab = match Lab::new(&program, Changes::NONE, Watch::default()) {
        Ok(lab) => lab,
        Err(why) => {
            cannot(&why);
            return 0;
        }
    };
    lab.shortcomings().into_iter().for_each(cannot);
    let mut failed = 0;
    for (path, program) in programs {
        let mut engine = match Engine::new(&program.setup, gup_conformance::sys::memlock()) {
            Ok(engine) => engine,
            Err(why) => panic!("{}: {why}", path.display()),
        };
        let mut kernel = match Kernel::new(&mut lab, &program.setup) {
            Ok(kernel) => kernel,
            Err(why) => {
                cannot(&format!("{}: {why}", path.display()));
                continue;
            }
        };
        for step in &program.steps {
            let (ours, right) = (engine.play(step), kernel.play(step));
            match compare(&ours, &right) {
                Verdict::Same => {}
                Verdict::CannotAsk(why) => cannot(&format!("{}: {why}", path.display())),
                Verdict::Differs(what) => {
                    failed += 1;
                    println!("{}: {}: {what}", path.display(), step.text);
                }
            }
        }
    }
    println!("{} regressions played in the running kernel, {failed} steps differ", programs.len());
    failed
}
