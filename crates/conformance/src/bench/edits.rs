//! An unmap and a map among many areas, beside the same pair among few.

use super::measure::{Bench, none, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, Space};
use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::flags::Prot;
use gup::linux::Linux;
use gup::mapping::{MmapRequest, mmap, munmap};

const MANY: u64 = 65_000;
const FEW: u64 = 16;
const PAIRS: u64 = 2_000;

pub(super) static ROWS: [About; 1] = [About {
    name: "unmap-map-65000",
    unit: "ns/pair",
    what: "munmap of one area and mmap of another among 65,000",
    against: "the same pair among 16 areas",
    asked: "",
    aims: &[Aim::AtMost(OverFloor, 20.0)],
}];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let many = areas(MANY)?;
    let few = areas(FEW)?;
    bench.compare(&ROWS[0], &mut || pairs(&many), &mut || pairs(&few), &mut none);
    Ok(())
}

/// An address space of areas of one page, no two of which merge, and where they are.
struct Areas {
    space: Space,
    at: Vec<VirtAddr>,
}

fn areas(count: u64) -> Result<Areas, CannotBench> {
    let space = Space::new(Linux::V6_18, 16)?;
    let mut at = Vec::new();
    for n in 0..count {
        at.push(mmap(&mut space.mm.write(), &space.task, &request(n))?);
    }
    Ok(Areas { space, at })
}

/// Neighbours differ in their permissions, so that they stay areas of their own.
fn request(n: u64) -> MmapRequest<super::space::Host> {
    let prot = if n.is_multiple_of(2) { Prot::READ } else { Prot::READ | Prot::WRITE };
    MmapRequest::anonymous(PAGE_SIZE, prot)
}

/// Unmaps areas all over the space and maps each again wherever there is room.
fn pairs(areas: &Areas) -> Option<f64> {
    let count = areas.at.len() as u64;
    let mut all = true;
    let ns = timed(PAIRS, || {
        for n in 0..PAIRS {
            // A stride that is prime to both counts visits all areas.
            let index = (n * 7_919) % count;
            let Some(addr) = usize::try_from(index).ok().and_then(|i| areas.at.get(i)) else {
                return;
            };
            let mut map = areas.space.mm.write();
            all &= munmap(&mut map, *addr, PAGE_SIZE).is_ok();
            all &= mmap(&mut map, &areas.space.task, &request(index)) == Ok(*addr);
        }
    });
    all.then_some(ns)
}
