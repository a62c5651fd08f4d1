//! Faulting a buffer in before it is used with faults disabled: nothing is pinned (row C-103).
//!
//! Each page is touched as the process itself would touch it, a stack grown if need be. The answer
//! is how many bytes at the end of the buffer are *not* there.
//! Linux: mm/gup.c `fault_in_readable`, `fault_in_writeable`, `fault_in_safe_writeable` (6.18).

use super::dump::{MayUnlock, fixup_user_fault};
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::fault::{Fault, FaultCx, handle_mm_fault};
use crate::flags::{FaultFlags, VmFlags};
use crate::host::{Host, Memory, WaitMode};
use crate::mm::{Lock, Mm};
use crate::rule::c;
use crate::task::Task;

/// Reads a byte of each page of `size` bytes at `addr`; bytes not faulted in.
///
/// The mmap lock is not held by the caller.
/// # Linux
/// `fault_in_readable()`.
pub fn fault_in_readable<H: Host>(current: &Task, mm: &Mm<H>, addr: VirtAddr, size: u64) -> u64 {
    each_page(mm, addr, size, |at| touch(current, mm, at, FaultFlags::USER).is_some())
}

/// Writes a zero into each page of `size` bytes at `addr`, whose contents are lost; bytes not
/// faulted in.
/// # Linux
/// `fault_in_writeable()`.
pub fn fault_in_writeable<H: Host>(current: &Task, mm: &Mm<H>, addr: VirtAddr, size: u64) -> u64 {
    each_page(mm, addr, size, |at| {
        let page = touch(current, mm, at, FaultFlags::USER | FaultFlags::WRITE);
        page.is_some_and(|page| {
            #[allow(clippy::cast_possible_truncation, reason = "below 4096")]
            mm.machine().memory().write(page, at.page_offset() as usize, &[0]);
            true
        })
    })
}

/// As [`fault_in_writeable`], but writes nothing, and grows no stack.
/// # Linux
/// `fault_in_safe_writeable()`.
pub fn fault_in_safe_writeable<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    addr: VirtAddr,
    size: u64,
) -> u64 {
    let mut lock = Lock::Read(mm.read());
    each_page(mm, addr, size, |at| {
        let mut unlocked = false;
        let may = MayUnlock::Yes(&mut unlocked);
        fixup_user_fault(current, &mut lock, at, FaultFlags::WRITE, may).is_ok()
    })
}

/// Asks `touch` for a byte of each page; bytes left when it says no.
fn each_page<H: Host>(
    mm: &Mm<H>,
    addr: VirtAddr,
    size: u64,
    mut touch: impl FnMut(VirtAddr) -> bool,
) -> u64 {
    let mut done = 0;
    while done < size {
        let at = addr.wrapping_add(done);
        mm.machine().host().decided(c::C_103, at);
        if !touch(at) {
            break;
        }
        done = done.saturating_add(PAGE_SIZE - at.page_offset()).min(size);
    }
    size - done
}

/// The frame that the process reaches at `addr`, after as many faults as it takes.
fn touch<H: Host>(current: &Task, mm: &Mm<H>, addr: VirtAddr, flags: FaultFlags) -> Option<Pfn> {
    let write = flags.contains(FaultFlags::WRITE);
    let host = mm.machine().host();
    let mut flags = flags | FaultFlags::ALLOW_RETRY | FaultFlags::KILLABLE;
    let mut lock = Lock::Read(mm.read());
    // Bounded by SIGKILL, and by the fault that has nothing left to do.
    loop {
        crate::vma::stack::expand_for_access(&mut lock, current, addr).ok()?;
        let vma = lock.map()?.lookup(addr)?;
        // A page that can only be executed can be read, here as on the processor.
        let allowed = if write { vma.flags.contains(VmFlags::WRITE) } else { vma.is_accessible() };
        if !allowed || !current.pkey_allows(vma.flags.pkey(), write) {
            return None;
        }
        let walked = mm.tables().walk(addr);
        let entry = walked.entry;
        let there = walked.frame(addr).filter(|_| !entry.is_protnone());
        if let Some(page) = there.filter(|_| !write || entry.is_writable()) {
            return Some(page);
        }
        if host.signals(current).fatal {
            return None;
        }
        let fault = {
            let map = lock.map()?;
            let cx = FaultCx { mm, map, vma: map.lookup(addr)?, task: current };
            handle_mm_fault(&cx, addr, flags)
        };
        match fault {
            Fault::Done { .. } | Fault::Kept(_) => {}
            Fault::Completed { .. } => lock.drop_lock(),
            Fault::Retry(ticket) => {
                lock.drop_lock();
                host.wait(ticket, WaitMode::Killable, current);
                flags |= FaultFlags::TRIED;
            }
            Fault::Failed(_) => return None,
        }
        lock.take();
        host.relax();
    }
}
