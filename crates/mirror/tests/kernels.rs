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

/// Situation, who asks (flags joined by `+` are a bare call), kernel, answer, fact.
const GOLDEN: &str = "
shared-file      | rdma                  | 4.4  | ok take            | before 6.5 nobody asks what stands behind a long-term pin
shared-file      | rdma                  | 4.19 | ok take            | 4.15 refuses long-term pins of fsdax only (2bb6d2837083)
shared-file      | rdma                  | 5.4  | ok take            | 5.2 makes FOLL_LONGTERM a flag (932f4a630a69); files still pass
shared-file      | rdma                  | 5.15 | ok take            | before 6.5
shared-file      | rdma                  | 6.1  | ok take            | before 6.5 (6.1.192 has no writable_file_mapping_allowed)
shared-file      | rdma                  | 6.5  | EFAULT C-32        | 6.5: refused in the fast walk (a6e79df92e4a) and the slow one (8ac268436e6d)
shared-file      | rdma                  | 6.8  | EFAULT C-32        | since 6.5
shared-file      | rdma                  | 6.12 | EFAULT C-32        | since 6.5
shared-file      | rdma                  | 6.18 | EFAULT C-32        | since 6.5, measured
shared-file      | vfio                  | 6.1  | ok take            | before 6.5
shared-file      | vfio                  | 6.8  | EFAULT C-32        | since 6.5
shared-file      | PIN+WRITE+LONGTERM    | 5.15 | ok take            | tt-kmd#39: works on 5.15
shared-file      | PIN+WRITE+LONGTERM    | 6.8  | EFAULT C-32        | tt-kmd#39: EFAULT on 6.8, since 6.5
shared-file      | io-uring-buffer       | 4.19 | ENOSYS C-109       | io_uring came in 5.1
shared-file      | io-uring-buffer       | 5.4  | EOPNOTSUPP C-105   | io_uring refuses files itself, from 5.1
shared-file      | io-uring-buffer       | 5.15 | EOPNOTSUPP C-105   | until 6.5
shared-file      | io-uring-buffer       | 6.1  | EOPNOTSUPP C-105   | until 6.5 (6.1.192 io_pin_pages)
shared-file      | io-uring-buffer       | 6.5  | EFAULT C-32        | 6.5 leaves it to GUP (34ed8d0dcd69)
shared-file      | io-uring-buffer       | 6.18 | EFAULT C-32        | since 6.5, measured
shared-file      | xdp-umem              | 4.4  | E? C-109           | AF_XDP came in 4.18; before, EAFNOSUPPORT
shared-file      | xdp-umem              | 5.10 | ok take            | before 6.5
shared-file      | xdp-umem              | 6.8  | EFAULT C-32        | since 6.5
shared-file      | process_vm_writev     | 4.4  | ok take            | not long-term
shared-file      | process_vm_writev     | 6.18 | ok take            | not long-term, measured
shared-file-ro   | rdma-readonly         | 5.15 | EFAULT C-33        | before 6.2 registered by force for writing, which a shared mapping refuses
shared-file-ro   | rdma-readonly         | 6.1  | EFAULT C-33        | before 6.2 (6.1.192 ib_umem_get)
shared-file-ro   | rdma-readonly         | 6.5  | ok take            | 6.2 drops FOLL_FORCE there (b40656aa70fe)
private-file     | io-uring-buffer       | 5.15 | EOPNOTSUPP C-105   | io_uring looks at vm_file, private or not
private-file     | io-uring-buffer       | 6.5  | ok copy            | a private copy is pinned
private-file     | rdma-readonly         | 4.19 | ok copy            | a forced write breaks copy-on-write
private-file     | rdma-readonly         | 6.1  | ok copy            | likewise, until 6.2
private-file     | rdma-readonly         | 6.5  | ok copy            | 6.2: a long-term read pin unshares (84209e87c696)
private-file     | PIN+LONGTERM          | 5.15 | ok take            | before 6.2 the page-cache page itself is pinned
private-file     | PIN+LONGTERM          | 6.1  | ok take            | before 6.2 (6.1.192 gup_must_unshare looks at anonymous pages only)
private-file     | PIN+LONGTERM          | 6.5  | ok copy            | since 6.2
private-file     | vmsplice              | 5.8  | ok copy            | 5.8: a read get breaks copy-on-write (17839856fd58)
private-file     | vmsplice              | 5.10 | ok take            | gone in 5.9 (a308c71bf1e6)
memfd            | io-uring-buffer       | 5.4  | EOPNOTSUPP C-106   | shared memory has a file too
memfd            | io-uring-buffer       | 5.10 | EOPNOTSUPP C-106   | until 5.14
memfd            | io-uring-buffer       | 5.15 | ok take            | 5.14 lets shared memory pass
memfd            | io-uring-buffer       | 6.18 | ok take            | measured
memfd            | rdma                  | 4.4  | ok take            | shared memory never tracked dirty pages
forked           | process_vm_readv      | 4.4  | ok take            | before 5.19 a read takes what is shared
forked           | process_vm_readv      | 5.4  | ok take            | before 5.19
forked           | process_vm_readv      | 5.8  | ok copy            | 5.8 only (17839856fd58)
forked           | process_vm_readv      | 5.10 | ok take            | before 5.19
forked           | process_vm_readv      | 5.15 | ok take            | before 5.19
forked           | process_vm_readv      | 6.1  | ok copy            | 5.19: a read pin unshares (a7f226604170)
forked           | process_vm_readv      | 6.18 | ok copy            | since 5.19, measured
forked           | o-direct-write        | 5.15 | ok take            | before 5.19
forked           | o-direct-write        | 6.1  | ok take            | direct I/O gets, until 6.5 (6.1.192 bio_iov_iter_get_pages)
forked           | o-direct-write        | 6.5  | ok copy            | 6.5 pins (a7e689dd1c06)
forked           | o-direct-write        | 6.18 | ok copy            | measured
forked           | vmsplice              | 6.18 | ok take            | a get unshares nothing, measured
forked           | process_vm_writev     | 4.19 | ok copy            | a write always breaks copy-on-write
zero             | PIN+LONGTERM          | 6.1  | ok take            | before 6.2 the zero page itself is pinned
zero             | PIN+LONGTERM          | 6.8  | ok copy            | since 6.2
zero             | process_vm_readv      | 4.4  | ok take            | a short read has the zero page
hugetlb-ro       | proc-mem-write        | 4.19 | ok take            | before 6.1 allowed, and the entry became writable (A-80)
hugetlb-ro       | proc-mem-write        | 5.15 | ok take            | before 6.1
hugetlb-ro       | proc-mem-write        | 6.1  | EIO C-22           | 6.1 refuses FORCE with WRITE on hugetlb (f347454d0341)
hugetlb-ro       | proc-mem-write        | 6.12 | EIO C-22           | 6.12.117 still does
hugetlb-ro       | proc-mem-write        | 6.18 | ok take            | 6.17 allows it again, measured
secret           | process_vm_readv      | 5.10 | unknown            | memfd_secret came in 5.14
secret           | process_vm_readv      | 5.15 | EFAULT C-31        | since 5.14 (1507f51255c9)
secret           | process_vm_readv      | 6.18 | EFAULT C-31        | measured
below-stack      | process_vm_readv      | 4.4  | ok grow            | before 6.5 any lookup grows a stack
below-stack      | process_vm_readv      | 5.15 | ok grow            | before 6.5
below-stack      | process_vm_readv      | 6.1  | ok grow            | before 6.5 (stable kernels carry c2508ec5a58d back)
below-stack      | process_vm_readv      | 6.5  | EFAULT C-15        | 6.5: no growth in GUP (c2508ec5a58d)
below-stack      | process_vm_readv      | 6.18 | EFAULT C-15        | measured
below-stack      | proc-mem-read         | 4.4  | ok grow            | by the lookup
below-stack      | proc-mem-read         | 6.18 | ok grow            | by access_remote_vm itself, measured
file-title       | proc-cmdline          | 4.4  | ok take            | before 4.17 files are read too
file-title       | proc-cmdline          | 4.19 | 0 C-28             | 4.17: FOLL_ANON (7f7ccc2ccc2e)
own              | madvise-populate-read | 5.4  | EINVAL C-109       | MADV_POPULATE came in 5.14
own              | madvise-populate-read | 5.10 | EINVAL C-109       | MADV_POPULATE came in 5.14
own              | madvise-populate-read | 5.15 | ok take            | 5.14 (4ca9b3859dac)
own              | io-uring-pbuf         | 5.15 | EINVAL C-109       | provided-buffer rings came in 5.19
own              | io-uring-pbuf         | 6.1  | ok take            | 5.19 (c7fb19428d67)
own              | mlock-onfault         | 4.4  | ok take            | mlock2 came in 4.4
guard            | process_vm_readv      | 6.12 | unknown            | guard regions came in 6.13
guard            | process_vm_readv      | 6.18 | EFAULT C-63        | measured
read-only        | process_vm_writev     | 4.4  | EFAULT C-33        | as ever
read-only        | process_vm_writev     | 6.18 | EFAULT C-33        | as ever, measured
read-only        | ptrace-poke           | 4.4  | ok take            | by force, through a copy of its own (FOLL_COW from 4.9 on)
read-only        | ptrace-poke           | 5.15 | ok take            | by force, FOLL_COW
read-only        | ptrace-poke           | 6.18 | ok take            | by force, on an exclusive page (5535be309971 in 6.0), measured
hole             | io-uring-buffer       | 5.15 | EFAULT C-16        | nothing is mapped
hole             | process_vm_readv      | 4.4  | EFAULT C-16        | nothing is mapped
";

/// One row of the table.
struct Row<'a> {
    situation: &'a str,
    asks: &'a str,
    version: &'a str,
    answer: &'a str,
    fact: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let lines = GOLDEN.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
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
    let table = [
        (
            "shared-file",
            "rdma",
            "5.15",
            "C-32",
            "EFAULT at page 0",
            "it works, 1 page taken as they are",
        ),
        (
            "forked",
            "process_vm_readv",
            "5.15",
            "C-43",
            "it works, 1 page copied first",
            "it works, 1 page taken as they are",
        ),
        (
            "below-stack",
            "process_vm_readv",
            "5.15",
            "A-07",
            "it works, 1 page added by growing the stack",
            "EFAULT at page 0",
        ),
        (
            "memfd",
            "io-uring-buffer",
            "5.4",
            "C-106",
            "EOPNOTSUPP at page 0",
            "it works, 1 page taken as they are",
        ),
        (
            "hugetlb-ro",
            "proc-mem-write",
            "6.12",
            "C-22",
            "EIO at page 0",
            "it works, 1 page taken as they are",
        ),
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
