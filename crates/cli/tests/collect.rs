//! `gup collect` and `gup explain --bundle`: the same answer elsewhere, and no contents of pages.

use gup_conformance::fixture::files;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::{Range, Subject, Workshop};
use gup_mirror::answer;
use gup_mirror::bundle;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::look::Look;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::explain::{NoVerdict, explain, hints};
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const GUP: &str = env!("CARGO_BIN_EXE_gup");

fn gup(args: &[&str]) -> Output {
    Command::new(GUP).args(args).output().expect("gup runs")
}

/// A folder of this test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gup-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn collect(subject: &Subject, to: &Path) -> Output {
    let Range { start, bytes } = subject.range();
    let (pid, addr) = (subject.pid().to_string(), format!("{start:#x}"));
    let to = to.to_string_lossy();
    gup(&["collect", "--pid", &pid, &addr, &bytes.to_string(), "-o", &to])
}

/// What is said about every consumer, live or collected.
fn said(process: &Process, range: ByteRange, consumer: Consumer) -> String {
    let request = Request { ask: Ask::Consumer(consumer), range };
    match explain(process, &request) {
        Ok(verdict) => format!("{verdict:?} {:?}", hints::why_fine(process, &verdict)),
        Err(error) => error.to_string(),
    }
}

/// What else is answered, live or collected: all but whose limit counts, since other processes are
/// in no bundle.
fn answered(process: &Process, range: ByteRange, consumer: Consumer) -> String {
    let request = Request { ask: Ask::Consumer(consumer), range };
    let Ok(look) = Look::at(process, request) else { return String::new() };
    let told = |error: NoVerdict| error.to_string();
    [
        format!("{:?}", answer::cost::cost(&look).map_err(told)),
        format!("{:?}", answer::fork::fork(&look).map_err(told)),
        format!(
            "{:?}",
            answer::movable::movable(&look).map_err(told).map(|movable| movable.places)
        ),
        format!("{:?}", answer::readers::readers(&look).map_err(told)),
        format!("{:?}", answer::rss::rss(&look).map_err(told)),
    ]
    .join("\n")
}

#[test]
fn every_kind_gets_the_same_answer_from_a_bundle_for_every_consumer() {
    let folder = Folder::new("kinds");
    let dir = files::usable_dir().unwrap_or_else(|| PathBuf::from("/"));
    let workshop = Workshop::new(Path::new(GUP), &dir);
    let mut compared = 0;
    for (turn, &kind) in Kind::ALL.iter().enumerate() {
        let subject = match workshop.start(kind) {
            Ok(subject) => subject,
            Err(why) => {
                cannot_ask(&format!("{}: {why}", kind.name()));
                continue;
            }
        };
        let file = folder.file(if turn % 2 == 0 { "b.jsonl" } else { "b.jsonl.gz" });
        // Between the two looks the kernel may collapse or split huge pages.
        let tries = (0..4).map(|_| compare(&subject, &file, turn));
        let mut differences = tries.take_while(Result::is_err).filter_map(Result::err);
        let last = differences.by_ref().nth(3);
        assert_eq!(last, None, "{}", kind.name());
        compared += Consumer::ALL.len();
    }
    assert!(compared >= 40 * Consumer::ALL.len(), "only {compared} answers were compared");
}

/// Collects the subject and compares what is said of it, live and from the bundle.
fn compare(subject: &Subject, file: &Path, turn: usize) -> Result<(), String> {
    let output = collect(subject, file);
    assert!(output.status.success(), "{output:?}");
    let Range { start, bytes: len } = subject.range();
    let bytes = ByteRange::new(start, len).expect("a range");
    let live = Process::open(subject.pid()).expect("it lives");
    let kept = Process::from_bundle(bundle::read(file).expect("a bundle"));
    let alike = |live: String, kept: String| {
        if live == kept { Ok(()) } else { Err(format!("live: {live}\nkept: {kept}")) }
    };
    for &consumer in Consumer::ALL {
        alike(said(&live, bytes, consumer), said(&kept, bytes, consumer))?;
    }
    // The other answers and what is printed, too, for one consumer after the other.
    let consumer = Consumer::ALL[turn % Consumer::ALL.len()];
    alike(answered(&live, bytes, consumer), answered(&kept, bytes, consumer))?;
    let (pid, addr, len) = (subject.pid().to_string(), format!("{start:#x}"), len.to_string());
    let bundle = file.to_string_lossy();
    for form in [&[][..], &["--json"]] {
        let ask = [&[&addr[..], &len, "--as", consumer.name()], form].concat();
        let live = gup(&[&["explain", "--pid", &pid], &ask[..]].concat());
        let kept = gup(&[&["explain", "--bundle", &bundle], &ask[..]].concat());
        alike(format!("{live:?}"), format!("{kept:?}"))?;
    }
    Ok(())
}

/// A process that sleeps, with `MARKER` in its memory.
struct Marked(Child);

const MARKER: &str = "gup-must-not-tell-this-8c1f";

impl Marked {
    fn start() -> Self {
        let mut sleep = Command::new("sleep");
        sleep.arg("60").env("SECRET", MARKER).stdin(Stdio::null());
        let marked = Self(sleep.spawn().expect("sleep"));
        for _ in 0..500 {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", marked.0.id()));
            if maps.is_ok_and(|maps| maps.contains("/sleep") && maps.contains("[heap]")) {
                return marked;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("sleep did not start");
    }
    fn pid(&self) -> String {
        self.0.id().to_string()
    }
    /// Faults taken so far, and its resident pages.
    fn touched(&self) -> (String, String) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("stat");
        let words: Vec<&str> = stat.split(' ').collect();
        (words[9].to_owned(), words[23].to_owned())
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_bundle_has_no_contents_of_pages_and_collecting_touches_none() {
    let folder = Folder::new("marker");
    let marked = Marked::start();
    let (pid, file) = (marked.pid(), folder.file("b.jsonl"));
    let environ = std::fs::read(format!("/proc/{pid}/environ")).expect("its own user reads it");
    assert!(String::from_utf8_lossy(&environ).contains(MARKER), "it is in its memory");
    let before = marked.touched();
    let output = gup(&["collect", "--pid", &pid, "-o", &file.to_string_lossy()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(marked.touched(), before, "no page was touched");
    let text = std::fs::read_to_string(&file).expect("the bundle");
    assert!(text.contains("[stack]") && text.contains("\"sleep") || text.contains("/sleep"));
    assert!(!text.contains(MARKER), "the memory's contents are nobody's business");
}

#[test]
fn a_file_that_is_no_bundle_or_only_part_of_one_is_refused() {
    let folder = Folder::new("torn");
    let marked = Marked::start();
    let (pid, file) = (marked.pid(), folder.file("b.jsonl"));
    let path = file.to_string_lossy();
    assert!(gup(&["collect", "--pid", &pid, "heap", "1p", "-o", &path]).status.success());
    let whole = std::fs::read(&file).expect("the bundle");
    let explain = |addr: &str| gup(&["explain", "--bundle", &path, addr, "1p", "--as", "mlock"]);
    assert_eq!(explain("heap").status.code(), Some(0));
    refused(&explain("stack"), &["does not have", "gup collect"]);
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("half of it");
    refused(&explain("heap"), &["cut off"]);
    std::fs::write(&file, b"{\"schema\":\"gup.explain/1\"}\n").expect("something else");
    refused(&explain("heap"), &["gup.bundle/1"]);
    std::fs::remove_file(&file).expect("it was there");
    refused(&explain("heap"), &["could not read"]);
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}

/// Says why this test could not ask, past the test runner, which keeps what passing tests print.
fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}
