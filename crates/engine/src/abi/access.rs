//! Another process's bytes, v4.4: `access_process_vm` and `access_remote_vm` (ptrace,
//! `/proc/PID/mem`).
//!
//! Page by page, always forced, with the lock held for reading throughout. Where there is no page
//! to get, a driver's own access is tried ([`crate::vma::SpecialAccess`]).
//! Linux: mm/memory.c of v4.4.

use super::entry::get_user_pages;
use super::release::{put_page, set_page_dirty_lock};
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::gup::Page;
use crate::host::{Host, Memory};
use crate::mm::{Lock, Machine, Mm};
use crate::rule::a;
use crate::task::Task;
use crate::vma::{Backing, Map};

/// Copies between `buf` and `tsk`'s memory at `addr`: into `buf`, or out of it if `write` is not 0.
/// Faults are charged to `tsk`. Returns bytes copied: errors are hidden, and a task without memory
/// of its own (`mm` none) has 0.
/// # Linux
/// mm/memory.c `access_process_vm`, v4.4. Row A-162.
pub fn access_process_vm<H: Host>(
    current: &Task,
    tsk: &Task,
    mm: Option<&Mm<H>>,
    addr: u64,
    buf: &mut [u8],
    write: i32,
) -> i32 {
    let Some(mm) = mm else { return 0 };
    copy(current, Some(tsk), mm, addr, buf, write)
}

/// As [`access_process_vm`], for an address space without a task: nobody is charged.
/// # Linux
/// mm/memory.c `access_remote_vm`, v4.4. Row A-162.
pub fn access_remote_vm<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    addr: u64,
    buf: &mut [u8],
    write: i32,
) -> i32 {
    copy(current, None, mm, addr, buf, write)
}

fn copy<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &Mm<H>,
    addr: u64,
    buf: &mut [u8],
    write: i32,
) -> i32 {
    let len = buf.len().min(i32::MAX as usize);
    let host = mm.machine().host();
    let mut lock = Lock::Read(mm.read());
    let mut done = 0;
    while done < len {
        let at = VirtAddr::new(addr).wrapping_add(done as u64);
        let force = i32::from(host.rule(a::A_162, true, at));
        let mut pages = [None];
        let out = Some(&mut pages[..]);
        get_user_pages(current, tsk, &mut lock, at.get(), 1, write, force, out, None);
        let rest = &mut buf[done..len];
        let bytes = match pages {
            [Some(page)] => copy_page(mm.machine(), page, at, rest, write),
            [None] => lock.map().map_or(0, |map| by_driver(map, at, rest, write)),
        };
        if bytes == 0 {
            break;
        }
        done += bytes;
    }
    i32::try_from(done).unwrap_or(i32::MAX)
}

/// Copies within one page, and gives it back.
fn copy_page<H: Host>(
    machine: &Machine<H>,
    page: Page,
    at: VirtAddr,
    buf: &mut [u8],
    write: i32,
) -> usize {
    #[allow(clippy::cast_possible_truncation, reason = "below 4096")]
    let offset = at.page_offset() as usize;
    let bytes = buf.len().min(PAGE_SIZE as usize - offset);
    if write == 0 {
        machine.memory().read(page.pfn(), offset, &mut buf[..bytes]);
    } else {
        machine.memory().write(page.pfn(), offset, &buf[..bytes]);
        set_page_dirty_lock(machine, &page);
    }
    put_page(machine, page);
    bytes
}

/// The driver's own access, where the area has one (`vm_ops->access`).
fn by_driver<H: Host>(map: &Map<H>, at: VirtAddr, buf: &mut [u8], write: i32) -> usize {
    let Some(vma) = map.lookup(at) else { return 0 };
    let Backing::Special(special) = &vma.backing else { return 0 };
    let Some(access) = &special.access else { return 0 };
    let done = if write == 0 { access.read(at, buf) } else { access.write(at, buf) };
    done.min(buf.len())
}
