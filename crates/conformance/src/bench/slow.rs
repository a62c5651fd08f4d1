//! Present 4 KiB pages through the slow path, in calls of 512 pages.

use super::measure::{About, Row, compare, timed};
use super::oracle::{Floor, OwnMapping};
use super::space::{CannotBench, Space};
use gup::abi::{self, flags};
use gup::addr::VirtAddr;
use gup::gup::{Entry, Locked, Page};
use gup::linux::Linux;
use gup::mm::Lock;
use rustix::mm::Advice;

const MIB: u64 = 256;
const CALL: u64 = 512;

pub(super) fn rows(rounds: usize) -> Result<Vec<Row>, CannotBench> {
    Ok(vec![get(rounds)?, pin(rounds)?])
}

const FLOOR: &str = "read an entry, locked add on metadata, store a frame number";

/// v4.4's `__get_user_pages`, as `get_user_pages` calls it.
fn get(rounds: usize) -> Result<Row, CannotBench> {
    let about = About { name: "gup-slow-4k", unit: "ns/page", against: FLOOR, aim: Some(3.0) };
    measure(about, rounds, Linux::V4_4, |space, start, pages| {
        let foll = flags::FOLL_GET | flags::FOLL_TOUCH;
        let mut lock = Lock::Read(space.mm.read());
        let task = &space.task;
        let start = start.get();
        abi::__get_user_pages(task, None, &mut lock, start, CALL, foll, Some(pages), None, None)
    })
}

/// 6.18's `pin_user_pages`.
fn pin(rounds: usize) -> Result<Row, CannotBench> {
    let about = About { name: "pin-slow-4k", unit: "ns/page", against: FLOOR, aim: None };
    measure(about, rounds, Linux::V6_18, |space, start, pages| {
        let mut lock = Lock::Read(space.mm.read());
        let (entry, foll) = (Entry::Pin, gup::flags::Foll::empty());
        let task = &space.task;
        gup::gup::gup(entry, task, &mut lock, start, CALL, foll, Some(pages), Locked::Null).code()
    })
}

fn measure(
    about: About,
    rounds: usize,
    linux: Linux,
    mut call: impl FnMut(&Space, VirtAddr, &mut [Option<Page>]) -> i64,
) -> Result<Row, CannotBench> {
    // Half of the frames are data; the rest leaves room for tables.
    let pages = MIB << 7;
    let space = Space::new(linux, MIB)?;
    let start = space.map(pages)?;
    space.touch(start, pages);
    let mut floor = Floor::new(pages);
    let own = present(usize::try_from(pages << 12).unwrap_or(0));
    let mut out: Vec<Option<Page>> = (0..pages).map(|_| None).collect();
    let row = compare(
        about,
        rounds,
        &mut || {
            let ns = timed(pages, || {
                for (n, chunk) in out.chunks_mut(512).enumerate() {
                    call(&space, start.wrapping_add((n as u64 * CALL) << 12), chunk);
                }
            });
            give_back(&space, linux, &mut out);
            Some(ns)
        },
        &mut || Some(timed(pages, || floor.grab_all())),
        &mut || own.as_ref().and_then(|own| populate_present(own, pages)),
    );
    Ok(row)
}

fn give_back(space: &Space, linux: Linux, out: &mut [Option<Page>]) {
    for page in out.iter_mut().filter_map(Option::take) {
        match linux {
            Linux::V4_4 => abi::put_page(&space.machine, page),
            Linux::V6_18 => space.machine.unpin_pages(page.pfn(), 1),
        }
    }
}

/// A mapping of this process with every page present.
fn present(bytes: usize) -> Option<OwnMapping> {
    let own = OwnMapping::new(bytes)?;
    own.advise(0, bytes, Advice::LinuxPopulateWrite).then_some(own)
}

/// The kernel's slow path over present pages, without handing them out.
fn populate_present(own: &OwnMapping, pages: u64) -> Option<f64> {
    let calls = usize::try_from(pages / CALL).unwrap_or(0);
    let mut all = true;
    let ns = timed(pages, || {
        for n in 0..calls {
            all &= own.advise(n << 21, 1 << 21, Advice::LinuxPopulateRead);
        }
    });
    all.then_some(ns)
}
