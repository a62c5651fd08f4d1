//! Pages as faults see them: what a leaf maps, which counter counts it, how it is taken and given
//! back.
//!
//! *Normal page*: a page that is counted, unlike the zero page and frames mapped by number.
//! Linux: `vm_normal_page`, `mm_counter`, `vma->vm_page_prot`, include/linux/rmap.h (6.18).

use crate::addr::{Pfn, VirtAddr};
use crate::flags::VmFlags;
use crate::frame::{AllocFlags, FrameFlags, Frames, Kind, OutOfMemory, Owner};
use crate::host::{Host, Memory};
use crate::mm::{Counter, Machine, Mm};
use crate::pgtable::{Entry, Format, Perms, level_pages};
use crate::vma::{Backing, Vma};

/// The page that a present leaf maps, unless it maps the zero page or a frame that is not counted
/// (row A-123).
#[inline]
pub fn normal_page<F: Format>(entry: Entry<F>) -> Option<Pfn> {
    (!entry.is_special()).then(|| entry.pfn())
}

/// Which resident-set counter counts a page.
#[inline]
pub fn counter_of<H: Host>(frames: &Frames<H>, pfn: Pfn) -> Counter {
    match frames.kind(pfn) {
        Kind::Anon => Counter::Anon,
        Kind::Shmem => Counter::Shmem,
        Kind::Free
        | Kind::Table
        | Kind::File
        | Kind::Hugetlb
        | Kind::Secret
        | Kind::Special
        | Kind::Kernel
        | Kind::Slab => Counter::File,
    }
}

/// What a new leaf of the area allows (`vm_page_prot`), accessed.
///
/// Stores only where no fault has to see the first one: shared, writable, no dirty tracking, and
/// userfaultfd does not ask for them.
pub fn leaf_perms<H: Host>(vma: &Vma<H>) -> Perms {
    let shared = vma.flags.contains(VmFlags::SHARED | VmFlags::WRITE);
    Perms {
        write: shared && !vma.flags.contains(VmFlags::UFFD_WP) && !tracks_dirty(vma),
        exec: vma.flags.contains(VmFlags::EXEC),
        protnone: !vma.is_accessible(),
        young: true,
        ..Perms::default()
    }
}

/// The first store to each page of the area has to be noticed (`vma_wants_writenotify`).
pub(super) fn tracks_dirty<H: Host>(vma: &Vma<H>) -> bool {
    match &vma.backing {
        Backing::File(mapping) => mapping.file.tracks_dirty(),
        Backing::Anonymous | Backing::Special(_) => false,
    }
}

/// A new anonymous page of `vma` for `addr`, from where `how` allows: one reference, exclusive, its
/// bytes still undefined.
/// # Errors
/// [`OutOfMemory`].
pub(crate) fn new_anon_page<H: Host>(
    machine: &Machine<H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    how: AllocFlags,
) -> Result<Pfn, OutOfMemory> {
    let frames = machine.frames();
    let flags = fresh_flags(vma) | FrameFlags::ANON_EXCLUSIVE;
    let pfn = frames.alloc_page(machine.host(), Kind::Anon, flags, how)?;
    let owner = vma.anon_vma().map_or(0, |anon| anon.id);
    #[allow(clippy::cast_possible_truncation, reason = "the place in the area, modulo 16 TiB")]
    let index = vma.index_of(addr) as u32;
    frames.set_owner(pfn, Owner { owner, index });
    machine.lazyfree().note_new(pfn);
    Ok(pfn)
}

/// Flags of a new anonymous folio of `vma`: droppable memory never goes to swap, it vanishes.
pub(crate) fn fresh_flags<H: Host>(vma: &Vma<H>) -> FrameFlags {
    if vma.flags.contains(VmFlags::DROPPABLE) {
        FrameFlags::UPTODATE
    } else {
        FrameFlags::SWAPBACKED | FrameFlags::UPTODATE
    }
}

/// The same, zeroed.
/// # Errors
/// [`OutOfMemory`].
pub(crate) fn new_zeroed_page<H: Host>(
    machine: &Machine<H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    how: AllocFlags,
) -> Result<Pfn, OutOfMemory> {
    let pfn = new_anon_page(machine, vma, addr, how)?;
    machine.memory().zero(pfn, 1);
    Ok(pfn)
}

/// Counts a new PTE of `mm` for the page; the entry takes over the caller's reference.
pub(crate) fn add_mapping<H: Host>(mm: &Mm<H>, pfn: Pfn) {
    let frames = mm.machine().frames();
    frames.map(pfn, mm.mapper());
    mm.add_rss(counter_of(frames, pfn), 1);
}

/// The same for a page of [`new_anon_page`], which nothing maps yet and nobody else knows.
pub(crate) fn add_first_mapping<H: Host>(mm: &Mm<H>, pfn: Pfn) {
    mm.machine().frames().map_alone(pfn);
    mm.add_rss(Counter::Anon, 1);
}

/// Uncounts a PTE of `mm` that mapped the page, and returns the entry's reference.
///
/// A page of the swap cache that nobody maps any more, and no swap entry names, leaves it.
pub(crate) fn remove_mapping<H: Host>(mm: &Mm<H>, pfn: Pfn) {
    let machine = mm.machine();
    let frames = machine.frames();
    mm.add_rss(counter_of(frames, pfn), -1);
    // While it is in the swap cache, that has a reference too.
    let cached = frames.has(pfn, FrameFlags::SWAPCACHE);
    frames.unmap(pfn, mm.mapper());
    machine.put_page(pfn);
    if cached {
        machine.swap().drop_unmapped(machine, pfn);
    }
}

/// Uncounts a huge entry at `level` of `mm` that mapped the folio from `first`, and returns its
/// reference.
pub(crate) fn remove_huge_mapping<H: Host>(mm: &Mm<H>, first: Pfn, level: u8) {
    let machine = mm.machine();
    let frames = machine.frames();
    #[allow(clippy::cast_possible_wrap, reason = "at most 1 << 27")]
    mm.add_rss(counter_of(frames, first), -(level_pages(level) as i64));
    let head = frames.head(first);
    frames.unmap_huge(head, mm.mapper());
    machine.put_page(head);
}
