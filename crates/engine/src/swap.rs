//! Swap: slots that hold pages which are in no memory, and the swap cache.
//!
//! *Slot*: one page on the device. *User*: an entry, or a place in a shmem file, that names the
//! slot. *Swap cache*: the page that a slot's bytes are also in; it holds one reference. A slot is
//! free when it has neither. Invariants: a page is in the swap cache exactly if SWAPCACHE is set;
//! it is there for one slot only. Lock order: this lock comes after page-table and page-cache
//! locks. Absent: who reclaims, and when. Linux: mm/swapfile.c, `mm/swap_state.c` (6.18).

use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::frame::{AllocFlags, FrameFlags, Kind, Owner};
use crate::host::{Host, Injection, Memory, ReadMode, Store, StoreRead, StoreWrite, Ticket};
use crate::mm::Machine;
use crate::rule::{f, m};
use crate::sync::fence;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Acquire;
use lock_api::{Mutex, MutexGuard};

/// Of a page of the swap cache: it was read ahead, and nobody has asked for it yet.
pub(crate) const READ_AHEAD: FrameFlags = FrameFlags::PRIVATE_2;

/// Why a slot's page is not at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapError {
    /// It is being read; ask again when the ticket is ready.
    NotYet(Ticket),
    /// The device failed, or there is no such slot.
    Failed,
    /// No frame for it.
    OutOfMemory,
}

/// A page that was read from a slot. The caller has one reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwappedIn {
    /// It is in the swap cache, and was there before.
    Cached(Pfn),
    /// It was read now, and is in the swap cache.
    Read(Pfn),
    /// It was read now, and nobody else can find it (row M-12).
    Fresh(Pfn),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Empty,
    Page(Pfn),
    Reading(Pfn, Ticket),
}

struct Slot {
    users: u32,
    cache: Cache,
    /// How often it was freed, or lost its page of the swap cache.
    generation: u32,
}

struct Device {
    store: Option<Arc<dyn Store>>,
    slots: Vec<Slot>,
    free: Vec<u64>,
    /// The slot of each page of the swap cache.
    cached: BTreeMap<Pfn, u64>,
}

/// The machine's swap.
pub struct Swap<H: Host> {
    device: Mutex<H::RawMutex, Device>,
}

impl<H: Host> Default for Swap<H> {
    fn default() -> Self {
        let (slots, free, cached) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { device: Mutex::new(Device { store: None, slots, free, cached }) }
    }
}

impl Device {
    fn slot(&mut self, slot: u64) -> Option<&mut Slot> {
        usize::try_from(slot).ok().and_then(|n| self.slots.get_mut(n))
    }
    /// Puts the slot on the free list if nothing needs it any more.
    fn release(&mut self, slot: u64) {
        let idle = self.slot(slot).is_some_and(|s| s.users == 0 && s.cache == Cache::Empty);
        if idle && !self.free.contains(&slot) {
            self.free.push(slot);
            if let Some(entry) = self.slot(slot) {
                entry.generation = entry.generation.wrapping_add(1);
            }
        }
    }
}

impl<H: Host> Swap<H> {
    /// Adds `slots` slots on `store` (`swapon`). There is one device; a second call is refused, and
    /// so are more slots than memory can count.
    pub fn on(&self, store: Arc<dyn Store>, slots: u64) -> bool {
        let mut device = self.device.lock();
        if device.store.is_some() {
            return false;
        }
        let Ok(count) = usize::try_from(slots) else { return false };
        let room = device.free.try_reserve_exact(count);
        if room.and_then(|()| device.slots.try_reserve_exact(count)).is_err() {
            return false;
        }
        device.store = Some(store);
        device.free.extend((0..slots).rev());
        device.slots.resize_with(count, || Slot { users: 0, cache: Cache::Empty, generation: 0 });
        true
    }
    /// Slots that are free.
    pub fn free_slots(&self) -> usize {
        self.device.lock().free.len()
    }
    /// How many entries name `slot`.
    pub fn users(&self, slot: u64) -> u32 {
        self.device.lock().slot(slot).map_or(0, |s| s.users)
    }
    /// How often `slot` was freed, or lost its page of the swap cache: its bytes may be others
    /// since then.
    pub(crate) fn generation(&self, slot: u64) -> u32 {
        self.device.lock().slot(slot).map_or(0, |s| s.generation)
    }
    /// Whether `page`, which was read since `slot` was of that generation, has the slot's bytes: no
    /// other page got them meanwhile, to be stored to and maybe written back, all while the reader
    /// of a slot with a single user was on its way past the swap cache (row M-12).
    /// # Linux
    /// CVE-2024-26759 (`swapcache_prepare()` in `do_swap_page()`).
    pub(crate) fn is_page_of(&self, slot: u64, generation: u32, page: Pfn) -> bool {
        let mut device = self.device.lock();
        device.slot(slot).is_some_and(|entry| {
            entry.generation == generation
                && match entry.cache {
                    Cache::Empty => true,
                    Cache::Page(there) | Cache::Reading(there, _) => there == page,
                }
        })
    }
    /// The slot that the page is in the swap cache for.
    pub fn slot_of(&self, page: Pfn) -> Option<u64> {
        self.device.lock().cached.get(&page).copied()
    }

    /// Takes a free slot for `page`, and puts the page into the swap cache for it; no user yet.
    ///
    /// `None` without a free slot, without one more reference, or if the host injected that.
    pub(crate) fn add_page(&self, machine: &Machine<H>, page: Pfn) -> Option<u64> {
        if machine.host().inject(Injection::SwapSlot) {
            return None;
        }
        let mut device = self.device.lock();
        let slot = *device.free.last()?;
        machine.frames().get(page, 1).ok()?;
        device.free.pop();
        machine.frames().set(page, FrameFlags::SWAPCACHE | FrameFlags::DIRTY);
        device.cached.insert(page, slot);
        device.slot(slot)?.cache = Cache::Page(page);
        Some(slot)
    }
    /// Takes a free slot for one entry, which the caller makes; its bytes are what the store has
    /// there.
    ///
    /// For hosts that install a page that was swapped out elsewhere. `None` without a free slot.
    pub fn lend(&self) -> Option<u64> {
        let mut device = self.device.lock();
        let slot = device.free.pop()?;
        device.slot(slot)?.users = 1;
        Some(slot)
    }
    /// One more entry names `slot`.
    pub(crate) fn add_user(&self, slot: u64) {
        if let Some(slot) = self.device.lock().slot(slot) {
            slot.users = slot.users.saturating_add(1);
        }
    }
    /// One entry less names `slot`. A page of the swap cache that nobody maps leaves it with the
    /// last one.
    pub(crate) fn drop_user(&self, machine: &Machine<H>, slot: u64) {
        let mut device = self.device.lock();
        let Some(entry) = device.slot(slot) else { return };
        entry.users = entry.users.saturating_sub(1);
        let (users, cache) = (entry.users, entry.cache);
        match cache {
            // Under the lock: the page in the cache may become another one, when it moves.
            Cache::Page(page) | Cache::Reading(page, _)
                if users == 0 && !machine.frames().is_mapped(page) =>
            {
                Self::evict(device, machine, page, slot);
            }
            Cache::Empty | Cache::Page(_) | Cache::Reading(..) => device.release(slot),
        }
    }
    /// Takes the page out of the swap cache if nobody maps it and no entry names its slot.
    pub(crate) fn drop_unmapped(&self, machine: &Machine<H>, page: Pfn) {
        if !machine.frames().is_mapped(page) {
            self.try_free(machine, page);
        }
    }
    /// Takes the page out of the swap cache, unless an entry names its slot (`folio_free_swap`).
    /// Answers whether it is out of it.
    pub(crate) fn try_free(&self, machine: &Machine<H>, page: Pfn) -> bool {
        self.take_out(machine, page, |users| users == 0)
    }
    /// Takes the written page out of the swap cache, though entries name its slot: its bytes are
    /// there. Answers whether it is out of it: not if there are more than `refs` references, or it
    /// was stored to since it was written (row F-49).
    pub(crate) fn forget_page(&self, machine: &Machine<H>, page: Pfn, refs: u32) -> bool {
        let frames = machine.frames();
        self.take_out(machine, page, |_| {
            let held = frames.refs(page) > refs;
            // Whoever dirtied the page had a reference: asked only then, the answer is the last.
            fence(Acquire);
            let dirtied = frames.has(page, FrameFlags::DIRTY);
            !held && !machine.host().rule(f::F_49, dirtied, VirtAddr::new(0))
        })
    }
    /// Takes the page out of the swap cache, if its slot, which so many entries name, `may` go. New
    /// references to it come from the cache only, whose lock is held then.
    fn take_out(&self, machine: &Machine<H>, page: Pfn, may: impl FnOnce(u32) -> bool) -> bool {
        let mut device = self.device.lock();
        let Some(&slot) = device.cached.get(&page) else { return true };
        if !device.slot(slot).is_some_and(|entry| may(entry.users)) {
            return false;
        }
        Self::evict(device, machine, page, slot);
        true
    }
    /// Takes the page, which is in the cache for `slot`, out of it.
    fn evict(
        mut device: MutexGuard<'_, H::RawMutex, Device>,
        machine: &Machine<H>,
        page: Pfn,
        slot: u64,
    ) {
        if let Some(entry) = device.slot(slot) {
            entry.cache = Cache::Empty;
            entry.generation = entry.generation.wrapping_add(1);
        }
        device.cached.remove(&page);
        device.release(slot);
        machine.frames().clear(page, FrameFlags::SWAPCACHE);
        drop(device);
        machine.put_page(page);
    }

    /// Puts `new` in the place of `old` in the swap cache, if `old` has exactly `refs` references;
    /// it is left with one fewer, and `new` gets one more, when `carry` has made it the same.
    pub(crate) fn replace(
        &self,
        machine: &Machine<H>,
        old: Pfn,
        new: Pfn,
        refs: u32,
        carry: impl FnOnce(),
    ) -> bool {
        let mut device = self.device.lock();
        let Some(&slot) = device.cached.get(&old) else { return false };
        let frames = machine.frames();
        if frames.get(new, 1).is_err() {
            return false;
        }
        if !frames.freeze(old, refs) {
            drop(device);
            machine.put_page(new);
            return false;
        }
        carry();
        device.cached.remove(&old);
        device.cached.insert(new, slot);
        if let Some(entry) = device.slot(slot) {
            entry.cache = Cache::Page(new);
        }
        frames.clear(old, FrameFlags::SWAPCACHE);
        frames.set(new, FrameFlags::SWAPCACHE);
        frames.unfreeze(old, refs - 1);
        true
    }

    /// Writes the page to its slot. Answers whether its bytes are kept there now.
    pub(crate) fn write(&self, machine: &Machine<H>, slot: u64, page: Pfn) -> bool {
        let Some(store) = self.device.lock().store.clone() else { return false };
        let mut bytes = vec![0; PAGE_SIZE as usize];
        machine.memory().read(page, 0, &mut bytes);
        store.write_page(slot, &bytes) == StoreWrite::Done
    }

    /// The page of `slot`, from the swap cache or from the device.
    ///
    /// A slot with a single user is read past the swap cache if it is at hand (row M-12).
    /// # Errors
    /// [`SwapError`]; with [`ReadMode::Block`] never [`SwapError::NotYet`].
    pub(crate) fn read(
        &self,
        machine: &Machine<H>,
        slot: u64,
        mode: ReadMode,
        how: AllocFlags,
    ) -> Result<SwappedIn, SwapError> {
        let mut device = self.device.lock();
        let store = device.store.clone().ok_or(SwapError::Failed)?;
        let entry = device.slot(slot).ok_or(SwapError::Failed)?;
        let (users, generation) = (entry.users, entry.generation);
        let page = match entry.cache {
            Cache::Page(page) => {
                machine.frames().get(page, 1).map_err(|_| SwapError::OutOfMemory)?;
                return Ok(SwappedIn::Cached(page));
            }
            Cache::Reading(page, _) => Some(page),
            Cache::Empty => None,
        };
        drop(device);
        let mut bytes = vec![0; PAGE_SIZE as usize];
        match store.read_page(slot, mode, &mut bytes) {
            StoreRead::Ready => match page {
                Some(page) => self.finish(machine, slot, page, &bytes),
                None => self.fresh(machine, (slot, generation), users, &bytes, how),
            },
            StoreRead::NotYet(_) if mode == ReadMode::Block => Err(SwapError::Failed),
            StoreRead::NotYet(ticket) => {
                self.started(machine, (slot, generation), page, ticket, how)?;
                Err(SwapError::NotYet(ticket))
            }
            StoreRead::Failed => Err(SwapError::Failed),
        }
    }
    /// Whether a reader of `slot` would read it into the swap cache: it is not there, and more than
    /// one entry names it (row M-12).
    pub(crate) fn is_shared_and_away(&self, slot: u64) -> bool {
        let mut device = self.device.lock();
        device.slot(slot).is_some_and(|entry| entry.users > 1 && entry.cache == Cache::Empty)
    }
    /// Brings the page of `slot` into the swap cache ahead of its reader, if it is at hand and
    /// entries name it. Errors are for the reader to find.
    pub(crate) fn read_ahead(&self, machine: &Machine<H>, slot: u64, how: AllocFlags) {
        let _later = self.bring(machine, slot, how, READ_AHEAD);
    }
    /// The same for who was told that the page will be needed (row M-15): a read that cannot end at
    /// once is begun.
    /// # Linux
    /// `read_swap_cache_async()`.
    pub(crate) fn prefetch(&self, machine: &Machine<H>, slot: u64) {
        let how = AllocFlags::MOVABLE;
        if let Some((generation, ticket)) = self.bring(machine, slot, how, FrameFlags::empty()) {
            let _ = self.started(machine, (slot, generation), None, ticket, how);
        }
    }
    /// Brings the page of `slot`, with these marks, into the swap cache, unless it is there.
    /// Answers what a read that takes longer is waited for with.
    fn bring(
        &self,
        machine: &Machine<H>,
        slot: u64,
        how: AllocFlags,
        marks: FrameFlags,
    ) -> Option<(u32, Ticket)> {
        let mut device = self.device.lock();
        let store = device.store.clone()?;
        let away = device.slot(slot).filter(|entry| entry.users > 0 && entry.cache == Cache::Empty);
        let generation = away.map(|entry| entry.generation)?;
        drop(device);
        let mut bytes = vec![0; PAGE_SIZE as usize];
        match store.read_page(slot, ReadMode::Start, &mut bytes) {
            StoreRead::Ready => {}
            StoreRead::NotYet(ticket) => return Some((generation, ticket)),
            StoreRead::Failed => return None,
        }
        let page = new_page(machine, how).ok()?;
        machine.memory().write(page, 0, &bytes);
        machine.frames().set(page, FrameFlags::UPTODATE | marks);
        if let Ok(there) = self.insert(machine, (slot, generation), page, Cache::Page(page)) {
            machine.put_page(there);
        }
        None
    }
    /// A read that had been started is in.
    fn finish(
        &self,
        machine: &Machine<H>,
        slot: u64,
        page: Pfn,
        bytes: &[u8],
    ) -> Result<SwappedIn, SwapError> {
        let mut device = self.device.lock();
        let Some(entry) = device.slot(slot) else { return Err(SwapError::Failed) };
        if matches!(entry.cache, Cache::Reading(reading, _) if reading == page) {
            machine.memory().write(page, 0, bytes);
            machine.frames().set(page, FrameFlags::UPTODATE);
            entry.cache = Cache::Page(page);
        }
        match entry.cache {
            Cache::Page(page) => {
                machine.frames().get(page, 1).map_err(|_| SwapError::OutOfMemory)?;
                Ok(SwappedIn::Read(page))
            }
            Cache::Empty | Cache::Reading(..) => Err(SwapError::Failed),
        }
    }
    /// A read that ended at once.
    fn fresh(
        &self,
        machine: &Machine<H>,
        slot: (u64, u32),
        users: u32,
        bytes: &[u8],
        how: AllocFlags,
    ) -> Result<SwappedIn, SwapError> {
        let page = new_page(machine, how)?;
        machine.memory().write(page, 0, bytes);
        machine.frames().set(page, FrameFlags::UPTODATE);
        if machine.host().rule(m::M_12, users <= 1, VirtAddr::new(0)) {
            return Ok(SwappedIn::Fresh(page));
        }
        self.insert(machine, slot, page, Cache::Page(page)).map(SwappedIn::Read)
    }
    /// A read that goes on: the page waits for it in the swap cache.
    fn started(
        &self,
        machine: &Machine<H>,
        slot: (u64, u32),
        page: Option<Pfn>,
        ticket: Ticket,
        how: AllocFlags,
    ) -> Result<(), SwapError> {
        if page.is_some() {
            return Ok(());
        }
        let page = new_page(machine, how)?;
        let kept = self.insert(machine, slot, page, Cache::Reading(page, ticket))?;
        machine.put_page(kept);
        Ok(())
    }
    /// Puts `page` into the swap cache, unless another is there already. Answers whichever is
    /// there, with a reference. Nobody is left to take a page out whose slot was freed since it
    /// was read, so that one stays out: its reader finds its entry gone.
    fn insert(
        &self,
        machine: &Machine<H>,
        (slot, generation): (u64, u32),
        page: Pfn,
        cache: Cache,
    ) -> Result<Pfn, SwapError> {
        let mut device = self.device.lock();
        let Some(entry) = device.slot(slot) else {
            drop(device);
            machine.put_page(page);
            return Err(SwapError::Failed);
        };
        if entry.users == 0 || entry.generation != generation {
            return Ok(page);
        }
        let there = match entry.cache {
            Cache::Empty => {
                entry.cache = cache;
                device.cached.insert(page, slot);
                machine.frames().set(page, FrameFlags::SWAPCACHE);
                page
            }
            Cache::Page(other) | Cache::Reading(other, _) => other,
        };
        let held = machine.frames().get(there, 1).map_err(|_| SwapError::OutOfMemory);
        drop(device);
        if there != page {
            machine.put_page(page);
        }
        held.map(|()| there)
    }
}

/// An anonymous page that belongs to nobody yet.
fn new_page<H: Host>(machine: &Machine<H>, how: AllocFlags) -> Result<Pfn, SwapError> {
    let frames = machine.frames();
    let page =
        frames.alloc(machine.host(), 0, Kind::Anon, how).map_err(|_| SwapError::OutOfMemory)?;
    frames.set_owner(page, Owner::default());
    frames.set(page, FrameFlags::SWAPBACKED);
    machine.lazyfree().note_new(page);
    Ok(page)
}
