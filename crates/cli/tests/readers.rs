//! Readers from outside: what is predicted for random offsets and lengths on processes with every
//! kind of memory is what the kernel then gives, and predicting touches nothing.

use gup_conformance::ask::answer::{Answer, Asked};
use gup_conformance::ask::ask_remote;
use gup_conformance::ask::driver::Driver;
use gup_conformance::fixture::files;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::{Range, Subject, Workshop};
use gup_mirror::answer::readers::{Reach, Reader, readers};
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::look::Look;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const GUP: &str = env!("CARGO_BIN_EXE_gup");
const PAGE: u64 = 4096;

/// Offsets and lengths that are asked about in all, at least.
const PAIRS: usize = 500;

/// Kinds in which readers come to different ends.
const KINDS: [Kind; 24] = [
    Kind::AnonRwWritten,
    Kind::AnonRwFresh,
    Kind::AnonRwOdd,
    Kind::AnonNoneWritten,
    Kind::AnonNoneFresh,
    Kind::AnonWoFresh,
    Kind::AnonXoWritten,
    Kind::Hole,
    Kind::HoleFirst,
    Kind::MidNone,
    Kind::MidRo,
    Kind::TwoVmas,
    Kind::Guard,
    Kind::Growsdown,
    Kind::GrowsdownSpan,
    Kind::FprivEof,
    Kind::FshEof,
    Kind::FshRw,
    Kind::MemfdEof,
    Kind::ShanonWritten,
    Kind::ForkParent,
    Kind::ThpWritten,
    Kind::Secretmem,
    Kind::Vvar,
];

/// Numbers that look random; the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % n
    }
    /// A range near the subject's, of any length, at any byte.
    fn range(&mut self, around: Range) -> Range {
        let bytes = around.bytes + 2 * PAGE;
        let offset = self.below(bytes);
        let start = (around.start - PAGE).wrapping_add(offset);
        Range { start, bytes: 1 + self.below(bytes - offset) }
    }
}

/// State, faults that were taken, and resident pages.
fn stat(pid: u32) -> [String; 3] {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let (_, words) = stat.rsplit_once(") ").expect("its name comes first");
    let words: Vec<&str> = words.split(' ').collect();
    [0, 7, 21].map(|at| words[at].to_owned())
}

/// Waits until the subject waits for questions, and touches nothing any more.
fn settle(pid: u32) {
    for _ in 0..1000 {
        if stat(pid)[0] == "S" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn predicted(subject: &Subject, range: Range) -> Vec<Reader> {
    let process = Process::open(subject.pid()).expect("it lives");
    let range = ByteRange::new(range.start, range.bytes).expect("a range");
    let request = Request { ask: Ask::Consumer(Consumer::ProcessVmReadv), range };
    let look = Look::at(&process, request).expect("it can be looked at");
    readers(&look).expect("the mirror is small").readers
}

/// What the kernel gives a reader, as bytes from the start and an errno.
fn given(reader: &Reader, range: Range, answer: Answer) -> (u64, i32) {
    if reader.consumer != Consumer::PtracePeek {
        return (u64::try_from(answer.ret).unwrap_or(0), answer.errno);
    }
    let pages = u64::from(answer.mask.trailing_ones()).min(range.pages());
    let end = (range.start & !(PAGE - 1)) + pages * PAGE;
    let bytes = if pages == 0 { 0 } else { (end - range.start).min(range.bytes) };
    (bytes, answer.errno)
}

#[test]
fn readers_get_what_is_predicted_from_any_offset_and_length() {
    let dir = files::usable_dir().unwrap_or_else(|| PathBuf::from("/"));
    let workshop = Workshop::new(Path::new(GUP), &dir);
    let (mut dice, mut asked, mut reaches) = (Dice(7), 0, [0; 3]);
    for kind in KINDS {
        let subject = match workshop.start(kind) {
            Ok(subject) => subject,
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "cannot ask: {}: {why}", kind.name());
                continue;
            }
        };
        for _ in 0..PAIRS.div_ceil(KINDS.len() - 2) {
            let range = dice.range(subject.range());
            settle(subject.pid());
            let before = stat(subject.pid());
            let predicted = predicted(&subject, range);
            assert_eq!(stat(subject.pid()), before, "{}: predicting touched it", kind.name());
            asked += 1;
            for (reader, driver) in
                predicted.iter().zip([Driver::VmRead, Driver::MemRead, Driver::Peek])
            {
                // A reader of more than one huge page would need a longer mask.
                if driver == Driver::Peek && range.pages() > 64 {
                    continue;
                }
                let Asked::Answer(answer) = ask_remote(driver, subject.pid(), range) else {
                    let _ = writeln!(std::io::stderr(), "cannot ask: {}", driver.name());
                    continue;
                };
                let errno = reader.errno.map_or(0, gup::errno::Errno::raw);
                let name = format!("{} {} {range:x?}", kind.name(), driver.name());
                assert_eq!((reader.bytes, errno), given(reader, range, answer), "{name}");
                reaches[match reader.reach {
                    Reach::Whole => 0,
                    Reach::NoMapping => 1,
                    Reach::Refused => 2,
                }] += 1;
            }
        }
    }
    assert!(asked >= PAIRS, "only {asked} pairs were asked about");
    assert!(reaches.iter().all(|count| *count > 100), "every end is met: {reaches:?}");
}

#[test]
fn what_is_not_mapped_and_what_is_refused_are_told_apart() {
    let dir = files::usable_dir().unwrap_or_else(|| PathBuf::from("/"));
    let workshop = Workshop::new(Path::new(GUP), &dir);
    for (kind, words) in [
        (Kind::Hole, "8192 of 16384 bytes: nothing is mapped at"),
        (Kind::MidNone, "8192 of 16384 bytes: 0x"),
    ] {
        let subject = workshop.start(kind).expect("every machine has these");
        let (pid, addr) = (subject.pid().to_string(), format!("{:#x}", subject.range().start));
        let ask = ["explain", "--pid", &pid, &addr, "4p", "--as", "proc-mem-read", "--readers"];
        let output = Command::new(GUP).args(ask).output().expect("gup runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(words), "{}: {text}", kind.name());
        assert_eq!(text.contains("and refused, C-"), kind == Kind::MidNone, "{text}");
    }
}
