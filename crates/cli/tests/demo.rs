//! `gup demo` on this machine: whatever it can ask, the engine and the kernel agree.

use std::io::Write as _;
use std::process::Command;

#[test]
fn every_answer_that_could_be_asked_agrees_with_the_kernel() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if !release.starts_with("6.18.") {
        cannot_ask(&format!("the rules are those of Linux 6.18, this is {release}"));
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_gup")).arg("demo").output().expect("gup runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().find(|line| line.contains("answers agree")).unwrap_or("no count");
    assert_eq!(output.status.code(), Some(0), "{last}\n{text}");
    let mut words = last.split(' ');
    let (agree, asked) = (words.next(), words.nth(1));
    assert_eq!(agree, asked, "{last}");
    let agree: usize = agree.and_then(|n| n.parse().ok()).unwrap_or(0);
    assert!(agree > 500, "most questions can be asked anywhere: {last}");
}

/// Says why this test could not ask, past the test runner, which keeps what passing tests print.
fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}
