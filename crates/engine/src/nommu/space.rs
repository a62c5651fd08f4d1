//! One address space on a flat memory: its areas behind the mmap lock.
//!
//! Dropping it unmaps everything.
//! Linux: `struct mm_struct` under `!CONFIG_MMU`.

use super::flat::FlatMemory;
use super::lock::{NommuRead, NommuWrite};
use super::map::RegionMap;
use crate::host::{Host, Injection};
use crate::task::Task;
use alloc::sync::Arc;
use lock_api::RwLock;

/// An address space without an MMU.
pub struct NommuMm<H: Host> {
    flat: Arc<FlatMemory<H>>,
    map: RwLock<H::RawRwLock, RegionMap>,
}

impl<H: Host> NommuMm<H> {
    /// An empty one on `flat`.
    pub fn new(flat: &Arc<FlatMemory<H>>) -> Arc<Self> {
        Arc::new(Self { flat: Arc::clone(flat), map: RwLock::new(RegionMap::default()) })
    }
    /// Its memory.
    #[inline]
    pub fn flat(&self) -> &Arc<FlatMemory<H>> {
        &self.flat
    }
    /// The host.
    #[inline]
    pub fn host(&self) -> &H {
        self.flat.machine().host()
    }
    /// Takes the mmap lock for reading.
    pub fn read(&self) -> NommuRead<'_, H> {
        NommuRead::new(self, self.map.read())
    }
    /// Takes the mmap lock for reading, or gives up when SIGKILL is pending for `task`.
    ///
    /// Where the lock is contended it is tried again until it is free or the signal comes.
    pub fn read_killable(&self, task: &Task) -> Option<NommuRead<'_, H>> {
        loop {
            let contended = self.host().inject(Injection::LockContended);
            if let Some(map) = self.map.try_read().filter(|_| !contended) {
                return Some(NommuRead::new(self, map));
            }
            if self.host().signals(task).fatal {
                return None;
            }
            self.host().relax();
            core::hint::spin_loop();
        }
    }
    /// Takes the mmap lock for writing.
    pub fn write(&self) -> NommuWrite<'_, H> {
        NommuWrite::new(self, self.map.write())
    }
}

impl<H: Host> Drop for NommuMm<H> {
    fn drop(&mut self) {
        for region in self.map.get_mut().take_all().filter_map(|area| area.region) {
            self.flat.leave_region(region);
        }
    }
}
