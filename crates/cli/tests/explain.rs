//! `gup explain`, run as a person runs it: answers, bad input, exit statuses.

use serde_json::Value;
use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};

fn gup(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gup")).args(args).output().expect("gup runs")
}

/// A process of ours that sleeps, and ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        let sleeper =
            Self(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep"));
        // It is ready when it has become `sleep` and has a heap.
        for _ in 0..500 {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", sleeper.pid()));
            if maps.is_ok_and(|maps| maps.contains("/sleep") && maps.contains("[heap]")) {
                return sleeper;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("sleep did not start");
    }
    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `gup explain` on a sleeper; `args` come after its pid.
fn explain(args: &[&str]) -> Output {
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    gup(&[&["explain", "--pid", &pid], args].concat())
}

#[track_caller]
fn refused(output: &Output, status: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(output.stdout.is_empty(), "nothing but the message is printed");
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}

#[test]
fn the_heap_of_a_live_process_can_be_read() {
    let output = explain(&["heap", "1p", "--as", "process_vm_readv", "--json"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(object["schema"], "gup.explain/1");
    assert_eq!((&object["ret"], &object["syscall_ret"]), (&1.into(), &4096.into()));
    assert!(object["stop"].is_null() && object["errno"].is_null());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_write_to_read_only_memory_names_rule_and_mapping() {
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    let ask = ["explain", "--pid", &pid, "sleep", "2p", "--as", "process_vm_writev"];
    let object: Value =
        serde_json::from_slice(&gup(&[&ask[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!((&object["ret"], &object["errno"]), (&(-14).into(), &"EFAULT".into()));
    assert_eq!(
        (&object["syscall_ret"], &object["syscall_errno"]),
        (&(-1).into(), &"EFAULT".into())
    );
    assert_eq!((&object["stop"]["index"], &object["stop"]["rule"]), (&0.into(), &"C-33".into()));
    let text = String::from_utf8(gup(&ask).stdout).unwrap();
    assert!(text.contains("would fail with EFAULT at page 0"), "{text}");
    assert!(text.contains("C-33") && text.contains("r--p") && text.contains("instead"), "{text}");
    let check = gup(&[&ask[..], &["--check"]].concat());
    assert_eq!(check.status.code(), Some(1), "--check turns the no into a status");
}

#[test]
fn raw_flags_are_taken_with_and_without_their_prefix() {
    for flags in ["WRITE|PIN|LONGTERM", "foll_write,FOLL_PIN"] {
        let output = explain(&["heap", "4096", "--foll", flags, "--json"]);
        let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert!(object["as"].is_null() && object["syscall_ret"].is_null(), "{object}");
        assert_eq!(object["ret"], 1);
    }
    refused(&explain(&["heap", "4096", "--foll", "WRIT"]), 2, &["WRIT", "WRITE"]);
}

#[test]
fn a_process_that_is_gone_cannot_be_looked_at() {
    let pid = {
        let sleeper = Sleeper::start();
        sleeper.pid()
    };
    let output = gup(&["explain", "--pid", &pid, "heap", "4096", "--as", "mlock"]);
    refused(&output, 3, &["gone", &pid]);
    refused(&gup(&["explain", "--pid", "4294967295", "0", "1", "--as", "mlock"]), 3, &["gone"]);
}

#[test]
fn a_kernel_thread_has_nothing_to_pin() {
    if !std::fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm.trim() == "kthreadd") {
        cannot_ask("process 2 is no kernel thread here");
        return;
    }
    let output = gup(&["explain", "--pid", "2", "heap", "4096", "--as", "mlock"]);
    refused(&output, 3, &["kernel thread", "kthreadd"]);
}

#[test]
fn a_process_of_somebody_else_is_refused_with_what_to_do() {
    let unprivileged = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
    let folder = std::env::temp_dir().join(format!("gup-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let copy = folder.join("gup");
    std::fs::copy(env!("CARGO_BIN_EXE_gup"), &copy).expect("a copy that anybody may run");
    let output = Command::new("setpriv")
        .args(unprivileged)
        .arg(&copy)
        .args(["explain", "--pid", "1", "heap", "4096", "--as", "mlock"])
        .output();
    let _ = std::fs::remove_dir_all(&folder);
    match output {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).starts_with("setpriv") => {
            refused(&output, 3, &["not permitted", "/proc/1/", "CAP_SYS_PTRACE"]);
        }
        _ => cannot_ask("only root can become somebody else"),
    }
}

#[test]
fn what_is_no_address_no_length_or_no_range_is_bad_usage() {
    let table: [(&str, &str, &[&str]); 11] = [
        ("0xzz", "4096", &["0xzz", "hexadecimal"]),
        ("", "4096", &["not an address"]),
        ("-1", "4096", &["-1", "not an address"]),
        ("0x10000000000000000", "4096", &["64 bits"]),
        ("no-such-mapping", "4096", &["no-such-mapping", "/maps"]),
        ("0x1000", "0", &["length of 0"]),
        ("0x1000", "18446744073709551615", &["wraps"]),
        ("0x0", "18446744073709551615", &["longer than"]),
        ("0xffffffffffffffff", "2", &["wraps"]),
        ("0x1000", "64Q", &["64Q", "16p"]),
        ("heap", "18446744073709551615", &["wraps"]),
    ];
    for (addr, len, words) in table {
        refused(&explain(&[addr, len, "--as", "mlock"]), 2, words);
    }
    refused(&explain(&["heap", "1p", "--as", "nobody"]), 2, &["nobody", "io-uring-buffer"]);
    assert_eq!(explain(&["heap", "1p"]).status.code(), Some(2), "somebody must pin");
    for pid in ["0", "-1", "x", "99999999999"] {
        let output = gup(&["explain", "--pid", pid, "heap", "1p", "--as", "mlock"]);
        assert_eq!(output.status.code(), Some(2), "--pid {pid}");
    }
}

#[test]
fn an_address_outside_user_space_gets_a_verdict_like_any_other() {
    for addr in ["0x800000000000", "0xffff888000000000", "0xfffffffffffff000"] {
        let output = explain(&[addr, "4096", "--as", "process_vm_readv", "--json"]);
        let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(object["syscall_errno"], "EFAULT", "{addr}");
        assert!(object["stop"]["mapping"].is_null(), "{addr}");
    }
}

#[test]
fn a_pipe_that_is_closed_early_is_no_failure() {
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gup"))
        .args(["explain", "--pid", &pid, "heap", "1p", "--as", "process_vm_readv"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gup runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn no_colour_reaches_a_pipe() {
    let output = explain(&["0x1000", "1p", "--as", "process_vm_readv"]);
    assert!(!output.stdout.contains(&0x1b), "escape sequences are for terminals");
}

/// Says why this test could not ask, past the test runner, which keeps what passing tests print.
fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}
