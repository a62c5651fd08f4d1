//! The two arrays, and what each frame says of itself: head, order, kind, flags, owner.
//!
//! Invariant: a tail's `cold.owner` is its distance from the head, in frames.
//! Absent: counts ([`super::count`]), free lists ([`super::buddy`]).

use super::flags::{FrameFlags, Kind, Word};
use crate::addr::Pfn;
use crate::sync::{AtomicU32, AtomicU64};
use ::alloc::boxed::Box;
use ::alloc::vec::Vec;
use core::sync::atomic::{Ordering::Acquire, Ordering::Relaxed};

/// Bytes of metadata per frame.
pub const METADATA_BYTES: usize = size_of::<Hot>() + size_of::<Cold>();

/// What every grab touches.
#[derive(Debug, Default)]
#[cfg_attr(not(loom), repr(C, align(16)))]
pub(super) struct Hot {
    /// References in the low half, pins in the high half.
    pub(super) counts: AtomicU64,
    /// Entries that map this page.
    pub(super) mapcount: AtomicU32,
    /// A [`Word`].
    pub(super) word: AtomicU32,
}

impl Hot {
    /// The word, now.
    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Acquire))
    }
}

/// What edits touch.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Cold {
    pub(super) owner: AtomicU32,
    pub(super) index: AtomicU32,
}

// loom's atomics are larger.
#[cfg(not(loom))]
const _: () = assert!(size_of::<Hot>() == 16);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Cold>() == 8);
#[cfg(not(loom))]
const _: () = assert!(METADATA_BYTES <= 24);

/// Whom a folio belongs to: a number that its kind gives a meaning (an `anon_vma`, an inode, a
/// table's level), and its place there, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The owner's number; 0 is nobody.
    pub owner: u32,
    /// The place in it of the folio's first page.
    pub index: u32,
}

/// What one look at a folio says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folio {
    /// Its first frame.
    pub head: Pfn,
    /// What it is used for.
    pub kind: Kind,
    /// log2 of its frames.
    pub order: u8,
    /// Its flags, with those of its first frame.
    pub flags: FrameFlags,
}

impl Folio {
    /// Whether it is anonymous memory: no file's. A hugetlb folio says so by
    /// [`FrameFlags::SWAPBACKED`].
    #[inline]
    pub fn is_anon(self) -> bool {
        match self.kind {
            Kind::Anon => true,
            Kind::Hugetlb => self.flags.contains(FrameFlags::SWAPBACKED),
            Kind::Free
            | Kind::Table
            | Kind::File
            | Kind::Shmem
            | Kind::Secret
            | Kind::Special
            | Kind::Kernel
            | Kind::Slab => false,
        }
    }
}

/// Metadata of every frame of a machine.
///
/// Methods take any frame below [`FrameTable::len`]; a number from outside is to pass
/// [`FrameTable::pfn_valid`] first. Unless a method says *of the frame*, it answers for the frame's
/// folio.
#[derive(Debug)]
pub struct FrameTable {
    hot: Box<[Hot]>,
    cold: Box<[Cold]>,
}

impl FrameTable {
    /// Metadata for `frames` frames, all free and on no list.
    pub(super) fn new(frames: u64) -> Self {
        let count = usize::try_from(frames).unwrap_or(usize::MAX);
        let mut hot = Vec::with_capacity(count);
        hot.resize_with(count, Hot::default);
        let mut cold = Vec::with_capacity(count);
        cold.resize_with(count, Cold::default);
        Self { hot: hot.into_boxed_slice(), cold: cold.into_boxed_slice() }
    }
    /// How many frames there are; valid numbers lie below.
    #[inline]
    pub fn len(&self) -> u64 {
        self.hot.len() as u64
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hot.is_empty()
    }
    /// Whether there is metadata for `pfn`.
    #[inline]
    pub fn pfn_valid(&self, pfn: Pfn) -> bool {
        pfn.get() < self.len()
    }
    /// Metadata of the frame itself.
    #[inline]
    pub(super) fn hot(&self, pfn: Pfn) -> &Hot {
        &self.hot[index(pfn)]
    }
    /// Metadata of the frame itself.
    #[inline]
    pub(super) fn cold(&self, pfn: Pfn) -> &Cold {
        &self.cold[index(pfn)]
    }
    /// The word of the frame itself.
    #[inline]
    pub(super) fn word(&self, pfn: Pfn) -> Word {
        self.hot(pfn).word()
    }
    /// Metadata of the folio's head: one line of cache when `pfn` is the head.
    #[inline]
    pub(super) fn head_hot(&self, pfn: Pfn) -> &Hot {
        let hot = self.hot(pfn);
        if hot.word().is_tail() { self.hot(self.head_of_tail(pfn)) } else { hot }
    }
    #[cold]
    #[inline(never)]
    pub(super) fn head_of_tail(&self, pfn: Pfn) -> Pfn {
        let distance = u64::from(self.cold(pfn).owner.load(Relaxed));
        Pfn::new(pfn.get().saturating_sub(distance))
    }

    /// The first frame of the folio.
    #[inline]
    pub fn head(&self, pfn: Pfn) -> Pfn {
        if self.word(pfn).is_tail() { self.head_of_tail(pfn) } else { pfn }
    }
    /// log2 of the folio's frames.
    #[inline]
    pub fn order(&self, pfn: Pfn) -> u8 {
        self.head_hot(pfn).word().order()
    }
    /// Frames of the folio.
    #[inline]
    pub fn folio_frames(&self, pfn: Pfn) -> u64 {
        1 << self.order(pfn)
    }
    /// Whether the folio has more than one frame.
    #[inline]
    pub fn is_large(&self, pfn: Pfn) -> bool {
        self.order(pfn) > 0
    }
    /// What the folio is used for.
    #[inline]
    pub fn kind(&self, pfn: Pfn) -> Kind {
        self.head_hot(pfn).word().kind()
    }
    /// The folio, as it is now: one look at its word.
    #[inline]
    pub fn folio(&self, pfn: Pfn) -> Folio {
        let head = self.head(pfn);
        let word = self.word(head);
        Folio { head, kind: word.kind(), order: word.order(), flags: word.flags() }
    }
    /// [`Folio::is_anon`].
    #[inline]
    pub fn is_anon(&self, pfn: Pfn) -> bool {
        self.folio(pfn).is_anon()
    }
    /// Changes what the folio is used for. The caller holds the only right to it, or its lock.
    pub fn set_kind(&self, pfn: Pfn, kind: Kind) {
        debug_assert!(kind != Kind::Free, "a folio becomes free by `Frames::free`");
        let update = |word| Some(Word(word).with_kind(kind).0);
        let _always = self.head_hot(pfn).word.fetch_update(Relaxed, Relaxed, update);
    }

    /// The folio's flags, with those of the frame itself ([`FrameFlags::PER_PAGE`]).
    #[inline]
    pub fn flags(&self, pfn: Pfn) -> FrameFlags {
        let own = self.word(pfn);
        if !own.is_tail() {
            return own.flags();
        }
        let folio = self.word(self.head_of_tail(pfn)).flags();
        (folio - FrameFlags::PER_PAGE) | (own.flags() & FrameFlags::PER_PAGE)
    }
    /// Whether all of `flags` are set.
    #[inline]
    pub fn has(&self, pfn: Pfn, flags: FrameFlags) -> bool {
        self.flags(pfn).contains(flags)
    }
    /// The word that holds `flags`: the frame's own or its head's.
    #[inline]
    fn word_of(&self, pfn: Pfn, flags: FrameFlags) -> &AtomicU32 {
        if FrameFlags::PER_PAGE.contains(flags) {
            return &self.hot(pfn).word;
        }
        debug_assert!(!flags.intersects(FrameFlags::PER_PAGE), "{flags:?} live in two places");
        &self.head_hot(pfn).word
    }
    /// Sets `flags`: all of one page, or none.
    #[inline]
    pub fn set(&self, pfn: Pfn, flags: FrameFlags) {
        self.word_of(pfn, flags).fetch_or(flags.bits(), Relaxed);
    }
    /// Clears `flags`: all of one page, or none.
    #[inline]
    pub fn clear(&self, pfn: Pfn, flags: FrameFlags) {
        self.word_of(pfn, flags).fetch_and(!flags.bits(), Relaxed);
    }
    /// Sets `flags`, and says whether all of them were set before.
    #[inline]
    pub fn test_and_set(&self, pfn: Pfn, flags: FrameFlags) -> bool {
        let old = self.word_of(pfn, flags).fetch_or(flags.bits(), Relaxed);
        old & flags.bits() == flags.bits()
    }
    /// Clears `flags`, and says whether all of them were set before.
    #[inline]
    pub fn test_and_clear(&self, pfn: Pfn, flags: FrameFlags) -> bool {
        let old = self.word_of(pfn, flags).fetch_and(!flags.bits(), Relaxed);
        old & flags.bits() == flags.bits()
    }

    /// Whom the folio belongs to.
    pub fn owner(&self, pfn: Pfn) -> Owner {
        let cold = self.cold(self.head(pfn));
        Owner { owner: cold.owner.load(Acquire), index: cold.index.load(Acquire) }
    }
    /// Changes whom the folio belongs to. The caller holds its lock, or the only right to it.
    pub fn set_owner(&self, pfn: Pfn, owner: Owner) {
        use core::sync::atomic::Ordering::Release;
        let cold = self.cold(self.head(pfn));
        cold.owner.store(owner.owner, Release);
        cold.index.store(owner.index, Release);
    }
    /// The place in the owner of the frame itself: the folio's, and its distance from the head.
    pub fn index_of(&self, pfn: Pfn) -> u64 {
        let head = self.head(pfn);
        u64::from(self.cold(head).index.load(Acquire)) + (pfn.get() - head.get())
    }
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a number beyond the array stays beyond it")]
fn index(pfn: Pfn) -> usize {
    if usize::BITS < u64::BITS && pfn.get() > usize::MAX as u64 {
        return usize::MAX;
    }
    pfn.get() as usize
}
