//! `gup explain -- CMD`: what it tells of a command's failing calls, and that the command does not
//! notice.
//!
//! The command is this test program once more ([`acts`]), or one of the system's.

mod acts;

use serde_json::Value;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const GUP: &str = env!("CARGO_BIN_EXE_gup");
const ACT: &str = "GUP_TEST_ACT";

/// Runs nothing unless this program is the command.
#[test]
fn the_command_acts() {
    if let Ok(what) = std::env::var(ACT) {
        acts::act(&what);
    }
}

/// `gup explain OPTIONS -- COMMAND`.
fn follow(options: &[&str], command: &[&str]) -> Output {
    let mut gup = Command::new(GUP);
    gup.arg("explain").args(options).arg("--").args(command);
    gup.stdin(Stdio::null()).output().expect("gup runs")
}

/// The same of an act; in a folder where direct I/O can be expected.
fn follow_act(options: &[&str], what: &str) -> Output {
    let own = std::env::current_exe().expect("a name");
    let mut gup = Command::new(GUP);
    gup.arg("explain").args(options).arg("--").arg(own);
    gup.args(["--exact", "the_command_acts", "--nocapture", "--test-threads=1"]);
    gup.env(ACT, what).current_dir(env!("CARGO_TARGET_TMPDIR"));
    gup.stdin(Stdio::null()).output().expect("gup runs")
}

/// An act that is told as data, of the copies `gup` and `own` of both programs.
fn act_command(gup: &Path, own: &Path, what: &str) -> Command {
    let mut command = Command::new(gup);
    command.args(["explain", "--json", "-f", "--"]).arg(own);
    command.args(["--exact", "the_command_acts", "--nocapture"]).env(ACT, what);
    command.stdin(Stdio::null());
    command
}

/// The objects that were told.
#[track_caller]
fn told(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stderr);
    let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"));
    text.lines().map(object).collect()
}

/// What the act expects to be told, in order: call, consumer, address, errno.
fn expected(output: &Output) -> Vec<[String; 4]> {
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().filter(|line| line.starts_with("cannot ask")) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    let words = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        std::array::from_fn(|_| words.next().expect("four words"))
    };
    text.lines().filter_map(|line| line.strip_prefix("expect ")).map(words).collect()
}

/// That what was told is what the act expected.
#[track_caller]
fn as_expected(output: &Output) -> usize {
    let (told, expected) = (told(output), expected(output));
    for (told, [call, consumer, at, errno]) in told.iter().zip(&expected) {
        assert_eq!(told["schema"], "gup.follow/1");
        assert_eq!(told["call"], **call, "{told}");
        let explain = &told["explain"];
        assert_eq!(explain["as"].as_str().unwrap_or("-"), consumer, "{told}");
        let stop = &explain["stop"];
        assert_eq!(stop["addr"].as_str().unwrap_or("0x0"), at, "{told}");
        assert_eq!(stop["rule"].is_string(), at != "0x0", "{told}");
        let name = told["errno"].as_str();
        assert_eq!(name.is_none(), errno == "0", "{told}");
        assert_eq!(told["ret"].as_i64() == Some(-1), errno != "0", "{told}");
        assert!(explain.is_object() || !told["look_at"].as_array().unwrap().is_empty(), "{told}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}\n{expected:#?}");
    assert_eq!(output.status.code(), Some(7), "the exit status is the command's");
    told.len()
}

#[test]
fn every_failing_call_is_told_with_its_consumer_and_the_page_that_stops_it() {
    let told = as_expected(&follow_act(&["--json"], "everything"));
    assert!(told >= 16, "only {told} calls could be tried");
}

#[test]
fn children_are_told_of_with_f_only() {
    let output = follow_act(&["--json", "-f"], "child");
    assert_eq!(as_expected(&output), 3);
    assert!(told(&output).iter().all(|object| object["pid"] == object["thread"]));
    let output = follow_act(&["--json"], "child");
    assert_eq!(expected(&output).len(), 3, "the child's calls fail as without us");
    assert!(told(&output).is_empty(), "{output:?}");
}

#[test]
fn a_thread_that_ran_before_the_file_was_opened_is_followed_call_by_call_too() {
    let output = follow_act(&["--json"], "late");
    let told = as_expected(&output);
    assert!(told >= 8 || !String::from_utf8_lossy(&output.stdout).contains("expect"), "{told}");
}

#[test]
fn reads_and_writes_are_left_alone_when_asked() {
    let output = follow_act(&["--json", "--no-direct-io"], "late");
    assert!(told(&output).is_empty(), "{output:?}");
}

#[test]
fn a_person_reads_the_call_the_reason_and_what_to_do() {
    let output = follow_act(&["-f"], "child");
    let text = String::from_utf8_lossy(&output.stderr);
    for part in
        ["gup: mlock(0x3", "failed with ENOMEM in", "would fail with ENOMEM at page 4", "M-02"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(text.contains("gup: mlockall(64) failed with EINVAL"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour without a terminal");
}

#[test]
fn with_o_it_is_told_in_a_file() {
    let path = std::env::temp_dir().join(format!("gup-follow-{}", std::process::id()));
    let output = follow_act(&["-f", "-o", path.to_str().expect("text")], "child");
    let text = std::fs::read_to_string(&path);
    let _ = std::fs::remove_file(&path);
    assert!(text.expect("the file").contains("gup: mlock("));
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(follow(&["-o", "/nonexistent/x"], &["true"]).status.code(), Some(3));
}

#[test]
fn a_command_that_never_fails_is_as_without_us() {
    let script = "echo out; echo err >&2; cat; ( exit 3 ); printf %s \"$? $*\"; exit 42";
    let command = ["sh", "-c", script, "name", "a b", "-f", "--json"];
    let alone = Command::new("sh").args(&command[1..]).stdin(Stdio::null()).output().unwrap();
    for options in [&[][..], &["-f"]] {
        let followed = follow(options, &command);
        assert_eq!(followed.stdout, alone.stdout);
        assert_eq!(followed.stderr, alone.stderr);
        assert_eq!(followed.status.code(), Some(42));
    }
}

#[test]
fn signals_reach_the_command_and_its_end_is_ours() {
    let table = [
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
        ("trap 'exit 5' USR1; kill -USR1 $$; exit 1", 5),
        ("trap 'exit 6' RTMIN+3 2>/dev/null || exit 6; kill -s RTMIN+3 $$; exit 6", 6),
        ("(sleep 0.2; kill -CONT $$) & kill -STOP $$; exit 9", 9),
        ("(sleep 0.2; kill -CONT $$) & kill -TSTP $$; exit 10", 10),
        ("ulimit -c 0; kill -SEGV $$", 128 + 11),
    ];
    for (script, status) in table {
        let output = follow(&["-f"], &["sh", "-c", script]);
        assert_eq!(output.status.code(), Some(status), "{script}: {output:?}");
        assert!(output.status.signal().is_none());
    }
}

#[test]
fn a_signal_to_us_is_passed_on_and_a_second_interruption_ends_all() {
    let wait_for = |text: &str, child: &mut std::process::Child| {
        use std::io::BufRead as _;
        let out = child.stdout.as_mut().expect("a pipe");
        let mut line = String::new();
        std::io::BufReader::new(out).read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), text);
    };
    let spawn = |script: &str| {
        let mut gup = Command::new(GUP);
        gup.args(["explain", "--", "sh", "-c", script]);
        gup.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        gup.spawn().expect("gup runs")
    };
    let kill = |child: &std::process::Child, signal| {
        // SAFETY: touches no memory; the child has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    };
    let mut child = spawn("trap 'exit 11' TERM; echo ready; while :; do sleep 0.05; done");
    wait_for("ready", &mut child);
    kill(&child, libc::SIGTERM);
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(11));

    let mut child = spawn("trap 'echo heard' INT; echo ready; while :; do sleep 0.05; done");
    wait_for("ready", &mut child);
    kill(&child, libc::SIGINT);
    wait_for("heard", &mut child);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(child.try_wait().expect("known").is_none(), "the command goes on");
    kill(&child, libc::SIGINT);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("no longer looking"), "{text}");
}

#[test]
fn what_cannot_be_run_gives_the_statuses_of_a_shell() {
    let output = follow(&[], &["no-such-program-of-ours"]);
    assert_eq!(output.status.code(), Some(127));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("no-such-program-of-ours"), "{text}");
    assert_eq!(follow(&[], &["/dev/null"]).status.code(), Some(126));
    assert_eq!(follow(&[], &["/"]).status.code(), Some(126));
    assert_eq!(follow(&[], &[]).status.code(), Some(2), "no command at all");
    assert_eq!(follow(&["--pid", "1"], &["true"]).status.code(), Some(2), "either, not both");
}

#[test]
fn a_word_of_another_process_that_cannot_be_read_is_told() {
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep");
    let output = act_command(GUP.as_ref(), &std::env::current_exe().expect("a name"), "peek")
        .env("GUP_TEST_PID", sleeper.id().to_string())
        .output()
        .expect("gup runs");
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    as_expected(&output);
    for object in told(&output) {
        assert_eq!(object["explain"]["pid"], sleeper.id(), "it is that process's memory");
    }
}

/// A folder that anybody may enter, removed with the test; with gup and this program in it.
struct Open(PathBuf);

impl Open {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gup-follow-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::copy(GUP, folder.join("gup")).expect("a copy");
        std::fs::copy(std::env::current_exe().expect("a name"), folder.join("own")).expect("one");
        Self(folder)
    }
    /// The act, by somebody without privilege; `None` if only root could ask.
    fn act(&self, what: &str) -> Option<Output> {
        let inner = act_command(&self.0.join("gup"), &self.0.join("own"), what);
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .env(ACT, what)
            .current_dir(&self.0);
        let output = command.output().ok();
        let asked = output.filter(|output| !output.stderr.starts_with(b"setpriv"));
        if asked.is_none() {
            cannot_ask("only root can become somebody else");
        }
        asked
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn without_privilege_it_works_all_the_same() {
    let Some(output) = Open::new("child").act("child") else { return };
    assert_eq!(as_expected(&output), 3);
}

#[test]
fn where_the_pages_are_fine_it_says_where_to_look() {
    let Some(output) = Open::new("limit").act("limit") else { return };
    as_expected(&output);
    for object in told(&output) {
        assert_eq!(object["errno"], "ENOMEM", "{object}");
        let hints = [&object["explain"]["why_fine"], &object["look_at"]].map(Value::to_string);
        assert!(hints.concat().contains("RLIMIT_MEMLOCK"), "{object}");
        if object["call"] == "io_uring_register" {
            let ledger = &object["explain"]["memlock"];
            assert_eq!((&ledger["limit"], &ledger["errno"]), (&4096.into(), &"ENOMEM".into()));
        }
    }
}

#[test]
fn a_set_user_id_program_is_said_to_run_without_its_rights() {
    let open = Open::new("suid");
    let program = open.0.join("suid");
    std::fs::copy("/bin/true", &program).expect("a copy");
    std::fs::set_permissions(&program, Permissions::from_mode(0o4755)).expect("our own");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(open.0.join("gup"))
        .args(["explain", "--json", "--"])
        .arg(&program)
        .output();
    match output {
        Ok(output) if !output.stderr.starts_with(b"setpriv") => {
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(told(&output)[0]["note"], "without-its-rights");
        }
        _ => cannot_ask("only root can become somebody else"),
    }
}

/// A program of 32 bits that locks what is not mapped, and ends with 9.
fn small_program() -> Vec<u8> {
    let code = [
        [0xb8, 150, 0, 0, 0].as_slice(),
        &[0xbb, 0, 0x10, 0, 0],
        &[0xb9, 0, 0x10, 0, 0],
        &[0xcd, 0x80],
        &[0xb8, 1, 0, 0, 0],
        &[0xbb, 9, 0, 0, 0],
        &[0xcd, 0x80],
    ]
    .concat();
    let base = 0x0804_8000_u32;
    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 3, 0]);
    for word in [1, base + 84, 52, 0, 0] {
        file.extend(word.to_le_bytes());
    }
    for half in [52_u16, 32, 1, 40, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let size = 84 + u32::try_from(code.len()).expect("short");
    for word in [1, 0, base, base, size, size, 5, 4096] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[test]
#[cfg(target_arch = "x86_64")]
fn of_a_program_of_32_bits_it_says_that_nothing_is_known() {
    let open = Open::new("small");
    let program = open.0.join("small");
    std::fs::write(&program, small_program()).expect("room");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("our own");
    let Ok(status) = Command::new(&program).status() else {
        return cannot_ask("this kernel runs no program of 32 bits");
    };
    assert_eq!(status.code(), Some(9));
    let output = follow(&["--json"], &[program.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    let told = told(&output);
    assert_eq!((told.len(), &told[0]["note"]), (1, &"foreign".into()));
}

/// Says why this test could not ask, past the test runner.
fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}
