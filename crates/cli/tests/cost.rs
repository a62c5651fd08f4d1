//! `gup explain --cost` and its what-ifs, as JSON and for a person. That the counts are the
//! kernel's is tested in `gup-conformance`, where a pin is made.

use gup_conformance::fixture::files;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::{Subject, Workshop};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GUP: &str = env!("CARGO_BIN_EXE_gup");

fn subject(kind: Kind) -> Subject {
    let dir = files::usable_dir().unwrap_or_else(|| PathBuf::from("/"));
    Workshop::new(Path::new(GUP), &dir).start(kind).expect("every machine has these")
}

fn explain(subject: &Subject, more: &[&str]) -> Output {
    let (pid, addr) = (subject.pid().to_string(), format!("{:#x}", subject.range().start));
    let ask = ["explain", "--pid", &pid, &addr, "4p", "--as", "io-uring-buffer"];
    Command::new(GUP).args(ask).args(more).output().expect("gup runs")
}

fn cost(subject: &Subject, more: &[&str]) -> Value {
    let output = explain(subject, &[&["--json", "--cost"], more].concat());
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    object["cost"].clone()
}

#[test]
fn untouched_memory_costs_a_fault_and_a_zeroed_page_each_and_touched_memory_neither() {
    for (kind, faults, zeroed, copied) in [
        (Kind::AnonRwFresh, 4, 16_384, 0),
        (Kind::AnonRwWritten, 0, 0, 0),
        (Kind::AnonRwOdd, 2, 8192, 0),
        (Kind::ForkParent, 4, 0, 16_384),
        (Kind::ThpWritten, 0, 0, 0),
    ] {
        let cost = cost(&subject(kind), &[]);
        assert_eq!(cost["faults"], faults, "{}", kind.name());
        assert_eq!(cost["zeroed_bytes"], zeroed, "{}", kind.name());
        assert_eq!(cost["copied_bytes"], copied, "{}", kind.name());
        assert_eq!((&cost["exact"], &cost["what_if"]), (&true.into(), &Value::Null));
        let total = &cost["time_ns"]["total"];
        let range = (total[0].as_u64(), total[1].as_u64());
        assert!(cost["time_ns"].is_null() || range.0 <= range.1 && range.1 > Some(0), "{cost}");
    }
}

#[test]
fn memory_made_otherwise_costs_otherwise() {
    let fresh = subject(Kind::AnonRwFresh);
    let key = |cost: &Value| {
        let of = |name: &str| cost["what_if"][name].as_u64().unwrap_or(u64::MAX);
        (of("faults"), of("zeroed_bytes"), of("huge_pages"), of("small_pages"))
    };
    assert_eq!(key(&cost(&fresh, &["--touched"])), (0, 0, 0, 4));
    assert_eq!(key(&cost(&fresh, &["--hugetlb"])), (1, 2 << 20, 1, 0));
    assert_eq!(key(&cost(&fresh, &["--hugetlb", "--touched"])), (0, 0, 1, 0));
    let huge = subject(Kind::ThpFresh);
    assert_eq!(key(&cost(&huge, &["--thp"])), (1, 2 << 20, 1, 0));
    assert_eq!(cost(&huge, &["--thp"])["what_if"]["thp"], true);
}

#[test]
fn a_person_reads_counts_runs_and_what_if() {
    let output = explain(&subject(Kind::AnonRwFresh), &["--cost", "--touched"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for words in [
        "4 pages of 4 KiB",
        "4 faults, 16 KiB zeroed",
        "runs of pages",
        "what if   it were touched",
    ] {
        assert!(text.contains(words), "{text:?} does not say {words:?}");
    }
    assert!(text.contains("no fault, nothing zeroed or copied"), "{text}");
    let alone = explain(&subject(Kind::AnonRwFresh), &["--touched"]);
    assert_eq!(alone.status.code(), Some(2), "what if asks about the cost");
}
