//! Pinning a memfd's pages without mapping it: `memfd_pin_folios` (rows C-83, C-84).
//!
//! No address space is involved, so nothing marks one as pinned. Each folio is pinned once, however
//! many of its pages are asked for. What is missing is allocated, where it may stay pinned; what
//! lies badly is moved as for any long-term pin. Invariant: an error leaves nothing pinned.
//! Linux: mm/gup.c `memfd_pin_folios`, mm/memfd.c `memfd_alloc_folio` (6.18).

use super::longterm::{Settled, settle};
use super::page::Page;
use super::stop::Stop;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::errno::Errno;
use crate::file::{File, FileKind, LoadError, Slot};
use crate::frame::{FrameFlags, Owner};
use crate::host::{Host, Memory, ReadMode};
use crate::hugetlb::{Promised, put_page};
use crate::mm::Machine;
use crate::observe::Event;
use crate::rule::c;
use crate::task::Task;
use alloc::sync::Arc;

/// Folios that were pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedFolios {
    /// How many: the first slots of the caller's array hold the first page of each.
    pub count: usize,
    /// Bytes from the beginning of the first folio to the first byte asked for.
    pub offset: u64,
}

/// Pins the folios of `file` that hold bytes `start` to `end`, both included, for long; at most as
/// many as `folios` has slots. They are given back with [`super::unpin::unpin_folios`].
///
/// Waits for the file's store. No lock is held or taken but the file's own. `current` acts: pages
/// are allocated for it.
/// # Errors
/// EINVAL (row C-83): no file, or one that is neither shared memory nor hugetlbfs; a negative or
/// empty range, or one that does not end within the file; no slots. ENOMEM: a folio could not be
/// allocated, or not be moved out of movable memory (row C-80). EFAULT: it could not be read.
/// # Linux
/// `memfd_pin_folios()`.
pub fn memfd_pin_folios<H: Host>(
    machine: &Machine<H>,
    current: &Task,
    file: Option<&Arc<File<H>>>,
    start: i64,
    end: i64,
    folios: &mut [Option<Page>],
) -> Result<PinnedFolios, Stop> {
    let host = machine.host();
    let at = VirtAddr::new(start.cast_unsigned());
    let empty = start < 0 || start > end || folios.is_empty();
    let fit = file.filter(|file| match file.kind() {
        FileKind::Shmem | FileKind::Hugetlb(_) => end.cast_unsigned() < file.size(),
        FileKind::Regular | FileKind::NoWriteback | FileKind::Fsdax | FileKind::Secret => false,
    });
    let refused = host.rule(c::C_83, empty || fit.is_none(), at);
    let Some(file) = fit.filter(|_| !refused) else {
        return Err(Stop::by(c::C_83));
    };
    let _scope = current.pin_scope();
    let (first, last) = (start.cast_unsigned() >> PAGE_SHIFT, end.cast_unsigned() >> PAGE_SHIFT);
    loop {
        let request = Wanted { machine, current, file, at };
        let count = request.pin_all(first, last, folios)?;
        let taken = folios.get_mut(..count).unwrap_or_default();
        let head = taken.first().and_then(Option::as_ref).map(Page::pfn);
        match settle(machine, None, Some(file), taken, at) {
            Settled::Well => {
                let before =
                    head.map_or(0, |head| first.wrapping_sub(machine.frames().index_of(head)));
                let pages = head.map_or(0, |head| machine.frames().folio_frames(head) - 1);
                let within = start.cast_unsigned() & (PAGE_SIZE - 1);
                return Ok(PinnedFolios { count, offset: (before & pages) << PAGE_SHIFT | within });
            }
            Settled::Moved => host.relax(),
            Settled::Stuck => return Err(Stop::by(c::C_80)),
        }
    }
}

struct Wanted<'a, H: Host> {
    machine: &'a Machine<H>,
    current: &'a Task,
    file: &'a File<H>,
    at: VirtAddr,
}

impl<H: Host> Wanted<'_, H> {
    /// Pins the folios of pages `first` to `last`; how many.
    fn pin_all(&self, first: u64, last: u64, folios: &mut [Option<Page>]) -> Result<usize, Stop> {
        let mut count = 0;
        let mut index = first;
        while let Some(slot) = folios.get_mut(count).filter(|_| index <= last) {
            let pinned = self.folio(index).and_then(|head| self.pin(head).map(|()| head));
            let head = match pinned {
                Ok(head) => head,
                Err(stop) => {
                    super::unpin::unpin_folios(self.machine, &mut folios[..count]);
                    return Err(stop);
                }
            };
            *slot = Page::from_pfn(head);
            self.machine.host().decided(c::C_84, self.at);
            count += 1;
            let frames = self.machine.frames();
            let pages = frames.folio_frames(head);
            index += pages - (index.wrapping_sub(frames.index_of(head)) & (pages - 1));
        }
        Ok(count)
    }

    /// Turns the reference to the folio into a pin.
    fn pin(&self, head: Pfn) -> Result<(), Stop> {
        let pinned = self.machine.frames().pin(head, 1);
        if pinned.is_ok() {
            self.machine.host().see(Event::Pinned(1));
        }
        self.machine.put_page(head);
        pinned.map_err(|_| Stop::by(c::C_86))
    }

    /// The first page of the folio that has page `index`, with a reference.
    fn folio(&self, index: u64) -> Result<Pfn, Stop> {
        let page = if let Some(order) = self.file.huge_order() {
            self.huge(index & !((1 << order) - 1), order)
        } else {
            let how = self.current.user_memory();
            let loaded = self.file.load_for(self.machine, index, ReadMode::Block, how);
            loaded.map_err(|error| match error {
                LoadError::OutOfMemory => Errno::ENOMEM,
                LoadError::PastEnd => Errno::EINVAL,
                LoadError::NotYet(_) | LoadError::Failed => Errno::EFAULT,
            })
        };
        let page = page.map_err(|errno| Stop::with(c::C_84, errno))?;
        Ok(self.machine.frames().head(page))
    }

    /// The huge page at `index`, from the cache or the pool, with a reference.
    fn huge(&self, index: u64, order: u8) -> Result<Pfn, Errno> {
        let (machine, frames) = (self.machine, self.machine.frames());
        let cached = || match self.file.pages.lock().get(&index) {
            Some(Slot::Page(page)) => Some(frames.get(*page, 1).map(|()| *page)),
            Some(Slot::Reading(..) | Slot::Swapped(_)) | None => None,
        };
        if let Some(found) = cached() {
            return found.map_err(|_| Errno::ENOMEM);
        }
        let promise = self.file.promise.lock().clone();
        let promised = promise.as_ref().map_or(Promised::No, |p| p.take(index >> order));
        let taken = machine.take_hugetlb(order, promised, self.current.user_memory());
        if let (Err(_), Promised::Yes, Some(promise)) = (taken, promised, &promise) {
            promise.restore(index >> order);
        }
        let new = taken.map_err(|_| Errno::ENOMEM)?;
        machine.memory().zero(new, 1 << order);
        frames.set(new, FrameFlags::UPTODATE | FrameFlags::DIRTY);
        #[allow(clippy::cast_possible_truncation, reason = "the place in the file, modulo 16 TiB")]
        frames.set_owner(new, Owner { owner: self.file.id(), index: index as u32 });
        let mut pages = self.file.pages.lock();
        if pages.contains_key(&index) || frames.get(new, 1).is_err() {
            drop(pages);
            let _last = put_page(machine, new);
            if let (Promised::Yes, Some(promise)) = (promised, promise) {
                promise.restore(index >> order);
            }
            return cached().and_then(Result::ok).ok_or(Errno::ENOMEM);
        }
        pages.insert(index, Slot::Page(new));
        Ok(new)
    }
}
