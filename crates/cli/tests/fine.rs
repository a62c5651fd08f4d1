//! "The pages are fine": said of a hundred healthy ranges, which the kernel then takes, without one
//! false alarm; and of memory that was only thought to be the cause.

use gup_conformance::agree::driver_of;
use gup_conformance::ask::answer::Asked;
use gup_conformance::ask::{ask_remote, driver::Caller};
use gup_conformance::fixture::files;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::{Range, Subject, Workshop};
use gup_mirror::consumer::Consumer;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const GUP: &str = env!("CARGO_BIN_EXE_gup");

fn workshop() -> Workshop {
    let dir = files::usable_dir().unwrap_or_else(|| PathBuf::from("/"));
    Workshop::new(Path::new(GUP), &dir)
}

fn gup(subject: &Subject, range: Range, consumer: Consumer, form: &[&str]) -> (i32, String) {
    let (pid, addr) = (subject.pid().to_string(), format!("{:#x}", range.start));
    let len = range.bytes.to_string();
    let ask = ["explain", "--pid", &pid, &addr, &len, "--as", consumer.name(), "--check"];
    let output = Command::new(GUP).args(ask).args(form).output().expect("gup runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

/// Healthy memory, of which anybody may have any page for reading and writing.
const HEALTHY: [Kind; 10] = [
    Kind::AnonRwFresh,
    Kind::AnonRwWritten,
    Kind::AnonRwZero,
    Kind::AnonRwOdd,
    Kind::ShanonWritten,
    Kind::FprivRw,
    Kind::FprivRwCowed,
    Kind::MemfdRw,
    Kind::ForkParent,
    Kind::ThpWritten,
];

/// Who asks for it, in ways that can be put to the kernel.
const CONSUMERS: [Consumer; 10] = [
    Consumer::IoUringBuffer,
    Consumer::ProcessVmReadv,
    Consumer::ProcessVmWritev,
    Consumer::ODirectRead,
    Consumer::ODirectWrite,
    Consumer::MadvisePopulateWrite,
    Consumer::Mlock,
    Consumer::ProcMemWrite,
    Consumer::Vmsplice,
    Consumer::PtracePeek,
];

#[test]
fn a_hundred_healthy_ranges_give_no_false_alarm() {
    let (workshop, mut healthy) = (workshop(), 0);
    for kind in HEALTHY {
        for consumer in CONSUMERS {
            let mut subject = workshop.start(kind).expect("every machine has these");
            let range = subject.range();
            let (status, text) = gup(&subject, range, consumer, &["--json", "--memlock"]);
            let name = format!("{} {}: {text}", kind.name(), consumer.name());
            let object: Value = serde_json::from_str(&text).expect("one JSON object");
            let driver = driver_of(consumer).expect("each has one");
            let asked = match driver.caller() {
                Caller::Other => ask_remote(driver, subject.pid(), range),
                Caller::Subject => subject.ask(driver),
            };
            match asked {
                Asked::Answer(answer) if answer.errno == 0 => healthy += 1,
                Asked::Answer(answer) => {
                    let _ = writeln!(std::io::stderr(), "not healthy here: {name}: {answer}");
                    continue;
                }
                Asked::Cannot(why) => {
                    let _ = writeln!(std::io::stderr(), "cannot ask: {}: {why}", consumer.name());
                    healthy += 1;
                }
            }
            assert_eq!((status, &object["pages_fine"]), (0, &true.into()), "{name}");
            assert_ne!(object["memlock"]["enough"], "exceeds", "{name}");
        }
    }
    assert!(healthy >= 100, "only {healthy} ranges were healthy");
}

/// A storage engine's write buffers: anonymous, every page stored to, then written directly.
#[test]
fn touched_anonymous_memory_is_fine_and_the_list_says_where_to_look_instead() {
    let subject = workshop().start(Kind::AnonRwWritten).expect("every machine has it");
    for (consumer, words) in [
        (Consumer::ODirectWrite, &["alignment"][..]),
        (Consumer::IoUringBuffer, &["io_uring_disabled", "address space", "1 GiB", "--memlock"]),
        (Consumer::Rdma, &["peer-memory", "max_mr", "address space", "page tables", "--memlock"]),
        (Consumer::Vfio, &["65535", "aperture", "address space", "page tables"]),
    ] {
        let (status, text) = gup(&subject, subject.range(), consumer, &[]);
        assert_eq!(status, 0, "{text}");
        for word in ["nothing is wrong with the memory", "the cause is elsewhere"] {
            assert!(text.contains(word), "{text}");
        }
        for word in words {
            assert!(text.contains(word), "{} does not say {word}: {text}", consumer.name());
        }
    }
}

#[test]
fn memory_that_is_not_fine_gets_no_such_list() {
    let subject = workshop().start(Kind::Hole).expect("every machine has it");
    let (status, text) = gup(&subject, subject.range(), Consumer::Rdma, &["--json"]);
    let object: Value = serde_json::from_str(&text).expect("one JSON object");
    assert_eq!((status, &object["pages_fine"]), (1, &false.into()));
    assert_eq!(object["why_fine"], Value::Array(Vec::new()));
}
