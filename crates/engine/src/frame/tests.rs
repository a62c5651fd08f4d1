//! Tests of counts, lists, splits and locks.

use super::{AllocFlags, CountError, FrameFlags, Frames, FramesConfig, Kind, Last, OutOfMemory};
use super::{Owner, Zone};
use crate::addr::Pfn;
use crate::host::{Host, Injection, Ticket, WaitMode, Woken};
use crate::memory::HeapMemory;
use crate::observe::Silent;
use crate::pgtable::X86_64;
use crate::task::Task;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A host of nothing but injected failures.
struct Bare {
    memory: HeapMemory,
    fail: Option<Injection>,
    passed: AtomicU32,
}

impl Bare {
    fn new() -> Self {
        Self { memory: HeapMemory::new(0), fail: None, passed: AtomicU32::new(0) }
    }
}

impl Host for Bare {
    type Memory = HeapMemory;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = X86_64;
    type Observer = Silent;
    fn memory(&self) -> &HeapMemory {
        &self.memory
    }
    fn observer(&self) -> &Silent {
        &Silent
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        Woken::Ready
    }
    fn inject(&self, point: Injection) -> bool {
        self.passed.fetch_add(1, Relaxed);
        self.fail == Some(point)
    }
}

fn frames(count: u64) -> Frames<Bare> {
    Frames::new(&FramesConfig::normal(count))
}

fn anon(frames: &Frames<Bare>, order: u8) -> Pfn {
    frames.alloc(&Bare::new(), order, Kind::Anon, AllocFlags::empty()).expect("room")
}

#[test]
fn a_new_folio_has_one_reference_and_nothing_else() {
    let frames = frames(64);
    let folio = anon(&frames, 2);
    assert_eq!((frames.refs(folio), frames.pins(folio), frames.folio_mapcount(folio)), (1, 0, 0));
    assert_eq!((frames.order(folio), frames.kind(folio)), (2, Kind::Anon));
    let tail = folio.offset(3);
    assert_eq!((frames.head(tail), frames.kind(tail), frames.refs(tail)), (folio, Kind::Anon, 1));
    assert_eq!(frames.flags(folio), FrameFlags::empty());
    frames.put_and_free(tail, 1);
    assert_eq!(frames.stats().free_total(), 63);
}

#[test]
fn everything_but_frame_0_can_be_had_and_nothing_more() {
    let frames = frames(100);
    let host = Bare::new();
    let mut all: alloc::vec::Vec<_> =
        core::iter::from_fn(|| frames.alloc(&host, 0, Kind::Kernel, AllocFlags::empty()).ok())
            .collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 99);
    assert!(!all.contains(&Pfn::new(0)));
    let again = frames.alloc(&host, 0, Kind::Kernel, AllocFlags::MOVABLE);
    assert_eq!(again, Err(OutOfMemory));
    let _ = (CountError::Gone, Last::No, Owner::default(), Zone::Cma);
}
