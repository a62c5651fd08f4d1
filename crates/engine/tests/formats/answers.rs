//! Whole address spaces: a program gets the same answers in every format as on x86-64.

use crate::every_format;
use crate::rig::{Rig, pages};
use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::fault::{Fault, FaultCx, handle_mm_fault};
use gup::flags::{FaultFlags, Foll, MapFlags, Prot, VmFlags};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page};
use gup::host::Memory;
use gup::linux::Linux;
use gup::mapping::{self, MmapRequest};
use gup::mm::{Lock, Machine, MachineConfig, Mm};
use gup::pgtable::{Format, Touch, Touched, X86_64};
use gup::task::Task;
use std::sync::Arc;

every_format!(
    a_program_gets_the_answers_of_x86_64_in_v4_4,
    a_program_gets_the_answers_of_x86_64_in_v6_18,
    a_mapping_lies_in_the_window_unless_a_hint_lies_above,
);

const FRAMES: u64 = 4096;
const HUGE: u64 = 2 << 20;

/// One process.
struct Process<F: Format> {
    mm: Arc<Mm<Rig<F>>>,
    task: Task,
}

/// What a program saw, line by line.
type Log = Vec<String>;

impl<F: Format> Process<F> {
    fn new(machine: &Arc<Machine<Rig<F>>>) -> Self {
        Self { mm: Mm::new(machine).expect("room for a root"), task: Task::default() }
    }
    fn fork(&self) -> Self {
        self.watch();
        let mm = mapping::fork(&mut self.mm.write(), &self.task).expect("room for a child");
        self.host().check_tlb();
        Self { mm, task: Task::default() }
    }
    fn host(&self) -> &Rig<F> {
        self.mm.machine().host()
    }
    /// Shows the TLB all leaves of all areas.
    fn watch(&self) {
        let ranges: Vec<_> = self.mm.read().iter().map(gup::vma::Vma::range).collect();
        for range in ranges {
            self.host().fill_tlb(self.mm.root(), range);
        }
    }
    fn map(&self, request: &MmapRequest<Rig<F>>) -> VirtAddr {
        mapping::mmap(&mut self.mm.write(), &self.task, request).expect("a place")
    }
    fn anonymous(&self, bytes: u64) -> VirtAddr {
        self.map(&MmapRequest::anonymous(bytes, Prot::READ | Prot::WRITE))
    }
    /// Takes an access as a processor does: through the tables, and with faults where it must.
    fn touch(&self, addr: VirtAddr, touch: Touch) -> Option<gup::addr::Pfn> {
        let flags = if touch == Touch::Write { FaultFlags::WRITE } else { FaultFlags::empty() };
        for _ in 0..4 {
            if let Touched::Frame(pfn) = self.mm.tables().touch(addr, touch) {
                self.host().check_tlb();
                return Some(pfn);
            }
            self.watch();
            let map = self.mm.read();
            let needs = if touch == Touch::Write { VmFlags::WRITE } else { VmFlags::READ };
            let vma = map.lookup(addr).filter(|vma| vma.flags.contains(needs))?;
            let cx = FaultCx { mm: &self.mm, map: &map, vma, task: &self.task };
            if !matches!(
                handle_mm_fault(&cx, addr.page_floor(), flags | FaultFlags::USER),
                Fault::Done { .. }
            ) {
                return None;
            }
            self.host().check_tlb();
        }
        panic!("{addr} faults for ever");
    }
    fn store(&self, addr: VirtAddr, byte: u8) -> bool {
        let to = self.touch(addr, Touch::Write);
        let offset = addr.page_offset() as usize;
        to.inspect(|&pfn| self.mm.machine().memory().write(pfn, offset, &[byte])).is_some()
    }
    fn load(&self, addr: VirtAddr) -> Option<u8> {
        let mut byte = [0];
        let from = self.touch(addr, Touch::Read)?;
        self.mm.machine().memory().read(from, addr.page_offset() as usize, &mut byte);
        Some(byte[0])
    }
    /// Bytes, frames shared with `other`, and permissions of `count` pages.
    fn state(&self, other: &Self, start: VirtAddr, count: u64) -> String {
        let each = (0..count).map(|n| {
            let addr = start.wrapping_add(n * PAGE_SIZE);
            let (ours, theirs) = (self.mm.tables().walk(addr), other.mm.tables().walk(addr));
            let level = ours.place.level;
            match (ours.frame(addr), ours.entry.perms(level)) {
                (Some(pfn), Some(perms)) => {
                    let same = theirs.frame(addr) == Some(pfn);
                    let count = self.mm.machine().frames().linux_refcount(pfn);
                    format!("L{level} {} {count} {perms:?}", if same { "shared" } else { "own" })
                }
                _ => "-".into(),
            }
        });
        each.collect::<Vec<_>>().join("; ")
    }
    /// One call of every way in: what it returned, and the first bytes of the pages it got.
    fn grab(&self, log: &mut Log, start: VirtAddr, nr: u64, foll: Foll) {
        self.watch();
        for how in 0..5 {
            let mut pages: Vec<Option<Page>> = (0..nr).map(|_| None).collect();
            let (task, out) = (&self.task, &mut pages[..]);
            let mut lock = Lock::Read(self.mm.read());
            let code = match how {
                0 => {
                    let flags = (foll | Foll::GET).to_v4_4();
                    let start = start.get();
                    let out = Some(out);
                    gup::abi::__get_user_pages(
                        task, None, &mut lock, start, nr, flags, out, None, None,
                    )
                }
                1 | 2 => {
                    drop(lock);
                    let entry = if how == 1 { FastEntry::Get } else { FastEntry::Pin };
                    fast(entry, task, &self.mm, start, nr, foll, out).code()
                }
                _ => {
                    let entry = if how == 3 { Entry::PinRemote } else { Entry::GetRemote };
                    gup::gup::gup(entry, task, &mut lock, start, nr, foll, Some(out), Locked::Given)
                        .code()
                }
            };
            let machine = self.mm.machine();
            let bytes = pages.iter().flatten().map(|page| {
                let mut byte = [0];
                machine.memory().read(page.pfn(), 0, &mut byte);
                byte[0]
            });
            let bytes: Vec<u8> = bytes.collect();
            log.push(format!("grab {how} {foll:?}: {code} {bytes:?}"));
            for page in pages.into_iter().flatten() {
                match how {
                    2 | 3 => machine.unpin_pages(page.pfn(), 1),
                    _ => machine.put_pages(page.pfn(), 1),
                }
            }
        }
        self.host().check_tlb();
    }
}

fn machine<F: Format>(linux: Linux) -> Arc<Machine<Rig<F>>> {
    let mut config = MachineConfig::new(linux, FRAMES);
    config.sysctl.thp_always = true;
    Machine::new(Rig::new(FRAMES), config).expect("room for the zero page")
}

/// Small pages: stores, pins, fork, copy-on-write, `PROT_NONE`, holes.
fn small_pages<F: Format>(log: &mut Log, parent: &Process<F>) {
    let at = parent.anonymous(8 * PAGE_SIZE);
    let page = |n: u64| at.wrapping_add(n * PAGE_SIZE);
    assert!(parent.store(page(0), 1) && parent.store(page(1), 2));
    log.push(format!("{:?} {:?}", parent.load(page(2)), parent.load(page(8))));
    parent.grab(log, at, 4, Foll::empty());
    parent.grab(log, at, 5, Foll::WRITE);
    let child = parent.fork();
    log.push(parent.state(&child, at, 8));
    log.push(child.state(parent, at, 8));
    log.push(format!("{:?} {:?}", child.load(page(0)), child.load(page(1))));
    assert!(child.store(page(0), 9) && parent.store(page(1), 8));
    child.grab(log, at, 8, Foll::empty());
    parent.grab(log, at, 8, Foll::WRITE);
    log.push(parent.state(&child, at, 8));
    log.push(child.state(parent, at, 8));
    let lock = &mut parent.mm.write();
    mapping::mprotect(lock, &parent.task, page(2), PAGE_SIZE, Prot::NONE).expect("allowed");
    mapping::munmap(lock, page(5), PAGE_SIZE).expect("allowed");
}

/// The rest of [`small_pages`], once its locks are gone: a pin that outlives a fork.
fn pinned_pages<F: Format>(log: &mut Log, parent: &Process<F>) {
    let at = parent.anonymous(4 * PAGE_SIZE);
    assert!(parent.store(at, 3));
    let mut pages = [None];
    let got = fast(FastEntry::Pin, &parent.task, &parent.mm, at, 1, Foll::WRITE, &mut pages);
    let child = parent.fork();
    log.push(format!("{} {}", got.code(), parent.state(&child, at, 4)));
    log.push(child.state(parent, at, 4));
    assert!(parent.store(at, 4));
    let pin = pages[0].take().expect("pinned").pfn();
    let stays = parent.mm.tables().walk(at).frame(at) == Some(pin);
    log.push(format!("{stays} {:?} {:?}", parent.load(at), child.load(at)));
    parent.mm.machine().unpin_pages(pin, 1);
    mapping::mprotect(&mut parent.mm.write(), &parent.task, at, PAGE_SIZE, Prot::NONE)
        .expect("allowed");
    log.push(format!("{:?} {}", parent.load(at), parent.store(at, 1)));
    parent.grab(log, at, 1, Foll::empty());
    mapping::mprotect(&mut parent.mm.write(), &parent.task, at, PAGE_SIZE, Prot::READ)
        .expect("allowed");
    parent.grab(log, at, 1, Foll::WRITE);
    parent.grab(log, at, 1, Foll::WRITE | Foll::FORCE);
    mapping::munmap(&mut parent.mm.write(), at.wrapping_add(2 * PAGE_SIZE), PAGE_SIZE)
        .expect("allowed");
    parent.grab(log, at, 4, Foll::empty());
}

/// A huge page: filled, grabbed, split by an edit of one of its pages, forked.
fn huge_pages<F: Format>(log: &mut Log, parent: &Process<F>) {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    let addr = VirtAddr::new(0x4000_0000);
    let whole = MmapRequest::anonymous(2 * HUGE, Prot::READ | Prot::WRITE);
    let at = parent.map(&MmapRequest { addr, flags, ..whole });
    assert!(parent.store(at, 7) && parent.store(at.wrapping_add(HUGE), 8));
    log.push(parent.state(parent, at, 1));
    parent.grab(log, at, 3, Foll::WRITE);
    parent.watch();
    let one = at.wrapping_add(5 * PAGE_SIZE);
    mapping::mprotect(&mut parent.mm.write(), &parent.task, one, PAGE_SIZE, Prot::READ)
        .expect("allowed");
    parent.host().check_tlb();
    log.push(parent.state(parent, at, 8));
    parent.grab(log, at, 8, Foll::WRITE);
    let child = parent.fork();
    assert!(child.store(at, 1) && child.store(at.wrapping_add(HUGE), 2));
    log.push(child.state(parent, at, 8));
    log.push(child.state(parent, at.wrapping_add(HUGE), 4));
    log.push(format!("{:?} {:?}", parent.load(at), parent.load(at.wrapping_add(HUGE))));
}

fn answers<F: Format>(linux: Linux) -> Log {
    let machine = machine::<F>(linux);
    let mut log = Log::new();
    for scenario in [small_pages, pinned_pages, huge_pages] {
        let parent = Process::<F>::new(&machine);
        scenario(&mut log, &parent);
        parent.grab(&mut log, VirtAddr::new(F::TASK_SIZE - PAGE_SIZE), 2, Foll::empty());
        drop(parent);
        let used: u64 = machine.frames().stats().used.iter().sum();
        log.push(format!("{used} frames are left in use"));
    }
    log
}

fn a_program_gets_the_answers_of_x86_64_in_v4_4<F: Format>() {
    same_answers::<F>(Linux::V4_4);
}

fn a_program_gets_the_answers_of_x86_64_in_v6_18<F: Format>() {
    same_answers::<F>(Linux::V6_18);
}

fn same_answers<F: Format>(linux: Linux) {
    let (here, there) = (answers::<F>(linux), answers::<X86_64>(linux));
    for (n, (here, there)) in here.iter().zip(&there).enumerate() {
        assert_eq!(here, there, "answer {n}");
    }
    assert_eq!(here.len(), there.len());
}

fn a_mapping_lies_in_the_window_unless_a_hint_lies_above<F: Format>() {
    let process = Process::<F>::new(&machine(Linux::V6_18));
    let plain = process.anonymous(PAGE_SIZE);
    assert!(plain.get() < F::MMAP_WINDOW && plain.get() > F::MMAP_WINDOW / 2);
    let hint = VirtAddr::new(F::TASK_SIZE - 16 * PAGE_SIZE);
    let request = MmapRequest::anonymous(PAGE_SIZE, Prot::READ | Prot::WRITE);
    let high = process.map(&MmapRequest { addr: hint, ..request });
    assert_eq!(high, hint, "user space reaches that far");
    assert!(process.store(high, 5));
    let again = MmapRequest::anonymous(PAGE_SIZE, Prot::READ | Prot::WRITE);
    let second = process.map(&MmapRequest { addr: hint, ..again });
    assert_eq!(second.get() > F::MMAP_WINDOW, F::TASK_SIZE > F::MMAP_WINDOW, "{second}");
    let across = MmapRequest::anonymous(2 * PAGE_SIZE, Prot::READ);
    let border = VirtAddr::new(F::MMAP_WINDOW - PAGE_SIZE).page_floor();
    let beside = process.map(&MmapRequest { addr: border, ..across });
    assert_ne!(beside, border, "no mapping crosses the window's end");
    assert_eq!(pages(high.get(), 1).bytes(), PAGE_SIZE);
}
