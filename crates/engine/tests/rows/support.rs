//! A small machine for row tests: a host that records every event, and the evidence that a row was
//! tested.
//!
//! Invariants looked at after every test: all pages given back, the address space gone, no frame
//! lost.

#![allow(dead_code, reason = "each module of rows uses its own part")]

use gup::abi;
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::fault::{Fault, FaultCx, handle_mm_fault};
use gup::file::{File, FileKind};
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::{Kind, Stats};
use gup::gup::Page;
use gup::host::{Gap, Host, Injection, Memory, Store, Ticket, WaitMode, Woken};
use gup::linux::{Kernel, Linux};
use gup::memory::HeapMemory;
use gup::mm::{Lock, Machine, MachineConfig, Mm};
use gup::observe::{Event, Observer};
use gup::pgtable::{Entry, Perms, Walkers, X86_64};
use gup::rule::Rule;
use gup::task::Task;
use gup::vma::{Backing, FileMapping, Vma, VmaId};
use std::cell::RefCell;
use std::io::Write as _;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};

/// Keeps every event with the place it came from.
#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<(Event, &'static Location<'static>)>>, Mutex<Option<Hook>>);

/// Shown every event until it answers `true`.
type Hook = Box<dyn FnMut(&Event) -> bool + Send>;

impl Observer for Recorder {
    const ON: bool = true;
    fn event(&self, event: &Event, at: &'static Location<'static>) {
        self.0.lock().unwrap().push((*event, at));
        let hook = self.1.lock().unwrap().take();
        if let Some(mut hook) = hook
            && !hook(event)
        {
            *self.1.lock().unwrap() = Some(hook);
        }
    }
}

/// What a wait for a ticket does.
pub type OnWait = Box<dyn FnMut(Ticket) + Send>;
/// What happens while translations are flushed.
pub type OnFlush = Box<dyn FnMut(Pfn, VirtRange) + Send>;
/// What happens at a gap.
pub type OnGap = Arc<dyn Fn(Gap) + Send + Sync>;
/// Whether an injection point fails.
pub type Inject = Box<dyn FnMut(Injection) -> bool + Send>;

/// A host on heap memory.
pub struct TestHost {
    memory: HeapMemory,
    recorder: Recorder,
    /// Rules that the engine called a caller's bug.
    pub bugs: Mutex<Vec<Rule>>,
    /// Rules that the engine warned of.
    pub warnings: Mutex<Vec<Rule>>,
    /// Tickets waited for, in order.
    pub waited: Mutex<Vec<Ticket>>,
    /// What a wait does, besides being ready.
    pub on_wait: Mutex<Option<OnWait>>,
    /// Fails at the n-th injection point of the kind that the closure picks.
    pub inject: Mutex<Option<Inject>>,
    /// `flush_page` calls.
    pub flushed: Mutex<Vec<(Pfn, VirtAddr)>>,
    /// `relax` calls.
    pub relaxed: AtomicU64,
    /// What runs meanwhile, at each `relax`.
    pub on_relax: Mutex<Option<Box<dyn FnMut() + Send>>>,
    /// What happens while translations are flushed: root, range.
    pub on_flush: Mutex<Option<OnFlush>>,
    /// What happens at a gap, in whatever thread.
    pub on_gap: Mutex<Option<OnGap>>,
    /// SIGKILL arrives before the n-th signal test from now (0: never).
    pub kill_at: AtomicU64,
    /// The kernel by its version, if a test is of one in between.
    pub kernel: OnceLock<Kernel>,
}

impl TestHost {
    fn new(frames: u64) -> Self {
        Self {
            memory: HeapMemory::new(frames),
            recorder: Recorder::default(),
            bugs: Mutex::default(),
            warnings: Mutex::default(),
            waited: Mutex::default(),
            on_wait: Mutex::default(),
            inject: Mutex::default(),
            flushed: Mutex::default(),
            relaxed: AtomicU64::new(0),
            on_relax: Mutex::default(),
            on_flush: Mutex::default(),
            on_gap: Mutex::default(),
            kill_at: AtomicU64::new(0),
            kernel: OnceLock::new(),
        }
    }
}

impl Host for TestHost {
    type Memory = HeapMemory;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = X86_64;
    type Observer = Recorder;
    type Reclaim = Walkers;

    fn memory(&self) -> &HeapMemory {
        &self.memory
    }
    fn kernel(&self) -> Option<&Kernel> {
        self.kernel.get()
    }
    fn observer(&self) -> &Recorder {
        &self.recorder
    }
    fn wait(&self, ticket: Ticket, _: WaitMode, _: &Task) -> Woken {
        self.waited.lock().unwrap().push(ticket);
        if let Some(on_wait) = self.on_wait.lock().unwrap().as_mut() {
            on_wait(ticket);
        }
        Woken::Ready
    }
    fn signals(&self, task: &Task) -> gup::host::Signals {
        let left = self.kill_at.load(SeqCst);
        if left > 0 {
            self.kill_at.store(left - 1, SeqCst);
            if left == 1 {
                task.kill();
            }
        }
        task.signals()
    }
    fn inject(&self, point: Injection) -> bool {
        self.inject.lock().unwrap().as_mut().is_some_and(|inject| inject(point))
    }
    fn relax(&self) {
        // A retry loop of the kernel's is ended by a signal alone; here one comes in the end.
        if self.relaxed.fetch_add(1, SeqCst) > 10_000 {
            self.kill_at.store(1, SeqCst);
        }
        // A hook may itself relax: it is taken out while it runs.
        let hook = self.on_relax.lock().unwrap().take();
        if let Some(mut hook) = hook {
            hook();
            self.on_relax.lock().unwrap().get_or_insert(hook);
        }
    }
    fn gap(&self, gap: Gap) {
        if gap == Gap::Contended {
            std::thread::yield_now();
        }
        let hook = self.on_gap.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(gap);
        }
    }
    fn flush_tlb(&self, root: Pfn, range: VirtRange) {
        // A hook may itself flush: it is taken out while it runs.
        let hook = self.on_flush.lock().unwrap().take();
        if let Some(mut hook) = hook {
            hook(root, range);
            self.on_flush.lock().unwrap().get_or_insert(hook);
        }
    }
    fn flush_page(&self, pfn: Pfn, addr: VirtAddr) {
        self.flushed.lock().unwrap().push((pfn, addr));
    }
    fn bug(&self, rule: Rule) {
        self.bugs.lock().unwrap().push(rule);
    }
    fn warn(&self, rule: Rule) {
        self.warnings.lock().unwrap().push(rule);
    }
}

/// A machine, one address space on it, and the task that acts.
pub struct World {
    pub machine: Arc<Machine<TestHost>>,
    pub mm: Arc<Mm<TestHost>>,
    pub task: Task,
    held: RefCell<Vec<Page>>,
    before: Stats,
}

/// A call of v4.4's `__get_user_pages`, and what is passed with it.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each says whether an argument is given")]
pub struct Call {
    pub flags: u32,
    pub start: VirtAddr,
    pub nr_pages: u64,
    pub pages: bool,
    pub vmas: bool,
    pub nonblocking: bool,
    pub charge: bool,
}

/// Its answer.
#[derive(Debug)]
pub struct Answer {
    pub ret: i64,
    /// Frames handed out, by index.
    pub pages: Vec<Option<Pfn>>,
    pub vmas: Vec<Option<VmaId>>,
    pub nonblocking: i32,
    pub lock_held: bool,
}

pub const FRAMES: u64 = 4096;
/// Where tests map unless they say otherwise.
pub const BASE: u64 = 0x2000_0000_0000;

/// Readable and writable, private.
pub fn rw() -> VmFlags {
    ro() | VmFlags::WRITE
}
/// Readable, private, could become writable.
pub fn ro() -> VmFlags {
    none() | VmFlags::READ
}
/// No access, private.
pub fn none() -> VmFlags {
    VmFlags::MAYREAD | VmFlags::MAYWRITE | VmFlags::MAYEXEC
}
/// The address of page `n` from [`BASE`].
pub fn page(n: u64) -> VirtAddr {
    VirtAddr::new(BASE + n * PAGE_SIZE)
}

impl World {
    pub fn new(linux: Linux) -> Self {
        Self::with(MachineConfig::new(linux, FRAMES))
    }
    pub fn with(config: MachineConfig) -> Self {
        #[cfg(feature = "mutate")]
        if let Some(rule) = std::env::var("GUP_RULE_OFF").ok().and_then(|id| Rule::parse(&id)) {
            gup::rule::mutate::switch_off(rule);
        }
        let frames = config.frames.frames();
        let machine = Machine::new(TestHost::new(frames), config).expect("frames for a machine");
        let before = machine.frames().stats();
        let mm = Mm::new(&machine).expect("a frame for the root table");
        Self { machine, mm, task: Task::default(), held: RefCell::default(), before }
    }
    /// The same machine, seen by another process.
    pub fn as_process(&self, mm: Arc<Mm<TestHost>>) -> Self {
        Self {
            machine: Arc::clone(&self.machine),
            mm,
            task: Task::default(),
            held: RefCell::default(),
            before: self.before.clone(),
        }
    }
    pub fn host(&self) -> &TestHost {
        self.machine.host()
    }
    /// Adds an anonymous area of `pages` pages at page `at` from [`BASE`]; its first address.
    pub fn area(&self, at: u64, pages: u64, flags: VmFlags) -> VirtAddr {
        self.area_of(at, pages, flags, Backing::Anonymous, page(at).page_number())
    }
    /// Adds an area with any backing.
    pub fn area_of(
        &self,
        at: u64,
        pages: u64,
        flags: VmFlags,
        backing: Backing<TestHost>,
        pgoff: u64,
    ) -> VirtAddr {
        let range = VirtRange::new(page(at), page(at + pages));
        let mut map = self.mm.write();
        let id = map.new_id();
        map.insert(Vma::new(id, range, flags, backing, pgoff));
        range.start
    }
    /// A file of `pages` pages; page n is filled with byte n + 1 when `store` is `None`-like
    /// content is wanted.
    pub fn file(
        &self,
        kind: FileKind,
        pages: u64,
        store: Option<Box<dyn Store>>,
    ) -> Arc<File<TestHost>> {
        self.machine.new_file(kind, pages * PAGE_SIZE, store)
    }
    pub fn backing(file: &Arc<File<TestHost>>) -> Backing<TestHost> {
        Backing::File(FileMapping::new(Arc::clone(file)))
    }
    /// One fault, as the hardware would cause it.
    pub fn fault(&self, addr: VirtAddr, flags: FaultFlags) -> Fault {
        let map = self.mm.read();
        let Some(vma) = map.lookup(addr) else { return Fault::SIGSEGV };
        let wanted = if flags.contains(FaultFlags::WRITE) { VmFlags::WRITE } else { VmFlags::READ };
        if !vma.flags.contains(wanted) {
            return Fault::SIGSEGV;
        }
        let cx = FaultCx { mm: &self.mm, map: &map, vma, task: &self.task };
        handle_mm_fault(&cx, addr, flags)
    }
    /// A store by the process: faults until the entry allows it. Whether it came through.
    pub fn store(&self, addr: VirtAddr, byte: u8) -> bool {
        let Some(pfn) = self.reach(addr, true) else { return false };
        self.machine.memory().write(pfn, offset(addr), &[byte]);
        true
    }
    /// A load by the process.
    pub fn load(&self, addr: VirtAddr) -> Option<u8> {
        let pfn = self.reach(addr, false)?;
        let mut byte = [0];
        self.machine.memory().read(pfn, offset(addr), &mut byte);
        Some(byte[0])
    }
    fn reach(&self, addr: VirtAddr, write: bool) -> Option<Pfn> {
        let flags = if write { FaultFlags::WRITE } else { FaultFlags::empty() };
        for _ in 0..8 {
            if let Some(pfn) = self.mapped(addr, write) {
                return Some(pfn);
            }
            if let Fault::Failed(_) = self.fault(addr, flags | FaultFlags::USER) {
                return None;
            }
        }
        None
    }
    /// The frame that the hardware reaches at `addr`, by a plain walk of the tables.
    pub fn mapped(&self, addr: VirtAddr, write: bool) -> Option<Pfn> {
        let walked = self.mm.tables().walk(addr);
        let (level, entry) = (walked.place.level, walked.entry);
        if !entry.is_leaf(level) || entry.is_protnone() || (write && !entry.is_writable()) {
            return None;
        }
        let pages = 1u64 << (9 * u32::from(level));
        Some(entry.pfn().offset(addr.page_number() & (pages - 1)))
    }
    /// Puts an entry there by hand, as a driver or the hardware would.
    pub fn set_entry(&self, addr: VirtAddr, level: u8, entry: Entry<X86_64>) {
        let tables = self.mm.tables();
        let place = tables.make(addr, level).expect("a table");
        let _locked = tables.lock(place.table);
        tables.store(place, entry);
    }
    /// The lowest entry for `addr`.
    pub fn entry(&self, addr: VirtAddr) -> Entry<X86_64> {
        self.mm.tables().walk(addr).entry
    }
    /// Changes the leaf at `addr` by hand.
    pub fn change_entry(&self, addr: VirtAddr, change: impl FnOnce(&mut Perms)) {
        let tables = self.mm.tables();
        let walked = tables.walk(addr);
        let level = walked.place.level;
        let _locked = tables.lock(walked.place.table);
        tables.store(walked.place, walked.entry.map_perms(level, change));
    }
    /// Changes the flags of the area at `addr` by hand.
    pub fn set_area_flags(&self, addr: VirtAddr, flags: VmFlags) {
        self.mm.write().lookup_mut(addr).expect("an area").flags = flags;
    }
    /// The first byte of a frame.
    pub fn byte(&self, pfn: Pfn) -> u8 {
        let mut byte = [0];
        self.machine.memory().read(pfn, 0, &mut byte);
        byte[0]
    }
    /// v4.4's `__get_user_pages` for pages only; keeps the references until the end of the test.
    pub fn gup(&self, flags: u32, start: VirtAddr, nr_pages: u64) -> Answer {
        self.call(Call { flags, start, nr_pages, ..Call::default() })
    }
    /// v4.4's `__get_user_pages`.
    pub fn call(&self, call: Call) -> Answer {
        let slots = usize::try_from(call.nr_pages.min(1 << 20)).unwrap();
        let mut pages: Vec<Option<Page>> = Vec::new();
        pages.resize_with(slots, || None);
        let mut vmas = vec![None; slots];
        let mut nonblocking = 1;
        let mut lock = Lock::Read(self.mm.read());
        let ret = abi::__get_user_pages(
            &self.task,
            call.charge.then_some(&self.task),
            &mut lock,
            call.start.get(),
            call.nr_pages,
            call.flags,
            call.pages.then_some(&mut pages[..]),
            call.vmas.then_some(&mut vmas[..]),
            call.nonblocking.then_some(&mut nonblocking),
        );
        let lock_held = lock.is_held();
        let frames = pages.iter().map(|page| page.as_ref().map(Page::pfn)).collect();
        self.hold(pages.into_iter().flatten());
        Answer { ret, pages: frames, vmas, nonblocking, lock_held }
    }
    /// Keeps pages until the end of the test, which gives them back.
    pub fn hold(&self, pages: impl IntoIterator<Item = Page>) {
        self.held.borrow_mut().extend(pages);
    }
    /// Gives all pages held back now.
    pub fn put_all(&self) {
        for page in self.held.borrow_mut().drain(..) {
            abi::put_page(&self.machine, page);
        }
    }
    /// Where the engine decided by `rule`, if it did.
    pub fn seen(&self, rule: Rule) -> Option<&'static Location<'static>> {
        let events = self.host().recorder.0.lock().unwrap();
        let decided = |event: &Event| matches!(event, Event::Rule { rule: r, .. } if *r == rule);
        events.iter().find(|(event, _)| decided(event)).map(|(_, at)| *at)
    }
    /// How often the engine decided by `rule`.
    pub fn count(&self, rule: Rule) -> usize {
        let events = self.host().recorder.0.lock().unwrap();
        let decided = |event: &Event| matches!(event, Event::Rule { rule: r, .. } if *r == rule);
        events.iter().filter(|(event, _)| decided(event)).count()
    }
    /// How many pages were pinned, in the kernel's count; those that were given up at once, too.
    pub fn pinned(&self) -> u32 {
        let events = self.host().recorder.0.lock().unwrap();
        let pins = |event: &Event| if let Event::Pinned(n) = event { *n } else { 0 };
        events.iter().map(|(event, _)| pins(event)).sum()
    }
    /// How every fault so far was taken, in order.
    pub fn faults(&self) -> Vec<FaultFlags> {
        let events = self.host().recorder.0.lock().unwrap();
        let fault = |event: &Event| match event {
            Event::Fault { flags, .. } => Some(*flags),
            _ => None,
        };
        events.iter().filter_map(|(event, _)| fault(event)).collect()
    }
    /// Runs `hook` at every event from now on, until it answers `true`: something else happens just
    /// then.
    pub fn on_event(&self, hook: impl FnMut(&Event) -> bool + Send + 'static) {
        *self.host().recorder.1.lock().unwrap() = Some(Box::new(hook));
    }
    /// Forgets the events so far.
    pub fn forget(&self) {
        self.host().recorder.0.lock().unwrap().clear();
    }
    /// Ends the test: everything is given back, and nothing may be left.
    pub fn end(self) {
        self.put_all();
        let Self { machine, mm, before, .. } = self;
        drop(mm);
        let after = machine.frames().stats();
        let huge_zero = machine.huge_zero_page().map_or(0, |_| 512);
        for kind in [Kind::Table, Kind::Anon, Kind::Hugetlb] {
            assert_eq!(after.of(kind), before.of(kind), "frames of {kind:?} left behind");
        }
        assert_eq!(after.of(Kind::Special), before.of(Kind::Special) + huge_zero, "special frames");
    }
}

fn offset(addr: VirtAddr) -> usize {
    usize::try_from(addr.page_offset()).unwrap()
}

impl Default for Call {
    fn default() -> Self {
        Self {
            flags: abi::flags::FOLL_GET,
            start: page(0),
            nr_pages: 1,
            pages: true,
            vmas: false,
            nonblocking: false,
            charge: false,
        }
    }
}

/// Runs the test of `rule` on a v4.4 machine, and leaves evidence that it tested that rule.
#[track_caller]
pub fn row(rule: Rule, body: impl FnOnce(&World)) {
    row_in(rule, World::new(Linux::V4_4), body);
}

/// Runs the test of `rule` in a world of the caller's.
#[track_caller]
pub fn row_in(rule: Rule, world: World, body: impl FnOnce(&World)) {
    kept_in(rule, &[rule], world, body);
}

/// Runs the test of a row that other rules keep, in a world of the caller's.
#[track_caller]
pub fn kept_in(row: Rule, by: &[Rule], world: World, body: impl FnOnce(&World)) {
    body(&world);
    let seen: Vec<_> = by.iter().map(|rule| (*rule, world.seen(*rule))).collect();
    world.end();
    for (rule, seen) in seen {
        evidence_by(row, rule, seen);
    }
}

/// Leaves evidence for `rule`: the calling test is named for it, and the engine decided by it at
/// `seen`.
pub fn evidence(rule: Rule, seen: Option<&'static Location<'static>>) {
    evidence_by(rule, rule, seen);
}

/// Leaves evidence for `row`, which `by` keeps.
pub fn evidence_by(row: Rule, by: Rule, seen: Option<&'static Location<'static>>) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?").to_owned();
    let id = row.to_string().to_lowercase().replace('-', "_");
    let last = test.rsplit("::").next().unwrap_or("");
    assert!(last.starts_with(&format!("{id}_")), "{test} is not named for {row}");
    // A rule that is switched off decides nothing; what counts then is what the test asserts.
    if std::env::var("GUP_RULE_OFF").is_ok_and(|off| off == by.to_string()) {
        return;
    }
    let Some(at) = seen else { panic!("the engine never decided by {by}") };
    let Ok(dir) = std::env::var("GUP_ROWS_DIR") else { return };
    let path = format!("{dir}/{}-{:?}.jsonl", std::process::id(), thread.id());
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let line = format!(
        "{{\"row\":\"{row}\",\"by\":\"{by}\",\"test\":\"{test}\",\
         \"in\":\"crates/engine/tests/rows\",\"src\":\"{}:{}\"}}",
        at.file(),
        at.line()
    );
    writeln!(file.expect("GUP_ROWS_DIR can be written"), "{line}").expect("evidence written");
}
