//! Every point at which memory may be missing, one after the other, in a mixed program of edits: it
//! may refuse, but leaves nothing behind.

use crate::world::{R, RW, Space, bytes, page};
use gup::file::FileKind;
use gup::flags::{FaultFlags, MapFlags};
use gup::linux::Linux;
use gup::mapping::{
    Advice, GrowProt, MmapRequest, MremapFlags, MremapRequest, fork, insert_page, install_special,
    mseal, sys,
};
use gup::vma::Special;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Something of everything. Refusals are passed over: what matters is what they leave.
fn program(space: &Space) {
    let (mm, task) = (space.mm(), &space.task);
    let anon = |from: u64, to: u64| MmapRequest::anonymous(bytes(to - from), RW).at(page(from));
    let touch = |from: u64, to: u64| {
        for n in from..to {
            if mm.read().lookup(page(n)).is_some() {
                let _ = space.fault(n, FaultFlags::WRITE);
            }
        }
    };
    let _ = sys::mmap(mm, task, &anon(0, 12));
    touch(0, 8);
    let file = space.file(FileKind::Shmem, 8);
    let shared = MmapRequest::file(&file, 0, bytes(8), RW, MapFlags::SHARED).at(page(20));
    let _ = sys::mmap(mm, task, &shared);
    touch(20, 24);
    let _ = sys::mmap(mm, task, &MmapRequest::shared(bytes(2), RW).at(page(40)));
    touch(40, 42);
    let _ = space.mprotect(2, 5, R);
    let _ = sys::mprotect(mm, task, page(3), bytes(1), RW, GrowProt::Exact);
    let remap = |from: u64, old: u64, new: u64, to: u64| MremapRequest {
        addr: page(from),
        old_bytes: bytes(old),
        new_bytes: bytes(new),
        flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
        new_addr: page(to),
    };
    let _ = space.mremap(&remap(1, 4, 6, 5000));
    let _ = space.mremap(&remap(5000, 6, 3, 600));
    let _ = space.mremap(&remap(20, 6, 6, 0));
    let _ = space.mlock(0, 3);
    let _ = space.madvise(6, 10, Advice::GuardInstall);
    let _ = space.madvise(7, 8, Advice::GuardRemove);
    let _ = space.madvise(600, 603, Advice::Free);
    let child = fork(&mut mm.write(), task);
    let _ = space.madvise(600, 603, Advice::DontNeed);
    drop(child);
    let special =
        Special { name: "[test]", pages: Vec::new(), find_special: Vec::new(), access: None };
    let area = gup::addr::VirtRange::new(page(800), page(802));
    let flags = gup::flags::VmFlags::READ | gup::flags::VmFlags::MAYREAD;
    let _ = install_special(&mut mm.write(), area, flags, Arc::new(special));
    if let Ok(pfn) = file.load(&space.machine, 5, gup::host::ReadMode::Block) {
        let _ = insert_page(&mut mm.write(), page(800), pfn);
        space.machine.put_page(pfn);
    }
    let _ = mseal(&mut mm.write(), page(1), bytes(1));
    let _ = space.munmap(9, 11);
    let _ = sys::mmap(mm, task, &anon(600, 601));
}

#[test]
fn missing_memory_at_any_point_leaves_no_frame_and_no_promise_behind() {
    for linux in [Linux::V4_4, Linux::V6_18] {
        let mut passed = false;
        for nth in 0..5_000 {
            let space = Space::new(linux);
            space.machine.host().points_left.store(nth, Relaxed);
            program(&space);
            passed = space.machine.host().points_left.load(Relaxed) < u64::MAX / 2;
            // Dropping the space looks for what is left.
            drop(space);
            if passed {
                break;
            }
        }
        assert!(passed, "the program has no end");
    }
}
