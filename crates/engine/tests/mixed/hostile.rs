//! Random programs with hostile arguments on a machine that is short of memory: nothing panics,
//! nothing runs for ever, and after every step the books are right ([`crate::audit`]).

use crate::audit::{Held, audit};
use crate::failures::Kept;
use crate::support::{TestHost, World, page};
use gup::addr::{PAGE_SIZE, PMD_ORDER, Pfn, TASK_SIZE, VirtAddr};
use gup::file::{File, FileKind};
use gup::flags::{Foll, MapFlags, Prot};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::remote::{Access, access_remote_vm, process_vm};
use gup::gup::{Entry, Locked, Page, Read, Write};
use gup::host::Store;
use gup::linux::Linux;
use gup::mapping::{self, Advice, MclFlags, MmapRequest, MremapFlags, MremapRequest, sys};
use gup::mm::{Lock, MachineConfig, Mm};
use proptest::prelude::*;
use std::mem::ManuallyDrop;
use std::sync::Arc;

const ARENA: u64 = 1536;
const PMD: u64 = 512;

/// A range: mostly inside the arena, at times anything.
#[derive(Clone, Copy, Debug)]
struct Range {
    at: u64,
    bytes: u64,
}

#[derive(Clone, Debug)]
enum Op {
    Map { range: Range, kind: u8, prot: u32, flags: u32, offset: u64 },
    Unmap(Range),
    Protect(Range, u32),
    Remap { range: Range, new: Range, flags: u32 },
    Advise(Range, i32),
    Lock(Range),
    Unlock(Range),
    LockAll(u32),
    Brk(u64),
    Touch { at: u64, write: bool },
    Fork,
    Exit,
    Switch(u8),
    V4_4 { range: Range, flags: u32, pages: bool, may_drop: bool },
    Slow { range: Range, entry: u8, foll: u64, drops: bool },
    Fast { range: Range, entry: u8, foll: u64 },
    OldFast { range: Range, write: bool },
    Locked { range: Range, write: i32, force: i32 },
    Typed { range: Range, write: bool },
    Fixup { at: u64, flags: u32 },
    FollowPage { at: u64, flags: u32 },
    Populate(Range),
    Remote { range: Range, write: bool, whole: bool },
    Release,
    Truncate { file: u8, bytes: u64 },
    Punch { file: u8, first: u64, end: u64 },
    Pool(u64),
}

fn address() -> impl Strategy<Value = u64> {
    let arena = || (0..ARENA).prop_map(|n| page(n).get());
    prop_oneof![
        24 => (0..40u64).prop_map(|n| page(n).get()),
        2 => arena(),
        8 => (1..3u64, 0..4u64).prop_map(|(n, more)| page(n * PMD + more * more * 50).get()),
        1 => (arena(), 1..4096u64).prop_map(|(at, n)| at + n),
        1 => prop_oneof![
            Just(0),
            Just(TASK_SIZE - PAGE_SIZE),
            Just(TASK_SIZE),
            Just(u64::MAX),
            Just(!(PAGE_SIZE - 1)),
            Just(1 << 47),
            Just(0xffff_ffff_ff60_0000),
            any::<u64>(),
        ],
    ]
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => (1..24u64).prop_map(|n| n * PAGE_SIZE),
        4 => (1..3u64).prop_map(|n| n * PMD * PAGE_SIZE),
        2 => (1..1200u64).prop_map(|n| n * PAGE_SIZE),
        1 => 0..100_000u64,
        1 => prop_oneof![Just(0), Just(u64::MAX), Just(TASK_SIZE), any::<u64>()],
    ]
}

fn range() -> impl Strategy<Value = Range> {
    (address(), length()).prop_map(|(at, bytes)| Range { at, bytes })
}

fn foll() -> impl Strategy<Value = u64> {
    let nice = Foll::WRITE | Foll::FORCE | Foll::LONGTERM | Foll::SPLIT_PMD | Foll::NOFAULT;
    prop_oneof![4 => any::<u64>().prop_map(move |bits| bits & nice.bits()), 1 => any::<u64>()]
}

fn v4_4_flags() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => (0..0x4000u32).prop_map(|bits| bits & 0x1f17),
        2 => 0..0x8000u32,
        1 => any::<u32>(),
    ]
}

fn edits() -> impl Strategy<Value = Op> {
    let prot = || prop_oneof![6 => Just(3u32), 2 => 0..8u32, 1 => any::<u32>()];
    let flags = prop_oneof![
        6 => Just(0u32),
        2 => prop_oneof![Just(0x100), Just(0x2000), Just(0x4000), Just(0x8000), Just(0x4_0000)],
        1 => any::<u32>()
    ];
    let map = (range(), 0..12u8, prot(), flags, 0..64u64);
    prop_oneof![
        12 => map.prop_map(|(range, kind, prot, flags, offset)|
            Op::Map { range, kind, prot, flags, offset: offset * PAGE_SIZE }),
        4 => range().prop_map(Op::Unmap),
        5 => (range(), prot()).prop_map(|(range, prot)| Op::Protect(range, prot)),
        4 => (range(), range(), 0..9u32)
            .prop_map(|(range, new, flags)| Op::Remap { range, new, flags }),
        10 => (range(), prop_oneof![
            4 => Just(14), 2 => Just(4), 6 => Just(21), 2 => Just(8), 4 => -1..26i32,
            1 => 100..105i32,
        ]).prop_map(|(range, advice)| Op::Advise(range, advice)),
        2 => range().prop_map(Op::Lock),
        2 => range().prop_map(Op::Unlock),
        1 => (0..9u32).prop_map(Op::LockAll),
        1 => address().prop_map(Op::Brk),
        6 => Just(Op::Fork),
        2 => Just(Op::Exit),
        3 => any::<u8>().prop_map(Op::Switch),
        2 => (0..3u8, length()).prop_map(|(file, bytes)| Op::Truncate { file, bytes }),
        1 => (0..3u8, 0..64u64, 0..64u64)
            .prop_map(|(file, first, end)| Op::Punch { file, first, end }),
        1 => (0..3u64).prop_map(Op::Pool),
    ]
}

fn uses() -> impl Strategy<Value = Op> {
    let any2 = || (any::<bool>(), any::<bool>());
    prop_oneof![
        24 => (address(), any::<bool>()).prop_map(|(at, write)| Op::Touch { at, write }),
        5 => (range(), v4_4_flags(), any2()).prop_map(|(range, flags, (pages, may_drop))|
            Op::V4_4 { range, flags, pages, may_drop }),
        5 => (range(), 0..6u8, foll(), any::<bool>()).prop_map(|(range, entry, foll, drops)|
            Op::Slow { range, entry, foll, drops }),
        4 => (range(), 0..3u8, foll())
            .prop_map(|(range, entry, foll)| Op::Fast { range, entry, foll }),
        2 => (range(), any::<bool>()).prop_map(|(range, write)| Op::OldFast { range, write }),
        2 => (range(), any::<i32>(), any::<i32>()).prop_map(|(range, write, force)|
            Op::Locked { range, write: write & 1, force: force & 1 }),
        2 => (range(), any::<bool>()).prop_map(|(range, write)| Op::Typed { range, write }),
        1 => (address(), any::<u32>()).prop_map(|(at, flags)| Op::Fixup { at, flags }),
        2 => (address(), v4_4_flags()).prop_map(|(at, flags)| Op::FollowPage { at, flags }),
        2 => range().prop_map(Op::Populate),
        2 => (range(), any2())
            .prop_map(|(range, (write, whole))| Op::Remote { range, write, whole }),
        3 => Just(Op::Release),
    ]
}

/// The world, with more than one address space, and what is held of its pages.
struct Play {
    world: World,
    mms: Vec<Arc<Mm<TestHost>>>,
    current: usize,
    files: Vec<Arc<File<TestHost>>>,
    held: Vec<(Pfn, bool)>,
}

impl Play {
    fn new(linux: Linux, frames: u64, always: bool) -> Self {
        let mut config = MachineConfig::new(linux, frames);
        config.sysctl.thp_always = always;
        config.sysctl.max_map_count = 200;
        let world = World::with(config);
        let swap: Arc<dyn Store> = Arc::new(Kept::default());
        world.machine.swap().on(swap, 24);
        let files = vec![
            world.file(FileKind::Regular, 48, Some(Box::new(Kept::default()))),
            world.file(FileKind::Shmem, 48, None),
            world.file(FileKind::Secret, 48, None),
        ];
        let mms = vec![Arc::clone(&world.mm)];
        Self { world, mms, current: 0, files, held: Vec::new() }
    }
    fn mm(&self) -> Arc<Mm<TestHost>> {
        Arc::clone(&self.mms[self.current % self.mms.len()])
    }
    fn audit(&self) {
        let mut held = Held::new();
        for (pfn, _) in &self.held {
            *held.entry(self.world.machine.frames().head(*pfn)).or_default() += 1;
        }
        held.remove(&self.world.machine.zero_page());
        let files: Vec<_> = self.files.iter().map(|file| &**file).collect();
        audit(&self.world.machine, self.mms.iter().map(|mm| &**mm), &files, &held);
    }
    fn release(&mut self) {
        for (pfn, pin) in self.held.drain(..) {
            if pin {
                self.world.machine.unpin_pages(pfn, 1);
            } else {
                self.world.machine.put_page(pfn);
            }
        }
    }
    fn hold(&mut self, pages: Vec<Option<Page>>, pin: bool) {
        self.held.extend(pages.into_iter().flatten().map(|page| (page.pfn(), pin)));
    }
    fn end(mut self) {
        self.release();
        self.audit();
        let Self { world, mms, files, .. } = self;
        drop(mms);
        for file in &files {
            file.truncate(&world.machine, 0);
        }
        world.machine.resize_hugetlb(PMD_ORDER, 0);
        let machine = Arc::clone(&world.machine);
        world.end();
        assert_eq!(machine.swap().free_slots(), 24, "swap slots left behind");
        audit(&machine, [], &[], &Held::new());
    }
}

fn at(range: Range) -> VirtAddr {
    VirtAddr::new(range.at)
}

/// Pages of a range, and slots for them: never so many that the test itself runs out of memory.
fn slots(range: Range) -> (u64, Vec<Option<Page>>) {
    let nr = range.bytes.div_ceil(PAGE_SIZE).min(1200);
    (nr, (0..nr).map(|_| None).collect())
}

impl Play {
    fn play(&mut self, op: &Op) {
        self.world.task.clear_signals();
        self.world.host().relaxed.store(0, std::sync::atomic::Ordering::SeqCst);
        let mm = self.mm();
        match op {
            Op::Fork => {
                if self.mms.len() < 4
                    && let Ok(child) = mapping::fork(&mut mm.write(), &self.world.task)
                {
                    self.mms.push(child);
                }
            }
            Op::Exit if self.mms.len() > 1 => drop(self.mms.pop()),
            Op::Exit => {}
            Op::Switch(to) => self.current = usize::from(*to),
            Op::Release => self.release(),
            Op::Truncate { file, bytes } => {
                self.files[usize::from(*file)].truncate(&self.world.machine, *bytes);
            }
            Op::Punch { file, first, end } => {
                self.files[usize::from(*file)].punch_hole(&self.world.machine, *first, *end);
            }
            Op::Pool(pages) => _ = self.world.machine.resize_hugetlb(PMD_ORDER, *pages),
            Op::Touch { at, write } => touch(&self.world, &mm, VirtAddr::new(*at), *write),
            Op::Map { .. }
            | Op::Unmap(_)
            | Op::Protect(..)
            | Op::Remap { .. }
            | Op::Advise(..)
            | Op::Lock(_)
            | Op::Unlock(_)
            | Op::LockAll(_)
            | Op::Brk(_) => self.edit(&mm, op),
            Op::V4_4 { .. }
            | Op::Slow { .. }
            | Op::Fast { .. }
            | Op::OldFast { .. }
            | Op::Locked { .. } => self.grab(&mm, op),
            Op::Typed { .. }
            | Op::Fixup { .. }
            | Op::FollowPage { .. }
            | Op::Populate(_)
            | Op::Remote { .. } => self.pass_by(&mm, op),
        }
        self.world.forget();
    }

    fn edit(&self, mm: &Mm<TestHost>, op: &Op) {
        let task = &self.world.task;
        match *op {
            Op::Map { range, kind, prot, flags, offset } => {
                let prot = Prot::from_bits_retain(prot);
                let file = &self.files[usize::from(kind) % 3];
                let of = |how| MmapRequest::file(file, offset, range.bytes, prot, how);
                let request = match kind {
                    0..3 => of(MapFlags::PRIVATE),
                    3..6 => of(MapFlags::SHARED),
                    6 => MmapRequest::shared(range.bytes, prot),
                    _ => MmapRequest::anonymous(range.bytes, prot),
                };
                let fixed =
                    if kind == 11 { request.near(at(range)) } else { request.at(at(range)) };
                let _ = sys::mmap(mm, task, &fixed.with(MapFlags::from_bits_retain(flags)));
            }
            Op::Unmap(range) => _ = sys::munmap(mm, at(range), range.bytes),
            Op::Protect(range, prot) => {
                let (prot, grow) = (Prot::from_bits_retain(prot), mapping::GrowProt::Exact);
                let _ = sys::mprotect(mm, task, at(range), range.bytes, prot, grow);
            }
            Op::Remap { range, new, flags } => {
                let flags = MremapFlags::from_bits_retain(flags);
                let (addr, new_addr) = (at(range), at(new));
                let (old_bytes, new_bytes) = (range.bytes, new.bytes);
                let request = MremapRequest { addr, old_bytes, new_bytes, flags, new_addr };
                let _ = sys::mremap(mm, task, &request);
            }
            Op::Advise(range, advice) => {
                if let Some(advice) = Advice::from_raw(advice) {
                    let _ = mapping::madvise(mm, task, at(range), range.bytes, advice);
                }
            }
            Op::Lock(range) => _ = mapping::mlock(mm, task, at(range), range.bytes),
            Op::Unlock(range) => _ = mapping::munlock(mm, at(range), range.bytes),
            Op::LockAll(0) => mapping::munlockall(mm),
            Op::LockAll(flags) => {
                let _ = mapping::mlockall(mm, task, MclFlags::from_bits_retain(flags));
            }
            Op::Brk(to) => _ = sys::brk(mm, task, VirtAddr::new(to)),
            _ => {}
        }
    }

    fn grab(&mut self, mm: &Mm<TestHost>, op: &Op) {
        let mut pin = false;
        let task = &self.world.task;
        let pages = match *op {
            Op::V4_4 { range, flags, pages, may_drop } => {
                let (nr, mut out) = slots(range);
                // Without slots, the count may be anything.
                let nr = if pages { nr } else { range.bytes };
                let flags = if pages { flags | 4 } else { flags & !4 };
                let mut nonblocking = 1;
                let drops = may_drop.then_some(&mut nonblocking);
                let mut lock = Lock::Read(mm.read());
                let to = pages.then_some(&mut out[..]);
                gup::abi::__get_user_pages(
                    task, None, &mut lock, range.at, nr, flags, to, None, drops,
                );
                out
            }
            Op::Slow { range, entry, foll, drops } => {
                let (nr, mut out) = slots(range);
                let entry = [
                    Entry::Get,
                    Entry::GetRemote,
                    Entry::GetUnlocked,
                    Entry::Pin,
                    Entry::PinRemote,
                    Entry::PinUnlocked,
                ][usize::from(entry)];
                pin = matches!(entry, Entry::Pin | Entry::PinRemote | Entry::PinUnlocked);
                let takes = matches!(entry, Entry::GetUnlocked | Entry::PinUnlocked);
                let mut lock = if takes { Lock::Dropped(mm) } else { Lock::Read(mm.read()) };
                let locked = if drops && !takes { Locked::Given } else { Locked::Null };
                let (foll, to) = (Foll::from_bits_retain(foll), Some(&mut out[..]));
                let _ = gup::gup::gup(entry, task, &mut lock, at(range), nr, foll, to, locked);
                out
            }
            Op::Fast { range, entry, foll } => {
                let (nr, mut out) = slots(range);
                let entry =
                    [FastEntry::Get, FastEntry::GetOnly, FastEntry::Pin][usize::from(entry)];
                pin = entry == FastEntry::Pin;
                let foll = Foll::from_bits_retain(foll);
                let _ = fast(entry, task, mm, at(range), nr, foll, &mut out);
                out
            }
            Op::OldFast { range, write } => {
                let (nr, mut out) = slots(range);
                let nr = i32::try_from(nr).unwrap();
                gup::abi::get_user_pages_fast(task, mm, range.at, nr, i32::from(write), &mut out);
                out
            }
            Op::Locked { range, write, force } => {
                let (nr, mut out) = slots(range);
                let mut lock = Lock::Read(mm.read());
                let to = Some(&mut out[..]);
                gup::abi::get_user_pages_locked(
                    task, None, &mut lock, range.at, nr, write, force, to,
                );
                out
            }
            _ => Vec::new(),
        };
        self.hold(pages, pin);
    }

    /// Calls that hold nothing when they return.
    fn pass_by(&self, mm: &Mm<TestHost>, op: &Op) {
        let task = &self.world.task;
        match *op {
            Op::Typed { range, write } => {
                let count = usize::try_from(range.bytes / 4096).unwrap();
                if write {
                    drop(mm.pin::<Write>(task, at(range), count));
                } else {
                    drop(mm.pin::<Read>(task, at(range), count));
                }
            }
            Op::Fixup { at, flags } => {
                let mut lock = Lock::Read(mm.read());
                gup::abi::fixup_user_fault(task, None, &mut lock, at, flags);
            }
            Op::FollowPage { at, flags } => {
                let lock = Lock::Read(mm.read());
                let vma =
                    lock.map().and_then(|map| map.lookup(VirtAddr::new(at))).map(gup::vma::Vma::id);
                let Some(vma) = vma else { return };
                let flags = flags & !0x400;
                let found = gup::abi::follow_page(task, &lock, vma, at, flags);
                if let (Ok(Some(page)), true) = (found, flags & 4 != 0) {
                    gup::abi::put_page(&self.world.machine, page);
                }
            }
            Op::Populate(range) => {
                gup::abi::__mm_populate(task, mm, range.at, range.bytes, 1);
            }
            Op::Remote { range, write, whole } => {
                let mut bytes = vec![7; usize::try_from(range.bytes.min(300_000)).unwrap()];
                let foll = if whole { Foll::FORCE } else { Foll::empty() };
                let access = if write { Access::Write(&bytes) } else { Access::Read(&mut bytes) };
                if whole {
                    access_remote_vm(task, mm, at(range), access, foll);
                } else {
                    process_vm(task, mm, at(range), access);
                }
            }
            _ => {}
        }
    }
}

/// A load or a store by the process.
fn touch(world: &World, mm: &Mm<TestHost>, addr: VirtAddr, write: bool) {
    let mut lock = Lock::Read(mm.read());
    gup::abi::fixup_user_fault(&world.task, None, &mut lock, addr.get(), u32::from(write) | 0x40);
}

/// Something of each kind to begin with.
fn prelude() -> Vec<Op> {
    let range = |at: u64, pages: u64| Range { at: page(at).get(), bytes: pages * PAGE_SIZE };
    let map = |at, pages, kind, flags| Op::Map {
        range: range(at, pages),
        kind,
        prot: 3,
        flags,
        offset: 0,
    };
    vec![
        Op::Pool(1),
        map(0, 16, 8, 0),
        map(16, 8, 0, 0),
        map(24, 8, 3, 0),
        map(32, 4, 1, 0),
        map(36, 4, 4, 0),
        map(PMD, PMD, 8, 0),
        map(2 * PMD, PMD, 8, 0x4_0000),
        Op::Advise(range(PMD, PMD), 14),
    ]
}

fn run(old: bool, frames: u64, always: bool, program: &[Op]) {
    let linux = if old { Linux::V4_4 } else { Linux::V6_18 };
    // What a failed step leaves behind cannot be taken down.
    let mut play = ManuallyDrop::new(Play::new(linux, frames, always));
    for op in &prelude() {
        play.play(op);
    }
    for op in program {
        play.play(op);
        play.audit();
    }
    ManuallyDrop::into_inner(play).end();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_books_are_right_after_every_step_of_any_program(
        program in proptest::collection::vec(prop_oneof![edits(), uses()], 1..60),
        old in any::<bool>(),
        frames in prop_oneof![Just(64u64), Just(100), Just(700), Just(1400), Just(2600)],
        always in any::<bool>(),
    ) {
        run(old, frames, always, &program);
    }
}
