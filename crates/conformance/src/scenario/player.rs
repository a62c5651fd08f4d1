//! Plays a scenario in the engine, step by step.
//!
//! Invariant: a player plays any program to its end; what cannot be done is a value, not a panic.
//! Absent: what a process does ([`super::acts`], [`super::flat`]), calls that pin
//! ([`super::calls`]).

use super::host::{Desk, Disk, Log, Meanwhile, PlayHost, Seen};
use super::program::{At, Base, Cached, FileSort, FileSpec, Op, Program, Setup, Span, Step};
use super::report::{Outcome, Report, Value};
use super::sysacts::Deaf;
use super::{access, acts, calls, drivers, flat, shown, tokens};
use gup::abi;
use gup::addr::{PAGE_SHIFT, PAGE_SIZE, PMD_ORDER, Pfn, VirtAddr};
use gup::errno::Errno;
use gup::file::{File, FileKind};
use gup::flags::VmFlags;
use gup::frame::{FrameFlags, Kind, Stats};
use gup::gup::Page;
use gup::host::{Host, Store};
use gup::mm::{Machine, MachineConfig, Mm, Quirks};
use gup::nommu::{FlatMemory, NommuMm};
use gup::task::{Limits, Task};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The first address of a machine without an MMU.
const FLAT_BASE: u64 = 0x8000_0000;
/// Where a process's addresses lead.
pub(super) enum Space {
    /// Through page tables.
    Mmu(Arc<Mm<PlayHost>>),
    /// Nowhere else.
    Flat(Arc<NommuMm<PlayHost>>),
}

impl Space {
    /// States of `pages` pages from `at` on.
    pub(super) fn tokens(&self, at: VirtAddr, pages: u64) -> Vec<String> {
        match self {
            Self::Mmu(mm) => tokens::of_pages(mm, at, pages),
            Self::Flat(mm) => flat::tokens(mm, at, pages),
        }
    }
}

/// A process.
pub(super) struct Process {
    pub(super) space: Space,
    pub(super) task: Arc<Task>,
    /// Mappings by name: first address, pages.
    pub(super) names: BTreeMap<String, (VirtAddr, u64)>,
    pub(super) kept: Kept,
    /// Its userfaultfd, once opened.
    pub(super) uffd: Option<Arc<Deaf>>,
}

impl Process {
    pub(super) fn new(space: Space, limits: Limits) -> Self {
        let mut task = Task::new(limits);
        // Without a limit, as with the right to lock anything.
        task.cap_ipc_lock = limits.memlock == u64::MAX;
        let (task, names) = (Arc::new(task), BTreeMap::new());
        Self { space, task, names, kept: Kept::default(), uffd: None }
    }
}

/// Pages that a process has registered somewhere.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Its ring, once made, and the pages of the fixed buffer.
    pub(super) buffer: Option<Vec<Pfn>>,
    /// Rings of provided buffers, until it ends.
    pub(super) more: Vec<Pfn>,
    /// Memory of `AF_XDP`, until it ends: dirty from then on.
    pub(super) umem: Vec<Pfn>,
}

/// How pages are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// By references.
    Reference,
    /// By pins.
    Pin,
    /// Not at all: v4.4 hands pages out unheld if it is not asked for references (row A-02).
    Nothing,
}

/// Pages that a call handed out.
pub(super) struct Held {
    pub(super) pages: Vec<Option<Page>>,
    pub(super) hold: Hold,
    /// Bytes from the first page's start to the address asked for.
    pub(super) offset: u64,
}

/// A file.
pub(super) struct Document {
    pub(super) file: Arc<File<PlayHost>>,
    disk: u32,
    /// Sealed against writing.
    pub(super) sealed: bool,
}

/// A machine with what a scenario made on it.
pub struct Player {
    pub(super) machine: Arc<Machine<PlayHost>>,
    pub(super) flat: Option<Arc<FlatMemory<PlayHost>>>,
    pub(super) processes: BTreeMap<String, Process>,
    pub(super) files: BTreeMap<String, Document>,
    pub(super) pins: BTreeMap<String, Held>,
    /// Who issues calls about another process.
    pub(super) controller: Arc<Task>,
    /// Limits of new processes.
    limits: Limits,
    /// New files of regular kind are in memory, as those are that were just written.
    warm: bool,
    /// What another thread is to do during the next call.
    pub(super) pending: Option<(u64, Meanwhile)>,
    log: Arc<Log>,
    desk: Arc<Desk>,
    /// States of mappings as they were shown last.
    pub(super) shown: BTreeMap<String, String>,
    before: Stats,
}

impl Player {
    /// A machine as `setup` says.
    /// # Errors
    /// Why it cannot be made, in words.
    pub fn new(setup: &Setup) -> Result<Self, String> {
        let host = PlayHost::new(setup.frames);
        let (log, desk) = (Arc::clone(&host.log), Arc::clone(&host.desk));
        let mut config = MachineConfig::new(setup.linux, setup.frames);
        config.quirks = Quirks { dirty_cow: setup.dirty_cow };
        config.sysctl.thp_always = setup.thp_always;
        let machine = Machine::new(host, config).map_err(|error| error.to_string())?;
        if setup.swap_pages > 0 {
            let disk = disk(&log, &desk, u32::MAX, Vec::new(), false);
            machine.swap().on(Arc::new(disk), setup.swap_pages);
        }
        if setup.huge_pages > 0 {
            let made = machine.resize_hugetlb(PMD_ORDER, setup.huge_pages);
            if made < setup.huge_pages {
                return Err(format!("memory has room for {made} huge pages only"));
            }
        }
        let base = VirtAddr::new(FLAT_BASE);
        let flat = if setup.nommu {
            Some(FlatMemory::new(&machine, base).map_err(|error| error.to_string())?)
        } else {
            None
        };
        let before = machine.frames().stats();
        log.take();
        Ok(Self {
            machine,
            flat,
            processes: BTreeMap::new(),
            files: BTreeMap::new(),
            pins: BTreeMap::new(),
            controller: Arc::new(Task::new(Limits::default())),
            limits: Limits::default(),
            warm: false,
            pending: None,
            log,
            desk,
            shown: BTreeMap::new(),
            before,
        })
    }

    /// The same machine, but like one on which files were just made: regular files are in memory,
    /// and processes may lock `memlock` bytes.
    #[must_use]
    pub fn like_a_fresh_system(mut self, memlock: u64) -> Self {
        self.limits.memlock = memlock;
        self.warm = true;
        self
    }

    /// Does what `op` says, without a report: what it gave, and what happened.
    pub fn perform(&mut self, op: &Op) -> (Value, Vec<Seen>) {
        let outcome = self.outcome(op);
        (outcome.value, self.log.take())
    }

    /// Plays one step.
    pub fn step(&mut self, step: &Step) -> Report {
        let outcome = self.outcome(&step.op);
        let mut report = Report::new(outcome, self.log.take(), &step.expect);
        (report.handed, report.more_handed) = shown::handed(self, step, &report.seen);
        report.states = self.changed_states();
        self.log.take();
        report
    }

    fn outcome(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Gup(gup) => {
                if let Some((after, act)) = self.pending.take() {
                    self.machine.host().arm(after, act);
                }
                let outcome = calls::gup(self, gup);
                if self.machine.host().disarm() {
                    let early = "the call ended before what was to be done meanwhile".into();
                    return Value::DoesNotHold(early).into();
                }
                outcome
            }
            other => self.value(other).into(),
        }
    }

    fn value(&mut self, op: &Op) -> Value {
        match op {
            Op::Process { name } => self.new_process(name),
            Op::File { name, spec } => self.new_file(name, spec),
            Op::Truncate { file, len } => self.with_file(file, |player, document| {
                document.file.truncate(&player.machine, len.bytes());
            }),
            Op::Complete { file } => {
                self.with_file(file, |player, document| player.desk.complete(document.disk))
            }
            Op::PinRead { pin, offset, count } => calls::read(self, pin, *offset, *count),
            Op::PinWrite { pin, offset, bytes } => calls::write(self, pin, *offset, bytes),
            Op::PinDirty { pin } => calls::dirty(self, pin),
            Op::PinRelease { pin } => calls::release_named(self, pin),
            Op::ExpectState { process, at, pages, tokens } => {
                self.expect_state(process, at, *pages, tokens)
            }
            Op::ExpectAreas { process, at, pages, areas } => {
                self.expect_areas(process, at, *pages, areas)
            }
            Op::ExpectSame { left, right } => self.expect_same(left, right, true),
            Op::ExpectOther { left, right } => self.expect_same(left, right, false),
            Op::ExpectCount { place, counted, value } => self.expect_count(place, *counted, *value),
            Op::Exit { process } => {
                self.shown.retain(|label, _| !label.starts_with(&format!("{process}:")));
                self.exit(process)
            }
            Op::Seal { file, seals } => self.seal(file, *seals),
            other if self.flat.is_some() => flat::act(self, other),
            other => acts::act(self, other),
        }
    }

    fn new_process(&mut self, name: &str) -> Value {
        let space = match &self.flat {
            Some(flat) => Space::Flat(NommuMm::new(flat)),
            None => match Mm::new(&self.machine) {
                Ok(mm) => Space::Mmu(mm),
                Err(error) => return Value::CannotPlay(error.to_string()),
            },
        };
        self.processes.insert(name.to_owned(), Process::new(space, self.limits));
        Value::Done
    }

    /// Ends a process: what it had registered is given back.
    fn exit(&mut self, name: &str) -> Value {
        let Some(process) = self.processes.remove(name) else { return no_process(name) };
        let buffer = process.kept.buffer.iter().flatten();
        for page in buffer.chain(&process.kept.more) {
            self.machine.unpin_pages(*page, 1);
        }
        drivers::release_umem(&self.machine, &process.kept.umem);
        Value::Done
    }

    /// `F_ADD_SEALS`: only the seal against writing has an effect here.
    fn seal(&mut self, name: &str, seals: u32) -> Value {
        const WRITE: u32 = 8;
        let Some(document) = self.files.get_mut(name) else {
            return Value::CannotPlay(format!("there is no file {name}"));
        };
        if document.file.kind() != FileKind::Shmem || seals != WRITE {
            return Value::CannotPlay("only memfds are sealed, and only against writing".into());
        }
        let file = Arc::clone(&document.file);
        if !document.sealed && (self.stores_to(&file) || self.holds_pages_of(&file)) {
            return Value::Failed(Errno::EBUSY);
        }
        if let Some(document) = self.files.get_mut(name) {
            document.sealed = true;
        }
        Value::Done
    }

    /// Whether a process has a shared mapping of the file that may be written to.
    fn stores_to(&self, file: &Arc<File<PlayHost>>) -> bool {
        self.processes.values().any(|process| {
            let Space::Mmu(mm) = &process.space else { return false };
            mm.read().iter().any(|vma| {
                let ours = vma.backing.file().is_some_and(|other| Arc::ptr_eq(other, file));
                ours && vma.flags.contains(VmFlags::SHARED | VmFlags::MAYWRITE)
            })
        })
    }
    /// Whether a page of the file has references that are neither mappings nor its cache's.
    fn holds_pages_of(&self, file: &Arc<File<PlayHost>>) -> bool {
        let frames = self.machine.frames();
        (0..file.size_pages()).filter_map(|index| file.find(&self.machine, index)).any(|page| {
            // One more is that of having found it.
            let held = frames.linux_refcount(page) > frames.folio_mapcount(page) + 2;
            self.machine.put_page(page);
            held
        })
    }

    fn new_file(&mut self, name: &str, spec: &FileSpec) -> Value {
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let store = disk(&self.log, &self.desk, number, spec.fill.clone(), spec.slow);
        let kind = match spec.kind {
            FileSort::Regular => FileKind::Regular,
            FileSort::Ramfs => FileKind::NoWriteback,
            FileSort::Fsdax => FileKind::Fsdax,
            FileSort::Memfd => FileKind::Shmem,
            FileSort::Secret => FileKind::Secret,
        };
        let stored = !spec.fill.is_empty() || spec.slow;
        let store = stored.then(|| Box::new(store) as Box<dyn Store>);
        let file = self.machine.new_file(kind, spec.len.bytes(), store);
        let cached = match spec.cached {
            Cached::Nothing if self.warm && is_written(spec) => Cached::Pages,
            said => said,
        };
        let warmed = fill(&self.machine, &file, spec, cached);
        self.files.insert(name.to_owned(), Document { file, disk: number, sealed: false });
        warmed.map_or_else(Value::CannotPlay, |()| Value::Done)
    }

    fn with_file(&self, name: &str, act: impl FnOnce(&Self, &Document)) -> Value {
        let Some(document) = self.files.get(name) else {
            return Value::CannotPlay(format!("there is no file {name}"));
        };
        act(self, document);
        Value::Done
    }

    /// The address that `at` stands for in `process`.
    pub(crate) fn addr(&self, process: &str, at: &At) -> Result<VirtAddr, Value> {
        let start = match &at.base {
            Base::Absolute => VirtAddr::new(0),
            Base::Mapping(name) => {
                let process = self.processes.get(process).ok_or_else(|| no_process(process))?;
                let mapped = process.names.get(name).map(|(start, _)| *start);
                let never = || Value::CannotPlay(format!("{name} was never mapped"));
                mapped.ok_or_else(never)?
            }
        };
        Ok(start.wrapping_add(at.offset))
    }
    /// Start and bytes of `span`.
    pub(super) fn span(&self, process: &str, span: &Span) -> Result<(VirtAddr, u64), Value> {
        Ok((self.addr(process, &span.at)?, span.len.bytes()))
    }
    /// A process with an MMU.
    pub(super) fn mmu(&self, name: &str) -> Result<(&Arc<Mm<PlayHost>>, &Process), Value> {
        let process = self.processes.get(name).ok_or_else(|| no_process(name))?;
        match &process.space {
            Space::Mmu(mm) => Ok((mm, process)),
            Space::Flat(_) => Err(Value::CannotPlay("this machine has no MMU".into())),
        }
    }
    /// Names a mapping.
    pub(super) fn name(&mut self, process: &str, name: Option<&str>, at: VirtAddr, bytes: u64) {
        if let (Some(process), Some(name)) = (self.processes.get_mut(process), name) {
            process.names.insert(name.to_owned(), (at, bytes.div_ceil(PAGE_SIZE)));
        }
    }

    /// Gives one page back.
    pub(super) fn release(&self, page: Page, hold: Hold) {
        match hold {
            Hold::Reference => abi::put_page(&self.machine, page),
            Hold::Pin => self.machine.unpin_pages(page.pfn(), 1),
            Hold::Nothing => {}
        }
    }
    /// Copies between `bytes` and pinned memory, page by page; how many bytes there were.
    pub(super) fn through(
        &self,
        pin: &str,
        offset: u64,
        len: usize,
        mut copy: impl FnMut(&<PlayHost as Host>::Memory, Pfn, usize, usize, usize),
    ) -> Result<usize, Value> {
        let gone = || Value::CannotPlay(format!("there is no pin {pin}"));
        let held = self.pins.get(pin).ok_or_else(gone)?;
        let start = VirtAddr::new(held.offset.wrapping_add(offset));
        let mut done = 0;
        for (at, from, count) in access::parts(start, len) {
            let index = usize::try_from(at.get() >> PAGE_SHIFT).unwrap_or(usize::MAX);
            let Some(page) = held.pages.get(index).and_then(Option::as_ref) else { break };
            copy(self.machine.memory(), page.pfn(), at.page_offset() as usize, from, count);
            done += count;
        }
        Ok(done)
    }
    pub(super) fn mark_dirty(&self, pfn: Pfn) {
        self.machine.frames().set(pfn, FrameFlags::DIRTY);
    }

    /// Ends the scenario: everything is given back. Says what was left behind, which should be
    /// nothing.
    pub fn finish(mut self) -> Vec<String> {
        for (_, held) in std::mem::take(&mut self.pins) {
            for page in held.pages.into_iter().flatten() {
                self.release(page, held.hold);
            }
        }
        self.pending = None;
        let names: Vec<String> = self.processes.keys().cloned().collect();
        for name in names {
            self.exit(&name);
        }
        self.files.clear();
        let after = self.machine.frames().stats();
        let kinds = Kind::ALL.iter().filter(|kind| !matches!(kind, Kind::Special | Kind::Free));
        kinds
            .filter(|kind| after.of(**kind) != self.before.of(**kind))
            .map(|kind| {
                let (was, is) = (self.before.of(*kind), after.of(*kind));
                format!(
                    "{is} frames of kind {kind:?} are in use at the end, {was} were at the start"
                )
            })
            .collect()
    }
}

/// Whether a fresh file has contents because they were written.
fn is_written(spec: &FileSpec) -> bool {
    spec.kind == FileSort::Regular || spec.kind == FileSort::Memfd && !spec.fill.is_empty()
}

/// Brings what `cached` says of a new file into memory.
fn fill(
    machine: &Machine<PlayHost>,
    file: &File<PlayHost>,
    spec: &FileSpec,
    cached: Cached,
) -> Result<(), String> {
    let bytes = spec.len.bytes();
    if cached == Cached::Nothing || bytes == 0 {
        return Ok(());
    }
    if cached == Cached::Folio {
        let pages = bytes.div_ceil(PAGE_SIZE);
        let order = u8::try_from(pages.trailing_zeros()).unwrap_or(u8::MAX);
        if !pages.is_power_of_two() || order > 9 {
            return Err("one folio has a power of two of pages, up to 512".into());
        }
        file.insert_folio(machine, 0, order).map_err(|error| error.to_string())?;
    }
    let fill: &[u8] = if spec.fill.is_empty() { &[0] } else { &spec.fill };
    let len = usize::try_from(bytes).map_err(|_| "too long a file".to_owned())?;
    let text: Vec<u8> = fill.iter().copied().cycle().take(len).collect();
    file.write_at(machine, 0, &text).map(drop).map_err(|error| error.to_string())
}

pub(super) fn no_process(name: &str) -> Value {
    Value::CannotPlay(format!("there is no process {name}"))
}

fn disk(log: &Arc<Log>, desk: &Arc<Desk>, number: u32, fill: Vec<u8>, slow: bool) -> Disk {
    let (log, desk) = (Arc::clone(log), Arc::clone(desk));
    let (written, holes) = (parking_lot::Mutex::default(), parking_lot::Mutex::default());
    Disk { number, fill, slow, written, holes, desk, log }
}

/// A scenario played from end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// One report a step.
    pub reports: Vec<Report>,
    /// What was left behind.
    pub leaks: Vec<String>,
}

/// Plays all of `program`.
/// # Errors
/// Why its machine cannot be made.
pub fn play(program: &Program) -> Result<Played, String> {
    let mut player = Player::new(&program.setup)?;
    let reports = program.steps.iter().map(|step| player.step(step)).collect();
    Ok(Played { reports, leaks: player.finish() })
}
