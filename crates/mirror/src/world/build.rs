//! Building the mirror: areas and page states of a window, put into an address space of the engine.
//!
//! Every page that was seen to be present gets a frame of its own, so that afterwards one can tell
//! whether a page was taken, copied or replaced. Pages outside the window are absent, and so are
//! pages of files that no entry maps: they are taken to be readable.
//!
//! *Assumption*: what stands in for a fact that was not seen ([`Assume`]). The explainer tries both
//! and compares.

use crate::proc::backing::Backing as Seen;
use crate::proc::limits::LockRights;
use crate::proc::thp::Thp;
use crate::proc::uffd::Features;
use crate::window::{Page, PageState, Place, Window};
use crate::world::around::Around;
use crate::world::dumped;
use crate::world::flags;
use crate::world::ghost::GhostStore;
use crate::world::host::MirrorHost;
use crate::world::userfault::Watched;
use gup::addr::{PMD_ORDER, Pfn, VirtAddr, VirtRange};
use gup::file::{FileKind, Slot};
use gup::flags::VmFlags;
use gup::frame::{AllocFlags, FrameFlags, Kind, Mapper, OutOfMemory, Owner, Zone};
use gup::linux::Linux;
use gup::mm::{Machine, MachineConfig, Mm, Overcommit, Vsyscall};
use gup::pgtable::{Entry, MakeError, Perms, SwapEntry};
use gup::task::{Limits, RLIM_INFINITY, Task};
use gup::vma::{AnonVma, Backing, FileMapping, Special, Vma};
use rustix::process::{Resource, getrlimit};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use thiserror::Error;

/// The most pages of one area that a driver is taken to bring.
const DRIVER_PAGES: u64 = 1 << 20;

/// What to take for granted of an anonymous page that is mapped once, when it cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assume {
    /// It is exclusive.
    Exclusive,
    /// It was shared since a fork, and is mapped once again.
    Shared,
}

/// The mirror could not be built: its own memory ran out, or the window is not one of an address
/// space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the mirror of the process could not be built: {0}")]
pub struct CannotBuild(&'static str);

impl From<OutOfMemory> for CannotBuild {
    fn from(_: OutOfMemory) -> Self {
        Self("its frames ran out")
    }
}

impl From<MakeError> for CannotBuild {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::OutOfMemory => Self("its frames ran out"),
            MakeError::HugeLeaf(_) => Self("a huge page overlaps a small one"),
            MakeError::Unaddressable => Self("a page outside user space was seen"),
        }
    }
}

/// An address space of the engine that mirrors a window.
pub struct Mirror {
    /// The machine.
    pub machine: Arc<Machine<MirrorHost>>,
    /// The address space.
    pub mm: Arc<Mm<MirrorHost>>,
    start: u64,
    features: Option<Features>,
    rights: LockRights,
    around: Around,
    before: Vec<Option<Pfn>>,
    undumped: Vec<(u64, u64)>,
}

impl Mirror {
    /// Builds the mirror of `window`.
    ///
    /// # Errors
    /// [`CannotBuild`].
    pub fn new(window: &Window, assume: Assume) -> Result<Self, CannotBuild> {
        Self::within(window, assume, &Around::default())
    }

    /// Builds the mirror of `window` in a machine like the one around the process. Pages that may
    /// not stay pinned where they are lie in movable memory here, too.
    ///
    /// # Errors
    /// [`CannotBuild`].
    pub fn within(window: &Window, assume: Assume, around: &Around) -> Result<Self, CannotBuild> {
        let pages = window.pages.len();
        let huge = 1 << PMD_ORDER;
        // A frame for each page, one for its copy, tables, the vDSO, and room for huge pages on
        // both sides.
        let any_huge = window.places.iter().any(may_be_huge);
        let room = if any_huge { pages + 16 * huge } else { 0 };
        let frames =
            ((2 + around.copies) * pages + pages / 128 + room + 512).next_multiple_of(huge);
        let moving = window.pages.iter().filter(|page| around.must_move(page)).count();
        let movable = if moving > 0 { moving.next_multiple_of(huge) + 2 * huge } else { 0 };
        let mut config = MachineConfig::new(Linux::V6_18, frames as u64);
        if movable > 0 {
            config.frames = config.frames.and(Zone::Movable, 0, movable as u64);
        }
        config.sysctl.vsyscall = vsyscall(window);
        // The mirror has no more memory than it needs, and areas that reach far out of it.
        config.sysctl.overcommit = Overcommit::Always;
        config.sysctl.thp_always = around.thp == Thp::Always;
        config.sysctl.thp_orders = around.orders;
        let machine = Machine::new(MirrorHost::new(frames + movable, &window.kernel), config)?;
        let mm = Mm::new(&machine)?;
        machine.host().answer_in(&mm);
        mm.locked_vm.store(window.rights.locked_pages, Relaxed);
        let Window { start, userfault: features, rights, .. } = *window;
        let around = around.clone();
        let (before, undumped) = (Vec::new(), dumped::left_out(window));
        let mut mirror = Self { machine, mm, start, features, rights, around, before, undumped };
        for place in &window.places {
            mirror.add_area(place);
        }
        let swapped = window.pages.iter().filter(|page| page.state == PageState::Swap).count();
        mirror.machine.swap().on(Arc::new(GhostStore), swapped as u64);
        mirror.fill_pool(window);
        mirror.add_pages(window, assume)?;
        mirror.machine.host().recorder().clear();
        mirror.remember(pages);
        Ok(mirror)
    }

    /// A task of the process: with its right to lock memory. What a stack may grow by is the limit
    /// of who asks, since others make it grow.
    pub fn task(&self) -> Task {
        let memlock = self.rights.memlock.unwrap_or(RLIM_INFINITY);
        let stack = getrlimit(Resource::Stack).current.unwrap_or(RLIM_INFINITY);
        let mut task = Task::new(Limits { memlock, stack, ..Limits::default() });
        task.cap_ipc_lock = self.rights.ipc_lock;
        task
    }

    /// The frame that page `index` of the window was mapped to when the mirror was built.
    pub fn frame_before(&self, index: usize) -> Option<Pfn> {
        self.before.get(index).copied().flatten()
    }

    /// The frame that the page at `addr` is mapped to now.
    pub fn frame_now(&self, addr: u64) -> Option<Pfn> {
        let addr = VirtAddr::new(addr);
        self.mm.tables().walk(addr).frame(addr)
    }

    /// Whether the kernel sets breakpoints in the area at `addr`: it may be executed, belongs to a
    /// file, and is not shared, huge or writable.
    pub fn has_breakpoints(&self, addr: u64) -> bool {
        let looked_at = VmFlags::HUGETLB | VmFlags::MAYEXEC | VmFlags::MAYSHARE | VmFlags::WRITE;
        let map = self.mm.read();
        let vma = map.lookup(VirtAddr::new(addr));
        vma.is_some_and(|vma| {
            vma.flags & looked_at == VmFlags::MAYEXEC && vma.backing.file().is_some()
        })
    }

    /// Whether a core dump of the process has the area at `addr`, or would have it.
    pub fn is_dumped(&self, addr: u64) -> bool {
        !self.undumped.iter().any(|(start, end)| (*start..*end).contains(&addr))
    }

    fn remember(&mut self, pages: usize) {
        let addresses = (0..pages as u64).map(|page| self.start.wrapping_add(page << 12));
        self.before = addresses.map(|addr| self.frame_now(addr)).collect();
    }

    fn add_area(&self, place: &Place) {
        let Some(backing) = self.backing(place) else { return };
        let area = &place.area;
        let range = VirtRange::new(VirtAddr::new(area.start), VirtAddr::new(area.end));
        let whole = area.start.is_multiple_of(4096) && area.end.is_multiple_of(4096);
        if range.is_empty() || !whole || self.mm.read().overlapping(range).next().is_some() {
            // The kernel says no such thing; a torn read may.
            return;
        }
        let mut vm_flags = flags::of(area);
        if self.around.thp == Thp::Never {
            vm_flags -= VmFlags::HUGEPAGE;
        }
        let pgoff = match place.backing {
            Seen::Anonymous => area.start >> 12,
            _ => area.offset >> 12,
        };
        let mut map = self.mm.write();
        let id = map.new_id();
        let mut vma = Vma::new(id, range, vm_flags, backing, pgoff);
        vma.set_anon_vma_if_none(AnonVma { id: self.machine.new_id(), inherited: false });
        let watched = VmFlags::UFFD_MISSING | VmFlags::UFFD_WP | VmFlags::UFFD_MINOR;
        if vm_flags.intersects(watched) {
            let inbox = Arc::clone(self.machine.host().inbox());
            vma.uffd = Some(Arc::new(Watched { features: self.features, inbox }));
        }
        map.insert(vma);
    }

    /// Puts as many huge pages aside as the mappings in the window could take.
    fn fill_pool(&self, window: &Window) {
        // One for each huge page of the window, cut at both ends or not.
        let room = (window.pages.len() as u64 >> PMD_ORDER) + 2;
        let hugetlb =
            window.places.iter().filter(|place| matches!(place.backing, Seen::Hugetlb { .. }));
        let takeable = hugetlb.map(|place| {
            let promised = !flags::of(&place.area).contains(VmFlags::NORESERVE);
            window.huge_pages.for_mapping(promised).min(room)
        });
        self.machine.resize_hugetlb(PMD_ORDER, takeable.max().unwrap_or(0));
    }

    /// The engine's backing for what was seen; `None` for what is no area of the process.
    fn backing(&self, place: &Place) -> Option<Backing<MirrorHost>> {
        let kind = match &place.backing {
            Seen::Gate => return None,
            Seen::Anonymous => return Some(Backing::Anonymous),
            Seen::Vdso | Seen::Vvar | Seen::Device => return Some(self.special(place)),
            Seen::Shmem { .. } => FileKind::Shmem,
            Seen::Hugetlb { .. } => FileKind::Hugetlb(PMD_ORDER),
            Seen::Secretmem => FileKind::Secret,
            Seen::File { .. } | Seen::AioRing => FileKind::Regular,
        };
        let size = place.backing.file_size().unwrap_or(u64::MAX >> 1);
        let file = self.machine.new_file(kind, size, None);
        Some(Backing::File(FileMapping::new(file)))
    }

    /// The vDSO has a frame for every page. A driver that maps frame numbers has none that a fault
    /// would bring; another is taken to bring a page wherever it is touched.
    fn special(&self, place: &Place) -> Backing<MirrorHost> {
        let count = place.area.end.saturating_sub(place.area.start) >> 12;
        let pages = match place.backing {
            Seen::Vdso => (0..count.min(64)).map_while(|_| self.special_frame_new().ok()).collect(),
            Seen::Device if !place.by_frame() => {
                let count = usize::try_from(count.min(DRIVER_PAGES)).unwrap_or(0);
                self.special_frame_new().map_or(Vec::new(), |one| vec![one; count])
            }
            _ => Vec::new(),
        };
        let special = Special { name: "special", pages, find_special: Vec::new(), access: None };
        Backing::Special(Arc::new(special))
    }

    fn add_pages(&self, window: &Window, assume: Assume) -> Result<(), CannotBuild> {
        for (index, page) in window.pages.iter().enumerate() {
            let addr = window.start.wrapping_add((index as u64) << 12);
            let Some(place) = window.place_at(addr) else { continue };
            if page.state != PageState::Absent {
                self.add_page(place, addr, page, assume)?;
            } else if place.watched_for_minor() {
                self.add_cached(place, addr)?;
            }
        }
        Ok(())
    }

    fn add_page(
        &self,
        place: &Place,
        addr: u64,
        page: &Page,
        assume: Assume,
    ) -> Result<(), CannotBuild> {
        let vm_flags = flags::of(&place.area);
        let page = &Page { huge: page.huge && self.holds_block(addr), ..*page };
        match page.state {
            PageState::Absent => Ok(()),
            PageState::Guard => self.store(addr, Entry::swap(SwapEntry::Guard)),
            PageState::Poisoned => self.store(addr, Entry::swap(SwapEntry::Poisoned)),
            PageState::Marked => self.store(addr, Entry::swap(SwapEntry::UffdWp)),
            PageState::Swap => self.add_swap(addr, page),
            PageState::Zero | PageState::AnonOrZero if page.huge => {
                self.add_huge_zero(addr, vm_flags)
            }
            PageState::Zero | PageState::AnonOrZero => {
                let perms = Perms { special: true, ..perms_of(vm_flags, page) };
                self.store(addr, Entry::leaf(self.machine.zero_page(), perms, 0))
            }
            PageState::File => self.add_file_page(place, addr, page),
            PageState::Ksm => self.add_anon(addr, vm_flags, page, PageState::Ksm),
            PageState::AnonExclusive | PageState::AnonShared => {
                self.add_anon(addr, vm_flags, page, page.state)
            }
            PageState::AnonOnce => {
                let state = match assume {
                    Assume::Exclusive => PageState::AnonExclusive,
                    Assume::Shared => PageState::AnonShared,
                };
                self.add_anon(addr, vm_flags, page, state)
            }
        }
    }

    /// A page that is in swap: a swap entry that was exclusive.
    fn add_swap(&self, addr: u64, page: &Page) -> Result<(), CannotBuild> {
        let slot = self.machine.swap().lend().ok_or(CannotBuild("its swap ran out"))?;
        let uffd_wp = page.userfault_wp;
        let entry = SwapEntry::Swap { slot, exclusive: true, uffd_wp, soft_dirty: false };
        self.store(addr, Entry::swap(entry))
    }

    fn add_huge_zero(&self, addr: u64, vm_flags: VmFlags) -> Result<(), CannotBuild> {
        let zero = self.machine.make_huge_zero_page()?;
        let exec = vm_flags.contains(VmFlags::EXEC);
        let perms = Perms { young: true, special: true, exec, ..Perms::default() };
        self.store_huge(addr, zero, perms)
    }

    fn add_anon(
        &self,
        addr: u64,
        vm_flags: VmFlags,
        page: &Page,
        state: PageState,
    ) -> Result<(), CannotBuild> {
        let huge_addr = addr & !((1 << 21) - 1);
        if page.huge && self.frame_now(huge_addr).is_some() {
            return Ok(());
        }
        let order = if page.huge { PMD_ORDER } else { 0 };
        let kind = if vm_flags.contains(VmFlags::HUGETLB) { Kind::Hugetlb } else { Kind::Anon };
        let frames = self.machine.frames();
        let pfn = frames.alloc(self.machine.host(), order, kind, self.how(page))?;
        frames.set(pfn, FrameFlags::UPTODATE | FrameFlags::SWAPBACKED | FrameFlags::DIRTY);
        let exclusive = state == PageState::AnonExclusive;
        if exclusive {
            frames.set(pfn, FrameFlags::ANON_EXCLUSIVE);
        }
        if state == PageState::Ksm {
            frames.set(pfn, FrameFlags::KSM);
        }
        // A hugetlb page without an owner is a private one: no file's page cache has it.
        let owner = if kind == Kind::Hugetlb { 0 } else { self.machine.new_id() };
        let base = VirtAddr::new(if page.huge { huge_addr } else { addr });
        let index = self.mm.read().lookup(base).map_or(0, |vma| vma.index_of(base));
        // The place in the area, modulo 16 TiB.
        frames.set_owner(pfn, Owner { owner, index: index as u32 });
        // Exclusive pages of writable areas are writable, but for tracking by userfaultfd.
        let write = exclusive && vm_flags.contains(VmFlags::WRITE) && !page.userfault_wp;
        let perms = Perms { write, dirty: true, ..perms_of(vm_flags, page) };
        self.map_anon(pfn, page, state);
        if page.huge {
            return self.store_huge(huge_addr, pfn, perms);
        }
        self.store(addr, Entry::leaf(pfn, perms, 0))
    }

    /// Where a frame for a page that was seen comes from: as the page lies.
    fn how(&self, page: &Page) -> AllocFlags {
        if self.around.must_move(page) { AllocFlags::MOVABLE } else { AllocFlags::empty() }
    }

    /// Counts the mappings of `pfn` here and, if it is shared, in other processes.
    fn map_anon(&self, pfn: Pfn, page: &Page, state: PageState) {
        let frames = self.machine.frames();
        let elsewhere = match state {
            PageState::AnonExclusive => 0,
            // Not mapped once (pagemap's bit 56 would say so), or seen to be.
            _ => {
                page.mapcount.map_or(u64::from(page.state != PageState::AnonOnce), |n| n - n.min(1))
            }
        };
        let mut by = self.mm.mapper();
        for _ in 0..=elsewhere.min(1) {
            if page.huge {
                frames.map_huge(pfn, by);
            } else {
                frames.map(pfn, by);
            }
            by = Mapper::UNKNOWN;
        }
        if elsewhere > 0 {
            // The other mapping holds a reference; a fresh frame has room for it.
            let _ = frames.get(pfn, 1);
        }
    }

    fn add_file_page(&self, place: &Place, addr: u64, page: &Page) -> Result<(), CannotBuild> {
        let vm_flags = flags::of(&place.area);
        let index = index_in_file(place, addr);
        let map = self.mm.read();
        let Some(vma) = map.lookup(VirtAddr::new(addr)) else { return Ok(()) };
        let pfn = match &vma.backing {
            Backing::Special(special) if place.backing == Seen::Vdso => {
                self.special_frame(special, index)?
            }
            Backing::File(mapping) => {
                let pfn = self.cache_page(mapping, index, self.how(page))?;
                // The mapping has a reference too; a fresh frame has room for it.
                let _ = self.machine.frames().get(pfn, 1);
                pfn
            }
            Backing::Special(_) | Backing::Anonymous => self.special_frame_new()?,
        };
        self.machine.frames().set(pfn, FrameFlags::UPTODATE);
        self.machine.frames().map(pfn, self.mm.mapper());
        let shared_write = vm_flags.contains(VmFlags::SHARED | VmFlags::WRITE);
        let write = shared_write && place.backing.tracks_dirty() == Some(false);
        let perms = Perms { write: write && !page.userfault_wp, ..perms_of(vm_flags, page) };
        drop(map);
        self.store(addr, Entry::leaf(pfn, perms, 0))
    }

    /// A page of a file that is cached and not mapped. Whoever asked to hear of those filled the
    /// file first: that is what it is for.
    fn add_cached(&self, place: &Place, addr: u64) -> Result<(), CannotBuild> {
        let map = self.mm.read();
        let Some(vma) = map.lookup(VirtAddr::new(addr)) else { return Ok(()) };
        let Backing::File(mapping) = &vma.backing else { return Ok(()) };
        let index = index_in_file(place, addr);
        if index < mapping.file.size().div_ceil(1 << 12) {
            self.cache_page(mapping, index, AllocFlags::empty())?;
        }
        Ok(())
    }

    /// A frame in the page cache, as page `index` of the file; the cache has its first reference.
    fn cache_page(
        &self,
        mapping: &FileMapping<MirrorHost>,
        index: u64,
        how: AllocFlags,
    ) -> Result<Pfn, CannotBuild> {
        let kind = kind_of(mapping.file.kind());
        let frames = self.machine.frames();
        let pfn = frames.alloc(self.machine.host(), 0, kind, how)?;
        frames.set(pfn, FrameFlags::UPTODATE);
        let owner =
            Owner { owner: mapping.file.id(), index: u32::try_from(index).unwrap_or(u32::MAX) };
        frames.set_owner(pfn, owner);
        mapping.file.pages.lock().insert(index, Slot::Page(pfn));
        Ok(pfn)
    }

    fn special_frame(&self, special: &Special, index: u64) -> Result<Pfn, CannotBuild> {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        match special.pages.get(at) {
            Some(pfn) => Ok(*pfn),
            None => self.special_frame_new(),
        }
    }

    fn special_frame_new(&self) -> Result<Pfn, CannotBuild> {
        let how = AllocFlags::empty();
        Ok(self.machine.frames().alloc(self.machine.host(), 0, Kind::Special, how)?)
    }

    fn store(&self, addr: u64, entry: Entry<gup::pgtable::X86_64>) -> Result<(), CannotBuild> {
        let tables = self.mm.tables();
        let place = tables.make(VirtAddr::new(addr), 0)?;
        let _locked = tables.lock(place.table);
        tables.store(place, entry);
        Ok(())
    }

    /// Whether the 2 MiB around `addr` lie in one area: no huge entry reaches out of one.
    fn holds_block(&self, addr: u64) -> bool {
        let block = addr & !((1 << 21) - 1);
        let map = self.mm.read();
        map.lookup(VirtAddr::new(addr)).is_some_and(|vma| {
            vma.range().start.get() <= block
                && block.checked_add(1 << 21).is_some_and(|end| end <= vma.range().end.get())
        })
    }

    fn store_huge(&self, addr: u64, pfn: Pfn, perms: Perms) -> Result<(), CannotBuild> {
        let tables = self.mm.tables();
        let place = tables.make(VirtAddr::new(addr), 1)?;
        let _locked = tables.lock(place.table);
        tables.store(place, Entry::leaf(pfn, perms, 1));
        Ok(())
    }
}

/// Which page of the file the one at `addr` is.
fn index_in_file(place: &Place, addr: u64) -> u64 {
    (place.area.offset >> 12) + ((addr - place.area.start) >> 12)
}

/// Whether huge pages may be mapped or made there.
fn may_be_huge(place: &Place) -> bool {
    flags::of(&place.area).intersects(VmFlags::HUGEPAGE | VmFlags::HUGETLB)
        || place.area.end.saturating_sub(place.area.start) >= 1 << 21
}

/// Permissions of an entry that may not be written.
fn perms_of(vm_flags: VmFlags, page: &Page) -> Perms {
    Perms {
        exec: vm_flags.contains(VmFlags::EXEC),
        protnone: !vm_flags.intersects(VmFlags::ACCESS),
        young: true,
        uffd_wp: page.userfault_wp,
        ..Perms::default()
    }
}

fn kind_of(file: FileKind) -> Kind {
    match file {
        FileKind::Shmem => Kind::Shmem,
        FileKind::Hugetlb(_) => Kind::Hugetlb,
        FileKind::Secret => Kind::Secret,
        FileKind::Regular | FileKind::NoWriteback | FileKind::Fsdax => Kind::File,
    }
}

/// The vsyscall page as the maps file shows it.
fn vsyscall(window: &Window) -> Vsyscall {
    match window.places.iter().find(|place| place.backing == Seen::Gate) {
        None => Vsyscall::None,
        Some(place) if place.area.perms.read() => Vsyscall::Read,
        Some(_) => Vsyscall::ExecuteOnly,
    }
}
