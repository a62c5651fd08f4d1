//! Giving pages back: references one by one, pins in arrays.

use super::floor::{Floor, RELEASE};
use super::kernel::{OwnMapping, Ring};
use super::measure::{Bench, none, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, GIB, Present};
use gup::abi::put_page;
use gup::abi::v6_18::{get_user_pages_fast, pin_user_pages_fast, unpin_user_pages};
use gup::gup::Page;
use gup::linux::Linux;

const CALL: usize = 512;

pub(super) static ROWS: [About; 2] = [
    About {
        name: "put-4k",
        unit: "ns/page",
        what: "put_page of each of 1 GiB of pages",
        against: RELEASE,
        asked: "",
        aims: &[Aim::AtMost(OverFloor, 1.3)],
    },
    About {
        name: "unpin-4k",
        unit: "ns/page",
        what: "unpin_user_pages, 1 GiB, arrays of 512 pages",
        against: RELEASE,
        asked: "io_uring taking back a buffer of 512 pages",
        aims: &[Aim::AtMost(OverFloor, 1.8)],
    },
];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let [put, unpin] = &ROWS;
    let memory = Present::new(Linux::V6_18, GIB)?;
    let mut floor = Floor::new(GIB);
    let machine = &memory.space.machine;
    bench.compare(
        put,
        &mut || {
            let mut pages = obtained(&memory, get_user_pages_fast)?;
            Some(timed(GIB, || {
                for page in pages.iter_mut().filter_map(Option::take) {
                    put_page(machine, page);
                }
            }))
        },
        &mut || Some(released(&mut floor)),
        &mut none,
    );
    let own = OwnMapping::present(GIB / 8);
    let ring = Ring::new();
    bench.compare(
        unpin,
        &mut || {
            let mut pages = obtained(&memory, pin_user_pages_fast)?;
            Some(timed(GIB, || {
                for pages in pages.chunks_mut(CALL) {
                    unpin_user_pages(machine, pages);
                }
            }))
        },
        &mut || Some(released(&mut floor)),
        &mut || ring.as_ref()?.unregister(own.as_ref()?, CALL),
    );
    Ok(())
}

fn released(floor: &mut Floor) -> f64 {
    floor.grab_all();
    timed(GIB, || floor.release_all())
}

/// Every page of `memory`, through a fast function.
fn obtained(
    memory: &Present,
    call: impl Fn(
        &gup::task::Task,
        &gup::mm::Mm<super::space::Host>,
        u64,
        i32,
        u32,
        &mut [Option<Page>],
    ) -> i32,
) -> Option<Vec<Option<Page>>> {
    let mut pages: Vec<Option<Page>> = (0..memory.pages).map(|_| None).collect();
    let nr_pages = i32::try_from(memory.pages).ok()?;
    let (task, mm) = (&memory.space.task, &*memory.space.mm);
    let got = call(task, mm, memory.start.get(), nr_pages, 0, &mut pages);
    (got == nr_pages).then_some(pages)
}
