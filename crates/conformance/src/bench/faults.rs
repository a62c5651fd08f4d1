//! Faults that fill a page, beside the filling alone.

use super::kernel::OwnMapping;
use super::measure::{Bench, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, GIB, MIB, Present, Space};
use gup::addr::PAGE_SIZE;
use gup::linux::Linux;
use gup::mapping::{fork, munmap};
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::Advice;

/// Faulted in per round: 256 MiB.
const PAGES: u64 = GIB / 4;
const BYTES: usize = 256 << 20;
const ROUNDS: usize = 11;
const AIM: &[Aim] = &[Aim::AtMost(OverFloor, 1.6)];

pub(super) static ROWS: [About; 2] = [
    About {
        name: "fault-zero-4k",
        unit: "ns/page",
        what: "writing faults on fresh anonymous memory, 256 MiB",
        against: "memset of the same bytes, 4 KiB at a time",
        asked: "MADV_POPULATE_WRITE on fresh memory",
        aims: AIM,
    },
    About {
        name: "fault-cow-4k",
        unit: "ns/page",
        what: "writing faults on pages shared with a child, 256 MiB",
        against: "memcpy of the same bytes, 4 KiB at a time",
        asked: "MADV_POPULATE_WRITE on a private mapping of a memfd whose pages are mapped",
        aims: AIM,
    },
];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let [zeroed, copied] = &ROWS;
    if bench.wants(zeroed) {
        zero(bench, zeroed)?;
    }
    if bench.wants(copied) { copy(bench, copied) } else { Ok(()) }
}

fn zero(bench: &mut Bench<'_>, about: &'static About) -> Result<(), CannotBench> {
    let space = Space::new(Linux::V6_18, 2 * PAGES / MIB)?;
    let mut plain = vec![1u8; BYTES];
    let own = OwnMapping::new(BYTES);
    bench.compare_up_to(
        ROUNDS,
        about,
        &mut || {
            let start = space.map(PAGES).ok()?;
            let ns = timed(PAGES, || {
                space.touch(start, PAGES);
            });
            munmap(&mut space.mm.write(), start, PAGES * PAGE_SIZE).ok()?;
            Some(ns)
        },
        &mut || {
            Some(timed(PAGES, || {
                for page in plain.chunks_mut(4096) {
                    page.fill(0);
                    std::hint::black_box(&page);
                }
            }))
        },
        &mut || {
            let own = own.as_ref()?;
            own.advise(0, BYTES, Advice::LinuxDontNeed).then_some(())?;
            populated(own)
        },
    );
    Ok(())
}

fn copy(bench: &mut Bench<'_>, about: &'static About) -> Result<(), CannotBench> {
    // Both halves of the copies, and tables.
    let memory = Present::on(Space::new(Linux::V6_18, 2 * PAGES / MIB + 16)?, PAGES)?;
    let space = &memory.space;
    let from = vec![1u8; BYTES];
    let mut to = vec![1u8; BYTES];
    let shared = shared_file().and_then(|file| OwnMapping::of_file(&file, BYTES));
    bench.compare_up_to(
        ROUNDS,
        about,
        &mut || {
            let child = fork(&mut space.mm.write(), &space.task).ok()?;
            let ns = timed(PAGES, || {
                space.touch(memory.start, PAGES);
            });
            drop(child);
            Some(ns)
        },
        &mut || {
            Some(timed(PAGES, || {
                for (to, from) in to.chunks_mut(4096).zip(from.chunks(4096)) {
                    to.copy_from_slice(from);
                    std::hint::black_box(&to);
                }
            }))
        },
        &mut || {
            let own = shared.as_ref()?;
            own.advise(0, BYTES, Advice::LinuxDontNeed).then_some(())?;
            own.advise(0, BYTES, Advice::LinuxPopulateRead).then_some(())?;
            populated(own)
        },
    );
    Ok(())
}

/// A memfd of so many bytes.
fn shared_file() -> Option<OwnedFd> {
    let file = memfd_create("gup-bench", MemfdFlags::CLOEXEC).ok()?;
    ftruncate(&file, BYTES as u64).ok()?;
    Some(file)
}

/// Faults every page of `own` in for writing.
fn populated(own: &OwnMapping) -> Option<f64> {
    let mut done = false;
    let ns = timed(PAGES, || done = own.advise(0, BYTES, Advice::LinuxPopulateWrite));
    done.then_some(ns)
}
