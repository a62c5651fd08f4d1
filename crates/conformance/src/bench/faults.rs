//! Fault-in of fresh pages beside `memset` of the same bytes.

use super::kernel::OwnMapping;
use super::measure::{Bench, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, Space};
use gup::addr::PAGE_SIZE;
use gup::linux::Linux;
use gup::mapping::munmap;
use rustix::mm::Advice;

const MIB: u64 = 512;
/// Faulted in per round.
const PAGES: u64 = 256 << 8;

const AIM: &[Aim] = &[Aim::AtMost(OverFloor, 1.6)];

pub(super) static ROWS: [About; 1] = [About {
    name: "fault-zero-4k",
    unit: "ns/page",
    what: "writing faults on fresh anonymous memory, 256 MiB",
    against: "memset of the same bytes, 4 KiB at a time",
    asked: "MADV_POPULATE_WRITE on fresh memory",
    aims: AIM,
}];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let space = Space::new(Linux::V6_18, MIB)?;
    let bytes = usize::try_from(PAGES * PAGE_SIZE).unwrap_or(0);
    let mut plain = vec![1u8; bytes];
    let own = OwnMapping::new(bytes);
    bench.compare_up_to(
        11,
        &ROWS[0],
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
            own.advise(0, bytes, Advice::LinuxDontNeed).then_some(())?;
            let mut done = false;
            let ns = timed(PAGES, || done = own.advise(0, bytes, Advice::LinuxPopulateWrite));
            done.then_some(ns)
        },
    );
    Ok(())
}
