//! The command `gup`: parses arguments and prints; decides nothing.
//!
//! Exit status: 0 it answered; 1 the answer is no; 2 bad usage; 3 it could not look
//! ([`status`]); 130 it was interrupted, and has printed what it found so far ([`manners`]).
//! A pipe that is closed early ends the command quietly.

mod answers;
mod args;
mod bench;
mod collect;
mod conform;
mod demo;
mod explain;
mod follow;
mod manners;
mod map;
mod rule;
mod run;
mod status;
mod stories;

use args::{Args, Verb};
use clap::Parser;
use gup_conformance::fixture::gallery::{self, GALLERY_ARGUMENT};
use gup_conformance::fixture::serve;
use gup_conformance::fixture::subject::HIDDEN_ARGUMENT;
use gup_conformance::live::{KEEPER_ARGUMENT, serve_keeper};
use status::Failure;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if let [_, hidden, kind, dir] = words.as_slice()
        && hidden == HIDDEN_ARGUMENT
    {
        let status = serve::serve(kind, Path::new(dir));
        return ExitCode::from(u8::try_from(status).unwrap_or(1));
    }
    if let [_, hidden, dir] = words.as_slice()
        && hidden == GALLERY_ARGUMENT
    {
        return ExitCode::from(u8::try_from(gallery::serve(Path::new(dir))).unwrap_or(1));
    }
    if words.get(1).is_some_and(|word| word == KEEPER_ARGUMENT) {
        return ExitCode::from(u8::try_from(serve_keeper(&words[2..])).unwrap_or(1));
    }
    let args = Args::parse();
    let mut out = anstream::AutoStream::auto(std::io::stdout()).lock();
    let result = match args.verb {
        Verb::Bench(args) => bench::run(&args, &mut out),
        Verb::Completions(args) => manners::completions(args.shell, &mut out),
        Verb::Man(args) => manners::man(&args.folder),
        Verb::Collect(args) => collect::run(&args, &mut out),
        Verb::Conform(args) => conform::run_verb(&args, &mut out),
        Verb::Demo(args) => demo::run(&args, &mut out),
        Verb::Explain(args) => explain::run(&args, &mut out),
        Verb::Map(args) => map::run(&args, &mut out),
        Verb::Rule(args) => rule::run(&args, &mut out),
        Verb::Run(args) => run::run(&args, &mut out),
    };
    let result = result.and_then(|status| Ok(out.flush().map(|()| status)?));
    result.unwrap_or_else(Failure::report)
}
