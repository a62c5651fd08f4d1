//! Reading and writing a file's bytes through its page cache, and writing them back to its store.
//!
//! Waits for the store ([`ReadMode::Block`]). Absent: file positions, permissions.
//! Linux: `generic_perform_write`, `filemap_read` (mm/filemap.c, 6.18).

use super::cache::{File, Slot};
use super::load::LoadError;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::frame::FrameFlags;
use crate::host::{Host, Memory, ReadMode, StoreWrite};
use crate::mm::Machine;
use crate::observe::Observer;
use crate::rule::f;
use alloc::vec;
use alloc::vec::Vec;

/// The part of `len` bytes at `offset` that lies in one page: index, offset in the page, length.
#[allow(clippy::cast_possible_truncation, reason = "below 4096")]
fn part(offset: u64, len: usize) -> (u64, usize, usize) {
    let within = (offset & (PAGE_SIZE - 1)) as usize;
    (offset >> PAGE_SHIFT, within, len.min(PAGE_SIZE as usize - within))
}

impl<H: Host> File<H> {
    /// Reads from `offset`, up to the end of the file. Answers how many bytes.
    /// # Errors
    /// A page before which nothing was read could not be brought in.
    pub fn read_at(
        &self,
        machine: &Machine<H>,
        offset: u64,
        into: &mut [u8],
    ) -> Result<usize, LoadError> {
        let left = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = into.len().min(left);
        let mut done = 0;
        while done < len {
            let (index, within, count) = part(offset + done as u64, len - done);
            match self.load(machine, index, ReadMode::Block) {
                Ok(page) => {
                    machine.memory().read(page, within, &mut into[done..done + count]);
                    machine.put_page(page);
                }
                Err(_) if done > 0 => break,
                Err(failed) => return Err(failed),
            }
            done += count;
        }
        Ok(done)
    }

    /// Writes at `offset`; the file grows if need be. Answers how many bytes.
    /// # Errors
    /// A page before which nothing was written could not be brought in.
    pub fn write_at(
        &self,
        machine: &Machine<H>,
        offset: u64,
        from: &[u8],
    ) -> Result<usize, LoadError> {
        let end = offset.checked_add(from.len() as u64).ok_or(LoadError::PastEnd)?;
        if end > self.size() {
            self.set_size(end);
        }
        let mut done = 0;
        while done < from.len() {
            let (index, within, count) = part(offset + done as u64, from.len() - done);
            match self.load(machine, index, ReadMode::Block) {
                Ok(page) => {
                    machine.memory().write(page, within, &from[done..done + count]);
                    machine.frames().set(page, FrameFlags::DIRTY);
                    machine.put_page(page);
                }
                Err(_) if done > 0 => break,
                Err(failed) => return Err(failed),
            }
            done += count;
        }
        Ok(done)
    }

    /// Writes dirty pages back to the store. Answers how many were written; a page that could not
    /// be stays dirty.
    ///
    /// Entries keep what they note: a page that is mapped writable may be dirtied again unseen.
    pub fn write_back(&self, machine: &Machine<H>) -> usize {
        let Some(store) = self.store() else { return 0 };
        let mut written = 0;
        let mut bytes = vec![0; PAGE_SIZE as usize];
        for (index, page) in self.dirty_pages(machine) {
            machine.frames().clear(page, FrameFlags::DIRTY);
            // A device may go on writing to a pinned page: what is there now is what is written.
            let pinned = H::Observer::ON && machine.frames().maybe_pinned(page);
            machine.host().decided_if(f::F_51, pinned, VirtAddr::new(0));
            machine.memory().read(page, 0, &mut bytes);
            match store.write_page(index, &bytes) {
                StoreWrite::Done => written += 1,
                StoreWrite::Failed => machine.frames().set(page, FrameFlags::DIRTY),
            }
            machine.put_page(page);
        }
        written
    }

    /// Dirty pages of the cache, each with a reference.
    fn dirty_pages(&self, machine: &Machine<H>) -> Vec<(u64, Pfn)> {
        let frames = machine.frames();
        let pages = self.pages.lock();
        let dirty = pages.iter().filter_map(|(index, slot)| match slot {
            Slot::Page(page) if frames.has(*page, FrameFlags::DIRTY) => Some((*index, *page)),
            Slot::Page(_) | Slot::Reading(..) | Slot::Swapped(_) => None,
        });
        dirty.filter(|(_, page)| frames.get(*page, 1).is_ok()).collect()
    }
}
