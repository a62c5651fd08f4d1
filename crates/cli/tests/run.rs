//! `gup run` from outside: what it prints, and its exit statuses.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn scenario(name: &str) -> String {
    format!("{}/../../scenarios/{name}.gup", env!("CARGO_MANIFEST_DIR"))
}

fn gup(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gup"));
    command.arg("run").args(arguments).stdin(Stdio::null()).output().expect("gup starts")
}

/// A scenario of this text in a file that is gone at the end of the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, text: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("gup-run-{}-{name}.gup", std::process::id()));
        std::fs::File::create(&path).expect("a file").write_all(text).expect("room");
        Self(path)
    }
    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_scenario_is_told_with_its_story_its_steps_and_what_each_did() {
    let output = gup(&[&scenario("first-touch")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "First touch: memory that is mapped is not there yet.",
        "P: write a+1p \"hello\"",
        "store at a+1p: minor",
        "Z Ax1 - -",
        "refs 2, pins 1, mapcount 1",
        "PGD > PUD > PMD > PTE",
        "4 acquired",
        "all as expected",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains("C-44"), "no rules without --trace");
}

#[test]
fn a_trace_names_every_rule_with_its_meaning() {
    let output = gup(&["--trace", &scenario("dirty-cow-v4.4")]);
    let text = String::from_utf8_lossy(&output.stdout);
    let meaning = gup::rule::a::A_143.row().meaning;
    assert!(text.lines().any(|line| line.contains("A-143") && line.contains(meaning)), "{text}");
}

#[test]
fn with_step_the_end_of_the_input_goes_on() {
    let output = gup(&["--step", &scenario("no-mmu")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("[Enter]"), "{text}");
}

#[test]
fn an_expectation_that_does_not_hold_is_shown_and_gives_1() {
    let text = b"process P\nP: a = mmap 1 page rw private anon\nP: read a 1 -> \"x\"\n";
    let file = Temporary::new("unmet", text);
    let output = gup(&[file.path(), &scenario("first-touch")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("NOT AS EXPECTED: expected \"x\", got \"\\x00\""), "{text}");
    assert!(text.contains("1 of 3 steps not as expected: lines 3"), "{text}");
    assert!(text.contains("18 steps, all as expected"), "the next file is played: {text}");
}

#[test]
fn a_mistake_gives_2_and_says_where_and_what_was_expected() {
    let file = Temporary::new("mistake", b"process P\nP: fork\n");
    let output = gup(&[file.path()]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("line 2, column 8: expected a name for the child"), "{text}");
    assert!(text.contains("2 | P: fork"), "{text}");
    let binary = Temporary::new("binary", b"process P\n\xff\xfe");
    let output = gup(&[binary.path()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("text in UTF-8"));
}

#[test]
fn no_file_is_bad_usage_and_an_unreadable_one_gives_3() {
    assert_eq!(gup(&[]).status.code(), Some(2));
    let output = gup(&["/nonexistent.gup"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(text.contains("could not read /nonexistent.gup"), "{text}");
    assert_eq!(gup(&[env!("CARGO_MANIFEST_DIR")]).status.code(), Some(3), "a folder");
}
