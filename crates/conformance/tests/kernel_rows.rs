//! The running kernel answers as the recorded rows say, for every kind that this machine can make.
//!
//! Without the test harness, since the program is also the fixture. On a kernel other than 6.18, or
//! where something cannot be made or asked, it prints why and leaves that out.

use gup_conformance::ask::answer::Asked;
use gup_conformance::ask::driver::Driver;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::{HIDDEN_ARGUMENT, NoSubject, Workshop};
use gup_conformance::fixture::{files, serve};
use gup_conformance::rows::{self, Row};
use gup_conformance::sys;
use gup_mirror::proc::kernel::KernelVersion;
use gup_mirror::process::Process;
use gup_mirror::window::Window;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, hidden, kind, dir] = args.as_slice()
        && hidden == HIDDEN_ARGUMENT
    {
        let status = serve::serve(kind, Path::new(dir));
        return ExitCode::from(u8::try_from(status).unwrap_or(1));
    }
    let kernel = KernelVersion::running();
    if (kernel.major, kernel.minor) != (6, 18) {
        println!("skipped: the rows are of Linux 6.18, this is {}", kernel.release);
        return ExitCode::SUCCESS;
    }
    let (Some(dir), Ok(program)) = (files::usable_dir(), std::env::current_exe()) else {
        println!("skipped: no directory here has direct I/O and nameless files");
        return ExitCode::SUCCESS;
    };
    compare(&Workshop::new(&program, &dir))
}

fn compare(workshop: &Workshop) -> ExitCode {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/linux-6.18/kernel-rows.jsonl.gz");
    let rows = rows::read(Path::new(path)).expect("the recorded rows are in the repository");
    sys::stay_on_one_cpu(0);
    let unlike = states_unlike(workshop, &rows);
    assert_eq!(unlike, Vec::<String>::new(), "the mirror sees the recorded states");
    let (mut same, mut differ) = (0, 0);
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        match ask(workshop, row) {
            Ok((true, _)) => same += 1,
            Ok((false, answer)) => {
                differ += 1;
                println!("{}/{}: kernel {answer}, recorded {row:?}", row.kind, row.driver);
            }
            Err(why) => *left_out.entry(why).or_default() += 1,
        }
    }
    println!("{same} rows answered as recorded, {differ} otherwise");
    for (why, count) in left_out {
        println!("  {count} left out: {why}");
    }
    assert!(same > 300, "most rows can be asked anywhere");
    if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Asks the kernel about one row: whether it answers the same, and the answer.
fn ask(workshop: &Workshop, row: &Row) -> Result<(bool, String), String> {
    let kind = Kind::from_name(&row.kind).ok_or("no recipe for this kind")?;
    let driver = Driver::from_name(&row.driver).ok_or("no such driver here")?;
    let mut subject = workshop.start(kind).map_err(|why| match why {
        NoSubject::CannotMake(why) => format!("{}: {why}", row.kind),
        NoSubject::Broken(error) => panic!("{}: the fixture broke off: {error}", row.kind),
    })?;
    match subject.ask(driver) {
        Asked::Answer(answer) => {
            let same = (answer.ret, answer.errno, answer.mask) == (row.ret, row.errno, row.mask);
            Ok((same && subject.range().pages() == row.np, answer.to_string()))
        }
        Asked::Cannot(why) => Err(format!("{}: {why}", row.driver)),
    }
}

/// The kinds whose pages the mirror sees in other states than those recorded, with both.
fn states_unlike(workshop: &Workshop, rows: &[Row]) -> Vec<String> {
    let mut unlike = Vec::new();
    // The vDSO is left out: an ordinary program has used it before it serves.
    for row in rows.iter().filter(|row| row.driver == "none" && row.kind != "vdso") {
        let Some(kind) = Kind::from_name(&row.kind) else { continue };
        let Ok(subject) = workshop.start(kind) else { continue };
        let process = Process::open(subject.pid()).expect("our own fixture");
        let range = subject.range();
        let pages = usize::try_from(range.pages()).expect("a few pages");
        let window = Window::read(&process, range.start, pages).expect("our own fixture");
        let seen: Vec<&str> = window.pages.iter().map(|page| page.state.name()).collect();
        let recorded: Vec<&str> = row.before.split_whitespace().collect();
        let alike = |(seen, token): (&&str, &&str)| fits(token, seen);
        if !seen.iter().zip(&recorded).all(alike) || seen.len() != recorded.len() {
            unlike.push(format!("{}: saw {seen:?}, recorded {recorded:?}", row.kind));
        }
    }
    unlike
}

/// Whether a state that the mirror saw is the recorded one, as far as this reader may see.
fn fits(token: &str, seen: &str) -> bool {
    match token.get(..2).unwrap_or(token) {
        "-" | "." => seen == "absent",
        "Ax" => ["anon-exclusive", "anon-once"].contains(&seen),
        "As" => ["anon-shared", "anon-once"].contains(&seen),
        _ => match &token[..1] {
            "Z" => seen == "zero",
            "F" => seen == "file",
            "S" => seen == "swap",
            "G" => seen == "guard",
            "K" => ["ksm", "anon-shared"].contains(&seen),
            _ => false,
        },
    }
}
