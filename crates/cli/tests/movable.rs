//! `gup explain --movable`: on this machine, and on the same process in a machine whose zones lie
//! elsewhere, by a bundle.

use gup_conformance::fixture::files;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::{Subject, Workshop};
use gup_mirror::bundle::{self, Bundle};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const GUP: &str = env!("CARGO_BIN_EXE_gup");

fn subject(kind: Kind) -> Option<Subject> {
    let dir = files::usable_dir().unwrap_or_else(|| PathBuf::from("/"));
    match Workshop::new(Path::new(GUP), &dir).start(kind) {
        Ok(subject) => Some(subject),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "cannot ask: {}: {why}", kind.name());
            None
        }
    }
}

/// The field `movable` for the range of `subject`, in `bundle` if there is one.
fn movable(subject: &Subject, consumer: &str, bundle: Option<&Path>) -> Value {
    let range = subject.range();
    let (addr, len) = (format!("{:#x}", range.start), format!("{}p", range.pages()));
    let mut gup = Command::new(GUP);
    gup.args(["explain", &addr, &len, "--as", consumer, "--movable", "--json"]);
    match bundle {
        Some(file) => gup.arg("--bundle").arg(file),
        None => gup.arg("--pid").arg(subject.pid().to_string()),
    };
    let output = gup.output().expect("gup runs");
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    object["movable"].clone()
}

/// The process in a machine that was changed by `change`.
fn elsewhere(subject: &Subject, consumer: &str, change: impl FnOnce(&mut Bundle)) -> Option<Value> {
    let name = format!("gup-movable-{}-{}.jsonl", std::process::id(), subject.pid());
    let file = std::env::temp_dir().join(name);
    let pid = subject.pid().to_string();
    let collected = Command::new(GUP).args(["collect", "--pid", &pid, "-o"]).arg(&file).output();
    assert!(collected.expect("gup runs").status.success());
    let mut bundle = bundle::read(&file).expect("a bundle");
    if bundle.runs.iter().all(|run| run.flags.is_none()) {
        let _ = writeln!(std::io::stderr(), "cannot ask: frame numbers cannot be seen");
        return None;
    }
    change(&mut bundle);
    bundle::write(&bundle, &file).expect("written again");
    let answer = movable(subject, consumer, Some(&file));
    let _ = std::fs::remove_file(&file);
    Some(answer)
}

/// All memory in the movable zone, as zoneinfo has it.
fn all_movable(bundle: &mut Bundle) {
    let text = "Node 0, zone   Normal\n        spanned  0\n  start_pfn:           0\n\
                Node 0, zone  Movable\n        spanned  1099511627776\n  start_pfn:           0\n";
    bundle.files.insert("/proc/zoneinfo".to_owned(), text.to_owned());
}

fn set(bundle: &mut Bundle, name: &str, text: &str) {
    bundle.files.insert(name.to_owned(), text.to_owned());
}

#[test]
fn a_machine_without_movable_memory_moves_nothing() {
    let Some(subject) = subject(Kind::AnonRwWritten) else { return };
    let zones = std::fs::read_to_string("/proc/zoneinfo").unwrap_or_default();
    let answer = movable(&subject, "io-uring-buffer", None);
    assert_eq!(answer["longterm"], true);
    let pages = &answer["pages"];
    let seen = pages["unknown"] == 0;
    if seen && !zones.contains("Movable\n  pages free     1") {
        assert_eq!(pages["ordinary"].as_u64().unwrap() + pages["movable"].as_u64().unwrap(), 4);
        assert_eq!(answer["moved_pages"], pages["movable"]);
    }
    let short = movable(&subject, "o-direct-read", None);
    assert_eq!((&short["longterm"], &short["moved_pages"]), (&false.into(), &0.into()));
}

#[test]
fn every_page_in_movable_memory_that_stays_is_moved_and_what_is_made_or_copied_is_not() {
    for (kind, consumer, pages, folios, because) in [
        (Kind::AnonRwWritten, "io-uring-buffer", 4, 4, "its own pages"),
        (Kind::AnonRwOdd, "io-uring-buffer", 2, 2, "two are there, two are made elsewhere"),
        (Kind::AnonRwFresh, "io-uring-buffer", 0, 0, "all are made elsewhere"),
        (Kind::AnonRwZero, "io-uring-buffer", 0, 0, "the zero page is replaced"),
        (Kind::AnonRwWritten, "o-direct-read", 0, 0, "no long-term pin"),
        (Kind::ForkParent, "io-uring-buffer", 0, 0, "shared since fork: copied elsewhere"),
        (Kind::ThpWritten, "io-uring-buffer", 512, 1, "a huge page moves whole"),
        (Kind::ShanonWritten, "rdma", 4, 4, "shared memory moves with its file"),
    ] {
        let Some(subject) = subject(kind) else { continue };
        let Some(answer) = elsewhere(&subject, consumer, all_movable) else { return };
        let moved = (&answer["moved_pages"], &answer["moved_folios"]);
        assert_eq!(moved, (&pages.into(), &folios.into()), "{}: {because}", kind.name());
        assert!(answer["fails"].is_null(), "{}", kind.name());
    }
}

#[test]
fn cma_is_known_from_debugfs_only_and_its_scratch_memory_is_warned_of() {
    let Some(subject) = subject(Kind::AnonRwWritten) else { return };
    let consumer = "io-uring-buffer";
    let meminfo =
        |total, free| format!("MemFree: 9 kB\nCmaTotal: {total} kB\nCmaFree: {free} kB\n");
    let listed = elsewhere(&subject, consumer, |bundle| {
        set(bundle, "cma", "0 1099511627776\n");
        set(bundle, "/proc/meminfo", &meminfo(1 << 20, 1 << 19));
    });
    let Some(listed) = listed else { return };
    assert_eq!((&listed["pages"]["cma"], &listed["moved_pages"]), (&4.into(), &4.into()));
    assert_eq!(listed["warnings"], serde_json::json!(["little-free"]));
    let unlisted = elsewhere(&subject, consumer, |bundle| {
        set(bundle, "/proc/meminfo", &meminfo(1 << 20, (1 << 20) - 12));
    });
    let unlisted = unlisted.expect("as before");
    assert_eq!((&unlisted["maybe_cma_at_most"], &unlisted["moved_pages"]), (&3.into(), &0.into()));
    let scratch = elsewhere(&subject, consumer, |bundle| {
        set(bundle, "/proc/meminfo", &meminfo(0, 10_171_187));
    });
    assert_eq!(scratch.expect("as before")["warnings"][0], "cma-beyond-total");
}
