//! Allocation: [`Frames`], the metadata with the free lists of its zones behind locks.
//!
//! A new folio has one reference, no pin, no mapping and no flag; its bytes are whatever they were.
//! Movable requests try movable zones, then CMA, then normal ones; all others only normal ones.
//! Invariants: (1) a frame is in at most one of: a free list, a folio; (2) a zone's lock is held
//! for list edits only, and nothing else is taken under it; (3) a frame whose memory failed is
//! never handed out again. Absent: reclaim, zeroing, retries.
//! Linux: `mm/page_alloc.c`, shape only.

use super::buddy::Buddy;
use super::count::{Grab, Last, Speculative};
use super::flags::{FrameFlags, Kind, Word};
use super::meta::FrameTable;
use super::zone::{FramesConfig, MAX_ORDER, Zone, ZoneConfig};
use crate::addr::Pfn;
use crate::host::{Host, Injection};
use crate::rule::f;
use crate::sync::{Padded, full_barrier_after_atomic};
use ::alloc::vec::Vec;
use bitflags::bitflags;
use core::fmt;
use core::ops::Deref;
use core::sync::atomic::Ordering::{Relaxed, Release};
use lock_api::Mutex;

bitflags! {
    /// Where a folio may come from.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AllocFlags: u32 {
        /// It can be migrated: movable zones and CMA are allowed, and tried first.
        const MOVABLE = 1 << 0;
        /// No other node than the one named.
        const THISNODE = 1 << 1;
    }
}

impl AllocFlags {
    /// Whether a folio may come from a zone of this kind.
    #[inline]
    fn allows(self, kind: Zone) -> bool {
        match kind {
            Zone::Movable | Zone::Cma => self.contains(Self::MOVABLE),
            Zone::Normal => true,
        }
    }
}

/// No free block is large enough, or the host injected a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}
impl core::error::Error for OutOfMemory {}

/// Who has the frames, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Free frames of each zone, in the order of [`FramesConfig::zones`].
    pub free: Vec<u64>,
    /// Frames in use, by [`Kind`] as a number. Frames on free lists are not counted here.
    pub used: [u64; Kind::ALL.len()],
    /// Frames that were taken out of service because their memory failed.
    pub poisoned: u64,
}

impl Stats {
    /// Frames in use as `kind`.
    pub fn of(&self, kind: Kind) -> u64 {
        self.used[kind as usize]
    }
    /// Free frames of all zones.
    pub fn free_total(&self) -> u64 {
        self.free.iter().sum()
    }
}

struct ZoneLists<H: Host> {
    config: ZoneConfig,
    lists: Padded<Mutex<H::RawMutex, Buddy>>,
}

/// All frames of a machine: their metadata ([`FrameTable`], by `Deref`) and who may have them.
pub struct Frames<H: Host> {
    table: FrameTable,
    zones: Vec<ZoneLists<H>>,
    /// Huge pages whose last reference went with a speculative grab that came too late: their pool
    /// takes them back.
    strays: Padded<Mutex<H::RawMutex, Vec<Pfn>>>,
}

impl<H: Host> fmt::Debug for Frames<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zones: Vec<_> = self.zones.iter().map(|zone| &zone.config).collect();
        f.debug_struct("Frames").field("zones", &zones).finish_non_exhaustive()
    }
}

impl<H: Host> Deref for Frames<H> {
    type Target = FrameTable;
    #[inline]
    fn deref(&self) -> &FrameTable {
        &self.table
    }
}

impl<H: Host> Frames<H> {
    /// The frames that `config` describes, all free but frame 0 and those in no zone.
    ///
    /// Numbers from 2^32 on (16 TiB) are left out.
    pub fn new(config: &FramesConfig) -> Self {
        let end = config.frames().min(u64::from(u32::MAX));
        let table = FrameTable::new(end);
        let reserved = Word::head(Kind::Special, 0, FrameFlags::RESERVED);
        let mut zones: Vec<ZoneLists<H>> = Vec::with_capacity(config.zones.len());
        for n in 0..end {
            table.hot(Pfn::new(n)).word.store(reserved.0, Relaxed);
            table.hot(Pfn::new(n)).counts.store(1, Relaxed);
        }
        for zone in &config.zones {
            let runs = uncovered(zone, &zones, end);
            let mut buddy = Buddy::new(runs.clone());
            for run in runs {
                for n in run.clone() {
                    table.hot(Pfn::new(n)).word.store(0, Relaxed);
                    table.hot(Pfn::new(n)).counts.store(0, Relaxed);
                }
                buddy.put_run(&table, run);
            }
            zones.push(ZoneLists { config: zone.clone(), lists: Padded(Mutex::new(buddy)) });
        }
        Self { table, zones, strays: Padded(Mutex::new(Vec::new())) }
    }

    /// Allocates a folio of `1 << order` frames, near node 0.
    /// # Errors
    /// [`OutOfMemory`]: no zone that `how` allows has a block, `order` is above [`MAX_ORDER`], or
    /// the host injected it ([`Injection::TableAlloc`] for [`Kind::Table`],
    /// [`Injection::FolioAlloc`] for the rest).
    #[inline]
    pub fn alloc(
        &self,
        host: &H,
        order: u8,
        kind: Kind,
        how: AllocFlags,
    ) -> Result<Pfn, OutOfMemory> {
        self.alloc_on(host, order, kind, how, 0)
    }

    /// [`Frames::alloc`] of one frame that has `flags` from the beginning.
    /// # Errors
    /// As there.
    #[inline]
    pub(crate) fn alloc_page(
        &self,
        host: &H,
        kind: Kind,
        flags: FrameFlags,
        how: AllocFlags,
    ) -> Result<Pfn, OutOfMemory> {
        let block = self.block(host, 0, kind, how, 0)?;
        self.table.prepare(block, 0, kind, flags);
        Ok(block)
    }

    /// Allocates a folio of `1 << order` frames, on `node` if it has one, or else elsewhere.
    /// # Errors
    /// As [`Frames::alloc`]; with [`AllocFlags::THISNODE`] also when only other nodes have a block.
    pub fn alloc_on(
        &self,
        host: &H,
        order: u8,
        kind: Kind,
        how: AllocFlags,
        node: u8,
    ) -> Result<Pfn, OutOfMemory> {
        let block = self.block(host, order, kind, how, node)?;
        self.table.prepare(block, order, kind, FrameFlags::empty());
        Ok(block)
    }

    /// A block off the free lists.
    fn block(
        &self,
        host: &H,
        order: u8,
        kind: Kind,
        how: AllocFlags,
        node: u8,
    ) -> Result<Pfn, OutOfMemory> {
        debug_assert!(kind != Kind::Free, "a free folio is not allocated");
        let point = match kind {
            Kind::Table => Injection::TableAlloc,
            Kind::Free
            | Kind::Anon
            | Kind::File
            | Kind::Shmem
            | Kind::Hugetlb
            | Kind::Secret
            | Kind::Special
            | Kind::Kernel
            | Kind::Slab => Injection::FolioAlloc(order),
        };
        if order > MAX_ORDER || host.inject(point) {
            return Err(OutOfMemory);
        }
        let elsewhere = !how.contains(AllocFlags::THISNODE);
        if let [zone] = &*self.zones {
            // Nothing to choose.
            let fits = how.allows(zone.config.kind) && (elsewhere || zone.config.node == node);
            let block = if fits { zone.lists.lock().take(&self.table, order) } else { None };
            return block.ok_or(OutOfMemory);
        }
        let near = self.take(order, how, |zone| zone.node == node);
        let far = || self.take(order, how, |zone| zone.node != node);
        near.or_else(|| if elsewhere { far() } else { None }).ok_or(OutOfMemory)
    }

    fn take(&self, order: u8, how: AllocFlags, near: impl Fn(&ZoneConfig) -> bool) -> Option<Pfn> {
        let kinds = [Zone::Movable, Zone::Cma, Zone::Normal];
        kinds.into_iter().filter(|&kind| how.allows(kind)).find_map(|kind| {
            let zones = self.zones.iter().filter(|z| z.config.kind == kind && near(&z.config));
            zones.into_iter().find_map(|zone| zone.lists.lock().take(&self.table, order))
        })
    }

    /// Frees the folio `pfn`, whose last reference is gone. Failed frames of it stay out of
    /// service.
    ///
    /// A folio that is free already, has references, or is reserved is left alone (and asserted in
    /// debug builds).
    pub fn free(&self, pfn: Pfn) {
        let word = self.table.word(pfn);
        let fit = !word.is_tail()
            && word.kind() != Kind::Free
            && !word.flags().contains(FrameFlags::RESERVED)
            && self.table.refs(pfn) == 0;
        debug_assert!(fit, "not to be freed: {pfn:?} {word:?}");
        if !fit {
            return;
        }
        debug_assert!(!self.table.is_mapped(pfn), "a mapped folio was freed: {pfn:?}");
        let poisoned = self.table.retire(pfn, word.order());
        self.edit_lists(pfn, |table, lists| {
            if poisoned.is_empty() {
                return lists.put(table, pfn, word.order());
            }
            let mut start = pfn.get();
            for bad in poisoned {
                lists.put_run(table, start..bad);
                start = bad + 1;
            }
            lists.put_run(table, start..pfn.get() + (1 << word.order()));
        });
    }

    /// Takes `n` references on a folio that may be free: none if it is, if it is at its limit, or
    /// if the frame changed folio meanwhile. The caller looks again, afterwards, at what led it
    /// here: a full barrier stands between (row F-54).
    #[inline]
    pub fn try_get(&self, pfn: Pfn, n: u32) -> bool {
        self.speculate(pfn, Grab::Get, n)
    }
    /// Takes `n` pins on a folio that may be free, likewise.
    #[inline]
    pub fn try_pin(&self, pfn: Pfn, n: u32) -> bool {
        self.speculate(pfn, Grab::Pin, n)
    }
    #[inline(always)]
    fn speculate(&self, pfn: Pfn, grab: Grab, n: u32) -> bool {
        match self.table.try_add(pfn, grab, n) {
            Speculative::Taken => {
                if f::F_54.when(true) {
                    full_barrier_after_atomic();
                }
                return true;
            }
            Speculative::Refused => {}
            Speculative::RefusedLast(head) => self.free_stray(head),
        }
        false
    }
    /// Frees a folio whose last reference was in our hands for a moment.
    #[cold]
    #[inline(never)]
    fn free_stray(&self, head: Pfn) {
        if self.table.kind(head) == Kind::Hugetlb {
            self.strays.lock().push(head);
        } else {
            self.free(head);
        }
    }
    /// Huge pages that nobody refers to any more, and that are in no pool yet.
    pub(crate) fn take_strays(&self) -> Vec<Pfn> {
        core::mem::take(&mut *self.strays.lock())
    }
    /// Returns `n` references, and frees the folio if they were the last.
    #[inline]
    pub fn put_and_free(&self, pfn: Pfn, n: u32) {
        let head = self.table.head(pfn);
        if self.table.put(head, n) == Last::Yes {
            self.free(head);
        }
    }

    /// The zone of `pfn`; reserved frames count as normal.
    #[inline]
    pub fn zone(&self, pfn: Pfn) -> Zone {
        self.zone_config(pfn).map_or(Zone::Normal, |zone| zone.kind)
    }
    /// The NUMA node of `pfn`; 0 for reserved frames.
    pub fn node(&self, pfn: Pfn) -> u8 {
        self.zone_config(pfn).map_or(0, |zone| zone.node)
    }
    /// Edits the free lists of the zone of `pfn` under their lock; `None` for a frame in no zone.
    pub(super) fn edit_lists<T>(
        &self,
        pfn: Pfn,
        edit: impl FnOnce(&FrameTable, &mut Buddy) -> T,
    ) -> Option<T> {
        let zone = self.zones.iter().find(|zone| zone.config.contains(pfn))?;
        Some(edit(&self.table, &mut zone.lists.lock()))
    }
    fn zone_config(&self, pfn: Pfn) -> Option<&ZoneConfig> {
        self.zones.iter().map(|zone| &zone.config).find(|zone| zone.contains(pfn))
    }

    /// Free blocks of each order, zone by zone.
    pub fn free_blocks(&self) -> Vec<[u32; MAX_ORDER as usize + 1]> {
        self.zones.iter().map(|zone| zone.lists.lock().blocks()).collect()
    }
    /// Counts the frames. Walks all metadata; exact while nobody allocates or frees.
    pub fn stats(&self) -> Stats {
        let free = self.zones.iter().map(|zone| zone.lists.lock().free()).collect();
        let mut stats = Stats { free, used: [0; Kind::ALL.len()], poisoned: 0 };
        let mut at = 0;
        while at < self.table.len() {
            let word = self.table.word(Pfn::new(at));
            let frames = 1 << word.order();
            if word.kind() != Kind::Free {
                stats.used[word.kind() as usize] += frames;
            } else if word.flags().contains(FrameFlags::HWPOISON) {
                stats.poisoned += 1;
            }
            at += frames;
        }
        stats
    }
}

impl FrameTable {
    /// Makes a folio of a block that was just taken: metadata first, the reference last.
    fn prepare(&self, block: Pfn, order: u8, kind: Kind, flags: FrameFlags) {
        for n in 1..1 << order {
            let tail = block.offset(n);
            #[allow(clippy::cast_possible_truncation, reason = "below 1 << MAX_ORDER")]
            self.cold(tail).owner.store(n as u32, Relaxed);
            self.cold(tail).index.store(0, Relaxed);
            self.hot(tail).word.store(Word::tail().0, Release);
        }
        let cold = self.cold(block);
        cold.owner.store(0, Relaxed);
        cold.index.store(0, Relaxed);
        let hot = self.hot(block);
        hot.word.store(Word::head(kind, order, flags).0, Release);
        let old = hot.counts.fetch_add(1, Release);
        debug_assert!(old == 0, "a free frame had references");
    }

    /// Takes a folio apart into free frames on no list. Answers those whose memory failed, in
    /// order.
    fn retire(&self, head: Pfn, order: u8) -> Vec<u64> {
        let mut poisoned = Vec::new();
        for n in 0..1 << order {
            let hot = self.hot(head.offset(n));
            let own = Word(hot.word.load(Relaxed)).flags() & FrameFlags::HWPOISON;
            if !own.is_empty() {
                poisoned.push(head.get() + n);
            }
            hot.mapcount.store(0, Relaxed);
            if n != 0 {
                hot.counts.store(0, Relaxed);
            }
            hot.word.store(Word::head(Kind::Free, 0, own).0, Release);
        }
        poisoned
    }
}

/// The frames of `zone` that may be handed out: not 0, not beyond `end`, not in an earlier zone.
fn uncovered<H: Host>(
    zone: &ZoneConfig,
    earlier: &[ZoneLists<H>],
    end: u64,
) -> Vec<core::ops::Range<u64>> {
    let mut runs = Vec::new();
    let mut at = zone.frames.start.max(1);
    let stop = zone.frames.end.min(end);
    while at < stop {
        let inside = earlier.iter().map(|z| &z.config.frames).find(|frames| frames.contains(&at));
        if let Some(frames) = inside {
            at = frames.end;
            continue;
        }
        let starts = earlier.iter().map(|z| z.config.frames.start).filter(|&start| start > at);
        let until = starts.min().unwrap_or(stop).min(stop);
        runs.push(at..until);
        at = until;
    }
    runs
}
