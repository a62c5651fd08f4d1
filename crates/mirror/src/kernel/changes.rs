//! What changed between two kernels, for one range: which rules, and what each does here.
//!
//! Found by trial: the request is played under both kernels; each rule that decided in one of them
//! and that only one of them has is switched in the kernel asked about, with those that came
//! together with it, and the verdicts are compared. A rule that makes no difference to this range
//! is not listed.

use crate::explain::explain_window;
use crate::explain::request::Request;
use crate::explain::verdict::{StopAt, Verdict};
use crate::explain::{decided, differ};
use crate::kernel::{Facts, history};
use crate::window::Window;
use crate::world::build::CannotBuild;
use gup::linux::{Kernel, Linux, Version};
use gup::rule::{Rule, c};
use std::collections::BTreeSet;

/// A rule that one of two kernels has, and what that does to a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The rule.
    pub rule: Rule,
    /// The first kernel that has it, if known.
    pub since: Option<Version>,
    /// The first kernel that no longer has it, if any.
    pub until: Option<Version>,
    /// How the call ends by the kernel asked about, if it has the rule.
    pub with: String,
    /// How it ends if it does not have it.
    pub without: String,
}

impl Change {
    /// What the rule does to this range, for a person.
    pub fn effect(&self) -> String {
        format!("with it {}, without it {}", self.with, self.without)
    }
}

/// The rules that differ between the kernel of `window` and `other`, and matter to `request`.
///
/// # Errors
/// [`CannotBuild`].
pub fn changes(
    window: &Window,
    request: &Request,
    other: &Facts,
) -> Result<Vec<Change>, CannotBuild> {
    let base = explain_window(window, request)?;
    let (mine, theirs) = (full(&window.kernel), full(other));
    let there = Window { kernel: other.clone(), ..window.clone() };
    let mut seen: BTreeSet<Rule> = decided(window, request)?;
    seen.extend(decided(&there, request)?);
    let mut found: Vec<Change> = arrival(&base, request).into_iter().collect();
    let differs = |rule: &Rule| mine.has(*rule) != theirs.has(*rule);
    let mut groups: Vec<Vec<Rule>> = Vec::new();
    for rule in seen.into_iter().filter(differs) {
        match groups.iter_mut().find(|group| group.first().is_some_and(|one| alike(*one, rule))) {
            Some(group) => group.push(rule),
            None => groups.push(vec![rule]),
        }
    }
    for group in groups {
        let Some(&first) = group.first() else { continue };
        let mut kernel = mine.clone();
        for row in Rule::all().filter(|row| alike(row.rule, first) && differs(&row.rule)) {
            toggle(&mut kernel, row.rule);
        }
        let facts = Facts { kernel: Some(kernel), ..window.kernel.clone() };
        let switched = explain_window(&Window { kernel: facts, ..window.clone() }, request)?;
        if differ(&base, &switched) {
            let (with, without) =
                if mine.has(first) { (&base, &switched) } else { (&switched, &base) };
            let stops = with.stop.as_ref().map(|stop| stop.rule);
            let rule = stops.filter(|rule| group.contains(rule)).unwrap_or(first);
            let row = rule.row();
            let (since, until) = (row.since, row.until);
            found.push(Change { rule, since, until, with: end(with), without: end(without) });
        }
    }
    Ok(found)
}

/// Whether two rules came and went together: they are parts of one change.
fn alike(a: Rule, b: Rule) -> bool {
    let versions = |rule: Rule| (rule.row().since, rule.row().until);
    versions(a) == versions(b)
}

/// A call that was not there yet.
fn arrival(base: &Verdict, request: &Request) -> Option<Change> {
    base.stop.as_ref().filter(|stop| stop.rule == c::C_109)?;
    let arrival = history::arrival_of(request.ask.consumer()?)?;
    let without = "the call is there".to_owned();
    let until = Some(arrival.since);
    Some(Change { rule: c::C_109, since: None, until, with: end(base), without })
}

/// The kernel of `facts`, also where it is 6.18.
fn full(facts: &Facts) -> Kernel {
    facts.kernel.clone().unwrap_or_else(|| Kernel::released(Linux::V6_18.version()))
}

/// Gives `kernel` the rule, or takes it away.
fn toggle(kernel: &mut Kernel, rule: Rule) {
    match kernel.otherwise.iter().position(|other| *other == rule) {
        Some(at) => drop(kernel.otherwise.remove(at)),
        None => kernel.otherwise.push(rule),
    }
}

/// How a call ends, in a few words.
fn end(verdict: &Verdict) -> String {
    let stopped = |stop: &StopAt| {
        let errno = verdict.call.and_then(|call| call.errno).unwrap_or(stop.errno);
        format!("{errno} at page {}", stop.index)
    };
    match &verdict.stop {
        Some(stop) => stopped(stop),
        None if verdict.segments.is_empty() => "it works".to_owned(),
        None => format!("it works, {}", actions(verdict)),
    }
}

/// What happens to the pages, most frequent first.
fn actions(verdict: &Verdict) -> String {
    let mut counts = Vec::new();
    for segment in &verdict.segments {
        match counts.iter_mut().find(|(action, _)| *action == segment.action) {
            Some((_, pages)) => *pages += segment.pages,
            None => counts.push((segment.action, segment.pages)),
        }
    }
    counts.sort_by_key(|(_, pages)| std::cmp::Reverse(*pages));
    let words = counts.iter().map(|(action, pages)| {
        let noun = if *pages == 1 { "page" } else { "pages" };
        format!("{pages} {noun} {}", action.sentence())
    });
    words.collect::<Vec<_>>().join(", ")
}
