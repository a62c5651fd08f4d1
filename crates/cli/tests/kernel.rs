//! `gup explain --kernel`, run as a person runs it: other kernels' answers, what changed, and texts
//! that are no version.

use gup_conformance::fixture::files::usable_dir;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::{Subject, Workshop};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

const GUP: &str = env!("CARGO_BIN_EXE_gup");

/// A process with a shared writable file on a file system that tracks dirty pages.
fn shared_file() -> Option<Subject> {
    let dir = usable_dir()?;
    match Workshop::new(Path::new(GUP), &dir).start(Kind::FshRwRead) {
        Ok(subject) => Some(subject),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
            None
        }
    }
}

fn explain(subject: &Subject, args: &[&str]) -> Output {
    let (pid, start) = (subject.pid().to_string(), format!("{:#x}", subject.range().start));
    let ask = ["explain", "--pid", &pid, &start, "4p"];
    Command::new(GUP).args(ask).args(args).output().expect("gup runs")
}

fn object(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON object: {said}"))
}

/// tt-kmd#39: a driver that pins for long and for writing.
const LONG: [&str; 2] = ["--foll", "WRITE|PIN|LONGTERM"];

#[test]
fn a_long_pin_of_a_shared_file_works_on_5_15_and_not_on_6_8() {
    let Some(subject) = shared_file() else { return };
    let on = |version| {
        object(&explain(&subject, &[&LONG[..], &["--kernel", version, "--json"]].concat()))
    };
    let old = on("5.15");
    assert!(old["stop"].is_null() && old["ret"] == 4, "{old}");
    assert_eq!(old["rules"], "5.15");
    let changed = old["changed"].as_array().expect("a list");
    let refusal = changed.iter().find(|change| change["rule"] == "C-32").expect("C-32 changed");
    assert_eq!((&refusal["since"], &refusal["until"]), (&"6.5".into(), &Value::Null));
    assert_eq!(refusal["with"], "EFAULT at page 0");
    let new = on("6.8");
    assert_eq!((&new["errno"], &new["stop"]["rule"]), (&"EFAULT".into(), &"C-32".into()), "{new}");
    let why = new["stop"]["why"].as_str().expect("a sentence");
    assert!(why.contains("long-term write pin of a shared file"), "{why}");
}

#[test]
fn a_person_is_told_since_when_and_what_it_does_here() {
    let Some(subject) = shared_file() else { return };
    let output = explain(&subject, &[&LONG[..], &["--kernel", "v5.15.0-91-generic"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    for words in ["Linux 5.15", "would work", "since 6.5", "C-32", "with it EFAULT at page 0"] {
        assert!(text.contains(words), "{text} does not say {words}");
    }
}

#[test]
fn without_another_kernel_nothing_has_changed() {
    let Some(subject) = shared_file() else { return };
    let now = object(&explain(&subject, &["--as", "process_vm_readv", "--json"]));
    assert!(now.get("changed").is_none() && now["rules"] == now["kernel"], "{now}");
    assert_eq!(now["raced"], false, "a process that waits does not change");
}

#[test]
fn what_is_no_version_is_bad_usage() {
    let Some(subject) = shared_file() else { return };
    for version in ["5", "5.x", "latest", "2.6", "3.10", "99.1", ""] {
        let output = explain(&subject, &["--as", "rdma", "--kernel", version]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{version:?}: {said}");
        assert!(said.contains("--kernel"), "{said}");
    }
}
