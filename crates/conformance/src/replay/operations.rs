//! Operations of recorded programs, on the engine: the system calls, and the GUP calls inside them.

use super::record::Record;
use super::world::{Host, PAGES, Process, World, page};
use gup::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use gup::errno::Errno;
use gup::fault::{Fault, FaultCx, FaultError, handle_mm_fault};
use gup::flags::{FaultFlags, Foll, MapFlags, Prot, VmFlags};
use gup::frame::{FrameFlags, Kind};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::remote::{Access, access_remote_vm, process_vm};
use gup::gup::{Outcome, Page};
use gup::host::Memory;
use gup::mapping::{
    Advice, GrowProt, MlockFlags, MmapRequest, MremapFlags, MremapRequest, madvise, mlock2,
    munlock, sys,
};
use gup::mm::Mm;

/// What an operation returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) ret: i64,
    pub(super) errno: i32,
}

impl Answer {
    pub(super) const fn ok(ret: i64) -> Self {
        Self { ret, errno: 0 }
    }
    pub(super) const fn failed(errno: Errno) -> Self {
        Self { ret: -1, errno: errno.raw() }
    }
}

/// 0, or the errno.
pub(super) fn answer_of<T>(result: Result<T, Errno>) -> Answer {
    result.map_or_else(Answer::failed, |_| Answer::ok(0))
}

/// `madvise` by the process itself.
pub(super) fn advise(
    process: &Process,
    start: VirtAddr,
    bytes: u64,
    advice: Advice,
) -> Result<(), Errno> {
    madvise(&process.mm, &process.task, start, bytes, advice)
}

/// The range of an operation.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) start: VirtAddr,
    pub(super) pages: u64,
}

impl Span {
    pub(super) fn bytes(self) -> u64 {
        self.pages << PAGE_SHIFT
    }
    pub(super) fn len(self) -> usize {
        usize::try_from(self.pages).unwrap_or(0)
    }
    pub(super) fn each_address(self) -> impl Iterator<Item = VirtAddr> {
        (0..self.pages).map(move |n| self.start.wrapping_add(n << PAGE_SHIFT))
    }
    fn each(self) -> impl Iterator<Item = (u64, VirtAddr)> {
        (0..).zip(self.each_address())
    }
}

/// Whether [`perform`] can do `op`.
pub(super) fn is_known(op: &str) -> bool {
    matches!(
        op,
        "fork"
            | "exit"
            | "iou_reg"
            | "iou_unreg"
            | "mmap_priv"
            | "mmap_shanon"
            | "mmap_fpriv"
            | "mmap_fsh"
            | "munmap"
            | "mprotect"
            | "mremap_move"
            | "dontneed"
            | "free"
            | "pageout"
            | "popr"
            | "popw"
            | "mlock"
            | "munlock"
            | "read"
            | "write"
            | "mempolicy"
            | "futex"
            | "vmsplice"
            | "od_read"
            | "od_write"
            | "pvm_read"
            | "pvm_write"
            | "mem_read"
            | "mem_write"
    )
}

/// Does what `record` says.
pub(super) fn perform(world: &mut World, record: &Record) -> Answer {
    let slot = record.slot;
    match record.op.as_str() {
        "fork" => {
            let child = usize::try_from(record.n).unwrap_or(usize::MAX);
            return answer_of(world.fork(slot, child));
        }
        "exit" => {
            world.unregister(slot);
            world.slots[slot] = None;
            return Answer::ok(0);
        }
        "iou_unreg" => return unregister(world, slot),
        _ => {}
    }
    let span = Span { start: page(record.pg), pages: record.n };
    let prot = Prot::from_bits_retain(record.prot);
    if record.op == "iou_reg" {
        return register(world, slot, span);
    }
    let Some(process) = &world.slots[slot] else { return Answer::failed(Errno::ENOENT) };
    let (mm, task) = (&process.mm, &process.task);
    let advise = |advice| answer_of(advise(process, span.start, span.bytes(), advice));
    match record.op.as_str() {
        "mmap_priv" | "mmap_shanon" | "mmap_fpriv" | "mmap_fsh" => map(world, process, record),
        "munmap" => answer_of(sys::munmap(mm, span.start, span.bytes())),
        "mprotect" => {
            let grow = GrowProt::Exact;
            answer_of(sys::mprotect(mm, task, span.start, span.bytes(), prot, grow))
        }
        "mremap_move" => remap(process, span),
        "dontneed" => advise(Advice::DontNeed),
        "free" => advise(Advice::Free),
        "pageout" => advise(Advice::PageOut),
        "popr" => advise(Advice::PopulateRead),
        "popw" => advise(Advice::PopulateWrite),
        "mlock" => {
            let flags = MlockFlags::empty();
            answer_of(mlock2(mm, task, span.start, span.bytes(), flags))
        }
        "munlock" => answer_of(munlock(mm, span.start, span.bytes())),
        "read" | "write" => touch(process, span, (record.op == "write").then_some(record.pg)),
        "mempolicy" => per_page(span, |at| get(process, at, Foll::empty()).map(drop)),
        "futex" => per_page(span, |at| futex(process, at)),
        "vmsplice" => vmsplice(process, span),
        "od_read" => direct(process, span, Foll::WRITE),
        "od_write" => direct(process, span, Foll::empty()),
        "pvm_read" | "pvm_write" | "mem_read" | "mem_write" => remote(world, mm, record, span),
        _ => Answer::failed(Errno::ENOSYS),
    }
}

fn map(world: &World, process: &Process, record: &Record) -> Answer {
    let prot = Prot::from_bits_retain(record.prot);
    let bytes = record.n << PAGE_SHIFT;
    let offset = record.pg << PAGE_SHIFT;
    let file = |file, flags| MmapRequest::file(file, offset, bytes, prot, flags);
    let request = match record.op.as_str() {
        "mmap_shanon" => file(&world.memfd, MapFlags::SHARED),
        "mmap_fpriv" => file(&world.regular, MapFlags::PRIVATE),
        "mmap_fsh" => file(&world.regular, MapFlags::SHARED),
        _ => MmapRequest::anonymous(bytes, prot),
    };
    answer_of(sys::mmap(&process.mm, &process.task, &request.at(page(record.pg))))
}

/// There and back again.
fn remap(process: &Process, span: Span) -> Answer {
    let away = page(PAGES + 4);
    let one_way = |from, to| {
        let request = MremapRequest {
            addr: from,
            old_bytes: span.bytes(),
            new_bytes: span.bytes(),
            flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
            new_addr: to,
        };
        sys::mremap(&process.mm, &process.task, &request)
    };
    answer_of(one_way(span.start, away).and_then(|_| one_way(away, span.start)))
}

/// The process's own accesses: minus the signal that ended them, or 0.
fn touch(process: &Process, span: Span, first: Option<u64>) -> Answer {
    for (n, at) in span.each() {
        let byte = first.map(|first| u8::try_from(0x40 + first + n).unwrap_or(0));
        if let Err(signal) = access(process, at, byte) {
            return Answer::ok(-signal);
        }
    }
    Answer::ok(0)
}

const SIGBUS: i64 = 7;
const SIGSEGV: i64 = 11;

/// Loads from `at`, or stores there, as the processor does: faulting until the entry allows it.
pub(crate) fn access(process: &Process, at: VirtAddr, store: Option<u8>) -> Result<(), i64> {
    let base = FaultFlags::USER | FaultFlags::ALLOW_RETRY | FaultFlags::KILLABLE;
    let flags = if store.is_some() { base | FaultFlags::WRITE } else { base };
    let mm = &process.mm;
    loop {
        let map = mm.read();
        let vma = map.lookup(at).ok_or(SIGSEGV)?;
        let needed = if store.is_some() { VmFlags::WRITE } else { VmFlags::ACCESS };
        if !vma.flags.intersects(needed) {
            return Err(SIGSEGV);
        }
        if hardware(mm, at, store) {
            return Ok(());
        }
        let cx = FaultCx { mm, map: &map, vma, task: &process.task };
        match handle_mm_fault(&cx, at, flags) {
            Fault::Failed(FaultError::Sigsegv) => return Err(SIGSEGV),
            Fault::Failed(_) => return Err(SIGBUS),
            Fault::Done { .. } | Fault::Kept(_) | Fault::Retry(_) | Fault::Completed { .. } => {}
        }
    }
}

/// What the processor does if the entry allows it.
fn hardware(mm: &Mm<Host>, at: VirtAddr, store: Option<u8>) -> bool {
    let tables = mm.tables();
    let found = tables.walk(at);
    let level = found.place.level;
    let Some(perms) = found.entry.perms(level) else { return false };
    if perms.protnone || (store.is_some() && !perms.write) {
        return false;
    }
    let marked = found.entry.map_perms(level, |perms| {
        perms.young = true;
        perms.dirty |= store.is_some();
    });
    let guard = tables.lock(found.place.table);
    tables.store(found.place, marked);
    drop(guard);
    if let (Some(byte), Some(pfn)) = (store, found.frame(at)) {
        mm.machine().memory().write(pfn, 0, &[byte]);
    }
    true
}

/// One question per page: the mask of those answered, and the last errno.
pub(super) fn per_page(span: Span, ask: impl Fn(VirtAddr) -> Result<(), Errno>) -> Answer {
    let mut answer = Answer::ok(0);
    for (n, at) in span.each() {
        match ask(at) {
            Ok(()) => answer.ret |= 1 << n,
            Err(errno) => answer.errno = errno.raw(),
        }
    }
    answer
}

/// One page got by the process itself, given back at once; what kind of page it was, where
/// anonymous
/// memory of hugetlbfs is anonymous.
pub(crate) fn get(process: &Process, at: VirtAddr, foll: Foll) -> Result<Kind, Errno> {
    let mut page = [None];
    let outcome = fast(FastEntry::Get, &process.task, &process.mm, at, 1, foll, &mut page);
    let [Some(page)] = page else { return Err(outcome.errno().unwrap_or(Errno::EFAULT)) };
    let machine = process.mm.machine();
    let frames = machine.frames();
    let anonymous = frames.is_anon(page.pfn());
    let kind = if anonymous { Kind::Anon } else { frames.kind(page.pfn()) };
    machine.put_page(page.pfn());
    Ok(kind)
}

/// A shared futex: wants to write, settles for reading, but not from anonymous memory.
pub(crate) fn futex(process: &Process, at: VirtAddr) -> Result<(), Errno> {
    let kind = match get(process, at, Foll::WRITE) {
        Err(Errno::EFAULT) => get(process, at, Foll::empty()).map(|kind| match kind {
            Kind::Anon => Kind::Special,
            other => other,
        }),
        other => other,
    };
    // A page that belongs to nothing has no key.
    if kind? == Kind::Special { Err(Errno::EFAULT) } else { Ok(()) }
}

pub(super) fn vmsplice(process: &Process, span: Span) -> Answer {
    let (pages, stop) = grab_on(process, FastEntry::Get, span, Foll::empty());
    for page in &pages {
        process.mm.machine().put_page(page.pfn());
    }
    match stop {
        Some(errno) if pages.is_empty() => Answer::failed(errno),
        Some(_) | None => Answer::ok(bytes_of(pages.len())),
    }
}

/// Direct I/O: all or EFAULT; a read dirties the pages before the stop.
pub(super) fn direct(process: &Process, span: Span, foll: Foll) -> Answer {
    let (pages, stop) = grab_on(process, FastEntry::Pin, span, foll);
    let machine = process.mm.machine();
    for page in &pages {
        if foll.contains(Foll::WRITE) {
            machine.memory().zero(page.pfn(), 1);
            machine.frames().set(page.pfn(), FrameFlags::DIRTY);
        }
        machine.unpin_pages(page.pfn(), 1);
    }
    stop.map_or(Answer::ok(bytes_of(pages.len())), |_| Answer::failed(Errno::EFAULT))
}

fn register(world: &mut World, slot: usize, span: Span) -> Answer {
    let machine = std::sync::Arc::clone(&world.machine);
    let Some(process) = &mut world.slots[slot] else { return Answer::failed(Errno::ENOENT) };
    if process.ring.get_or_insert_default().is_empty() {
        let foll = Foll::WRITE | Foll::LONGTERM;
        let (pages, outcome) = grab(process, FastEntry::Pin, span, foll);
        let pinned: Vec<_> = pages.iter().map(Page::pfn).collect();
        if outcome.got == span.pages {
            process.ring = Some(pinned);
            return Answer::ok(0);
        }
        for pfn in pinned {
            machine.unpin_pages(pfn, 1);
        }
        return Answer::failed(outcome.errno().unwrap_or(Errno::EFAULT));
    }
    Answer::failed(Errno::EBUSY)
}

fn unregister(world: &mut World, slot: usize) -> Answer {
    let made = world.slots[slot].as_ref().is_some_and(|process| process.ring.is_some());
    if world.unregister(slot) || !made { Answer::ok(0) } else { Answer::failed(Errno::ENXIO) }
}

/// What another process does through `process_vm_*` or /proc/PID/mem.
fn remote(world: &World, mm: &Mm<Host>, record: &Record, span: Span) -> Answer {
    let mut bytes = vec![0x55; span.len() * PAGE_SIZE as usize];
    let access =
        if record.op.ends_with("read") { Access::Read(&mut bytes) } else { Access::Write(&bytes) };
    let pvm = record.op.starts_with("pvm");
    let moved = if pvm {
        process_vm(&world.controller, mm, span.start, access)
    } else {
        access_remote_vm(&world.controller, mm, span.start, access, Foll::FORCE)
    };
    if moved.bytes == 0 {
        return Answer::failed(if pvm { Errno::EFAULT } else { Errno::EIO });
    }
    Answer::ok(i64::try_from(moved.bytes).unwrap_or(i64::MAX))
}

/// Grabs a range as block I/O and pipes do: again from where a call ended short, until one gets
/// nothing. The pages, and what ended it early.
fn grab_on(
    process: &Process,
    entry: FastEntry,
    span: Span,
    foll: Foll,
) -> (Vec<Page>, Option<Errno>) {
    let mut all = Vec::new();
    let mut left = span;
    while left.pages > 0 {
        let (pages, outcome) = grab(process, entry, left, foll);
        if outcome.got == 0 {
            return (all, Some(outcome.errno().unwrap_or(Errno::EFAULT)));
        }
        all.extend(pages);
        let start = left.start.wrapping_add(outcome.got << PAGE_SHIFT);
        left = Span { start, pages: left.pages - outcome.got };
    }
    (all, None)
}

/// One call of GUP-fast for the whole range.
pub(super) fn grab(
    process: &Process,
    entry: FastEntry,
    span: Span,
    foll: Foll,
) -> (Vec<Page>, Outcome) {
    let mut pages: Vec<_> = std::iter::repeat_with(|| None).take(span.len()).collect();
    let (mm, task) = (&process.mm, &process.task);
    let outcome = fast(entry, task, mm, span.start, span.pages, foll, &mut pages);
    (pages.into_iter().flatten().collect(), outcome)
}

pub(super) fn bytes_of(pages: usize) -> i64 {
    i64::try_from(pages << PAGE_SHIFT).unwrap_or(i64::MAX)
}
