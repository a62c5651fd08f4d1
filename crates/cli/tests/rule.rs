//! `gup rule`: one rule with its story, lists by errno and by text, and ids that do not exist.

use serde_json::Value;
use std::path::Path;
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
    assert_eq!(gup(&["rule", "C-32", "--errno", "EFAULT"]).status.code(), Some(2));
}

#[test]
fn a_pasted_error_leads_to_rules_and_to_what_is_no_rule() {
    for (text, words) in [
        ("ibv_reg_mr(0x7f1, 4096) failed: Bad address", ["C-32", "libibverbs", "EFAULT"]),
        ("io_uring_register: Cannot allocate memory", ["RLIMIT_MEMLOCK", "liburing", "C-80"]),
        ("VFIO_MAP_DMA failed", ["QEMU", "C-32", "IOMMU"]),
        ("MAP_DMA -14", ["VFIO", "C-16", "C-27"]),
        ("cudaHostRegister failed", ["CUDA", "C-32", "registered already"]),
        ("Resource temporarily unavailable", ["EAGAIN", "C-57", "mlock"]),
    ] {
        let found = answer(&["rule", "--search", text], 0);
        for word in words {
            assert!(found.contains(word), "{text}: {found} does not say {word}");
        }
    }
}

#[test]
fn without_arguments_every_rule_is_listed() {
    let text = answer(&["rule"], 0);
    assert_eq!(text.lines().count(), gup::rule::Rule::all().count());
}

#[test]
fn the_json_object_has_rules_and_phrases() {
    let object = |args: &[&str]| -> Value {
        let text = answer(&[&["rule", "--json"], args].concat(), 0);
        serde_json::from_str(&text).expect("one object")
    };
    let one = object(&["C-32"]);
    assert_eq!(one["schema"], "gup.rule/1");
    let rule = &one["rules"][0];
    assert_eq!((&rule["errno"], &rule["since"]), (&"EFAULT".into(), &"6.5".into()));
    assert!(rule["scenario"]["steps"].as_array().is_some_and(|steps| steps.len() <= 10));
    assert!(one["phrases"].as_array().is_some_and(|phrases| !phrases.is_empty()));
    let found = object(&["--search", "MAP_DMA -14"]);
    let phrases = found["phrases"].as_array().expect("a list");
    assert!(phrases.iter().any(|phrase| phrase["text"] == "MAP_DMA -14"));
    let all = object(&[])["rules"].as_array().map(Vec::len);
    assert_eq!(all, Some(gup::rule::Rule::all().count()));
}

#[test]
fn the_pages_are_those_of_the_documents() {
    let folder = std::env::temp_dir().join(format!("gup-pages-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let written = gup(&["rule", "--pages", &folder.to_string_lossy()]).status.code();
    let read = |folder: &Path| -> Vec<(String, String)> {
        let files = std::fs::read_dir(folder).expect("the folder").flatten();
        let mut pages: Vec<_> = files
            .map(|file| {
                let text = std::fs::read_to_string(file.path()).expect("a page");
                (file.file_name().to_string_lossy().into_owned(), text)
            })
            .collect();
        pages.sort();
        pages
    };
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules");
    let pages = read(&folder);
    std::fs::remove_dir_all(&folder).expect("ours");
    assert_eq!(written, Some(0));
    for ((name, text), (known, kept)) in pages.iter().zip(&read(&committed)) {
        assert_eq!(name, known);
        assert!(text == kept, "docs/rules/{name} is stale; run `cargo xtask rules`");
    }
    assert_eq!(pages.len(), read(&committed).len());
}
