//! Random programs of recorded operations, the same for the same seed.
//!
//! Every operation is as likely as any other, on up to six pages anywhere in the arena. What cannot
//! be done (a fourth process, the exit of P0) is left out, so that numbers may skip.

use super::record::Record;
use super::translate::PAGES;
use super::world::SLOTS;

/// The operations.
const OPS: [&str; 29] = [
    "mmap_priv",
    "mmap_shanon",
    "mmap_fpriv",
    "mmap_fsh",
    "munmap",
    "mprotect",
    "mremap_move",
    "dontneed",
    "free",
    "pageout",
    "popr",
    "popw",
    "mlock",
    "munlock",
    "write",
    "read",
    "fork",
    "exit",
    "mempolicy",
    "futex",
    "vmsplice",
    "od_read",
    "od_write",
    "pvm_read",
    "pvm_write",
    "mem_read",
    "mem_write",
    "iou_reg",
    "iou_unreg",
];

/// A stream of numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit.max(1)
    }
    fn of<T: Copy>(&mut self, table: &[T], otherwise: T) -> T {
        let at = usize::try_from(self.below(table.len() as u64)).unwrap_or(0);
        table.get(at).copied().unwrap_or(otherwise)
    }
}

/// The program of `seed`, of up to `count` operations, without answers.
pub(super) fn program(seed: u64, count: u64) -> Vec<Record> {
    let mut random = Random(seed);
    let mut live = [true, false, false];
    let mut used = 1;
    let mut program = Vec::new();
    for i in 0..count {
        let slots: Vec<usize> = (0..SLOTS).filter(|slot| live[*slot]).collect();
        let slot = random.of(&slots, 0);
        let op = if i == 0 { "mmap_priv" } else { random.of(&OPS, "munlock") };
        let pg = random.below(PAGES);
        let n = 1 + random.below(6.min(PAGES - pg));
        let prot = random.of(&[3, 3, 3, 0, 1, 2], 3);
        let mut record = Record {
            seed,
            i,
            slot,
            op: op.to_owned(),
            pg,
            n,
            prot,
            ret: 0,
            errno: 0,
            state: String::new(),
        };
        match op {
            "mmap_priv" if i == 0 => {
                record = Record { slot: 0, pg: 0, n: PAGES, prot: 3, ..record };
            }
            "fork" if used == SLOTS => continue,
            "fork" => {
                record.n = used as u64;
                live[used] = true;
                used += 1;
            }
            "exit" if slot == 0 => continue,
            "exit" => live[slot] = false,
            _ => {}
        }
        program.push(record);
    }
    program
}
