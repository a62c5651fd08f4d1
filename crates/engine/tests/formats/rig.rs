//! A machine with tables of any format: heap memory, and a TLB that remembers what it was shown.
//!
//! The TLB keeps a page's leaf until a flush. Two things are wrong, and end the test: at a flush, a
//! page whose leaf the TLB has maps something else already, in a format that wants it broken first;
//! and, after an edit, a page whose leaf the TLB has maps something else.

use gup::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use gup::frame::{Frames, FramesConfig, Kind};
use gup::host::{Host, Memory, Ticket, WaitMode, Woken};
use gup::memory::HeapMemory;
use gup::observe::Silent;
use gup::pgtable::{Entry, Format, Perms, Place, Tables, Walked, Walkers};
use gup::task::Task;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

/// What a TLB knows of a page: the bits of its leaf but accessed and dirty, and the leaf's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    pfn: Pfn,
    level: u8,
    grouped: bool,
}

/// One flush: the range, and the entry that was found for its first address meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    pub(crate) range: VirtRange,
    pub(crate) raw: u64,
}

/// The host.
pub(crate) struct Rig<F: Format> {
    memory: HeapMemory,
    tlb: Mutex<BTreeMap<(u64, u64), Cached>>,
    flushes: Mutex<Vec<Flush>>,
    format: PhantomData<F>,
}

impl<F: Format> Rig<F> {
    pub(crate) fn new(frames: u64) -> Self {
        Self {
            memory: HeapMemory::new(frames),
            tlb: Mutex::default(),
            flushes: Mutex::default(),
            format: PhantomData,
        }
    }
    /// The lowest entry for `addr` under `root`, its level, and its bits.
    fn walk(&self, root: Pfn, addr: u64) -> (u64, u8) {
        let (mut table, mut level) = (root, F::LEVELS - 1);
        loop {
            let index = (addr >> (12 + 9 * u32::from(level))) as usize % 512;
            let raw = self.memory.table(table)[index].load(std::sync::atomic::Ordering::SeqCst);
            if !F::is_table(raw, level) {
                return (raw, level);
            }
            (table, level) = (F::pfn(raw), level - 1);
        }
    }
    fn cached(&self, root: Pfn, page: u64) -> Option<Cached> {
        let (raw, level) = self.walk(root, page << PAGE_SHIFT);
        let valid = F::is_present(raw) && F::is_leaf(raw, level) && !F::is_protnone(raw);
        valid.then(|| Cached { pfn: F::pfn(raw), level, grouped: F::is_grouped(raw) })
    }
    /// Remembers the leaves of all pages of `range`.
    pub(crate) fn fill_tlb(&self, root: Pfn, range: VirtRange) {
        let mut tlb = self.tlb.lock().unwrap();
        for page in range.start.page_number()..range.end.page_number() {
            if let Some(cached) = self.cached(root, page) {
                tlb.insert((root.get(), page), cached);
            }
        }
    }
    /// Checks that no page maps anything else than the TLB remembers.
    pub(crate) fn check_tlb(&self) {
        for (&(root, page), cached) in &*self.tlb.lock().unwrap() {
            let now = self.cached(Pfn::new(root), page);
            assert_eq!(now.as_ref(), Some(cached), "page {page:#x} is stale in the TLB");
        }
    }
    /// The flushes since this was last asked.
    pub(crate) fn take_flushes(&self) -> Vec<Flush> {
        std::mem::take(&mut self.flushes.lock().unwrap())
    }
}

impl<F: Format> Host for Rig<F> {
    type Memory = HeapMemory;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = F;
    type Observer = Silent;
    type Reclaim = Walkers;
    fn memory(&self) -> &HeapMemory {
        &self.memory
    }
    fn observer(&self) -> &Silent {
        &Silent
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        Woken::Ready
    }
    fn flush_tlb(&self, root: Pfn, range: VirtRange) {
        let (raw, _) = self.walk(root, range.start.get());
        self.flushes.lock().unwrap().push(Flush { range, raw });
        let pages = (root.get(), range.start.page_number())..(root.get(), range.end.page_number());
        let mut tlb = self.tlb.lock().unwrap();
        let gone: Vec<_> = tlb.range(pages).map(|(&key, &cached)| (key, cached)).collect();
        for (key, _) in &gone {
            tlb.remove(key);
        }
        // A failure below must not poison what other flushes need while it unwinds.
        drop(tlb);
        for (key, cached) in gone {
            let now = self.cached(root, key.1);
            if F::BREAK_BEFORE_MAKE {
                let broken = now.is_none() || now == Some(cached);
                assert!(broken, "page {:#x}: {cached:?} became {now:?} without a break", key.1);
            }
        }
    }
}

/// A rig, its frames, and one address space. Frames that cases map need not exist.
pub(crate) struct Bench<F: Format> {
    pub(crate) host: Rig<F>,
    pub(crate) frames: Arc<Frames<Rig<F>>>,
    pub(crate) root: Pfn,
    walkers: Walkers,
}

impl<F: Format> Bench<F> {
    /// One with `frames` frames for tables.
    pub(crate) fn new(frames: u64) -> Self {
        let host = Rig::new(frames);
        let frames = Arc::new(Frames::new(&FramesConfig::normal(frames)));
        let root = Tables::new_root(&host, &frames).expect("room for a root");
        Self { host, frames, root, walkers: Walkers::new() }
    }
    pub(crate) fn tables(&self) -> Tables<'_, Rig<F>> {
        let (host, frames, root) = (&self.host, &*self.frames, self.root);
        Tables { host, frames, root, walkers: &self.walkers }
    }
    pub(crate) fn table_frames(&self) -> u64 {
        self.frames.stats().of(Kind::Table)
    }
    pub(crate) fn walk(&self, addr: u64) -> Walked<F> {
        self.tables().walk(VirtAddr::new(addr))
    }
    /// The bits that stand at `place`, as the hardware reads them.
    pub(crate) fn raw(&self, place: Place) -> u64 {
        self.tables().entries(place.table)[place.index].load(std::sync::atomic::Ordering::SeqCst)
    }
    /// Adds `marks` to the word at `place`, as the hardware does.
    pub(crate) fn mark(&self, place: Place, change: impl Fn(u64) -> u64) {
        let word = &self.tables().entries(place.table)[place.index];
        let old = word.load(std::sync::atomic::Ordering::SeqCst);
        word.store(change(old), std::sync::atomic::Ordering::SeqCst);
    }
}

/// `count` pages from `addr`.
pub(crate) fn pages(addr: u64, count: u64) -> VirtRange {
    VirtRange::from_len(VirtAddr::new(addr), count << PAGE_SHIFT).expect("no overflow")
}

/// All combinations of permissions.
pub(crate) fn all_perms() -> impl Iterator<Item = Perms> {
    (0..256_u32).map(|bits| {
        let has = |n: u32| bits >> n & 1 == 1;
        Perms {
            write: has(0),
            exec: has(1),
            protnone: has(2),
            young: has(3),
            dirty: has(4),
            special: has(5),
            uffd_wp: has(6),
            soft_dirty: has(7),
        }
    })
}

/// Readable and writable.
pub(crate) fn rw() -> Perms {
    Perms { write: true, ..Perms::default() }
}

/// Readable.
pub(crate) fn ro() -> Perms {
    Perms::default()
}

/// The entry with these bits.
pub(crate) fn entry<F: Format>(raw: u64) -> Entry<F> {
    Entry::from_raw(raw)
}
