//! fork of an address space whose pages are all present.

use super::floor::{Floor, GRAB};
use super::kernel::{OwnMapping, fork_and_wait};
use super::measure::{Bench, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, GIB, Present};
use gup::linux::Linux;

/// 256 MiB.
const PAGES: u64 = GIB / 4;

pub(super) static ROWS: [About; 1] = [About {
    name: "fork-present-4k",
    unit: "ns/page",
    what: "fork of 256 MiB of exclusive anonymous pages, never forked before",
    against: GRAB,
    asked: "fork of this process, which has 256 MiB of such pages and more",
    aims: &[Aim::AtMost(OverFloor, 3.0)],
}];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let memory = Present::new(Linux::V6_18, PAGES)?;
    let mut floor = Floor::new(PAGES);
    let own = OwnMapping::present(PAGES);
    let space = &memory.space;
    bench.compare_up_to(
        11,
        &ROWS[0],
        &mut || {
            let mut child = Err(gup::errno::Errno::ENOMEM);
            let ns =
                timed(PAGES, || child = gup::mapping::fork(&mut space.mm.write(), &space.task));
            drop(child.ok()?);
            // Each page becomes exclusive to its entry again, which may be stored to.
            space.touch(memory.start, PAGES);
            Some(ns)
        },
        &mut || Some(timed(PAGES, || floor.grab_all())),
        &mut || own.as_ref().and_then(|_| fork_and_wait(PAGES)),
    );
    Ok(())
}
