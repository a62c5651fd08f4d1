//! The running kernel, asked through the laboratory, answers recorded programs as they say.
//!
//! Without the test harness, since the program is also the keeper.

use gup_conformance::live::{Changes, KEEPER_ARGUMENT, Lab, Watch, serve_keeper};
use gup_conformance::replay::{ask_kernel, programs};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == KEEPER_ARGUMENT) {
        return ExitCode::from(u8::try_from(serve_keeper(&words[2..])).unwrap_or(1));
    }
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/linux-6.18/public-240x60.jsonl.gz");
    let programs = programs(Path::new(path)).expect("the programs are in the repository");
    let program = std::env::current_exe().expect("a path");
    let mut lab = match Lab::new(&program, Changes::ALL, Watch::default()) {
        Ok(lab) => lab,
        Err(why) => {
            println!("cannot ask: {why}");
            return ExitCode::SUCCESS;
        }
    };
    println!("{:?}", lab.shortcomings());
    let start = std::time::Instant::now();
    let (mut count, mut unlike) = (0, 0);
    for program in &programs {
        match ask_kernel(&mut lab, program) {
            Ok((asked, None)) => count += asked,
            Ok((asked, Some(difference))) => {
                count += asked;
                unlike += 1;
                if unlike < 5 {
                    println!("{difference:#?}");
                }
            }
            Err(why) => {
                println!("cannot ask: {why}");
                return ExitCode::SUCCESS;
            }
        }
    }
    println!("{count} operations, {unlike} programs otherwise, {:?}", start.elapsed());
    if unlike == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
