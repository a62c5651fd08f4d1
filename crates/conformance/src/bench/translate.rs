//! Translating a range beside the `x86_64` crate's `translate_page`, on the same tables in the same
//! memory.

use super::measure::{Bench, none, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, Space};
use gup::addr::{PAGE_SIZE, Pfn, VirtRange};
use gup::host::Host as _;
use gup::linux::Linux;
use std::hint::black_box;
use x86_64::VirtAddr;
use x86_64::structures::paging::mapper::Mapper;
use x86_64::structures::paging::{OffsetPageTable, Page, PageTable, Size4KiB};

const MIB: u64 = 256;

const fn about(name: &'static str, what: &'static str, aims: &'static [Aim]) -> About {
    let against = "the x86_64 crate's translate_page, page by page, on the same tables";
    About { name, unit: "ns/page", what, against, asked: "", aims }
}

pub(super) static ROWS: [About; 2] = [
    about(
        "translate-range",
        "Tables::translate, 128 MiB of 4 KiB entries",
        &[Aim::AtMost(OverFloor, 0.5)],
    ),
    about(
        "translate-one",
        "Tables::walk to the page of each address, 128 MiB of 4 KiB entries",
        &[Aim::AtMost(OverFloor, 1.4)],
    ),
];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let pages = MIB << 7;
    let space = Space::new(Linux::V6_18, MIB)?;
    let start = space.map(pages)?;
    space.touch(start, pages);
    let Some(range) = VirtRange::from_len(start, pages * PAGE_SIZE) else { return Ok(()) };
    bench.compare(
        &ROWS[0],
        &mut || {
            Some(timed(pages, || {
                space.mm.tables().translate(range, |run| {
                    black_box(run);
                });
            }))
        },
        &mut || peer(&space, start.get(), pages),
        &mut none,
    );
    bench.compare(
        &ROWS[1],
        &mut || {
            let tables = space.mm.tables();
            Some(timed(pages, || {
                for n in 0..pages {
                    let addr = start.wrapping_add(n * PAGE_SIZE);
                    let _ = black_box(tables.walk(addr).frame(addr));
                }
            }))
        },
        &mut || peer(&space, start.get(), pages),
        &mut none,
    );
    Ok(())
}

/// The peer's walk of the same tables: the arena is the window through which it sees physical
/// memory.
fn peer(space: &Space, start: u64, pages: u64) -> Option<f64> {
    let memory = space.machine.host().memory();
    let window = memory.address(Pfn::new(0))?;
    let root = memory.address(space.mm.root())? as *mut PageTable;
    let offset = VirtAddr::new(window as u64);
    // SAFETY: `root` is a page of the arena, aligned and mapped for as long as `space` lives; this
    // thread alone uses the tables while the reference lives.
    let root = unsafe { &mut *root };
    // SAFETY: every table reached from `root` is a frame of the arena, which is mapped whole from
    // `window` on.
    let tables = unsafe { OffsetPageTable::new(root, offset) };
    Some(timed(pages, || {
        for n in 0..pages {
            let page = Page::<Size4KiB>::containing_address(VirtAddr::new(start + n * PAGE_SIZE));
            let _ = black_box(tables.translate_page(page));
        }
    }))
}
