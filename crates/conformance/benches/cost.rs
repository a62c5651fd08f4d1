//! How often the time of a pin lies in the range that was predicted: `cargo bench -p
//! gup-conformance --bench cost`.
//!
//! For each kind of memory and size: one calibration and prediction, by another process, then ten
//! pins. Nothing fails here; the figures are for `docs/performance.md`. `GUP_COST_SHIFT=30` goes up
//! to 1 GiB.

use gup_conformance::cost::{Making, Memory, Pinner, calibrate};
use gup_mirror::answer::cost::cost;
use gup_mirror::answer::rates::Time;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::look::Look;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use std::process::Command;

const RUNS: usize = 10;

/// The hidden argument of the process that predicts.
const PREDICT: &str = "__predict";

/// The time of a pin of `len` bytes at `start` of process `pid`.
fn predicted(pid: u32, start: u64, len: u64) -> Result<Time, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let process = Process::open(pid).map_err(|error| told(&error))?;
    let range = ByteRange::new(start, len).map_err(|error| told(&error))?;
    let request = Request { ask: Ask::Consumer(Consumer::IoUringBuffer), range };
    let mut look = Look::at(&process, request).map_err(|error| told(&error))?;
    look.rates = calibrate(len);
    let bill = cost(&look).map_err(|error| told(&error))?.now;
    bill.time.ok_or_else(|| "no time".to_owned())
}

/// The same, by a process of its own: one that looks at itself changes while it looks.
fn ask(memory: &Memory) -> Result<Vec<f64>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let words =
        [u64::from(std::process::id()), memory.addr(), memory.len_bytes()].map(|n| n.to_string());
    let output = Command::new(program).arg(PREDICT).args(words).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if numbers.len() == 4 { Ok(numbers) } else { Err(text) }
}

/// How many of the runs were in the range, what the range was and what the runs took, in µs.
fn held(pinner: &Pinner, making: Making, touched: bool, bytes: usize) -> Result<String, String> {
    let new = || {
        let memory = Memory::new(making, bytes)?;
        (!touched || memory.touch()).then_some(memory).ok_or(()).ok()
    };
    let none = || "no such memory".to_owned();
    let time = ask(&new().ok_or_else(none)?)?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let pinned = pinner.pin(&new().ok_or_else(none)?);
        runs.push(pinned.ok_or("the pin is refused")?.ns);
    }
    let inside = runs.iter().filter(|ns| time[0] <= **ns && **ns <= time[1]).count();
    runs.sort_by(f64::total_cmp);
    let us = [time[0], time[1], time[2], time[3], runs[0], runs[RUNS - 1]].map(|ns| ns / 1e3);
    let [low, high, low_faults, high_faults, least, most] = us;
    Ok(format!(
        "{inside:2} of {RUNS}   predicted {low:9.0} to {high:9.0} us (faults {low_faults:9.0} to \
         {high_faults:9.0})   took {least:9.0} to {most:9.0}"
    ))
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, hidden, pid, start, len] = words.as_slice()
        && hidden == PREDICT
    {
        let number = |word: &str| word.parse().unwrap_or(0);
        return match predicted(number(pid) as u32, number(start), number(len)) {
            Ok(Time { total, faults, .. }) => {
                println!("{} {} {} {}", total.low, total.high, faults.low, faults.high);
            }
            Err(why) => println!("{why}"),
        };
    }
    let Some(pinner) = Pinner::new() else { return println!("there is no io_uring here") };
    let most: u32 = std::env::var("GUP_COST_SHIFT").ok().and_then(|n| n.parse().ok()).unwrap_or(28);
    for making in [Making::Small, Making::Thp, Making::Hugetlb, Making::OfFile] {
        for touched in [false, true] {
            for shift in (12..=most).step_by(4).chain((most > 28).then_some(most)) {
                let what = if touched { "touched" } else { "untouched" };
                let told = held(&pinner, making, touched, 1 << shift);
                let told = told.unwrap_or_else(|why| format!("cannot ask: {why}"));
                println!("{making:8?} {what:9} {:7} KiB   {told}", 1_u64 << (shift - 10));
            }
        }
    }
}
