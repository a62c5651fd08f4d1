//! Recorded operations as operations of scenarios, and answers of scenarios as recorded ones.
//!
//! `vectors/linux-6.18/kernel-rows.md` says what each recorded operation does.

use super::record::Record;
use crate::ask::driver::Driver;
use crate::scenario::{
    At, Base, Cached, FileSort, FileSpec, Length, Map, Op, Setup, Source, Span, Step, Sys, Touch,
    Value,
};
use crate::world::{Heard, World};
use gup::addr::PAGE_SIZE;
use gup::flags::{MapFlags, Prot};
use gup::mapping::Advice;

/// The arena's first address.
const ARENA: u64 = 0x2000_0000_0000;
/// Pages of the arena, and of each file.
pub(super) const PAGES: u64 = 16;

/// The machine of recorded programs.
pub(super) fn setup() -> Setup {
    Setup { frames: 8192, swap_pages: 1024, watch: vec![(ARENA, PAGES)], ..Setup::default() }
}

/// What comes before a program: its first process and its files.
pub(super) fn prelude() -> Vec<Step> {
    let file = |name: &str, kind, fill: &[u8], cached| {
        let len = Length::Pages(PAGES);
        let spec = FileSpec { len, kind, fill: fill.to_vec(), slow: false, cached };
        Op::File { name: name.to_owned(), spec }
    };
    let ops = [
        file("m", FileSort::Memfd, b"", Cached::Nothing),
        file("f", FileSort::Regular, b"3", Cached::Folio),
        Op::Process { name: name(0) },
    ];
    ops.into_iter().map(Step::of).collect()
}

/// The process of `slot`.
pub(super) fn name(slot: usize) -> String {
    format!("P{slot}")
}

fn absolute(page: u64) -> At {
    At { base: Base::Absolute, offset: ARENA + page * PAGE_SIZE }
}

/// The system call with this recorded name, that gets or pins.
fn driver(op: &str) -> Option<Driver> {
    match op {
        "futex" => Some(Driver::FutexWake),
        "popr" | "popw" | "mempolicy" | "vmsplice" | "od_read" | "od_write" | "pvm_read"
        | "pvm_write" | "mem_read" | "mem_write" | "iou_reg" => Driver::from_name(op),
        _ => None,
    }
}

fn advice(op: &str) -> Option<Advice> {
    match op {
        "dontneed" => Some(Advice::DontNeed),
        "free" => Some(Advice::Free),
        "pageout" => Some(Advice::PageOut),
        _ => None,
    }
}

/// What `record` does, one or two operations; `None` if nobody knows it.
pub(super) fn ops(record: &Record) -> Option<Vec<Op>> {
    let process = name(record.slot);
    let span = Span { at: absolute(record.pg), len: Length::Pages(record.n) };
    let prot = Prot::from_bits_retain(record.prot);
    if let Some(driver) = driver(&record.op) {
        return Some(vec![Op::Ask { process, driver, span }]);
    }
    if let Some(advice) = advice(&record.op) {
        return Some(vec![Op::Madvise { process, span, advice }]);
    }
    Some(vec![match record.op.as_str() {
        "fork" => {
            let child = name(usize::try_from(record.n).unwrap_or(usize::MAX));
            Op::Fork { process, child }
        }
        "exit" => Op::Exit { process },
        "iou_unreg" => Op::Unregister { process },
        "munmap" => Op::Munmap { process, span },
        "mprotect" => Op::Mprotect { process, span, prot },
        "mlock" => Op::Mlock { process, span },
        "munlock" => Op::Munlock { process, span },
        "read" => Op::Touch { process, span, touch: Touch::Load },
        "write" => Op::Touch { process, span, touch: Touch::Store },
        "mremap_move" => return Some(there_and_back(&process, record)),
        "mmap_priv" | "mmap_shanon" | "mmap_fpriv" | "mmap_fsh" => map(process, record, prot),
        _ => return None,
    }])
}

fn map(process: String, record: &Record, prot: Prot) -> Op {
    let (source, flags) = match record.op.as_str() {
        "mmap_shanon" => (Source::File("m".to_owned(), record.pg), MapFlags::SHARED),
        "mmap_fpriv" => (Source::File("f".to_owned(), record.pg), MapFlags::PRIVATE),
        "mmap_fsh" => (Source::File("f".to_owned(), record.pg), MapFlags::SHARED),
        _ => (Source::Anon, MapFlags::PRIVATE),
    };
    let (len, at) = (Length::Pages(record.n), Some(absolute(record.pg)));
    Op::Map(Map { process, name: None, len, prot, flags, source, at })
}

fn there_and_back(process: &str, record: &Record) -> Vec<Op> {
    const MAYMOVE_FIXED: u32 = 3;
    let (home, away) = (absolute(record.pg), absolute(PAGES + 4));
    let bytes = record.n * PAGE_SIZE;
    let one_way = |at: &At, to: &At| {
        let (at, to) = (at.clone(), to.clone());
        let call = Sys::Mremap { at, old: bytes, new: bytes, flags: MAYMOVE_FIXED, to };
        Op::Sys { process: process.to_owned(), name: None, call }
    };
    vec![one_way(&home, &away), one_way(&away, &home)]
}

/// Plays what `record` does; what was heard last. `None` if nobody knows the operation.
pub(super) fn play(world: &mut impl World, record: &Record) -> Option<Heard> {
    let mut last = None;
    for op in ops(record)? {
        let heard = world.play(&Step::of(op));
        let failed = matches!(heard.value, Value::Failed(_) | Value::CannotPlay(_));
        last = Some(heard);
        if failed {
            break;
        }
    }
    last
}
