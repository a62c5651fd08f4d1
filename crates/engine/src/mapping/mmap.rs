//! mmap: the checks in the kernel's order, the place, and the new area, merged with its neighbours.
//!
//! Linux: mm/mmap.c `do_mmap`; mm/vma.c `mmap_region`, `__mmap_prepare`, `__mmap_new_vma` (6.18).

use super::edit::{bookkeeping, join_around, page_align};
use super::mprotect::prot_flags;
use super::munmap::{complete, prepare};
use super::place::{Wanted, find_place};
use super::request::{MmapRequest, OpenMode, Source, file_shift, huge_order};
use super::{limits, munmap};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, PMD_ORDER, PUD_ORDER, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::file::{File, FileKind};
use crate::flags::{MapFlags, Prot, VmFlags};
use crate::host::Host;
use crate::hugetlb::{self, Reservation};
use crate::mm::{Mm, MmWrite, Overcommit};
use crate::task::Task;
use crate::vma::{Backing, FileMapping, SPECIAL, Vma};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// `MAP_TYPE`: shared, private, or one of the rarer ways.
const MAP_TYPE: u32 = 0xf;
const SHARED: u32 = MapFlags::SHARED.bits();
const SHARED_VALIDATE: u32 = 3;
const PRIVATE: u32 = MapFlags::PRIVATE.bits();
const DROPPABLE: u32 = MapFlags::DROPPABLE.bits();
/// The flags that `SHARED_VALIDATE` knows, `MAP_32BIT` (0x40) and the huge page sizes among them.
const VALIDATED: u32 = MapFlags::all().bits() & !(MAP_TYPE | MapFlags::FIXED_NOREPLACE.bits())
    | MapFlags::FIXED.bits()
    | 0x1000
    | 0x40
    | 0x3f << 26;
/// `s_maxbytes` of the file systems here: the largest signed offset.
const MAX_FILE_BYTES: u64 = i64::MAX as u64;

/// Makes a mapping; returns its address. Nothing is populated: [`super::sys::mmap`] does that too.
///
/// With `FIXED`, what is mapped in the range goes. The new area merges with its neighbours if it
/// may (row M-06).
/// # Errors
/// Nothing is changed, but that areas may have been split at the range's ends. In this order:
/// - EINVAL: no length, neither shared nor private, an offset or a fixed address that is not
///   aligned, a combination that makes no sense; EOVERFLOW: the offset wraps, or the file cannot be
///   that long;
/// - ENOMEM: longer than user space, no gap, too many areas, `RLIMIT_AS`, `RLIMIT_DATA`,
///   overcommit;
/// - EEXIST: `FIXED_NOREPLACE`, and something is there;
/// - EPERM: below `mmap_min_addr`, locked without the right to lock, `noexec`, sealed; EAGAIN:
///   `RLIMIT_MEMLOCK`;
/// - EACCES: the descriptor does not allow it; EOPNOTSUPP: a flag unknown to `SHARED_VALIDATE`.
/// # Linux
/// `mmap()`.
pub fn mmap<H: Host>(
    lock: &mut MmWrite<'_, H>,
    task: &Task,
    request: &MmapRequest<H>,
) -> Result<VirtAddr, Errno> {
    let source = Resolved::of(lock, request)?;
    let bytes = whole_bytes(request, &source)?;
    let pages = bytes >> PAGE_SHIFT;
    source.pgoff.checked_add(pages).ok_or(Errno::EOVERFLOW)?;
    limits::may_add(lock)?;
    let asked = flags_asked(lock, request);
    let range = place(lock, task, request, &source, bytes)?;
    if request.flags.contains(MapFlags::LOCKED) && !limits::can_lock(task) {
        return Err(Errno::EPERM);
    }
    if !limits::may_lock(lock.mm(), task, asked, pages) {
        return Err(Errno::EAGAIN);
    }
    let flags = match &source.file {
        Some(file) => file_flags(request, &source, file, asked, bytes)?,
        None => anonymous_flags(request, asked)?,
    };
    let flags = reserve_flags(lock, request, flags);
    let new = New { range, flags, source: &source, request };
    install(lock, task, &new)
}

/// The request's source, with what `MAP_HUGETLB` makes of it.
struct Resolved<H: Host> {
    file: Option<Arc<File<H>>>,
    mode: OpenMode,
    pgoff: u64,
    /// log2 of the pages it is made of.
    shift: u32,
}

impl<H: Host> Resolved<H> {
    fn of(lock: &MmWrite<'_, H>, request: &MmapRequest<H>) -> Result<Self, Errno> {
        let huge = request.flags.contains(MapFlags::HUGETLB);
        match &request.source {
            Source::File { offset, .. } if offset % PAGE_SIZE != 0 => Err(Errno::EINVAL),
            Source::File { file, .. } if file.huge_order().is_some_and(is_no_order) => {
                Err(Errno::EINVAL)
            }
            Source::File { file, .. } if huge && file_shift(file) == PAGE_SHIFT => {
                Err(Errno::EINVAL)
            }
            Source::File { file, mode, offset } => Ok(Self {
                file: Some(Arc::clone(file)),
                mode: *mode,
                pgoff: offset >> PAGE_SHIFT,
                shift: file_shift(file),
            }),
            Source::Anonymous if huge => Self::huge(lock, request),
            Source::Anonymous => {
                Ok(Self { file: None, mode: OpenMode::all(), pgoff: 0, shift: PAGE_SHIFT })
            }
        }
    }
    /// Huge pages without a file have a file of their own, which nobody sees.
    fn huge(lock: &MmWrite<'_, H>, request: &MmapRequest<H>) -> Result<Self, Errno> {
        let order = huge_order(request.flags).ok_or(Errno::EINVAL)?;
        let shift = PAGE_SHIFT + u32::from(order);
        let bytes = round_up(request.bytes, shift);
        let file = lock.mm().machine().new_file(FileKind::Hugetlb(order), bytes, None);
        let mode = OpenMode::READ | OpenMode::WRITE;
        Ok(Self { file: Some(file), mode, pgoff: 0, shift })
    }
}

/// No huge pages have this order.
fn is_no_order(order: u8) -> bool {
    order != PMD_ORDER && order != PUD_ORDER
}

/// Rounded up to a multiple of `1 << shift`; 0 if that overflows, as in the kernel.
fn round_up(bytes: u64, shift: u32) -> u64 {
    let mask = (1 << shift) - 1;
    bytes.wrapping_add(mask) & !mask
}

fn whole_bytes<H: Host>(request: &MmapRequest<H>, source: &Resolved<H>) -> Result<u64, Errno> {
    let asked = round_up(request.bytes, source.shift);
    if request.bytes == 0 || (asked == 0 && source.shift > PAGE_SHIFT) {
        return Err(Errno::EINVAL);
    }
    let bytes = page_align(asked);
    if bytes == 0 { Err(Errno::ENOMEM) } else { Ok(bytes) }
}

/// The flags that follow from `prot`, `flags` and mlockall, before shared and private are told
/// apart.
fn flags_asked<H: Host>(lock: &MmWrite<'_, H>, request: &MmapRequest<H>) -> VmFlags {
    let when = |flag: MapFlags, adds: VmFlags| {
        if request.flags.contains(flag) { adds } else { VmFlags::empty() }
    };
    prot_flags(request.prot)
        | VmFlags::MAYREAD
        | VmFlags::MAYWRITE
        | VmFlags::MAYEXEC
        | lock.def_flags
        | when(MapFlags::GROWSDOWN, VmFlags::GROWSDOWN)
        | when(MapFlags::LOCKED, VmFlags::LOCKED)
        | when(MapFlags::STACK, VmFlags::NOHUGEPAGE)
}

fn place<H: Host>(
    lock: &mut MmWrite<'_, H>,
    task: &Task,
    request: &MmapRequest<H>,
    source: &Resolved<H>,
    bytes: u64,
) -> Result<VirtRange, Errno> {
    let keep = request.flags.contains(MapFlags::FIXED_NOREPLACE);
    let fixed = keep || request.flags.contains(MapFlags::FIXED);
    let extra = if keep { MapFlags::FIXED } else { MapFlags::empty() };
    let min = lock.mm().machine().sysctl.mmap_min_addr;
    let addr = if fixed { request.addr } else { hint_to_min(request.addr, min) };
    let flags = request.flags | extra;
    let anonymous = source.file.is_none();
    let wanted = Wanted { addr, bytes, flags, shift: source.shift, anonymous };
    let addr = find_place(lock, task, &wanted)?;
    let range = VirtRange::from_len(addr, bytes).ok_or(Errno::ENOMEM)?;
    if keep && lock.overlapping(range).next().is_some() {
        return Err(Errno::EEXIST);
    }
    Ok(range)
}

/// A hint below the lowest address that may be mapped means that address (`round_hint_to_min`).
fn hint_to_min(hint: VirtAddr, min: u64) -> VirtAddr {
    let hint = hint.page_floor();
    let low = hint.get() != 0 && hint.get() < min;
    if low { VirtAddr::new(page_align(min)) } else { hint }
}

fn anonymous_flags<H: Host>(request: &MmapRequest<H>, asked: VmFlags) -> Result<VmFlags, Errno> {
    let grows = asked.intersects(VmFlags::GROWSDOWN | VmFlags::GROWSUP);
    match request.flags.bits() & MAP_TYPE {
        SHARED if grows => Err(Errno::EINVAL),
        SHARED => Ok(asked | VmFlags::SHARED | VmFlags::MAYSHARE),
        DROPPABLE if grows || request.flags.contains(MapFlags::LOCKED) => Err(Errno::EINVAL),
        DROPPABLE => Ok(asked
            | VmFlags::DROPPABLE
            | VmFlags::NORESERVE
            | VmFlags::WIPEONFORK
            | VmFlags::DONTDUMP),
        PRIVATE => Ok(asked),
        _ => Err(Errno::EINVAL),
    }
}

fn file_flags<H: Host>(
    request: &MmapRequest<H>,
    source: &Resolved<H>,
    file: &File<H>,
    asked: VmFlags,
    bytes: u64,
) -> Result<VmFlags, Errno> {
    let offset = source.pgoff << PAGE_SHIFT;
    if offset > MAX_FILE_BYTES || bytes > MAX_FILE_BYTES - offset {
        return Err(Errno::EOVERFLOW);
    }
    let kind = request.flags.bits() & MAP_TYPE;
    let flags = match kind {
        SHARED => shared_flags(request, source.mode, asked)?,
        SHARED_VALIDATE if request.flags.bits() & !(VALIDATED | MAP_TYPE) != 0 => {
            return Err(Errno::EOPNOTSUPP);
        }
        SHARED_VALIDATE => shared_flags(request, source.mode, asked)?,
        PRIVATE => asked,
        _ => return Err(Errno::EINVAL),
    };
    let flags = descriptor_flags(request, source.mode, flags)?;
    kind_flags(source, file, flags)
}

/// What a descriptor refuses a shared mapping, and what it never lets the mapping become.
fn shared_flags<H: Host>(
    request: &MmapRequest<H>,
    mode: OpenMode,
    asked: VmFlags,
) -> Result<VmFlags, Errno> {
    let write = mode.contains(OpenMode::WRITE);
    if request.prot.contains(Prot::WRITE) {
        if !write {
            return Err(Errno::EACCES);
        }
        if mode.contains(OpenMode::SWAPFILE) {
            return Err(Errno::ETXTBSY);
        }
        if mode.contains(OpenMode::SEALED) {
            return Err(Errno::EPERM);
        }
    }
    if write && mode.contains(OpenMode::APPEND) {
        return Err(Errno::EACCES);
    }
    let flags = asked | VmFlags::SHARED | VmFlags::MAYSHARE;
    Ok(match (write, mode.contains(OpenMode::SEALED)) {
        (false, _) => flags - (VmFlags::MAYWRITE | VmFlags::SHARED),
        (true, true) => flags - VmFlags::MAYWRITE,
        (true, false) => flags,
    })
}

fn descriptor_flags<H: Host>(
    request: &MmapRequest<H>,
    mode: OpenMode,
    flags: VmFlags,
) -> Result<VmFlags, Errno> {
    if !mode.contains(OpenMode::READ) {
        return Err(Errno::EACCES);
    }
    let noexec = mode.contains(OpenMode::NOEXEC);
    if noexec && request.prot.contains(Prot::EXEC) {
        return Err(Errno::EPERM);
    }
    if flags.intersects(VmFlags::GROWSDOWN | VmFlags::GROWSUP) {
        return Err(Errno::EINVAL);
    }
    Ok(if noexec { flags - VmFlags::MAYEXEC } else { flags })
}

/// What the kind of file adds (`f_op->mmap`).
fn kind_flags<H: Host>(
    source: &Resolved<H>,
    file: &File<H>,
    flags: VmFlags,
) -> Result<VmFlags, Errno> {
    match file.kind() {
        FileKind::Regular | FileKind::NoWriteback | FileKind::Fsdax | FileKind::Shmem => Ok(flags),
        FileKind::Hugetlb(order) if source.pgoff & ((1 << order) - 1) != 0 => Err(Errno::EINVAL),
        FileKind::Hugetlb(_) => Ok(flags | VmFlags::HUGETLB | VmFlags::DONTEXPAND),
        FileKind::Secret if !flags.contains(VmFlags::MAYSHARE) => Err(Errno::EINVAL),
        FileKind::Secret => Ok(flags | VmFlags::LOCKED | VmFlags::DONTDUMP),
    }
}

fn reserve_flags<H: Host>(
    lock: &MmWrite<'_, H>,
    request: &MmapRequest<H>,
    flags: VmFlags,
) -> VmFlags {
    let strict = matches!(lock.mm().machine().sysctl.overcommit, Overcommit::Never(_));
    let unreserved = !strict || flags.contains(VmFlags::HUGETLB);
    let asked = request.flags.contains(MapFlags::NORESERVE);
    if asked && unreserved { flags | VmFlags::NORESERVE } else { flags }
}

/// An area about to be made.
struct New<'a, H: Host> {
    range: VirtRange,
    flags: VmFlags,
    source: &'a Resolved<H>,
    request: &'a MmapRequest<H>,
}

/// Counts against overcommit: private, writable, and neither unreserved nor huge
/// (`accountable_mapping`).
pub(super) fn accountable(flags: VmFlags) -> bool {
    let all = VmFlags::NORESERVE | VmFlags::SHARED | VmFlags::WRITE;
    flags & all == VmFlags::WRITE && !flags.contains(VmFlags::HUGETLB)
}

/// Unmaps what is in the way and puts the area there (`mmap_region`).
fn install<H: Host>(
    lock: &mut MmWrite<'_, H>,
    task: &Task,
    new: &New<'_, H>,
) -> Result<VirtAddr, Errno> {
    let (range, mm) = (new.range, lock.mm());
    let pages = range.pages();
    prepare(lock, range)?;
    let (gone, uncharged) = munmap::pages_in(lock, range);
    if !limits::may_expand(mm, lock, task, new.flags, pages.saturating_sub(gone)) {
        return Err(Errno::ENOMEM);
    }
    let secret = new.source.file.as_ref().is_some_and(|file| file.kind() == FileKind::Secret);
    if secret && !limits::may_lock(mm, task, VmFlags::LOCKED, pages) {
        return Err(Errno::EAGAIN);
    }
    bookkeeping(lock)?;
    let promise = match &new.source.file {
        Some(file) => hugetlb::reserve(mm.machine(), file, new.flags, new.source.pgoff, pages)?,
        None => None,
    };
    let charged = accountable(new.flags);
    if charged {
        limits::charge(mm.machine(), pages.saturating_sub(uncharged))?;
        limits::adopt(mm.machine(), pages.min(uncharged));
    }
    complete(lock, range);
    let flags = if charged { new.flags | VmFlags::ACCOUNT } else { new.flags };
    insert(lock, new, flags, promise);
    Ok(range.start)
}

fn insert<H: Host>(
    lock: &mut MmWrite<'_, H>,
    new: &New<'_, H>,
    flags: VmFlags,
    promise: Option<Arc<Reservation<H>>>,
) {
    let (mm, range) = (lock.mm(), new.range);
    let never = SPECIAL | VmFlags::HUGETLB;
    let unlocked = flags.intersects(never) || is_dax(new.source);
    let flags = if unlocked { flags - (VmFlags::LOCKED | VmFlags::LOCKONFAULT) } else { flags };
    let private = new.request.flags.bits() & MAP_TYPE != SHARED;
    // Descriptors that allow different things are different ones.
    let opened = (new.source.mode & (OpenMode::READ | OpenMode::WRITE)).bits();
    let own = |file: Arc<File<H>>| Backing::File(FileMapping { file, opened });
    let (backing, pgoff) = match &new.source.file {
        Some(file) => (own(Arc::clone(file)), new.source.pgoff),
        None if private => (Backing::Anonymous, range.start.page_number()),
        None => (own(mm.machine().new_file(FileKind::Shmem, range.bytes(), None)), 0),
    };
    if let Backing::File(mapping) = &backing {
        note_mapper(mm, &mapping.file);
    }
    limits::account(lock, flags, range.pages());
    if flags.contains(VmFlags::LOCKED) {
        mm.locked_vm.fetch_add(range.pages(), Relaxed);
    }
    let id = lock.new_id();
    let mut vma = Vma::new(id, range, flags, backing, pgoff);
    vma.promise = promise;
    lock.insert(vma);
    join_around(lock, range);
}

fn is_dax<H: Host>(source: &Resolved<H>) -> bool {
    source.file.as_ref().is_some_and(|file| file.kind() == FileKind::Fsdax)
}

/// Lets the file know who maps it (`i_mmap`), for truncation.
pub(super) fn note_mapper<H: Host>(mm: &Mm<H>, file: &File<H>) {
    let mut mappers = file.mappers.lock();
    mappers.retain(|known| known.strong_count() != 0);
    if !mappers.iter().any(|known| known.ptr_eq(mm.weak())) {
        mappers.push(mm.weak().clone());
    }
}
