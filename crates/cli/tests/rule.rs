//! `gup rule`: one rule with its story, lists by errno and by text, and ids that do not exist.

use std::process::{Command, Output};

fn gup(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gup")).args(args).output().expect("gup runs")
}

#[track_caller]
fn answer(args: &[&str], status: i32) -> String {
    let output = gup(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}");
    if status > 1 { said } else { String::from_utf8_lossy(&output.stdout).into_owned() }
}

#[test]
fn one_rule_is_told_with_errno_versions_remedy_and_a_story() {
    let text = answer(&["rule", "C-33"], 0);
    for word in ["C-33", "EFAULT", "since", "instead", "scenarios/", "get_user_pages"] {
        assert!(text.contains(word), "{text} does not say {word}");
    }
    assert_eq!(answer(&["rule", "c-33"], 0), text, "the letter's case does not matter");
}

#[test]
fn lists_hold_only_what_was_asked_for() {
    let text = answer(&["rule", "--errno", "EOVERFLOW"], 0);
    assert!(text.contains("C-64") && text.lines().all(|line| line.contains("EOVERFLOW")), "{text}");
    let text = answer(&["rule", "--search", "DIRTY COW"], 0);
    assert!(text.contains("A-143"), "{text}");
    assert_eq!(answer(&["rule", "--search", "no rule says this"], 1), "", "the answer is no");
}

#[test]
fn what_is_no_rule_is_bad_usage() {
    for id in ["C-999", "Z-01", "C33", "", "C-"] {
        assert!(answer(&["rule", id], 2).contains("is not a rule"), "{id:?}");
    }
    assert!(answer(&["rule", "--errno", "ENOTHING"], 2).contains("ENOTHING"));
    assert_eq!(gup(&["rule"]).status.code(), Some(2));
}
