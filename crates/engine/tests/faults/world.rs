//! A machine for fault tests: heap memory, injected failures, tickets that a test makes ready, seen
//! rules.

use gup::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::{Fault, FaultCx, handle_mm_fault, zap_range};
use gup::file::{File, FileKind};
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::{FrameFlags, FramesConfig, Kind, Zone};
use gup::host::{
    Host, Injection, Memory, ReadMode, Store, StoreRead, StoreWrite, Ticket, WaitMode, Woken,
};
use gup::linux::Linux;
use gup::memory::HeapMemory;
use gup::mm::{Machine, MachineConfig, Mm};
use gup::observe::{Event, Observer};
use gup::pgtable::{Decoded, Perms, SwapEntry, Walkers, X86_64};
use gup::rule::Rule;
use gup::task::Task;
use gup::vma::{Backing, FileMapping, Vma};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Frames of a test machine.
pub(crate) const FRAMES: u64 = 2048;

/// The host.
pub(crate) struct Sim {
    memory: HeapMemory,
    pub(crate) seen: Seen,
    /// Points that still succeed; then one fails.
    pub(crate) points_left: AtomicU64,
    pub(crate) waited: Mutex<Vec<(Ticket, WaitMode)>>,
    /// What a wait answers.
    pub(crate) woken: Mutex<Woken>,
}

/// Rules seen.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Vec<(Rule, VirtAddr)>>);

impl Observer for Seen {
    const ON: bool = true;
    fn event(&self, event: &Event, _: &'static Location<'static>) {
        if let Event::Rule { rule, addr } = event {
            self.0.lock().unwrap().push((*rule, *addr));
        }
    }
}

impl Host for Sim {
    type Memory = HeapMemory;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = X86_64;
    type Observer = Seen;
    type Reclaim = Walkers;
    fn memory(&self) -> &HeapMemory {
        &self.memory
    }
    fn observer(&self) -> &Seen {
        &self.seen
    }
    fn wait(&self, ticket: Ticket, mode: WaitMode, _: &Task) -> Woken {
        self.waited.lock().unwrap().push((ticket, mode));
        *self.woken.lock().unwrap()
    }
    fn inject(&self, _: Injection) -> bool {
        let left = self.points_left.load(Relaxed);
        self.points_left.store(left.wrapping_sub(1), Relaxed);
        left == 0
    }
    fn bug(&self, rule: Rule) {
        panic!("caller's bug: {rule}");
    }
}

/// A machine.
pub(crate) fn machine(linux: Linux) -> Arc<Machine<Sim>> {
    machine_with(MachineConfig::new(linux, FRAMES))
}

/// A machine of 6.18 whose upper half is movable memory, which faults prefer.
pub(crate) fn movable_machine() -> Arc<Machine<Sim>> {
    let frames = FramesConfig::normal(FRAMES / 2).and(Zone::Movable, 0, FRAMES / 2);
    machine_with(MachineConfig { frames, ..MachineConfig::new(Linux::V6_18, FRAMES) })
}

fn machine_with(config: MachineConfig) -> Arc<Machine<Sim>> {
    let host = Sim {
        memory: HeapMemory::new(FRAMES),
        seen: Seen::default(),
        points_left: AtomicU64::new(u64::MAX),
        waited: Mutex::default(),
        woken: Mutex::new(Woken::Ready),
    };
    Machine::new(host, config).expect("room for the zero page")
}

/// An address space on a machine of its own or of another's.
pub(crate) struct Space {
    pub(crate) mm: Arc<Mm<Sim>>,
    pub(crate) task: Task,
}

/// `rw-p` and what belongs to it.
pub(crate) const RW: VmFlags = VmFlags::READ
    .union(VmFlags::WRITE)
    .union(VmFlags::MAYREAD)
    .union(VmFlags::MAYWRITE)
    .union(VmFlags::MAYEXEC);
/// `r--p`.
pub(crate) const RO: VmFlags =
    VmFlags::READ.union(VmFlags::MAYREAD).union(VmFlags::MAYWRITE).union(VmFlags::MAYEXEC);
/// `rw-s`.
pub(crate) const RWS: VmFlags = RW.union(VmFlags::SHARED).union(VmFlags::MAYSHARE);

/// Where test areas begin.
pub(crate) const BASE: u64 = 0x2000_0000_0000;

/// Page `n` from [`BASE`].
pub(crate) fn page(n: u64) -> VirtAddr {
    VirtAddr::new(BASE + (n << PAGE_SHIFT))
}
/// Pages `from..to`.
pub(crate) fn pages(from: u64, to: u64) -> VirtRange {
    VirtRange::new(page(from), page(to))
}

impl Space {
    pub(crate) fn new(linux: Linux) -> Self {
        Self::on(&machine(linux))
    }
    pub(crate) fn on(machine: &Arc<Machine<Sim>>) -> Self {
        Self { mm: Mm::new(machine).expect("room for a root"), task: Task::default() }
    }
    pub(crate) fn machine(&self) -> Arc<Machine<Sim>> {
        Arc::clone(self.mm.machine())
    }
    /// Maps pages `from..to`.
    pub(crate) fn map(&self, from: u64, to: u64, flags: VmFlags, backing: Backing<Sim>) {
        let mut map = self.mm.write();
        let id = map.new_id();
        let pgoff = match backing {
            Backing::Anonymous => page(from).page_number(),
            Backing::File(_) | Backing::Special(_) => from,
        };
        map.insert(Vma::new(id, pages(from, to), flags, backing, pgoff));
    }
    pub(crate) fn anon(&self, from: u64, to: u64, flags: VmFlags) {
        self.map(from, to, flags, Backing::Anonymous);
    }
    /// A fault at page `n`.
    pub(crate) fn fault(&self, n: u64, flags: FaultFlags) -> Fault {
        let map = self.mm.read();
        let vma = map.lookup(page(n)).expect("an area");
        let cx = FaultCx { mm: &self.mm, map: &map, vma, task: &self.task };
        handle_mm_fault(&cx, page(n), flags)
    }
    pub(crate) fn read(&self, n: u64) -> Fault {
        self.fault(n, FaultFlags::empty())
    }
    pub(crate) fn write(&self, n: u64) -> Fault {
        self.fault(n, FaultFlags::WRITE)
    }
    pub(crate) fn unshare(&self, n: u64) -> Fault {
        self.fault(n, FaultFlags::UNSHARE)
    }
    /// The leaf of page `n`.
    pub(crate) fn leaf(&self, n: u64) -> Option<(Pfn, Perms)> {
        match self.mm.tables().walk(page(n)).entry.decode(0) {
            Decoded::Leaf(pfn, perms) => Some((pfn, perms)),
            Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => None,
        }
    }
    pub(crate) fn pfn(&self, n: u64) -> Pfn {
        self.leaf(n).expect("a leaf").0
    }
    /// The swap entry of page `n`.
    pub(crate) fn swap_entry(&self, n: u64) -> Option<SwapEntry> {
        match self.mm.tables().walk(page(n)).entry.decode(0) {
            Decoded::Swap(entry) => Some(entry),
            Decoded::None | Decoded::Table(_) | Decoded::Leaf(..) => None,
        }
    }
    /// One word per state: `-`, `Z`, `Ax1w`: kind, exclusive or shared, mapcount, writable.
    pub(crate) fn state(&self, n: u64) -> String {
        let machine = self.mm.machine();
        let frames = machine.frames();
        let Some((pfn, perms)) = self.leaf(n) else {
            return match self.swap_entry(n) {
                None => "-".into(),
                Some(SwapEntry::Swap { exclusive, .. }) => {
                    if exclusive {
                        "Sx".into()
                    } else {
                        "S".into()
                    }
                }
                Some(other) => format!("{other:?}"),
            };
        };
        let write = if perms.write { "w" } else { "r" };
        if perms.special {
            return format!("Z{write}");
        }
        let kind = match frames.kind(pfn) {
            Kind::Anon if frames.has(pfn, FrameFlags::ANON_EXCLUSIVE) => "Ax",
            Kind::Anon => "As",
            _ => "F",
        };
        let cache = if frames.has(pfn, FrameFlags::SWAPCACHE) { "c" } else { "" };
        format!("{kind}{}{write}{cache}", frames.mapcount(pfn))
    }
    /// Stores `byte` at the start of page `n`, as a process would: faults as often as it takes.
    pub(crate) fn poke(&self, n: u64, byte: u8) {
        for _ in 0..4 {
            if let Some((pfn, _)) = self.leaf(n).filter(|(_, perms)| perms.write) {
                let place = self.mm.tables().walk(page(n)).place;
                let entry = self.mm.tables().load(place);
                // As the hardware does.
                self.mm.tables().store(place, entry.map_perms(0, |perms| perms.dirty = true));
                self.mm.machine().memory().write(pfn, 0, &[byte]);
                return;
            }
            assert!(matches!(self.write(n), Fault::Done { .. }), "a store to page {n}");
        }
        panic!("page {n} never became writable");
    }
    /// The first byte of page `n`.
    pub(crate) fn peek(&self, n: u64) -> u8 {
        if self.leaf(n).is_none() {
            assert!(matches!(self.read(n), Fault::Done { .. }), "a load from page {n}");
        }
        let mut byte = [0];
        self.mm.machine().memory().read(self.pfn(n), 0, &mut byte);
        byte[0]
    }
    pub(crate) fn zap(&self, from: u64, to: u64) {
        let map = self.mm.read();
        for vma in map.overlapping(pages(from, to)) {
            zap_range(&self.mm, vma, pages(from, to)).expect("a table");
        }
    }
    /// Whether `rule` decided about page `n` so far.
    pub(crate) fn decided(&self, rule: Rule, n: u64) -> bool {
        self.mm.machine().host().seen.0.lock().unwrap().contains(&(rule, page(n)))
    }
    /// References of the folio of page `n`.
    pub(crate) fn refs(&self, n: u64) -> u32 {
        self.mm.machine().frames().refs(self.pfn(n))
    }
}

/// Asserts that nothing but the zero page is in use on `machine`.
pub(crate) fn assert_empty(machine: &Machine<Sim>) {
    let stats = machine.frames().stats();
    let used: u64 = stats.used.iter().sum();
    // Frame 0 and the zero page.
    assert_eq!(used, 2, "frames in use: {stats:?}");
}

/// Fails every n-th point of `scenario` in turn, on a machine of its own, until it passes unharmed;
/// nothing may leak.
pub(crate) fn fail_everywhere(linux: Linux, scenario: impl Fn(&Space)) {
    for nth in 0..10_000 {
        let space = Space::new(linux);
        let machine = space.machine();
        machine.host().points_left.store(nth, Relaxed);
        scenario(&space);
        let passed = machine.host().points_left.load(Relaxed) < u64::MAX / 2;
        drop(space);
        assert_empty(&machine);
        if passed {
            return;
        }
    }
    panic!("the scenario has no end");
}

/// A store whose pages are full of one byte, ready or not.
pub(crate) struct Disk {
    pub(crate) byte: u8,
    pub(crate) ready: AtomicBool,
    pub(crate) fails: AtomicBool,
    pub(crate) starts: AtomicU64,
    pub(crate) written: Mutex<Vec<(u64, Vec<u8>)>>,
}

/// The ticket of a [`Disk`] that is not ready.
pub(crate) const DISK: Ticket = Ticket(77);

impl Disk {
    pub(crate) fn new(byte: u8) -> Arc<Self> {
        let (ready, fails) = (AtomicBool::new(true), AtomicBool::new(false));
        let (starts, written) = (AtomicU64::new(0), Mutex::default());
        Arc::new(Self { byte, ready, fails, starts, written })
    }
}

/// A share of a [`Disk`], as a store.
pub(crate) struct Shared(pub(crate) Arc<Disk>);

impl Store for Shared {
    fn read_page(&self, index: u64, mode: ReadMode, into: &mut [u8]) -> StoreRead {
        let disk = &self.0;
        if disk.fails.load(Relaxed) {
            return StoreRead::Failed;
        }
        if mode == ReadMode::Start && !disk.ready.load(Relaxed) {
            disk.starts.fetch_add(1, Relaxed);
            return StoreRead::NotYet(DISK);
        }
        match disk.written.lock().unwrap().iter().rev().find(|(at, _)| *at == index) {
            Some((_, bytes)) => into.copy_from_slice(bytes),
            None => into.fill(disk.byte),
        }
        StoreRead::Ready
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        if self.0.fails.load(Relaxed) {
            return StoreWrite::Failed;
        }
        self.0.written.lock().unwrap().push((index, from.to_vec()));
        StoreWrite::Done
    }
}

impl Space {
    /// A file of `pages` pages of 0x33 on `disk`, mapped at pages `from..to` from its beginning.
    pub(crate) fn file(&self, from: u64, to: u64, flags: VmFlags, file: &Arc<File<Sim>>) {
        file.add_mapper(&self.mm);
        let mut map = self.mm.write();
        let id = map.new_id();
        let backing = Backing::File(FileMapping::new(Arc::clone(file)));
        map.insert(Vma::new(id, pages(from, to), flags, backing, 0));
    }
    pub(crate) fn regular(&self, pages: u64, disk: &Arc<Disk>) -> Arc<File<Sim>> {
        let store = Box::new(Shared(Arc::clone(disk)));
        self.mm.machine().new_file(FileKind::Regular, pages << PAGE_SHIFT, Some(store))
    }
    pub(crate) fn memfd(&self, pages: u64) -> Arc<File<Sim>> {
        self.mm.machine().new_file(FileKind::Shmem, pages << PAGE_SHIFT, None)
    }
    /// A child, as fork makes it.
    pub(crate) fn fork(&self) -> Result<Self, Errno> {
        let mm = gup::mapping::fork(&mut self.mm.write(), &self.task)?;
        Ok(Self { mm, task: Task::default() })
    }
}
