//! Linux's own tests of copy-on-write, long-term pins, populating, dirt, merging and guards, played
//! in the engine: one test per row T-…, named for it.
//!
//! Printed with `--nocapture`: each case that breaks as it does in Linux, and each that cannot be
//! played, by name. A row leaves evidence for `cargo xtask linux-map` only if every one of its
//! cases did what Linux does, and the rules that keep it decided.

#![allow(missing_docs, reason = "a test program")]

use gup::rule::{Rule, c, f, s};
use gup_conformance::matrix::{self, Case, Decided, Expected, Report, Verdict};
use std::io::Write as _;

/// What became of cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    holds: usize,
    breaks_as_expected: usize,
    cannot: usize,
}

/// This many hold, and no other.
fn all_hold(holds: usize) -> Tally {
    Tally { holds, ..Tally::default() }
}

fn all_cases() -> Vec<Case> {
    [matrix::cow(), matrix::gup_longterm(), matrix::others()].concat()
}

/// The tally of the reports; those that differ from Linux by name, if there are any.
fn judge(reports: &[Report]) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    for report in reports {
        let subject = report.case.subject;
        match (&report.verdict, report.case.expected) {
            (Verdict::Cannot(why), _) => {
                println!("cannot: {subject}: {why}");
                tally.cannot += 1;
            }
            (Verdict::Breaks(_), Expected::Breaks) => {
                println!("breaks, as in Linux: {subject}");
                tally.breaks_as_expected += 1;
            }
            (Verdict::Holds, Expected::Holds) => tally.holds += 1,
            (verdict, expected) => {
                wrong.push(format!("{subject}: {verdict:?}, Linux: {expected:?}"));
            }
        }
    }
    if wrong.is_empty() { Ok(tally) } else { Err(wrong.join("\n")) }
}

/// Plays every case of a row, and leaves evidence for it.
fn row(id: &str, by: &[Rule], want: Tally) {
    let cases: Vec<Case> =
        all_cases().into_iter().filter(|case| case.subject.row() == id).collect();
    let reports: Vec<Report> = cases.into_iter().map(Case::play).collect();
    assert_eq!(judge(&reports), Ok(want), "{id}");
    let mut decided = Decided::new();
    for report in &reports {
        decided.extend(report.decided.iter().map(|(rule, at)| (*rule, *at)));
    }
    evidence(id, by, &decided);
}

fn evidence(id: &str, by: &[Rule], decided: &Decided) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    assert!(test.starts_with(&id.to_lowercase().replace('-', "_")), "{test} is not named for {id}");
    for rule in by {
        if std::env::var("GUP_RULE_OFF").is_ok_and(|off| off == rule.to_string()) {
            continue;
        }
        let Some(at) = decided.get(rule) else { panic!("{id}: {rule} never decided") };
        let Ok(dir) = std::env::var("GUP_ROWS_DIR") else { continue };
        let path = format!("{dir}/{}-{:?}.jsonl", std::process::id(), thread.id());
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let line = format!(
            "{{\"row\":\"{id}\",\"by\":\"{rule}\",\"test\":\"{test}\",\
             \"in\":\"crates/conformance/tests/t_rows.rs\",\"src\":\"{}:{}\"}}",
            at.file(),
            at.line()
        );
        writeln!(file.expect("GUP_ROWS_DIR can be written"), "{line}").expect("evidence written");
    }
}

/// Backings of anonymous memory: small, six of each of 8 sizes of huge pages and two more of the
/// largest, two sizes of hugetlb, and small in swap.
const BACKINGS: usize = 2 + 2 + 6 * 8 + 2;
/// Of these, hugetlb.
const HUGETLB: usize = 2;

const ON_HUGETLB_IT_BREAKS: Tally =
    Tally { holds: BACKINGS - HUGETLB, breaks_as_expected: HUGETLB, cannot: 0 };

macro_rules! rows {
    ($($name:ident $id:literal [$($by:expr),+] $want:expr;)*) => {
        $(#[test]
        fn $name() {
            row($id, &[$($by),+], $want);
        })*
    };
}

rows! {
    t_01_a_child_does_not_see_what_its_parent_stores "T-01" [s::S_04] all_hold(BACKINGS);
    t_02_nor_after_the_parent_protected_and_opened_the_memory "T-02" [s::S_04] all_hold(BACKINGS);
    t_03_a_pipe_filled_by_the_child_keeps_its_bytes "T-03" [s::S_04] ON_HUGETLB_IT_BREAKS;
    t_04_nor_after_the_parent_protected_and_opened_the_memory "T-04" [s::S_04] ON_HUGETLB_IT_BREAKS;
    t_05_a_pipe_filled_before_fork_keeps_its_bytes "T-05" [s::S_04] ON_HUGETLB_IT_BREAKS;
    t_06_a_pipe_filled_after_fork_keeps_its_bytes "T-06" [s::S_04] ON_HUGETLB_IT_BREAKS;
    t_07_a_fixed_buffer_mapped_read_only_is_reused_by_a_store "T-07" [f::F_04] all_hold(BACKINGS);
    t_08_a_fixed_buffer_is_not_shared_by_fork "T-08" [f::F_10] all_hold(BACKINGS);
    t_09_a_read_pin_of_a_shared_page_unshares "T-09" [c::C_43, f::F_05] all_hold(BACKINGS);
    t_10_a_fast_read_pin_of_a_shared_page_unshares "T-10" [c::C_43, f::F_05] all_hold(BACKINGS);
    t_11_a_read_pin_of_a_page_shared_before_keeps_it "T-11" [c::C_43, f::F_05] all_hold(BACKINGS);
    t_12_a_fast_read_pin_of_one_keeps_it "T-12" [c::C_43, f::F_05] all_hold(BACKINGS);
    t_13_a_read_pin_of_an_exclusive_page_stays_with_it "T-13" [f::F_04] all_hold(BACKINGS);
    t_14_a_fast_read_pin_of_an_exclusive_page_stays_with_it "T-14" [f::F_04] all_hold(BACKINGS);
    t_15_a_collapse_before_fork_changes_nothing "T-15" [s::S_07] all_hold(1);
    t_16_a_collapse_of_shared_pages_leaves_the_child_its_own "T-16" [f::F_09] all_hold(1);
    t_17_a_collapse_of_a_shared_lower_half_leaves_the_child_its_own "T-17" [f::F_09] all_hold(1);
    t_18_a_collapse_of_a_shared_upper_half_leaves_the_child_its_own "T-18" [f::F_09] all_hold(1);
    t_19_a_private_store_changes_nobody_elses_page "T-19" [f::F_31] all_hold(6);
    t_20_a_long_read_pin_of_private_memory_gets_a_page_of_its_own "T-20" [c::C_43] all_hold(6);
    t_21_so_does_a_fast_one "T-21" [c::C_43] all_hold(6);
    t_22_only_files_that_must_notice_dirt_refuse_a_long_pin "T-22" [c::C_32, c::C_73] all_hold(50);
    t_24_populating_asks_for_permission_and_stops_at_holes "T-24" [c::C_17] all_hold(21);
    t_25_dirt_does_not_mean_that_stores_are_allowed "T-25" [c::C_98]
        all_hold(7);
    t_26_merged_pages_part_at_a_store_even_a_forced_one "T-26" [f::F_07] all_hold(2);
    t_32_guards_refuse_and_are_kept_or_wiped_by_fork "T-32" [f::F_18, c::C_95] all_hold(5);
}

#[test]
fn t_54_the_matrix_is_whole_and_only_spliced_hugetlb_pages_break() {
    let cases = matrix::cow();
    assert_eq!(cases.len(), 14 * BACKINGS + 4 + 3 * (3 + HUGETLB + 1));
    assert_eq!((cases.len(), matrix::gup_longterm().len()), (778, 10 * (3 + HUGETLB)));
    assert_eq!(matrix::others().len(), 16 + 5 + 7 + 2 + 5);
    let breaks: Vec<Case> =
        all_cases().into_iter().filter(|case| case.expected == Expected::Breaks).collect();
    let names: Vec<String> = breaks.iter().map(|case| case.subject.to_string()).collect();
    assert_eq!(names.len(), 4 * HUGETLB);
    for (name, row) in names.iter().zip(["T-03", "T-03", "T-04", "T-04", "T-05", "T-05", "T-06"]) {
        assert!(name.starts_with(row) && name.contains("hugetlb"), "{name}");
    }
    let reports: Vec<Report> = breaks.into_iter().map(Case::play).collect();
    let broken = Tally { breaks_as_expected: 4 * HUGETLB, ..Tally::default() };
    assert_eq!(judge(&reports), Ok(broken));
    evidence("T-54", &[f::F_26], &reports[0].decided);
}
