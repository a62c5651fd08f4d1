//! brk: the heap's end, moved up or down.
//!
//! Linux: mm/mmap.c `brk`; mm/vma.c `do_brk_flags` (6.18).

use super::edit::{bookkeeping, join, page_align};
use super::munmap::unmap;
use super::place::may_map_at;
use super::{limits, mprotect};
use crate::addr::{PAGE_SIZE, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::{Prot, VmFlags};
use crate::host::Host;
use crate::mm::MmWrite;
use crate::pgtable::task_size;
use crate::task::Task;
use crate::vma::{Backing, Vma};
use core::sync::atomic::Ordering::Relaxed;

/// Moves the heap's end to `brk`; returns where it is now: `brk`, or the old end if that cannot be.
///
/// Nothing is populated, even if new areas are locked: [`super::sys::brk`] does that.
/// # Linux
/// `brk()`, which has no errors.
pub fn brk<H: Host>(lock: &mut MmWrite<'_, H>, task: &Task, brk: VirtAddr) -> VirtAddr {
    // A refusal is told by the unchanged end.
    let _ = set(lock, task, brk);
    lock.brk
}

fn set<H: Host>(lock: &mut MmWrite<'_, H>, task: &Task, brk: VirtAddr) -> Result<(), Errno> {
    let data = brk.bytes_from(lock.start_brk);
    if brk < lock.start_brk || data > task.limits.data {
        return Err(Errno::ENOMEM);
    }
    let new = VirtAddr::new(page_align(brk.get()));
    let old = VirtAddr::new(page_align(lock.brk.get()));
    if new != old && brk <= lock.brk {
        shrink(lock, VirtRange::new(new, old))?;
    } else if new > old {
        grow(lock, task, VirtRange::new(old, new))?;
    } else if new != old {
        // Rounding up passed the end of the address space.
        return Err(Errno::ENOMEM);
    }
    lock.brk = brk;
    Ok(())
}

fn shrink<H: Host>(lock: &mut MmWrite<'_, H>, gone: VirtRange) -> Result<(), Errno> {
    let heap = lock.find(gone.start).filter(|vma| vma.start() < gone.end);
    heap.ok_or(Errno::ENOMEM)?;
    unmap(lock, gone)
}

fn grow<H: Host>(lock: &mut MmWrite<'_, H>, task: &Task, new: VirtRange) -> Result<(), Errno> {
    if new.bytes() > task_size::<H>() || new.start.get() > task_size::<H>() - new.bytes() {
        return Err(Errno::ENOMEM);
    }
    may_map_at(lock, task, new.start)?;
    let pages = new.pages();
    let flags = mprotect::prot_flags(Prot::READ | Prot::WRITE)
        | VmFlags::MAYREAD
        | VmFlags::MAYWRITE
        | VmFlags::MAYEXEC
        | VmFlags::ACCOUNT
        | lock.def_flags;
    if !limits::may_lock(lock.mm(), task, flags, pages) {
        return Err(Errno::EAGAIN);
    }
    let guarded = new.end.saturating_add(PAGE_SIZE);
    let in_the_way = |vma: &Vma<H>| guarded > lock.start_gap(vma);
    if lock.find(new.start).is_some_and(in_the_way) {
        return Err(Errno::ENOMEM);
    }
    if !limits::may_expand(lock.mm(), lock, task, flags, pages) {
        return Err(Errno::ENOMEM);
    }
    limits::may_add(lock)?;
    bookkeeping(lock)?;
    limits::charge(lock.mm().machine(), pages)?;
    let id = lock.new_id();
    let pgoff = new.start.page_number();
    lock.insert(Vma::new(id, new, flags, Backing::Anonymous, pgoff));
    join(lock, new.start);
    limits::account(lock, flags, pages);
    if flags.contains(VmFlags::LOCKED) {
        lock.mm().locked_vm.fetch_add(pages, Relaxed);
    }
    Ok(())
}
