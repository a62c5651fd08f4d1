//! Ghost memory: frames that hold page tables are real, frames that hold data have no bytes.
//!
//! Data reads as zeros and writes are forgotten. A frame becomes real when it is first used as a
//! table, so a mirror costs what was looked at. What a kernel would have zeroed and copied is
//! counted.

use gup::addr::{PMD_ORDER, Pfn};
use gup::host::{Memory, ReadMode, Store, StoreRead, StoreWrite};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

type Table = Box<[AtomicU64; 512]>;

/// Memory whose data frames have no bytes.
pub struct GhostMemory {
    frames: Box<[OnceLock<Table>]>,
    beyond: Table,
    zeroed: AtomicU64,
    zeroed_huge: AtomicU64,
    copied: AtomicU64,
}

/// What was done to frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames zeroed, but for huge pages.
    pub zeroed: u64,
    /// Huge pages zeroed, 2 MiB each.
    pub zeroed_huge: u64,
    /// Frames copied.
    pub copied: u64,
}

impl GhostMemory {
    /// `frames` frames.
    pub fn new(frames: usize) -> Self {
        let frames = (0..frames).map(|_| OnceLock::new()).collect();
        let [zeroed, zeroed_huge, copied] = [const { AtomicU64::new(0) }; 3];
        Self { frames, beyond: empty(), zeroed, zeroed_huge, copied }
    }

    /// What was done to frames so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            zeroed: self.zeroed.load(Relaxed),
            zeroed_huge: self.zeroed_huge.load(Relaxed),
            copied: self.copied.load(Relaxed),
        }
    }

    fn frame(&self, pfn: Pfn) -> Option<&OnceLock<Table>> {
        self.frames.get(usize::try_from(pfn.get()).ok()?)
    }
}

fn empty() -> Table {
    Box::new([const { AtomicU64::new(0) }; 512])
}

impl fmt::Debug for GhostMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GhostMemory").field("frames", &self.frames.len()).finish_non_exhaustive()
    }
}

impl Memory for GhostMemory {
    fn frames(&self) -> u64 {
        self.frames.len() as u64
    }

    fn table(&self, pfn: Pfn) -> &[AtomicU64; 512] {
        // The engine asks for no frame that it did not allocate; one beyond the end is an empty
        // table.
        self.frame(pfn).map_or(&*self.beyond, |frame| &**frame.get_or_init(empty))
    }

    fn zero(&self, pfn: Pfn, count: u64) {
        if count == 1 << PMD_ORDER {
            self.zeroed_huge.fetch_add(1, Relaxed);
        } else {
            self.zeroed.fetch_add(count, Relaxed);
        }
        for n in 0..count {
            if let Some(table) = self.frame(pfn.offset(n)).and_then(OnceLock::get) {
                table.iter().for_each(|entry| entry.store(0, Relaxed));
            }
        }
    }

    fn copy(&self, _to: Pfn, _from: Pfn, count: u64) {
        self.copied.fetch_add(count, Relaxed);
    }

    fn read(&self, _pfn: Pfn, _offset: usize, into: &mut [u8]) {
        into.fill(0);
    }

    fn write(&self, _pfn: Pfn, _offset: usize, _from: &[u8]) {}
}

/// A store whose pages are always at hand, without bytes.
#[derive(Clone, Copy, Debug)]
pub struct GhostStore;

impl Store for GhostStore {
    fn read_page(&self, _index: u64, _mode: ReadMode, into: &mut [u8]) -> StoreRead {
        into.fill(0);
        StoreRead::Ready
    }

    fn write_page(&self, _index: u64, _from: &[u8]) -> StoreWrite {
        StoreWrite::Done
    }
}

#[cfg(test)]
mod tests {
    use super::GhostMemory;
    use gup::addr::Pfn;
    use gup::host::Memory;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn tables_are_kept_and_data_is_not() {
        let memory = GhostMemory::new(4);
        memory.table(Pfn::new(2))[7].store(9, Relaxed);
        assert_eq!(memory.table(Pfn::new(2))[7].load(Relaxed), 9);
        memory.zero(Pfn::new(1), 2);
        assert_eq!(memory.table(Pfn::new(2))[7].load(Relaxed), 0);
        memory.write(Pfn::new(3), 0, &[1, 2]);
        let mut bytes = [7; 2];
        memory.read(Pfn::new(3), 0, &mut bytes);
        assert_eq!(bytes, [0, 0]);
    }
}
