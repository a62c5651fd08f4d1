//! One page for a core dump, and one fault for those who met it with faults disabled.
//!
//! Linux: mm/gup.c `get_dump_page`, `fixup_user_fault` (6.18; rows C-96, C-97).

use super::page::Page;
use super::relock;
use super::request::Request;
use super::stop::Stop;
use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::fault::{Fault, FaultCx, FaultError, handle_mm_fault};
use crate::flags::{FaultFlags, Foll, VmFlags};
use crate::host::{Host, Ticket, WaitMode};
use crate::mm::Lock;
use crate::observe::Event;
use crate::rule::c;
use crate::task::Task;

/// The page at `addr`, with a reference; none where a dump has a hole, and after any error.
///
/// If `lock` is not held it is taken, unless SIGKILL comes, and given back (row C-96).
/// # Linux
/// `get_dump_page()`.
pub fn get_dump_page<H: Host>(
    current: &Task,
    lock: &mut Lock<'_, H>,
    addr: VirtAddr,
) -> Option<Page> {
    lock.mm().machine().host().decided(c::C_96, addr);
    let foll = Foll::FORCE | Foll::DUMP | Foll::GET;
    let mut pages = [None];
    let request = Request { start: addr, nr_pages: 1, foll };
    let _outcome = relock::run(current, lock, request, Some(&mut pages));
    let [page] = pages;
    page
}

/// What the caller of [`fixup_user_fault`] allows.
#[derive(Debug)]
pub enum MayUnlock<'u> {
    /// The lock may be dropped and taken again meanwhile; `true` is written if it was.
    Yes(&'u mut bool),
    /// It stays held.
    No,
}

/// Takes the fault at `addr` until it is done: the page was there then, but need not be any more.
///
/// `lock` is held on entry and on return. Grows no stack and forces nothing (row C-97).
/// # Errors
/// EFAULT: no area, one that does not allow the access, SIGBUS, SIGSEGV, failed memory. ENOMEM.
/// EINTR: SIGKILL is pending, and the fault may be killed. EINVAL: `lock` is not held.
/// # Linux
/// `fixup_user_fault()`.
pub fn fixup_user_fault<H: Host>(
    current: &Task,
    lock: &mut Lock<'_, H>,
    addr: VirtAddr,
    flags: FaultFlags,
    mut unlock: MayUnlock<'_>,
) -> Result<(), Stop> {
    let mm = lock.mm();
    let host = mm.machine().host();
    let addr = mm.untagged(addr);
    let mut flags = flags;
    if matches!(unlock, MayUnlock::Yes(_)) {
        flags |= FaultFlags::ALLOW_RETRY | FaultFlags::KILLABLE;
    }
    loop {
        let map = lock.map().ok_or(Stop::with(c::C_97, Errno::EINVAL))?;
        let vma = map.lookup(addr).filter(|vma| {
            let write = flags.contains(FaultFlags::WRITE);
            let needed = if write { VmFlags::WRITE } else { VmFlags::READ };
            let foreign = flags.contains(FaultFlags::REMOTE);
            vma.flags.contains(needed) && (foreign || current.pkey_allows(vma.flags.pkey(), write))
        });
        host.decided(c::C_97, addr);
        let vma = vma.ok_or(Stop::with(c::C_97, Errno::EFAULT))?;
        if flags.contains(FaultFlags::KILLABLE) && host.signals(current).fatal {
            return Err(Stop::with(c::C_97, Errno::EINTR));
        }
        let cx = FaultCx { mm, map, vma, task: current };
        match handle_mm_fault(&cx, addr, flags) {
            Fault::Done { .. } | Fault::Kept(_) => return Ok(()),
            Fault::Failed(error) => return Err(Stop::with(c::C_97, failed(error))),
            Fault::Completed { .. } => {
                relocked(lock, current, None, &mut unlock);
                return Ok(());
            }
            Fault::Retry(ticket) => {
                relocked(lock, current, Some(ticket), &mut unlock);
                flags |= FaultFlags::TRIED;
            }
        }
    }
}

/// Drops the lock, waits, and takes it again, whatever signals come.
fn relocked<H: Host>(
    lock: &mut Lock<'_, H>,
    current: &Task,
    ticket: Option<Ticket>,
    unlock: &mut MayUnlock<'_>,
) {
    lock.drop_lock();
    let host = lock.mm().machine().host();
    if let Some(ticket) = ticket {
        host.see(Event::Wait(ticket.0));
        host.wait(ticket, WaitMode::Killable, current);
    }
    lock.take();
    if let MayUnlock::Yes(unlocked) = unlock {
        **unlocked = true;
    }
}

fn failed(error: FaultError) -> Errno {
    match error {
        FaultError::Oom => Errno::ENOMEM,
        FaultError::HwPoison
        | FaultError::HwPoisonLarge(_)
        | FaultError::Sigbus
        | FaultError::Sigsegv
        | FaultError::Fallback => Errno::EFAULT,
    }
}
