//! Zones: which frames there are, what may live there, and near whom.
//!
//! Absent: free lists ([`super::buddy`]).

use crate::addr::{PUD_ORDER, Pfn};
use ::alloc::vec;
use ::alloc::vec::Vec;
use core::ops::Range;

/// The largest order of a folio: 1 GiB.
pub const MAX_ORDER: u8 = PUD_ORDER;

/// What may live in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zone {
    /// Anything.
    Normal,
    /// Only what can be migrated: no long-term pins (`ZONE_MOVABLE`).
    Movable,
    /// Lent out until a device wants it back: no long-term pins (`MIGRATE_CMA`).
    Cma,
}

impl Zone {
    /// Whether a long-term pin may stay here (`folio_is_longterm_pinnable`).
    pub const fn is_longterm_pinnable(self) -> bool {
        match self {
            Self::Normal => true,
            Self::Movable | Self::Cma => false,
        }
    }
}

/// One zone of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneConfig {
    /// What may live there.
    pub kind: Zone,
    /// The NUMA node.
    pub node: u8,
    /// Its frames.
    pub frames: Range<u64>,
}

impl ZoneConfig {
    pub(super) fn contains(&self, pfn: Pfn) -> bool {
        self.frames.contains(&pfn.get())
    }
}

/// The zones of a machine. Frame 0 is never handed out, whatever zone it is in; frames below the
/// end of the last zone that are in no zone are reserved; of two zones that overlap, the first has
/// the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramesConfig {
    /// The zones, in the order in which allocation tries those of one kind.
    pub zones: Vec<ZoneConfig>,
}

impl FramesConfig {
    /// One normal zone of `frames` frames, on node 0.
    pub fn normal(frames: u64) -> Self {
        Self { zones: vec![ZoneConfig { kind: Zone::Normal, node: 0, frames: 0..frames }] }
    }
    /// Adds a zone of `count` frames after the last one.
    #[must_use]
    pub fn and(mut self, kind: Zone, node: u8, count: u64) -> Self {
        let start = self.frames();
        self.zones.push(ZoneConfig { kind, node, frames: start..start.saturating_add(count) });
        self
    }
    /// How many frames need metadata: the end of the last zone.
    pub fn frames(&self) -> u64 {
        self.zones.iter().map(|zone| zone.frames.end).max().unwrap_or(0)
    }
}
