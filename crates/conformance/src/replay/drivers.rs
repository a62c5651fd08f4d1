//! The recorded drivers, put to ranges in the engine, and how their answers are compared with the
//! kernel's.
//!
//! Left out of the comparison: the lazy marks (dirty, mlocked, mapped by one mm only), and the
//! mapcount of the vdso, which depends on who else runs.

use super::kinds::{Made, make};
use super::operations::{
    Answer, Span, advise, answer_of, bytes_of, direct, futex, get, grab, per_page, vmsplice,
};
use super::state;
use super::world::Process;
use crate::by_kernel;
use crate::rows::Row;
use gup::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, TASK_SIZE, VirtAddr};
use gup::errno::Errno;
use gup::flags::{Foll, VmFlags};
use gup::gup::fast::FastEntry;
use gup::gup::remote::{Access, access_remote_vm, process_vm};
use gup::gup::{Entry, Locked, Page, gup};
use gup::host::Host as _;
use gup::mapping::{Advice, MlockFlags, mlock2};
use gup::mm::{Lock, Mm};
use gup::task::Task;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

/// An answer that is not the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlike {
    /// The recorded row.
    pub kernel: Row,
    /// What the engine returns.
    pub ret: i64,
    /// Its errno, 0 for none.
    pub errno: i32,
    /// The state of each of the engine's pages after the call.
    pub after: String,
    /// What else was compared: state before, frames, the relative's state, faults charged.
    rest: String,
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, ret, errno, after, rest } = self;
        let (kind, driver) = (&kernel.kind, &kernel.driver);
        write!(f, "{kind}/{driver}: engine {ret} {errno} {after:?} {rest}, kernel {kernel:?}")
    }
}

/// How the engine's answer to a recorded row differs from the kernel's: `None` if the engine cannot
/// make the kind or knows no such driver, `Some(None)` if it answers alike.
pub fn compare(row: &Row) -> Option<Option<Box<Unlike>>> {
    let mut made = make(&row.kind, &row.before)?;
    let before = states(&made, made.slot);
    let frames = frames_of(&made, Some(made.slot));
    let (acquired, released) = pins(&made);
    let (answer, mask) = ask(&mut made, &row.driver)?;
    let now = pins(&made);
    let pins = (now.0 - acquired, now.1 - released);
    let after = states(&made, made.slot);
    let frames_now = frames_of(&made, Some(made.slot));
    let pfn = relations(&frames, &frames_now);
    let sibling_pfn = relations(&frames_now, &frames_of(&made, made.sibling));
    let sibling = made.sibling.map(|slot| states(&made, slot)).unwrap_or_default();
    let noisy = row.driver == "cmdline" || row.kind == "vdso";
    let faults = charged(&made, &row.driver);
    let alike = |ours: &str, kernels: &str| plain(&row.kind, ours) == plain(&row.kind, kernels);
    let same = (answer.ret, answer.errno) == (row.ret, row.errno)
        && alike(&before, &row.before)
        && alike(&after, &row.after)
        && (pfn == row.pfn || before.contains('Z'))
        && alike(&sibling, &row.sib)
        && sibling_pfn == row.sib_pfn
        && mask == row.mask
        && recorded(row.pin_acq, pins.0)
        && recorded(row.pin_rel, pins.1)
        && (noisy || recorded(row.minflt, faults.0) && recorded(row.majflt, faults.1));
    let unlike = || {
        let rest =
            format!("{before:?} {pfn} {sibling:?} {sibling_pfn} {faults:?} {mask:x} {pins:?}");
        let (ret, errno) = (answer.ret, answer.errno);
        Box::new(Unlike { kernel: row.clone(), ret, errno, after: after.clone(), rest })
    };
    Some((!same).then(unlike))
}

/// Whether a count is the recorded one, if it was recorded.
fn recorded(kernels: Option<u64>, ours: u64) -> bool {
    kernels.is_none_or(|kernels| kernels == ours)
}

/// Without the lazy marks, and for the vdso without mapcounts.
fn plain(kind: &str, states: &str) -> String {
    let lazy = |c: char| matches!(c, 'd' | 'L' | 'e') || (kind == "vdso" && c.is_ascii_digit());
    states.chars().filter(|c| !lazy(*c)).collect()
}

fn relation(old: Option<Pfn>, new: Option<Pfn>) -> char {
    match (old, new) {
        (_, None) => '.',
        (None, Some(_)) => '+',
        (Some(old), Some(new)) if old == new => '=',
        (Some(_), Some(_)) => '!',
    }
}

fn pages(made: &Made) -> impl Iterator<Item = VirtAddr> {
    let start = made.start;
    (0..made.pages).map(move |n| start.wrapping_add(n << PAGE_SHIFT))
}

fn states(made: &Made, slot: usize) -> String {
    let Some(process) = &made.world.slots[slot] else { return String::new() };
    let tokens = pages(made).map(|at| state::at(&made.world.machine, process, at));
    tokens.collect::<Vec<_>>().join(" ")
}

/// The frames of the range in the process of `slot`; none if there is no such process.
fn frames_of(made: &Made, slot: Option<usize>) -> Vec<Option<Pfn>> {
    let process = slot.and_then(|slot| made.world.slots[slot].as_ref());
    let Some(process) = process else { return Vec::new() };
    pages(made).map(|at| process.mm.tables().walk(at).frame(at)).collect()
}

fn relations(old: &[Option<Pfn>], new: &[Option<Pfn>]) -> String {
    old.iter().zip(new).map(|(old, new)| relation(*old, *new)).collect()
}

/// Pins of the machine so far: taken, given back.
fn pins(made: &Made) -> (u64, u64) {
    made.world.machine.host().observer().now()
}

/// Another process asks.
fn is_remote(driver: &str) -> bool {
    matches!(
        driver,
        "pvm_read" | "pvm_write" | "mem_read" | "mem_write" | "peek" | "poke" | "uprobe"
    )
}

fn charged(made: &Made, driver: &str) -> (u64, u64) {
    let subject = made.world.slots[made.slot].as_ref().map(|process| &process.task);
    let caller = if is_remote(driver) { Some(&made.world.controller) } else { subject };
    caller.map_or((0, 0), |task| (task.min_flt.load(Relaxed), task.maj_flt.load(Relaxed)))
}

/// Asks; the answer, and of drivers that ask page by page one bit per page that answered.
fn ask(made: &mut Made, driver: &str) -> Option<(Answer, u64)> {
    let answer = put(made, driver)?;
    Some(match driver {
        "mempolicy" | "futex_wake" | "peek" | "poke" | "uprobe" | "coredump" | "kvm_guest" => {
            (counted(answer), answer.ret.cast_unsigned())
        }
        _ => (answer, 0),
    })
}

fn put(made: &mut Made, driver: &str) -> Option<Answer> {
    let span = Span { start: made.start, pages: made.pages };
    let process = made.world.slots[made.slot].as_mut()?;
    let (mm, bytes) = (&process.mm, span.bytes());
    let advised = |advice| answer_of(advise(process, span.start, bytes, advice));
    let locked = |flags| answer_of(mlock2(mm, &process.task, span.start, bytes, flags));
    Some(match driver {
        "none" => Answer::ok(0),
        "mempolicy" => per_page(span, |at| policy(process, at)),
        "futex_wake" => per_page(span, |at| futex(process, at)),
        "popr" => advised(Advice::PopulateRead),
        "popw" => advised(Advice::PopulateWrite),
        "mlock" => locked(MlockFlags::empty()),
        "mlock2_onfault" => locked(MlockFlags::ONFAULT),
        "vmsplice" => vmsplice(process, span),
        "od_write" => direct(process, span, Foll::empty()),
        "od_read" => direct(process, span, Foll::WRITE),
        "iou_reg" => register_buffer(process, span),
        "iou_pbuf" => register(process, span),
        "xdp_umem" => umem(process, span),
        "cmdline" => cmdline(process, span),
        "memself_r" | "memself_w" if span.start.get() > i64::MAX as u64 => {
            Answer::failed(Errno::EINVAL)
        }
        "memself_r" | "memself_w" => memory(&process.task, mm, span, driver == "memself_w"),
        "mem_read" | "mem_write" => memory(&made.world.controller, mm, span, driver == "mem_write"),
        "pvm_read" | "pvm_write" => vm(&made.world.controller, mm, span, driver == "pvm_write"),
        "peek" | "poke" => {
            let task = &made.world.controller;
            per_page(span, |at| word(task, mm, at, driver == "poke"))
        }
        "uprobe" => per_page(span, |at| by_kernel::uprobe(&made.world.controller, mm, at)),
        "coredump" => {
            let had = by_kernel::core_dump(mm);
            per_page(span, |at| had.contains(&at.get()).then_some(()).ok_or(Errno::EFAULT))
        }
        // KVM takes frame numbers as they are, which is no GUP.
        "kvm_guest" if by_number(mm, span.start) => return None,
        "kvm_guest" => per_page(span, |at| get(process, at, Foll::WRITE).map(drop)),
        "udmabuf" => answer_of(by_kernel::udmabuf(&process.task, mm, span.start, bytes)),
        _ => return None,
    })
}

/// Whether a driver mapped frame numbers at `at`.
fn by_number(mm: &Mm<super::world::Host>, at: VirtAddr) -> bool {
    let by_number = VmFlags::IO | VmFlags::PFNMAP;
    mm.read().lookup(at).is_some_and(|vma| vma.flags.intersects(by_number))
}

/// Drivers that ask page by page return how many pages answered.
fn counted(answer: Answer) -> Answer {
    Answer { ret: i64::from(answer.ret.count_ones()), ..answer }
}

/// `get_mempolicy` looks for an area first.
fn policy(process: &Process, at: VirtAddr) -> Result<(), Errno> {
    process.mm.read().lookup(at).map(drop).ok_or(Errno::EFAULT)?;
    get(process, at, Foll::empty()).map(drop)
}

fn register(process: &mut Process, span: Span) -> Answer {
    let (pages, outcome) = grab(process, FastEntry::Pin, span, Foll::WRITE | Foll::LONGTERM);
    keep(process, &pages, span, outcome.errno().unwrap_or(Errno::EFAULT))
}

/// A fixed buffer that is one folio keeps one pin of it.
fn register_buffer(process: &mut Process, span: Span) -> Answer {
    let answer = register(process, span);
    let machine = process.mm.machine();
    let frames = machine.frames();
    if let Some(ring) = &mut process.ring
        && let [first, .., _] = ring[..]
        && ring.iter().all(|pfn| frames.head(*pfn) == frames.head(first))
    {
        for pfn in ring.drain(1..) {
            machine.unpin_pages(pfn, 1);
        }
    }
    answer
}

/// Keeps the pins if there is one for each page; otherwise gives them back and fails.
fn keep(process: &mut Process, pages: &[Page], span: Span, errno: Errno) -> Answer {
    let pinned: Vec<Pfn> = pages.iter().map(Page::pfn).collect();
    if pinned.len() == span.len() {
        process.ring.get_or_insert_default().extend(pinned);
        return Answer::ok(0);
    }
    for pfn in pinned {
        process.mm.machine().unpin_pages(pfn, 1);
    }
    Answer::failed(errno)
}

/// `AF_XDP`: the slow path, under a lock that is never dropped; a short answer is ENOMEM.
fn umem(process: &mut Process, span: Span) -> Answer {
    let mut pages: Vec<_> = std::iter::repeat_with(|| None).take(span.len()).collect();
    let mm = std::sync::Arc::clone(&process.mm);
    let mut lock = Lock::Read(mm.read());
    let foll = Foll::WRITE | Foll::LONGTERM;
    let (task, out) = (&process.task, Some(&mut pages[..]));
    let outcome = gup(Entry::Pin, task, &mut lock, span.start, span.pages, foll, out, Locked::Null);
    drop(lock);
    let pages: Vec<Page> = pages.into_iter().flatten().collect();
    keep(process, &pages, span, outcome.errno().unwrap_or(Errno::ENOMEM))
}

/// `/proc/self/cmdline`: anonymous pages up to the first that is none. Text whose last byte is not
/// 0 is a title instead, which ends with its first page; pages that were stored to are full here.
fn cmdline(process: &Process, span: Span) -> Answer {
    let lowest = process.mm.machine().sysctl.mmap_min_addr;
    if span.start.get() >= TASK_SIZE || span.start.get() < lowest {
        return Answer::failed(Errno::EINVAL);
    }
    let byte = |at: VirtAddr| {
        let mut byte = [0];
        let access = Access::Read(&mut byte);
        let moved = access_remote_vm(&process.task, &process.mm, at, access, Foll::ANON);
        (moved.bytes == 1).then_some(byte[0])
    };
    let last = span.each_address().last().and_then(byte);
    let title = last.is_some_and(|byte| byte != 0);
    let pages = span.each_address().take(if title { 1 } else { span.len() });
    Answer::ok(bytes_of(pages.map_while(byte).count()))
}

fn buffer(span: Span) -> Vec<u8> {
    vec![0x55; span.len() * usize::try_from(PAGE_SIZE).unwrap_or(0)]
}

fn memory(task: &Task, mm: &Mm<super::world::Host>, span: Span, write: bool) -> Answer {
    let mut bytes = buffer(span);
    let access = if write { Access::Write(&bytes) } else { Access::Read(&mut bytes) };
    let moved = access_remote_vm(task, mm, span.start, access, Foll::FORCE);
    moved_or(moved.bytes, Errno::EIO)
}

fn vm(task: &Task, mm: &Mm<super::world::Host>, span: Span, write: bool) -> Answer {
    let mut bytes = buffer(span);
    let access = if write { Access::Write(&bytes) } else { Access::Read(&mut bytes) };
    moved_or(process_vm(task, mm, span.start, access).bytes, Errno::EFAULT)
}

fn moved_or(bytes: usize, errno: Errno) -> Answer {
    if bytes == 0 { Answer::failed(errno) } else { Answer::ok(i64::try_from(bytes).unwrap_or(0)) }
}

/// One word, by ptrace.
fn word(task: &Task, mm: &Mm<super::world::Host>, at: VirtAddr, write: bool) -> Result<(), Errno> {
    let mut bytes = [0x55; 8];
    let access = if write { Access::Write(&bytes) } else { Access::Read(&mut bytes) };
    match access_remote_vm(task, mm, at, access, Foll::FORCE).bytes {
        8 => Ok(()),
        _ => Err(Errno::EIO),
    }
}
