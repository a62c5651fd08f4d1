//! Groups: 16 leaves of 4 KiB that a processor may keep as one translation of 64 KiB (arm64's
//! contiguous bit, RISC-V's Svnapot).
//!
//! Made by [`Tables::map`]; dissolved by the first edit of a member. Invariants: (1) the members of
//! a group allow the same and map consecutive frames, aligned as the group is; (2) a mark on one is
//! a mark on all, so history is gathered from all; (3) an entry of a group is changed only after
//! the group was emptied, flushed and written again as single leaves.
//! Absent: groups that form after faults. For formats without groups all of it compiles to nothing.
//! Linux: `contpte_try_unfold`, `contpte_ptep_get` (`arch/arm64/mm/contpte.c`), 6.18.

use super::tables::{Place, Tables, user_end};
use super::{Entry, Format, Perms};
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::host::Host;
use crate::sync::Word;
use core::sync::atomic::Ordering;

/// No format has larger groups.
const MOST: usize = 16;

impl<'a, H: Host> Tables<'a, H> {
    /// The member `raw` at `place` of a group, as a leaf of its own, with the history of all.
    #[cold]
    pub(super) fn load_member(&self, place: Place, raw: u64) -> Entry<H::Format> {
        let own = H::Format::alone(raw, place.index);
        let (_, words) = self.group(place);
        let members = words.iter().map(|word| word.load(Ordering::Acquire));
        Entry::from_raw(
            members.filter(|&raw| H::Format::is_grouped(raw)).fold(own, H::Format::gather),
        )
    }

    /// Turns the group that the entry at `place` is a member of, if any, into single leaves. The
    /// table's lock is held.
    ///
    /// A place does not say which address it maps, so every translation is flushed.
    #[inline]
    pub(super) fn ungroup(&self, place: Place) {
        if H::Format::GROUP > 1 && H::Format::is_grouped(self.word(place).load(Ordering::Relaxed)) {
            self.dissolve(place);
        }
    }

    #[cold]
    fn dissolve(&self, place: Place) {
        let (first, words) = self.group(place);
        let mut olds = [0; MOST];
        for (old, word) in olds.iter_mut().zip(words) {
            *old = word.swap(0, Ordering::AcqRel);
        }
        let everything = VirtRange::new(VirtAddr::new(0), user_end::<H::Format>());
        self.host.flush_tlb(self.root, everything);
        let marks = olds.iter().copied().fold(olds[0], H::Format::gather);
        for (n, (&old, word)) in olds.iter().zip(words).enumerate() {
            let own = H::Format::alone(old, first + n);
            word.store(H::Format::gather(own, marks), Ordering::Release);
        }
    }

    /// Maps as many pages as a group has to the frames from `pfn`, from the entry at `place` on, if
    /// the format has groups, `place`, `pfn` and `pages`, which are left to map, allow one, and
    /// nothing is in the way. Returns how many pages that were: none, or all. The table's lock is
    /// held.
    #[inline]
    pub(super) fn store_group(&self, place: Place, pfn: Pfn, perms: Perms, pages: u64) -> u64 {
        let size = H::Format::GROUP as u64;
        let aligned = (place.index as u64).is_multiple_of(size) && pfn.get().is_multiple_of(size);
        if size == 1 || place.level > 0 || !aligned || pages < size {
            return 0;
        }
        let (_, words) = self.group(place);
        if words.iter().any(|word| word.load(Ordering::Relaxed) != 0) {
            return 0;
        }
        for (n, word) in (0..).zip(words) {
            let leaf = H::Format::leaf(pfn.offset(n), perms, 0);
            word.store(H::Format::grouped(leaf), Ordering::Release);
        }
        size
    }

    /// The group that the entry at `place` would be a member of: index of its first entry, and its
    /// entries.
    fn group(&self, place: Place) -> (usize, &'a [Word]) {
        let entries = self.entries(place.table);
        let first = place.index / H::Format::GROUP * H::Format::GROUP;
        (first, entries.get(first..first + H::Format::GROUP).unwrap_or_default())
    }
}
