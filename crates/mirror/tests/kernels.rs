//! One situation, many kernels: what each of them answers, and the fact that it rests on.
//!
//! The windows are made by hand, so that every machine gives the same. A fact is a version, with
//! the change that came in it.

mod hand;

use gup::flags::Foll;
use gup::rule::c;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::explain_window;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::explain::verdict::Verdict;
use gup_mirror::kernel::changes::changes;
use gup_mirror::kernel::{Facts, Forced, parse};
use gup_mirror::range::ByteRange;
use gup_mirror::unseen::Unseen;
use gup_mirror::window::Window;
use hand::{START, situation};

/// A table: situation, who asks (flags joined by `+` are a bare call), kernel, answer, fact.
const GOLDEN: &str = include_str!("../../../docs/kernels.md");

/// One row of the table.
struct Row<'a> {
    situation: &'a str,
    asks: &'a str,
    version: &'a str,
    answer: &'a str,
    fact: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let lines = GOLDEN.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    // The first two lines are the table's head.
    lines
        .skip(2)
        .map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            let [situation, asks, version, answer, fact] = cells[..] else { panic!("{line}") };
            Row { situation, asks, version, answer, fact }
        })
        .collect()
}

fn ask(asks: &str) -> Ask {
    if let Some(consumer) = Consumer::from_name(asks) {
        return Ask::Consumer(consumer);
    }
    let flag = |name| Foll::from_name(name).expect("a flag");
    Ask::Flags(asks.split('+').map(flag).fold(Foll::empty(), Foll::union))
}

fn request(window: &Window, asks: &str) -> Request {
    let range = ByteRange::new(START, (window.pages.len() as u64) << 12).expect("a range");
    Request { ask: ask(asks), range }
}

fn at(situation: &str, version: &str) -> Window {
    let kernel = Facts::released(parse(version).expect("a version"));
    Window { kernel, ..crate::situation(situation) }
}

/// A verdict in a few words.
fn words(verdict: &Verdict) -> String {
    if verdict.unseen.contains(&Unseen::OtherKernel) {
        return "unknown".into();
    }
    let Some(stop) = &verdict.stop else {
        let actions: Vec<_> = verdict.segments.iter().map(|part| part.action.name()).collect();
        return format!("ok {}", actions.first().copied().unwrap_or("?"));
    };
    match verdict.call {
        Some(call) if call.errno.is_none() => format!("{} {}", call.ret, stop.rule),
        Some(call) => format!("{} {}", call.errno.unwrap_or(stop.errno), stop.rule),
        None => format!("{} {}", stop.errno, stop.rule),
    }
}

#[test]
fn each_kernel_answers_each_situation_as_its_changes_say() {
    let rows = rows();
    assert!(rows.len() >= 40);
    let mut wrong = Vec::new();
    for row in &rows {
        assert!(!row.fact.is_empty(), "a row without a fact");
        let window = at(row.situation, row.version);
        let verdict = explain_window(&window, &request(&window, row.asks)).expect("small");
        let got = words(&verdict);
        if got != row.answer {
            let Row { situation, asks, version, answer, .. } = row;
            wrong.push(format!("{situation}, {asks}, {version}: {got}, not {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_rule_that_changed_is_named_with_what_it_does_to_this_range() {
    let (taken, refused) = ("it works, 1 page taken as they are", "EFAULT at page 0");
    let copied = "it works, 1 page copied first";
    let grown = "it works, 1 page added by growing the stack";
    let table = [
        ("shared-file", "rdma", "5.15", "C-32", refused, taken),
        ("forked", "process_vm_readv", "5.15", "C-43", copied, taken),
        ("below-stack", "process_vm_readv", "5.15", "A-07", grown, refused),
        ("memfd", "io-uring-buffer", "5.4", "C-106", "EOPNOTSUPP at page 0", taken),
        ("hugetlb-ro", "proc-mem-write", "6.12", "C-22", "EIO at page 0", taken),
        ("own", "madvise-populate-read", "5.10", "C-109", "EINVAL at page 0", "the call is there"),
    ];
    for (situation, asks, version, rule, with, without) in table {
        let window = at(situation, version);
        let now = Facts::released(parse("6.18").expect("a version"));
        let found = changes(&window, &request(&window, asks), &now).expect("small");
        let change = found.iter().find(|change| change.rule.to_string() == rule);
        let change = change.unwrap_or_else(|| panic!("{situation} {asks}: {found:?}"));
        assert_eq!((change.with.as_str(), change.without.as_str()), (with, without), "{rule}");
    }
}

#[test]
fn rules_that_make_no_difference_here_are_not_named() {
    for (situation, asks, version) in [
        ("own", "process_vm_readv", "4.4"),
        ("read-only", "process_vm_writev", "4.19"),
        ("shared-file", "rdma", "6.8"),
        ("hole", "process_vm_readv", "5.15"),
    ] {
        let window = at(situation, version);
        let now = Facts::released(parse("6.18").expect("a version"));
        let found = changes(&window, &request(&window, asks), &now).expect("small");
        assert_eq!(found, [], "{situation}, {asks}, {version}");
    }
}

#[test]
fn a_rule_that_was_carried_back_counts() {
    let mut window = at("shared-file", "5.14");
    let asks = request(&window, "rdma");
    assert!(explain_window(&window, &asks).expect("small").is_fine());
    window.kernel.kernel.as_mut().expect("a kernel").otherwise.push(c::C_32);
    assert_eq!(words(&explain_window(&window, &asks).expect("small")), "EFAULT C-32");
}

#[test]
fn what_was_seen_on_a_kernel_is_there_whatever_its_version_says() {
    let mut window = at("guard", "6.6");
    assert_eq!(words(&explain_window(&window, &request(&window, "vmsplice")).unwrap()), "unknown");
    window.kernel.seen_on = true;
    let seen = explain_window(&window, &request(&window, "vmsplice")).expect("small");
    assert_eq!(words(&seen), "EFAULT C-63");
}

#[test]
fn a_kernel_that_forces_nothing_refuses_a_forced_write() {
    let mut window = at("read-only", "6.18");
    window.kernel.forced = Forced::No;
    let write = explain_window(&window, &request(&window, "proc-mem-write")).expect("small");
    assert_eq!(words(&write), "EIO C-33");
    let poke = explain_window(&window, &request(&window, "ptrace-poke")).expect("small");
    assert!(poke.is_fine(), "ptrace is not asked");
}

#[test]
fn kernels_from_6_18_on_answer_as_if_none_had_been_named() {
    for row in rows() {
        let named = at(row.situation, "7.0");
        let unnamed = Window { kernel: Facts::default(), ..named.clone() };
        let asks = request(&named, row.asks);
        let answer = |window: &Window| words(&explain_window(window, &asks).expect("small"));
        assert_eq!(answer(&named), answer(&unnamed), "{} {}", row.situation, row.asks);
    }
}
