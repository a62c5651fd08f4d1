//! The machine that programs are played on: memory, swap in RAM, two files, up to three processes.

use super::operations::{Answer, perform};
use super::record::Record;
use super::state;
use crate::ram::Ram;
use gup::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use gup::errno::Errno;
use gup::file::{File, FileKind};
use gup::linux::Linux;
use gup::memory::HeapMemory;
use gup::mm::{Machine, MachineConfig, Mm};
use gup::observe::{Event, Observer};
use gup::task::Task;
use gup_hosted::Std;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The host of replays.
pub(crate) type Host = Std<HeapMemory, PinCounts>;

/// Pins of the whole machine, in base pages.
#[derive(Debug, Default)]
pub(crate) struct PinCounts {
    acquired: AtomicU64,
    released: AtomicU64,
}

impl PinCounts {
    /// Taken, and given back, so far.
    pub(super) fn now(&self) -> (u64, u64) {
        (self.acquired.load(Relaxed), self.released.load(Relaxed))
    }
}

impl Observer for PinCounts {
    const ON: bool = true;
    fn event(&self, event: &Event, _: &'static Location<'static>) {
        match event {
            Event::Pinned(count) => drop(self.acquired.fetch_add(u64::from(*count), Relaxed)),
            Event::Unpinned(count) => drop(self.released.fetch_add(u64::from(*count), Relaxed)),
            _ => {}
        }
    }
}

/// Frames of the machine: many more than a program uses.
const FRAMES: u64 = 8192;
/// Slots of swap.
const SWAP_SLOTS: u64 = 1024;
/// The arena's first address.
const ARENA: u64 = 0x2000_0000_0000;
/// Pages of the arena, and of each file.
pub(super) const PAGES: u64 = 16;

/// Processes of a program.
pub(super) const SLOTS: usize = 3;

/// An answer or a state that is not the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// What was done, and what the kernel answered.
    pub kernel: Record,
    /// What the engine answered.
    pub ret: i64,
    /// Its errno.
    pub errno: i32,
    /// The state of the engine's pages.
    pub state: String,
}

/// A process.
pub(crate) struct Process {
    pub(crate) mm: Arc<Mm<Host>>,
    pub(crate) task: Task,
    /// The ring, once made, and the pages of its buffer.
    pub(super) ring: Option<Vec<Pfn>>,
}

/// A program in progress.
pub(crate) struct World {
    pub(crate) machine: Arc<Machine<Host>>,
    pub(crate) slots: [Option<Process>; SLOTS],
    pub(super) memfd: Arc<File<Host>>,
    pub(super) regular: Arc<File<Host>>,
    /// Who issues calls about another process.
    pub(crate) controller: Task,
}

/// Plays a program up to its first difference, or to its end.
/// # Errors
/// The first difference.
/// # Panics
/// The host has no memory for the machine.
pub fn play(program: &[Record]) -> Result<(), Box<Difference>> {
    let mut player = Player::new();
    program.iter().try_for_each(|record| player.step(record))
}

/// Plays one program, operation by operation, on a machine of its own.
pub struct Player(World);

impl Player {
    /// A machine with one process and nothing in its arena.
    /// # Panics
    /// The host has no memory for the machine.
    #[allow(clippy::new_without_default, reason = "a machine of 32 MiB is no default")]
    pub fn new() -> Self {
        Self(World::new())
    }
    /// Does what `record` says.
    /// # Errors
    /// The answer or the state afterwards is not the recorded one. Further operations can be
    /// played; whether they differ then depends on this one.
    pub fn step(&mut self, record: &Record) -> Result<(), Box<Difference>> {
        let Answer { ret, errno } = perform(&mut self.0, record);
        let state = state::of(&self.0);
        if (ret, errno, state.as_str()) == (record.ret, record.errno, record.state.as_str()) {
            return Ok(());
        }
        Err(Box::new(Difference { kernel: record.clone(), ret, errno, state }))
    }
}

/// The first address of page `n` of the arena.
pub(super) fn page(n: u64) -> VirtAddr {
    VirtAddr::new(ARENA + (n << PAGE_SHIFT))
}

impl World {
    pub(crate) fn new() -> Self {
        let host = Std::new(HeapMemory::new(FRAMES), PinCounts::default());
        let config = MachineConfig::new(Linux::V6_18, FRAMES);
        let machine = Machine::new(host, config).expect("memory for the zero page");
        machine.swap().on(Arc::new(Ram::default()), SWAP_SLOTS);
        let size = PAGES << PAGE_SHIFT;
        let memfd = machine.new_file(FileKind::Shmem, size, None);
        let regular = machine.new_file(FileKind::Regular, size, None);
        // One write of 64 KiB makes one large folio, dirty.
        regular.insert_folio(&machine, 0, 4).expect("memory for the file");
        regular
            .write_at(&machine, 0, &vec![0x33; (PAGES * PAGE_SIZE) as usize])
            .expect("it is cached");
        let mm = Mm::new(&machine).expect("memory for a root");
        let first = Process { mm, task: Task::default(), ring: None };
        let controller = Task::default();
        Self { machine, slots: [Some(first), None, None], memfd, regular, controller }
    }

    /// Makes `slot` a child of `parent`.
    pub(super) fn fork(&mut self, parent: usize, slot: usize) -> Result<(), Errno> {
        let process = self.slots[parent].as_ref().ok_or(Errno::EINVAL)?;
        let mm = gup::mapping::fork(&mut process.mm.write(), &process.task)?;
        self.slots[slot] = Some(Process { mm, task: Task::default(), ring: None });
        Ok(())
    }

    /// Gives back what the ring of `slot` has pinned. Answers whether that was anything.
    pub(super) fn unregister(&mut self, slot: usize) -> bool {
        let ring = self.slots[slot].as_mut().and_then(|process| process.ring.as_mut());
        let pages = ring.map(std::mem::take).unwrap_or_default();
        for page in &pages {
            self.machine.unpin_pages(*page, 1);
        }
        !pages.is_empty()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for slot in 0..self.slots.len() {
            self.unregister(slot);
        }
    }
}
