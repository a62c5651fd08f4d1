//! Loads and stores of a process, as its CPU and the kernel's fault handler would serve them.
//!
//! A device reads as ones and forgets what is stored. Absent: GUP; this is what GUP stands in for.
//! Linux: arch/x86/mm/fault.c `do_user_addr_fault`.

use super::host::PlayHost;
use super::program::Signal;
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::fault::{Fault, FaultCx, FaultError, handle_mm_fault};
use gup::flags::{FaultFlags, VmFlags};
use gup::host::{Host, Memory, WaitMode, Woken};
use gup::mm::{Mm, MmRead};
use gup::task::Task;
use gup::vma::{Vma, expand_stack};

/// How often one access may fault: a COW after a read fault needs two, a split a few more.
const FAULTS_MAX: u32 = 64;

/// What an access does to a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Load,
    Store,
}

/// Reads `into.len()` bytes at `addr`.
/// # Errors
/// The signal of the first access that cannot be served.
pub(super) fn load(
    mm: &Mm<PlayHost>,
    task: &Task,
    addr: VirtAddr,
    into: &mut [u8],
) -> Result<(), Signal> {
    let len = into.len();
    for (at, from, count) in parts(addr, len) {
        let pfn = reach(mm, task, at, Access::Load)?;
        let part = &mut into[from..from + count];
        if mm.machine().frames().pfn_valid(pfn) {
            mm.machine().memory().read(pfn, at.page_offset() as usize, part);
        } else {
            part.fill(0xff);
        }
    }
    Ok(())
}

/// Writes `bytes` at `addr`.
/// # Errors
/// As [`load`]; the pages before it are written.
pub(super) fn store(
    mm: &Mm<PlayHost>,
    task: &Task,
    addr: VirtAddr,
    bytes: &[u8],
) -> Result<(), Signal> {
    for (at, from, count) in parts(addr, bytes.len()) {
        let pfn = reach(mm, task, at, Access::Store)?;
        let part = &bytes[from..from + count];
        if mm.machine().frames().pfn_valid(pfn) {
            mm.machine().memory().write(pfn, at.page_offset() as usize, part);
        }
    }
    Ok(())
}

/// As [`load`], by another thread while a call holds the mmap lock: no stack can grow.
pub(super) fn load_mapped(
    mm: &Mm<PlayHost>,
    addr: VirtAddr,
    into: &mut [u8],
) -> Result<(), Signal> {
    if all_mapped(mm, addr, into.len()) { load(mm, &Task::default(), addr, into) } else { Ok(()) }
}

/// As [`store`], likewise.
pub(super) fn store_mapped(mm: &Mm<PlayHost>, addr: VirtAddr, bytes: &[u8]) -> Result<(), Signal> {
    if all_mapped(mm, addr, bytes.len()) {
        store(mm, &Task::default(), addr, bytes)
    } else {
        Ok(())
    }
}

/// Whether areas contain all the bytes.
fn all_mapped(mm: &Mm<PlayHost>, addr: VirtAddr, len: usize) -> bool {
    let map = mm.read();
    parts(addr, len).all(|(at, ..)| map.lookup(at).is_some())
}

/// Cuts `len` bytes at `addr` at page boundaries: address, place in the buffer, bytes.
pub(super) fn parts(addr: VirtAddr, len: usize) -> impl Iterator<Item = (VirtAddr, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = addr.wrapping_add(done as u64);
        let count = ((PAGE_SIZE - at.page_offset()) as usize).min(len - done);
        let part = (at, done, count);
        done += count;
        (count > 0).then_some(part)
    })
}

/// The frame that the hardware reaches at `addr`, if its entry allows the access now.
pub(super) fn mapped(mm: &Mm<PlayHost>, addr: VirtAddr, access: Access) -> Option<Pfn> {
    let walked = mm.tables().walk(addr);
    let entry = walked.entry;
    let refused = entry.is_protnone() || access == Access::Store && !entry.is_writable();
    walked.frame(addr).filter(|_| !refused)
}

fn reach(mm: &Mm<PlayHost>, task: &Task, addr: VirtAddr, access: Access) -> Result<Pfn, Signal> {
    let host = mm.machine().host();
    let mut tried = FaultFlags::empty();
    for _ in 0..FAULTS_MAX {
        if let Some(pfn) = mapped(mm, addr, access) {
            mark(mm, addr, access);
            return Ok(pfn);
        }
        if host.signals(task).fatal {
            return Err(Signal::Sigkill);
        }
        let ticket = match fault(mm, task, addr, access, tried)? {
            Fault::Done { .. } | Fault::Completed { .. } => continue,
            Fault::Kept(ticket) | Fault::Retry(ticket) => ticket,
            Fault::Failed(error) => return Err(signal_of(error)),
        };
        if host.wait(ticket, WaitMode::Killable, task) == Woken::Signal {
            return Err(Signal::Sigkill);
        }
        tried = FaultFlags::TRIED;
    }
    Err(Signal::Sigsegv)
}

/// What the processor notes in the entry through which it goes.
fn mark(mm: &Mm<PlayHost>, addr: VirtAddr, access: Access) {
    let tables = mm.tables();
    let place = tables.walk(addr).place;
    let _guard = tables.lock(place.table);
    let entry = tables.load(place);
    if entry.is_leaf(place.level) {
        let marked = entry.map_perms(place.level, |perms| {
            perms.young = true;
            perms.dirty |= access == Access::Store;
        });
        tables.store(place, marked);
    }
}

fn signal_of(error: FaultError) -> Signal {
    match error {
        FaultError::Oom => Signal::Sigkill,
        FaultError::Sigbus | FaultError::HwPoison | FaultError::HwPoisonLarge(_) => Signal::Sigbus,
        FaultError::Sigsegv | FaultError::Fallback => Signal::Sigsegv,
    }
}

/// One fault, the area found and checked first.
fn fault(
    mm: &Mm<PlayHost>,
    task: &Task,
    addr: VirtAddr,
    access: Access,
    tried: FaultFlags,
) -> Result<Fault, Signal> {
    let map = mm.read();
    let map = match map.lookup(addr) {
        Some(_) => map,
        None => below_stack(map, task, addr)?,
    };
    let Some(vma) = map.lookup(addr) else { return Err(Signal::Sigsegv) };
    if !allows(vma, access) {
        return Err(Signal::Sigsegv);
    }
    let usual = FaultFlags::USER | FaultFlags::ALLOW_RETRY | FaultFlags::KILLABLE;
    let write = match access {
        Access::Load => FaultFlags::empty(),
        Access::Store => FaultFlags::WRITE,
    };
    let cx = FaultCx { mm, map: &map, vma, task };
    Ok(handle_mm_fault(&cx, addr, usual | write | tried))
}

/// The lock, after the stack above `addr` has grown down to it.
fn below_stack<'m>(
    map: MmRead<'m, PlayHost>,
    task: &Task,
    addr: VirtAddr,
) -> Result<MmRead<'m, PlayHost>, Signal> {
    let stack = map.find(addr).is_some_and(|vma| vma.flags.contains(VmFlags::GROWSDOWN));
    if !stack {
        return Err(Signal::Sigsegv);
    }
    expand_stack(map, task, addr).map_err(|_| Signal::Sigsegv)
}

/// Whether the area's permissions allow the access (`access_error`).
fn allows(vma: &Vma<PlayHost>, access: Access) -> bool {
    match access {
        Access::Load => vma.is_accessible(),
        Access::Store => vma.flags.contains(VmFlags::WRITE),
    }
}
