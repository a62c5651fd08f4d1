//! Two threads on disjoint halves of one address space, beside the floor loop in two threads.

use super::floor::Floor;
use super::measure::{Bench, none, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, GIB, Held, Present};
use gup::abi::v6_18::{pin_user_pages, pin_user_pages_fast};
use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::gup::Page;
use gup::linux::Linux;
use gup::mm::Lock;
use std::sync::Barrier;

const CALL: u64 = 512;
const AGAINST: &str = "what a second thread gains the floor loop";

const fn about(name: &'static str, what: &'static str) -> About {
    let aims = &[Aim::AtLeast(OverFloor, 0.9)];
    About { name, unit: "times as fast", what, against: AGAINST, asked: "", aims }
}

pub(super) static ROWS: [About; 2] = [
    about(
        "two-threads-pin-fast",
        "pin_user_pages_fast, 1 GiB, calls of 512 pages: 2 threads over 1",
    ),
    about("two-threads-pin-slow", "pin_user_pages, 1 GiB, calls of 512 pages: 2 threads over 1"),
];

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let [fast, slow] = &ROWS;
    let memory = Present::new(Linux::V6_18, GIB)?;
    let floor = Floor::new(GIB);
    let (mm, task) = (&memory.space.mm, &memory.space.task);
    let by_fast = |start: VirtAddr, out: &mut [Option<Page>]| {
        pin_user_pages_fast(task, mm, start.get(), 512, 0, out);
    };
    let by_slow = |start: VirtAddr, out: &mut [Option<Page>]| {
        pin_user_pages(task, &mut Lock::Read(mm.read()), start.get(), CALL, 0, Some(out));
    };
    let ways: [(_, &Call<'_>); 2] = [(fast, &by_fast), (slow, &by_slow)];
    for (about, call) in ways {
        bench.compare(
            about,
            &mut || {
                let memory = &memory;
                let gain = gain([0, 1].map(|half| move || calls(memory, half, call)));
                memory.give_back(Held::Pin, 2);
                Some(gain)
            },
            &mut || Some(gain(floor.halves())),
            &mut none,
        );
    }
    Ok(())
}

/// A call that fills the array from an address on.
type Call<'a> = dyn Fn(VirtAddr, &mut [Option<Page>]) + Sync + 'a;

/// Calls over one half of the memory.
fn calls(memory: &Present, half: u64, call: &Call<'_>) {
    let mut out: Vec<_> = (0..CALL).map(|_| None).collect();
    let first = half * (memory.pages / 2);
    for n in 0..memory.pages / 2 / CALL {
        call(memory.start.wrapping_add((first + n * CALL) * PAGE_SIZE), &mut out);
        std::hint::black_box(&mut out);
    }
}

/// How much faster both parts are done by two threads than by one: by the time that each thread
/// was on a processor, since on a busy machine they wait for one.
fn gain(parts: [impl Fn() + Send + Sync; 2]) -> f64 {
    let one = timed(1, || parts.iter().for_each(|part| part()));
    let gate = Barrier::new(2);
    let two = std::thread::scope(|scope| {
        let threads = parts.each_ref().map(|part| {
            let gate = &gate;
            scope.spawn(move || {
                gate.wait();
                timed(1, part)
            })
        });
        threads.into_iter().filter_map(|thread| thread.join().ok()).fold(0.0, f64::max)
    });
    one / two
}
