//! fork: a copy of the map, and entries that share or copy its pages.
//!
//! *Shared*: both entries read-only, the page no longer exclusive; whoever stores first copies. A
//! page that may be pinned is copied at once instead, for the child, so that the pin's owner keeps
//! the page the pin names (row F-10); v4.4 does not do that (row F-20). Invariants: the parent's
//! mmap lock is held for writing; [`Mm::write_protect_seq`] is odd while entries of private areas
//! are copied (rows F-08, F-55); a child that is not finished is torn down, and the parent's pages
//! that were shared with it meanwhile become reusable again by their counts. Absent: limits,
//! accounting, vfork.
//! Linux: kernel/fork.c `dup_mmap`, mm/memory.c `copy_page_range` (6.18).

use super::fork_huge::Forked;
use super::limits;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::errno::Errno;
use crate::fault::{
    add_first_mapping, counter_of, leaf_perms, new_anon_page, normal_page, split_leaf,
};
use crate::flags::VmFlags;
use crate::frame::{AllocFlags, FrameFlags, GUP_PIN_COUNTING_BIAS, Kind};
use crate::host::{Gap, Host, Injection, Memory};
use crate::linux::Linux;
use crate::mm::{Counter, Mm, MmWrite};
use crate::observe::Observer;
use crate::pgtable::{Decoded, ENTRIES, Entry, Perms, Place, SwapEntry, level_shift, level_span};
use crate::rule::{f, m, s};
use crate::sync::fence;
use crate::task::Task;
use crate::vma::{AnonVma, Map, Vma};
use alloc::sync::Arc;
use core::sync::atomic::{Ordering::Acquire, Ordering::SeqCst};

const UFFD: VmFlags = VmFlags::UFFD_MISSING.union(VmFlags::UFFD_WP).union(VmFlags::UFFD_MINOR);

/// Makes a copy of the address space, as fork does for its child.
///
/// The copy has no locked areas (row M-07), nothing of `VM_DONTCOPY` areas, empty `VM_WIPEONFORK`
/// areas (row F-18), and was never pinned (row F-19).
/// # Errors
/// ENOMEM: no memory, or SIGKILL is pending for `task`. The parent's entries may have become
/// read-only, which its next stores undo.
/// # Linux
/// `dup_mm()`.
pub fn fork<H: Host>(parent: &mut MmWrite<'_, H>, task: &Task) -> Result<Arc<Mm<H>>, Errno> {
    let child = Mm::new(parent.mm().machine()).map_err(|_| Errno::ENOMEM)?;
    copy_map(parent, &child, task)?;
    Ok(child)
}

fn copy_map<H: Host>(
    parent: &MmWrite<'_, H>,
    child: &Arc<Mm<H>>,
    task: &Task,
) -> Result<(), Errno> {
    let host = child.machine().host();
    let mut map = child.write();
    map.mmap_base = parent.mmap_base;
    map.start_brk = parent.start_brk;
    map.brk = parent.brk;
    for vma in parent.iter() {
        if host.rule(f::F_18, vma.flags.contains(VmFlags::DONTCOPY), vma.start()) {
            continue;
        }
        if host.signals(task).fatal || host.inject(Injection::Bookkeeping) {
            return Err(Errno::ENOMEM);
        }
        let copy = child_area(child, &mut map, vma);
        if let Some(file) = copy.backing.file() {
            file.add_mapper(child);
        }
        let pages = copy.range().pages();
        if copy.flags.contains(VmFlags::ACCOUNT) {
            limits::charge(child.machine(), pages)?;
        }
        limits::account(&mut map, copy.flags, pages);
        let start = copy.start();
        map.insert(copy);
        let Some(copy) = map.lookup(start) else { continue };
        copy_area(parent.mm(), child, vma, copy)?;
        host.relax();
    }
    Ok(())
}

/// The child's area.
fn child_area<H: Host>(child: &Mm<H>, map: &mut Map<H>, vma: &Vma<H>) -> Vma<H> {
    let host = child.machine().host();
    let mut copy = vma.like(map.new_id(), vma.range());
    let locked = copy.flags.intersects(VmFlags::LOCKED | VmFlags::LOCKONFAULT);
    if host.rule(m::M_07, locked, vma.start()) {
        copy.flags -= VmFlags::LOCKED | VmFlags::LOCKONFAULT;
    }
    let wiped = vma.flags.contains(VmFlags::WIPEONFORK);
    let anon = vma.anon_vma().filter(|_| !wiped);
    // Promises of huge pages stay with the parent.
    copy.promise = None;
    copy.set_anon_vma(anon.map(|_| AnonVma { id: child.machine().new_id(), inherited: true }));
    if !copy.uffd.as_ref().is_some_and(|context| context.event_fork()) {
        copy.uffd = None;
        copy.flags -= UFFD;
    }
    copy
}

/// Copies the entries of one area, if they have to be copied: a fault would fill them again
/// otherwise.
fn copy_area<H: Host>(
    parent: &Mm<H>,
    child: &Mm<H>,
    vma: &Vma<H>,
    copy: &Vma<H>,
) -> Result<(), Errno> {
    let host = parent.machine().host();
    if host.rule(f::F_18, vma.flags.contains(VmFlags::WIPEONFORK), vma.start()) {
        return Ok(());
    }
    let needed = copy.flags.contains(VmFlags::UFFD_WP)
        || vma.flags.intersects(VmFlags::PFNMAP | VmFlags::MIXEDMAP | VmFlags::MAYBE_GUARD)
        || vma.anon_vma().is_some();
    if host.rule(f::F_08, !needed, vma.start()) {
        return Ok(());
    }
    let copier = Copier { parent, child, vma, copy };
    if !vma.flags.is_cow_mapping() {
        return copier.entries();
    }
    host.decided(f::F_55, vma.start());
    parent.write_protect_seq.fetch_add(1, SeqCst);
    fence(SeqCst);
    let result = copier.entries();
    parent.write_protect_seq.fetch_add(1, SeqCst);
    // Entries may have lost their write permission, whatever the result.
    host.flush_tlb(parent.root(), vma.range());
    result
}

/// What a shared or copied page becomes in the child.
enum Duplicate {
    /// Both map the same page, which this counter counts.
    Shared(Counter),
    /// The child has a page of its own.
    Copied(Pfn),
}

/// Pages that the child got of one table, by counter: they are counted together.
struct Counted([(Counter, i64); 4]);

impl Default for Counted {
    fn default() -> Self {
        Self([Counter::File, Counter::Anon, Counter::Swap, Counter::Shmem].map(|one| (one, 0)))
    }
}

impl Counted {
    #[inline]
    fn add(&mut self, counter: Counter) {
        self.0[counter as usize].1 += 1;
    }
}

pub(super) struct Copier<'a, H: Host> {
    pub(super) parent: &'a Mm<H>,
    pub(super) child: &'a Mm<H>,
    pub(super) vma: &'a Vma<H>,
    /// The child's area.
    pub(super) copy: &'a Vma<H>,
}

impl<H: Host> Copier<'_, H> {
    fn host(&self) -> &H {
        self.parent.machine().host()
    }

    fn entries(&self) -> Result<(), Errno> {
        let tables = self.parent.tables();
        let mut at = self.vma.start();
        while at < self.vma.end() {
            let found = tables.walk(at);
            let level = found.place.level;
            if level == 0 {
                at = self.table(at, found.place)?;
            } else if found.entry.is_none() || self.huge(at, found.place)? == Forked::Done {
                at = at.align_down(level_shift(level)).saturating_add(level_span(level));
            } else {
                split_leaf(self.parent, at).map_err(|_| Errno::ENOMEM)?;
            }
        }
        Ok(())
    }

    /// Copies the entries of one table from `at`, whose entry is at `from`. Answers where to go on.
    fn table(&self, at: VirtAddr, from: Place) -> Result<VirtAddr, Errno> {
        let end = self.vma.end().pages_from(at).min((ENTRIES - from.index) as u64);
        let mut shared = Counted::default();
        let copied = self.table_entries(at, from, end, &mut shared);
        for (counter, pages) in shared.0 {
            self.child.add_rss(counter, pages);
        }
        copied.map(|()| at.saturating_add(end << PAGE_SHIFT))
    }

    fn table_entries(
        &self,
        at: VirtAddr,
        from: Place,
        end: u64,
        counted: &mut Counted,
    ) -> Result<(), Errno> {
        let tables = self.parent.tables();
        let words = tables.entries(from.table);
        // The child's tables are known to nobody else, so this lock order cannot meet its reverse.
        // It gets one for each of the parent's, also where that has no entry.
        let _guard = tables.lock(from.table);
        let Place { table, .. } = self.child.tables().make(at, 0).map_err(|_| Errno::ENOMEM)?;
        for n in 0..end {
            #[allow(clippy::cast_possible_truncation, reason = "below 512")]
            let from = Place { index: from.index + n as usize, ..from };
            let entry = tables.entry_of(from, words[from.index % ENTRIES].load(Acquire));
            if entry.is_none() {
                continue;
            }
            let addr = at.saturating_add(n << PAGE_SHIFT);
            let to = Place { table, ..from };
            if entry.is_present() {
                self.leaf(addr, (from, entry), to, counted)?;
            } else if let Decoded::Swap(swap) = entry.decode(0) {
                self.swap(from, to, entry, swap);
            }
        }
        Ok(())
    }

    #[inline]
    fn leaf(
        &self,
        addr: VirtAddr,
        (from, entry): (Place, Entry<H::Format>),
        to: Place,
        counted: &mut Counted,
    ) -> Result<(), Errno> {
        let keeps_wp = self.copy.flags.contains(VmFlags::UFFD_WP);
        if let Some(page) = normal_page(entry) {
            if self.share_unpinned(addr, page)? {
                counted.add(Counter::Anon);
            } else {
                match self.duplicate(addr, page)? {
                    Duplicate::Shared(counter) => counted.add(counter),
                    Duplicate::Copied(new) => {
                        self.map_copy(addr, to, new, entry.is_uffd_wp() && keeps_wp);
                        return Ok(());
                    }
                }
            }
        }
        let cow = self.vma.flags.is_cow_mapping();
        if cow && entry.is_writable() {
            let protected = entry.without(Perms { write: true, ..Perms::default() }, 0);
            if self.parent.tables().compare_exchange(from, entry, protected).is_err() {
                self.write_protect(from);
            }
        }
        let gone = Perms {
            write: cow,
            young: true,
            dirty: self.vma.flags.contains(VmFlags::SHARED),
            uffd_wp: !keeps_wp,
            ..Perms::default()
        };
        self.child.tables().store(to, entry.without(gone, 0));
        Ok(())
    }

    /// Maps the page that was copied for the child.
    fn map_copy(&self, addr: VirtAddr, to: Place, new: Pfn, uffd_wp: bool) {
        let mut own = leaf_perms(self.copy);
        own.dirty = true;
        own.uffd_wp = self.host().rule(s::S_08, uffd_wp, addr);
        own.write = self.copy.flags.contains(VmFlags::WRITE) && !own.uffd_wp;
        add_first_mapping(self.child, new);
        self.child.tables().store(to, Entry::leaf(new, own, 0));
    }

    /// Takes the store permission from the parent's entry; the hardware may mark it meanwhile.
    pub(super) fn write_protect(&self, from: Place) {
        let tables = self.parent.tables();
        loop {
            let seen = tables.load(from);
            let protected = seen.map_perms(from.level, |perms| perms.write = false);
            if tables.compare_exchange(from, seen, protected).is_ok() {
                return;
            }
        }
    }

    /// The ordinary case, told by one look: nothing was ever pinned here, and the page is a small
    /// one, exclusive to the entry. Shares it as [`Self::duplicate`] would; no if it is another.
    #[inline]
    fn share_unpinned(&self, addr: VirtAddr, page: Pfn) -> Result<bool, Errno> {
        if self.parent.has_pinned.load(SeqCst) {
            return Ok(false);
        }
        let (frames, host) = (self.parent.machine().frames(), self.host());
        let shared = frames.share_exclusive(page, || host.gap(Gap::Unpinned));
        let shared = shared.map_err(|_| Errno::ENOMEM)?;
        host.decided_if(f::F_09, shared, addr);
        Ok(shared)
    }

    /// Shares the page with the child, which gets a reference and a mapping, or copies it.
    #[inline(never)]
    fn duplicate(&self, addr: VirtAddr, page: Pfn) -> Result<Duplicate, Errno> {
        let machine = self.parent.machine();
        let frames = machine.frames();
        let folio = frames.folio(page);
        if folio.kind != Kind::Anon {
            machine.host().decided(f::F_17, addr);
            frames.get(page, 1).map_err(|_| Errno::ENOMEM)?;
            frames.map(page, self.child.mapper());
            return Ok(Duplicate::Shared(counter_of(frames, page)));
        }
        let exclusive = frames.has(page, FrameFlags::ANON_EXCLUSIVE);
        if self.is_pinned(addr, page) {
            let copies = machine.host().rule(f::F_10, exclusive, addr);
            if copies && machine.host().rule(s::S_06, true, addr) {
                return self.copy_now(addr, page).map(Duplicate::Copied);
            }
            machine.host().decided(f::F_11, addr);
        }
        machine.host().decided(f::F_09, addr);
        machine.host().gap(Gap::Unpinned);
        frames.clear(page, FrameFlags::ANON_EXCLUSIVE);
        frames.get(page, 1).map_err(|_| Errno::ENOMEM)?;
        frames.map(page, self.child.mapper());
        Ok(Duplicate::Shared(Counter::Anon))
    }

    /// Somebody may have pinned the page; v4.4 does not ask (row F-20).
    #[inline]
    pub(super) fn is_pinned(&self, addr: VirtAddr, page: Pfn) -> bool {
        let machine = self.parent.machine();
        // MMF_HAS_PINNED is never taken back, and a child begins without it.
        let may = self.parent.has_pinned.load(SeqCst);
        let may = machine.host().rule(f::F_19, may, addr);
        if !may && !H::Observer::ON {
            return false;
        }
        // A large folio's pins are counted, not guessed from its references.
        let large = machine.frames().is_large(page);
        let guessed = large && !machine.host().rule(s::S_17, large, addr);
        let many = guessed && machine.frames().refs(page) >= GUP_PIN_COUNTING_BIAS;
        let pinned = may && (many || !guessed && machine.frames().maybe_pinned(page));
        let blind = pinned && machine.linux() == Linux::V4_4;
        pinned && !machine.host().rule(f::F_20, blind, addr)
    }

    fn copy_now(&self, addr: VirtAddr, page: Pfn) -> Result<Pfn, Errno> {
        let machine = self.parent.machine();
        let host = machine.host();
        if host.rule(f::F_12, machine.frames().has(page, FrameFlags::HWPOISON), addr) {
            return Err(Errno::ENOMEM);
        }
        let new = new_anon_page(machine, self.copy, addr, AllocFlags::MOVABLE).map_err(|_| {
            host.decided(f::F_12, addr);
            Errno::ENOMEM
        })?;
        machine.memory().copy(new, page, 1);
        Ok(new)
    }

    /// Copies an entry that is not present (row F-16).
    pub(super) fn swap(&self, from: Place, to: Place, entry: Entry<H::Format>, swap: SwapEntry) {
        let keeps_wp = self.copy.flags.contains(VmFlags::UFFD_WP);
        let theirs = match swap {
            SwapEntry::Swap { slot, exclusive, uffd_wp, soft_dirty } => {
                self.parent.machine().swap().add_user(slot);
                self.child.add_rss(Counter::Swap, 1);
                let shared = |uffd_wp| {
                    Entry::swap(SwapEntry::Swap { slot, exclusive: false, uffd_wp, soft_dirty })
                };
                if exclusive {
                    self.parent.machine().host().decided(f::F_16, self.vma.start());
                    self.parent.tables().store(from, shared(uffd_wp));
                }
                shared(uffd_wp && keeps_wp)
            }
            SwapEntry::Migration { pfn, write, .. } => {
                let frames = self.parent.machine().frames();
                self.child.add_rss(counter_of(frames, pfn), 1);
                let cow = self.vma.flags.is_cow_mapping();
                let write = write && !cow;
                let shared = Entry::swap(SwapEntry::Migration { pfn, write, exclusive: false });
                if self.host().rule(f::F_16, cow, self.vma.start()) {
                    self.parent.tables().store(from, shared);
                }
                shared
            }
            SwapEntry::UffdWp if !keeps_wp => return,
            SwapEntry::HwPoison(_) | SwapEntry::UffdWp | SwapEntry::Poisoned | SwapEntry::Guard => {
                entry
            }
        };
        self.child.tables().store(to, theirs);
    }
}
