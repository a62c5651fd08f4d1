//! What fork does to pins, against the frames of a process that forks and of its child.

use crate::chance::Chance;
use crate::{Check, START, cannot_ask, frames, puppet, tell, with_look};
use gup::errno::Errno;
use gup::linux::Version;
use gup_conformance::puppet::Puppet;
use gup_mirror::answer::fork::{Child, Fork, Held, Parent, fork};
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::look::Look;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::kernel::Facts;
use gup_mirror::proc::hugepages::HugePages;
use gup_mirror::proc::maps;
use gup_mirror::process::Process;
use gup_mirror::range::{ByteRange, PAGE};
use std::time::Duration;

/// The checks of this file.
pub(crate) const CHECKS: &[Check] = &[
    ("frames after a fork are as predicted, with and without MADV_DONTFORK", random_forks),
    ("a page in a pipe is left by the parent's next store", in_a_pipe),
    ("fork copies a pinned page of the pool, and fails where none is free", pages_of_the_pool),
    ("a kernel before 5.9 leaves pins behind", before_pins_were_copied),
    ("a buffer that shares its pages is flagged", a_buffer_that_shares_its_pages),
];

const MIB: u64 = 1 << 20;
const MADV_DONTFORK: u64 = 10;
const MADV_WIPEONFORK: u64 = 18;
/// Bytes of memory that a puppet maps here.
const ALL: u64 = 6 * MIB;

fn predicted(puppet: &Puppet, consumer: Consumer, range: (u64, u64)) -> Fork {
    with_look(puppet, consumer, &[range], |look| fork(look).expect("an answer"))
}

/// Memory of four kinds, some of it touched, some of it kept from children.
fn furnish(puppet: &mut Puppet, chance: &mut Chance) {
    let at = |mib: u64| START + mib * MIB;
    let lines = format!(
        "map {:x} 400000 anon\nmap {:x} 100000 memfd-shared\nmap {:x} 100000 memfd",
        at(0),
        at(4),
        at(5)
    );
    tell(puppet, &lines);
    if chance.once_in(2) {
        tell(puppet, &format!("advise {:x} 200000 e", at(0)));
    }
    for _ in 0..chance.below(6) {
        let first = chance.below(ALL / PAGE - 64);
        let verb = if chance.once_in(3) { "load" } else { "store" };
        tell(puppet, &format!("{verb} {:x} {:x}", START + first * PAGE, chance.below(64) * PAGE));
    }
    for (advice, end) in [(MADV_DONTFORK, ALL), (MADV_WIPEONFORK, 4 * MIB)] {
        if chance.once_in(2) {
            let first = chance.below(end / PAGE - 64);
            let len = (1 + chance.below(63)) * PAGE;
            tell(puppet, &format!("advise {:x} {len:x} {advice:x}", START + first * PAGE));
        }
    }
}

fn random_forks() {
    let mut chance = Chance::new(0x1234_5678_9abc_def1);
    let (mut copies, mut kept, mut gone) = (0, 0, 0);
    for set in 0..60 {
        let mut puppet = puppet();
        furnish(&mut puppet, &mut chance);
        let start = START + chance.below(ALL - MIB);
        let range = (start, 1 + chance.below(MIB / 2));
        let pins = !chance.once_in(4);
        let consumer = if pins { Consumer::IoUringBuffer } else { Consumer::ProcessVmWritev };
        if !pins {
            // What the call would bring is there already, since nobody makes it.
            tell(&mut puppet, &format!("store {:x} {:x}", range.0, range.1 + PAGE));
        }
        let said = predicted(&puppet, consumer, range);
        if pins {
            tell(&mut puppet, &format!("ring 4\nregister 0 {:x} {:x}", range.0, range.1));
        }
        assert_eq!(said.held == Held::Pins, pins, "set {set}");
        if !agrees(&mut puppet, &said, range, pins, set) {
            return cannot_ask("frame numbers are hidden (needs CAP_SYS_ADMIN)");
        }
        copies += said.pages(Child::Copy);
        kept += said.segments.iter().filter(|s| s.parent == Parent::Keeps).count();
        gone += said.pages(Child::Unmapped) + said.pages(Child::Wiped);
    }
    println!("  {copies} pages copied at once, {gone} not copied");
    assert!(copies > 0 && kept > 0 && gone > 0, "each is met");
}

/// Whether the frames of parent and child could be seen; they are as `said`.
fn agrees(puppet: &mut Puppet, said: &Fork, range: (u64, u64), pins: bool, set: u64) -> bool {
    let first = range.0 & !(PAGE - 1);
    let pages = (range.0 + range.1 - first).div_ceil(PAGE);
    let blocks = (first & !(2 * MIB - 1), (first + pages * PAGE).next_multiple_of(2 * MIB));
    let block_pages = (blocks.1 - blocks.0) / PAGE;
    let pid = puppet.pid();
    let Some(before) = frames(pid, first, pages) else { return false };
    let Some(before_all) = frames(pid, blocks.0, block_pages) else { return false };
    let child = u32::try_from(puppet.tell("fork").expect("a child")).expect("a pid");
    let Some(theirs) = frames(child, first, pages) else { return false };
    let Some(theirs_all) = frames(child, blocks.0, block_pages) else { return false };
    let process = Process::open(child).expect("the child lives");
    let areas = maps::all(&process).expect("its areas");
    tell(puppet, &format!("store {first:x} {:x}", pages * PAGE));
    let Some(after) = frames(pid, first, pages) else { return false };
    let segments = said.segments.iter().flat_map(|s| std::iter::repeat_n(s, s.pages as usize));
    for (page, segment) in segments.enumerate() {
        let addr = first + page as u64 * PAGE;
        let (p0, c, p1) = (before[page], theirs[page], after[page]);
        let mapped = areas.iter().any(|area| area.contains(addr));
        let child = match segment.child {
            Child::Unmapped => !mapped,
            Child::Wiped | Child::Nothing => mapped && c.is_none(),
            Child::Shared => mapped && (c.is_none() || c == p0),
            Child::UntilWrite => c.is_some() && c == p0,
            Child::Copy => c.is_some() && c != p0,
        };
        assert!(child, "set {set}, page {page} at {addr:#x}: {segment:?}, {p0:x?} {c:x?}");
        let parent = match segment.parent {
            Parent::Keeps => p0 == p1,
            Parent::Leaves => p0 != p1,
            Parent::HoldsNone => !pins,
        };
        assert!(parent, "set {set}, page {page} at {addr:#x}: {segment:?}, {p0:x?} {p1:x?}");
    }
    let copied = |(p0, c): &(&Option<u64>, &Option<u64>)| c.is_some() && p0 != c;
    let copied = before_all.iter().zip(&theirs_all).filter(copied).count() as u64;
    assert_eq!(said.copied, copied * PAGE, "set {set}: bytes copied at once: {said:#?}");
    tell(puppet, "reap");
    true
}

fn in_a_pipe() {
    let mut puppet = puppet();
    tell(&mut puppet, &format!("map {START:x} 10000 anon\nstore {START:x} 4000"));
    let said = predicted(&puppet, Consumer::Vmsplice, (START, 0x4000));
    assert_eq!((said.held, said.diverging()), (Held::References, 4), "{said:#?}");
    tell(&mut puppet, &format!("vmsplice {START:x} 4000"));
    let Some(before) = frames(puppet.pid(), START, 4) else {
        return cannot_ask("frame numbers are hidden (needs CAP_SYS_ADMIN)");
    };
    tell(&mut puppet, &format!("fork\nstore {START:x} 4000"));
    let after = frames(puppet.pid(), START, 4).expect("they were shown before");
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "all four moved");
    tell(&mut puppet, "reap");
}

fn pages_of_the_pool() {
    const HUGE: u64 = 2 * MIB;
    let free = HugePages::now().free;
    if free < 2 {
        return cannot_ask("two free pages in the pool (vm.nr_hugepages)");
    }
    // The first time all are taken but one, the second time all.
    for pages in [free - 1, free] {
        // A ring that ends gives its pages back a moment later.
        for _ in 0..500 {
            if HugePages::now().free < free {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let mut puppet = puppet();
        let all = pages * HUGE;
        tell(&mut puppet, &format!("map {START:x} {all:x} hugetlb\nstore {START:x} {all:x}"));
        let said = predicted(&puppet, Consumer::IoUringBuffer, (START, HUGE));
        tell(&mut puppet, &format!("ring 1\nregister 0 {START:x} {HUGE:x}"));
        let asked = puppet.tell("fork").err().map(|errno| Errno::from_raw(errno.raw_os_error()));
        assert_eq!(said.errno, asked, "{pages} of {free} taken: {said:#?}");
        let copied = if asked.is_some() { 0 } else { HUGE };
        assert_eq!((asked.is_some(), said.copied), (pages == free, copied), "{said:#?}");
        tell(&mut puppet, "reap");
    }
}

/// Said only: this kernel copies.
fn before_pins_were_copied() {
    let mut puppet = puppet();
    tell(&mut puppet, &format!("map {START:x} 10000 anon\nstore {START:x} 4000"));
    let process = Process::open(puppet.pid()).expect("it lives");
    let range = ByteRange::new(START, 0x4000).expect("a range");
    let request = Request { ask: Ask::Consumer(Consumer::IoUringBuffer), range };
    for (kernel, diverging) in [(Version(5, 4), 4), (Version(5, 9), 0), (Version(6, 18), 0)] {
        let look = Look::under(&process, request, &Facts::released(kernel)).expect("a look");
        assert_eq!(fork(&look).expect("an answer").diverging(), diverging, "{kernel}");
    }
}

/// open-mpi's thread 1363: memory that is kept from children takes unrelated bytes with it.
fn a_buffer_that_shares_its_pages() {
    let mut puppet = puppet();
    tell(&mut puppet, &format!("map {START:x} 10000 anon\nstore {START:x} 10000"));
    let range = (START + 0x1340, 0x2000);
    let sides = |said: &Fork| -> Vec<(u64, u64, bool)> {
        said.neighbours.iter().map(|n| (n.start, n.len, n.lost)).collect()
    };
    let said = predicted(&puppet, Consumer::Rdma, range);
    assert_eq!(
        sides(&said),
        [(START + 0x1000, 0x340, false), (START + 0x3340, 0xcc0, false)],
        "both ends are inside a page"
    );
    tell(&mut puppet, &format!("advise {:x} 3000 {MADV_DONTFORK:x}", START + 0x1000));
    let said = predicted(&puppet, Consumer::Rdma, range);
    assert!(said.neighbours.iter().all(|neighbour| neighbour.lost), "{said:#?}");
    assert_eq!(said.pages(Child::Unmapped), 3);
    let aligned = predicted(&puppet, Consumer::Rdma, (START, 0x1000));
    assert_eq!(sides(&aligned), [], "whole pages share with nobody");
}
