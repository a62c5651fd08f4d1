//! The models: a fast pin against whatever takes the page, its exclusivity or its table away.
//!
//! *Entry*: 0 is empty, else the frame's number, with [`WRITE`] if stores are allowed.

use crate::every_order;
use crate::host::Machine;
use gup::addr::Pfn;
use gup::frame::{FrameFlags, Kind};
use gup::pgtable::{Reclaim, Walkers};
use gup::rule::c;
use loom::sync::Arc;
use loom::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
    Ordering::Release, Ordering::SeqCst, fence,
};
use loom::thread;

/// The entry allows stores.
const WRITE: u64 = 1 << 32;

/// One process with one page.
struct World {
    machine: Machine,
    /// The entry that maps the page.
    entry: AtomicU64,
    /// `Mm::write_protect_seq`.
    sequence: AtomicU32,
    /// `Mm::has_pinned`.
    has_pinned: AtomicBool,
    page: Pfn,
}

fn frame_of(entry: u64) -> Pfn {
    Pfn::new(entry & (WRITE - 1))
}

impl World {
    /// A writable exclusive anonymous page; the entry has its one reference.
    fn new() -> Arc<Self> {
        let machine = Machine::new();
        let page = machine.alloc(0, Kind::Anon).expect("a frame");
        machine.frames.set(page, FrameFlags::ANON_EXCLUSIVE);
        let entry = AtomicU64::new(page.get() | WRITE);
        let (sequence, has_pinned) = (AtomicU32::new(0), AtomicBool::new(false));
        Arc::new(Self { machine, entry, sequence, has_pinned, page })
    }
    /// `gup::fast`: `lockless` and `leaf` for one page, `FOLL_PIN`, with or without `FOLL_WRITE`.
    fn fast_pin(&self, write: bool) -> Option<Pfn> {
        if !self.has_pinned.load(Relaxed) {
            self.has_pinned.store(true, Relaxed);
        }
        let sequence = self.sequence.load(Acquire);
        if c::C_68.when(sequence % 2 == 1) {
            return None;
        }
        let seen = self.entry.load(Acquire);
        if seen == 0 || write && seen & WRITE == 0 {
            return None;
        }
        let pfn = frame_of(seen);
        if !self.machine.frames.try_pin(pfn, 1) {
            return None;
        }
        let same = self.entry.load(Acquire) == seen;
        let exclusive =
            seen & WRITE != 0 || self.machine.frames.has(pfn, FrameFlags::ANON_EXCLUSIVE);
        let forked = || c::C_68.when(self.sequence.load(Acquire) != sequence);
        if c::C_71.when(!same || !exclusive) || forked() {
            self.machine.unpin(pfn);
            return None;
        }
        Some(pfn)
    }
    /// `mapping::fork`: `copy_area`, `duplicate`, `write_protect`. Whether the page is shared.
    fn fork(&self) -> bool {
        let (frames, page) = (&self.machine.frames, self.page);
        self.sequence.fetch_add(1, SeqCst);
        fence(SeqCst);
        let copied = self.has_pinned.load(SeqCst) && frames.maybe_pinned(page);
        if !copied {
            frames.clear(page, FrameFlags::ANON_EXCLUSIVE);
            frames.get(page, 1).expect("a mapped page");
            self.entry.store(page.get(), Release);
        }
        self.sequence.fetch_add(1, SeqCst);
        !copied
    }
    /// `fault::zap`: the entry is emptied, then its reference given back.
    fn unmap(&self) {
        let old = frame_of(self.entry.swap(0, AcqRel));
        self.machine.frames.put_and_free(old, 1);
    }
    /// What is pinned is a page in use, and the one that was mapped.
    fn pinned_is_in_use(&self, pinned: Option<Pfn>) {
        let Some(pfn) = pinned else { return };
        let frames = &self.machine.frames;
        assert!(frames.refs(pfn) > 0 && frames.pins(pfn) == 1, "a pin on a freed frame");
        assert_eq!(frames.kind(pfn), Kind::Anon, "a pin on another's frame");
    }
}

#[test]
fn a_fast_pin_never_holds_a_page_that_munmap_freed_and_another_got() {
    every_order(|| {
        let world = World::new();
        let other = Arc::clone(&world);
        let unmapper = thread::spawn(move || {
            other.unmap();
            other.machine.alloc(0, Kind::File)
        });
        let pinned = world.fast_pin(true);
        let reused = unmapper.join().unwrap();
        world.pinned_is_in_use(pinned);
        if let Some(reused) = reused {
            assert!(pinned != Some(reused), "one frame for two");
            assert_eq!(world.machine.frames.refs(reused), 1, "a stray reference");
        }
    });
}

#[test]
fn a_fast_pin_and_fork_never_make_one_page_pinned_and_shared() {
    every_order(|| {
        let world = World::new();
        let other = Arc::clone(&world);
        let fork = thread::spawn(move || other.fork());
        let pinned = world.fast_pin(true);
        let shared = fork.join().unwrap();
        assert!(!(shared && pinned.is_some()), "a pinned page is shared");
    });
}

#[test]
fn fork_sees_that_there_are_pins_when_the_thread_that_pins_was_not_the_first_to_say_so() {
    every_order(|| {
        let world = World::new();
        let (other, first) = (Arc::clone(&world), Arc::clone(&world));
        let fork = thread::spawn(move || other.fork());
        // Says so, and then pins nothing.
        let says = thread::spawn(move || first.has_pinned.store(true, Relaxed));
        let pinned = world.fast_pin(true);
        let shared = fork.join().unwrap();
        says.join().unwrap();
        assert!(!(shared && pinned.is_some()), "a pinned page is shared");
    });
}

#[test]
fn a_fast_pin_and_a_copy_on_write_end_with_the_right_page() {
    every_order(|| {
        let world = World::new();
        // Shared with a child once: read-only, and not exclusive.
        world.machine.frames.clear(world.page, FrameFlags::ANON_EXCLUSIVE);
        world.entry.store(world.page.get(), Release);
        let other = Arc::clone(&world);
        // `fault::cow`, `copy_from`: the copy is in place before the old page goes.
        let store = thread::spawn(move || {
            let new = other.machine.alloc(0, Kind::Anon).expect("a frame");
            other.machine.frames.set(new, FrameFlags::ANON_EXCLUSIVE);
            other.entry.store(new.get() | WRITE, Release);
            other.machine.frames.put_and_free(other.page, 1);
            new
        });
        let pinned = world.fast_pin(false);
        let new = store.join().unwrap();
        world.pinned_is_in_use(pinned);
        assert!(pinned.is_none_or(|pinned| pinned == new), "a pin on the page that was left");
    });
}

#[test]
fn f_54_a_fast_pin_and_the_end_of_exclusivity_see_each_other() {
    for write in [true, false] {
        every_order(move || {
            let world = World::new();
            if !write {
                world.entry.store(world.page.get(), Release);
            }
            let other = Arc::clone(&world);
            // `fault::pageout`, `unmap_to_swap`.
            let out = thread::spawn(move || {
                let (frames, page) = (&other.machine.frames, other.page);
                let old = other.entry.swap(0, AcqRel);
                fence(SeqCst);
                if frames.maybe_pinned(page) {
                    other.entry.store(old, Release);
                    return false;
                }
                frames.clear(page, FrameFlags::ANON_EXCLUSIVE);
                true
            });
            let pinned = world.fast_pin(write);
            let gone = out.join().unwrap();
            assert!(!(gone && pinned.is_some()), "a pinned page is exclusive no more");
        });
    }
}

/// A table that two threads walk, counted on the slots of these numbers, is unlinked `rounds`
/// times.
fn walked_and_freed(threads: &'static [usize], rounds: usize) {
    every_order(move || {
        let machine = Machine::new();
        let table = machine.alloc(0, Kind::Table).expect("a frame");
        let world = Arc::new((machine, AtomicU64::new(table.get()), Walkers::<2>::new()));
        let walk = |thread| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let (machine, upper, walkers) = &*world;
                let _inside = walkers.enter(thread);
                let table = upper.load(Acquire);
                if table != 0 {
                    let kind = machine.frames.kind(Pfn::new(table));
                    assert_eq!(kind, Kind::Table, "a freed table is walked");
                }
            })
        };
        let walks: Vec<_> = threads.iter().copied().map(walk).collect();
        let (machine, upper, walkers) = &*world;
        // `pgtable::free`: `unlink`, `give_back`.
        for round in 1..=rounds {
            let old = upper.swap(0, AcqRel);
            walkers.wait(thread::yield_now);
            machine.frames.put_and_free(Pfn::new(old), 1);
            if round < rounds {
                let next = machine.alloc(0, Kind::Table).expect("a frame");
                upper.store(next.get(), Release);
            }
        }
        let _reused = machine.alloc(0, Kind::Anon);
        for walk in walks {
            walk.join().unwrap();
        }
    });
}

#[test]
fn f_56_a_walker_never_reads_a_table_that_was_freed() {
    // Twice: a slot is used again, and the counters of those without one take turns.
    walked_and_freed(&[1], 2);
    walked_and_freed(&[2], 2);
}

#[test]
fn f_56_walkers_of_one_slot_of_two_and_of_none_are_all_waited_for() {
    walked_and_freed(&[0, 0], 1);
    walked_and_freed(&[0, 1], 1);
    walked_and_freed(&[1, 2], 1);
}

#[test]
fn f_57_a_late_grab_never_wakes_a_freed_folio_nor_keeps_another_s_page() {
    every_order(|| {
        let machine = Machine::new();
        let page = machine.alloc(1, Kind::Anon).expect("a folio of two");
        let world = Arc::new(machine);
        let other = Arc::clone(&world);
        // The folio goes, and its frames come back as two small ones.
        let freer = thread::spawn(move || {
            other.frames.put_and_free(page, 1);
            [other.alloc(0, Kind::File), other.alloc(0, Kind::File)]
        });
        // Grabs the tail: its head is looked up, counted, and looked up again.
        let tail = page.offset(1);
        let taken = world.frames.try_get(tail, 1);
        let reused = freer.join().unwrap();
        let held = if taken { world.frames.refs(tail) } else { 0 };
        assert!(!taken || held > 0, "a reference on a freed frame");
        for new in reused.into_iter().flatten() {
            let mine = u32::from(taken && world.frames.head(tail) == new);
            assert_eq!(world.frames.refs(new), 1 + mine, "a stray reference");
        }
        if taken {
            world.frames.put_and_free(tail, 1);
        }
    });
}

#[test]
fn two_fast_pins_and_a_munmap_free_the_page_once() {
    every_order(|| {
        let world = World::new();
        let pinners: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    if let Some(pfn) = world.fast_pin(true) {
                        world.machine.unpin(pfn);
                    }
                })
            })
            .collect();
        world.unmap();
        for pinner in pinners {
            pinner.join().unwrap();
        }
        assert_eq!(world.machine.frames.kind(world.page), Kind::Free);
        assert_eq!(world.machine.frames.refs(world.page), 0, "a reference on a freed frame");
        assert_eq!(world.machine.frames.stats().free_total(), 3, "freed once");
    });
}
