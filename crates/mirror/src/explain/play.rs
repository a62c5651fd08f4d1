//! Playing a consumer: the GUP calls that it makes, in the engine, on a mirror.
//!
//! A *play* ends as the system call would: with the pages that were obtained, the refusal that ended it, and what
//! the caller sees. Pages are given back at the end of each call, as short-term users do; the mirror is used
//! for one play only.
//!
//! Linux 6.18: `mm/process_vm_access.c`, `mm/memory.c` `__access_remote_vm`, `mm/madvise.c` `madvise_populate`,
//! `mm/mlock.c` `do_mlock`, `lib/iov_iter.c`, `io_uring/rsrc.c`, `net/xdp/xdp_umem.c`, `kernel/futex/core.c`.

use crate::consumer::{Answers, Consumer, Entry};
use crate::explain::request::Ask;
use crate::explain::verdict::Call;
use crate::world::build::Mirror;
use crate::world::host::MirrorHost;
use gup::addr::VirtAddr;
use gup::errno::Errno;
use gup::flags::Foll;
use gup::gup::{self as engine, Locked, Outcome, Page, Stop};
use gup::mm::Lock;
use gup::task::Task;

/// A range of whole pages, and where in the first page the caller's bytes begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First byte address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Pages that it touches.
    pub pages: u64,
}

/// How a play ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Played {
    /// Pages obtained before the first refusal.
    pub got: u64,
    /// The first refusal.
    pub stop: Option<Stop>,
    /// What the caller sees; `None` for a bare GUP call.
    pub call: Option<Call>,
}

/// Plays `ask` on `mirror`, for `span`.
pub(crate) fn play(mirror: &Mirror, ask: Ask, span: Span) -> Played {
    let stage = Stage { mirror, task: Task::default(), span };
    let Some(consumer) = ask.consumer() else {
        let outcome = stage.bare(ask.flags());
        return Played { got: outcome.got, stop: outcome.stop, call: None };
    };
    match consumer.entry() {
        Entry::Access => stage.access(consumer),
        Entry::Fast if consumer.answers() == Answers::PerPage => stage.each_page(consumer),
        Entry::Fast | Entry::Slow | Entry::Remote | Entry::Populate | Entry::Mlock => {
            stage.once(consumer)
        }
    }
}

/// Where a play takes place.
struct Stage<'a> {
    mirror: &'a Mirror,
    task: Task,
    span: Span,
}

/// The flags that a caller of 6.18 passes itself: all but those that entry points add.
fn passed(flags: Foll) -> Foll {
    flags - Foll::INTERNAL - Foll::GET
}

impl Stage<'_> {
    fn lock(&self) -> Lock<'_, MirrorHost> {
        Lock::Read(self.mirror.mm.read())
    }

    /// One call for `pages` pages from `start` through the entry point of `flags` and `entry`.
    fn call(&self, entry: Entry, flags: Foll, start: u64, pages: u64) -> Outcome {
        let slots = usize::try_from(pages).unwrap_or(0);
        let mut out: Vec<Option<Page>> = (0..slots).map(|_| None).collect();
        let (entry, locked) = entry_point(entry, flags);
        let (foll, start) = (passed(flags), VirtAddr::new(start));
        let mut lock = self.lock();
        let outcome =
            engine::gup(entry, &self.task, &mut lock, start, pages, foll, Some(&mut out), locked);
        drop(lock);
        for page in out.into_iter().flatten() {
            if flags.contains(Foll::PIN) {
                self.mirror.machine.unpin_pages(page.pfn(), 1);
            } else {
                self.mirror.machine.put_page(page.pfn());
            }
        }
        outcome
    }

    fn bare(&self, flags: Foll) -> Outcome {
        self.call(Entry::Remote, flags, self.span.start, self.span.pages)
    }

    /// One call for everything.
    fn once(&self, consumer: Consumer) -> Played {
        let outcome =
            self.call(consumer.entry(), consumer.flags(), self.span.start, self.span.pages);
        let call = match consumer.answers() {
            Answers::Bytes => self.bytes(outcome, Errno::EFAULT),
            Answers::AllBytes if outcome.stop.is_none() => returned(self.span.len),
            _ => all_or(consumer, outcome),
        };
        Played { got: outcome.got, stop: outcome.stop, call: Some(call) }
    }

    /// The bytes on the pages obtained, or `none` if there is no page.
    fn bytes(&self, outcome: Outcome, none: Errno) -> Call {
        let before = self.span.start & 0xfff;
        let bytes = (outcome.got << 12).saturating_sub(before).min(self.span.len);
        if outcome.got == 0 { failed(none) } else { returned(bytes) }
    }

    /// Page by page through `access_remote_vm`, which ends at the first refusal; ptrace goes on word by word.
    fn access(&self, consumer: Consumer) -> Played {
        if consumer.answers() == Answers::PerPage {
            return self.each_page(consumer);
        }
        let (mut got, mut stop) = (0, None);
        while got < self.span.pages && stop.is_none() {
            let outcome = self.one_page(consumer, got);
            stop = outcome.stop;
            got += outcome.got;
        }
        let call = self.bytes(Outcome { got, stop }, Errno::EIO);
        Played { got, stop, call: Some(call) }
    }

    /// One call per page, whatever became of those before.
    fn each_page(&self, consumer: Consumer) -> Played {
        let refused = if consumer.entry() == Entry::Access { Errno::EIO } else { Errno::EFAULT };
        let mut played = Played { got: 0, stop: None, call: None };
        let (mut worked, mut mask, mut errno) = (0_u64, 0, None);
        for page in 0..self.span.pages {
            let outcome = self.one_page(consumer, page);
            match outcome.stop {
                None => {
                    worked += 1;
                    mask |= if page < 64 { 1 << page } else { 0 };
                    played.got += u64::from(played.stop.is_none());
                }
                Some(stop) => {
                    played.stop = played.stop.or(Some(stop));
                    errno = Some(refused);
                }
            }
        }
        let ret = if worked == 0 { -1 } else { i64::try_from(worked).unwrap_or(i64::MAX) };
        played.call = Some(Call { ret, errno, mask });
        played
    }

    fn one_page(&self, consumer: Consumer, page: u64) -> Outcome {
        let start = (self.span.start & !0xfff).wrapping_add(page << 12);
        self.call(consumer.entry(), consumer.flags(), start, 1)
    }
}

/// The engine's entry point for a consumer's, and whether the lock may be dropped.
fn entry_point(entry: Entry, flags: Foll) -> (engine::Entry, Locked) {
    let pin = flags.contains(Foll::PIN);
    match entry {
        Entry::Remote if pin => (engine::Entry::PinRemote, Locked::Given),
        Entry::Remote => (engine::Entry::GetRemote, Locked::Given),
        Entry::Slow if pin => (engine::Entry::Pin, Locked::Null),
        Entry::Slow => (engine::Entry::Get, Locked::Null),
        Entry::Fast if pin => (engine::Entry::PinUnlocked, Locked::Given),
        Entry::Fast => (engine::Entry::GetUnlocked, Locked::Given),
        Entry::Access | Entry::Populate | Entry::Mlock => (engine::Entry::GetRemote, Locked::Null),
    }
}

fn returned(value: u64) -> Call {
    Call { ret: i64::try_from(value).unwrap_or(i64::MAX), errno: None, mask: 0 }
}

fn failed(errno: Errno) -> Call {
    Call { ret: -1, errno: Some(errno), mask: 0 }
}

/// Everything, or an errno: of the refusal at the first page, of a short count at a later one.
fn all_or(consumer: Consumer, outcome: Outcome) -> Call {
    let Some(stop) = outcome.stop else {
        return returned(0);
    };
    match consumer {
        _ if outcome.got == 0 => failed(stop.errno),
        // A short count is what these two see, and they have an errno of their own for it.
        Consumer::XdpUmem | Consumer::Vfio => failed(Errno::ENOMEM),
        _ => failed(Errno::EFAULT),
    }
}
