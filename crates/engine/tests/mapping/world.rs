//! A machine for tests of edits: heap memory, seen rules, maps as text, and a machine that must be
//! empty at the end.

use gup::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::{Fault, FaultCx, handle_mm_fault};
use gup::file::{File, FileKind};
use gup::flags::{FaultFlags, Prot, VmFlags};
use gup::frame::Kind;
use gup::host::{Host, Injection, Ticket, WaitMode, Woken};
use gup::linux::Linux;
use gup::mapping::{self, Advice, MmapRequest, MremapRequest, sys};
use gup::memory::HeapMemory;
use gup::mm::{Machine, MachineConfig, Mm, Sysctl};
use gup::observe::{Event, Observer};
use gup::pgtable::{Decoded, Perms, SwapEntry, Walkers, X86_64};
use gup::rule::Rule;
use gup::task::{Limits, Task};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Frames of a test machine.
const FRAMES: u64 = 4096;

/// The host.
pub(crate) struct Sim {
    memory: HeapMemory,
    seen: Seen,
    /// Points that still succeed; then one fails.
    pub(crate) points_left: AtomicU64,
}

/// Rules seen.
#[derive(Default)]
struct Seen(Mutex<Vec<(Rule, VirtAddr)>>);

impl Observer for Seen {
    const ON: bool = true;
    fn event(&self, event: &Event, _: &'static Location<'static>) {
        if let Event::Rule { rule, addr } = event {
            self.0.lock().unwrap().push((*rule, *addr));
        }
    }
}

impl Observer for Sim {
    const ON: bool = true;
    fn event(&self, event: &Event, at: &'static Location<'static>) {
        self.seen.event(event, at);
    }
}

impl Host for Sim {
    type Memory = HeapMemory;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = X86_64;
    type Observer = Self;
    type Reclaim = Walkers;
    fn memory(&self) -> &HeapMemory {
        &self.memory
    }
    fn observer(&self) -> &Self {
        self
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        Woken::Ready
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

/// An address space on a machine of its own.
pub(crate) struct Space {
    pub(crate) mm: Option<Arc<Mm<Sim>>>,
    pub(crate) machine: Arc<Machine<Sim>>,
    pub(crate) task: Task,
}

/// Where test areas begin.
pub(crate) const BASE: u64 = 0x2000_0000_0000;
/// Read and write.
pub(crate) const RW: Prot = Prot::READ.union(Prot::WRITE);
/// Read.
pub(crate) const R: Prot = Prot::READ;

/// Page `n` from [`BASE`].
pub(crate) fn page(n: u64) -> VirtAddr {
    VirtAddr::new(BASE + (n << PAGE_SHIFT))
}
/// `n` pages, in bytes.
pub(crate) const fn bytes(n: u64) -> u64 {
    n << PAGE_SHIFT
}

impl Space {
    pub(crate) fn new(linux: Linux) -> Self {
        Self::with(linux, Limits::default(), |_| {})
    }
    pub(crate) fn modern() -> Self {
        Self::new(Linux::V6_18)
    }
    pub(crate) fn with(linux: Linux, limits: Limits, change: impl FnOnce(&mut Sysctl)) -> Self {
        let host = Sim {
            memory: HeapMemory::new(FRAMES),
            seen: Seen::default(),
            points_left: AtomicU64::new(u64::MAX),
        };
        let mut config = MachineConfig::new(linux, FRAMES);
        change(&mut config.sysctl);
        let machine = Machine::new(host, config).expect("room for the zero page");
        let mm = Some(Mm::new(&machine).expect("room for a root"));
        Self { mm, machine, task: Task::new(limits) }
    }
    pub(crate) fn mm(&self) -> &Mm<Sim> {
        self.mm.as_ref().expect("alive")
    }
    pub(crate) fn mmap(&self, request: &MmapRequest<Sim>) -> Result<VirtAddr, Errno> {
        mapping::mmap(&mut self.mm().write(), &self.task, request)
    }
    /// Private anonymous memory at pages `from..to`.
    pub(crate) fn anon(&self, from: u64, to: u64, prot: Prot) {
        let request = MmapRequest::anonymous(bytes(to - from), prot).at(page(from));
        assert_eq!(self.mmap(&request), Ok(page(from)));
    }
    pub(crate) fn munmap(&self, from: u64, to: u64) -> Result<(), Errno> {
        mapping::munmap(&mut self.mm().write(), page(from), bytes(to - from))
    }
    pub(crate) fn munmap_at(&self, addr: VirtAddr, bytes: u64) {
        assert_eq!(mapping::munmap(&mut self.mm().write(), addr, bytes), Ok(()));
    }
    pub(crate) fn mprotect(&self, from: u64, to: u64, prot: Prot) -> Result<(), Errno> {
        mapping::mprotect(&mut self.mm().write(), &self.task, page(from), bytes(to - from), prot)
    }
    pub(crate) fn mremap(&self, request: &MremapRequest) -> Result<VirtAddr, Errno> {
        sys::mremap(self.mm(), &self.task, request)
    }
    pub(crate) fn mlock(&self, from: u64, to: u64) -> Result<(), Errno> {
        mapping::mlock(self.mm(), &self.task, page(from), bytes(to - from))
    }
    pub(crate) fn munlock(&self, from: u64, to: u64) -> Result<(), Errno> {
        mapping::munlock(self.mm(), page(from), bytes(to - from))
    }
    pub(crate) fn madvise(&self, from: u64, to: u64, advice: Advice) -> Result<(), Errno> {
        mapping::madvise(self.mm(), &self.task, page(from), bytes(to - from), advice)
    }
    /// A file of `pages` pages without a store.
    pub(crate) fn file(&self, kind: FileKind, pages: u64) -> Arc<File<Sim>> {
        self.machine.new_file(kind, bytes(pages), None)
    }
    /// `kind` of the entries of pages `from..to`: `-` nothing, `Z` zero page, `A` anonymous, `F`
    /// file's, `S` swap, `G`.
    pub(crate) fn entries(&self, from: u64, to: u64) -> String {
        (from..to).map(|n| self.entry(n)).collect()
    }
    fn entry(&self, n: u64) -> char {
        match self.mm().tables().walk(page(n)).entry.decode(0) {
            Decoded::None | Decoded::Table(_) => '-',
            Decoded::Leaf(_, perms) if perms.special => 'Z',
            Decoded::Leaf(pfn, _) if self.machine.frames().kind(pfn) == Kind::Anon => 'A',
            Decoded::Leaf(..) => 'F',
            Decoded::Swap(SwapEntry::Guard) => 'G',
            Decoded::Swap(_) => 'S',
        }
    }
    pub(crate) fn fault(&self, n: u64, flags: FaultFlags) -> Fault {
        let map = self.mm().read();
        let vma = map.lookup(page(n)).expect("an area");
        let cx = FaultCx { mm: self.mm(), map: &map, vma, task: &self.task };
        handle_mm_fault(&cx, page(n), flags)
    }
    /// Stores to each of the pages `from..to`.
    pub(crate) fn touch(&self, from: u64, to: u64) {
        for n in from..to {
            assert!(matches!(self.fault(n, FaultFlags::WRITE), Fault::Done { .. }), "page {n}");
        }
    }
    /// The leaf of page `n`.
    pub(crate) fn leaf(&self, n: u64) -> Option<(gup::addr::Pfn, Perms)> {
        match self.mm().tables().walk(page(n)).entry.decode(0) {
            Decoded::Leaf(pfn, perms) => Some((pfn, perms)),
            Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => None,
        }
    }
    /// The areas as text: pages from [`BASE`], permissions, `@offset` in pages for files.
    pub(crate) fn maps(&self) -> String {
        let map = self.mm().read();
        let lines = map.iter().map(|vma| {
            let number = |addr: VirtAddr| (addr.get().wrapping_sub(BASE) as i64) >> PAGE_SHIFT;
            let flag = |flag, letter| if vma.flags.contains(flag) { letter } else { '-' };
            let (r, w) = (flag(VmFlags::READ, 'r'), flag(VmFlags::WRITE, 'w'));
            let (x, p) = (
                flag(VmFlags::EXEC, 'x'),
                if vma.flags.contains(VmFlags::MAYSHARE) { 's' } else { 'p' },
            );
            let offset = vma.backing.file().map_or(String::new(), |_| format!("@{}", vma.pgoff()));
            let VirtRange { start, end } = vma.range();
            format!("{}-{} {r}{w}{x}{p}{offset}", number(start), number(end))
        });
        lines.collect::<Vec<_>>().join(", ")
    }
    /// Whether `rule` decided about page `n` so far.
    pub(crate) fn decided(&self, rule: Rule, n: u64) -> bool {
        self.machine.host().seen.0.lock().unwrap().contains(&(rule, page(n)))
    }
}

impl Drop for Space {
    /// The address space ends: no frame is left, and no promise.
    fn drop(&mut self) {
        self.mm = None;
        if std::thread::panicking() {
            return;
        }
        let stats = self.machine.frames().stats();
        // Frame 0 and the zero page.
        assert_eq!(stats.used.iter().sum::<u64>(), 2, "frames in use: {stats:?}");
        assert_eq!(self.machine.committed.load(Relaxed), 0, "promised pages");
    }
}
