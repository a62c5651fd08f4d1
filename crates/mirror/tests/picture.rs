//! Pictures of large address spaces: this process's own, with a tebibyte reserved and with tens of
//! thousands of areas.

use gup_mirror::consumer::Consumer;
use gup_mirror::explain::request::Ask;
use gup_mirror::picture::fate::Fate;
use gup_mirror::picture::{Picture, Region};
use gup_mirror::process::Process;
use gup_mirror::window::PageState;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use std::io::Write as _;

const PAGE: usize = 4096;

/// New private memory; `None` where the machine has no room for it.
fn reserve(len: usize) -> Option<u64> {
    let (prot, flags) =
        (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: a new mapping where the kernel likes; nothing else knows of it.
    let start =
        unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, prot, flags) }.ok()?;
    // SAFETY: advice about the new mapping: small pages, so that they can be counted.
    let small = unsafe { rustix::mm::madvise(start, len, Advice::LinuxNoHugepage) };
    small.ok().map(|()| start.expose_provenance() as u64)
}

fn at(addr: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(usize::try_from(addr).unwrap_or(0))
}

fn picture() -> Picture {
    let process = Process::open(std::process::id()).expect("ourselves");
    Picture::read(&process, Some(Ask::Consumer(Consumer::IoUringBuffer))).expect("readable")
}

fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}

/// Pages of a region that are not absent.
fn there(region: &Region) -> u64 {
    let there = region.kinds.iter().filter(|kind| kind.look.state != PageState::Absent);
    there.map(|kind| kind.pages).sum()
}

#[test]
fn of_a_reserved_tebibyte_every_touched_page_is_counted_and_little_is_kept() {
    const TOUCHED: u64 = 5_000;
    let Some(start) = reserve(1 << 40) else {
        return cannot_ask("a tebibyte cannot be reserved (vm.overcommit_memory)");
    };
    let pages = 1_u64 << 28;
    for n in 0..TOUCHED {
        // Now and then a neighbour, mostly far away.
        let page = n * (pages / TOUCHED) - n % 3;
        // SAFETY: inside the new mapping.
        unsafe { at(start + page * PAGE as u64).write_volatile(1) };
    }
    let picture = picture();
    let region = picture.regions.iter().find(|region| region.place.area.contains(start)).unwrap();
    assert!(region.pages() >= pages);
    assert_eq!(region.kinds.iter().map(|kind| kind.pages).sum::<u64>(), region.pages());
    assert_eq!(region.runs.iter().map(|run| run.pages).sum::<u64>(), region.pages());
    assert!(there(region) >= TOUCHED && there(region) < TOUCHED + 4096, "{}", there(region));
    assert!(region.runs.len() < 10_000, "{} runs", region.runs.len());
    // SAFETY: the mapping of this test, which nothing else knows of.
    unsafe { rustix::mm::munmap(at(start).cast(), 1 << 40) }.expect("unmapped");
}

#[test]
fn of_tens_of_thousands_of_areas_each_has_its_fate() {
    const AREAS: usize = 30_000;
    let Some(start) = reserve(AREAS * PAGE) else { return cannot_ask("no room for the areas") };
    for n in (0..AREAS).step_by(2) {
        let page = at(start + (n * PAGE) as u64).cast();
        // SAFETY: a page of the new mapping; nothing is stored there.
        if unsafe { rustix::mm::mprotect(page, PAGE, MprotectFlags::READ) }.is_err() {
            return cannot_ask("no more areas are allowed (vm.max_map_count)");
        }
    }
    let picture = picture();
    let end = start + (AREAS * PAGE) as u64;
    let inside =
        |region: &&Region| region.place.area.start >= start && region.place.area.end <= end;
    let mut seen = 0;
    // The outermost areas may be one with their neighbours.
    for region in picture.regions.iter().filter(inside) {
        let writable = region.place.area.perms.write();
        let refused = matches!(region.kinds[0].fate, Some(Fate::Refused { .. }));
        assert_eq!(refused, !writable, "{}", region.place.area);
        seen += 1;
    }
    assert!(seen >= AREAS - 2, "{seen} areas");
    // SAFETY: the mapping of this test, which nothing else knows of.
    unsafe { rustix::mm::munmap(at(start).cast(), AREAS * PAGE) }.expect("unmapped");
}
