//! Playing a consumer: the GUP calls that it makes, in the engine, on a mirror.
//!
//! A *play* ends as the system call would: with the pages that were obtained, the refusal that
//! ended it, and what the caller sees. Pages are given back at the end of each call, as short-term
//! users do; the mirror is used for one play only.
//!
//! Linux 6.18: `mm/process_vm_access.c`, `mm/memory.c` `__access_remote_vm`, `mm/madvise.c`
//! `madvise_populate`, `mm/mlock.c` `do_mlock`, `lib/iov_iter.c`, `io_uring/rsrc.c`,
//! `net/xdp/xdp_umem.c`, `kernel/futex/core.c`.

use crate::consumer::{Answers, Consumer, Entry};
use crate::explain::form;
use crate::explain::request::Ask;
use crate::explain::verdict::Call;
use crate::kernel::history;
use crate::large::condense::Cuts;
use crate::world::build::Mirror;
use crate::world::host::MirrorHost;
use gup::addr::{Pfn, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::flags::{Foll, VmFlags};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::populate::{MadvisePopulate, madvise_populate};
use gup::gup::remote::{Access, Moved, access_remote_vm, process_vm};
use gup::gup::{self as engine, Locked, Outcome, Page, Stop};
use gup::host::Host;
use gup::mapping::{MlockFlags, mlock2};
use gup::mm::{Lock, Mm};
use gup::rule::{Rule, c, m};
use gup::task::Task;
use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;

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

/// Plays `ask` on `mirror`, for `span`, out of which `cuts` were taken and whose last byte is this.
/// All pages are given back.
pub(crate) fn play(
    mirror: &Mirror,
    ask: Ask,
    span: Span,
    cuts: &Cuts,
    last_byte: Option<u8>,
) -> Played {
    Stage { mirror, task: mirror.task(), span, cuts, held: None }.play(ask, last_byte)
}

/// The same, and what the consumer would not give back when the call ends is kept: pins of a
/// registration, pages of a transfer that goes on, pages in a pipe.
pub(crate) fn play_and_hold(
    mirror: &Mirror,
    ask: Ask,
    span: Span,
    last_byte: Option<u8>,
) -> (Played, Vec<Pfn>) {
    let (task, held, cuts) = (mirror.task(), Some(RefCell::default()), &Cuts::default());
    let stage = Stage { mirror, task, span, cuts, held };
    let played = stage.play(ask, last_byte);
    (played, stage.held.map_or(Vec::new(), RefCell::into_inner))
}

/// Which of its pages a consumer keeps when its call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// None.
    Nothing,
    /// All, if every page was obtained; else none.
    AllOrNothing,
    /// What it got.
    All,
}

impl Keeps {
    /// Those of `consumer`.
    pub(crate) fn of(consumer: Consumer) -> Self {
        match consumer.answers() {
            Answers::All | Answers::AllBytes => Self::AllOrNothing,
            Answers::Bytes if consumer == Consumer::Vmsplice => Self::All,
            Answers::Bytes | Answers::PerPage | Answers::Status => Self::Nothing,
        }
    }
}

impl Stage<'_> {
    fn play(&self, ask: Ask, last_byte: Option<u8>) -> Played {
        let Some(consumer) = ask.consumer() else {
            let outcome = self.bare(ask.flags());
            return Played { got: outcome.got, stop: outcome.stop, call: None };
        };
        let lowest = self.mirror.machine.sysctl.mmap_min_addr;
        let not_there = || history::not_there(self.host(), consumer, self.pages().start);
        let whole = Span { len: self.span.len + self.cuts.bytes(), ..self.span };
        if let Some(stop) = not_there().or_else(|| form::refusal(consumer, whole, lowest)) {
            return Played { got: 0, stop: Some(stop), call: Some(failed(stop.errno)) };
        }
        let played = self.play_consumer(consumer, last_byte);
        self.look_at_areas(consumer).filter(|_| played.stop.is_none()).unwrap_or(played)
    }

    /// The play of a consumer that this kernel has, and whose call is well formed.
    fn play_consumer(&self, consumer: Consumer, last_byte: Option<u8>) -> Played {
        self.task.dumping.store(consumer.entry() == Entry::Dump, Relaxed);
        match consumer.entry() {
            Entry::Access if consumer == Consumer::ProcCmdline => self.cmdline(consumer, last_byte),
            Entry::Access if consumer.answers() == Answers::PerPage => self.each_page(consumer),
            Entry::Access => self.access(consumer),
            Entry::Fast if consumer.answers() == Answers::PerPage => self.each_page(consumer),
            Entry::Dump => self.each_page(consumer),
            Entry::Populate => self.populate(consumer),
            Entry::Mlock => self.mlock(consumer),
            Entry::Fast | Entry::Slow | Entry::Remote => self.once(consumer),
        }
    }
}

/// Whom a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Process,
    File,
    Nobody,
}

/// Where a play takes place.
struct Stage<'a> {
    mirror: &'a Mirror,
    task: Task,
    span: Span,
    /// What was taken out of the span: pages that are treated as the page before them.
    cuts: &'a Cuts,
    /// Where pages go that the consumer does not give back; `None`: all are given back.
    held: Option<RefCell<Vec<Pfn>>>,
}

/// Bytes that are moved in one call of the engine.
const CHUNK: u64 = 1 << 20;

/// The flags that a caller of 6.18 passes itself: all but those that entry points add.
fn passed(flags: Foll) -> Foll {
    flags - Foll::INTERNAL - Foll::GET
}

impl Stage<'_> {
    fn mm(&self) -> &Mm<MirrorHost> {
        &self.mirror.mm
    }

    fn host(&self) -> &MirrorHost {
        self.mirror.machine.host()
    }

    /// The flags that reach GUP from `consumer`.
    fn flags(&self, consumer: Consumer) -> Foll {
        history::flags(self.host(), consumer, VirtAddr::new(self.span.start))
    }

    /// The consumer's own look at what it pinned.
    fn look_at_areas(&self, consumer: Consumer) -> Option<Played> {
        self.host().kernel()?;
        let start = self.pages().start;
        let refused = |got: u64| {
            let stop = history::refuses_page(self.mm(), consumer, start.wrapping_add(got << 12));
            stop.map(|stop| (got, stop))
        };
        let (got, stop) = (0..self.span.pages).find_map(refused)?;
        Some(Played { got, stop: Some(stop), call: Some(failed(stop.errno)) })
    }

    /// The pages of the range, as addresses.
    fn pages(&self) -> VirtRange {
        let start = self.span.start & !0xfff;
        VirtRange::new(
            VirtAddr::new(start),
            VirtAddr::new(start.saturating_add(self.span.pages << 12)),
        )
    }

    /// The pages before `addr`.
    fn pages_before(&self, addr: u64) -> u64 {
        addr.saturating_sub(self.span.start & !0xfff) >> 12
    }

    /// One call for `pages` pages from `start`, through a fast or a slow entry point; the pages are
    /// given back.
    fn call(&self, entry: Entry, flags: Foll, start: u64, pages: u64) -> Outcome {
        let (outcome, taken) = self.take(entry, flags, start, pages);
        self.give_back(flags, taken);
        outcome
    }

    /// The same, and the pages.
    fn take(&self, entry: Entry, flags: Foll, start: u64, pages: u64) -> (Outcome, Vec<Page>) {
        let slots = usize::try_from(pages).unwrap_or(0);
        let mut out: Vec<Option<Page>> = (0..slots).map(|_| None).collect();
        let pin = flags.contains(Foll::PIN);
        let (foll, start) = (passed(flags), VirtAddr::new(start));
        let outcome = if entry == Entry::Fast {
            let entry = if pin { FastEntry::Pin } else { FastEntry::Get };
            fast(entry, &self.task, self.mm(), start, pages, foll, &mut out)
        } else {
            let (entry, locked) = slow_entry(entry, flags);
            let mut lock = Lock::Read(self.mm().read());
            let out = Some(&mut out[..]);
            engine::gup(entry, &self.task, &mut lock, start, pages, foll, out, locked)
        };
        (outcome, out.into_iter().flatten().collect())
    }

    fn give_back(&self, flags: Foll, taken: Vec<Page>) {
        let machine = &self.mirror.machine;
        for page in taken {
            if flags.contains(Foll::PIN) {
                machine.unpin_pages(page.pfn(), 1);
            } else {
                machine.put_page(page.pfn());
            }
        }
    }

    /// The same as [`Stage::call`] for all pages, and those that are not given back are kept.
    fn call_for_all(&self, entry: Entry, flags: Foll, keeps: Keeps) -> Outcome {
        let (outcome, taken) = self.take(entry, flags, self.span.start, self.span.pages);
        let whole = outcome.stop.is_none();
        match &self.held {
            Some(held) if keeps == Keeps::All || whole && keeps == Keeps::AllOrNothing => {
                held.borrow_mut().extend(taken.iter().map(Page::pfn));
            }
            Some(_) | None => self.give_back(flags, taken),
        }
        outcome
    }

    fn bare(&self, flags: Foll) -> Outcome {
        self.call_for_all(Entry::Remote, flags, Keeps::All)
    }

    /// One call for everything.
    fn once(&self, consumer: Consumer) -> Played {
        if consumer.entry() == Entry::Remote && consumer.answers() == Answers::Bytes {
            return self.moved(consumer, Errno::EFAULT, |stage, addr, access| {
                process_vm(&stage.task, stage.mm(), addr, access)
            });
        }
        let outcome =
            self.call_for_all(consumer.entry(), self.flags(consumer), Keeps::of(consumer));
        let call = match consumer.answers() {
            Answers::Bytes if outcome.got == 0 => failed(Errno::EFAULT),
            Answers::Bytes => returned(self.bytes_on(outcome.got)),
            Answers::AllBytes if outcome.stop.is_none() => returned(self.span.len),
            Answers::All | Answers::AllBytes | Answers::PerPage | Answers::Status => {
                all_or(consumer, outcome)
            }
        };
        Played { got: outcome.got, stop: outcome.stop, call: Some(call) }
    }

    /// The caller's bytes on the first `got` pages.
    fn bytes_on(&self, got: u64) -> u64 {
        (got << 12).saturating_sub(self.span.start & 0xfff).min(self.span.len)
    }

    /// Through `access_remote_vm`.
    fn access(&self, consumer: Consumer) -> Played {
        self.moved(consumer, Errno::EIO, |stage, addr, access| {
            access_remote_vm(
                &stage.task,
                stage.mm(),
                addr,
                access,
                passed(self.flags(consumer)) - Foll::WRITE,
            )
        })
    }

    /// Moves the range's bytes with `call`, chunk by chunk; `none` is the errno when there are no
    /// bytes.
    fn moved(
        &self,
        consumer: Consumer,
        none: Errno,
        call: impl Fn(&Self, VirtAddr, Access<'_>) -> Moved,
    ) -> Played {
        let mut buffer = vec![0; usize::try_from(CHUNK.min(self.span.len)).unwrap_or(0)];
        let (mut done, mut stop) = (0, None);
        while done < self.span.len {
            let want = usize::try_from((self.span.len - done).min(CHUNK)).unwrap_or(0);
            let part = &mut buffer[..want];
            let addr = VirtAddr::new(self.span.start).wrapping_add(done);
            let moved = if self.flags(consumer).contains(Foll::WRITE) {
                call(self, addr, Access::Write(part))
            } else {
                call(self, addr, Access::Read(part))
            };
            done += moved.bytes as u64;
            if moved.bytes < want {
                stop = moved.stop;
                break;
            }
        }
        let got = (done + (self.span.start & 0xfff)).div_ceil(4096);
        let got = if done == 0 { 0 } else { got };
        let answer = if done == 0 { failed(none) } else { returned(done) };
        Played { got, stop, call: Some(answer) }
    }

    /// Anonymous memory, a page's length at a time; what is none ends the text. If the last byte of
    /// the text is not 0 it is a title, of which one page's length is read.
    fn cmdline(&self, consumer: Consumer, last_byte: Option<u8>) -> Played {
        let mut buffer = [0; 4096];
        let mut read = |offset: u64, len: u64| {
            let addr = VirtAddr::new(self.span.start).wrapping_add(offset);
            let part = &mut buffer[..usize::try_from(len.min(4096)).unwrap_or(0)];
            let foll = passed(consumer.flags());
            access_remote_vm(&self.task, self.mm(), addr, Access::Read(part), foll)
        };
        let last = read(self.span.len.saturating_sub(1), 1);
        let title = last.bytes == 1 && last_byte != Some(0);
        let (mut done, mut stop) = (0, None);
        while done < self.span.len && stop.is_none() {
            let piece = if title { 4096 } else { self.span.len - done };
            let moved = read(done, piece);
            done += moved.bytes as u64;
            stop = moved.stop;
            if title || moved.bytes == 0 {
                break;
            }
        }
        let done = done.min(self.span.len);
        let got = (done + (self.span.start & 0xfff)).div_ceil(4096);
        Played { got: if done == 0 { 0 } else { got }, stop, call: Some(returned(done)) }
    }

    /// One call per page, whatever became of those before.
    fn each_page(&self, consumer: Consumer) -> Played {
        let ptrace = matches!(consumer, Consumer::PtracePeek | Consumer::PtracePoke);
        let refused = if ptrace { Errno::EIO } else { Errno::EFAULT };
        let mut played = Played { got: 0, stop: None, call: None };
        let (mut worked, mut mask, mut errno) = (0_u64, 0, None);
        for page in 0..self.span.pages {
            match self.one_page(consumer, page).stop {
                None => {
                    worked += 1 + self.cuts.pages_behind(page);
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
        match consumer {
            Consumer::PtracePeek | Consumer::PtracePoke => self.word(consumer, start),
            Consumer::Futex => self.futex(consumer, start),
            Consumer::Kvm => self.guest_page(consumer, start),
            Consumer::Uprobe if !self.mirror.has_breakpoints(start) => {
                Outcome { got: 0, stop: Some(Stop::with(c::C_101, Errno::EFAULT)) }
            }
            Consumer::Uprobe => self.call(Entry::Access, consumer.flags(), start, 1),
            Consumer::Coredump if !self.mirror.is_dumped(start) => {
                Outcome { got: 0, stop: Some(Stop::with(c::C_96, Errno::EFAULT)) }
            }
            _ => self.call(consumer.entry(), self.flags(consumer), start, 1),
        }
    }

    /// One word through `access_remote_vm`.
    fn word(&self, consumer: Consumer, start: u64) -> Outcome {
        let mut word = [0; 8];
        let access = match consumer {
            Consumer::PtracePoke => Access::Write(&word),
            _ => Access::Read(&mut word),
        };
        let foll = passed(self.flags(consumer)) - Foll::WRITE;
        let moved = access_remote_vm(&self.task, self.mm(), VirtAddr::new(start), access, foll);
        Outcome { got: u64::from(moved.bytes == 8), stop: moved.stop }
    }

    /// For writing, then read-only. A key is made of what the page belongs to: a page of no file
    /// and no process gives none, nor does an anonymous one that was had for reading only.
    fn futex(&self, consumer: Consumer, start: u64) -> Outcome {
        let write = self.call(Entry::Fast, self.flags(consumer), start, 1);
        match write.stop {
            None if self.owned(start) == Owner::Nobody => {
                Outcome { got: 0, stop: Some(Stop::with(c::C_101, Errno::EFAULT)) }
            }
            Some(stop) if stop.errno == Errno::EFAULT => {
                let read = self.call(Entry::Fast, self.flags(consumer) - Foll::WRITE, start, 1);
                let found = read.stop.is_none() && self.owned(start) == Owner::File;
                if found { read } else { write }
            }
            Some(_) | None => write,
        }
    }

    /// Without the lock, then with it; where a driver mapped frame numbers KVM takes the number.
    fn guest_page(&self, consumer: Consumer, start: u64) -> Outcome {
        let outcome = self.call(Entry::Fast, consumer.flags(), start, 1);
        let by_number = outcome.stop.is_some_and(|stop| stop.rule == c::C_27) && {
            let map = self.mm().read();
            let vma = map.lookup(VirtAddr::new(start));
            vma.is_some_and(|vma| vma.flags.contains(VmFlags::WRITE))
        };
        // No tool shows whether a number is there; a driver maps all of them at once.
        if by_number {
            return Outcome { got: 1, stop: None };
        }
        outcome
    }

    /// Whom the page at `addr` belongs to.
    fn owned(&self, addr: u64) -> Owner {
        let frames = self.mirror.machine.frames();
        let Some(head) = self.mirror.frame_now(addr).map(|pfn| frames.head(pfn)) else {
            return Owner::Nobody;
        };
        if frames.is_anon(head) {
            return Owner::Process;
        }
        if frames.owner(head).owner == 0 { Owner::Nobody } else { Owner::File }
    }

    /// `MADV_POPULATE_READ` or `_WRITE`. The last address that was tried is where it stopped.
    fn populate(&self, consumer: Consumer) -> Played {
        let access = match consumer {
            Consumer::MadvisePopulateWrite => MadvisePopulate::Write,
            _ => MadvisePopulate::Read,
        };
        let done = madvise_populate(self.mm(), &self.task, self.pages(), access);
        self.status(done, c::C_95)
    }

    /// `mlock`: marks the areas, then populates them one by one. The rule that decided last says
    /// what stopped it: one of the map's edits at a hole or a limit, else one of GUP's.
    fn mlock(&self, consumer: Consumer) -> Played {
        let flags = match consumer {
            Consumer::MlockOnfault => MlockFlags::ONFAULT,
            _ => MlockFlags::empty(),
        };
        let start = VirtAddr::new(self.span.start);
        let Err(errno) = mlock2(self.mm(), &self.task, start, self.span.len, flags) else {
            return Played { got: self.span.pages, stop: None, call: Some(returned(0)) };
        };
        let record = self.mirror.machine.host().recorder().record();
        let rule = record.latest.unwrap_or(m::M_02);
        let edit = rule.family() == 'M';
        let at = if edit { rule } else { c::C_93 };
        let got = record.last.get(&at).map_or(0, |addr| self.pages_before(*addr));
        let errno_of_rule = if edit { errno } else { rule.errno() };
        let stop = Some(Stop::with(rule, errno_of_rule));
        Played { got, stop, call: Some(failed(errno)) }
    }

    /// The end of a call that gives 0 or an errno, and stops at the address that `at` decided about
    /// last.
    fn status(&self, done: Result<(), Stop>, at: Rule) -> Played {
        match done {
            Ok(()) => Played { got: self.span.pages, stop: None, call: Some(returned(0)) },
            Err(stop) => {
                let record = self.mirror.machine.host().recorder().record();
                let got = record.last.get(&at).map_or(0, |addr| self.pages_before(*addr));
                Played { got, stop: Some(stop), call: Some(failed(stop.errno)) }
            }
        }
    }
}

/// The engine's entry point for a consumer's, and whether the lock may be dropped.
fn slow_entry(entry: Entry, flags: Foll) -> (engine::Entry, Locked) {
    let pin = flags.contains(Foll::PIN);
    match entry {
        Entry::Remote if pin => (engine::Entry::PinRemote, Locked::Given),
        Entry::Remote => (engine::Entry::GetRemote, Locked::Given),
        Entry::Slow if pin => (engine::Entry::Pin, Locked::Null),
        Entry::Slow => (engine::Entry::Get, Locked::Null),
        Entry::Fast => (engine::Entry::PinUnlocked, Locked::Given),
        Entry::Access | Entry::Populate | Entry::Mlock | Entry::Dump => {
            (engine::Entry::GetRemote, Locked::Null)
        }
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
