//! The engine's own walk, with its own page tables, against its own zap and fork: one address space
//! with one page.
//!
//! The whole of `gup::fast`, `fault::zap` and `mapping::fork` runs, and every word of the tables is
//! loom's. A fast pin that comes to nothing would go on slowly; its task was killed, so that it
//! ends instead. Absent: what moves bytes (copies, swap), and freed tables, which are looked
//! through word by word: too many steps to try all orders of ([`crate::models`] has them).

use crate::host::LoomHost;
use crate::orders;
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::fault::{FaultCx, handle_mm_fault, zap_range};
use gup::flags::{FaultFlags, Foll, Prot};
use gup::frame::{AllocFlags, Kind};
use gup::gup::fast::{FastEntry, fast};
use gup::linux::Linux;
use gup::mapping::{self, MmapRequest, sys};
use gup::mm::{Machine, MachineConfig, Mm};
use gup::task::Task;
use loom::thread;
use std::sync::Arc;

const FRAMES: u64 = 16;
/// Fewer than the models' own: there are more steps.
const PREEMPTIONS: usize = 2;
/// loom's threads have little stack otherwise, in bytes.
const STACK: usize = 1 << 16;
const PAGE: VirtAddr = VirtAddr::new(0x5555_4000_0000);

struct World {
    machine: Arc<Machine<LoomHost>>,
    mm: Arc<Mm<LoomHost>>,
    page: Pfn,
}

impl World {
    /// A process with one writable page.
    fn new() -> Arc<Self> {
        let config = MachineConfig::new(Linux::V6_18, FRAMES);
        let machine = Machine::new(LoomHost::new(FRAMES), config).expect("frames");
        let (mm, task) = (Mm::new(&machine).expect("a root table"), Task::default());
        let request = MmapRequest::anonymous(PAGE_SIZE, Prot::READ | Prot::WRITE).at(PAGE);
        sys::mmap(&mm, &task, &request).expect("an area");
        let map = mm.read();
        let cx = FaultCx { mm: &mm, map: &map, vma: map.lookup(PAGE).unwrap(), task: &task };
        let _ = handle_mm_fault(&cx, PAGE, FaultFlags::WRITE | FaultFlags::USER);
        let page = mm.tables().walk(PAGE).entry.pfn();
        drop(map);
        Arc::new(Self { machine, mm, page })
    }
    fn pin(&self) -> Option<Pfn> {
        let (task, mut pages) = (Task::default(), [None]);
        task.kill();
        let _ = fast(FastEntry::Pin, &task, &self.mm, PAGE, 1, Foll::WRITE, &mut pages);
        let [page] = pages;
        page.map(|page| page.pfn())
    }
}

/// A thread of the model's.
fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().stack_size(STACK).spawn(body).expect("a thread")
}

/// Tries every order of what `other` does, and of a fast pin; `judge` looks at both results.
fn against<T: Send + 'static>(other: fn(&World) -> T, judge: fn(&World, Option<Pfn>, T)) {
    orders(PREEMPTIONS, move || {
        let first = spawn(move || {
            let world = World::new();
            let theirs = Arc::clone(&world);
            let second = spawn(move || other(&theirs));
            let pinned = world.pin();
            judge(&world, pinned, second.join().unwrap());
            if let Some(pinned) = pinned {
                world.machine.unpin_pages(pinned, 1);
            }
        });
        first.join().unwrap();
    });
}

#[test]
fn a_real_fast_pin_never_holds_a_page_that_a_real_zap_freed_and_another_got() {
    let zap = |world: &World| {
        let map = world.mm.read();
        let range = VirtRange::new(PAGE, PAGE.saturating_add(PAGE_SIZE));
        zap_range(&world.mm, map.lookup(PAGE).unwrap(), range).expect("nothing is split");
        let (host, frames) = (world.machine.host(), world.machine.frames());
        frames.alloc(host, 0, Kind::Secret, AllocFlags::empty()).ok()
    };
    against(zap, |world, pinned, reused| {
        let frames = world.machine.frames();
        if let Some(pinned) = pinned {
            assert!(frames.pins(pinned) == 1 && frames.kind(pinned) == Kind::Anon, "freed");
            assert!(pinned == world.page && reused != Some(pinned), "one frame for two");
        }
        assert!(reused.is_none_or(|reused| frames.refs(reused) == 1), "a stray reference");
    });
}

#[test]
fn f_55_a_real_fast_pin_and_a_real_fork_never_make_one_page_pinned_and_shared() {
    let fork = |world: &World| {
        let child = mapping::fork(&mut world.mm.write(), &Task::default());
        child.ok().map(|child| child.tables().walk(PAGE).entry.pfn())
    };
    against(fork, |_, pinned, childs| {
        assert!(pinned.is_none() || pinned != childs, "a pinned page is shared");
    });
}
