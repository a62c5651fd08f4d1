//! Fault-in of fresh pages beside `memset` of the same bytes.

use super::measure::{About, Row, compare, timed};
use super::oracle::OwnMapping;
use super::space::{CannotBench, Space};
use gup::addr::PAGE_SIZE;
use gup::linux::Linux;
use gup::mapping::munmap;
use rustix::mm::Advice;

const MIB: u64 = 512;
/// Faulted in per round.
const PAGES: u64 = 256 << 8;

pub(super) fn rows(rounds: usize) -> Result<Vec<Row>, CannotBench> {
    let space = Space::new(Linux::V6_18, MIB)?;
    let bytes = usize::try_from(PAGES * PAGE_SIZE).unwrap_or(0);
    let mut plain = vec![1u8; bytes];
    let own = OwnMapping::new(bytes);
    let about = About {
        name: "fault-zero-4k",
        unit: "ns/page",
        against: "memset of the same bytes, 4 KiB at a time",
        aim: None,
    };
    let row = compare(
        about,
        rounds.min(11),
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
    Ok(vec![row])
}
