//! Limits and accounts: address space, data, locked memory, number of areas, overcommit.
//!
//! *Charge*: pages promised to private writable memory (`VM_ACCOUNT`), counted for the whole
//! machine. The limits are those of the task that acts, not of the address space's owner (row
//!
//! Linux: mm/vma.c `may_expand_vm`, `vm_stat_account`, `mlock_future_ok`; mm/util.c
//! `__vm_enough_memory`.

use crate::addr::PAGE_SHIFT;
use crate::errno::Errno;
use crate::flags::VmFlags;
use crate::host::Host;
use crate::mm::{Machine, Mm, MmWrite, Overcommit};
use crate::task::Task;
use crate::vma::Map;
use core::sync::atomic::Ordering::Relaxed;

/// Counts as data for `RLIMIT_DATA`: private, writable, no stack.
fn is_data(flags: VmFlags) -> bool {
    let all = VmFlags::WRITE | VmFlags::SHARED | VmFlags::GROWSDOWN | VmFlags::GROWSUP;
    flags & all == VmFlags::WRITE
}

/// Whether `mm` may grow by `pages` pages of this kind (`may_expand_vm`).
pub(crate) fn may_expand<H: Host>(
    mm: &Mm<H>,
    map: &Map<H>,
    task: &Task,
    flags: VmFlags,
    pages: u64,
) -> bool {
    let within = |used: u64, limit: u64| used.saturating_add(pages) <= limit >> PAGE_SHIFT;
    within(mm.total_vm.load(Relaxed), task.limits.address_space)
        && (!is_data(flags) || within(map.data_vm, task.limits.data))
}

/// Adds `pages` pages of this kind to the accounts (`vm_stat_account`).
pub(crate) fn account<H: Host>(lock: &mut MmWrite<'_, H>, flags: VmFlags, pages: u64) {
    lock.mm().total_vm.fetch_add(pages, Relaxed);
    if is_data(flags) {
        lock.data_vm = lock.data_vm.saturating_add(pages);
    }
}

/// Takes `pages` pages of this kind off the accounts.
pub(crate) fn unaccount<H: Host>(lock: &mut MmWrite<'_, H>, flags: VmFlags, pages: u64) {
    lock.mm().total_vm.fetch_sub(pages, Relaxed);
    if is_data(flags) {
        lock.data_vm = lock.data_vm.saturating_sub(pages);
    }
}

/// The limit on locked memory in pages; none with the capability.
pub(crate) fn memlock_limit(task: &Task) -> u64 {
    if task.cap_ipc_lock { u64::MAX } else { task.limits.memlock >> PAGE_SHIFT }
}

/// Whether the task may lock anything at all (`can_do_mlock`).
pub(crate) fn can_lock(task: &Task) -> bool {
    task.cap_ipc_lock || task.limits.memlock != 0
}

/// Whether `pages` more pages with these flags stay inside `RLIMIT_MEMLOCK` (`mlock_future_ok`).
pub(crate) fn may_lock<H: Host>(mm: &Mm<H>, task: &Task, flags: VmFlags, pages: u64) -> bool {
    let locked = mm.locked_vm.load(Relaxed).saturating_add(pages);
    !flags.contains(VmFlags::LOCKED) || locked <= memlock_limit(task)
}

/// Whether one more area may be split off (`split_vma`).
/// # Errors
/// ENOMEM: there are `max_map_count` already.
pub(crate) fn may_split<H: Host>(lock: &MmWrite<'_, H>) -> Result<(), Errno> {
    let max = lock.mm().machine().sysctl.max_map_count;
    if lock.len() >= max { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// Whether one more area may be added. Unlike a split, this may exceed the maximum by one.
/// # Errors
/// ENOMEM: there are more than `max_map_count` already.
pub(crate) fn may_add<H: Host>(lock: &MmWrite<'_, H>) -> Result<(), Errno> {
    let max = lock.mm().machine().sysctl.max_map_count;
    if lock.len() > max { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// Promises `pages` pages, if the machine can keep the promise (`security_vm_enough_memory_mm`).
/// # Errors
/// ENOMEM: overcommit forbids it; nothing is charged.
pub(crate) fn charge<H: Host>(machine: &Machine<H>, pages: u64) -> Result<(), Errno> {
    if pages == 0 {
        return Ok(());
    }
    let total = machine.committed.fetch_add(pages, Relaxed).saturating_add(pages);
    let fits = match machine.sysctl.overcommit {
        Overcommit::Always => true,
        Overcommit::Guess => pages <= machine.total_pages(),
        Overcommit::Never(limit) => total < limit,
    };
    if fits {
        return Ok(());
    }
    uncharge(machine, pages);
    Err(Errno::ENOMEM)
}

/// Counts a promise that was made before: it changes hands.
pub(crate) fn adopt<H: Host>(machine: &Machine<H>, pages: u64) {
    machine.committed.fetch_add(pages, Relaxed);
}

/// Takes a promise back.
pub(crate) fn uncharge<H: Host>(machine: &Machine<H>, pages: u64) {
    machine.committed.fetch_sub(pages, Relaxed);
}
