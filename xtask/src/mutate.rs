//! `cargo xtask mutate`: switch rules of the engine off, one at a time, and see which test notices.
//!
//! The row tests are built once with the engine's test-only feature `mutate`, and run once for each
//! rule with the rule's id in `GUP_RULE_OFF`; then that rule never decides. A run that fails, or
//! does not end in time (a refusal that is gone can loop for ever), has *noticed*. Absent: any
//! change of the source.

use crate::evidence;
use crate::repo;
use crate::rows::RowId;
use crate::rust_source::RustSource;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The variable that names the rule to switch off.
const RULE_OFF: &str = "GUP_RULE_OFF";
/// Where rules decide.
const ENGINE: &str = "crates/engine/src/";
/// How long one run may take.
const RUN_TIME_MAX: Duration = Duration::from_mins(1);
/// How many tests of a rule the table names.
const TESTS_NAMED_MAX: usize = 2;

/// What the command line asks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    /// The rules to switch off; empty stands for every rule that can be.
    rules: Vec<RowId>,
    /// How many rules must have been noticed.
    at_least: usize,
}

/// How the tests took the loss of a rule.
enum Verdict {
    /// These tests failed.
    Noticed(Vec<String>),
    /// The run did not end, or ended in a crash that names no test.
    Broke(&'static str),
    /// Every test passed.
    Unnoticed,
}

/// The verb.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let request = parse(arguments)?;
    let rules = if request.rules.is_empty() { switchable()? } else { request.rules };
    let binary = build()?;
    ensure!(play(&binary, None)?.is_unnoticed(), "the row tests fail with every rule on");
    let (mut noticed, mut unnoticed) = (0, Vec::new());
    println!("{:<7} noticed by", "rule");
    for rule in rules {
        let verdict = play(&binary, Some(rule))?;
        println!("{:<7} {}", rule.to_string(), verdict.text());
        if verdict.is_unnoticed() {
            unnoticed.push(rule.to_string());
        } else {
            noticed += 1;
        }
    }
    println!("{noticed} rules noticed, {} not", unnoticed.len());
    ensure!(unnoticed.is_empty(), "no test notices the loss of {}", unnoticed.join(" "));
    ensure!(noticed >= request.at_least, "{noticed} rules are fewer than {}", request.at_least);
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Request> {
    let mut request = Request::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--at-least" => request.at_least = value()?.parse().context("--at-least: a number")?,
            "--rules" => {
                let ids = value()?.split(',').map(|id| {
                    RowId::parse(id).with_context(|| format!("--rules: `{id}` is no row's id"))
                });
                request.rules = ids.collect::<Result<_>>()?;
            }
            _ => bail!("unknown argument {argument}"),
        }
    }
    Ok(request)
}

/// The rules that the engine decides through `RULE.when(…)` and that some test has seen decide.
fn switchable() -> Result<Vec<RowId>> {
    let seen: BTreeSet<RowId> = evidence::fresh()?.into_iter().map(|line| line.row).collect();
    let mut decided = BTreeSet::new();
    for path in repo::files()?.iter().filter(|path| path.starts_with(ENGINE) && repo::is_rust(path))
    {
        decided.extend(decided_in(&RustSource::new(path, repo::read(path)?).mask));
    }
    Ok(seen.intersection(&decided).copied().collect())
}

/// The rules whose constants (`A_31`) a file asks with `.when(`.
fn decided_in(mask: &str) -> Vec<RowId> {
    let before = mask.match_indices(".when(").map(|(at, _)| mask[..at].trim_end());
    before.filter_map(|code| RowId::parse(&last_word(code).replacen('_', "-", 1))).collect()
}

fn last_word(code: &str) -> &str {
    code.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Builds the row tests with rules that can be switched off; returns their binary.
fn build() -> Result<PathBuf> {
    println!("building the row tests: cargo test -p gup --features mutate --test rows --no-run");
    let output = repo::cargo()
        .args(["test", "-p", "gup", "--features", "mutate", "--test", "rows", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "the row tests do not build with the feature `mutate`");
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.lines().filter_map(row_test_binary).next_back();
    path.context("cargo named no binary for the test target `rows`")
}

/// The binary that one of cargo's JSON messages names, if it is the row tests'.
fn row_test_binary(message: &str) -> Option<PathBuf> {
    let value: Value = serde_json::from_str(message).ok()?;
    let is_rows = value["target"]["name"] == "rows";
    value["executable"].as_str().filter(|_| is_rows).map(PathBuf::from)
}

/// Runs the row tests with one rule off, or with every rule on.
fn play(binary: &Path, rule: Option<RowId>) -> Result<Verdict> {
    let log = repo::target().join("mutate.log");
    let mut command = Command::new(binary);
    command.current_dir(repo::root().join("crates/engine"));
    command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(Stdio::null());
    if let Some(rule) = rule {
        command.env(RULE_OFF, rule.to_string());
    }
    let status = run_bounded(&mut command, RUN_TIME_MAX)?;
    let failed = failed_tests(&String::from_utf8_lossy(&fs::read(&log)?));
    Ok(match status {
        Some(status) if status.success() => Verdict::Unnoticed,
        _ if !failed.is_empty() => Verdict::Noticed(failed),
        Some(_) => Verdict::Broke("a crash of the whole run"),
        None => Verdict::Broke("a run without end"),
    })
}

/// Runs a command to its end, or kills it when its time is over and returns `None`.
fn run_bounded(command: &mut Command, time_max: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn().context("cannot start the row tests")?;
    let deadline = Instant::now() + time_max;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        sleep(Duration::from_millis(10));
    }
}

/// The names of the failed tests in the test harness's output.
fn failed_tests(output: &str) -> Vec<String> {
    let name = |line: &str| {
        let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(name.to_owned())
    };
    let mut names: Vec<String> = output.lines().filter_map(name).collect();
    names.sort();
    names
}

impl Verdict {
    fn is_unnoticed(&self) -> bool {
        matches!(self, Self::Unnoticed)
    }

    fn text(&self) -> String {
        match self {
            Self::Unnoticed => "NO TEST".to_owned(),
            Self::Broke(how) => (*how).to_owned(),
            Self::Noticed(tests) => {
                let named = tests.iter().take(TESTS_NAMED_MAX).cloned().collect::<Vec<_>>();
                let more = tests.len().saturating_sub(TESTS_NAMED_MAX);
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                named.join(", ") + &more
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn rules_and_their_least_number_are_read() {
        let request = parse(&words("--rules A-30,A-31 --at-least 2")).unwrap();
        assert_eq!(request.rules.len(), 2);
        assert_eq!(request.at_least, 2);
        assert!(parse(&words("--rules A30")).is_err());
        assert!(parse(&words("--at-least")).is_err());
    }

    #[test]
    fn a_rule_that_is_asked_is_found_across_lines_and_paths() {
        let code = "if a::A_31.when(x) {}\n A_140\n    .when(y); rule.when(z)";
        let ids: Vec<String> = decided_in(code).iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["A-31", "A-140"]);
    }

    #[test]
    fn a_failed_test_is_found_in_the_harness_output() {
        let output = "test check::a_31_x ... FAILED\ntest check::a_32_y ... ok\n";
        assert_eq!(failed_tests(output), ["check::a_31_x"]);
    }

    #[test]
    fn a_run_without_end_is_ended() {
        let mut endless = Command::new("sleep");
        let ended = run_bounded(endless.arg("600"), Duration::from_millis(20));
        assert!(ended.unwrap().is_none());
        let mut short = Command::new("true");
        assert!(run_bounded(&mut short, RUN_TIME_MAX).unwrap().is_some());
    }
}
