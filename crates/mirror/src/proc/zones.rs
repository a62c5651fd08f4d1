//! `/proc/zoneinfo`: in which zone a frame lies, and so whether a long-term pin may stay there.
//!
//! A zone is printed as a span of frames; spans of several zones overlap where memory was added
//! while the machine ran, or where nodes interleave. Of a frame in spans of different zones it is
//! not known. CMA is no zone: its frames are listed by debugfs alone (`/sys/kernel/debug/cma`).
//! Linux: `mm/vmstat.c` `zoneinfo_show_print`, `mm/cma_debug.c`.

use std::ops::Range;
use std::path::Path;

/// The zones of a machine, and its CMA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones {
    spans: Vec<Span>,
    cma: Vec<Range<u64>>,
}

/// One zone of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    name: String,
    frames: Range<u64>,
}

/// Where a frame lies, as far as long-term pins care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lies {
    /// In a zone in which a long-term pin may stay: DMA, DMA32, Normal. It may be in CMA all the
    /// same, unless that was seen.
    Ordinary,
    /// In `ZONE_MOVABLE`.
    Movable,
    /// In CMA.
    Cma,
    /// In memory of a device, which is no memory of the machine's.
    Device,
    /// In spans of several zones, in none, or its number was not seen.
    Unknown,
}

impl Zones {
    /// Reads the text of zoneinfo, and of [`cma_ranges`].
    pub fn parse(zoneinfo: &str, cma: &str) -> Self {
        let mut spans = Vec::new();
        let (mut name, mut spanned) = (String::new(), 0);
        for line in zoneinfo.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["Node", _, "zone", zone] => {
                    zone.clone_into(&mut name);
                    spanned = 0;
                }
                ["spanned", frames] => spanned = frames.parse().unwrap_or(0),
                ["start_pfn:", start] => {
                    let start: u64 = start.parse().unwrap_or(0);
                    let frames = start..start.saturating_add(spanned);
                    if !frames.is_empty() {
                        spans.push(Span { name: name.clone(), frames });
                    }
                }
                _ => {}
            }
        }
        Self { spans, cma: cma.lines().filter_map(cma_range).collect() }
    }

    /// Where frame `pfn` lies.
    pub fn of(&self, pfn: u64) -> Lies {
        if self.cma.iter().any(|range| range.contains(&pfn)) {
            return Lies::Cma;
        }
        let mut found = self.spans.iter().filter(|span| span.frames.contains(&pfn)).map(Span::lies);
        match found.next() {
            Some(first) if found.all(|other| other == first) => first,
            Some(_) | None => Lies::Unknown,
        }
    }

    /// Frames that debugfs lists as CMA.
    pub fn cma_frames(&self) -> u64 {
        self.cma.iter().map(|range| range.end.saturating_sub(range.start)).sum()
    }
}

impl Span {
    fn lies(&self) -> Lies {
        match self.name.as_str() {
            "Movable" => Lies::Movable,
            "Device" => Lies::Device,
            "DMA" | "DMA32" | "Normal" | "HighMem" => Lies::Ordinary,
            _ => Lies::Unknown,
        }
    }
}

/// A line of [`cma_ranges`].
fn cma_range(line: &str) -> Option<Range<u64>> {
    let (start, frames) = line.split_once(' ')?;
    let start: u64 = start.parse().ok()?;
    Some(start..start.checked_add(frames.trim().parse().ok()?)?)
}

/// The frames of this machine's CMA areas as debugfs has them, a line of first frame and number of
/// frames each; empty without permission, or without debugfs.
pub fn cma_ranges() -> String {
    let Ok(areas) = std::fs::read_dir("/sys/kernel/debug/cma") else { return String::new() };
    let number = |area: &Path, name: &str| {
        let text = std::fs::read_to_string(area.join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let of = |area: &Path| {
        let (start, frames) = (number(area, "base_pfn")?, number(area, "count")?);
        Some(format!("{start} {frames}\n"))
    };
    areas.flatten().filter_map(|area| of(&area.path())).collect()
}

/// What `/proc/meminfo` says of CMA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmaInfo {
    /// `CmaTotal`, in KiB; `None` if there is no such line.
    pub total_kib: Option<u64>,
    /// `CmaFree`, in KiB; `None` if there is no such line.
    pub free_kib: Option<u64>,
}

impl CmaInfo {
    /// Reads the text of meminfo.
    pub fn parse(meminfo: &str) -> Self {
        let of = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Self { total_kib: of("CmaTotal:"), free_kib: of("CmaFree:") }
    }
}

#[cfg(test)]
mod tests {
    use super::{CmaInfo, Lies, Zones};

    /// Zones as zoneinfo prints them: node, name, first frame, frames.
    fn text(zones: &[(u32, &str, u64, u64)]) -> String {
        let one = |(node, name, start, spanned): &(u32, &str, u64, u64)| {
            format!(
                "Node {node}, zone {name:>8}\n  per-node stats\n      nr_zone_spanned 7\n  \
                 pages free     3840\n        boost    0\n        spanned  {spanned}\n        \
                 present  1\n        protection: (0, 0)\n  pagesets\n    cpu: 0\n  \
                 node_unreclaimable:  0\n  start_pfn:           {start}\n"
            )
        };
        zones.iter().map(one).collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_frame_lies_in_the_zone_whose_span_has_it() {
        let zones = [
            (0, "DMA", 1, 4095),
            (0, "DMA32", 4096, 1_044_480),
            (0, "Normal", 1_048_576, 5_505_024),
            (0, "Movable", 0, 0),
            (0, "Device", 0, 0),
        ];
        let zones = Zones::parse(&text(&zones), "");
        for (pfn, want) in [
            (0, Lies::Unknown),
            (1, Lies::Ordinary),
            (4095, Lies::Ordinary),
            (1_048_575, Lies::Ordinary),
            (6_553_599, Lies::Ordinary),
            (6_553_600, Lies::Unknown),
            (u64::MAX, Lies::Unknown),
        ] {
            assert_eq!(zones.of(pfn), want, "frame {pfn}");
        }
    }

    #[test]
    fn movable_memory_of_each_node_is_found_and_so_is_a_device() {
        let zones = [
            (0, "Normal", 1_048_576, 1_000_000),
            (0, "Movable", 2_048_576, 500_000),
            (1, "Normal", 2_548_576, 100),
            (1, "Movable", 2_548_676, 100),
            (1, "Device", 9_000_000, 262_144),
        ];
        let zones = Zones::parse(&text(&zones), "");
        assert_eq!(zones.of(2_048_575), Lies::Ordinary);
        assert_eq!(zones.of(2_048_576), Lies::Movable);
        assert_eq!(zones.of(2_548_575), Lies::Movable);
        assert_eq!(zones.of(2_548_675), Lies::Ordinary);
        assert_eq!(zones.of(2_548_775), Lies::Movable);
        assert_eq!(zones.of(9_262_143), Lies::Device);
    }

    #[test]
    fn what_two_zones_span_is_unknown_and_what_two_of_one_kind_span_is_not() {
        let zones = [
            (0, "Normal", 1000, 1000),
            (0, "Movable", 1500, 100),
            (1, "Normal", 1800, 1000),
            (1, "Strange", 5000, 10),
        ];
        let zones = Zones::parse(&text(&zones), "");
        assert_eq!(zones.of(1550), Lies::Unknown, "memory that was added movable inside Normal");
        assert_eq!(zones.of(1900), Lies::Ordinary, "nodes that interleave");
        assert_eq!(zones.of(5000), Lies::Unknown, "a zone of a newer kernel");
    }

    #[test]
    fn frames_of_cma_are_known_where_debugfs_lists_them() {
        let zones = Zones::parse(&text(&[(0, "Normal", 0, 100_000)]), "4096 512\nodd\n8192 1\n");
        assert_eq!(zones.of(4607), Lies::Cma);
        assert_eq!((zones.of(4608), zones.of(8192)), (Lies::Ordinary, Lies::Cma));
        assert_eq!(zones.cma_frames(), 513);
    }

    #[test]
    fn texts_of_any_shape_are_read() {
        for odd in ["", "Node", "start_pfn: x", "spanned -1\n start_pfn: 18446744073709551615"] {
            assert_eq!(Zones::parse(odd, odd).of(0), Lies::Unknown, "{odd:?}");
        }
        let cma = CmaInfo::parse("MemTotal: 1 kB\nCmaTotal:              0 kB\nCmaFree: 9 kB\n");
        assert_eq!(cma, CmaInfo { total_kib: Some(0), free_kib: Some(9) });
        assert_eq!(CmaInfo::parse("MemTotal: 1 kB\n"), CmaInfo::default());
    }
}
