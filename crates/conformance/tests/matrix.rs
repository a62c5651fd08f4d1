//! Linux's own tests of copy-on-write, long-term pins, populating and guards, played in the engine.
//!
//! Printed with `--nocapture`: a row per body, how many backings hold, break as they do in Linux,
//! break though they must not, and cannot be played; and each of the last three by name.

#![allow(missing_docs, reason = "a test program")]

use gup_conformance::matrix::{self, Case, Expected, Report, Verdict};
use std::collections::BTreeMap;

/// What became of cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    holds: usize,
    breaks_as_expected: usize,
    cannot: usize,
}

fn play(cases: Vec<Case>) -> Vec<Report> {
    cases.into_iter().map(Case::play).collect()
}

/// Prints the table, and answers the tally of those that do what Linux does.
fn judge(reports: &[Report]) -> Tally {
    let mut tally = Tally::default();
    let mut rows: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for report in reports {
        let subject = report.case.subject;
        let column = match (&report.verdict, report.case.expected) {
            (Verdict::Cannot(why), _) => {
                println!("cannot: {subject}: {why}");
                tally.cannot += 1;
                3
            }
            (Verdict::Breaks(_), Expected::Breaks) => {
                println!("breaks, as in Linux: {subject}");
                tally.breaks_as_expected += 1;
                1
            }
            (Verdict::Holds, Expected::Holds) => {
                tally.holds += 1;
                0
            }
            (verdict, expected) => {
                wrong.push(format!("{subject}: {verdict:?}, Linux: {expected:?}"));
                2
            }
        };
        rows.entry(subject.body()).or_default()[column] += 1;
    }
    println!("{:56} {:>6} {:>8} {:>6} {:>7}", "", "holds", "as Linux", "wrong", "cannot");
    for (body, [holds, known, wrong, cannot]) in &rows {
        println!("{body:56} {holds:>6} {known:>8} {wrong:>6} {cannot:>7}");
    }
    println!("{} cases: {tally:?}", reports.len());
    assert!(wrong.is_empty(), "{} cases differ from Linux:\n{}", wrong.len(), wrong.join("\n"));
    tally
}

#[test]
fn copy_on_write_protects_every_page_that_somebody_else_can_see() {
    let cases = matrix::cow();
    assert_eq!(cases.len(), 14 * (2 + 2 + 6 * 8 + 2) + 4 + 3 * (3 + 2 + 1));
    assert_eq!(cases.len(), 778);
    let tally = judge(&play(cases));
    assert_eq!(tally, Tally { holds: 770, breaks_as_expected: 8, cannot: 0 });
}

#[test]
fn file_pages_are_pinned_for_long_unless_their_dirt_must_be_noticed() {
    let cases = matrix::gup_longterm();
    assert_eq!(cases.len(), 10 * (3 + 2));
    let tally = judge(&play(cases));
    assert_eq!(tally, Tally { holds: 50, breaks_as_expected: 0, cannot: 0 });
}

#[test]
fn populating_dirt_and_guards_do_what_they_do_in_linux() {
    let cases = matrix::others();
    assert_eq!(cases.len(), 16 + 5 + 7 + 2 + 5);
    let tally = judge(&play(cases));
    assert_eq!(tally, Tally { holds: 35, breaks_as_expected: 0, cannot: 0 });
}
