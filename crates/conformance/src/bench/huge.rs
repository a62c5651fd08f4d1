//! Present 2 MiB folios through GUP-fast: as an array of their pages, and as runs.

use super::floor::{Floor, GRAB};
use super::measure::{Bench, none, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, GIB, Held, Host, Present};
use gup::abi::v6_18::pin_user_pages_fast;
use gup::addr::PAGE_SIZE;
use gup::gup::{PinnedRuns, Read, Term};

/// Pages in a folio.
const FOLIO: u64 = 512;

const fn about(
    name: &'static str,
    unit: &'static str,
    what: &'static str,
    aims: &'static [Aim],
) -> About {
    About { name, unit, what, against: GRAB, asked: "", aims }
}

pub(super) static ROWS: [About; 3] = [
    about(
        "pin-fast-2m",
        "ns/page",
        "pin_user_pages_fast of 2 MiB folios mapped whole, 1 GiB, calls of 512 pages: per subpage",
        &[Aim::AtMost(OverFloor, 0.15)],
    ),
    about(
        "pin-fast-2m-runs",
        "ns/folio",
        "Mm::pin_runs of the same, in one call: per folio",
        &[Aim::AtMost(OverFloor, 20.0)],
    ),
    about(
        "pin-fast-2m-runs-one",
        "ns/folio",
        "Mm::pin_runs of the same, a folio a call: per folio",
        &[Aim::AtMost(OverFloor, 20.0)],
    ),
];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let [array, runs, runs_one] = &ROWS;
    let memory = Present::huge(GIB)?;
    let mut floor = Floor::new(GIB);
    let (task, mm) = (&memory.space.task, &*memory.space.mm);
    bench.compare(
        array,
        &mut || {
            let ns = memory.calls(FOLIO, 1, |start, out| {
                pin_user_pages_fast(task, mm, start.get(), 512, 0, out).into()
            });
            memory.give_back(Held::Pin, 1);
            ns
        },
        &mut || Some(timed(GIB, || floor.grab_all())),
        &mut none,
    );
    let mut floor = Floor::of_folios(GIB / FOLIO, FOLIO);
    for (about, each) in [(runs, GIB), (runs_one, FOLIO)] {
        bench.compare(
            about,
            &mut || {
                let mut held: Vec<PinnedRuns<Host, Read>> = Vec::with_capacity(512);
                let ns = timed(GIB / FOLIO, || {
                    for n in 0..GIB / each {
                        let start = memory.start.wrapping_add(n * each * PAGE_SIZE);
                        held.extend(mm.pin_runs::<Read>(task, start, each, Term::Short));
                    }
                });
                let pages: u64 = held.iter().map(PinnedRuns::pages).sum();
                (pages == GIB).then_some(ns)
            },
            &mut || Some(timed(GIB / FOLIO, || floor.grab_all())),
            &mut none,
        );
    }
    Ok(())
}
