//! Bundles that lie: cut off, changed in any byte, with runs that overlap or wrap. Reading gives a
//! bundle or a reason, explaining one gives a verdict or a reason; nothing panics and no number in
//! the file costs memory.

use gup_mirror::bundle::format::{read_from, write_to};
use gup_mirror::bundle::kept::{Bundle, Run};
use gup_mirror::bundle::{BadBundle, Wanted, collect};
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::action::Action;
use gup_mirror::explain::explain;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use proptest::prelude::*;
use std::sync::OnceLock;

/// A bundle of this process, with the pages of one of its areas.
fn sample() -> &'static (Vec<u8>, u64) {
    static SAMPLE: OnceLock<(Vec<u8>, u64)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let (bundle, start) = collected();
        let mut bytes = Vec::new();
        write_to(&bundle, &mut bytes).expect("memory takes all");
        (bytes, start)
    })
}

fn collected() -> (Bundle, u64) {
    static MEMORY: [u8; 8 * 4096] = [7; 8 * 4096];
    let start = MEMORY.as_ptr().expose_provenance() as u64 & !0xfff;
    let process = Process::open(std::process::id()).expect("itself");
    // Other threads of the test map memory meanwhile.
    let range = ByteRange::new(start, 8 << 12).expect("a range");
    let bundle = (0..100).find_map(|_| collect(&process, Wanted::Range(range)).ok());
    (bundle.expect("a quiet moment"), start)
}

/// Explains the process in `bytes`, if it is one, for a few consumers.
fn try_all(bytes: &[u8], start: u64) {
    let Ok(bundle) = read_from(bytes) else { return };
    let process = Process::from_bundle(bundle);
    let range = ByteRange::new(start, 8 << 12).expect("a range");
    for consumer in [Consumer::ProcessVmReadv, Consumer::IoUringBuffer, Consumer::ProcCmdline] {
        let _ = explain(&process, &Request { ask: Ask::Consumer(consumer), range });
    }
    // A long range is looked at in another way.
    let range = ByteRange::new(0x10_0000, 1 << 45).expect("a range");
    let _ = explain(&process, &Request { ask: Ask::Consumer(Consumer::Rdma), range });
}

#[test]
fn what_is_written_is_read_again() {
    let (bundle, _) = collected();
    for file in ["b.jsonl", "b.jsonl.gz"] {
        let path = std::env::temp_dir().join(format!("gup-{}-{file}", std::process::id()));
        gup_mirror::bundle::write(&bundle, &path).expect("a file");
        let again = gup_mirror::bundle::read(&path).expect("a bundle");
        let _ = std::fs::remove_file(&path);
        assert_eq!(again, bundle);
    }
}

#[test]
fn a_bundle_that_was_cut_off_anywhere_is_noticed() {
    let (bytes, _) = sample();
    for end in (0..bytes.len() - 1).rev().step_by(997).chain([0, 1, 2, bytes.len() - 2]) {
        let bad = read_from(&bytes[..end]).expect_err("not all of it is there");
        let told = matches!(bad, BadBundle::CutOff { .. } | BadBundle::NoBundle);
        assert!(told, "{bad} at {end}");
    }
}

#[test]
fn runs_of_a_hostile_length_cost_nothing_and_are_refused_if_they_wrap() {
    let (mut bundle, start) = collected();
    let run = |at, pages| Run {
        at,
        pages,
        word: 1 << 63 | 1,
        step: 1,
        categories: None,
        flags: None,
        mapped: None,
    };
    bundle.looked_at = (0, u64::MAX);
    for (runs, fine) in [
        (vec![run(0, (1 << 52) - 1)], true),
        (vec![run(0, 1 << 52)], false),
        (vec![run(0, u64::MAX)], false),
        (vec![run(0, 2), run(4096, 1)], false),
        (vec![run(5, 1)], false),
        (vec![run(0, 0)], false),
    ] {
        bundle.runs = runs;
        let mut bytes = Vec::new();
        write_to(&bundle, &mut bytes).expect("memory takes all");
        assert_eq!(read_from(&bytes[..]).is_ok(), fine, "{:?}", bundle.runs);
        try_all(&bytes, start);
    }
}

#[test]
fn a_reservation_of_a_terabyte_in_a_bundle_costs_what_is_in_it() {
    let (mut bundle, _) = collected();
    let start = 0x2000_0000_0000_u64;
    let line =
        format!("{start:x}-{:x} rw-p 0 00:00 0\nVmFlags: rd wr mr mw me ac\n", start + (1 << 40));
    bundle.files.insert("smaps".to_owned(), line);
    bundle.backings.clear();
    bundle.looked_at = (0, u64::MAX);
    let page = |at| Run {
        at,
        pages: 3,
        word: 1 << 63 | 1 << 56 | 7,
        step: 1,
        categories: Some(2),
        flags: Some(1 << 12 | 1 << 34),
        mapped: Some(1),
    };
    bundle.runs = vec![page(start + (1 << 30)), page(start + (1 << 39))];
    let process = Process::from_bundle(bundle);
    let range = ByteRange::new(start, 1 << 40).expect("a range");
    let request = Request { ask: Ask::Consumer(Consumer::Rdma), range };
    let verdict = explain(&process, &request).expect("a verdict");
    assert!(verdict.is_fine());
    let taken = verdict.segments.iter().filter(|segment| segment.action == Action::Take);
    assert_eq!(taken.map(|segment| segment.pages).collect::<Vec<_>>(), [3, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_changed_anywhere_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (bytes, start) = sample();
        let mut bytes = bytes.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        try_all(&bytes, *start);
    }

    #[test]
    fn digits_changed_in_the_text_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..10), 1..20),
    ) {
        let (bytes, start) = sample();
        let mut bytes = bytes.clone();
        let digits: Vec<usize> =
            (0..bytes.len()).filter(|&at| bytes[at].is_ascii_digit()).collect();
        for (at, digit) in changes {
            bytes[digits[at.index(digits.len())]] = b'0' + digit;
        }
        try_all(&bytes, *start);
    }
}
