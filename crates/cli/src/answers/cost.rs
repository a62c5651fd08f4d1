//! `--cost`: what the pin does, counted, and how long that takes; with `--thp`, `--hugetlb` and
//! `--touched`, what it would be.

use gup_mirror::answer::cost::{Bill, Cost, ENTRY_LIMIT};
use gup_mirror::answer::rates::{Span, Time};
use gup_mirror::answer::what_if::{Wanted, WhatIf};
use serde::Serialize;
use std::io::{self, Write};

/// How the memory would have been made.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WhatIfArgs {
    /// With --cost: what if it were in transparent huge pages
    #[arg(long, requires = "cost", conflicts_with = "hugetlb")]
    thp: bool,
    /// With --cost: what if it were in 2 MiB hugetlb pages
    #[arg(long, requires = "cost")]
    hugetlb: bool,
    /// With --cost: what if every page had been stored to before
    #[arg(long, requires = "cost")]
    touched: bool,
}

impl WhatIfArgs {
    /// What is asked.
    pub(crate) fn what_if(&self) -> WhatIf {
        WhatIf { thp: self.thp.into(), hugetlb: self.hugetlb.into(), touched: self.touched.into() }
    }
}

/// The field `cost`.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    #[serde(flatten)]
    now: BillObject,
    what_if: Option<WhatIfObject>,
}

#[derive(Debug, Serialize)]
struct WhatIfObject {
    thp: bool,
    hugetlb: bool,
    touched: bool,
    #[serde(flatten)]
    bill: BillObject,
}

#[derive(Debug, Serialize)]
struct BillObject {
    exact: bool,
    small_pages: u64,
    pages_in_huge: u64,
    huge_pages: u64,
    faults: u64,
    major_faults: u64,
    zeroed_bytes: u64,
    copied_bytes: u64,
    moved_pages: u64,
    file_pages_at_most: u64,
    shared_pages_at_most: u64,
    swapped_in_pages: u64,
    runs_at_least: u64,
    runs_at_most: u64,
    entry_limit: u64,
    time_ns: Option<TimeObject>,
}

#[derive(Debug, Serialize)]
struct TimeObject {
    faults: [u64; 2],
    pin: [u64; 2],
    total: [u64; 2],
}

impl BillObject {
    fn new(bill: &Bill) -> Self {
        let counts = &bill.counts;
        Self {
            exact: bill.exact,
            small_pages: counts.small,
            pages_in_huge: counts.in_huge,
            huge_pages: counts.huge,
            faults: counts.faults,
            major_faults: counts.major,
            zeroed_bytes: counts.zeroed_bytes(),
            copied_bytes: counts.copied << 12,
            moved_pages: counts.moved,
            file_pages_at_most: counts.from_files,
            shared_pages_at_most: counts.from_shared,
            swapped_in_pages: counts.swapped_in,
            runs_at_least: counts.runs_at_least,
            runs_at_most: counts.runs_at_most,
            entry_limit: ENTRY_LIMIT,
            time_ns: bill.time.as_ref().map(time_object),
        }
    }
}

fn time_object(time: &Time) -> TimeObject {
    let whole = |span: Span| [ns(span.low), ns(span.high)];
    TimeObject { faults: whole(time.faults), pin: whole(time.pin), total: whole(time.total) }
}

/// Whole nanoseconds.
#[allow(clippy::cast_sign_loss, reason = "a duration")]
fn ns(time: f64) -> u64 {
    time.round() as u64
}

impl Object {
    /// The JSON form.
    pub(crate) fn new(cost: &Cost) -> Self {
        let what_if = cost.what_if.as_ref().map(|(what_if, bill)| WhatIfObject {
            thp: what_if.thp == Wanted::Yes,
            hugetlb: what_if.hugetlb == Wanted::Yes,
            touched: what_if.touched == Wanted::Yes,
            bill: BillObject::new(bill),
        });
        Self { now: BillObject::new(&cost.now), what_if }
    }
}

/// The paragraph.
pub(crate) fn print(cost: &Cost, out: &mut impl Write) -> io::Result<()> {
    bill("cost", &cost.now, out)?;
    if let Some((what_if, other)) = &cost.what_if {
        let parts = [
            (what_if.thp, "in transparent huge pages"),
            (what_if.hugetlb, "in hugetlb pages"),
            (what_if.touched, "touched before"),
        ];
        let parts: Vec<&str> = parts
            .into_iter()
            .filter(|(wanted, _)| *wanted == Wanted::Yes)
            .map(|(_, words)| words)
            .collect();
        writeln!(out)?;
        writeln!(out, "  what if   it were {}", parts.join(" and "))?;
        bill("", other, out)?;
    }
    Ok(())
}

fn bill(head: &str, bill: &Bill, out: &mut impl Write) -> io::Result<()> {
    let counts = &bill.counts;
    let at_most = if bill.exact { "" } else { "at most " };
    let mut pages = Vec::new();
    if counts.small > 0 {
        pages.push(format!("{} pages of 4 KiB", counts.small));
    }
    if counts.huge > 0 {
        pages.push(format!("{} of 2 MiB ({} of their 4 KiB pages)", counts.huge, counts.in_huge));
    }
    writeln!(
        out,
        "  {head:9} {}",
        if pages.is_empty() { "no pages".into() } else { pages.join(", ") }
    )?;
    let done = [
        (counts.faults + counts.major, "faults"),
        (counts.zeroed_bytes() >> 10, "KiB zeroed"),
        (counts.copied << 2, "KiB copied"),
        (counts.moved, "pages moved"),
        (counts.swapped_in, "pages read from swap"),
        (counts.from_files, "pages of files that may have to be read"),
        (counts.from_shared, "pages of shared memory that may have to be made"),
    ];
    let done: Vec<String> =
        done.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if done.is_empty() {
        writeln!(out, "            no fault, nothing zeroed or copied")?;
    } else {
        writeln!(out, "            {at_most}{}", done.join(", "))?;
    }
    runs(counts.runs_at_least, counts.runs_at_most, out)?;
    match &bill.time {
        Some(time) => writeln!(
            out,
            "            {} of this processor, nine times in ten: {} for faults, {} for the pin",
            between(time.total),
            between(time.faults),
            between(time.pin)
        ),
        None => writeln!(out, "            how long it takes was not measured"),
    }
}

fn runs(least: u64, most: u64, out: &mut impl Write) -> io::Result<()> {
    let number = if least == most { format!("{most}") } else { format!("{least} to {most}") };
    let runs = if most == 1 { "run" } else { "runs" };
    let note = match (least > ENTRY_LIMIT, most > ENTRY_LIMIT) {
        (true, _) => format!(": more than the {ENTRY_LIMIT} entries of a VFIO container"),
        (false, true) => format!(": perhaps more than the {ENTRY_LIMIT} entries of VFIO"),
        (false, false) => String::new(),
    };
    writeln!(out, "            {number} {runs} of pages in physical memory{note}")
}

fn between(span: Span) -> String {
    let (scale, unit) = match span.high {
        high if high < 1e4 => (1.0, "ns"),
        high if high < 1e7 => (1e3, "us"),
        _ => (1e6, "ms"),
    };
    let (low, high) = ((span.low / scale).round(), (span.high / scale).round());
    if high == 0.0 { "nothing".into() } else { format!("{low:.0} to {high:.0} {unit}") }
}
