//! Memory added: what a pin makes the process bigger by, and the machine's memory smaller by.
//!
//! Read off the engine's own counters after the consumer was played on the mirror. *Resident*: what
//! the process's smaps file will show. *Machine*: pages that did not exist before; a private
//! mapping of a memfd that is pinned for writing costs twice there, the file's page and its copy.
//! Which pages of a file are cached already is not seen where no entry maps them, nor which page
//! tables are there: of those two the answer is the most that it can be.
//!
//! Linux: `mm->rss_stat`, `fs/proc/task_mmu.c`.

use crate::explain::NoVerdict;
use crate::explain::look::Look;
use crate::explain::trial::{Blocks, Trial};
use gup::addr::Pfn;
use gup::frame::Kind;
use gup::mm::Counter;

/// What is added, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous memory of the process.
    pub anon: i64,
    /// Pages of files that it maps.
    pub file: i64,
    /// Pages of shared memory that it maps.
    pub shmem: i64,
    /// hugetlb pages that it maps.
    pub hugetlb: i64,
    /// What it has in swap.
    pub swap: i64,
    /// Anonymous pages that the machine did not have before.
    pub new_anon: i64,
    /// Pages of files and of shared memory that the machine did not have before; at most.
    pub new_cache: i64,
    /// Page tables; at most.
    pub tables: i64,
}

impl Memory {
    /// What is added to the process's resident set.
    pub const fn resident(&self) -> i64 {
        self.anon.saturating_add(self.file).saturating_add(self.shmem)
    }

    /// What the machine has less, at most.
    pub const fn machine(&self) -> i64 {
        self.new_anon.saturating_add(self.new_cache).saturating_add(self.tables)
    }
}

/// How much memory a pin adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// If every page that is mapped once is exclusive, or that was seen.
    pub memory: Memory,
    /// If those are shared since a fork; `None` where that makes no difference, or was seen.
    pub if_shared: Option<Memory>,
    /// Bytes of the range, in whole pages.
    pub range: u64,
}

/// How much memory the pin of `look` adds.
///
/// # Errors
/// [`NoVerdict`].
pub fn rss(look: &Look<'_>) -> Result<Added, NoVerdict> {
    let blocks = Blocks::around(look)?;
    let mut found = Vec::new();
    for assume in blocks.assumptions() {
        let trial = blocks.trial(look, *assume)?;
        found.push(added(&blocks, &trial));
    }
    let memory = found.first().copied().unwrap_or_default();
    let if_shared = found.get(1).copied().filter(|other| *other != memory);
    Ok(Added { memory, if_shared, range: look.request.range.pages() << 12 })
}

fn added(blocks: &Blocks, trial: &Trial) -> Memory {
    let mirror = &trial.mirror;
    let counted = |counter| mirror.mm.rss(counter) << 12;
    let after = mirror.machine.frames().stats();
    let new = |kind| (after.of(kind).cast_signed() - trial.before.of(kind).cast_signed()) << 12;
    Memory {
        anon: counted(Counter::Anon),
        file: counted(Counter::File),
        shmem: counted(Counter::Shmem),
        hugetlb: hugetlb(blocks, trial),
        swap: counted(Counter::Swap),
        new_anon: new(Kind::Anon),
        new_cache: new(Kind::File) + new(Kind::Shmem),
        tables: new(Kind::Table),
    }
}

/// hugetlb memory is in none of the counters: the pages that are mapped now and were not before.
fn hugetlb(blocks: &Blocks, trial: &Trial) -> i64 {
    let mirror = &trial.mirror;
    let frames = mirror.machine.frames();
    let is_huge = |pfn: &Pfn| frames.kind(frames.head(*pfn)) == Kind::Hugetlb;
    let mut mapped = 0;
    for (index, _) in blocks.0.pages.iter().enumerate() {
        let addr = blocks.0.start.wrapping_add((index as u64) << 12);
        let now = mirror.frame_now(addr).as_ref().is_some_and(is_huge);
        let before = mirror.frame_before(index).as_ref().is_some_and(is_huge);
        mapped += i64::from(now) - i64::from(before);
    }
    mapped << 12
}
