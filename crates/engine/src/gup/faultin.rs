//! Taking the fault that a lookup asks for, and reading its outcome.
//!
//! Invariant: the fault flags are a function of the request's flags alone. Absent: the fault
//! itself.
//! Linux: mm/gup.c `faultin_page` (v4.4: rows A-130 … A-146; 6.18: C-48 … C-54).

use super::request::Cx;
use super::semantics::{Faulted, Look};
use super::stop::{Busy, Stop};
use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::fault::{Fault, FaultCx, FaultError, handle_mm_fault};
use crate::flags::{FaultFlags, Foll, VmFlags};
use crate::host::{Host, Injection};
use crate::rule::{Rule, a, c};
use crate::task::Task;
use crate::vma::Vma;
use core::sync::atomic::Ordering::Relaxed;

fn take<H: Host>(cx: &Cx<'_, H>, vma: &Vma<H>, addr: VirtAddr, flags: FaultFlags) -> Fault {
    if cx.host().inject(Injection::StrayOutcome) {
        return Fault::Failed(FaultError::Fallback);
    }
    let fault = FaultCx { mm: cx.mm, map: cx.map, vma, task: cx.current };
    handle_mm_fault(&fault, addr, flags)
}

/// v4.4's `faultin_page`.
pub(crate) fn v4_4<H: Host>(cx: &Cx<'_, H>, vma: &Vma<H>, addr: VirtAddr, foll: Foll) -> Faulted {
    let host = cx.host();
    let lock_only = foll.contains(Foll::MLOCK) && !foll.contains(Foll::POPULATE);
    if host.rule(a::A_130, lock_only, addr) {
        return Faulted::Skip;
    }
    let populate = foll.contains(Foll::POPULATE);
    if host.rule(a::A_131, populate && crate::vma::stack::is_guard_page(cx.map, vma, addr), addr) {
        host.decided(a::A_49, addr);
        return Faulted::Skip;
    }
    let flags = fault_flags_v4_4(cx, addr, foll);
    let fault = take(cx, vma, addr, flags);
    match fault {
        Fault::Failed(error) => Faulted::Stop(failed_v4_4(cx, addr, foll, error)),
        Fault::Kept(_) | Fault::Retry(_) | Fault::Completed { .. } => {
            // What has to be waited for is being read, but for what a userfault handler is asked
            // for.
            account_v4_4(cx, addr, vma.uffd.is_none());
            host.decided(a::A_142, addr);
            Faulted::Busy(busy(fault))
        }
        Fault::Done { major, wrote } => {
            account_v4_4(cx, addr, major);
            host.decided(a::A_146, addr);
            Faulted::Again(after_v4_4(cx, vma, addr, foll, wrote))
        }
    }
}

fn fault_flags_v4_4<H: Host>(cx: &Cx<'_, H>, addr: VirtAddr, foll: Foll) -> FaultFlags {
    let host = cx.host();
    let mut flags = FaultFlags::empty();
    if host.rule(a::A_132, foll.contains(Foll::WRITE), addr) {
        flags |= FaultFlags::WRITE;
    }
    if host.rule(a::A_133, cx.may_drop, addr) {
        flags |= FaultFlags::ALLOW_RETRY;
    }
    if host.rule(a::A_134, foll.contains(Foll::NOWAIT), addr) {
        flags |= FaultFlags::ALLOW_RETRY | FaultFlags::RETRY_NOWAIT;
    }
    if host.rule(a::A_135, foll.contains(Foll::TRIED), addr) {
        if flags.contains(FaultFlags::ALLOW_RETRY) {
            host.warn(a::A_135);
        }
        flags |= FaultFlags::TRIED;
    }
    // KILLABLE and USER are never set.
    host.decided(a::A_136, addr);
    flags
}

fn failed_v4_4<H: Host>(cx: &Cx<'_, H>, addr: VirtAddr, foll: Foll, error: FaultError) -> Stop {
    let host = cx.host();
    let stop = match error {
        FaultError::Oom => Stop::with(a::A_137, Errno::ENOMEM),
        FaultError::HwPoison | FaultError::HwPoisonLarge(_) => poisoned(a::A_138, foll),
        FaultError::Sigbus | FaultError::Sigsegv => Stop::by(a::A_139),
        FaultError::Fallback => {
            host.bug(a::A_140);
            Stop::with(a::A_140, Errno::EFAULT)
        }
    };
    host.decided(stop.rule, addr);
    stop
}

/// EHWPOISON for those who asked for it, else EFAULT.
fn poisoned(rule: Rule, foll: Foll) -> Stop {
    let asked = rule.when(foll.contains(Foll::HWPOISON));
    Stop::with(rule, if asked { Errno::EHWPOISON } else { Errno::EFAULT })
}

/// Every fault that is not an error is charged to `tsk`, a retried one twice (row A-141).
fn account_v4_4<H: Host>(cx: &Cx<'_, H>, addr: VirtAddr, major: bool) {
    let Some(task) = cx.charged else { return };
    if cx.host().rule(a::A_141, true, addr) {
        charge(task, major);
    }
}

/// One fault on a task's account.
pub(crate) fn charge(task: &Task, major: bool) {
    let counter = if major { &task.maj_flt } else { &task.min_flt };
    counter.fetch_add(1, Relaxed);
}

/// The page's flags after a fault that broke COW in a read-only area: v4.4 as published forgets the
/// write (A-143, Dirty COW); the fix remembers that COW was broken instead.
fn after_v4_4<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    foll: Foll,
    wrote: bool,
) -> Foll {
    let host = cx.host();
    if host.rule(a::A_145, vma.flags.contains(VmFlags::WRITE), addr) {
        return foll;
    }
    if !wrote {
        return foll;
    }
    if host.rule(a::A_143, cx.mm.machine().quirks().dirty_cow, addr) {
        foll - Foll::WRITE
    } else if host.rule(a::A_144, true, addr) {
        foll | Foll::COW
    } else {
        foll
    }
}

fn busy(fault: Fault) -> Busy {
    match fault {
        Fault::Retry(ticket) => Busy::Retry(ticket),
        Fault::Completed { .. } => Busy::Completed,
        Fault::Kept(_) | Fault::Done { .. } | Fault::Failed(_) => Busy::Kept,
    }
}

/// 6.18's `faultin_page`.
pub(crate) fn v6_18<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    foll: Foll,
    look: Look,
) -> Faulted {
    let host = cx.host();
    if host.rule(c::C_48, foll.contains(Foll::NOFAULT), addr) {
        return Faulted::Stop(Stop::by(c::C_48));
    }
    let retries = foll.intersects(Foll::UNLOCKABLE | Foll::NOWAIT);
    host.decided(if retries { c::C_49 } else { c::C_50 }, addr);
    let fault = take(cx, vma, addr, fault_flags_v6_18(foll, look));
    match fault {
        Fault::Failed(error) => Faulted::Stop(failed_v6_18(cx, addr, foll, error)),
        Fault::Done { .. } => Faulted::Again(foll),
        Fault::Completed { .. } => {
            host.decided(c::C_51, addr);
            Faulted::Busy(Busy::Completed)
        }
        Fault::Kept(_) | Fault::Retry(_) => {
            host.decided(c::C_53, addr);
            Faulted::Busy(busy(fault))
        }
    }
}

/// Row C-49: a function of the request's flags, and UNSHARE where the lookup asks for it.
pub(crate) fn fault_flags_v6_18(foll: Foll, look: Look) -> FaultFlags {
    let mut flags = FaultFlags::empty();
    let mut set = |when: Foll, give: FaultFlags| {
        if foll.contains(when) {
            flags |= give;
        }
    };
    set(Foll::WRITE, FaultFlags::WRITE);
    set(Foll::REMOTE, FaultFlags::REMOTE);
    set(Foll::UNLOCKABLE, FaultFlags::ALLOW_RETRY | FaultFlags::KILLABLE);
    set(Foll::UNLOCKABLE | Foll::INTERRUPTIBLE, FaultFlags::INTERRUPTIBLE);
    set(Foll::NOWAIT, FaultFlags::ALLOW_RETRY | FaultFlags::RETRY_NOWAIT);
    set(Foll::TRIED, FaultFlags::TRIED);
    match look {
        Look::Unshare => flags | FaultFlags::UNSHARE,
        Look::Absent | Look::Page(_) | Look::NoStruct | Look::Stop(_) => flags,
    }
}

fn failed_v6_18<H: Host>(cx: &Cx<'_, H>, addr: VirtAddr, foll: Foll, error: FaultError) -> Stop {
    cx.host().decided(c::C_52, addr);
    match error {
        FaultError::Oom => Stop::with(c::C_52, Errno::ENOMEM),
        FaultError::HwPoison | FaultError::HwPoisonLarge(_) => poisoned(c::C_52, foll),
        FaultError::Sigbus | FaultError::Sigsegv => Stop::with(c::C_52, Errno::EFAULT),
        FaultError::Fallback => {
            cx.host().bug(c::C_52);
            Stop::with(c::C_52, Errno::EFAULT)
        }
    }
}
