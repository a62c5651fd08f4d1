//! Reading and writing another address space through GUP: /proc/PID/mem, ptrace,
//! `process_vm_readv`.
//!
//! Both forms move bytes page by page and tell how many; neither keeps a page.
//! Linux: mm/memory.c `__access_remote_vm` (row C-98); `mm/process_vm_access.c` (row C-101).

use super::family::{Entry, Locked, gup};
use super::outcome::Outcome;
use super::page::Page;
use super::stop::Stop;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::errno::Errno;
use crate::flags::{Foll, VmFlags};
use crate::frame::FrameFlags;
use crate::host::{Host, Memory};
use crate::mm::{Lock, Mm};
use crate::rule::{c, m};
use crate::task::Task;
use crate::vma::Backing;

/// Which way the bytes go.
pub enum Access<'b> {
    /// From the address space.
    Read(&'b mut [u8]),
    /// Into it.
    Write(&'b [u8]),
}

impl Access<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Read(buffer) => buffer.len(),
            Self::Write(buffer) => buffer.len(),
        }
    }
    fn foll(&self) -> Foll {
        match self {
            Self::Read(_) => Foll::empty(),
            Self::Write(_) => Foll::WRITE,
        }
    }
}

/// What a remote access did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Bytes.
    pub bytes: usize,
    /// What ended it early.
    pub stop: Option<Stop>,
}

/// `access_remote_vm`: moves bytes at `addr` of `mm`, one page at a time, growing a stack if `addr`
/// lies below one.
///
/// Takes the mmap lock, killably. `foll` is the caller's, FORCE for ptrace. Falls back to the
/// area's own `access` where there are no pages. Returns what was moved before the first page that
/// could not be had.
pub fn access_remote_vm<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    addr: VirtAddr,
    mut access: Access<'_>,
    foll: Foll,
) -> Moved {
    let host = mm.machine().host();
    let addr = mm.untagged(addr);
    let Some(read) = mm.read_killable(current) else {
        return Moved { bytes: 0, stop: Some(Stop::with(c::C_98, Errno::EINTR)) };
    };
    let mut lock = Lock::Read(read);
    if crate::vma::stack::expand_for_access(&mut lock, current, addr).is_err() {
        host.decided(c::C_98, addr);
        return Moved { bytes: 0, stop: Some(Stop::by(c::C_16)) };
    }
    let mut done = 0;
    while done < access.len() {
        let at = addr.wrapping_add(done as u64);
        let offset = at.page_offset();
        let here = usize::try_from(PAGE_SIZE - offset).unwrap_or(0).min(access.len() - done);
        let foll = foll | access.foll();
        let mut page = [None];
        let got =
            gup(Entry::GetRemote, current, &mut lock, at, 1, foll, Some(&mut page), Locked::Null);
        host.decided(c::C_98, at);
        let [Some(page)] = page else {
            let special = special_access(&lock, at, &mut access, done, here);
            let hole = lock.map().is_some_and(|map| map.lookup(at).is_none());
            match special {
                // What comes after the first page may lie below a stack, too.
                0 if hole
                    && crate::vma::stack::expand_for_access(&mut lock, current, at).is_ok() => {}
                0 => return Moved { bytes: done, stop: got.stop },
                bytes => done += bytes,
            }
            continue;
        };
        copy(mm, page.pfn(), offset, &mut access, done, here);
        mm.machine().put_page(page.pfn());
        done += here;
    }
    Moved { bytes: done, stop: None }
}

/// Moves `here` bytes between a frame and the access's buffer at `done`; a write dirties the folio
/// (M-11).
fn copy<H: Host>(
    mm: &Mm<H>,
    pfn: Pfn,
    offset: u64,
    access: &mut Access<'_>,
    done: usize,
    here: usize,
) {
    let memory = mm.machine().memory();
    let offset = usize::try_from(offset).unwrap_or(0);
    match access {
        Access::Read(buffer) => {
            if let Some(part) = buffer.get_mut(done..done + here) {
                memory.read(pfn, offset, part);
            }
        }
        Access::Write(buffer) => {
            if let Some(part) = buffer.get(done..done + here) {
                memory.write(pfn, offset, part);
            }
            if mm.machine().host().rule(m::M_11, true, VirtAddr::new(0)) {
                mm.machine().frames().set(pfn, FrameFlags::DIRTY);
            }
        }
    }
}

/// `vm_ops->access` of an area without pages; bytes moved, 0 if there is none.
fn special_access<H: Host>(
    lock: &Lock<'_, H>,
    at: VirtAddr,
    access: &mut Access<'_>,
    done: usize,
    here: usize,
) -> usize {
    let vma = lock.map().and_then(|map| map.lookup(at));
    let Some(vma) = vma.filter(|vma| vma.flags.intersects(VmFlags::IO | VmFlags::PFNMAP)) else {
        return 0;
    };
    let Backing::Special(special) = &vma.backing else { return 0 };
    let Some(ops) = &special.access else { return 0 };
    match access {
        Access::Read(buffer) => {
            buffer.get_mut(done..done + here).map_or(0, |part| ops.read(at, part))
        }
        Access::Write(buffer) => {
            buffer.get(done..done + here).map_or(0, |part| ops.write(at, part))
        }
    }
}

/// Pages that `process_vm_readv` pins in one go.
const BATCH: u64 = 16;

/// `process_vm_readv` and `process_vm_writev` for one remote range: pins pages of `mm`, without
/// force, and copies.
///
/// The lock may be dropped by faults. `bytes` less than asked for means that the page there was
/// refused; 0 with `stop` is the caller's EFAULT.
pub fn process_vm<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    addr: VirtAddr,
    mut access: Access<'_>,
) -> Moved {
    let host = mm.machine().host();
    let mut done = 0;
    while done < access.len() {
        let at = addr.wrapping_add(done as u64);
        let offset = at.page_offset();
        let bytes = (access.len() - done) as u64;
        let pages = (offset + bytes).div_ceil(PAGE_SIZE).min(BATCH);
        let mut pinned: [Option<Page>; BATCH as usize] = Default::default();
        let foll = access.foll();
        let mut lock = Lock::Read(mm.read());
        host.decided(c::C_101, at);
        let start = at.page_floor();
        let out = Some(&mut pinned[..]);
        let outcome =
            gup(Entry::PinRemote, current, &mut lock, start, pages, foll, out, Locked::Given);
        drop(lock);
        done += copy_pinned(mm, &mut pinned, offset, &mut access, done);
        if outcome.got < pages {
            return Moved { bytes: done, stop: outcome.stop };
        }
    }
    Moved { bytes: done, stop: None }
}

/// Copies through the pinned pages and gives them back; bytes moved.
fn copy_pinned<H: Host>(
    mm: &Mm<H>,
    pinned: &mut [Option<Page>],
    first: u64,
    access: &mut Access<'_>,
    done: usize,
) -> usize {
    let mut moved = 0;
    for (n, page) in pinned.iter_mut().enumerate() {
        let Some(page) = page.take() else { break };
        let offset = if n == 0 { first } else { 0 };
        let room = usize::try_from(PAGE_SIZE - offset).unwrap_or(0);
        let here = room.min(access.len() - done - moved);
        copy(mm, page.pfn(), offset, access, done + moved, here);
        mm.machine().unpin_pages(page.pfn(), 1);
        moved += here;
    }
    moved
}

/// What `/proc/PID/cmdline` does to find its text: get one page of anonymous memory (row S-09).
pub fn get_anon_page<H: Host>(
    current: &Task,
    lock: &mut Lock<'_, H>,
    addr: VirtAddr,
    page: &mut [Option<Page>; 1],
) -> Outcome {
    gup(Entry::GetRemote, current, lock, addr, 1, Foll::ANON, Some(page), Locked::Null)
}
