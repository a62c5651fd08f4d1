//! A process with 65,000 areas and a reservation of 1 TiB, explained by a program whose memory is
//! looked at afterwards.

use crate::looks;
use crate::targets::{AREAS, RESERVED, Target};
use gup_conformance::sys::{ARENA, PAGE};
use gup_mirror::consumer::Consumer;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::process::{Command, ExitCode};

/// The argument that makes this program look once: then process, start, length, consumer.
pub(crate) const ROLE: &str = "__look";

/// Looks once, and says how much memory that took, in KiB.
pub(crate) fn serve(pid: &str, start: &str, len: &str, consumer: &str) -> ExitCode {
    let number = |word: &str| word.parse::<u64>().unwrap_or(0);
    let Some(consumer) = Consumer::from_name(consumer) else { return ExitCode::FAILURE };
    let verdict = looks::look(number(pid) as u32, number(start), number(len), consumer);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.trim().strip_suffix(" kB")).unwrap_or("0");
    println!("{peak}\n{verdict}");
    ExitCode::SUCCESS
}

/// The peak memory in KiB of a look, and its verdict.
fn looked(pid: u32, start: u64, len: u64, consumer: Consumer) -> (u64, Value) {
    let program = std::env::current_exe().expect("a path");
    let words = [pid.to_string(), start.to_string(), len.to_string()];
    let output = Command::new(program).arg(ROLE).args(words).arg(consumer.name()).output();
    let text = String::from_utf8(output.expect("it runs").stdout).expect("text");
    let (peak, verdict) = text.split_once('\n').expect("two lines");
    (peak.trim().parse().expect("a number"), serde_json::from_str(verdict).expect("JSON"))
}

/// The check.
pub(crate) fn check() {
    let target = Target::start("many");
    let Some(reserved) = target.said.strip_prefix("ready ") else {
        let _ = writeln!(std::io::stderr(), "cannot ask: {}", target.said);
        return;
    };
    let reserved: u64 = reserved.parse().expect("an address");
    let pid = target.pid();
    let read = Consumer::ProcessVmReadv;
    // What is reserved allows nothing.
    let (peak, verdict) = looked(pid, reserved, RESERVED, read);
    println!("all of 1 TiB: {peak} KiB");
    assert_eq!(verdict["stop"], json!([0, "EFAULT", "C-34"]), "{verdict}");
    assert!(peak < 64 << 10, "{peak} KiB for a look at 1 TiB");
    let (peak, verdict) = looked(pid, reserved + (1 << 39), 1 << 20, read);
    println!("in the middle of 1 TiB: {peak} KiB");
    assert_eq!(verdict["stop"], json!([0, "EFAULT", "C-34"]), "{verdict}");
    assert!(peak < 64 << 10, "{peak} KiB for a look at 1 MiB");
    // 16 MiB of areas of one page with holes between: the second page is a hole.
    let middle = ARENA.start + AREAS * PAGE / 2 * 2;
    let (peak, verdict) = looked(pid, middle, 16 << 20, read);
    println!("in the middle of 65,000 areas: {peak} KiB");
    assert_eq!((&verdict["gup"], &verdict["stop"][2]), (&1.into(), &"C-16".into()), "{verdict}");
    assert!(peak < 128 << 10, "{peak} KiB for a look at 16 MiB");
    // All of them at once: half a GiB, every second page mapped.
    let (peak, verdict) = looked(pid, ARENA.start, 2 * AREAS * PAGE, read);
    println!("all 65,000 areas: {peak} KiB");
    assert_eq!(verdict["gup"], 1, "{verdict}");
    assert!(peak < 200 << 10, "{peak} KiB for a look at all areas");
}
