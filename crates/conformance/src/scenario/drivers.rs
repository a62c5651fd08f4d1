//! The drivers, put to a range in the engine: the system calls that get or pin, as far as GUP sees
//! them.
//!
//! *Kept*: pins that outlive their call, until they are given back or the process ends.
//! Absent: unaligned ranges of the drivers that move whole blocks.

use super::host::PlayHost;
use super::player::{Kept, Player, no_process};
use super::program::Span;
use super::report::Value;
use crate::ask::driver::Driver;
use crate::by_kernel;
use gup::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, TASK_SIZE, VirtAddr};
use gup::errno::Errno;
use gup::flags::Foll;
use gup::frame::{FrameFlags, Frames, Kind};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::remote::{Access, access_remote_vm, process_vm};
use gup::gup::{Entry, Locked, Outcome, Page, gup};
use gup::host::Memory;
use gup::mapping::{self, Advice, MlockFlags, mlock2};
use gup::mm::{Lock, Machine, Mm};
use gup::task::Task;
use std::sync::Arc;

/// Who asks, about which address space.
struct Asker {
    mm: Arc<Mm<PlayHost>>,
    task: Arc<Task>,
}

/// Whole pages.
#[derive(Clone, Copy)]
struct Range {
    start: VirtAddr,
    pages: u64,
}

impl Range {
    fn bytes(self) -> u64 {
        self.pages << PAGE_SHIFT
    }
    fn len(self) -> usize {
        usize::try_from(self.pages).unwrap_or(0)
    }
    fn each(self) -> impl Iterator<Item = VirtAddr> {
        (0..self.pages).map(move |n| self.start.wrapping_add(n << PAGE_SHIFT))
    }
}

/// The most pages that one driver is put to.
const PAGES_MAX: u64 = 1 << 16;

/// Asks through `driver` about `span` of `process`.
pub(super) fn ask(
    player: &mut Player,
    process: &str,
    driver: Driver,
    span: &Span,
) -> Result<Value, Value> {
    let (start, bytes) = player.span(process, span)?;
    let (mm, owner) = player.mmu(process)?;
    let (mm, task) = (Arc::clone(mm), Arc::clone(&owner.task));
    let controller = Arc::clone(&player.controller);
    let advised = |advice| Ok(Value::of_result(mapping::madvise(&mm, &task, start, bytes, advice)));
    let locked = |flags| Ok(Value::of_result(mlock2(&mm, &task, start, bytes, flags)));
    match driver {
        Driver::PopulateRead => return advised(Advice::PopulateRead),
        Driver::PopulateWrite => return advised(Advice::PopulateWrite),
        Driver::Mlock => return locked(MlockFlags::empty()),
        Driver::MlockOnfault => return locked(MlockFlags::ONFAULT),
        _ => {}
    }
    let range = Range { start, pages: bytes >> PAGE_SHIFT };
    if start.page_offset() != 0 || range.bytes() != bytes || !(1..=PAGES_MAX).contains(&range.pages)
    {
        return Err(Value::CannotPlay("this driver takes whole pages, 1 to 65536 of them".into()));
    }
    let own = Asker { mm: Arc::clone(&mm), task };
    let other = Asker { mm, task: controller };
    Ok(match driver {
        Driver::PopulateRead | Driver::PopulateWrite | Driver::Mlock | Driver::MlockOnfault => {
            Value::Done
        }
        Driver::Mempolicy => per_page(range, |at| policy(&own, at)),
        Driver::FutexWake => per_page(range, |at| futex(&own, at)),
        Driver::Vmsplice => vmsplice(&own, range),
        Driver::DirectWrite => direct(&own, range, Foll::empty()),
        Driver::DirectRead => direct(&own, range, Foll::WRITE),
        Driver::RingBuffer | Driver::RingPbuf | Driver::XdpUmem => {
            let gone = || no_process(process);
            let owner = player.processes.get_mut(process).ok_or_else(gone)?;
            register(&own, range, driver, &mut owner.kept)
        }
        Driver::Cmdline => cmdline(&own, range),
        Driver::SelfMemRead | Driver::SelfMemWrite if start.get() > i64::MAX as u64 => {
            Value::Failed(Errno::EINVAL)
        }
        Driver::SelfMemRead => memory(&own, range, Way::Read),
        Driver::SelfMemWrite => memory(&own, range, Way::Write),
        Driver::MemRead => memory(&other, range, Way::Read),
        Driver::MemWrite => memory(&other, range, Way::Write),
        Driver::VmRead => vm(&other, range, Way::Read),
        Driver::VmWrite => vm(&other, range, Way::Write),
        Driver::Peek => per_page(range, |at| word(&other, at, Way::Read)),
        Driver::Poke => per_page(range, |at| word(&other, at, Way::Write)),
        Driver::CoreDump => {
            let had = by_kernel::core_dump(&own.mm);
            per_page(range, |at| had.contains(&at.get()).then_some(()).ok_or(Errno::EFAULT))
        }
        Driver::Uprobe => per_page(range, |at| by_kernel::uprobe(&other.task, &other.mm, at)),
        Driver::KvmGuest => per_page(range, |at| get(&own, at, Foll::WRITE).map(drop)),
        Driver::Udmabuf => Value::of_result(by_kernel::udmabuf(&own.task, &own.mm, start, bytes)),
    })
}

/// Gives back what `iou_reg` registered.
pub(super) fn unregister(player: &mut Player, process: &str) -> Result<Value, Value> {
    let machine = Arc::clone(&player.machine);
    let owner = player.processes.get_mut(process).ok_or_else(|| no_process(process))?;
    let Some(buffer) = &mut owner.kept.buffer else { return Ok(Value::Done) };
    let pages = std::mem::take(buffer);
    for page in &pages {
        machine.unpin_pages(*page, 1);
    }
    Ok(if pages.is_empty() { Value::Failed(Errno::ENXIO) } else { Value::Done })
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

impl Way {
    /// An access to what `bytes` is a copy of.
    fn of(self, bytes: &mut [u8]) -> Access<'_> {
        match self {
            Self::Read => Access::Read(bytes),
            Self::Write => Access::Write(bytes),
        }
    }
}

/// One question per page: the mask of those answered, and the last errno.
fn per_page(range: Range, ask: impl Fn(VirtAddr) -> Result<(), Errno>) -> Value {
    let (mut mask, mut last) = (0, None);
    for (n, at) in (0_u32..).zip(range.each()) {
        match ask(at) {
            Ok(()) => mask |= 1_u64.checked_shl(n).unwrap_or(0),
            Err(errno) => last = Some(errno),
        }
    }
    Value::PerPage { mask, last }
}

/// One page got by the process itself, given back at once; what kind of page it was, where
/// anonymous memory of hugetlbfs is anonymous.
fn get(asker: &Asker, at: VirtAddr, foll: Foll) -> Result<Kind, Errno> {
    let mut page = [None];
    let outcome = fast(FastEntry::Get, &asker.task, &asker.mm, at, 1, foll, &mut page);
    let [Some(page)] = page else { return Err(outcome.errno().unwrap_or(Errno::EFAULT)) };
    let machine = asker.mm.machine();
    let frames = machine.frames();
    let anonymous = frames.is_anon(page.pfn());
    let kind = if anonymous { Kind::Anon } else { frames.kind(page.pfn()) };
    machine.put_page(page.pfn());
    Ok(kind)
}

/// `get_mempolicy` looks for an area first.
fn policy(asker: &Asker, at: VirtAddr) -> Result<(), Errno> {
    asker.mm.read().lookup(at).map(drop).ok_or(Errno::EFAULT)?;
    get(asker, at, Foll::empty()).map(drop)
}

/// A shared futex: wants to write, settles for reading, but not from anonymous memory.
fn futex(asker: &Asker, at: VirtAddr) -> Result<(), Errno> {
    let kind = match get(asker, at, Foll::WRITE) {
        Err(Errno::EFAULT) => get(asker, at, Foll::empty()).map(|kind| match kind {
            Kind::Anon => Kind::Special,
            other => other,
        }),
        other => other,
    };
    // A page that belongs to nothing has no key.
    if kind? == Kind::Special { Err(Errno::EFAULT) } else { Ok(()) }
}

fn vmsplice(asker: &Asker, range: Range) -> Value {
    let (pages, stop) = grab_on(asker, FastEntry::Get, range, Foll::empty());
    for page in &pages {
        asker.mm.machine().put_page(page.pfn());
    }
    match stop {
        Some(errno) if pages.is_empty() => Value::Failed(errno),
        Some(_) | None => Value::Count(bytes_of(pages.len())),
    }
}

/// Direct I/O: all or EFAULT; a read dirties the pages before the stop.
fn direct(asker: &Asker, range: Range, foll: Foll) -> Value {
    let (pages, stop) = grab_on(asker, FastEntry::Pin, range, foll);
    let machine = asker.mm.machine();
    for page in &pages {
        if foll.contains(Foll::WRITE) {
            machine.memory().zero(page.pfn(), 1);
            machine.frames().set(page.pfn(), FrameFlags::DIRTY);
        }
        machine.unpin_pages(page.pfn(), 1);
    }
    stop.map_or(Value::Count(bytes_of(pages.len())), |_| Value::Failed(Errno::EFAULT))
}

/// A registration for long: all pages or none. A ring has one fixed buffer.
fn register(asker: &Asker, range: Range, driver: Driver, kept: &mut Kept) -> Value {
    let busy = kept.buffer.as_ref().is_some_and(|pages| !pages.is_empty());
    if driver == Driver::RingBuffer && busy {
        return Value::Failed(Errno::EBUSY);
    }
    if driver != Driver::XdpUmem {
        kept.buffer.get_or_insert_default();
    }
    if driver == Driver::RingPbuf && !range.pages.is_power_of_two() {
        return Value::Failed(Errno::EINVAL);
    }
    let foll = Foll::WRITE | Foll::LONGTERM;
    let (pages, short) = match driver {
        Driver::XdpUmem => umem(asker, range, foll),
        _ => {
            let (pages, outcome) = grab(asker, FastEntry::Pin, range, foll);
            (pages, outcome.errno().unwrap_or(Errno::EFAULT))
        }
    };
    let mut pinned: Vec<Pfn> = pages.iter().map(Page::pfn).collect();
    let machine = asker.mm.machine();
    if pinned.len() < range.len() {
        if driver == Driver::XdpUmem {
            release_umem(machine, &pinned);
        } else {
            for page in &pinned {
                machine.unpin_pages(*page, 1);
            }
        }
        return Value::Failed(short);
    }
    match driver {
        Driver::RingBuffer => {
            if let Some(firsts) = one_of_each_folio(machine.frames(), &pinned) {
                let more = pinned.iter().filter(|page| !firsts.contains(page));
                more.for_each(|page| machine.unpin_pages(*page, 1));
                pinned = firsts;
            }
            kept.buffer = Some(pinned);
        }
        Driver::XdpUmem => kept.umem.extend(pinned),
        _ => kept.more.extend(pinned),
    }
    Value::Done
}

/// The pages whose pins a fixed buffer keeps, one of each folio: if its folios are large, of one
/// size, and follow one another, the inner ones whole. `None` if it keeps all pins.
fn one_of_each_folio(frames: &Frames<PlayHost>, pages: &[Pfn]) -> Option<Vec<Pfn>> {
    let first = *pages.first()?;
    let size = |page: Pfn| frames.folio_frames(frames.head(page));
    let index = |page: Pfn| page.get() - frames.head(page).get();
    let (mut firsts, mut count) = (vec![first], 1);
    for (before, page) in pages.iter().zip(pages.iter().skip(1)) {
        if frames.head(*page) == frames.head(*before) && page.get() == before.get() + 1 {
            count += 1;
            continue;
        }
        let ends = if firsts.len() == 1 { index(*before) + 1 } else { count };
        if ends != size(first) || size(*page) != size(first) || index(*page) != 0 {
            return None;
        }
        firsts.push(*page);
        count = 1;
    }
    Some(firsts)
}

/// Gives back pages of `AF_XDP`, which count as written to.
pub(super) fn release_umem(machine: &Machine<PlayHost>, pages: &[Pfn]) {
    for page in pages {
        machine.frames().set(*page, FrameFlags::DIRTY);
        machine.unpin_pages(*page, 1);
    }
}

/// `AF_XDP`: the slow path, under a lock that is never dropped; a short answer is ENOMEM.
fn umem(asker: &Asker, range: Range, foll: Foll) -> (Vec<Page>, Errno) {
    let mut pages: Vec<_> = std::iter::repeat_with(|| None).take(range.len()).collect();
    let mut lock = Lock::Read(asker.mm.read());
    let out = Some(&mut pages[..]);
    let Range { start, pages: count } = range;
    let outcome = gup(Entry::Pin, &asker.task, &mut lock, start, count, foll, out, Locked::Null);
    drop(lock);
    (pages.into_iter().flatten().collect(), outcome.errno().unwrap_or(Errno::ENOMEM))
}

/// `/proc/self/cmdline`: anonymous pages up to the first that is none. Text whose last byte is not
/// 0 is a title instead, which ends with its first page; pages that were stored to are full here.
fn cmdline(asker: &Asker, range: Range) -> Value {
    if range.start.get() >= TASK_SIZE {
        return Value::Failed(Errno::EINVAL);
    }
    let byte = |at: VirtAddr| {
        let mut byte = [0];
        let access = Access::Read(&mut byte);
        let moved = access_remote_vm(&asker.task, &asker.mm, at, access, Foll::ANON);
        (moved.bytes == 1).then_some(byte[0])
    };
    let last = range.each().last().and_then(byte);
    let title = last.is_some_and(|byte| byte != 0);
    let pages = range.each().take(if title { 1 } else { range.len() });
    Value::Count(bytes_of(pages.map_while(byte).count()))
}

fn buffer(range: Range) -> Vec<u8> {
    vec![0x55; range.len() * usize::try_from(PAGE_SIZE).unwrap_or(0)]
}

fn memory(asker: &Asker, range: Range, way: Way) -> Value {
    let mut bytes = buffer(range);
    let access = way.of(&mut bytes);
    let moved = access_remote_vm(&asker.task, &asker.mm, range.start, access, Foll::FORCE);
    moved_or(moved.bytes, Errno::EIO)
}

fn vm(asker: &Asker, range: Range, way: Way) -> Value {
    let mut bytes = buffer(range);
    let moved = process_vm(&asker.task, &asker.mm, range.start, way.of(&mut bytes));
    moved_or(moved.bytes, Errno::EFAULT)
}

fn moved_or(bytes: usize, errno: Errno) -> Value {
    if bytes == 0 {
        Value::Failed(errno)
    } else {
        Value::Count(i64::try_from(bytes).unwrap_or(i64::MAX))
    }
}

/// One word, by ptrace.
fn word(asker: &Asker, at: VirtAddr, way: Way) -> Result<(), Errno> {
    let mut bytes = [0x55; 8];
    let access = way.of(&mut bytes);
    match access_remote_vm(&asker.task, &asker.mm, at, access, Foll::FORCE).bytes {
        8 => Ok(()),
        _ => Err(Errno::EIO),
    }
}

/// Grabs a range as block I/O and pipes do: again from where a call ended short, until one gets
/// nothing. The pages, and what ended it early.
fn grab_on(
    asker: &Asker,
    entry: FastEntry,
    range: Range,
    foll: Foll,
) -> (Vec<Page>, Option<Errno>) {
    let mut all = Vec::new();
    let mut left = range;
    while left.pages > 0 {
        let (pages, outcome) = grab(asker, entry, left, foll);
        if outcome.got == 0 {
            return (all, Some(outcome.errno().unwrap_or(Errno::EFAULT)));
        }
        all.extend(pages);
        let start = left.start.wrapping_add(outcome.got << PAGE_SHIFT);
        left = Range { start, pages: left.pages - outcome.got };
    }
    (all, None)
}

/// One call of GUP-fast for the whole range.
fn grab(asker: &Asker, entry: FastEntry, range: Range, foll: Foll) -> (Vec<Page>, Outcome) {
    let mut pages: Vec<_> = std::iter::repeat_with(|| None).take(range.len()).collect();
    let Range { start, pages: count } = range;
    let outcome = fast(entry, &asker.task, &asker.mm, start, count, foll, &mut pages);
    (pages.into_iter().flatten().collect(), outcome)
}

fn bytes_of(pages: usize) -> i64 {
    i64::try_from(pages << PAGE_SHIFT).unwrap_or(i64::MAX)
}
