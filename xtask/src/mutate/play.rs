//! The row tests, built with rules that can be switched off, and one run of them.
//!
//! A run is bounded in time and in address space: a test that loses a refusal may loop and record.

use super::rules::Switch;
use crate::evidence;
use crate::repo;
use crate::rows::RowId;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The variable that names the rule to switch off.
const RULE_OFF: &str = "GUP_RULE_OFF";
/// How many times the time of a run with every rule on a run may take.
const TIME_FACTOR: u32 = 20;
/// How long any run may take at least, and the few tests of one row at most.
const TIME_MIN: Duration = Duration::from_secs(10);
/// How long any run may take at most.
const TIME_MAX: Duration = Duration::from_mins(1);
/// Starts a program that may not have more than 4 GiB of address space.
const BOUNDED: &str = "ulimit -v 4194304; exec \"$0\" --test-threads 4 \"$@\"";
/// How many tests of a rule are named.
const TESTS_NAMED_MAX: usize = 2;

/// The built row tests, by program.
pub(super) struct RowTests(Vec<Program>);

/// One program of row tests.
struct Program {
    binary: PathBuf,
    folder: PathBuf,
    names: BTreeSet<String>,
    time_max: Duration,
}

/// How the tests took the loss of a rule.
pub(super) enum Verdict {
    /// These tests failed.
    Noticed(Vec<String>),
    /// The run was ended, or crashed, while these tests ran.
    Broke(Vec<String>),
    /// Every test passed.
    Unnoticed,
}

impl RowTests {
    /// Builds the row tests and runs them once with every rule on.
    pub(super) fn build() -> Result<Self> {
        let programs = evidence::PROGRAMS.into_iter();
        Ok(Self(
            programs
                .map(|(package, target)| Program::build(package, target))
                .collect::<Result<_>>()?,
        ))
    }

    /// Runs the tests with one rule off: those that are named for the row, and, if the rule is the
    /// row's own, all of them where these notice nothing.
    pub(super) fn without(&self, Switch { row, off }: Switch) -> Result<Verdict> {
        let named = prefix(row);
        for program in self.0.iter().filter(|program| program.has(&named)) {
            let verdict = program.judge(row, off, Some(&named))?;
            if !verdict.is_unnoticed() {
                return Ok(verdict);
            }
        }
        // The first program is the one that ends soon.
        for program in self.0.iter().take(usize::from(row == off)) {
            let verdict = program.judge(row, off, None)?;
            if !verdict.is_unnoticed() {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Unnoticed)
    }
}

impl Program {
    fn build(package: &str, target: &str) -> Result<Self> {
        let (binary, folder) = build(package, target)?;
        let mut tests = Self { binary, folder, names: BTreeSet::new(), time_max: TIME_MAX };
        let began = Instant::now();
        let (status, output) = tests.play(None, None)?;
        let passed = status.is_some_and(|status| status.success());
        ensure!(passed, "the row tests fail with every rule on:\n{output}");
        tests.time_max = (began.elapsed() * TIME_FACTOR).clamp(TIME_MIN, TIME_MAX);
        tests.names = named(&output, "ok").collect();
        Ok(tests)
    }

    fn has(&self, part: &str) -> bool {
        self.names.iter().any(|name| name.contains(part))
    }

    fn judge(&self, row: RowId, off: RowId, part: Option<&str>) -> Result<Verdict> {
        let (status, output) = self.play(Some(off), part)?;
        let mut failed: Vec<String> = named(&output, "FAILED").collect();
        failed.sort_by_key(|test| !is_test_of(test, row));
        if status.is_some_and(|status| status.success()) {
            return Ok(Verdict::Unnoticed);
        }
        if !failed.is_empty() {
            return Ok(Verdict::Noticed(failed));
        }
        let ended: BTreeSet<String> = named(&output, "ok").collect();
        let unended = self.names.difference(&ended);
        let wanted = |test: &&String| part.is_none_or(|part| test.contains(part));
        Ok(Verdict::Broke(unended.filter(wanted).cloned().collect()))
    }

    /// One run of all tests, or of those with `part` in their names: how it ended (`None`: it did
    /// not) and what it printed.
    fn play(
        &self,
        rule: Option<RowId>,
        part: Option<&str>,
    ) -> Result<(Option<ExitStatus>, String)> {
        let log = repo::target().join("mutate.log");
        let mut command = Command::new("sh");
        command.args(["-c", BOUNDED]).arg(&self.binary).args(part);
        command.current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(Stdio::null());
        if let Some(rule) = rule {
            command.env(RULE_OFF, rule.to_string());
        }
        let time_max = if part.is_some() { TIME_MIN } else { self.time_max };
        let status = run_bounded(&mut command, time_max)?;
        Ok((status, String::from_utf8_lossy(&fs::read(&log)?).into_owned()))
    }
}

impl Verdict {
    /// Whether every test passed.
    pub(super) fn is_unnoticed(&self) -> bool {
        matches!(self, Self::Unnoticed)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, tests) = match self {
            Self::Unnoticed => return f.write_str("NO TEST"),
            Self::Noticed(tests) => ("", tests),
            Self::Broke(tests) => ("no end, in ", tests),
        };
        let named: Vec<&str> = tests.iter().take(TESTS_NAMED_MAX).map(String::as_str).collect();
        write!(f, "{how}{}", named.join(", "))?;
        match tests.len().saturating_sub(TESTS_NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Builds a program of row tests with rules that can be switched off; returns its binary, and the
/// folder of its package.
fn build(package: &str, target: &str) -> Result<(PathBuf, PathBuf)> {
    println!("building: cargo test -p {package} --features mutate --test {target} --no-run");
    let output = repo::cargo()
        .args(["test", "-p", package, "--features", "mutate", "--test", target, "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "{package}'s `{target}` does not build with `mutate`");
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().filter_map(|message| row_test_binary(message, target)).next_back();
    found.with_context(|| format!("cargo named no binary for the test target `{target}`"))
}

/// The binary that one of cargo's JSON messages names, if it is that of the target, and the folder
/// of its package.
fn row_test_binary(message: &str, target: &str) -> Option<(PathBuf, PathBuf)> {
    let value: Value = serde_json::from_str(message).ok()?;
    let is_wanted = value["target"]["name"] == target;
    let binary = value["executable"].as_str().filter(|_| is_wanted)?;
    let manifest = Path::new(value["manifest_path"].as_str()?);
    Some((PathBuf::from(binary), manifest.parent()?.to_owned()))
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

/// Whether a test is named for a rule: `check::a_31_…` for A-31.
fn is_test_of(test: &str, rule: RowId) -> bool {
    test.rsplit("::").next().is_some_and(|name| name.starts_with(&prefix(rule)))
}

/// How the names of a rule's tests begin.
fn prefix(rule: RowId) -> String {
    rule.to_string().to_lowercase().replace('-', "_") + "_"
}

/// The tests that the harness's output says ended in this way.
fn named<'a>(output: &'a str, how: &'a str) -> impl Iterator<Item = String> + 'a {
    output.lines().filter_map(move |line| {
        let (name, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
        (end == how).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_found_by_how_it_ended() {
        let output = "test check::a_31_x ... FAILED\ntest check::a_32_y ... ok\n";
        assert_eq!(named(output, "FAILED").collect::<Vec<_>>(), ["check::a_31_x"]);
        assert_eq!(named(output, "ok").collect::<Vec<_>>(), ["check::a_32_y"]);
    }

    #[test]
    fn a_test_of_a_rule_begins_with_its_id() {
        let rule = RowId::parse("A-31").unwrap();
        assert!(is_test_of("check::a_31_a_write_is_allowed", rule));
        assert!(!is_test_of("check::a_310_x", rule) && !is_test_of("a_31_x::a_32_y", rule));
    }

    #[test]
    fn a_run_without_end_is_ended() {
        let mut endless = Command::new("sleep");
        let ended = run_bounded(endless.arg("600"), Duration::from_millis(20));
        assert!(ended.unwrap().is_none());
        let mut short = Command::new("true");
        assert!(run_bounded(&mut short, TIME_MAX).unwrap().is_some());
    }
}
