//! The examination of processors, examined: one made of software, by the manual, agrees with the
//! engine, also where this machine's has no 5 levels and no 1 GiB leaves; one with a fault does
//! not.

#![allow(missing_docs, reason = "a test program")]

use exam::{Access, CannotAsk, Ended, Layout, Processor, Walk, examine};
use gup::addr::Pfn;
use gup::host::{AtomicU64, Memory};
use gup::memory::HeapMemory;
use gup::pgtable::{Touch, X86};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

const TABLES: u64 = 1400;
const DATA: u64 = 1536;
const FRAMES: u64 = DATA + 1024;
const ROUNDS: u64 = 480;

/// What is wrong with a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It does not mark a leaf dirty.
    NotDirty,
    /// It marks a leaf accessed that refuses the access.
    MarksRefused,
    /// It stores through leaves that are read-only.
    Stores,
    /// It fetches from leaves that are no code.
    Fetches,
    /// It takes a 2 MiB leaf for 4 KiB: the tables it walks end too late.
    NoHugeLeaves,
    /// It forgets that a fault was a user's.
    Code,
}

/// An x86-64 processor as the manual has it (Intel SDM volume 3, 5.5 to 5.8), with a fault.
struct Manual<const LEVELS: u8> {
    memory: Arc<HeapMemory>,
    fault: Fault,
}

impl<const LEVELS: u8> Manual<LEVELS> {
    fn access(&self, root: Pfn, (addr, touch): Access) -> Ended {
        let (store, fetch) = (touch == Touch::Write, touch == Touch::Execute);
        let user = if self.fault == Fault::Code { 0 } else { 4 };
        let kind = user | u64::from(store) << 1 | u64::from(fetch) << 4;
        let (mut table, mut level) = (root, LEVELS - 1);
        loop {
            let index = (addr >> (12 + 9 * u32::from(level))) as usize % 512;
            let place = &self.memory.table(table)[index];
            let entry = place.load(SeqCst);
            let below = Pfn::new((entry & 0x000f_ffff_ffff_f000) >> 12);
            if entry & 1 == 0 || below.get() >= FRAMES {
                return Ended::Fault { code: kind, addr };
            }
            let leaf = level == 0 || entry >> 7 & 1 == 1 && self.fault != Fault::NoHugeLeaves;
            if leaf {
                return if self.refuses(place, touch) {
                    Ended::Fault { code: kind | 1, addr }
                } else {
                    Ended::Done
                };
            }
            (table, level) = (below, level - 1);
        }
    }

    /// Whether the leaf at `place` refuses the access; if not, it is marked.
    fn refuses(&self, place: &AtomicU64, touch: Touch) -> bool {
        let (store, fetch) = (touch == Touch::Write, touch == Touch::Execute);
        let entry = place.load(SeqCst);
        let refuses = entry >> 2 & 1 == 0
            || store && entry >> 1 & 1 == 0 && self.fault != Fault::Stores
            || fetch && entry >> 63 == 1 && self.fault != Fault::Fetches;
        let dirty = u64::from(store && !refuses && self.fault != Fault::NotDirty) << 6;
        if !refuses || self.fault == Fault::MarksRefused {
            place.store(entry | 1 << 5 | dirty, SeqCst);
        }
        refuses
    }
}

impl<const LEVELS: u8> Processor for Manual<LEVELS> {
    type Format = X86<LEVELS>;
    type Memory = HeapMemory;
    const FILL: [u8; 4] = [0xcc; 4];
    const ALIGN: u64 = 1;
    fn memory(&self) -> &Arc<HeapMemory> {
        &self.memory
    }
    fn largest(&self) -> u8 {
        2
    }
    fn program(&self) -> Pfn {
        Pfn::new(TABLES)
    }
    fn take(&mut self, walks: &mut [Walk]) -> Result<(), CannotAsk> {
        for walk in walks {
            let ended = walk.accesses.iter().map(|&access| self.access(walk.root, access));
            walk.ended = ended.collect();
        }
        Ok(())
    }
}

fn ask<const LEVELS: u8>(fault: Fault) {
    let mut processor = Manual::<LEVELS> { memory: Arc::new(HeapMemory::new(FRAMES)), fault };
    let layout = Layout { tables: 0..TABLES, data: DATA..FRAMES };
    let counts = examine(&mut processor, &layout, ROUNDS).expect("software can be asked");
    assert!(counts.tables >= ROUNDS && counts.huge > 0, "{counts:?}");
}

#[test]
fn the_manual_agrees_with_the_engine_with_4_and_5_levels_and_leaves_of_1_gib() {
    ask::<4>(Fault::None);
    ask::<5>(Fault::None);
}

#[test]
fn a_processor_with_a_fault_is_found_out() {
    let faults = [
        Fault::NotDirty,
        Fault::MarksRefused,
        Fault::Stores,
        Fault::Fetches,
        Fault::NoHugeLeaves,
        Fault::Code,
    ];
    for fault in faults {
        let asked = std::panic::catch_unwind(|| ask::<4>(fault));
        assert!(asked.is_err(), "{fault:?} is not noticed");
    }
}
