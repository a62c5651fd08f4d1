//! Which rules can be switched off: those whose constants decide something in the engine's source.

use crate::evidence;
use crate::repo;
use crate::rows::RowId;
use crate::rust_source::{RustSource, is_word, words};
use anyhow::Result;
use std::collections::BTreeSet;

/// Where rules decide.
const ENGINE: &str = "crates/engine/src/";

/// A row, and the rule to switch off for it: its own, or the one that keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Switch {
    /// The row whose tests must notice.
    pub(super) row: RowId,
    /// The rule that is off.
    pub(super) off: RowId,
}

/// The switches of the rows that some test has seen decided.
pub(super) fn switchable() -> Result<Vec<Switch>> {
    let switches = switches()?;
    let seen = evidence::fresh()?;
    let seen = seen.iter().filter(|line| switches.contains(&line.by));
    let found: BTreeSet<Switch> = seen.map(|line| Switch { row: line.row, off: line.by }).collect();
    Ok(found.into_iter().collect())
}

/// The rules that decide something in the engine, and so can be switched off.
pub(crate) fn switches() -> Result<BTreeSet<RowId>> {
    let mut decided = BTreeSet::new();
    for path in repo::files()?.iter().filter(|path| path.starts_with(ENGINE) && repo::is_rust(path))
    {
        decided.extend(decided_in(&RustSource::new(path, repo::read(path)?).mask));
    }
    Ok(decided)
}

/// The rules whose constants (`A_31`) decide in a file: `A_31.when(…)`, `host.rule(A_31, …)`,
/// `host.past_rule(A_31, …)`, or the first of a pair in a table of refusals, `(A_31, …)`.
fn decided_in(mask: &str) -> Vec<RowId> {
    let constants = words(mask).filter_map(|(at, word)| Some((at, word, constant(word)?)));
    let decides = |&(at, word, _): &(usize, &str, RowId)| {
        let after = mask[at + word.len()..].trim_start();
        let before = mask[..at].trim_end_matches(|c: char| is_word(c) || c == ':').trim_end();
        let Some(call) = before.strip_suffix('(') else { return after.starts_with(".when(") };
        let is_pair = !call.ends_with(is_word) && !call.ends_with(['>', '!']);
        let method = call.strip_suffix("rule").map(|it| it.strip_suffix("past_").unwrap_or(it));
        let is_asked = method.is_some_and(|host| host.ends_with('.'));
        after.starts_with(".when(") || is_asked || (is_pair && after.starts_with(','))
    };
    constants.filter(decides).map(|(_, _, id)| id).collect()
}

/// The rule that a constant such as `A_31` stands for.
fn constant(word: &str) -> Option<RowId> {
    RowId::parse(&word.replacen('_', "-", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_decides_is_found_however_it_is_asked() {
        let code = "if a::A_31.when(x) {} A_140\n  .when(y); host.rule(\n a::A_32, x, y);
            host.past_rule(a::A_07, x, y);
            [(c::C_27, x), (c::C_28, y)]; host.decided(a::A_33, z); Err(a::A_34);";
        let ids: Vec<String> = decided_in(code).iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["A-31", "A-140", "A-32", "A-07", "C-27", "C-28"]);
    }
}
