//! The machine: memory, frames, zero pages, limits, and which kernel runs on it.
//!
//! There are no globals; everything that Linux keeps once per system is here, behind an `Arc`.

use super::space::Mm;
use crate::addr::{PMD_ORDER, Pfn, VirtAddr};
use crate::fault::lazyfree::LazyFree;
use crate::fault::mlocked::Mlocks;
use crate::file::{File, FileKind};
use crate::frame::{AllocFlags, Frames, FramesConfig, Kind, Last, OutOfMemory, Overdrawn};
use crate::host::{Host, Memory, Store};
use crate::hugetlb::Pools;
use crate::linux::Linux;
use crate::observe::Event;
use crate::pgtable::{Entry, Perms};
use crate::rule::c;
use crate::rule::s;
use crate::swap::Swap;
use crate::sync::Padded;
use crate::sync::plain::AtomicU64;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use lock_api::Mutex;

/// System-wide settings (`/proc/sys/vm`, boot parameters).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// `vm.max_map_count`, in areas.
    pub max_map_count: usize,
    /// `vm.mmap_min_addr`, in bytes.
    pub mmap_min_addr: u64,
    /// `stack_guard_gap`, in pages (later kernels than v4.4).
    pub stack_guard_gap: u64,
    /// `vm.overcommit_memory`.
    pub overcommit: Overcommit,
    /// There is a vsyscall page, readable or execute-only.
    pub vsyscall: Vsyscall,
    /// Transparent huge pages are used without `MADV_HUGEPAGE`.
    pub thp_always: bool,
    /// Sizes of large folios below a huge page that faults may use, bit n for folios of 2^n pages
    /// (`/sys/kernel/mm/transparent_hugepage/hugepages-*kB/enabled`); 2 to 8 have a meaning.
    pub thp_orders: u16,
    /// `CONFIG_MIGRATION`: pages can be moved, and long-term pins look where they lie (row C-82).
    pub migration: bool,
    /// `proc_mem.force_override` (row C-99).
    pub proc_mem_force: ProcMemForce,
}

/// `proc_mem.force_override`: who goes past an area's permissions through `/proc/PID/mem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcMemForce {
    /// Everybody who may open it.
    Always,
    /// A debugger that is attached.
    Ptrace,
    /// Nobody.
    Never,
}

/// `vm.overcommit_memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overcommit {
    /// 0: refuse what exceeds all memory and swap in one piece.
    Guess,
    /// 1: never refuse.
    Always,
    /// 2: keep the sum below this many pages.
    Never(u64),
}

/// `vsyscall=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vsyscall {
    /// No gate area.
    None,
    /// The gate page can be read.
    Read,
    /// The gate page can only be executed.
    ExecuteOnly,
}

/// Defects of the past that can be asked for, to teach and to test against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// v4.4's GUP drops the write requirement after breaking COW (row A-143, CVE-2016-5195).
    pub dirty_cow: bool,
}

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Frames and zones; must not exceed the host's memory.
    pub frames: FramesConfig,
    /// The kernel.
    pub linux: Linux,
    /// Settings.
    pub sysctl: Sysctl,
    /// Defects asked for.
    pub quirks: Quirks,
}

impl MachineConfig {
    /// `frames` ordinary frames under `linux`, with the kernel's default settings.
    pub fn new(linux: Linux, frames: u64) -> Self {
        Self {
            frames: FramesConfig::normal(frames),
            linux,
            sysctl: Sysctl {
                max_map_count: 65_530,
                mmap_min_addr: 65_536,
                stack_guard_gap: 256,
                overcommit: Overcommit::Guess,
                vsyscall: Vsyscall::None,
                thp_always: false,
                thp_orders: 0,
                migration: true,
                proc_mem_force: ProcMemForce::Always,
            },
            quirks: Quirks::default(),
        }
    }
}

/// A machine. What a walk without locks reads comes first, in lines of cache that faults and edits
/// leave alone, and that hold no count of this value's owners.
#[repr(C, align(128))]
pub struct Machine<H: Host> {
    me: Weak<Self>,
    host: H,
    frames: Frames<H>,
    linux: Linux,
    /// Settings.
    pub sysctl: Sysctl,
    quirks: Quirks,
    zero: Pfn,
    huge_zero: AtomicU64,
    /// The gate page's entry; 0 if nothing is mapped there.
    gate: AtomicU64,
    swap: Padded<Swap<H>>,
    hugetlb: Pools<H>,
    mlocks: Mlocks<H>,
    lazyfree: LazyFree<H>,
    next_id: AtomicU32,
    /// Pages promised to private writable memory (`vm_committed_as`).
    pub committed: AtomicU64,
    /// The address spaces that exist: where a page's mappings are looked for.
    spaces: Mutex<H::RawMutex, Vec<Weak<Mm<H>>>>,
}

impl<H: Host> Machine<H> {
    /// A machine on `host`.
    /// # Errors
    /// [`OutOfMemory`]: there is no frame for the zero page, or the zones reach beyond the host's
    /// memory.
    pub fn new(host: H, config: MachineConfig) -> Result<Arc<Self>, OutOfMemory> {
        if config.frames.frames() > host.memory().frames() {
            return Err(OutOfMemory);
        }
        let frames = Frames::new(&config.frames);
        let zero = frames.alloc(&host, 0, Kind::Special, AllocFlags::empty())?;
        host.memory().zero(zero, 1);
        let gate = Self::make_gate(&host, &frames, config.sysctl.vsyscall)?;
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            host,
            frames,
            linux: config.linux,
            sysctl: config.sysctl,
            quirks: config.quirks,
            zero,
            huge_zero: AtomicU64::new(0),
            gate: AtomicU64::new(gate.raw()),
            next_id: AtomicU32::new(1),
            committed: AtomicU64::new(0),
            swap: Padded::default(),
            hugetlb: Pools::default(),
            mlocks: Mlocks::default(),
            lazyfree: LazyFree::default(),
            spaces: Mutex::new(Vec::new()),
        }))
    }
    /// The entry of the gate page: a page of its own where it can be read, else nothing.
    fn make_gate(
        host: &H,
        frames: &Frames<H>,
        vsyscall: Vsyscall,
    ) -> Result<Entry<H::Format>, OutOfMemory> {
        match vsyscall {
            Vsyscall::None | Vsyscall::ExecuteOnly => Ok(Entry::NONE),
            Vsyscall::Read => {
                let page = frames.alloc(host, 0, Kind::Special, AllocFlags::empty())?;
                host.memory().zero(page, 1);
                let perms = Perms { exec: true, young: true, ..Perms::default() };
                Ok(Entry::leaf(page, perms, 0))
            }
        }
    }
    /// The host.
    #[inline]
    pub fn host(&self) -> &H {
        &self.host
    }
    /// The memory.
    #[inline]
    pub fn memory(&self) -> &H::Memory {
        self.host.memory()
    }
    /// The frames.
    #[inline]
    pub fn frames(&self) -> &Frames<H> {
        &self.frames
    }
    /// All memory, in pages (`totalram_pages`).
    pub fn total_pages(&self) -> u64 {
        self.frames.len()
    }
    /// The swap.
    #[inline]
    pub fn swap(&self) -> &Swap<H> {
        &self.swap
    }
    /// The pools of huge pages.
    #[inline]
    pub fn hugetlb(&self) -> &Pools<H> {
        &self.hugetlb
    }
    /// By how many areas pages are locked.
    pub(crate) fn mlocks(&self) -> &Mlocks<H> {
        &self.mlocks
    }
    /// Pages that were given away a moment ago.
    pub(crate) fn lazyfree(&self) -> &LazyFree<H> {
        &self.lazyfree
    }
    /// Nothing waits in a batch any more (`lru_add_drain()`), and no page has one more reference
    /// for that.
    pub fn drain_batches(&self) {
        self.lazyfree.drain(&self.frames);
    }
    /// The kernel whose rules faults, fork and the typed layer follow.
    #[inline]
    pub fn linux(&self) -> Linux {
        self.linux
    }
    /// Notes a new address space.
    pub(super) fn add_space(&self, mm: &Arc<Mm<H>>) {
        self.spaces.lock().push(Arc::downgrade(mm));
    }
    /// Forgets the address spaces that are gone.
    pub(super) fn forget_spaces(&self) {
        self.spaces.lock().retain(|mm| mm.strong_count() > 0);
    }
    /// The address spaces that exist.
    pub fn spaces(&self) -> Vec<Arc<Mm<H>>> {
        self.spaces.lock().iter().filter_map(Weak::upgrade).collect()
    }
    /// Whether the folio of `pfn` may be pinned (`folio_maybe_dma_pinned`): exact for a large one,
    /// for a small one from 1024 references on (rows C-87, C-88).
    pub fn maybe_pinned(&self, pfn: Pfn) -> bool {
        let exact = self.frames.is_large(pfn);
        self.host.decided(if exact { c::C_87 } else { c::C_88 }, VirtAddr::new(0));
        self.frames.maybe_pinned(pfn)
    }
    /// The defects asked for.
    #[inline]
    pub fn quirks(&self) -> Quirks {
        self.quirks
    }
    /// The zero page: mapped read-only for untouched anonymous memory, never counted as a pin.
    #[inline]
    pub fn zero_page(&self) -> Pfn {
        self.zero
    }
    /// The huge zero page, if one has been needed.
    #[inline]
    pub fn huge_zero_page(&self) -> Option<Pfn> {
        Some(Pfn::new(self.huge_zero.load(Relaxed))).filter(|pfn| pfn.get() != 0)
    }
    /// The huge zero page, made now if it was not.
    /// # Errors
    /// [`OutOfMemory`] if no 2 MiB folio is free.
    pub fn make_huge_zero_page(&self) -> Result<Pfn, OutOfMemory> {
        if let Some(pfn) = self.huge_zero_page() {
            return Ok(pfn);
        }
        let new = self.frames.alloc(&self.host, PMD_ORDER, Kind::Special, AllocFlags::empty())?;
        self.memory().zero(new, 1 << PMD_ORDER);
        match self.huge_zero.compare_exchange(0, new.get(), Relaxed, Relaxed) {
            Ok(_) => Ok(new),
            Err(other) => {
                self.put_page(new);
                Ok(Pfn::new(other))
            }
        }
    }
    /// A number that is this machine's alone: files and `anon_vma`s are named so.
    pub fn new_id(&self) -> u32 {
        self.next_id.fetch_add(1, Relaxed)
    }
    /// A file of `size` bytes on this machine.
    pub fn new_file(
        &self,
        kind: FileKind,
        size: u64,
        store: Option<Box<dyn Store>>,
    ) -> Arc<File<H>> {
        Arc::new(File::new(self.me.clone(), self.new_id(), kind, size, store))
    }
    /// Gives one reference to the folio of `pfn` back, and frees it if that was the last.
    pub fn put_page(&self, pfn: Pfn) {
        self.put_pages(pfn, 1);
    }
    /// Gives `count` references to the folio of `pfn` back.
    pub fn put_pages(&self, pfn: Pfn, count: u32) {
        let head = self.frames.head(pfn);
        self.returned(head, self.frames.try_put(head, count));
    }
    /// Gives `count` pins of the folio of `pfn` back; the zero page has none to give (row I-24).
    pub fn unpin_pages(&self, pfn: Pfn, count: u32) {
        let head = self.frames.head(pfn);
        self.host.decided(c::C_90, VirtAddr::new(0));
        if head == self.zero {
            return;
        }
        self.host.decided(c::C_92, VirtAddr::new(0));
        self.host.see(Event::Unpinned(count));
        self.returned(head, self.frames.try_unpin(head, count));
    }
    /// Frees the folio if that was the last; says so if it was more than there was.
    #[inline]
    fn returned(&self, head: Pfn, last: Result<Last, Overdrawn>) {
        match last {
            Ok(Last::Yes) => self.free_folio(head),
            Ok(Last::No) => {}
            Err(Overdrawn) => {
                self.host.decided(s::S_16, VirtAddr::new(0));
                self.host.bug(s::S_16);
            }
        }
    }
    /// Frees a folio whose last reference is gone.
    fn free_folio(&self, head: Pfn) {
        if self.frames.kind(head) == Kind::Hugetlb {
            self.return_hugetlb(head);
        } else {
            self.frames.free(head);
        }
    }
    /// Whether this machine has a gate area, readable or not (row A-65).
    pub fn has_gate(&self) -> bool {
        self.sysctl.vsyscall != Vsyscall::None
    }
    /// The gate page's entry (the kernel's half of the tables has no other).
    pub fn gate_entry(&self) -> Entry<H::Format> {
        Entry::from_raw(self.gate.load(Relaxed))
    }
    /// Replaces the gate page's entry, as a boot option would.
    pub fn set_gate_entry(&self, entry: Entry<H::Format>) {
        self.gate.store(entry.raw(), Relaxed);
    }
    /// The gate area's address, if there is one (row A-65).
    pub const fn gate_address() -> VirtAddr {
        VirtAddr::new(0xffff_ffff_ff60_0000)
    }
}
