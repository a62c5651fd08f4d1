//! Present 4 KiB pages through GUP-fast: much and little memory, long and short calls.

use super::floor::{Floor, GRAB};
use super::kernel::{OwnMapping, Pipe, Ring};
use super::measure::{Bench, none, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, GIB, Held, MIB, Present};
use gup::abi::v6_18::{get_user_pages_fast, pin_user_pages_fast};
use gup::linux::Linux;

const VMSPLICE: &str = "vmsplice, which gets 16 pages a call, pipe included";
const MEMPOLICY: &str = "get_mempolicy of each address, system call included";
const REGISTER: &str = "io_uring buffer registration (long-term, for writing), its array included";

const fn about(
    name: &'static str,
    what: &'static str,
    asked: &'static str,
    aims: &'static [Aim],
) -> About {
    About { name, unit: "ns/page", what, against: GRAB, asked, aims }
}

const LONG: &[Aim] = &[Aim::AtMost(OverFloor, 1.8)];
const SHORT: &[Aim] = &[Aim::AtMost(OverFloor, 6.0)];

pub(super) static ROWS: [About; 8] = [
    about("gup-fast-4k", "get_user_pages_fast, 1 GiB, calls of 512 pages", VMSPLICE, LONG),
    about("gup-fast-4k-one", "get_user_pages_fast, 1 GiB, calls of 1 page", MEMPOLICY, SHORT),
    about("gup-fast-4k-1m", "get_user_pages_fast, 1 MiB, calls of 256 pages", VMSPLICE, LONG),
    about("gup-fast-4k-1m-one", "get_user_pages_fast, 1 MiB, calls of 1 page", MEMPOLICY, SHORT),
    about("pin-fast-4k", "pin_user_pages_fast, 1 GiB, calls of 512 pages", REGISTER, LONG),
    about("pin-fast-4k-one", "pin_user_pages_fast, 1 GiB, calls of 1 page", "", SHORT),
    about("pin-fast-4k-1m", "pin_user_pages_fast, 1 MiB, calls of 256 pages", REGISTER, LONG),
    about("pin-fast-4k-1m-one", "pin_user_pages_fast, 1 MiB, calls of 1 page", "", SHORT),
];

/// Passes over 1 MiB in a round.
const PASSES: u64 = 256;

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let [get, get_one, get_little, get_little_one, pin, pin_one, pin_little, pin_little_one] =
        &ROWS;
    let much = [
        (get, Held::Reference, 512),
        (get_one, Held::Reference, 1),
        (pin, Held::Pin, 512),
        (pin_one, Held::Pin, 1),
    ];
    let little = [
        (get_little, Held::Reference, 256),
        (get_little_one, Held::Reference, 1),
        (pin_little, Held::Pin, 256),
        (pin_little_one, Held::Pin, 1),
    ];
    memory(bench, &much, GIB, 1)?;
    memory(bench, &little, MIB, PASSES)
}

/// A row, what its calls obtain, and how many pages each.
type Calls = (&'static About, Held, u64);

fn memory(
    bench: &mut Bench<'_>,
    rows: &[Calls],
    pages: u64,
    passes: u64,
) -> Result<(), CannotBench> {
    if !rows.iter().any(|(about, ..)| bench.wants(about)) {
        return Ok(());
    }
    let memory = Present::new(Linux::V6_18, pages)?;
    let mut floor = Floor::new(pages);
    let own = OwnMapping::present(pages);
    let (pipe, ring) = (Pipe::new(), Ring::new());
    for &(about, held, each) in rows {
        bench.compare(
            about,
            &mut || {
                let ns = engine(&memory, held, each, passes);
                memory.give_back(held, passes);
                ns
            },
            &mut || {
                Some(timed(pages * passes, || {
                    for _ in 0..passes {
                        floor.grab_all();
                    }
                }))
            },
            &mut || match (held, each) {
                (Held::Reference, 1) => own.as_ref()?.look_up(),
                (Held::Reference, _) => pipe.as_ref()?.splice(own.as_ref()?),
                (Held::Pin, 1) => none(),
                (Held::Pin, _) => ring.as_ref()?.register(own.as_ref()?, each as usize),
            },
        );
    }
    Ok(())
}

fn engine(memory: &Present, held: Held, each: u64, passes: u64) -> Option<f64> {
    let (task, mm) = (&memory.space.task, &*memory.space.mm);
    let nr_pages = i32::try_from(each).unwrap_or(i32::MAX);
    match held {
        Held::Reference => memory.calls(each, passes, |start, out| {
            get_user_pages_fast(task, mm, start.get(), nr_pages, 0, out).into()
        }),
        Held::Pin => memory.calls(each, passes, |start, out| {
            pin_user_pages_fast(task, mm, start.get(), nr_pages, 0, out).into()
        }),
    }
}
