//! Pinned pages as a value: what it allows is its type, and it cannot be released the wrong way.
//!
//! Without an MMU a pin is one plain reference in every kernel (row N-11), so giving it back as a
//! pin would take more than was given. [`Pins`] has one release, its drop. Absent: runs of frames;
//! single pages suffice.
//! Linux: 6.18, `pin_user_pages` for `!CONFIG_MMU`.

use super::error::Refused;
use super::flat::FlatMemory;
use super::lock::NommuRead;
use super::walk::{Output, walk};
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::flags::Foll;
use crate::frame::FrameFlags;
use crate::gup::Page;
use crate::host::{Host, Memory};
use crate::mm::Machine;
use crate::rule::n;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Read {}
    impl Sealed for super::Write {}
}

/// What the holder of pins may do: [`Read`] or [`Write`].
pub trait Access: sealed::Sealed {
    /// The flag that asks for it.
    const FOLL: Foll;
}
/// The bytes may be read.
#[derive(Clone, Copy, Debug)]
pub enum Read {}
/// The bytes may be read and written.
#[derive(Clone, Copy, Debug)]
pub enum Write {}
impl Access for Read {
    const FOLL: Foll = Foll::empty();
}
impl Access for Write {
    const FOLL: Foll = Foll::WRITE;
}

/// Pages of one request, in address order. Invariant: each page in `pages` holds one reference of
/// this value.
///
/// There is no way to give one of them back as a pin, which would take more than was given (row
/// N-11):
/// ```compile_fail,E0308
/// # use gup::{abi::nommu_v6_18::unpin_user_page, heap_host::HeapHost};
/// # use gup::nommu::{NommuMm, Pins, Read};
/// fn drift(mm: &NommuMm<HeapHost>, pins: Pins<HeapHost, Read>) {
///     unpin_user_page(mm, pins.frame(0).unwrap());
/// }
/// ```
#[must_use = "dropping the pins releases the pages at once"]
pub struct Pins<H: Host, A: Access> {
    flat: Arc<FlatMemory<H>>,
    pages: Vec<Option<Page>>,
    _access: PhantomData<A>,
}

impl<H: Host> NommuRead<'_, H> {
    /// Pins up to `count` pages, beginning with the one that contains `start`.
    ///
    /// Fewer than `count`: the page after the last was refused. Sleeps nowhere; the lock stays
    /// held.
    /// # Errors
    /// [`Refused`] at the first page: no area contains it, or its permissions or kind forbid the
    /// access (row N-03). Nothing is pinned.
    pub fn pin<A: Access>(&self, start: VirtAddr, count: usize) -> Result<Pins<H, A>, Refused> {
        let flat = Arc::clone(self.mm().flat());
        let room = count.min(flat.machine().frames().len() as usize);
        let mut pages = Vec::new();
        pages.resize_with(room, || None);
        let mut out = Output { pages: Some(&mut pages), vmas: None };
        let walked = walk(&flat, self, start, room as u64, A::FOLL, &mut out, n::N_11);
        match walked.refused {
            Some(refused) if walked.got == 0 => Err(refused),
            Some(_) | None => {
                pages.truncate(walked.got as usize);
                Ok(Pins { flat, pages, _access: PhantomData })
            }
        }
    }
}

impl<H: Host, A: Access> Pins<H, A> {
    /// The machine whose pages they are.
    pub fn machine(&self) -> &Arc<Machine<H>> {
        self.flat.machine()
    }
    /// How many pages there are.
    pub fn len(&self) -> usize {
        self.pages.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
    /// The frame of page `index`; `None` past the last one, and where the address has no memory
    /// behind it.
    pub fn frame(&self, index: usize) -> Option<Pfn> {
        self.pages.get(index)?.as_ref().map(Page::pfn)
    }
    /// Reads bytes of page `index`, from byte `offset` on; how many there were.
    pub fn read(&self, index: usize, offset: usize, into: &mut [u8]) -> usize {
        let Some((pfn, range)) = self.span(index, offset, into.len()) else { return 0 };
        self.flat.machine().memory().read(pfn, range.start, &mut into[..range.len()]);
        range.len()
    }
    fn span(&self, index: usize, offset: usize, len: usize) -> Option<(Pfn, Range<usize>)> {
        let end = offset.saturating_add(len).min(PAGE_SIZE as usize);
        Some((self.frame(index)?, offset.min(end)..end))
    }
}

impl<H: Host> Pins<H, Write> {
    /// Writes bytes of page `index`, from byte `offset` on, and marks it dirty; how many there was
    /// room for.
    pub fn write(&self, index: usize, offset: usize, from: &[u8]) -> usize {
        let Some((pfn, range)) = self.span(index, offset, from.len()) else { return 0 };
        self.flat.machine().memory().write(pfn, range.start, &from[..range.len()]);
        self.flat.machine().frames().set(pfn, FrameFlags::DIRTY);
        range.len()
    }
}

impl<H: Host, A: Access> Drop for Pins<H, A> {
    fn drop(&mut self) {
        for page in self.pages.drain(..).flatten() {
            self.flat.machine().put_page(page.pfn());
        }
    }
}
