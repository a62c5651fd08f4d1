//! Huge pages kept aside: a pool per size, and the promises made of its pages.
//!
//! *Reserved*: a free page that a mapping was promised when it was made, so that its fault cannot
//! fail. *Surplus*: a page in use that the pool has too many of; it is freed for good when it comes
//! back. A page in its pool has no reference. Invariants: (1) reserved pages are free pages; (2) a
//! page with [`Kind::Hugetlb`] whose last reference goes returns here, or to the frames if it was
//! never the pool's; (3) pool locks are held for list edits only. Absent: faults
//! ([`crate::fault`]), subpools (`min_size=`), overcommit, NUMA.
//! Linux: mm/hugetlb.c `hugetlb_acct_memory`, `set_max_huge_pages`, `free_huge_folio` (6.18).

use crate::addr::{PMD_ORDER, PUD_ORDER, Pfn};
use crate::errno::Errno;
use crate::file::{File, FileKind};
use crate::flags::VmFlags;
use crate::frame::{AllocFlags, FrameFlags, Kind, Last, Owner};
use crate::host::Host;
use crate::mm::Machine;
use crate::vma::Vma;
use alloc::collections::BTreeSet;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use lock_api::Mutex;

/// Of a huge page: one of its frames failed.
pub(crate) const BROKEN: FrameFlags = FrameFlags::PRIVATE;

/// Of a huge page: it belongs to no pool, and is freed with its last reference.
pub(crate) const TEMPORARY: FrameFlags = FrameFlags::PRIVATE_2;

/// How many pages a pool has, in huge pages (`nr_hugepages`, `free_hugepages`, `resv_hugepages`,
/// `surplus_hugepages`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// All: free or in use, surplus or not.
    pub total: u64,
    /// Free, reserved ones among them.
    pub free: u64,
    /// Promised to mappings.
    pub reserved: u64,
    /// In use, and to be freed for good.
    pub surplus: u64,
}

/// A page is wanted that no mapping was promised, and none is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolEmpty;

/// Whether the taker of a page was promised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promised {
    /// Yes: the promise is used up.
    Yes,
    /// No: only a page that nobody was promised will do.
    No,
}

#[derive(Default)]
struct Pool {
    free: Vec<Pfn>,
    total: u64,
    reserved: u64,
    surplus: u64,
}

impl Pool {
    fn counts(&self) -> PoolCounts {
        let free = self.free.len() as u64;
        PoolCounts { total: self.total, free, reserved: self.reserved, surplus: self.surplus }
    }
    /// Free pages that are surplus and that nobody was promised: out of the pool.
    fn trim(&mut self) -> Vec<Pfn> {
        let unpromised = (self.free.len() as u64).saturating_sub(self.reserved);
        let count = unpromised.min(self.surplus);
        self.surplus -= count;
        self.total -= count;
        let keep = self.free.len() as u64 - count;
        self.free.split_off(usize::try_from(keep).unwrap_or(usize::MAX))
    }
}

/// The pools of a machine: one for 2 MiB, one for 1 GiB pages.
pub struct Pools<H: Host> {
    pools: [Mutex<H::RawMutex, Pool>; 2],
}

impl<H: Host> Default for Pools<H> {
    fn default() -> Self {
        Self { pools: [Mutex::new(Pool::default()), Mutex::new(Pool::default())] }
    }
}

impl<H: Host> Pools<H> {
    fn pool(&self, order: u8) -> Option<&Mutex<H::RawMutex, Pool>> {
        match order {
            PMD_ORDER => Some(&self.pools[0]),
            PUD_ORDER => Some(&self.pools[1]),
            _ => None,
        }
    }
    /// The counts of the pool of pages of `1 << order` frames; all 0 for an order that has no pool.
    pub fn counts(&self, order: u8) -> PoolCounts {
        self.pool(order).map_or_else(PoolCounts::default, |pool| pool.lock().counts())
    }
    /// Promises `pages` pages.
    /// # Errors
    /// ENOMEM: there are not so many that are free and not promised; nothing is promised.
    fn reserve(&self, order: u8, pages: u64) -> Result<(), Errno> {
        let Some(pool) = self.pool(order) else { return Err(Errno::ENOMEM) };
        let mut pool = pool.lock();
        let reserved = pool.reserved.checked_add(pages).ok_or(Errno::ENOMEM)?;
        if reserved > pool.free.len() as u64 {
            return Err(Errno::ENOMEM);
        }
        pool.reserved = reserved;
        Ok(())
    }
}

impl<H: Host> Machine<H> {
    /// Makes the pool of pages of `1 << order` frames `count` pages large
    /// (`/proc/sys/vm/nr_hugepages`), as far as memory and promises allow. Answers how many pages
    /// it has now that are not surplus.
    ///
    /// Pages in use, and pages promised, cannot be taken out at once: they become surplus.
    pub fn resize_hugetlb(&self, order: u8, count: u64) -> u64 {
        let Some(pool) = self.hugetlb().pool(order) else { return 0 };
        self.return_strays();
        let gone = {
            let mut pool = pool.lock();
            let persistent = pool.total - pool.surplus;
            if count >= persistent {
                pool.surplus -= pool.surplus.min(count - persistent);
            } else {
                pool.surplus += persistent - count;
            }
            pool.trim()
        };
        for pfn in gone {
            self.frames().free(pfn);
        }
        loop {
            let counts = pool.lock().counts();
            let persistent = counts.total - counts.surplus;
            if persistent >= count {
                return persistent;
            }
            let how = AllocFlags::MOVABLE;
            let Ok(new) = self.frames().alloc(self.host(), order, Kind::Hugetlb, how) else {
                return persistent;
            };
            // Nobody else knows the page, so its one reference is ours to take away.
            self.frames().freeze(new, 1);
            let mut pool = pool.lock();
            pool.free.push(new);
            pool.total += 1;
        }
    }
    /// Takes a page out of its pool that lies where `how` allows: one reference, its bytes
    /// undefined.
    /// # Errors
    /// [`PoolEmpty`]: none is left there that nobody was promised.
    pub(crate) fn take_hugetlb(
        &self,
        order: u8,
        promised: Promised,
        how: AllocFlags,
    ) -> Result<Pfn, PoolEmpty> {
        self.return_strays();
        let mut pool = self.hugetlb().pool(order).ok_or(PoolEmpty)?.lock();
        match promised {
            Promised::Yes => pool.reserved = pool.reserved.saturating_sub(1),
            Promised::No if pool.free.len() as u64 <= pool.reserved => return Err(PoolEmpty),
            Promised::No => {}
        }
        let anywhere = how.contains(AllocFlags::MOVABLE);
        let fits = |page: &Pfn| anywhere || self.frames().zone(*page).is_longterm_pinnable();
        let place = pool.free.iter().rposition(fits).ok_or(PoolEmpty)?;
        let page = pool.free.remove(place);
        self.frames().unfreeze(page, 1);
        Ok(page)
    }
    /// A page for another one of the same pool to move to, where `how` allows: one that is free and
    /// promised to nobody, or a new one that belongs to no pool yet. Pages of 1 GiB are never made
    /// anew.
    /// # Linux
    /// `alloc_hugetlb_folio_nodemask()`.
    pub(crate) fn hugetlb_to_move_to(&self, order: u8, how: AllocFlags) -> Option<Pfn> {
        if let Ok(page) = self.take_hugetlb(order, Promised::No, how) {
            return Some(page);
        }
        if order != PMD_ORDER {
            return None;
        }
        let page = self.frames().alloc(self.host(), order, Kind::Hugetlb, how).ok()?;
        self.frames().set(page, TEMPORARY);
        Some(page)
    }
    /// A huge page has lost its last reference: back into its pool, or out of it.
    pub(crate) fn return_hugetlb(&self, head: Pfn) {
        let frames = self.frames();
        let flags = frames.flags(head);
        let broken = flags.contains(BROKEN);
        let temporary = flags.contains(TEMPORARY);
        frames.clear(head, flags.difference(FrameFlags::PER_PAGE));
        frames.clear(head, FrameFlags::ANON_EXCLUSIVE);
        frames.set_owner(head, Owner::default());
        let gone = self.hugetlb().pool(frames.order(head)).map_or_else(
            || Vec::from([head]),
            |pool| {
                let mut pool = pool.lock();
                // A page that is not the pool's; a mirror has such, too.
                if temporary || pool.free.len() as u64 >= pool.total {
                    return Vec::from([head]);
                }
                if broken {
                    pool.total -= 1;
                    return Vec::from([head]);
                }
                pool.free.push(head);
                pool.trim()
            },
        );
        for pfn in gone {
            frames.free(pfn);
        }
    }
    fn return_strays(&self) {
        for head in self.frames().take_strays() {
            self.return_hugetlb(head);
        }
    }
    /// Takes back `pages` promises.
    fn unreserve(&self, order: u8, pages: u64) {
        let Some(pool) = self.hugetlb().pool(order) else { return };
        let gone = {
            let mut pool = pool.lock();
            pool.reserved = pool.reserved.saturating_sub(pages);
            pool.trim()
        };
        for pfn in gone {
            self.frames().free(pfn);
        }
    }
}

/// Promises to one file, or to one private mapping of one: which of its pages it will not have to
/// ask for.
///
/// Indexes count huge pages in the file. What is left is given back when this is dropped.
pub struct Reservation<H: Host> {
    home: Weak<Machine<H>>,
    order: u8,
    promised: Mutex<H::RawMutex, BTreeSet<u64>>,
}

impl<H: Host> Reservation<H> {
    /// No promises yet, of pages of `1 << order` frames.
    pub(crate) fn new(machine: &Arc<Machine<H>>, order: u8) -> Self {
        let home = Arc::downgrade(machine);
        Self { home, order, promised: Mutex::new(BTreeSet::new()) }
    }
    /// Adds promises for `indexes`, but for those that `has` a page already, or a promise.
    /// # Errors
    /// ENOMEM: the pool cannot keep them all; none is added.
    fn add(&self, indexes: Range<u64>, has: impl Fn(u64) -> bool) -> Result<(), Errno> {
        let Some(machine) = self.home.upgrade() else { return Err(Errno::ENOMEM) };
        let counts = machine.hugetlb().counts(self.order);
        // So that an absurd length does not fill memory with numbers.
        if indexes.end.saturating_sub(indexes.start) > counts.total.saturating_add(1 << 20) {
            return Err(Errno::ENOMEM);
        }
        let mut promised = self.promised.lock();
        let new: Vec<u64> = indexes.filter(|n| !promised.contains(n) && !has(*n)).collect();
        machine.hugetlb().reserve(self.order, new.len() as u64)?;
        promised.extend(new);
        Ok(())
    }
    /// Uses up the promise for page `index`, if there is one.
    pub(crate) fn take(&self, index: u64) -> Promised {
        if self.promised.lock().remove(&index) { Promised::Yes } else { Promised::No }
    }
    /// A promise for page `index` again: its page has just come back to the pool.
    pub(crate) fn restore(&self, index: u64) {
        let Some(machine) = self.home.upgrade() else { return };
        let mut promised = self.promised.lock();
        if !promised.contains(&index) && machine.hugetlb().reserve(self.order, 1).is_ok() {
            promised.insert(index);
        }
    }
    /// Gives back the promises for `indexes`: they are mapped no more, or truncated.
    pub(crate) fn give_back(&self, indexes: Range<u64>) {
        let gone = {
            let mut promised = self.promised.lock();
            let gone: Vec<u64> = promised.range(indexes).copied().collect();
            for index in &gone {
                promised.remove(index);
            }
            gone.len() as u64
        };
        if let Some(machine) = self.home.upgrade() {
            machine.unreserve(self.order, gone);
        }
    }
}

impl<H: Host> Drop for Reservation<H> {
    fn drop(&mut self) {
        self.give_back(0..u64::MAX);
    }
}

/// The order of the area's huge pages, if it is a hugetlb area.
pub fn order_of<H: Host>(vma: &Vma<H>) -> Option<u8> {
    vma.backing.file().and_then(|file| file.huge_order())
}

impl<H: Host> File<H> {
    /// The order of its pages, if it is on hugetlbfs.
    pub fn huge_order(&self) -> Option<u8> {
        match self.kind() {
            FileKind::Hugetlb(order) => Some(order),
            FileKind::Regular
            | FileKind::NoWriteback
            | FileKind::Fsdax
            | FileKind::Shmem
            | FileKind::Secret => None,
        }
    }
}

impl<H: Host> File<H> {
    /// Pages `first..end` (base pages) are gone: so are the promises for those that never came.
    pub(crate) fn give_promises_back(&self, first: u64, end: u64) {
        let promise = self.promise.lock().clone();
        if let (Some(promise), Some(order)) = (promise, self.huge_order()) {
            promise.give_back(first >> order..end >> order);
        }
    }
}

/// Promises the pages of a new mapping of `file`, `pages` base pages from page `pgoff` on: to the
/// file if the mapping is shared, else to the mapping, which keeps what is returned.
/// # Errors
/// ENOMEM: the pool cannot keep the promise.
/// # Linux
/// `hugetlb_reserve_pages()`.
pub(crate) fn reserve<H: Host>(
    machine: &Arc<Machine<H>>,
    file: &File<H>,
    flags: VmFlags,
    pgoff: u64,
    pages: u64,
) -> Result<Option<Arc<Reservation<H>>>, Errno> {
    let Some(order) = file.huge_order() else { return Ok(None) };
    if flags.contains(VmFlags::NORESERVE) {
        return Ok(None);
    }
    let indexes = pgoff >> order..pgoff.saturating_add(pages) >> order;
    if flags.contains(VmFlags::MAYSHARE) {
        let promise = {
            let mut slot = file.promise.lock();
            Arc::clone(slot.get_or_insert_with(|| Arc::new(Reservation::new(machine, order))))
        };
        promise.add(indexes, |index| file.has_page(index << order))?;
        return Ok(None);
    }
    let promise = Arc::new(Reservation::new(machine, order));
    promise.add(indexes, |_| false)?;
    Ok(Some(promise))
}

/// Who may have been promised the area's pages: its file, or itself.
pub(crate) fn promise_of<H: Host>(vma: &Vma<H>) -> Option<Arc<Reservation<H>>> {
    if vma.flags.contains(VmFlags::MAYSHARE) {
        vma.backing.file().and_then(|file| file.promise.lock().clone())
    } else {
        vma.promise.clone()
    }
}

/// The area is gone: what it was promised and did not use is given back.
pub(crate) fn area_gone<H: Host>(vma: &Vma<H>) {
    if let (Some(promise), Some(order)) = (&vma.promise, order_of(vma)) {
        let first = vma.pgoff() >> order;
        promise.give_back(first..first.saturating_add(vma.range().pages() >> order));
    }
}

/// Gives one reference to a huge page back, and answers whether it is in its pool again.
pub(crate) fn put_page<H: Host>(machine: &Machine<H>, head: Pfn) -> Last {
    let last = machine.frames().put(head, 1);
    if last == Last::Yes {
        machine.return_hugetlb(head);
    }
    last
}
