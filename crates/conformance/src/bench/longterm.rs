//! Long-term pins of present 4 KiB pages on the slow path, beside `io_uring`'s registration.

use super::floor::{Floor, GRAB};
use super::kernel::{OwnMapping, Ring};
use super::measure::{Bench, timed};
use super::report::{About, Aim, Figure::KernelOver, Figure::OverFloor};
use super::space::{CannotBench, GIB, Held, Present};
use gup::flags::Foll;
use gup::gup::{Entry, Locked, gup};
use gup::linux::Linux;
use gup::mm::Lock;

const CALL: u64 = 512;

pub(super) static ROWS: [About; 1] = [About {
    name: "pin-longterm-4k",
    unit: "ns/page",
    what: "6.18's pin_user_pages (WRITE, LONGTERM), 1 GiB, calls of 512 pages",
    against: GRAB,
    asked: "io_uring registration of buffers of 512 pages, which takes the fast path first",
    aims: &[Aim::AtMost(OverFloor, 3.0), Aim::AtLeast(KernelOver, 4.0)],
}];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let memory = Present::new(Linux::V6_18, GIB)?;
    let mut floor = Floor::new(GIB);
    let own = OwnMapping::present(GIB / 8);
    let ring = Ring::new();
    let (task, mm) = (&memory.space.task, &memory.space.mm);
    let foll = Foll::WRITE | Foll::LONGTERM;
    bench.compare(
        &ROWS[0],
        &mut || {
            let ns = memory.calls(CALL, 1, |start, out| {
                let mut lock = Lock::Read(mm.read());
                gup(Entry::Pin, task, &mut lock, start, CALL, foll, Some(out), Locked::Null).code()
            });
            memory.give_back(Held::Pin, 1);
            ns
        },
        &mut || Some(timed(GIB, || floor.grab_all())),
        &mut || ring.as_ref()?.register(own.as_ref()?, usize::try_from(CALL).ok()?),
    );
    Ok(())
}
