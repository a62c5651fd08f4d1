//! Scatter-gather segments: runs cut into what a device can take in one descriptor.
//!
//! Invariant: the segments of a range are in order, touch no byte outside of it, and leave none
//! out. Absent: device addresses. Linux: include/linux/dma-mapping.h `dma_get_max_seg_size`,
//! `dma_get_seg_boundary` (6.18).

use super::runs::Run;
use core::num::NonZeroU64;
use core::ops::Range;

/// What a device can take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLimits {
    /// The most bytes of one segment.
    pub max_bytes: NonZeroU64,
    /// No segment crosses a multiple of this many bytes; `None`: any may.
    pub boundary: Option<NonZeroU64>,
}

impl SegmentLimits {
    /// These limits, in bytes; `None` if one of them is 0.
    pub const fn new(max_bytes: u64, boundary: Option<u64>) -> Option<Self> {
        let Some(max_bytes) = NonZeroU64::new(max_bytes) else { return None };
        match boundary {
            None => Some(Self { max_bytes, boundary: None }),
            Some(bytes) => match NonZeroU64::new(bytes) {
                None => None,
                boundary => Some(Self { max_bytes, boundary }),
            },
        }
    }
}

impl Default for SegmentLimits {
    /// What Linux takes a device to have that says nothing: 64 KiB, and 4 GiB.
    fn default() -> Self {
        let sizes =
            (NonZeroU64::MIN.saturating_add(0xffff), NonZeroU64::MIN.saturating_add(0xffff_ffff));
        Self { max_bytes: sizes.0, boundary: Some(sizes.1) }
    }
}

/// Contiguous bytes of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// The address of the first byte in the machine's memory.
    pub address: u64,
    /// How many; never 0.
    pub bytes: u64,
}

/// The segments of a range, in order.
#[derive(Clone, Debug)]
pub struct Segments<'r> {
    /// The run at hand and those after it.
    runs: &'r [Run],
    /// Bytes of the run at hand that lie before the next segment.
    skip: u64,
    /// Bytes to go.
    left: u64,
    limits: SegmentLimits,
}

impl<'r> Segments<'r> {
    /// Those of `bytes`, counted from the first byte of `runs`, which must hold them all.
    pub(super) fn new(runs: &'r [Run], bytes: Range<u64>, limits: SegmentLimits) -> Self {
        let left = bytes.end.saturating_sub(bytes.start);
        let mut segments = Self { runs, skip: bytes.start, left, limits };
        while let [run, rest @ ..] = segments.runs
            && segments.skip >= run.bytes()
        {
            segments.skip -= run.bytes();
            segments.runs = rest;
        }
        segments
    }
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let [run, rest @ ..] = self.runs else { return None };
        if self.left == 0 {
            return None;
        }
        let address = run.address() + self.skip;
        let in_run = run.bytes() - self.skip;
        let to_boundary = self.limits.boundary.map_or(u64::MAX, |at| at.get() - address % at);
        let bytes = in_run.min(self.left).min(self.limits.max_bytes.get()).min(to_boundary);
        self.left -= bytes;
        if bytes == in_run {
            (self.runs, self.skip) = (rest, 0);
        } else {
            self.skip += bytes;
        }
        Some(Segment { address, bytes })
    }
}

impl core::iter::FusedIterator for Segments<'_> {}
