//! Where every fault enters: what may not be asked, who serves it, who is charged.
//!
//! Invariant: every fault is seen by the observer twice, when it begins and when it ends. Absent:
//! what each kind of page does ([`super::anon`], [`super::file`], [`super::thp`],
//! [`super::hugetlb`]).
//! Linux: `handle_mm_fault`, `handle_pte_fault`, `sanitize_fault_flags`, `mm_account_fault`
//! (mm/memory.c, 6.18).

use super::outcome::{Fault, FaultError};
use super::site::Site;
use super::{anon, cow, file, hugetlb, numa, swap, thp};
use crate::addr::VirtAddr;
use crate::flags::{FaultFlags, VmFlags};
use crate::host::{Host, Injection};
use crate::linux::Linux;
use crate::mm::Mm;
use crate::observe::{Event, FaultEnd};
use crate::pgtable::{Decoded, Format, MakeError, Walked};
use crate::rule::c;
use crate::task::Task;
use crate::vma::{Map, Vma, anon_vma_prepare};
use core::sync::atomic::Ordering::Relaxed;

/// Where a fault happens, and who is charged. Whoever has these holds the mmap lock.
pub struct FaultCx<'a, H: Host> {
    /// The address space.
    pub mm: &'a Mm<H>,
    /// Its areas.
    pub map: &'a Map<H>,
    /// The area that contains the address.
    pub vma: &'a Vma<H>,
    /// Who acts: charged, and waited for.
    pub task: &'a Task,
}

impl<H: Host> Clone for FaultCx<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<H: Host> Copy for FaultCx<'_, H> {}

impl<H: Host> FaultCx<'_, H> {
    /// Gives the area an `anon_vma`, if it has none; a neighbour's where the two could merge one
    /// day.
    /// # Errors
    /// The fault's end, out of memory.
    pub(super) fn prepare_anon_vma(&self) -> Result<(), Fault> {
        let machine = self.mm.machine();
        let missing = self.vma.anon_vma().is_none();
        if missing && machine.host().inject(Injection::Bookkeeping) {
            return Err(Fault::OOM);
        }
        anon_vma_prepare(machine, self.map, self.vma);
        Ok(())
    }
}

/// Serves a fault at `addr`, which lies in `cx.vma`.
///
/// The mmap lock is held, for reading or writing, throughout; [`Fault`] says whether the caller is
/// to drop it. On 6.18 the fault is charged to `cx.task` (row C-54); on v4.4 GUP does that (row
///
///
/// Success says that the fault need not be taken again for the reason it was taken for; the caller
/// looks at the entry to see whether that is enough.
/// # Linux
/// `handle_mm_fault()`.
pub fn handle_mm_fault<H: Host>(cx: &FaultCx<'_, H>, addr: VirtAddr, flags: FaultFlags) -> Fault {
    let host = cx.mm.machine().host();
    host.see(Event::Fault { addr, flags });
    let fault = match sanitize(cx, addr, flags) {
        Ok(flags) => enter(cx, addr, flags),
        Err(refused) => refused,
    };
    let fault = without_droppable_oom(cx, addr, fault);
    account(cx, addr, flags, fault);
    host.see(Event::FaultEnd { addr, what: end_of(fault) });
    fault
}

/// Flags that may stand together with this area, or the fault's end (row C-55).
fn sanitize<H: Host>(
    cx: &FaultCx<'_, H>,
    addr: VirtAddr,
    flags: FaultFlags,
) -> Result<FaultFlags, Fault> {
    let host = cx.mm.machine().host();
    let cow = cx.vma.flags.is_cow_mapping();
    let write = flags.contains(FaultFlags::WRITE);
    if flags.contains(FaultFlags::UNSHARE) {
        if host.rule(c::C_55, write, addr) {
            host.warn(c::C_55);
            return Err(Fault::SIGSEGV);
        }
        return Ok(if cow { flags } else { flags - FaultFlags::UNSHARE });
    }
    let forbidden = write
        && (!cx.vma.flags.contains(VmFlags::MAYWRITE)
            || !cow && !cx.vma.flags.contains(VmFlags::WRITE));
    if host.rule(c::C_55, forbidden, addr) {
        host.warn(c::C_55);
        return Err(Fault::SIGSEGV);
    }
    Ok(flags)
}

/// Serves a fault that may be asked for, and charges nobody.
pub(super) fn enter<H: Host>(cx: &FaultCx<'_, H>, addr: VirtAddr, flags: FaultFlags) -> Fault {
    let addr = addr.page_floor();
    if cx.vma.is_hugetlb() {
        return hugetlb::serve(cx, addr, flags);
    }
    if thp::allowed(cx, addr) {
        let fault = thp::missing(cx, addr, flags);
        if fault != Fault::Failed(FaultError::Fallback) {
            return fault;
        }
    }
    let tables = cx.mm.tables();
    let Walked { place, entry } = tables.walk(addr);
    if place.level == 0 {
        return serve(Site { cx: *cx, addr, flags, place, seen: entry, new_table: false });
    }
    let new_table = !cx.vma.is_anonymous() && entry.is_none();
    if new_table && let Some(failed) = file::is_for_nothing(cx, addr, flags) {
        return failed;
    }
    // A huge leaf is split at most once per level.
    for _ in 0..3 {
        match tables.make(addr, 0) {
            Ok(place) => {
                let seen = tables.load(place);
                return serve(Site { cx: *cx, addr, flags, place, seen, new_table });
            }
            Err(MakeError::OutOfMemory) => return Fault::OOM,
            Err(MakeError::Unaddressable) => return Fault::SIGSEGV,
            Err(MakeError::HugeLeaf(place)) => {
                let fault = thp::present(cx, addr, flags, place);
                if fault != Fault::Failed(FaultError::Fallback) {
                    return fault;
                }
            }
        }
    }
    Fault::MINOR
}

/// Serves a fault at a level 0 entry.
fn serve<H: Host>(site: Site<'_, H>) -> Fault {
    match site.seen.decode(0) {
        Decoded::None | Decoded::Table(_) => missing(&site),
        Decoded::Swap(entry) => swap::not_present(site, entry),
        Decoded::Leaf(_, perms) if perms.protnone && site.cx.vma.is_accessible() => {
            numa::hint(&site)
        }
        Decoded::Leaf(_, perms) => {
            let wants = site.flags.intersects(FaultFlags::WRITE | FaultFlags::UNSHARE);
            if wants && !perms.write {
                return cow::write_protected(site);
            }
            mark_accessed(&site)
        }
    }
}

/// Serves a fault at an entry that maps nothing yet.
pub(super) fn missing<H: Host>(site: &Site<'_, H>) -> Fault {
    if site.cx.vma.is_anonymous() { anon::missing(site) } else { file::missing(site) }
}

/// The entry allows the access already: marks it, as the hardware would.
fn mark_accessed<H: Host>(site: &Site<'_, H>) -> Fault {
    if let Some(_guard) = site.lock() {
        let write = site.has(FaultFlags::WRITE);
        let entry = site.seen.map_perms(0, |perms| {
            perms.young |= write || H::Format::LOADS_MARK;
            perms.dirty |= write;
        });
        site.update(entry);
    }
    Fault::MINOR
}

/// A `VM_DROPPABLE` area never runs out of memory: the caller just tries again (row C-56).
fn without_droppable_oom<H: Host>(cx: &FaultCx<'_, H>, addr: VirtAddr, fault: Fault) -> Fault {
    let droppable = fault == Fault::OOM && cx.vma.flags.contains(VmFlags::DROPPABLE);
    if cx.mm.machine().host().rule(c::C_56, droppable, addr) { Fault::MINOR } else { fault }
}

/// Charges the task (row C-54).
fn account<H: Host>(cx: &FaultCx<'_, H>, addr: VirtAddr, flags: FaultFlags, fault: Fault) {
    if cx.mm.machine().linux() == Linux::V4_4 {
        return;
    }
    let major = match fault {
        Fault::Done { major, .. } | Fault::Completed { major } => major,
        Fault::Kept(_) | Fault::Retry(_) | Fault::Failed(_) => return,
    };
    if !cx.mm.machine().host().rule(c::C_54, true, addr) {
        return;
    }
    let counter = if major || flags.contains(FaultFlags::TRIED) {
        &cx.task.maj_flt
    } else {
        &cx.task.min_flt
    };
    counter.fetch_add(1, Relaxed);
}

fn end_of(fault: Fault) -> FaultEnd {
    match fault {
        Fault::Done { major: true, .. } => FaultEnd::Major,
        Fault::Done { major: false, .. } => FaultEnd::Minor,
        Fault::Kept(_) => FaultEnd::Kept,
        Fault::Retry(_) => FaultEnd::Retry,
        Fault::Completed { .. } => FaultEnd::Completed,
        Fault::Failed(FaultError::Oom) => FaultEnd::Oom,
        Fault::Failed(FaultError::Sigbus) => FaultEnd::Sigbus,
        Fault::Failed(FaultError::Sigsegv) => FaultEnd::Sigsegv,
        Fault::Failed(FaultError::HwPoison | FaultError::HwPoisonLarge(_)) => FaultEnd::HwPoison,
        Fault::Failed(FaultError::Fallback) => FaultEnd::Fallback,
    }
}
