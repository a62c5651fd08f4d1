//! One file: its kind, size, store, and the page cache.
//!
//! Linux: `struct address_space`, `struct inode`.

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::host::{Host, Store, Ticket};
use crate::hugetlb::Reservation;
use crate::mm::{Machine, Mm};
use crate::sync::plain::AtomicU64;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{Ordering::Acquire, Ordering::Release};
use lock_api::Mutex;

/// What kind of file it is; decides faults and row C-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// On a file system that tracks dirty pages (ext4, xfs, btrfs, …).
    Regular,
    /// On a file system without write-back (ramfs).
    NoWriteback,
    /// On a DAX device: the page cache is the device.
    Fsdax,
    /// tmpfs, memfd, shared anonymous memory.
    Shmem,
    /// hugetlbfs with folios of this order.
    Hugetlb(u8),
    /// `memfd_secret`.
    Secret,
}

/// One place in a page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// In memory; the cache holds one reference to the folio that contains it.
    Page(Pfn),
    /// Being read into this frame; the ticket is ready when it is in.
    Reading(Pfn, Ticket),
    /// Swapped out (shmem).
    Swapped(u64),
}

/// A file's pages.
pub struct File<H: Host> {
    home: Weak<Machine<H>>,
    id: u32,
    kind: FileKind,
    size: AtomicU64,
    store: Option<Box<dyn Store>>,
    /// The page cache, by index in pages.
    pub pages: Mutex<H::RawMutex, BTreeMap<u64, Slot>>,
    /// Who maps it (`i_mmap`), for truncation.
    pub mappers: Mutex<H::RawMutex, Vec<Weak<Mm<H>>>>,
    /// What its shared mappings were promised of a pool of huge pages.
    pub(crate) promise: Mutex<H::RawMutex, Option<Arc<Reservation<H>>>>,
}

impl<H: Host> File<H> {
    /// A file of `size` bytes on the machine `home`, filled from `store`, or with zeroes if there
    /// is none. `id` is not 0, and is this file's alone on its machine ([`Machine::new_file`] sees
    /// to that).
    pub(crate) fn new(
        home: Weak<Machine<H>>,
        id: u32,
        kind: FileKind,
        size: u64,
        store: Option<Box<dyn Store>>,
    ) -> Self {
        Self {
            home,
            id,
            kind,
            size: AtomicU64::new(size),
            store,
            pages: Mutex::new(BTreeMap::new()),
            mappers: Mutex::new(Vec::new()),
            promise: Mutex::new(None),
        }
    }
    /// Its id, as frames name it.
    pub fn id(&self) -> u32 {
        self.id
    }
    /// Its kind.
    pub fn kind(&self) -> FileKind {
        self.kind
    }
    /// Where its pages come from.
    pub fn store(&self) -> Option<&dyn Store> {
        self.store.as_deref()
    }
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size.load(Acquire)
    }
    /// Its size in pages, the last one partly filled or not.
    pub fn size_pages(&self) -> u64 {
        self.size().saturating_add(PAGE_SIZE - 1) >> PAGE_SHIFT
    }
    /// Sets the size; pages beyond it stay cached until they are truncated.
    pub fn set_size(&self, bytes: u64) {
        self.size.store(bytes, Release);
    }
    /// Whether the page at `index` is in memory.
    pub fn has_page(&self, index: u64) -> bool {
        matches!(self.pages.lock().get(&index), Some(Slot::Page(_)))
    }
    /// Its file system tracks dirty pages: a shared writable mapping needs write notification (row
    /// C-32).
    pub fn tracks_dirty(&self) -> bool {
        match self.kind {
            FileKind::Regular | FileKind::Fsdax => true,
            FileKind::NoWriteback | FileKind::Shmem | FileKind::Hugetlb(_) | FileKind::Secret => {
                false
            }
        }
    }
}

impl<H: Host> Drop for File<H> {
    /// Nobody maps the file any more, and nobody can: its cache is given back.
    fn drop(&mut self) {
        if let Some(machine) = self.home.upgrade() {
            self.drop_pages(&machine, 0, u64::MAX);
        }
    }
}
