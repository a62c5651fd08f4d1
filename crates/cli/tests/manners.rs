//! How the command behaves on a terminal and beside other programs.
//!
//! A terminal is made by `script`, where there is one.

use gup::linux::Linux;
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const GUP: &str = env!("CARGO_BIN_EXE_gup");
const VERBS: [&str; 9] =
    ["bench", "collect", "completions", "conform", "demo", "explain", "map", "rule", "run"];

fn gup(args: &[&str]) -> Output {
    Command::new(GUP).args(args).stdin(Stdio::null()).output().expect("gup runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}

/// What `gup ARGS` prints on a terminal of 60 columns; `None` if none can be made.
fn on_a_terminal(args: &str, no_color: bool) -> Option<String> {
    let script = format!("stty cols 60 && {GUP} {args}");
    let mut command = Command::new("script");
    command.args(["-qec", &script, "/dev/null"]).stdin(Stdio::null()).env("TERM", "xterm");
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("COLUMNS");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let output = command.output().ok().filter(|output| output.status.success());
    let printed = output.map(|output| text(&output)).filter(|text| !text.is_empty());
    if printed.is_none() {
        cannot_ask("no terminal: needs script(1) and stty(1)");
    }
    printed
}

#[test]
fn the_version_names_the_kernels_whose_rules_are_known() {
    let text = text(&gup(&["--version"]));
    let (oldest, newest) = (Linux::V4_4.version(), Linux::V6_18.version());
    let range = format!("(exact for Linux {newest}; rules known {oldest} … {newest})");
    assert!(text.starts_with("gup ") && text.trim_end().ends_with(&range), "{text}");
}

#[test]
fn the_help_of_every_verb_has_examples() {
    let whole = text(&gup(&["--help"]));
    assert!(whole.contains("Examples:"));
    for verb in VERBS {
        assert!(whole.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {whole}");
        let text = text(&gup(&[verb, "--help"]));
        assert!(text.contains("Examples:") && text.contains(&format!("  gup {verb}")), "{verb}");
    }
    let verbs = whole.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty()).filter(|line| {
        line.strip_prefix("  ").is_some_and(|line| line.starts_with(char::is_alphabetic))
    });
    assert_eq!(verbs.count(), VERBS.len() + 1, "this test knows every verb (and help): {whole}");
}

#[test]
fn completions_of_every_shell_know_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = gup(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let text = text(&output);
        assert!(VERBS.iter().all(|verb| text.contains(verb)), "{shell}");
        assert!(text.contains("no-direct-io"), "{shell} knows the options of a verb");
    }
    assert_eq!(gup(&["completions", "no-shell"]).status.code(), Some(2));
    let bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn();
    let Ok(mut bash) = bash else { return cannot_ask("no bash") };
    let mut into = bash.stdin.take().expect("a pipe");
    into.write_all(&gup(&["completions", "bash"]).stdout).expect("bash reads");
    drop(into);
    assert!(bash.wait().expect("it ends").success(), "bash understands it");
}

#[test]
fn every_verb_has_a_manual_page_with_its_examples() {
    let folder = std::env::temp_dir().join(format!("gup-man-{}", std::process::id()));
    let output = gup(&["man", folder.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let page = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a page");
    assert!(page("gup.1").contains(".TH gup 1"));
    for verb in VERBS {
        assert!(page(&format!("gup-{verb}.1")).contains("Examples:"), "{verb}");
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn a_pipe_that_is_closed_early_is_no_failure() {
    let table: [&[&str]; 6] = [
        &["rule"],
        &["rule", "--errno", "EFAULT"],
        &["rule", "C-32", "--json"],
        &["completions", "zsh"],
        &["explain", "--help"],
        &["--version"],
    ];
    for args in table {
        let mut child = Command::new(GUP)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gup runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let escape = '\u{1b}';
    let Some(colour) = on_a_terminal("rule C-32", false) else { return };
    assert!(colour.contains(escape), "{colour}");
    let plain = on_a_terminal("rule C-32", true).expect("as before");
    assert!(!plain.contains(escape), "NO_COLOR is respected: {plain}");
    assert!(!text(&gup(&["rule", "C-32"])).contains(escape), "a pipe gets none");
}

#[test]
fn lines_fit_the_terminal_and_are_whole_in_a_pipe() {
    let (own, pid) = ("explain --as mlock 0x1000 1p --pid", std::process::id());
    for args in ["rule C-32", &format!("{own} {pid}")] {
        let Some(printed) = on_a_terminal(args, true) else { return };
        let widest = printed.lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|columns| (40..=60).contains(&columns)), "{printed}");
        let words: Vec<&str> = args.split(' ').collect();
        let piped = text(&gup(&words));
        assert!(piped.lines().any(|line| line.chars().count() > 60), "{piped}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&piped), words(&printed), "the same words");
    }
    let Some(json) = on_a_terminal("rule C-32 --json", true) else { return };
    assert_eq!(json.trim_end().lines().count(), 1, "an object stays on its line: {json}");
}

/// Sends ^C's signal after `wait`, and gives the object that was printed; `None` if it had ended.
fn interrupted(args: &[&str], wait: Duration) -> Option<Value> {
    let mut command = Command::new(GUP);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("gup runs");
    std::thread::sleep(wait);
    if child.try_wait().expect("known").is_some() {
        return None;
    }
    // SAFETY: touches no memory; the child has not been waited for.
    unsafe { libc::kill(i32::try_from(child.id()).expect("an id"), libc::SIGINT) };
    let output = child.wait_with_output().expect("it ends");
    if output.status.code() == Some(0) {
        return None;
    }
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    Some(serde_json::from_slice(&output.stdout).expect("one object"))
}

#[test]
fn an_interrupted_explanation_is_about_the_pages_that_were_seen() {
    let memory = vec![7_u8; 512 << 20];
    let (pid, at) = (std::process::id().to_string(), format!("{:p}", memory.as_ptr()));
    let question = ["explain", "--pid", &pid, &at, "511M", "--as", "rdma", "--json"];
    let Some(object) = interrupted(&question, Duration::from_millis(150)) else {
        return cannot_ask("it was quicker than the interruption");
    };
    let seen = object["nr_pages"].as_u64();
    let asked = object["interrupted"].as_u64();
    assert!(seen.is_some() && seen < asked && asked == Some((511 << 8) + 1), "{object}");
    assert!(object["stop"].is_null() && object["syscall_ret"].is_null(), "{object}");
    assert_eq!(object["pages_fine"], false, "nothing is known of the others");
}

#[test]
fn what_takes_long_shows_on_a_terminal_how_far_it_is() {
    let Some(printed) = on_a_terminal("conform --programs 60 --seed 1", true) else { return };
    if printed.contains("operations/s") && !printed.contains("of 60 programs") {
        cannot_ask("it took less than a second");
    }
    let quick = on_a_terminal("rule C-32", true).expect("as before");
    assert!(!quick.contains("to go)"), "{quick}");
    let piped = gup(&["conform", "--programs", "60", "--seed", "1"]);
    assert!(!String::from_utf8_lossy(&piped.stderr).contains("programs,"), "not in a pipe");
}

#[test]
fn an_interrupted_comparison_tells_how_far_it_came() {
    let args = ["conform", "--minutes", "1", "--seed", "1", "--json"];
    let Some(object) = interrupted(&args, Duration::from_secs(4)) else {
        return cannot_ask("the kernel cannot be asked here");
    };
    assert_eq!(object["schema"], "gup.conform/1");
    assert_eq!(object["differs"], 0, "{object}");
    assert!(object["programs"].as_u64().is_some_and(|programs| programs > 0), "{object}");
}
