//! A swap file: slots of one page in a file that has no name.
//!
//! Absent: which slot is whose; the engine's slot map knows.

use super::FileStore;
use crate::host::Tickets;
use gup::addr::PAGE_SIZE;
use gup::host::{ReadMode, Store, StoreRead, StoreWrite};
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A fixed number of slots, in space that was reserved beforehand: a write to a slot does not find
/// the disk full.
#[derive(Debug)]
pub struct SwapFile {
    pages: FileStore,
    slots: u64,
}

impl SwapFile {
    /// A swap file of `slots` slots in the directory `dir`, gone when dropped.
    /// # Errors
    /// The kernel's: the directory does not exist, its file system has no unnamed files or too
    /// little space.
    pub fn create_in(dir: &Path, slots: u64, tickets: Arc<Tickets>) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(open(dir, flags, Mode::RUSR | Mode::WUSR)?);
        let bytes = slots.checked_mul(PAGE_SIZE).ok_or(rustix::io::Errno::FBIG)?;
        if bytes > 0 {
            fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
        }
        Ok(Self { pages: FileStore::new(file, tickets), slots })
    }
    /// How many slots there are.
    pub const fn slots(&self) -> u64 {
        self.slots
    }
}

impl Store for SwapFile {
    fn read_page(&self, index: u64, mode: ReadMode, into: &mut [u8]) -> StoreRead {
        if index >= self.slots {
            return StoreRead::Failed;
        }
        self.pages.read_page(index, mode, into)
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        if index >= self.slots {
            return StoreWrite::Failed;
        }
        self.pages.write_page(index, from)
    }
}
