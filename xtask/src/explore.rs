//! `cargo xtask explore`: the concurrent code in many orders, and the proof that this finds faults.
//!
//! Three explorations: *schedules*, the whole engine under a seeded scheduler (`tests/explore`);
//! *loom*, the lock-free protocol in every order of weak memory (`tests/loom`); *epochs*, how freed
//! tables wait for walks by crossbeam's epochs (`tests/loom` of gup-hosted). All must pass;
//! then each fault is planted by switching one rule off, and an exploration must find it. Absent:
//! the faults themselves, which are the engine's rules (feature `mutate`).

use crate::repo;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Schedules tried to find one planted fault.
const SCHEDULES_MAX: u64 = 5000;

/// The exploration by schedules, and its test that plays scenes.
const SCHEDULES: &str = "schedules";
const SCENES: &str = "no_order_loses_a_pin";

/// A planted fault: the rule that is off, the scene in which schedules are to find it, and what is
/// missing then. In the first scene loom's models are to find it too.
type Fault = (&'static str, &'static str, &'static str);

/// The scene of which loom has models.
const MODELLED: &str = "small";

const FAULTS: [Fault; 11] = [
    ("C-71", MODELLED, "the fast walk does not look again"),
    ("C-68", MODELLED, "the fast walk does not compare fork's sequence"),
    ("F-54", MODELLED, "no barrier and no second look behind the count"),
    ("F-56", MODELLED, "freed tables do not wait for walkers"),
    ("S-18", "huge", "collapse: the fast walk does not look at the upper entry again"),
    ("F-56", "huge", "collapse: the old table does not wait for walkers"),
    ("F-38", "huge", "collapse: references are not counted"),
    ("F-36", "movable", "migration: whether the page is still mapped there is not asked"),
    ("F-49", "files", "reclaim: whether the page was stored to meanwhile is not asked"),
    ("F-37", "merged", "merging: references are not counted"),
    ("F-42", "watched", "UFFDIO_MOVE: pins are not looked for"),
];

/// The exploration of crossbeam's epochs, which has no fault of its own to find.
const EPOCHS: &str = "epochs";

/// One exploration: a test binary.
struct Exploration {
    name: &'static str,
    binary: PathBuf,
}

/// The verb.
///
/// # Errors
/// An exploration fails as the engine is, or no exploration finds a planted fault.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let schedules = match arguments {
        [] => None,
        [flag, count] if flag == "--schedules" => Some(count.parse().context("--schedules N")?),
        _ => bail!("explore takes --schedules N or nothing"),
    };
    let explorations = [
        Exploration { name: SCHEDULES, binary: build("gup", "explore", "")? },
        Exploration { name: "loom", binary: build("gup", "loom", "--cfg loom --cfg loom_tables")? },
        Exploration { name: EPOCHS, binary: build("gup-hosted", "loom", "--cfg crossbeam_loom")? },
    ];
    for exploration in &explorations {
        let output = exploration.run(None, None, schedules)?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{} fails:\n{text}", exploration.name);
        println!("{:<10} nothing found: the engine as it is", exploration.name);
    }
    let mut missed = Vec::new();
    for (rule, scene, what) in FAULTS {
        println!("{rule}: {what}");
        let mut found = false;
        for exploration in explorations.iter().filter(|e| e.has(scene)) {
            let output = exploration.run(Some(rule), Some(scene), Some(SCHEDULES_MAX))?;
            let text = String::from_utf8_lossy(&output.stdout);
            found |= !output.status.success();
            println!("  {:<10} {}", exploration.name, finding(&text));
        }
        if !found {
            missed.push(what);
        }
    }
    ensure!(missed.is_empty(), "no exploration finds {}", missed.join("; "));
    Ok(())
}

impl Exploration {
    fn has(&self, scene: &str) -> bool {
        self.name == SCHEDULES || scene == MODELLED && self.name != EPOCHS
    }
    fn run(
        &self,
        rule_off: Option<&str>,
        scene: Option<&str>,
        schedules: Option<u64>,
    ) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command.current_dir(repo::root().join("crates/engine"));
        command.env("RUST_BACKTRACE", "0").stdin(Stdio::null());
        if let Some(rule) = rule_off {
            command.env("GUP_RULE_OFF", rule);
            if self.name != SCHEDULES {
                // The models find what is planted; the real ones would take long besides.
                command.arg("models::");
            }
        }
        if let Some(scene) = scene.filter(|_| self.name == SCHEDULES) {
            command.env("GUP_EXPLORE_SCENE", scene).arg(SCENES);
        }
        if let Some(count) = schedules {
            command.env("GUP_EXPLORE_COUNT", count.to_string());
        }
        command.output().with_context(|| format!("cannot start {}", self.binary.display()))
    }
}

/// What a run's output says that it found: the first broken promise, and the seed or the model.
fn finding(text: &str) -> String {
    let after = |line: &str| text.lines().skip_while(|l| !l.contains(line)).nth(1);
    let promise = after(" panicked at ").unwrap_or_default().trim();
    let seed = text.lines().find_map(|line| line.split("GUP_EXPLORE_SEED=").nth(1));
    let model = || {
        let failed = text.lines().find_map(|line| line.strip_suffix(" ... FAILED"));
        failed.and_then(|line| line.rsplit("::").next()).map(str::to_owned)
    };
    match seed.map(|seed| format!("seed {seed}")).or_else(model) {
        Some(place) => format!("found: {promise} ({place})"),
        None => "not found".to_owned(),
    }
}

/// Builds a test with these flags, so that rules can be switched off, in a folder of its own, since
/// it is fast code for tests; returns its binary.
fn build(package: &str, test: &str, flags: &str) -> Result<PathBuf> {
    println!("building {test} of {package}");
    let mut command = repo::cargo();
    command.args(["test", "-p", package, "--features", "mutate", "--test", test, "--no-run"]);
    command.args(["--quiet", "--message-format", "json-render-diagnostics"]);
    command.env("RUSTFLAGS", flags).env("CARGO_PROFILE_DEV_OPT_LEVEL", "2");
    command.arg("--target-dir").arg(repo::target().join(test));
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "{test} does not build");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut binaries = text.lines().filter_map(|message| {
        let value: Value = serde_json::from_str(message).ok()?;
        let ours = value["target"]["name"] == test;
        value["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    });
    binaries.next_back().with_context(|| format!("cargo named no binary for {test}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_the_promise_and_the_seed() {
        let text = "thread 'x' panicked at a.rs:1:1:\na pin is lost\nagain by GUP_EXPLORE_SEED=7\n";
        assert_eq!(finding(text), "found: a pin is lost (seed 7)");
    }

    #[test]
    fn a_finding_names_the_model_that_failed() {
        let text = "test models::f_54_x ... FAILED\nthread 'x' panicked at a.rs:1:1:\nshared\n";
        assert_eq!(finding(text), "found: shared (f_54_x)");
        assert_eq!(finding("test models::f_54_x ... ok\n"), "not found");
    }
}
