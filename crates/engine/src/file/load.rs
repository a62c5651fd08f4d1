//! Bringing a page of a file into the page cache.
//!
//! A read that cannot end at once leaves its page in the cache, with the ticket; whoever asks next
//! finishes it, so that two readers of one page wait for one read (row W-03). Invariants: a store
//! is never called with the cache's lock held; a page is put in only while its index lies within
//! the size.
//! Linux: `filemap_get_pages`, `shmem_get_folio_gfp` (6.18).

use super::cache::{File, FileKind, Slot};
use crate::addr::{PAGE_SIZE, Pfn};
use crate::frame::{AllocFlags, FrameFlags, Kind, Owner};
use crate::host::{Host, Memory, ReadMode, StoreRead, Ticket};
use crate::mm::Machine;
use crate::swap::{SwapError, SwappedIn};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Why a page is not at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// It is being read; ask again when the ticket is ready.
    NotYet(Ticket),
    /// It lies past the end of the file.
    PastEnd,
    /// Its store failed.
    Failed,
    /// No frame for it.
    OutOfMemory,
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotYet(_) => "the page is being read",
            Self::PastEnd => "the page lies past the end of the file",
            Self::Failed => "the page could not be read",
            Self::OutOfMemory => "out of memory",
        })
    }
}
impl core::error::Error for LoadError {}

/// What one attempt brought.
enum Step {
    Done(Pfn),
    /// Somebody else changed the cache meanwhile.
    Again,
}

impl<H: Host> File<H> {
    /// The page at `index`, if it is in the cache, with a reference for the caller.
    pub fn find(&self, machine: &Machine<H>, index: u64) -> Option<Pfn> {
        let pages = self.pages.lock();
        match pages.get(&index) {
            Some(Slot::Page(pfn)) => machine.frames().get(*pfn, 1).ok().map(|()| *pfn),
            Some(Slot::Reading(..) | Slot::Swapped(_)) | None => None,
        }
    }

    /// The page at `index`, brought in if need be, with a reference for the caller.
    /// # Errors
    /// [`LoadError`]; with [`ReadMode::Block`] never [`LoadError::NotYet`].
    pub fn load(&self, machine: &Machine<H>, index: u64, mode: ReadMode) -> Result<Pfn, LoadError> {
        self.load_for(machine, index, mode, AllocFlags::MOVABLE)
    }

    /// Begins to read the page at `index`, if it is not cached. Whether that succeeds is seen by
    /// who asks for the page.
    pub(crate) fn prefetch(&self, machine: &Machine<H>, index: u64) {
        if let Ok(page) = self.load(machine, index, ReadMode::Start) {
            machine.put_page(page);
        }
    }
    /// The swap slots that hold pages of `indexes`.
    pub(crate) fn swapped_in(&self, indexes: Range<u64>) -> Vec<u64> {
        let slot = |slot: &Slot| match slot {
            Slot::Swapped(slot) => Some(*slot),
            Slot::Page(_) | Slot::Reading(..) => None,
        };
        self.pages.lock().range(indexes).filter_map(|(_, place)| slot(place)).collect()
    }

    /// As [`File::load`]; a page that has to be allocated comes from where `how` allows.
    pub(crate) fn load_for(
        &self,
        machine: &Machine<H>,
        index: u64,
        mode: ReadMode,
        how: AllocFlags,
    ) -> Result<Pfn, LoadError> {
        loop {
            if index >= self.size_pages() {
                return Err(LoadError::PastEnd);
            }
            let slot = self.pages.lock().get(&index).copied();
            let step = match slot {
                Some(Slot::Page(_)) => self.find(machine, index).map_or(Step::Again, Step::Done),
                Some(Slot::Reading(page, _)) => self.finish(machine, index, page, mode)?,
                Some(Slot::Swapped(slot)) => self.swap_in(machine, index, slot, (mode, how))?,
                None => self.fill(machine, index, mode, how)?,
            };
            match step {
                Step::Done(page) => return Ok(page),
                Step::Again => machine.host().relax(),
            }
        }
    }

    /// Puts one zeroed folio of `1 << order` pages into the cache from `first` on, as a large write
    /// does. Answers whether it did: something may be there already, or the folio may not fit in
    /// the file.
    ///
    /// Entries map its pages one by one. The cache holds one reference for each.
    /// # Errors
    /// [`LoadError::OutOfMemory`].
    pub fn insert_folio(
        &self,
        machine: &Machine<H>,
        first: u64,
        order: u8,
    ) -> Result<bool, LoadError> {
        let frames = machine.frames();
        let count = 1_u64 << order;
        let head = frames
            .alloc(machine.host(), order, self.frame_kind(), AllocFlags::MOVABLE)
            .map_err(|_| LoadError::OutOfMemory)?;
        machine.memory().zero(head, count);
        frames.set_owner(head, self.owner_at(first));
        frames.set(head, FrameFlags::UPTODATE);
        let end = first.saturating_add(count);
        let mut pages = self.pages.lock();
        let fits = end <= self.size_pages() && pages.range(first..end).next().is_none();
        #[allow(clippy::cast_possible_truncation, reason = "at most 1 << MAX_ORDER")]
        let more = count as u32 - 1;
        if !fits || frames.get(head, more).is_err() {
            drop(pages);
            machine.put_page(head);
            return Ok(false);
        }
        pages.extend((0..count).map(|n| (first + n, Slot::Page(head.offset(n)))));
        Ok(true)
    }

    /// A new page, from the store or zeroed.
    fn fill(
        &self,
        machine: &Machine<H>,
        index: u64,
        mode: ReadMode,
        how: AllocFlags,
    ) -> Result<Step, LoadError> {
        let page = self.new_page(machine, index, how)?;
        let slot = match self.read_store(machine, index, page, mode) {
            Ok(()) => Slot::Page(page),
            Err(LoadError::NotYet(ticket)) => Slot::Reading(page, ticket),
            Err(failed) => {
                machine.put_page(page);
                return Err(failed);
            }
        };
        let mut pages = self.pages.lock();
        if index >= self.size_pages() || pages.contains_key(&index) {
            drop(pages);
            machine.put_page(page);
            return Ok(Step::Again);
        }
        pages.insert(index, slot);
        match slot {
            Slot::Reading(_, ticket) => Err(LoadError::NotYet(ticket)),
            Slot::Page(_) | Slot::Swapped(_) => {
                machine.frames().get(page, 1).map_err(|_| LoadError::OutOfMemory)?;
                Ok(Step::Done(page))
            }
        }
    }

    /// Asks the store again about a read that was started.
    fn finish(
        &self,
        machine: &Machine<H>,
        index: u64,
        page: Pfn,
        mode: ReadMode,
    ) -> Result<Step, LoadError> {
        let bytes = self.ask_store(index, mode);
        let mut pages = self.pages.lock();
        if !matches!(pages.get(&index), Some(Slot::Reading(reading, _)) if *reading == page) {
            return Ok(Step::Again);
        }
        match bytes {
            Ok(bytes) => {
                machine.memory().write(page, 0, &bytes);
                machine.frames().set(page, FrameFlags::UPTODATE);
                pages.insert(index, Slot::Page(page));
                Ok(Step::Again)
            }
            Err(LoadError::NotYet(ticket)) => {
                pages.insert(index, Slot::Reading(page, ticket));
                Err(LoadError::NotYet(ticket))
            }
            Err(failed) => {
                pages.remove(&index);
                drop(pages);
                machine.put_page(page);
                Err(failed)
            }
        }
    }

    /// Brings a page of shmem back from swap.
    fn swap_in(
        &self,
        machine: &Machine<H>,
        index: u64,
        slot: u64,
        (mode, how): (ReadMode, AllocFlags),
    ) -> Result<Step, LoadError> {
        let swap = machine.swap();
        let generation = swap.generation(slot);
        let page = match swap.read(machine, slot, mode, how) {
            Ok(SwappedIn::Cached(page) | SwappedIn::Read(page) | SwappedIn::Fresh(page)) => page,
            Err(SwapError::NotYet(ticket)) => return Err(LoadError::NotYet(ticket)),
            Err(SwapError::Failed) => return Err(LoadError::Failed),
            Err(SwapError::OutOfMemory) => return Err(LoadError::OutOfMemory),
        };
        let mut pages = self.pages.lock();
        // The same place may name the same slot again, for other bytes.
        let same = pages.get(&index) == Some(&Slot::Swapped(slot));
        if !same || !swap.is_page_of(slot, generation, page) {
            drop(pages);
            machine.put_page(page);
            return Ok(Step::Again);
        }
        let frames = machine.frames();
        frames.set_kind(page, self.frame_kind());
        frames.set_owner(page, self.owner_at(index));
        frames.set(page, FrameFlags::DIRTY);
        pages.insert(index, Slot::Page(page));
        drop(pages);
        swap.drop_user(machine, slot);
        swap.try_free(machine, page);
        Ok(Step::Again)
    }

    fn new_page(
        &self,
        machine: &Machine<H>,
        index: u64,
        how: AllocFlags,
    ) -> Result<Pfn, LoadError> {
        let frames = machine.frames();
        let page = frames
            .alloc(machine.host(), 0, self.frame_kind(), how)
            .map_err(|_| LoadError::OutOfMemory)?;
        frames.set_owner(page, self.owner_at(index));
        if self.kind() == FileKind::Shmem {
            frames.set(page, FrameFlags::SWAPBACKED);
        }
        Ok(page)
    }

    /// Fills `page` with the bytes at `index`.
    fn read_store(
        &self,
        machine: &Machine<H>,
        index: u64,
        page: Pfn,
        mode: ReadMode,
    ) -> Result<(), LoadError> {
        if self.store().is_some() {
            machine.memory().write(page, 0, &self.ask_store(index, mode)?);
        } else {
            machine.memory().zero(page, 1);
        }
        machine.frames().set(page, FrameFlags::UPTODATE);
        Ok(())
    }

    fn ask_store(&self, index: u64, mode: ReadMode) -> Result<Vec<u8>, LoadError> {
        let mut bytes = vec![0; PAGE_SIZE as usize];
        let Some(store) = self.store() else { return Ok(bytes) };
        match store.read_page(index, mode, &mut bytes) {
            StoreRead::Ready => Ok(bytes),
            StoreRead::NotYet(_) if mode == ReadMode::Block => Err(LoadError::Failed),
            StoreRead::NotYet(ticket) => Err(LoadError::NotYet(ticket)),
            StoreRead::Failed => Err(LoadError::Failed),
        }
    }

    /// What a page of this file at `index` says of itself.
    pub(crate) fn owner_at(&self, index: u64) -> Owner {
        #[allow(clippy::cast_possible_truncation, reason = "the place in the file, modulo 16 TiB")]
        let index = index as u32;
        Owner { owner: self.id(), index }
    }

    fn frame_kind(&self) -> Kind {
        match self.kind() {
            FileKind::Regular | FileKind::NoWriteback | FileKind::Fsdax => Kind::File,
            FileKind::Shmem => Kind::Shmem,
            FileKind::Hugetlb(_) => Kind::Hugetlb,
            FileKind::Secret => Kind::Secret,
        }
    }
}
