//! `gup explain --memlock --fork --rss`, run as a person runs it.

use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A process of ours that sleeps, and ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep");
        let sleeper = Self(child);
        for _ in 0..500 {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", sleeper.0.id()));
            if maps.is_ok_and(|maps| maps.contains("/sleep") && maps.contains("[heap]")) {
                return sleeper;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("sleep did not start");
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn explain(program: &Path, args: &[&str]) -> Output {
    let sleeper = Sleeper::start();
    let pid = sleeper.0.id().to_string();
    Command::new(program).args(["explain", "--pid", &pid]).args(args).output().expect("gup runs")
}

fn gup(args: &[&str]) -> Output {
    explain(Path::new(env!("CARGO_BIN_EXE_gup")), args)
}

#[test]
fn each_answer_is_a_field_and_a_paragraph_and_only_those_that_were_asked_for() {
    let ask = ["heap", "20000", "--as", "io-uring-buffer"];
    let all = ["--memlock", "--fork", "--rss"];
    let output = gup(&[&ask[..], &all, &["--json"]].concat());
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(
        (&object["memlock"]["bucket"], &object["memlock"]["needed"]),
        (&"user".into(), &20480.into())
    );
    assert_eq!(
        (&object["fork"]["held"], &object["fork"]["diverging_pages"]),
        (&"pins".into(), &0.into())
    );
    assert_eq!(object["fork"]["neighbours"][0]["len"], 20480 - 20000);
    assert!(object["rss"]["total"].is_i64() && object["rss"]["machine_at_most"].is_i64());
    let text = String::from_utf8(gup(&[&ask[..], &all].concat()).stdout).expect("text");
    for word in ["  memlock   ", "RLIMIT_MEMLOCK", "  fork      ", "  beside it ", "  memory    "] {
        assert!(text.contains(word), "{text:?} has no {word:?}");
    }
    let none = gup(&[&ask[..], &["--json"]].concat());
    let object: Value = serde_json::from_slice(&none.stdout).expect("one JSON object");
    assert!(object.get("memlock").is_none() && object.get("fork").is_none());
}

#[test]
fn further_ranges_count_and_bad_ones_are_bad_usage() {
    let ask = ["heap", "4096", "--as", "io-uring-buffer", "--memlock", "--json"];
    let output = gup(&[&ask[..], &["--also", "stack", "1p", "--also", "heap", "1p"]].concat());
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(object["memlock"]["buffers"].as_array().map(Vec::len), Some(3), "{object}");
    assert_eq!(object["memlock"]["needed"], 3 * 4096);
    let bad = gup(&[&ask[..], &["--also", "heap", "0"]].concat());
    assert_eq!(bad.status.code(), Some(2), "{}", String::from_utf8_lossy(&bad.stderr));
}

#[test]
fn what_counts_against_no_limit_says_so() {
    let text = gup(&["heap", "1p", "--as", "process_vm_readv", "--memlock", "--fork"]).stdout;
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("count against no limit"), "{text}");
    assert!(text.contains("nothing is held"), "{text}");
}

/// A copy of gup that anybody may run, in a folder that goes with it.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_user_without_privilege_gets_the_limit_and_exits_with_1_when_it_is_too_small() {
    let copy = Copy(std::env::temp_dir().join(format!("gup-answers-{}", std::process::id())));
    std::fs::create_dir_all(&copy.0).expect("a folder");
    let program = copy.0.join("gup");
    std::fs::copy(env!("CARGO_BIN_EXE_gup"), &program).expect("a copy");
    let script = format!(
        "ulimit -S -l 16; sleep 60 & sleep 0.3; {} explain --pid $! heap 8p --as io-uring-buffer \
         --memlock --check; status=$?; kill $!; exit $status",
        program.display()
    );
    let output = Command::new("setpriv")
        .args(["--reuid=64123", "--regid=64123", "--clear-groups", "--no-new-privs", "sh", "-c"])
        .arg(script)
        .output();
    let output = match output {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).starts_with("setpriv") => output,
        _ => {
            let _ = writeln!(std::io::stderr(), "cannot ask: only root can become somebody else");
            return;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for words in ["would fail with ENOMEM: 16 KiB too little", "of user 64123", "instead"] {
        assert!(text.contains(words), "{text} does not say {words:?}");
    }
}
