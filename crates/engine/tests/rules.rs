//! The rule table against the specification: the same ids, and sentences that a user can read.

use gup::rule::Rule;
use std::collections::BTreeSet;

const SEMANTICS: &str = include_str!("../../../docs/semantics.md");

/// The ids of a family's rows in the specification.
fn specified(family: char) -> BTreeSet<String> {
    let first_cell = |line: &'static str| line.strip_prefix("| ")?.split(' ').next();
    let of_family = |id: &&str| id.starts_with(family) && id[1..].starts_with('-');
    SEMANTICS.lines().filter_map(first_cell).filter(of_family).map(str::to_owned).collect()
}

#[test]
fn every_row_of_the_specification_is_a_rule_and_no_other_is() {
    for family in ['A', 'N', 'W', 'C', 'F', 'M', 'S', 'I', 'O'] {
        let rules = Rule::all().map(|row| row.rule).filter(|rule| rule.family() == family);
        let ids: BTreeSet<String> = rules.map(|rule| rule.to_string()).collect();
        assert_eq!(ids, specified(family), "family {family}");
    }
}

#[test]
fn every_rule_is_found_by_its_id() {
    for row in Rule::all() {
        assert_eq!(Rule::parse(&row.rule.to_string()), Some(row.rule));
        assert_eq!(row.rule.row(), row);
    }
    assert_eq!(Rule::parse("A-26"), None, "a gap in the numbers is no rule");
    assert_eq!(Rule::parse("A"), None);
}

#[test]
fn every_meaning_and_remedy_is_one_short_sentence() {
    for row in Rule::all() {
        for text in [row.meaning, row.remedy].into_iter().filter(|text| !text.is_empty()) {
            assert!(text.ends_with('.'), "{}: `{text}` is no sentence", row.rule);
            assert!(text.chars().count() <= 130, "{}: `{text}` is long", row.rule);
            assert!(!text.contains("  ") && !text.contains('\n'), "{}: `{text}`", row.rule);
        }
    }
}

#[test]
fn a_rule_ends_after_it_began() {
    for row in Rule::all() {
        if let (Some(since), Some(until)) = (row.since, row.until) {
            assert!(since < until, "{}", row.rule);
        }
    }
}
