//! Present 4 KiB pages through the slow path: long and short calls.

use super::floor::{Floor, GRAB};
use super::kernel::OwnMapping;
use super::measure::{Bench, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, GIB, Held, Present};
use gup::abi::v6_18::pin_user_pages;
use gup::abi::{__get_user_pages, flags};
use gup::linux::Linux;
use gup::mm::Lock;

const fn about(
    name: &'static str,
    what: &'static str,
    asked: &'static str,
    aims: &'static [Aim],
) -> About {
    About { name, unit: "ns/page", what, against: GRAB, asked, aims }
}

const POPULATE: &str = "MADV_POPULATE_READ over present pages, which hands no pages out";
const ONE_BYTE: &str =
    "process_vm_readv of a byte of each page, 512 a system call, which gives the page back";
const LONG: &[Aim] = &[Aim::AtMost(OverFloor, 2.7)];
const SHORT: &[Aim] = &[Aim::AtMost(OverFloor, 10.0)];

pub(super) static ROWS: [About; 4] = [
    about(
        "gup-slow-4k",
        "v4.4's __get_user_pages (FOLL_GET, FOLL_TOUCH), 1 GiB, calls of 512 pages",
        POPULATE,
        LONG,
    ),
    about(
        "gup-slow-4k-one",
        "v4.4's __get_user_pages (FOLL_GET, FOLL_TOUCH), 1 GiB, calls of 1 page",
        POPULATE,
        SHORT,
    ),
    about("pin-slow-4k", "6.18's pin_user_pages, 1 GiB, calls of 512 pages", POPULATE, LONG),
    about("pin-slow-4k-one", "6.18's pin_user_pages, 1 GiB, calls of 1 page", ONE_BYTE, SHORT),
];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let [get, get_one, pin, pin_one] = &ROWS;
    let own = OwnMapping::present(GIB / 8);
    let mut floor = Floor::new(GIB);
    let mut populate = |each| own.as_ref().and_then(|own| own.populate(each));
    let mut bytes = |_| own.as_ref().and_then(OwnMapping::read_bytes);
    let mut both = |bench: &mut Bench<'_>, rows: [(&'static About, u64); 2], held| {
        if !rows.iter().any(|(about, _)| bench.wants(about)) {
            return Ok(());
        }
        let memory = Present::new(linux_of(held), GIB)?;
        for (about, each) in rows {
            let kernel: &mut dyn FnMut(usize) -> Option<f64> =
                if (held, each) == (Held::Pin, 1) { &mut bytes } else { &mut populate };
            bench.compare(
                about,
                &mut || {
                    let ns = engine(&memory, held, each);
                    memory.give_back(held, 1);
                    ns
                },
                &mut || Some(timed(GIB, || floor.grab_all())),
                &mut || kernel(usize::try_from(each).ok()?),
            );
        }
        Ok(())
    };
    both(bench, [(get, 512), (get_one, 1)], Held::Reference)?;
    both(bench, [(pin, 512), (pin_one, 1)], Held::Pin)
}

/// v4.4 has no pins.
const fn linux_of(held: Held) -> Linux {
    match held {
        Held::Reference => Linux::V4_4,
        Held::Pin => Linux::V6_18,
    }
}

fn engine(memory: &Present, held: Held, each: u64) -> Option<f64> {
    let (task, mm) = (&memory.space.task, &memory.space.mm);
    match held {
        Held::Reference => memory.calls(each, 1, |start, out| {
            let (foll, start) = (flags::FOLL_GET | flags::FOLL_TOUCH, start.get());
            let mut lock = Lock::Read(mm.read());
            __get_user_pages(task, None, &mut lock, start, each, foll, Some(out), None, None)
        }),
        Held::Pin => memory.calls(each, 1, |start, out| {
            let mut lock = Lock::Read(mm.read());
            pin_user_pages(task, &mut lock, start.get(), each, 0, Some(out))
        }),
    }
}
