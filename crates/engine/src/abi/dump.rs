//! `get_dump_page`, v4.4: one page for a core dump.

use super::get::locked_pass;
use crate::addr::VirtAddr;
use crate::flags::Foll;
use crate::gup::{Output, Page, Request};
use crate::host::Host;
use crate::mm::{Lock, Mm};
use crate::rule::a;
use crate::task::Task;

/// The page at `addr`, with a reference; none where a dump has a hole, and after any error.
///
/// The kernel takes no lock, since a dumping process has no other thread left; here the lock of
/// `mm` is taken for reading, and must not be held by the caller for writing.
/// # Linux
/// mm/gup.c `get_dump_page`, v4.4. Row A-160.
pub fn get_dump_page<H: Host>(current: &Task, mm: &Mm<H>, addr: u64) -> Option<Page> {
    let host = mm.machine().host();
    let start = VirtAddr::new(addr);
    let mut foll = Foll::FORCE | Foll::GET;
    if host.rule(a::A_160, true, start) {
        foll |= Foll::DUMP;
    }
    let request = Request { start, nr_pages: 1, foll };
    let mut pages = [None];
    let mut vmas = [None];
    let mut out = Output { pages: Some(&mut pages), vmas: Some(&mut vmas) };
    let lock = Lock::Read(mm.read());
    let _pass = locked_pass(current, Some(current), &lock, &request, &mut out, false);
    let [page] = pages;
    if let Some(page) = &page {
        host.flush_page(page.pfn(), start);
    }
    page
}
