//! fork of huge entries: shared whole, split so that pinned pages can be copied one by one, or
//! copied whole (hugetlb).
//!
//! Invariant: an entry is split only if its page is exclusive and may be pinned (row F-14), and
//! never in a hugetlb area.
//! Linux: `copy_huge_pmd` (`mm/huge_memory.c`), `copy_hugetlb_page_range` (mm/hugetlb.c), 6.18.

use super::fork::Copier;
use crate::addr::{Pfn, VirtAddr};
use crate::errno::Errno;
use crate::fault::{huge, leaf_perms, normal_page};
use crate::flags::VmFlags;
use crate::frame::{AllocFlags, FrameFlags, Kind};
use crate::host::{Host, Memory};
use crate::hugetlb::{Promised, order_of};
use crate::pgtable::{Decoded, Entry, Perms, Place, level_shift};
use crate::rule::f;

/// What became of a huge entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forked {
    /// The child has its own.
    Done,
    /// It is to be split, and its parts copied.
    Split,
}

impl<H: Host> Copier<'_, H> {
    /// Copies the huge entry at `from`, which covers `at`.
    /// # Errors
    /// ENOMEM: no table, or no huge page for a copy.
    pub(super) fn huge(&self, at: VirtAddr, from: Place) -> Result<Forked, Errno> {
        let level = from.level;
        let base = at.align_down(level_shift(level));
        let to = self.child.tables().make(base, level).map_err(|_| Errno::ENOMEM)?;
        let spare = self.deposit(level)?;
        let forked = self.huge_with(base, from, to);
        match (&forked, spare) {
            // The child is nobody else's yet: its tables need no locks.
            (Ok(Forked::Done), Some(spare)) => self.child.tables().deposit(to.table, spare),
            (Ok(Forked::Split) | Err(_), Some(spare)) => self.parent.machine().put_page(spare),
            (Ok(Forked::Done | Forked::Split) | Err(_), None) => {}
        }
        forked
    }

    /// A table to put aside for the child's huge page.
    /// # Errors
    /// ENOMEM: fork fails for want of it (row F-58).
    fn deposit(&self, level: u8) -> Result<Option<Pfn>, Errno> {
        if level != huge::PMD || !self.vma.is_anonymous() {
            return Ok(None);
        }
        self.child.tables().new_deposit().map(Some).map_err(|_| Errno::ENOMEM)
    }

    fn huge_with(&self, base: VirtAddr, from: Place, to: Place) -> Result<Forked, Errno> {
        let tables = self.parent.tables();
        let level = from.level;
        let guard = tables.lock(from.table);
        let entry = tables.load(from);
        let perms = match entry.decode(level) {
            Decoded::Leaf(_, perms) => perms,
            Decoded::Swap(swap) if self.vma.is_hugetlb() => {
                self.swap(from, to, entry, swap);
                return Ok(Forked::Done);
            }
            Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => return Ok(Forked::Split),
        };
        if let Some(page) = normal_page(entry) {
            let pinned = self.pinned_and_exclusive(base, page);
            if pinned && self.vma.is_hugetlb() {
                drop(guard);
                return self.copy_hugetlb(base, to, page, perms);
            }
            if pinned {
                return Ok(Forked::Split);
            }
            self.share_huge(page)?;
        }
        let cow = self.vma.flags.is_cow_mapping();
        if cow && perms.write {
            self.write_protect(from);
        }
        let shared = self.vma.flags.contains(VmFlags::SHARED);
        let keeps_wp = self.copy.flags.contains(VmFlags::UFFD_WP);
        let theirs = entry.map_perms(level, |perms| {
            perms.write &= !cow;
            perms.dirty &= !shared;
            perms.young = false;
            perms.uffd_wp &= keeps_wp;
        });
        self.child.tables().store(to, theirs);
        Ok(Forked::Done)
    }

    /// Whether the page must not be shared; if it may be, it is exclusive no more.
    fn pinned_and_exclusive(&self, base: VirtAddr, page: Pfn) -> bool {
        let machine = self.parent.machine();
        let (frames, host) = (machine.frames(), machine.host());
        if !frames.is_anon(page) {
            host.decided(f::F_17, base);
            return false;
        }
        if self.is_pinned(base, page) {
            let rule = if self.vma.is_hugetlb() { f::F_15 } else { f::F_14 };
            if host.rule(rule, frames.has(page, FrameFlags::ANON_EXCLUSIVE), base) {
                return true;
            }
            host.decided(f::F_11, base);
        }
        host.decided(f::F_09, base);
        frames.clear(page, FrameFlags::ANON_EXCLUSIVE);
        false
    }

    fn share_huge(&self, page: Pfn) -> Result<(), Errno> {
        let frames = self.parent.machine().frames();
        frames.get(page, 1).map_err(|_| Errno::ENOMEM)?;
        if frames.kind(page) == Kind::Hugetlb {
            frames.map_huge(page, self.child.mapper());
        } else {
            huge::add_mapping(self.child, page);
        }
        Ok(())
    }

    /// The child gets a copy of a pinned page (row F-15).
    fn copy_hugetlb(
        &self,
        base: VirtAddr,
        to: Place,
        page: Pfn,
        perms: Perms,
    ) -> Result<Forked, Errno> {
        let machine = self.parent.machine();
        let order = order_of(self.vma).ok_or(Errno::ENOMEM)?;
        let new = machine
            .take_hugetlb(order, Promised::No, AllocFlags::MOVABLE)
            .map_err(|_| Errno::ENOMEM)?;
        machine.memory().copy(new, page, 1 << order);
        huge::make_anon(machine, self.copy, base, new);
        let mut own = leaf_perms(self.copy);
        own.uffd_wp = perms.uffd_wp && self.copy.flags.contains(VmFlags::UFFD_WP);
        own.write = self.copy.flags.contains(VmFlags::WRITE) && !own.uffd_wp;
        own.dirty = own.write;
        machine.frames().map_huge(new, self.child.mapper());
        self.child.tables().store(to, Entry::leaf(new, own, to.level));
        Ok(Forked::Done)
    }
}
