//! The tutorial: every command of its console blocks is run, and what it prints is compared.
//!
//! `[..]` stands for any text in a line, a line `...` for any lines.

use gup_conformance::fixture::files;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TUTORIAL: &str = include_str!("../../../docs/tutorial.md");

/// A command of a console block, and the lines that it prints.
#[derive(Debug, Default)]
struct Step {
    command: String,
    prints: Vec<String>,
}

/// The console blocks of a page of Markdown.
fn blocks(page: &str) -> Vec<Vec<Step>> {
    let parts = page.split("```console\n").skip(1);
    let block = |part: &str| {
        let mut steps: Vec<Step> = Vec::new();
        for line in part.split("```").next().unwrap_or_default().lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command: command.to_owned(), prints: Vec::new() });
            } else if let Some(step) = steps.last_mut() {
                step.prints.push(line.trim_end().to_owned());
            }
        }
        steps
    };
    parts.map(block).collect()
}

/// Whether `line` is what `pattern` says.
fn line_matches(pattern: &str, line: &str) -> bool {
    let Some((before, rest)) = pattern.split_once("[..]") else { return pattern == line };
    let Some(line) = line.strip_prefix(before) else { return false };
    let starts = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    starts.into_iter().any(|at| line_matches(rest, &line[at..]))
}

/// Whether `lines` are what `patterns` say.
fn matches(patterns: &[String], lines: &[&str]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((dots, rest)) if dots == "..." => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        Some((pattern, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| line_matches(pattern, line) && matches(rest, others)),
    }
}

/// The folder of the example `cases`, which cargo builds beside the tests.
fn examples() -> PathBuf {
    let gup = Path::new(env!("CARGO_BIN_EXE_gup"));
    gup.parent().expect("a folder").join("examples")
}

fn shell(script: &str, dir: &Path) -> Output {
    let gup = Path::new(env!("CARGO_BIN_EXE_gup")).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("timeout")
        .args(["60", "sh", "-c", script])
        .env("PATH", format!("{}:{}:{path}", gup.display(), examples().display()))
        .env_remove("COLUMNS")
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("timeout and sh run")
}

/// Why the commands cannot be asked here; `None` if they can.
fn obstacle() -> Option<&'static str> {
    let kernel = gup_mirror::proc::kernel::KernelVersion::running();
    if (kernel.major, kernel.minor) < (6, 5) {
        return Some("the tutorial's second case needs Linux 6.5");
    }
    if files::usable_dir().is_none() {
        return Some("no folder here is on a disk");
    }
    let registered = shell("cases private-file", Path::new("/"));
    (registered.stdout != b"registered\n").then_some("io_uring cannot be used here")
}

#[test]
fn the_commands_of_the_tutorial_print_what_it_says() {
    assert!(examples().join("cases").exists(), "run with `cargo test`, which builds examples");
    if let Some(why) = obstacle() {
        let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
        return;
    }
    let dir = std::env::temp_dir().join(format!("gup-tutorial-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let blocks = blocks(TUTORIAL);
    assert!(blocks.len() > 8, "the blocks are found");
    for block in blocks {
        let _ = std::fs::remove_file(dir.join("where"));
        let mut script = String::new();
        for step in &block {
            // Nobody waits for a second in vain, or too short.
            let ready = "{ until [ -s where ]; do sleep 0.05; done; }";
            script.push_str(&step.command.replace("sleep 1", ready));
            script.push_str("\necho ,,,\n");
        }
        let output = shell(&format!("exec 2>&1\n{script}"), &dir);
        let text = String::from_utf8_lossy(&output.stdout);
        for (step, printed) in block.iter().zip(text.split(",,,\n")) {
            let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
            let same = matches(&step.prints, &lines);
            assert!(same, "$ {}\n{printed}\nis not\n{}", step.command, step.prints.join("\n"));
        }
        assert_eq!(text.matches(",,,\n").count(), block.len(), "{text}");
    }
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn wildcards_stand_for_text_in_a_line_and_for_whole_lines() {
    let patterns = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let table = [
        ("a [..] c", "a b b c", true),
        ("a [..] c", "a b b", false),
        ("...\nb\n...", "a\nb\nc", true),
        ("...\nb", "a\nb\nc", false),
        ("a", "a\nb", false),
        ("[..]", "", false),
    ];
    for (pattern, text, want) in table {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(matches(&patterns(pattern), &lines), want, "{pattern:?} {text:?}");
    }
}
