//! Stacks: areas that grow down to the address that is touched.
//!
//! v4.4 grows under the read lock, for any lookup, with a guard page (rows A-40 … A-49); 6.18 under
//! the write lock, only when asked, with a gap of many pages (rows A-50, C-100). Invariants: only
//! the start moves, and only down, under [`Mm::growth`]; the limits are the acting task's. Absent:
//! areas that grow up, which x86-64 has not.
//! Linux: mm/mmap.c `find_extend_vma`, `expand_downwards`, `acct_stack_growth` (v4.4); mm/vma.c
//! `expand_downwards`, `mm/mmap_lock.c` `expand_stack` (6.18).

use super::area::Vma;
use super::map::Map;
use super::merge::anon_vma_prepare;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::VmFlags;
use crate::gup::populate_v4_4::{Hold, populate};
use crate::host::Host;
use crate::mapping::limits;
use crate::mm::{Lock, Mm, MmRead};
use crate::rule::{Rule, a, c, s};
use crate::task::Task;
use core::sync::atomic::Ordering::Relaxed;

/// The area that contains `addr`, after growing the stack above down to it if that may be done
/// (v4.4).
///
/// The lock is held for reading at least. A locked stack's new pages are populated at once,
/// whatever comes of it (row A-47).
pub(crate) fn find_extend_vma<'a, H: Host>(
    mm: &Mm<H>,
    map: &'a Map<H>,
    current: &Task,
    addr: VirtAddr,
) -> Option<&'a Vma<H>> {
    let host = mm.machine().host();
    let addr = addr.page_floor();
    let vma = map.find(addr)?;
    host.decided(a::A_40, addr);
    if vma.start() <= addr {
        return Some(vma);
    }
    let grown = grow_v4_4(mm, map, current, vma, addr).ok()?;
    let locked = vma.flags.contains(VmFlags::LOCKED);
    if host.rule(a::A_47, locked && !grown.is_empty(), addr) {
        let _ = populate(mm, map, current, vma, grown, Hold::Keep);
    }
    Some(vma)
}

/// Grows `vma`, which lies above `addr`, down to the page of `addr` (v4.4's `expand_stack`). What
/// it grew by is empty if somebody else was faster.
/// # Errors
/// The row that refuses.
pub(crate) fn grow_v4_4<H: Host>(
    mm: &Mm<H>,
    map: &Map<H>,
    current: &Task,
    vma: &Vma<H>,
    addr: VirtAddr,
) -> Result<VirtRange, Rule> {
    let (host, addr) = (mm.machine().host(), addr.page_floor());
    if host.rule(a::A_41, !vma.flags.contains(VmFlags::GROWSDOWN), addr) {
        return Err(a::A_41);
    }
    let below = map.prev(vma.start()).filter(|prev| prev.end() == addr);
    let other = below.is_some_and(|prev| !prev.flags.contains(VmFlags::GROWSDOWN));
    if host.rule(a::A_43, other, addr) {
        return Err(a::A_43);
    }
    if host.past_rule(a::A_50, is_near(mm, map, vma, addr), addr) {
        return Err(a::A_50);
    }
    anon_vma_prepare(mm.machine(), map, vma);
    let low = addr.get() < mm.machine().sysctl.mmap_min_addr && !current.cap_sys_rawio;
    if host.rule(a::A_45, low, addr) {
        return Err(a::A_45);
    }
    // The guard page is not counted as stack.
    let stack = vma.end().bytes_from(addr).saturating_sub(PAGE_SIZE);
    let grown = grow(mm, map, current, vma, Growth { addr, stack, rule: a::A_44 })?;
    host.decided(a::A_42, addr);
    host.decided(a::A_46, addr);
    Ok(grown)
}

/// A stack about to grow.
struct Growth {
    addr: VirtAddr,
    /// Bytes that count against `RLIMIT_STACK`.
    stack: u64,
    /// The row of its limits.
    rule: Rule,
}

/// Checks the limits in order and moves the start, if nobody has done so.
fn grow<H: Host>(
    mm: &Mm<H>,
    map: &Map<H>,
    current: &Task,
    vma: &Vma<H>,
    growth: Growth,
) -> Result<VirtRange, Rule> {
    let _growing = mm.growth.lock();
    let new = VirtRange::new(growth.addr, vma.start());
    let pages = new.pages();
    if new.is_empty() {
        return Ok(new);
    }
    let refused = pages > vma.pgoff()
        || !limits::may_expand(mm, map, current, vma.flags, pages)
        || growth.stack > current.limits.stack
        || !limits::may_lock(mm, current, vma.flags, pages)
        || limits::charge(mm.machine(), pages).is_err();
    if mm.machine().host().rule(growth.rule, refused, growth.addr) {
        return Err(growth.rule);
    }
    if !vma.flags.contains(VmFlags::ACCOUNT) {
        limits::uncharge(mm.machine(), pages);
    }
    if vma.flags.contains(VmFlags::LOCKED) {
        mm.locked_vm.fetch_add(pages, Relaxed);
    }
    mm.total_vm.fetch_add(pages, Relaxed);
    vma.grow_down(pages);
    Ok(new)
}

/// Whether `addr` is the first byte of a stack's guard page, its lowest page, unless the stack goes
/// on below in an area of its own (v4.4, row A-49).
pub(crate) fn is_guard_page<H: Host>(map: &Map<H>, vma: &Vma<H>, addr: VirtAddr) -> bool {
    let down = |vma: &Vma<H>| vma.flags.contains(VmFlags::GROWSDOWN);
    let goes_on =
        |addr: VirtAddr| map.prev(addr).is_some_and(|prev| prev.end() == addr && down(prev));
    down(vma) && vma.start() == addr && !goes_on(addr)
}

/// Grows the stack above `addr` down to its page, with the lock held for writing meanwhile, and
/// returns with it held for reading: what was looked up before is stale (row C-100).
/// # Errors
/// The lock is not held any more.
/// - EFAULT: nothing above `addr` grows down;
/// - EPERM: below `mmap_min_addr`, whoever asks;
/// - ENOMEM: closer than the gap to an accessible area below, or a limit of the acting task.
/// # Linux
/// `expand_stack()`, 6.18.
pub fn expand_stack<'m, H: Host>(
    lock: MmRead<'m, H>,
    current: &Task,
    addr: VirtAddr,
) -> Result<MmRead<'m, H>, Errno> {
    let mm = lock.mm();
    drop(lock);
    let lock = mm.write();
    let addr = addr.page_floor();
    let vma = lock.find(addr).ok_or(Errno::EFAULT)?;
    if vma.start() > addr {
        // The tree changes under the exclusive lock only, also for an access from outside.
        mm.machine().host().decided(s::S_30, addr);
        mm.machine().host().decided(s::S_31, addr);
        expand_downwards(mm, &lock, current, vma, addr)?;
    }
    Ok(lock.downgrade())
}

/// Whether less than the stack's gap would be left between `addr` and the area below.
fn is_near<H: Host>(mm: &Mm<H>, map: &Map<H>, vma: &Vma<H>, addr: VirtAddr) -> bool {
    let gap = mm.machine().sysctl.stack_guard_gap << PAGE_SHIFT;
    map.prev(vma.start()).is_some_and(|prev| {
        let other = !prev.flags.contains(VmFlags::GROWSDOWN) && prev.is_accessible();
        other && addr.bytes_from(prev.end()) < gap
    })
}

/// The checks of 6.18, and the growth. The lock is held for writing.
fn expand_downwards<H: Host>(
    mm: &Mm<H>,
    map: &Map<H>,
    current: &Task,
    vma: &Vma<H>,
    addr: VirtAddr,
) -> Result<(), Errno> {
    let (machine, host) = (mm.machine(), mm.machine().host());
    if !vma.flags.contains(VmFlags::GROWSDOWN) {
        return Err(Errno::EFAULT);
    }
    let low = host.rule(c::C_100, addr.get() < machine.sysctl.mmap_min_addr, addr);
    if low && host.rule(s::S_29, true, addr) {
        return Err(Errno::EPERM);
    }
    let near = host.rule(a::A_50, is_near(mm, map, vma, addr), addr);
    if near && host.rule(s::S_28, true, addr) {
        return Err(Errno::ENOMEM);
    }
    anon_vma_prepare(machine, map, vma);
    let stack = vma.end().bytes_from(addr);
    let grown = grow(mm, map, current, vma, Growth { addr, stack, rule: c::C_100 });
    grown.map(|_| ()).map_err(|_| Errno::ENOMEM)
}

/// Grows the stack above `addr` for an access from outside, if no area contains `addr` (6.18). The
/// lock is held for reading, and dropped meanwhile.
/// # Errors
/// As [`expand_stack`]; the lock is dropped.
pub(crate) fn expand_for_access<H: Host>(
    lock: &mut Lock<'_, H>,
    current: &Task,
    addr: VirtAddr,
) -> Result<(), Errno> {
    if lock.map().is_none_or(|map| map.lookup(addr).is_some()) {
        return Ok(());
    }
    let mm = lock.mm();
    if let Lock::Read(read) = core::mem::replace(lock, Lock::Dropped(mm)) {
        *lock = Lock::Read(expand_stack(read, current, addr)?);
    }
    Ok(())
}
