//! `gup conform` from outside: recordings replayed, files with mistakes, and its exit statuses.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

fn vectors(name: &str) -> String {
    format!("{}/../../vectors/linux-6.18/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"))
}

fn gup(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gup"));
    command.arg("conform").args(arguments).output().expect("gup starts")
}

/// Plays a file of these lines with more arguments: exit status, standard output, standard error.
fn replay(name: &str, lines: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let file = format!("gup-conform-{}-{name}.jsonl", std::process::id());
    let path: PathBuf = std::env::temp_dir().join(file);
    std::fs::write(&path, lines).expect("room for a file");
    let output = gup(&[&["--replay", path.to_str().expect("text")], more].concat());
    std::fs::remove_file(&path).expect("it was there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn object(text: &str) -> Value {
    let last = text.lines().last().expect("an object on the last line");
    serde_json::from_str(last).expect("JSON")
}

const EMPTY: &str = "P0: - - - - - - - - - - - - - - - -";
const MAP: &str = concat!(
    r#"{"seed":7,"i":0,"proc":0,"op":"mmap_priv","pg":0,"n":16,"prot":3,"ret":0,"errno":0,"#,
    r#""state":"P0: - - - - - - - - - - - - - - - -"}"#
);

/// An operation of program 7 that the kernel answered with 0 and an empty arena.
fn operation(i: u64, op: &str, pg: u64, n: u64) -> String {
    MAP.replace("\"i\":0", &format!("\"i\":{i}"))
        .replace("mmap_priv", op)
        .replace("\"pg\":0", &format!("\"pg\":{pg}"))
        .replace("\"n\":16", &format!("\"n\":{n}"))
}

#[test]
fn the_recorded_rows_are_answered_without_a_difference() {
    let output = gup(&["--replay", &vectors("kernel-rows"), "--json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let want = serde_json::json!({
        "schema": "gup.conform/1", "programs": 1056, "operations": 1056, "ok": 1056,
        "differs": 0, "cannot_ask": 0, "first_difference": null
    });
    assert_eq!(object(&text), want);
}

#[test]
fn a_program_is_replayed_and_summed_up_for_a_person() {
    let lines = [MAP.to_owned(), operation(1, "munlock", 3, 2)].join("\n");
    let (status, out, _) = replay("alike", &lines, &[]);
    assert_eq!(status, Some(0), "{out}");
    assert!(out.contains("1 programs, 2 operations"), "{out}");
    assert!(out.contains("2  answered as the kernel did"), "{out}");
}

#[test]
fn a_difference_gives_1_and_is_told_with_both_sides() {
    let wrong = operation(1, "popw", 0, 1);
    let lines = [MAP.to_owned(), wrong.clone(), operation(2, "munlock", 3, 2)].join("\n");
    let (status, out, _) = replay("unlike", &lines, &[]);
    assert_eq!(status, Some(1), "{out}");
    for part in ["program 7, operation 1, popw", EMPTY, "P0: Ax1#0", "--keep-going"] {
        assert!(out.contains(part), "{part:?} is not in {out}");
    }
    let (status, out, _) = replay("unlike-json", &lines, &["--json"]);
    let object_of = object(&out);
    assert_eq!((status, out.lines().count()), (Some(1), 1));
    assert_eq!((&object_of["operations"], &object_of["differs"]), (&2.into(), &1.into()));
    let first = &object_of["first_difference"];
    assert_eq!((&first["seed"], &first["i"], &first["op"]), (&7.into(), &1.into(), &"popw".into()));
    assert_eq!(first["kernel"], serde_json::json!({"ret": 0, "errno": 0, "state": EMPTY}));
    assert!(first["engine"]["state"].as_str().is_some_and(|state| state.starts_with("P0: Ax1#0")));
    let (_, out, _) = replay("unlike-all", &lines, &["--json", "--keep-going"]);
    assert_eq!((&object(&out)["operations"], &object(&out)["differs"]), (&3.into(), &2.into()));
}

#[test]
fn what_has_no_name_here_cannot_be_asked_nor_can_what_follows_it() {
    let lines = [MAP.to_owned(), operation(1, "teleport", 0, 1), operation(2, "popw", 0, 1)];
    let (status, out, _) = replay("unknown", &lines.join("\n"), &["--json"]);
    let object = object(&out);
    assert_eq!(status, Some(0));
    assert_eq!((&object["ok"], &object["cannot_ask"]), (&1.into(), &2.into()));
    let row =
        r#"{"kind":"moon_rock","driver":"popr","np":1,"ret":0,"errno":0,"before":"-","after":"-"}"#;
    let (status, out, _) = replay("unknown-row", row, &[]);
    assert!(status == Some(0) && out.contains("1  cannot be asked"), "{out}");
}

#[test]
fn a_bad_line_gives_2_and_its_number() {
    let fork = operation(1, "fork", 0, 3);
    let beyond = operation(1, "read", 10, u64::MAX);
    let nobody = operation(1, "read", 0, 1).replace("\"proc\":0", "\"proc\":9");
    let table = [
        ("words", "not JSON", "expected"),
        ("fork", &fork, "fork into 3"),
        ("beyond", &beyond, "the arena has 16"),
        ("nobody", &nobody, "proc is 9"),
        ("fields", "{\"seed\":7,\"op\":\"read\"}", "missing field"),
    ];
    for (name, line, why) in table {
        let (status, _, err) = replay(name, &format!("{MAP}\n{line}\n"), &[]);
        assert_eq!(status, Some(2), "{name}: {err}");
        assert!(err.contains("line 2") && err.contains(why), "{name}: {err}");
    }
    let (status, _, err) = replay("neither", "{\"kind\":\"hole\"}", &[]);
    assert!(status == Some(2) && err.contains("line 1: expected an operation"), "{err}");
    assert_eq!(replay("empty", "", &[]).0, Some(2));
}

#[test]
fn bytes_that_are_no_gzip_are_a_bad_file_and_a_missing_one_gives_3() {
    let path = std::env::temp_dir().join(format!("gup-conform-{}.jsonl.gz", std::process::id()));
    std::fs::write(&path, MAP).expect("room for a file");
    let output = gup(&["--replay", path.to_str().expect("text")]);
    std::fs::remove_file(&path).expect("it was there");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(gup(&["--replay", "/nonexistent.jsonl"]).status.code(), Some(3));
    assert_eq!(gup(&["--replay", env!("CARGO_MANIFEST_DIR")]).status.code(), Some(3), "a folder");
}

#[test]
fn without_a_file_it_says_what_it_can_do() {
    let output = gup(&[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("--replay FILE"), "{text}");
}

/// Plays a scenario in both worlds: exit status, the object on the last line.
fn scenario(name: &str, text: &str) -> (Option<i32>, Value) {
    let file = format!("gup-conform-{}-{name}.gup", std::process::id());
    let path: PathBuf = std::env::temp_dir().join(file);
    std::fs::write(&path, text).expect("room for a file");
    let output = gup(&["--json", "--keep-going", path.to_str().expect("text")]);
    std::fs::remove_file(&path).expect("it was there");
    (output.status.code(), object(&String::from_utf8_lossy(&output.stdout)))
}

#[test]
fn a_scenario_is_played_in_the_engine_and_in_this_kernel() {
    let (status, object) = scenario(
        "both",
        "process P\nP: a = mmap 4 pages rw private anon\nP: store a 2 pages\nP: fork Q\n\
         Q: store a 1 page\nP: vmsplice a 4 pages\nP: munmap a+1p 1 page\n\
         P: load a 4 pages -> any\n",
    );
    assert_eq!((status, &object["differs"]), (Some(0), &0.into()), "{object}");
    let count = |name: &str| object[name].as_u64().unwrap_or(0);
    assert_eq!((count("operations"), count("ok") + count("cannot_ask")), (8, 8));
    if count("cannot_ask") > 0 {
        eprintln!("cannot ask: {} of 8 steps", count("cannot_ask"));
    }
}

#[test]
fn what_only_the_engine_has_cannot_be_asked_nor_can_what_follows_it() {
    let text = "process P\nP: a = mmap 1 page rw private anon\nP: x = pin_user_pages a 1 page\n\
                P: fork Q\n";
    let (status, object) = scenario("engine", text);
    assert_eq!((status, &object["differs"]), (Some(0), &0.into()), "{object}");
    assert!(object["cannot_ask"].as_u64() >= Some(2), "{object}");
    let old = scenario("old", "linux 4.4\nprocess P\n").1;
    assert_eq!(old["cannot_ask"], 1, "another kernel is not asked");
}

#[test]
fn a_scenario_with_a_mistake_gives_2_and_a_missing_one_3() {
    let path = std::env::temp_dir().join(format!("gup-conform-{}-bad.gup", std::process::id()));
    std::fs::write(&path, "process P\nP: frok Q\n").expect("room for a file");
    let output = gup(&[path.to_str().expect("text")]);
    std::fs::remove_file(&path).expect("it was there");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && text.contains("line 2, column 4"), "{text}");
    assert_eq!(gup(&["/nonexistent.gup"]).status.code(), Some(3));
}

#[test]
fn what_this_kernel_answers_is_recorded_and_replayed() {
    let path = std::env::temp_dir().join(format!("gup-conform-{}.jsonl.gz", std::process::id()));
    let name = path.to_str().expect("text");
    let recorded = gup(&["--record", name, "--seed", "77", "--programs", "3"]);
    let error = String::from_utf8_lossy(&recorded.stderr).into_owned();
    if recorded.status.code() == Some(3) {
        drop(std::fs::remove_file(&path));
        // No swap here, or no right to see pages.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), error.as_bytes());
        return;
    }
    assert_eq!(recorded.status.code(), Some(0), "{error}");
    let replayed = gup(&["--replay", name, "--json"]);
    std::fs::remove_file(&path).expect("it was recorded");
    let object = object(&String::from_utf8_lossy(&replayed.stdout));
    assert_eq!((replayed.status.code(), &object["programs"]), (Some(0), &3.into()), "{object}");
}
