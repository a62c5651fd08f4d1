//! Verdicts on windows made by hand: no process, no kernel, every machine the same.

use gup::errno::Errno;
use gup::flags::Foll;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::action::Action;
use gup_mirror::explain::explain_window;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::explain::verdict::Verdict;
use gup_mirror::kernel::Facts;
use gup_mirror::proc::backing::Backing;
use gup_mirror::proc::limits::LockRights;
use gup_mirror::proc::maps::Area;
use gup_mirror::proc::vmflags::VmFlagNames;
use gup_mirror::range::ByteRange;
use gup_mirror::unseen::Unseen;
use gup_mirror::window::{Page, PageState, Place, Window};
use std::collections::BTreeSet;

const START: u64 = 0x2000_0000_0000;

/// Private anonymous areas, each `(first page, pages, VmFlags)`, and the states of the pages from
/// the start.
fn window(areas: &[(u64, u64, &str)], states: &[PageState]) -> Window {
    let place = |&(first, pages, flags): &(u64, u64, &str)| {
        let start = START + (first << 12);
        let line = format!("{start:x}-{:x} rw-p 0 00:00 0", start + (pages << 12));
        let mut area = Area::parse(&line).expect("a line of maps");
        area.flags = Some(VmFlagNames::parse(flags));
        Place { area, backing: Backing::Anonymous }
    };
    let page = |&state: &PageState| Page {
        state,
        huge: false,
        userfault_wp: false,
        pfn: None,
        mapcount: None,
        hwpoison: None,
    };
    Window {
        start: START,
        places: areas.iter().map(place).collect(),
        pages: states.iter().map(page).collect(),
        last_byte: None,
        userfault: None,
        rights: LockRights::FREE,
        huge_pages: gup_mirror::proc::hugepages::HugePages::default(),
        core_filter: gup_mirror::world::dumped::DEFAULT,
        kernel: Facts::default(),
        unseen: BTreeSet::new(),
        raced: false,
    }
}

fn ask(window: &Window, ask: Ask) -> Verdict {
    let range = ByteRange::new(START, (window.pages.len() as u64) << 12).expect("a range");
    explain_window(window, &Request { ask, range }).expect("the mirror is small")
}

fn verdict(window: &Window, consumer: Consumer) -> Verdict {
    ask(window, Ask::Consumer(consumer))
}

fn actions(verdict: &Verdict) -> Vec<(u64, Action)> {
    verdict.segments.iter().map(|segment| (segment.pages, segment.action)).collect()
}

const RW: &str = "rd wr mr mw me ac";
const RO: &str = "rd mr mw me ac";
const MINE: PageState = PageState::AnonExclusive;
const NONE: PageState = PageState::Absent;

#[test]
fn a_hole_ends_a_remote_read_with_the_bytes_before_it() {
    let window = window(&[(0, 2, RW), (3, 1, RW)], &[MINE, MINE, NONE, MINE]);
    let verdict = verdict(&window, Consumer::ProcessVmReadv);
    let call = verdict.call.expect("a system call");
    assert_eq!((call.ret, call.errno), (8192, None));
    assert_eq!(verdict.gup, Ok(2));
    let stop = verdict.stop.as_ref().expect("the hole");
    assert_eq!((stop.index, stop.addr, stop.errno), (2, START + 0x2000, Errno::EFAULT));
    assert_eq!(stop.rule.to_string(), "C-16");
    assert!(stop.place.is_none());
    assert_eq!(actions(&verdict), [(2, Action::Take)]);
}

#[test]
fn the_same_hole_is_all_or_nothing_for_a_ring_and_enomem_for_populate() {
    let window = window(&[(0, 2, RW), (3, 1, RW)], &[MINE, MINE, NONE, MINE]);
    for (consumer, errno) in [
        (Consumer::IoUringBuffer, Errno::EFAULT),
        (Consumer::ODirectWrite, Errno::EFAULT),
        (Consumer::XdpUmem, Errno::ENOMEM),
        (Consumer::MadvisePopulateRead, Errno::ENOMEM),
    ] {
        let verdict = verdict(&window, consumer);
        let call = verdict.call.expect("a system call");
        assert_eq!((call.ret, call.errno), (-1, Some(errno)), "{}", consumer.name());
        assert_eq!(verdict.stop.expect("the hole").index, 2, "{}", consumer.name());
    }
}

#[test]
fn untouched_memory_is_mapped_to_the_zero_page_for_a_read_and_made_for_a_write() {
    let window = window(&[(0, 2, RW)], &[NONE, MINE]);
    let read = verdict(&window, Consumer::ProcessVmReadv);
    assert_eq!(actions(&read), [(1, Action::MapZero), (1, Action::Take)]);
    let write = verdict(&window, Consumer::ProcessVmWritev);
    assert_eq!(actions(&write), [(1, Action::Allocate), (1, Action::Take)]);
    assert!(read.is_fine() && write.is_fine());
}

#[test]
fn a_page_shared_since_fork_is_copied_for_a_pin_and_not_for_a_get() {
    let window = window(&[(0, 1, RW)], &[PageState::AnonShared]);
    assert_eq!(actions(&verdict(&window, Consumer::ODirectWrite)), [(1, Action::Copy)]);
    assert_eq!(actions(&verdict(&window, Consumer::Vmsplice)), [(1, Action::Take)]);
}

#[test]
fn a_page_mapped_once_is_taken_either_way_and_nothing_is_unknown() {
    let window = window(&[(0, 1, RW)], &[PageState::AnonOnce]);
    for consumer in [Consumer::Vmsplice, Consumer::ODirectWrite, Consumer::ProcessVmWritev] {
        let verdict = verdict(&window, consumer);
        assert_eq!(actions(&verdict), [(1, Action::Take)], "{}", consumer.name());
        assert_eq!(verdict.unseen, Vec::<Unseen>::new(), "{}", consumer.name());
    }
}

#[test]
fn force_writes_to_private_read_only_memory_and_plain_writes_do_not() {
    let window = window(&[(0, 1, RO)], &[MINE]);
    assert!(verdict(&window, Consumer::PtracePoke).is_fine());
    let plain = verdict(&window, Consumer::ProcessVmWritev);
    assert_eq!(plain.stop.expect("refused").rule.to_string(), "C-33");
    let forced = ask(&window, Ask::Flags(Foll::WRITE | Foll::FORCE | Foll::GET));
    assert!(forced.is_fine() && forced.call.is_none());
}

#[test]
fn a_call_per_page_goes_on_after_a_page_that_fails() {
    let window = window(&[(0, 2, RW), (3, 1, RW)], &[MINE, MINE, NONE, MINE]);
    let verdict = verdict(&window, Consumer::PtracePeek);
    let call = verdict.call.expect("a system call");
    assert_eq!((call.ret, call.errno, call.mask), (3, Some(Errno::EIO), 0b1011));
    assert_eq!(verdict.stop.expect("the first").index, 2);
}

#[test]
fn a_swapped_page_is_read_first_and_then_taken() {
    let window = window(&[(0, 2, RW)], &[PageState::Swap, PageState::Swap]);
    for consumer in [Consumer::ProcessVmReadv, Consumer::IoUringBuffer, Consumer::Mlock] {
        let verdict = verdict(&window, consumer);
        assert!(verdict.is_fine(), "{}", consumer.name());
        assert_eq!(actions(&verdict), [(2, Action::SwapIn)], "{}", consumer.name());
    }
}

#[test]
fn a_guard_region_stops_what_faults_there() {
    let window = window(&[(0, 2, RW)], &[MINE, PageState::Guard]);
    let verdict = verdict(&window, Consumer::ProcessVmReadv);
    assert_eq!(verdict.gup, Ok(1));
    assert_eq!(verdict.stop.expect("the guard").index, 1);
}

#[test]
fn a_range_that_begins_inside_a_page_counts_its_own_bytes() {
    let window = window(&[(0, 2, RW)], &[MINE, MINE]);
    let range = ByteRange::new(START + 0x800, 0x1000).expect("a range");
    let request = Request { ask: Ask::Consumer(Consumer::ProcessVmReadv), range };
    let verdict = explain_window(&window, &request).expect("the mirror is small");
    assert_eq!((verdict.nr_pages, verdict.call.expect("a call").ret), (2, 0x1000));
}

#[test]
fn mlock_needs_room_under_its_limit_unless_the_process_is_privileged() {
    let mut window = window(&[(0, 2, RW)], &[MINE, NONE]);
    assert!(verdict(&window, Consumer::Mlock).is_fine());
    window.rights = LockRights { memlock: Some(4096), ipc_lock: false, locked_pages: 0 };
    let refused = verdict(&window, Consumer::Mlock);
    assert_eq!(refused.call.expect("a call").errno, Some(Errno::ENOMEM));
    window.rights.ipc_lock = true;
    assert!(verdict(&window, Consumer::Mlock).is_fine());
}

#[test]
fn access_from_outside_grows_a_stack_and_nobody_else_does() {
    let window = window(&[(2, 1, "rd wr mr mw me gd ac")], &[NONE, NONE, MINE]);
    let debugger = verdict(&window, Consumer::ProcMemRead);
    assert!(debugger.is_fine());
    assert_eq!(actions(&debugger), [(2, Action::Grow), (1, Action::Take)]);
    let remote = verdict(&window, Consumer::ProcessVmReadv);
    assert_eq!(remote.stop.expect("below the stack").rule.to_string(), "C-15");
}

#[test]
fn a_call_that_is_not_well_formed_is_told_what_it_asks_for() {
    let window = window(&[(0, 2, RW)], &[MINE, MINE]);
    let range = ByteRange::new(START + 8, 4096).expect("a range");
    let ask = Ask::Consumer(Consumer::MadvisePopulateRead);
    let verdict = explain_window(&window, &Request { ask, range }).expect("the mirror is small");
    let stop = verdict.stop.expect("EINVAL");
    assert_eq!((stop.index, stop.errno), (0, Errno::EINVAL));
    assert_eq!(stop.fault, Some("the address is to be the first of a page"));
}
