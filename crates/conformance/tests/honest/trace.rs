//! What a look may not change: resident memory, fault counts, page-table entries, and the frames'
//! flags and map counts.
//!
//! Flags that the kernel keeps about use (referenced, active, on a list, idle) are left out: other
//! readers and reclaim change them. Pins are looked at for the whole machine, since Linux publishes
//! no others.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Flags of `/proc/kpageflags` that follow use: referenced, lru, active, writeback, reclaim, idle,
/// and reserved ones that say the same.
const OF_USE: u64 = 1 << 2 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 25;

/// What is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    faults: Vec<String>,
    resident: String,
    areas: String,
    entries: Vec<u64>,
    frames: Vec<(u64, u64)>,
}

impl Trace {
    /// Of `pages` pages at `start` of `pid`.
    pub(crate) fn of(pid: u32, start: u64, pages: u64) -> Self {
        let text =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let stat = text("stat");
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = fields.split(' ').collect();
        // minflt and majflt.
        let faults = [7, 9].iter().filter_map(|at| fields.get(*at)).map(ToString::to_string);
        let entries = words(&format!("/proc/{pid}/pagemap"), start >> 12, pages);
        let present = entries.iter().filter(|entry| **entry >> 63 == 1);
        let of_frame = |entry: &u64| {
            let pfn = entry & ((1 << 55) - 1);
            let one = |path| words(path, pfn, 1).first().copied().unwrap_or(0);
            // A page that others map too (the vDSO's, a file's) is also theirs to unmap.
            let alone = entry >> 56 & 1 == 1;
            let count = if alone { one("/proc/kpagecount") } else { 0 };
            (one("/proc/kpageflags") & !OF_USE, count)
        };
        let frames = present.map(of_frame).collect();
        Self {
            faults: faults.collect(),
            resident: text("statm"),
            areas: text("maps"),
            entries,
            frames,
        }
    }
}

/// `count` words from word `first` of a file on.
fn words(path: &str, first: u64, count: u64) -> Vec<u64> {
    let mut bytes = vec![0; count as usize * 8];
    let Ok(file) = File::open(path) else { return Vec::new() };
    let read = file.read_at(&mut bytes, first * 8).unwrap_or(0);
    bytes[..read]
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().expect("8")))
        .collect()
}

/// Pages that were ever pinned on this machine.
pub(crate) fn pins() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("nr_foll_pin_acquired "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}
