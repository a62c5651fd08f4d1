//! Where a new mapping goes: the address asked for, the hint, or the highest gap that is long
//! enough.
//!
//! Linux: mm/mmap.c `__get_unmapped_area`; `arch/x86/kernel/sys_x86_64.c`
//! `arch_get_unmapped_area_topdown`; `mm/huge_memory.c` `thp_get_unmapped_area_vmflags`;
//! fs/hugetlbfs/inode.c `hugetlb_get_unmapped_area` (6.18).

use crate::addr::{PAGE_SIZE, PMD_ORDER, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::MapFlags;
use crate::host::Host;
use crate::linux::Linux;
use crate::mm::MmWrite;
use crate::pgtable::{Format, task_size};
use crate::task::Task;
use crate::vma::Map;

const PMD_SHIFT: u32 = 12 + PMD_ORDER as u32;

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// The address asked for, or a hint, or 0.
    pub(super) addr: VirtAddr,
    /// Whole pages, in bytes; not 0.
    pub(super) bytes: u64,
    pub(super) flags: MapFlags,
    /// log2 of the pages that the mapping is made of.
    pub(super) shift: u32,
    /// It is anonymous memory, for which huge pages are worth an alignment.
    pub(super) anonymous: bool,
}

/// The address of a new mapping; whatever is there may have to go, if it was asked for with
/// `FIXED`.
/// # Errors
/// - ENOMEM: longer than user space, or no gap is that long;
/// - EINVAL: a fixed address that is not aligned;
/// - EPERM: below `mmap_min_addr`, without the capability.
pub(super) fn find_place<H: Host>(
    lock: &mut MmWrite<'_, H>,
    task: &Task,
    wanted: &Wanted,
) -> Result<VirtAddr, Errno> {
    if wanted.bytes > task_size::<H>() {
        return Err(Errno::ENOMEM);
    }
    let addr = if wanted.flags.contains(MapFlags::FIXED) {
        fixed(wanted)?
    } else {
        search(lock, wanted).ok_or(Errno::ENOMEM)?
    };
    if addr.get() > task_size::<H>() - wanted.bytes {
        return Err(Errno::ENOMEM);
    }
    if addr.page_offset() != 0 {
        return Err(Errno::EINVAL);
    }
    may_map_at(lock, task, addr)?;
    Ok(addr)
}

/// Whether the task may map as low as `addr` (`security_mmap_addr`).
/// # Errors
/// EPERM: it may not.
pub(super) fn may_map_at<H: Host>(
    lock: &MmWrite<'_, H>,
    task: &Task,
    addr: VirtAddr,
) -> Result<(), Errno> {
    let min = lock.mm().machine().sysctl.mmap_min_addr;
    if addr.get() < min && !task.cap_sys_rawio { Err(Errno::EPERM) } else { Ok(()) }
}

fn fixed(wanted: &Wanted) -> Result<VirtAddr, Errno> {
    let huge = wanted.shift > 12;
    if huge && !wanted.addr.is_aligned(wanted.shift) { Err(Errno::EINVAL) } else { Ok(wanted.addr) }
}

fn search<H: Host>(lock: &mut MmWrite<'_, H>, wanted: &Wanted) -> Option<VirtAddr> {
    let min = lock.mm().machine().sysctl.mmap_min_addr.max(PAGE_SIZE);
    if let Some(addr) = hint(lock, wanted) {
        return Some(addr);
    }
    if huge_aligned(lock, wanted) {
        let padded = wanted.bytes.saturating_add(1 << PMD_SHIFT);
        if let Some(addr) = lowest_or_highest(lock, min, padded, 12, 0) {
            let up = addr.wrapping_add(1 << PMD_SHIFT);
            return Some(up.align_down(PMD_SHIFT));
        }
    }
    let beyond = if above_window::<H>(wanted.addr) { beyond_window::<H>() } else { 0 };
    lowest_or_highest(lock, min, wanted.bytes, wanted.shift, beyond)
}

/// Bytes of user space above the window that is searched without a hint.
fn beyond_window<H: Host>() -> u64 {
    task_size::<H>() - <H::Format as Format>::MMAP_WINDOW
}

fn above_window<H: Host>(addr: VirtAddr) -> bool {
    addr.get() > <H::Format as Format>::MMAP_WINDOW
}

/// Transparent huge pages want 2 MiB alignment where a whole number of them fits (kernels from 6.7
/// on).
fn huge_aligned<H: Host>(lock: &MmWrite<'_, H>, wanted: &Wanted) -> bool {
    let modern = lock.mm().machine().linux() != Linux::V4_4;
    let whole = VirtAddr::new(wanted.bytes).is_aligned(PMD_SHIFT);
    modern && wanted.anonymous && wanted.addr.get() == 0 && whole
}

/// The hint, if nothing is in the way there.
fn hint<H: Host>(map: &Map<H>, wanted: &Wanted) -> Option<VirtAddr> {
    let addr = wanted.addr.page_floor();
    let addr = if wanted.shift > 12 { align_up(addr, wanted.shift)? } else { addr };
    let fits = addr.get() != 0 && addr.get() <= task_size::<H>().checked_sub(wanted.bytes)?;
    let end = addr.saturating_add(wanted.bytes);
    // A mapping lies on one side of the window's end (`mmap_address_hint_valid`).
    let fits = fits && above_window::<H>(addr) == above_window::<H>(end);
    let free = || map.find(addr).is_none_or(|vma| end <= map.start_gap(vma));
    (fits && free()).then_some(addr)
}

/// The top of the highest gap below `mmap_base` that is long enough; if there is none, the lowest
/// one above a third of user space. The search reaches `beyond` bytes above the window.
fn lowest_or_highest<H: Host>(
    map: &mut Map<H>,
    min: u64,
    bytes: u64,
    shift: u32,
    beyond: u64,
) -> Option<VirtAddr> {
    let slack = (1 << shift) - PAGE_SIZE;
    let length = bytes.checked_add(slack)?;
    let below = VirtRange::new(VirtAddr::new(min), map.mmap_base.saturating_add(beyond));
    if let Some(gap) = map.highest_gap(below, length) {
        return Some(gap.end.saturating_sub(bytes).align_down(shift));
    }
    let top = <H::Format as Format>::MMAP_WINDOW + beyond;
    let base = VirtAddr::new((top / 3).max(min)).page_ceil()?;
    let gap = map.lowest_gap(VirtRange::new(base, VirtAddr::new(top)), length)?;
    align_up(gap.start, shift)
}

fn align_up(addr: VirtAddr, shift: u32) -> Option<VirtAddr> {
    Some(addr.checked_add((1 << shift) - 1)?.align_down(shift))
}
