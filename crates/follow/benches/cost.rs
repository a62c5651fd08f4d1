//! What following costs a command that never fails: the same command alone and followed, in turn.
//!
//! Prints a table of Markdown: the time on processors of the command and of whoever follows it
//! (median alone, and the ratio of medians), and wall time (ratio of minima, the least disturbed
//! by what else runs). `cargo bench -p gup-follow --bench cost`; a number after `--` is how many
//! rounds there are.

use gup_follow::trace::{Children, DirectIo, Ended, Options, follow};
use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is run, and why.
const COMMANDS: [(&str, &str); 6] = [
    ("computes", "head -c 100000000 /dev/zero | sha256sum"),
    ("walks a tree of files", "find /usr/lib -type f -size +1000k"),
    (
        "compresses in two threads that wait for each other",
        "head -c 20000000 /dev/zero | xz -T2 -1 --block-size=256KiB",
    ),
    ("starts 300 processes", "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done"),
    ("makes 400,000 bare calls", "dd if=/dev/zero of=/dev/null bs=4k count=200000"),
    ("reads a file with `O_DIRECT`, 64 KiB a call", "dd if=big of=/dev/null bs=64k iflag=direct"),
];

const FOLLOWED: &str = "followed";

/// Seconds that a command took.
#[derive(Clone, Copy)]
struct Took {
    cpu: f64,
    wall: f64,
}

fn main() {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == FOLLOWED) {
        let options = Options {
            children: Children::Followed,
            direct_io: DirectIo::Followed,
            still_here: |_| (),
        };
        let ended = follow(&words[1..], options, &mut |told| eprintln!("{told:?}"));
        std::process::exit(match ended {
            Ok(Ended::Exited(status)) => status,
            Ok(Ended::Killed(_)) | Err(_) => 1,
        });
    }
    let rounds = words.iter().find_map(|word| word.to_str()?.parse().ok()).unwrap_or(11);
    let folder = std::env::temp_dir();
    let big = folder.join("big");
    std::fs::write(&big, vec![7; 64 << 20]).expect("room for a file");
    println!("| a command that | alone, CPU ms | followed / alone, CPU | followed / alone, wall |");
    println!("|---|--:|--:|--:|");
    for (what, script) in COMMANDS {
        let (mut alone, mut followed) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            alone.push(took(Command::new("sh").args(["-c", script]).current_dir(&folder)));
            let mut own = Command::new(std::env::current_exe().expect("a name"));
            followed.push(took(own.args([FOLLOWED, "sh", "-c", script]).current_dir(&folder)));
        }
        let cpu = median(&followed) / median(&alone);
        let wall = least(&followed) / least(&alone);
        println!("| {what} | {:.0} | {cpu:.3} | {wall:.3} |", median(&alone) * 1000.0);
    }
    let _ = std::fs::remove_file(big);
}

fn median(all: &[Took]) -> f64 {
    let mut times: Vec<f64> = all.iter().map(|took| took.cpu).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn least(all: &[Took]) -> f64 {
    all.iter().map(|took| took.wall).fold(f64::INFINITY, f64::min)
}

fn took(command: &mut Command) -> Took {
    let (begun, cpu) = (Instant::now(), of_children());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("it runs");
    Took { cpu: of_children() - cpu, wall: begun.elapsed().as_secs_f64() }
}

/// Seconds on processors of all processes that were waited for, and theirs.
fn of_children() -> f64 {
    // SAFETY: all zeros is a value of this plain type.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is writable.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    let seconds = |time: libc::timeval| {
        let (whole, part) = (time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs());
        (Duration::from_secs(whole) + Duration::from_micros(part)).as_secs_f64()
    };
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
