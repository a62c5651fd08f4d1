//! What an entry says, whatever the format: [`Entry`] and [`Decoded`].
//!
//! Software bits: *special* (no folio stands behind the leaf: zero page, pfn mapping), *uffd-wp*,
//! *soft-dirty*. A `PROT_NONE` leaf is present to the engine (`protnone`), but not to the hardware.

use super::Format;
use crate::addr::Pfn;
use core::fmt;
use core::marker::PhantomData;

/// What a leaf allows and remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "one bool per bit of the entry")]
pub struct Perms {
    /// Stores are allowed.
    pub write: bool,
    /// Instruction fetches are allowed.
    pub exec: bool,
    /// No access at all, by `PROT_NONE` or a NUMA hint.
    pub protnone: bool,
    /// Accessed.
    pub young: bool,
    /// Written to.
    pub dirty: bool,
    /// No folio stands behind it.
    pub special: bool,
    /// Write-protected by userfaultfd.
    pub uffd_wp: bool,
    /// Soft-dirty.
    pub soft_dirty: bool,
}

impl Perms {
    /// What may happen, without what happened: not accessed, not dirty, not soft-dirty.
    #[must_use]
    #[inline]
    pub const fn timeless(self) -> Self {
        Self { young: false, dirty: false, soft_dirty: false, ..self }
    }
    /// Accessed, dirty and soft-dirty also where `other` is.
    #[must_use]
    #[inline]
    pub const fn with_history_of(self, other: Self) -> Self {
        Self {
            young: self.young || other.young,
            dirty: self.dirty || other.dirty,
            soft_dirty: self.soft_dirty || other.soft_dirty,
            ..self
        }
    }
}

/// A non-present, non-empty entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapEntry {
    /// The page is in swap slot `slot`.
    Swap {
        /// The slot.
        slot: u64,
        /// The page was exclusive to this entry.
        exclusive: bool,
        /// userfaultfd write protection, kept.
        uffd_wp: bool,
        /// Soft-dirty, kept.
        soft_dirty: bool,
    },
    /// The page is being migrated.
    Migration {
        /// The frame it comes from.
        pfn: Pfn,
        /// It was writable.
        write: bool,
        /// It was exclusive.
        exclusive: bool,
    },
    /// The page's memory failed.
    HwPoison(Pfn),
    /// A marker of userfaultfd: the page is write-protected, though absent.
    UffdWp,
    /// A marker of `UFFDIO_POISON`.
    Poisoned,
    /// A guard region (`MADV_GUARD_INSTALL`).
    Guard,
}

impl SwapEntry {
    /// The entry for the page `pages` pages into what this huge one covers.
    #[must_use]
    pub const fn offset(self, pages: u64) -> Self {
        match self {
            Self::Swap { slot, exclusive, uffd_wp, soft_dirty } => {
                Self::Swap { slot: slot.wrapping_add(pages), exclusive, uffd_wp, soft_dirty }
            }
            Self::Migration { pfn, write, exclusive } => {
                Self::Migration { pfn: pfn.offset(pages), write, exclusive }
            }
            Self::HwPoison(pfn) => Self::HwPoison(pfn.offset(pages)),
            Self::UffdWp | Self::Poisoned | Self::Guard => self,
        }
    }
}

/// An entry, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Nothing.
    None,
    /// A lower table.
    Table(Pfn),
    /// Memory, `1 << (9 * level)` frames from the frame given.
    Leaf(Pfn, Perms),
    /// Not present, but not nothing.
    Swap(SwapEntry),
}

/// One entry of a table, in format `F`.
#[repr(transparent)]
pub struct Entry<F>(u64, PhantomData<F>);

impl<F> Clone for Entry<F> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<F> Copy for Entry<F> {}
impl<F> PartialEq for Entry<F> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<F> Eq for Entry<F> {}
impl<F> fmt::Debug for Entry<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {:#x}", self.0)
    }
}

impl<F: Format> Entry<F> {
    /// The empty entry.
    pub const NONE: Self = Self(0, PhantomData);

    /// The entry with these bits.
    #[inline]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw, PhantomData)
    }
    /// Its bits.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }
    /// A leaf at `level`.
    #[inline]
    pub fn leaf(pfn: Pfn, perms: Perms, level: u8) -> Self {
        Self::from_raw(F::leaf(pfn, perms, level))
    }
    /// A pointer to a lower table.
    #[inline]
    pub fn table(pfn: Pfn) -> Self {
        Self::from_raw(F::table(pfn))
    }
    /// A non-present entry.
    #[inline]
    pub fn swap(entry: SwapEntry) -> Self {
        Self::from_raw(F::swap(entry))
    }
    /// What it says.
    #[inline]
    pub fn decode(self, level: u8) -> Decoded {
        F::decode(self.0, level)
    }
    /// Nothing at all.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
    /// Present to the engine.
    #[inline]
    pub fn is_present(self) -> bool {
        F::is_present(self.0)
    }
    /// Present, and maps memory at `level`.
    #[inline]
    pub fn is_leaf(self, level: u8) -> bool {
        F::is_present(self.0) && F::is_leaf(self.0, level)
    }
    /// Points to a lower table.
    #[inline]
    pub fn is_table(self, level: u8) -> bool {
        F::is_table(self.0, level)
    }
    /// Frame of a present entry.
    #[inline]
    pub fn pfn(self) -> Pfn {
        F::pfn(self.0)
    }
    /// Stores are allowed.
    #[inline]
    pub fn is_writable(self) -> bool {
        F::is_writable(self.0)
    }
    /// `PROT_NONE` or NUMA hint.
    #[inline]
    pub fn is_protnone(self) -> bool {
        F::is_protnone(self.0)
    }
    /// No folio behind it.
    #[inline]
    pub fn is_special(self) -> bool {
        F::is_special(self.0)
    }
    /// Dirty.
    #[inline]
    pub fn is_dirty(self) -> bool {
        F::is_dirty(self.0)
    }
    /// Accessed.
    #[inline]
    pub fn is_young(self) -> bool {
        F::is_young(self.0)
    }
    /// userfaultfd write protection.
    #[inline]
    pub fn is_uffd_wp(self) -> bool {
        F::is_uffd_wp(self.0)
    }
    /// Soft-dirty.
    #[inline]
    pub fn is_soft_dirty(self) -> bool {
        F::is_soft_dirty(self.0)
    }
    /// The leaf's permissions, if it is one at `level`.
    #[inline]
    pub fn perms(self, level: u8) -> Option<Perms> {
        match self.decode(level) {
            Decoded::Leaf(_, perms) => Some(perms),
            Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => None,
        }
    }
    /// The same leaf at `level` with permissions `perms`; to be asked of leaves only.
    #[must_use]
    #[inline]
    pub fn with_perms(self, perms: Perms, level: u8) -> Self {
        Self::from_raw(F::with_perms(self.0, perms, level))
    }
    /// The same leaf at `level` without the marks of `gone` ([`Format::without`]); to be asked of
    /// leaves only.
    #[must_use]
    #[inline]
    pub fn without(self, gone: Perms, level: u8) -> Self {
        Self::from_raw(F::without(self.0, gone, level))
    }
    /// The same leaf with its permissions changed by `change`; other entries as they are.
    #[must_use]
    #[inline]
    pub fn map_perms(self, level: u8, change: impl FnOnce(&mut Perms)) -> Self {
        match self.perms(level) {
            None => self,
            Some(mut perms) => {
                change(&mut perms);
                self.with_perms(perms, level)
            }
        }
    }
}
