//! GUP-fast, 6.18: pages of the acting task's own address space, without the mmap lock where that
//! can be done.
//!
//! Here: what is asked, and what is left to the slow path. The walk: [`super::fast_walk`].
//! Linux: mm/gup.c `gup_fast_fallback` (rows C-64, C-65, C-67).

use super::args;
use super::family::internal;
use super::fast_walk::{Taken, lockless};
use super::outcome::{Outcome, Pages};
use super::page::Page;
use super::request::Request;
use super::stop::Stop;
use super::unpin::unpin_user_pages;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::errno::Errno;
use crate::flags::Foll;
use crate::host::Host;
use crate::mm::{Lock, Machine, Mm};
use crate::pgtable::task_size;
use crate::rule::{Rule, c, s};
use crate::task::Task;

/// A fast entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FastEntry {
    /// `get_user_pages_fast`.
    Get,
    /// `get_user_pages_fast_only`: never falls back.
    GetOnly,
    /// `pin_user_pages_fast`.
    Pin,
}

/// Gets or pins pages of `mm`, the acting task's own, from the page of `start` on, fast where that
/// can be done.
///
/// The mmap lock must not be held by the caller: the remainder takes it. `pages` must hold
/// `nr_pages` slots.
pub fn fast<H: Host>(
    entry: FastEntry,
    current: &Task,
    mm: &Mm<H>,
    start: VirtAddr,
    nr_pages: u64,
    foll: Foll,
    pages: &mut [Option<Page>],
) -> Outcome {
    let host = mm.machine().host();
    let mode = match entry {
        FastEntry::Get => Foll::GET,
        FastEntry::GetOnly => Foll::GET | Foll::FAST_ONLY,
        FastEntry::Pin => Foll::PIN,
    };
    let checked = args::slow(host, start, foll, mode, args::WantsPages::Yes)
        .and_then(|foll| args::fast(host, start, foll).map(|()| foll));
    let foll = match checked {
        Ok(foll) => foll,
        Err(rule) => return Outcome::stopped(0, Stop::with(rule, Errno::EINVAL)),
    };
    if (pages.len() as u64) < nr_pages {
        return Outcome::stopped(0, Stop::with(c::C_05, Errno::EINVAL));
    }
    if foll.contains(Foll::PIN) {
        mm.set_has_pinned();
    }
    let start = mm.untagged(start).page_floor();
    if let Err(stop) = range(host, start, nr_pages) {
        return Outcome::stopped(0, stop);
    }
    let got = lockless(mm, start, nr_pages, foll, pages);
    if got == nr_pages || foll.contains(Foll::FAST_ONLY) {
        return Outcome::full(got);
    }
    let request = Request {
        start: start.wrapping_add(got << PAGE_SHIFT),
        nr_pages: nr_pages - got,
        foll: foll | Foll::TOUCH | Foll::UNLOCKABLE,
    };
    let rest: Pages<'_> = usize::try_from(got).ok().and_then(|got| pages.get_mut(got..));
    let slow = internal(current, &mut Lock::Dropped(mm), request, rest);
    Outcome { got: got + slow.got, stop: slow.stop }
}

impl Taken for [Option<Page>] {
    #[inline]
    fn put(&mut self, index: u64, pfn: Pfn, count: u64) {
        let (index, count) = (index as usize, count as usize);
        let slots = self.get_mut(index..index + count).unwrap_or_default();
        slots.iter_mut().zip(pfn.get()..).for_each(|(slot, n)| *slot = Page::from_pfn(Pfn::new(n)));
    }
    fn give_back<H: Host>(&mut self, machine: &Machine<H>, got: u64) {
        unpin_user_pages(machine, self.get_mut(..got as usize).unwrap_or_default());
    }
}

/// The range must neither wrap nor reach beyond user space (rows C-64, C-67).
pub(super) fn range<H: Host>(host: &H, start: VirtAddr, nr_pages: u64) -> Result<(), Stop> {
    let bytes = nr_pages.checked_mul(1 << PAGE_SHIFT);
    let end = bytes.and_then(|bytes| start.checked_add(bytes));
    if host.rule(c::C_64, end.is_none(), start) {
        return Err(Stop::with(c::C_64, Errno::EOVERFLOW));
    }
    let beyond = end.is_some_and(|end| end > VirtAddr::new(task_size::<H>()));
    if host.rule(c::C_67, beyond, start) && host.rule(s::S_23, true, start) {
        return Err(Stop::with(c::C_67, Errno::EFAULT));
    }
    Ok(())
}

/// The rule under which a fast walk hands over to the slow path.
pub const HANDS_OVER: Rule = c::C_69;
