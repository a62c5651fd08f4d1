//! One address space: its areas behind the mmap lock, its page tables, its counters.
//!
//! Lock order: mmap lock, growth lock, page-table locks (upper before lower), page-cache locks,
//! frame lists.
//! Linux: `struct mm_struct`.

use super::lock::{MmRead, MmWrite};
use super::machine::Machine;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::frame::{Mapper, OutOfMemory};
use crate::host::{Host, Injection};
use crate::linux::Linux;
use crate::pgtable::{Format, Tables};
use crate::rule::c;
use crate::sync::plain::{AtomicI64, AtomicU64};
use crate::sync::{AtomicBool, AtomicU32, Padded};
use crate::task::Task;
use crate::vma::Map;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering::Relaxed;
use lock_api::{Mutex, RwLock};

/// Resident-set counters (`mm->rss_stat`), in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `MM_FILEPAGES`.
    File,
    /// `MM_ANONPAGES`.
    Anon,
    /// `MM_SWAPENTS`.
    Swap,
    /// `MM_SHMEMPAGES`.
    Shmem,
}

/// An address space. What a walk without the lock reads comes first, in lines of cache that faults
/// and edits leave alone.
#[repr(C, align(128))]
pub struct Mm<H: Host> {
    machine: Arc<Machine<H>>,
    me: Weak<Self>,
    root: Pfn,
    /// The address bits that are no tag (`untag_mask`; all of them until tagging is asked for).
    pub untag_mask: AtomicU64,
    /// Odd while fork write-protects (row F-08).
    pub write_protect_seq: AtomicU32,
    /// `MMF_HAS_PINNED`: something was pinned here once (row F-19: never cleared).
    pub has_pinned: AtomicBool,
    walkers: H::Reclaim,
    map: Padded<RwLock<H::RawRwLock, Map<H>>>,
    rss: [AtomicI64; 4],
    /// `total_vm`, in pages.
    pub total_vm: AtomicU64,
    /// `locked_vm`, in pages.
    pub locked_vm: AtomicU64,
    /// Serialises stack growth under the read lock (row A-42).
    pub growth: Mutex<H::RawMutex, ()>,
}

impl<H: Host> Mm<H> {
    /// An empty address space on `machine`.
    /// # Errors
    /// [`OutOfMemory`] if there is no frame for the root table.
    pub fn new(machine: &Arc<Machine<H>>) -> Result<Arc<Self>, OutOfMemory> {
        let root = Tables::new_root(machine.host(), machine.frames())?;
        let mmap_base = VirtAddr::new(<H::Format as Format>::MMAP_WINDOW).saturating_sub(128 << 20);
        let stack_gap = match machine.linux() {
            Linux::V4_4 => 0,
            Linux::V6_18 => machine.sysctl.stack_guard_gap.saturating_mul(PAGE_SIZE),
        };
        let mm = Arc::new_cyclic(|me| Self {
            machine: Arc::clone(machine),
            me: me.clone(),
            map: Padded(RwLock::new(Map::new(mmap_base, stack_gap))),
            root,
            walkers: H::Reclaim::default(),
            rss: Default::default(),
            has_pinned: AtomicBool::new(false),
            write_protect_seq: AtomicU32::new(0),
            total_vm: AtomicU64::new(0),
            locked_vm: AtomicU64::new(0),
            growth: Mutex::new(()),
            untag_mask: AtomicU64::new(u64::MAX),
        });
        machine.add_space(&mm);
        Ok(mm)
    }
    /// The machine.
    #[inline]
    pub fn machine(&self) -> &Arc<Machine<H>> {
        &self.machine
    }
    /// A reference to it that does not keep it alive.
    #[inline]
    pub fn weak(&self) -> &Weak<Self> {
        &self.me
    }
    /// The root table.
    #[inline]
    pub fn root(&self) -> Pfn {
        self.root
    }
    /// Who it is among those that map a large folio.
    #[inline]
    pub fn mapper(&self) -> Mapper {
        Mapper::of_root(self.root)
    }
    /// The page tables.
    #[inline]
    pub fn tables(&self) -> Tables<'_, H> {
        Tables {
            host: self.machine.host(),
            frames: self.machine.frames(),
            root: self.root,
            walkers: &self.walkers,
        }
    }
    /// Takes the mmap lock for reading.
    pub fn read(&self) -> MmRead<'_, H> {
        MmRead::new(self, self.map.read())
    }
    /// Takes the mmap lock for reading, if nobody has to be waited for.
    pub fn try_read(&self) -> Option<MmRead<'_, H>> {
        self.map.try_read().map(|map| MmRead::new(self, map))
    }
    /// Takes the mmap lock for reading, or gives up when SIGKILL is pending for `task`.
    ///
    /// Where the lock is contended it is tried again until it is free or the signal comes: bounded
    /// by the writer that holds it.
    pub fn read_killable(&self, task: &Task) -> Option<MmRead<'_, H>> {
        let host = self.machine.host();
        loop {
            let contended = host.inject(Injection::LockContended);
            if let Some(map) = self.map.try_read().filter(|_| !contended) {
                return Some(MmRead::new(self, map));
            }
            if host.signals(task).fatal {
                return None;
            }
            host.relax();
            core::hint::spin_loop();
        }
    }
    /// Takes the mmap lock for writing.
    pub fn write(&self) -> MmWrite<'_, H> {
        MmWrite::new(self, self.map.write())
    }
    /// Takes the mmap lock for writing, if nobody has to be waited for.
    pub fn try_write(&self) -> Option<MmWrite<'_, H>> {
        self.map.try_write().map(|map| MmWrite::new(self, map))
    }
    /// `addr` without the tag bits of this address space (`untagged_addr_remote`, row C-14).
    #[inline]
    pub fn untagged(&self, addr: VirtAddr) -> VirtAddr {
        let bare = VirtAddr::new(addr.get() & self.untag_mask.load(Relaxed));
        if self.machine.host().rule(c::C_14, bare != addr, addr) { bare } else { addr }
    }
    /// Notes that something is being pinned here (`mm_set_has_pinned_flag`). Stores once only, so
    /// that later calls change no line that others read.
    #[inline]
    pub(crate) fn set_has_pinned(&self) {
        if !self.has_pinned.load(Relaxed) {
            self.has_pinned.store(true, Relaxed);
        }
    }
    /// A resident-set counter, in pages.
    pub fn rss(&self, counter: Counter) -> i64 {
        self.rss[counter as usize].load(Relaxed)
    }
    /// Changes a resident-set counter by `pages`.
    #[inline]
    pub fn add_rss(&self, counter: Counter, pages: i64) {
        self.rss[counter as usize].fetch_add(pages, Relaxed);
    }
}

impl<H: Host> Drop for Mm<H> {
    /// Unmaps everything and frees the tables (`exit_mmap`).
    fn drop(&mut self) {
        crate::mapping::release_charges(self);
        crate::fault::teardown(self);
        self.machine.forget_spaces();
    }
}
