//! The running kernel, asked through the laboratory: it answers recorded programs as they say, new
//! programs as the engine does, and is left as it was found.
//!
//! Without the test harness, since the program is also the keeper. On a kernel other than 6.18,
//! without root, or where no swap can be made, it says why and asks less. `GUP_LIVE_PROGRAMS` sets
//! how many new programs are played.

use gup_conformance::live::{Changes, KEEPER_ARGUMENT, Lab, Watch, serve_keeper};
use gup_conformance::replay::{ask_kernel, play, programs, record_program};
use gup_conformance::scenario::parse;
use gup_conformance::world::{Engine, Pair, Verdict};
use gup_conformance::{live, sys};
use gup_mirror::proc::kernel::KernelVersion;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Settings that may be changed while programs are played.
const SETTINGS: [&str; 4] = [
    "/proc/swaps",
    "/proc/sys/vm/nr_hugepages",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/block/zram0/disksize",
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == KEEPER_ARGUMENT) {
        return ExitCode::from(u8::try_from(serve_keeper(&words[2..])).unwrap_or(1));
    }
    let kernel = KernelVersion::running();
    if (kernel.major, kernel.minor) != (6, 18) {
        println!("cannot ask: the engine is exact for Linux 6.18, this is {}", kernel.release);
        return ExitCode::SUCCESS;
    }
    let settings = || SETTINGS.map(|path| fs::read_to_string(path).unwrap_or_default());
    let before = settings();
    let lab = laboratory();
    let mut lab = match lab {
        Ok(lab) => lab,
        Err(why) => {
            println!("cannot ask: {why}");
            return ExitCode::SUCCESS;
        }
    };
    for lack in lab.shortcomings() {
        println!("not compared: {lack}");
    }
    scenarios(&mut lab);
    match recorded(&mut lab).and_then(|()| new(&mut lab)) {
        Ok(()) => {}
        Err(why) => println!("cannot ask: {why}"),
    }
    drop(lab);
    assert_eq!(settings(), before, "the machine is left as it was found");
    killed_controllers_leave_nothing_behind(&before);
    ExitCode::SUCCESS
}

fn laboratory() -> Result<Lab, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Lab::new(&program, Changes::ALL, Watch::default())
}

/// Scenarios that the kernel can be asked are the same there, step by step.
fn scenarios(lab: &mut Lab) {
    for name in ["every-driver", "userfaultfd"] {
        let path = format!("{}/../../scenarios/{name}.gup", env!("CARGO_MANIFEST_DIR"));
        let program = parse(&fs::read_to_string(path).expect("a scenario")).expect("no mistake");
        let engine = Engine::new(&program.setup, sys::memlock()).expect("a machine");
        let kernel = match live::Kernel::new(lab, &program.setup) {
            Ok(kernel) => kernel,
            Err(why) => return println!("cannot ask: {why}"),
        };
        let mut pair = Pair::new(engine, kernel);
        let mut asked = 0;
        for step in &program.steps {
            let both = pair.play(step);
            match &both.verdict {
                Verdict::Same => asked += 1,
                Verdict::CannotAsk(why) => println!("cannot ask: {name}:{}: {why}", step.line),
                Verdict::Differs(what) => {
                    panic!("{name}:{}: {}: {what}\n{both:#?}", step.line, step.text)
                }
            }
        }
        println!("{name}: {asked} of {} steps asked, the same", program.steps.len());
    }
}

/// Every recorded program is answered as it was.
fn recorded(lab: &mut Lab) -> Result<(), String> {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/linux-6.18/public-240x60.jsonl.gz");
    let programs = programs(Path::new(path)).expect("the programs are in the repository");
    let mut count = 0;
    for program in &programs {
        let (asked, unlike) = ask_kernel(lab, program)?;
        assert_eq!(unlike, None, "this kernel answers otherwise than the recorded one");
        count += asked;
    }
    println!("{count} recorded operations answered as recorded");
    Ok(())
}

/// New programs, of a seed that is printed, are answered by the engine as by the kernel.
fn new(lab: &mut Lab) -> Result<(), String> {
    let count = std::env::var("GUP_LIVE_PROGRAMS").ok().and_then(|n| n.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    println!("new programs from seed {now}");
    for seed in (now..).take(count.unwrap_or(30)) {
        let program = record_program(lab, seed, 60)?;
        let Err(difference) = play(&program) else { continue };
        // What the kernel does not answer twice in the same way depends on who else ran.
        let again = record_program(lab, seed, 60)?;
        assert_ne!(program, again, "seed {seed}: {difference:#?}");
        println!("cannot ask: seed {seed}: the kernel answered otherwise the second time");
    }
    Ok(())
}

/// A controller that is killed in the middle of a program, after it made swap, leaves no process
/// and no setting behind.
fn killed_controllers_leave_nothing_behind(before: &[String; 4]) {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
        let mut ends = [0; 2];
        // SAFETY: `ends` has room for two descriptors.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let started = laboratory().and_then(|mut lab| {
                let program = record_program(&mut lab, 1, 5)?;
                // SAFETY: writes one byte of a constant to a pipe.
                unsafe { libc::write(ends[1], b"y".as_ptr().cast(), 1) };
                loop {
                    record_program(&mut lab, program.len() as u64, 60)?;
                }
            });
            // SAFETY: ends the child; nothing runs after it.
            unsafe { libc::_exit(started.map_or(3, |(): ()| 0)) };
        }
        // SAFETY: the child has its own copy.
        unsafe { libc::close(ends[1]) };
        let mut byte = 0_u8;
        // SAFETY: reads at most one byte into `byte`.
        let running = unsafe { libc::read(ends[0], (&raw mut byte).cast(), 1) } == 1;
        // SAFETY: the descriptor is this function's own.
        unsafe { libc::close(ends[0]) };
        // SAFETY: a child of this process.
        unsafe { libc::kill(child, signal) };
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        if !running {
            println!("cannot ask: no program could be played to be interrupted");
            return;
        }
        let settled = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let now = SETTINGS.map(|path| fs::read_to_string(path).unwrap_or_default());
            now == *before && !anybody_serves()
        });
        assert!(settled, "after signal {signal} the machine is as it was before");
    }
    println!("interrupted, ended and killed controllers left nothing behind");
}

/// Whether a keeper or subject of this program is left.
fn anybody_serves() -> bool {
    let me = std::env::current_exe().unwrap_or_default();
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let path = process.path();
        let exe = fs::read_link(path.join("exe")).unwrap_or_default();
        let words = fs::read(path.join("cmdline")).unwrap_or_default();
        let keeper = words.split(|byte| *byte == 0).nth(1);
        exe == me && keeper == Some(KEEPER_ARGUMENT.as_bytes())
    })
}
