//! What a pin costs, predicted and then pinned: faults are those of `getrusage`, bytes zeroed and
//! copied those by which the process grows, for small, huge and hugetlb pages, touched or not.
//!
//! No test harness: a second thread would change the areas while they are read.

use gup_conformance::cost::{Making, Memory, Pinner};
use gup_conformance::sys;
use gup_mirror::answer::cost::{Bill, cost};
use gup_mirror::answer::what_if::{Wanted, WhatIf};
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::look::Look;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use std::process::ExitCode;

/// How much of the memory is there when it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touched {
    None,
    All,
    Half,
}

/// Offset and length of the range in its memory, in bytes.
const RANGES: [(u64, u64); 5] =
    [(0, 4096), (0, 65_536), (0x800, 5 * 4096), (0, 4 << 20), (3 * 4096, (4 << 20) + 7)];

fn main() -> ExitCode {
    let Some(pinner) = Pinner::new() else {
        eprintln!("cannot ask: there is no io_uring here");
        return ExitCode::SUCCESS;
    };
    // The first calls touch code and data of this program.
    for _ in 0..2 {
        let memory = Memory::new(Making::Small, 4096);
        memory.and_then(|memory| pinner.pin(&memory));
    }
    let (mut same, mut differ) = (0, 0);
    for making in [Making::Small, Making::Thp, Making::Hugetlb, Making::OfFile] {
        for touched in [Touched::None, Touched::All, Touched::Half] {
            for (offset, len) in RANGES {
                let name = format!("{making:?} {touched:?} {offset:#x}+{len:#x}");
                match compare(&pinner, making, touched, (offset, len)) {
                    Ok(()) => same += 1,
                    Err(Unlike::Cannot(why)) => eprintln!("cannot ask: {name}: {why}"),
                    Err(Unlike::Differs(why)) => {
                        differ += 1;
                        println!("{name}: {why}");
                    }
                }
            }
        }
    }
    for wrong in [what_if_is_what_is(&pinner), more_pages_than_one_call(&pinner)] {
        match wrong {
            Ok(()) => same += 1,
            Err(Unlike::Cannot(why)) => eprintln!("cannot ask: {why}"),
            Err(Unlike::Differs(why)) => {
                differ += 1;
                println!("{why}");
            }
        }
    }
    println!("\ntest result: {same} passed; {differ} failed");
    if differ == 0 && same > 20 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

enum Unlike {
    Cannot(String),
    Differs(String),
}

fn cannot(why: &str) -> Unlike {
    Unlike::Cannot(why.to_owned())
}

/// The bill for `len` bytes at `start` of this process.
fn predicted(start: u64, len: u64, what_if: WhatIf) -> Result<Bill, Unlike> {
    let process = Process::open(std::process::id()).map_err(|why| cannot(&why.to_string()))?;
    let range = ByteRange::new(start, len).map_err(|why| cannot(&why.to_string()))?;
    let request = Request { ask: Ask::Consumer(Consumer::IoUringBuffer), range };
    let mut look = Look::at(&process, request).map_err(|why| cannot(&why.to_string()))?;
    look.what_if = what_if;
    let cost = cost(&look).map_err(|why| cannot(&why.to_string()))?;
    Ok(cost.what_if.map_or(cost.now, |(_, bill)| bill))
}

/// Anonymous bytes of the area at `addr`, in hugetlb pages or not.
fn anonymous(addr: u64) -> u64 {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let (mut here, mut kib) = (false, 0);
    for line in smaps.lines() {
        let bounds = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        if let Some((Some(start), Some(end))) = bounds.map(|(a, b)| (number(a), number(b))) {
            here = start <= addr && addr < end;
        }
        let counted = line.starts_with("Anonymous:") || line.starts_with("Private_Hugetlb:");
        if here && counted {
            kib += line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    kib << 10
}

fn made(making: Making, touched: Touched, bytes: u64) -> Result<Memory, Unlike> {
    let bytes = usize::try_from(bytes).map_err(|_| cannot("too large"))?;
    let memory = Memory::new(making, bytes).ok_or_else(|| cannot("no such memory here"))?;
    let ready = match touched {
        Touched::None => true,
        Touched::All => memory.touch(),
        Touched::Half => memory.touch_first(memory.len_bytes() / 2),
    };
    if ready { Ok(memory) } else { Err(cannot("it could not be touched")) }
}

fn compare(
    pinner: &Pinner,
    making: Making,
    touched: Touched,
    (offset, len): (u64, u64),
) -> Result<(), Unlike> {
    let memory = made(making, touched, (offset + len).next_multiple_of(2 << 20))?;
    let start = memory.addr() + offset;
    let bill = predicted(start, len, WhatIf::default())?;
    let before = anonymous(start);
    let measured = pinner.pin_range(start, len).ok_or_else(|| cannot("not registered"))?;
    let grown = anonymous(start) - before;
    let counts = bill.counts;
    // Pages of the memfd are there already, which is not seen where no entry maps them.
    let zeroed = counts.zeroed_bytes() - (counts.from_shared << 12);
    let told = (counts.faults, counts.major, zeroed + (counts.copied << 12));
    let seen = (measured.minor, measured.major, grown);
    let pages = counts.small + counts.in_huge;
    if told != seen || pages != (start % 4096 + len).div_ceil(4096) {
        return Err(Unlike::Differs(format!("predicted {told:?}, seen {seen:?}; {counts:?}")));
    }
    if counts.runs_at_least > counts.runs_at_most || counts.runs_at_most > pages {
        return Err(Unlike::Differs(format!("{counts:?}")));
    }
    Ok(())
}

/// What is predicted for memory made otherwise is what is predicted for memory that was.
fn what_if_is_what_is(_: &Pinner) -> Result<(), Unlike> {
    let bytes = 4 << 20;
    let plain = made(Making::Small, Touched::None, bytes)?;
    let of = |what_if| Ok(predicted(plain.addr(), bytes, what_if)?.counts);
    let thp = WhatIf { thp: Wanted::Yes, ..WhatIf::default() };
    let touched = WhatIf { touched: Wanted::Yes, ..WhatIf::default() };
    let pool = WhatIf { hugetlb: Wanted::Yes, ..WhatIf::default() };
    for (what_if, making, state) in [
        (thp, Making::Thp, Touched::None),
        (WhatIf { touched: Wanted::Yes, ..thp }, Making::Thp, Touched::All),
        (touched, Making::Small, Touched::All),
        (pool, Making::Hugetlb, Touched::None),
        (WhatIf { touched: Wanted::Yes, ..pool }, Making::Hugetlb, Touched::All),
    ] {
        let Ok(real) = made(making, state, bytes) else {
            eprintln!("cannot ask: {making:?}: no such memory here");
            continue;
        };
        let told = of(what_if)?;
        let truth = predicted(real.addr(), bytes, WhatIf::default())?.counts;
        let key = |c: gup_mirror::answer::cost::Counts| {
            (c.faults, c.zeroed_bytes(), c.small, c.in_huge, c.huge)
        };
        if key(told) != key(truth) {
            return Err(Unlike::Differs(format!("{what_if:?}: {told:?}, made so: {truth:?}")));
        }
    }
    Ok(())
}

/// Forked memory is copied page by page.
fn more_pages_than_one_call(pinner: &Pinner) -> Result<(), Unlike> {
    let memory = made(Making::Small, Touched::All, 1 << 20)?;
    let child = match sys::fork().map_err(|why| cannot(&why.to_string()))? {
        sys::Forked::Child => sys::sleep_forever(),
        sys::Forked::Parent(child) => child,
    };
    let bill = predicted(memory.addr(), 1 << 20, WhatIf::default());
    let measured = pinner.pin(&memory);
    sys::end(child);
    let (bill, measured) = (bill?, measured.ok_or_else(|| cannot("not registered"))?);
    let told = (bill.counts.faults, bill.counts.copied, bill.counts.zeroed_bytes());
    if told == (measured.minor, 256, 0) {
        Ok(())
    } else {
        Err(Unlike::Differs(format!("forked: {:?}, seen {measured:?}", bill.counts)))
    }
}
