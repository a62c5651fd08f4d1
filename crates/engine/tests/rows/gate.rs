//! Rows A-60 … A-65: the gate area, which is the vsyscall page.

use crate::support::{Call, FRAMES, TestHost, World, page, row_in, rw};
use gup::abi::flags::{FOLL_DUMP, FOLL_FORCE, FOLL_GET, FOLL_TOUCH, FOLL_WRITE};
use gup::addr::{Pfn, VirtAddr};
use gup::errno::Errno;
use gup::frame::FrameFlags;
use gup::linux::Linux;
use gup::mm::{Machine, MachineConfig, Vsyscall};
use gup::pgtable::{Entry, Perms};
use gup::rule::{Rule, a};
use gup::vma::VmaId;

const EFAULT: i64 = Errno::EFAULT.negated();
const GATE: VirtAddr = Machine::<TestHost>::gate_address();

fn machine(vsyscall: Vsyscall) -> World {
    let mut config = MachineConfig::new(Linux::V4_4, FRAMES);
    config.sysctl.vsyscall = vsyscall;
    World::with(config)
}

/// A test of `rule` on a machine with a readable gate page; it is given the page's frame.
#[track_caller]
fn gate_row(rule: Rule, body: impl FnOnce(&World, Pfn)) {
    row_in(rule, machine(Vsyscall::Read), |w| body(w, w.machine.gate_entry().pfn()));
}

fn refs(w: &World, pfn: Pfn) -> u32 {
    w.machine.frames().refs(pfn)
}

#[test]
fn a_60_the_gate_is_never_written_not_even_by_force() {
    gate_row(a::A_60, |w, pfn| {
        for foll in [FOLL_WRITE, FOLL_WRITE | FOLL_FORCE] {
            assert_eq!(w.gup(FOLL_GET | foll, GATE, 1).ret, EFAULT, "{foll:#x}");
        }
        assert_eq!(refs(w, pfn), 1, "no reference was taken");
        assert!(w.seen(a::A_61).is_none(), "nothing was walked");
    });
}

#[test]
fn a_61_a_gate_without_an_entry_is_refused() {
    row_in(a::A_61, machine(Vsyscall::ExecuteOnly), |w| {
        assert_eq!(w.gup(FOLL_GET, GATE, 1).ret, EFAULT);
        w.area(0, 1, rw());
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1, "ordinary areas are not concerned");
    });
}

#[test]
fn a_62_without_pages_the_gate_counts_untouched_and_names_its_area() {
    gate_row(a::A_62, |w, pfn| {
        let call = Call { start: GATE, flags: 0, pages: false, vmas: true, ..Call::default() };
        let answer = w.call(call);
        assert_eq!((answer.ret, answer.vmas), (1, vec![Some(VmaId::GATE)]));
        assert_eq!(refs(w, pfn), 1);
    });
}

#[test]
fn a_63_the_gate_page_is_referenced_without_regard_to_foll_get() {
    gate_row(a::A_63, |w, pfn| {
        let unasked = w.call(Call { start: GATE, flags: 0, ..Call::default() });
        assert_eq!((unasked.ret, unasked.pages), (1, vec![Some(pfn)]));
        assert_eq!(refs(w, pfn), 2, "a reference, though FOLL_GET is not set");
        w.put_all();
        assert_eq!(*w.host().bugs.lock().unwrap(), [a::A_02], "pages without FOLL_GET");
        let gate = w.machine.gate_entry();
        let special = Perms { special: true, ..Perms::default() };
        w.machine.set_gate_entry(Entry::leaf(w.machine.zero_page(), special, 0));
        assert_eq!(w.gup(FOLL_GET, GATE, 1).pages, [Some(w.machine.zero_page())]);
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, GATE, 1).ret, EFAULT, "a dump has no zero pages");
        w.machine.set_gate_entry(Entry::leaf(Pfn::new(FRAMES + 7), special, 0));
        assert_eq!(w.gup(FOLL_GET, GATE, 1).ret, EFAULT, "a bare frame is not accepted");
        w.machine.set_gate_entry(gate);
    });
}

#[test]
fn a_64_the_gate_page_is_not_checked_flushed_or_touched() {
    gate_row(a::A_64, |w, pfn| {
        assert_eq!(w.gup(FOLL_GET | FOLL_TOUCH, GATE, 1).ret, 1);
        assert!(w.host().flushed.lock().unwrap().is_empty());
        assert!(!w.machine.frames().has(pfn, FrameFlags::REFERENCED));
        for rule in [a::A_30, a::A_35, a::A_36, a::A_121] {
            assert!(w.seen(rule).is_none(), "{rule}");
        }
    });
}

#[test]
fn a_65_the_gate_is_the_one_vsyscall_page_unless_it_is_switched_off() {
    gate_row(a::A_65, |w, pfn| {
        assert_eq!(w.gup(FOLL_GET, GATE, 1).pages, [Some(pfn)]);
        assert_eq!(w.gup(FOLL_GET, GATE.wrapping_add(4095), 1).pages, [Some(pfn)]);
        assert_eq!(w.gup(FOLL_GET, GATE, 2).ret, 1, "one page");
        assert_eq!(w.gup(FOLL_GET, GATE.wrapping_add(4096), 1).ret, EFAULT);
        assert_eq!(w.gup(FOLL_GET, GATE.wrapping_sub(1), 1).ret, EFAULT);
    });
    let without = machine(Vsyscall::None);
    assert_eq!(without.gup(FOLL_GET, GATE, 1).ret, EFAULT);
    assert!(without.seen(a::A_65).is_none());
    without.end();
}
