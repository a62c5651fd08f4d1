//! How often what was asked, of which kind of memory, and what came of it.

use crate::scenario::{Op, Sys};
use crate::world::Heard;
use serde::Serialize;
use std::collections::BTreeMap;

/// How often what came of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Played in both worlds.
    pub asked: u64,
    /// Both said the same.
    pub agreed: u64,
    /// One of them could not play it.
    pub cannot_ask: u64,
}

/// Counts by operation and kind of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<(String, &'static str), Count>);

impl Tally {
    /// The counts of operation `op`, of memory of the kind that `before` shows where it begins.
    pub(super) fn of(&mut self, op: &Op, before: Option<&Heard>) -> &mut Count {
        self.0.entry((name(op), kind(op, before))).or_default()
    }
    /// The sum over kinds, by operation.
    pub fn by_operation(&self) -> BTreeMap<&str, Count> {
        let mut sums: BTreeMap<&str, Count> = BTreeMap::new();
        for ((operation, _), count) in &self.0 {
            let sum = sums.entry(operation).or_default();
            sum.asked += count.asked;
            sum.agreed += count.agreed;
            sum.cannot_ask += count.cannot_ask;
        }
        sums
    }
    /// Operations that edit a map, asked.
    pub fn edits(&self) -> u64 {
        let edit = |name: &str| {
            ["mmap", "munmap", "mprotect", "mremap", "mlock2", "munlock", "mseal"].contains(&name)
        };
        let found = self.0.iter().filter(|((name, _), _)| edit(name));
        found.map(|(_, count)| count.asked).sum()
    }
}

/// The operation's name; advice has its own.
pub(super) fn name(op: &Op) -> String {
    match op {
        Op::Sys { call: Sys::Madvise { advice, .. }, .. } => {
            let known = gup::mapping::Advice::from_raw(*advice);
            known.map_or("madvise ?".to_owned(), |known| format!("madvise {known:?}"))
        }
        Op::Sys { call, .. } => call.name().0.to_owned(),
        Op::Ask { driver, .. } => driver.name().to_owned(),
        other => {
            let text = other.to_string();
            let act = text.split_once(": ").map_or(text.as_str(), |(_, act)| act);
            act.split(' ').next().unwrap_or("").to_owned()
        }
    }
}

/// The kind of memory at the address at which `op` begins.
fn kind(op: &Op, before: Option<&Heard>) -> &'static str {
    let at = match op {
        Op::Sys { call, .. } => call.name().1.offset,
        Op::Ask { span, .. } | Op::Touch { span, .. } => span.at.offset,
        Op::Load { at, .. } => at.offset,
        _ => return "-",
    };
    let space = before.and_then(|heard| {
        heard.spaces.iter().find(|space| Some(space.process.as_str()) == op.process())
    });
    let area = space
        .and_then(|space| space.areas.iter().find(|area| (area.start..area.end).contains(&at)));
    let Some(area) = area else { return "nothing mapped" };
    match (area.file.as_deref(), area.shared) {
        (None, false) => "private anonymous",
        (None, true) => "shared anonymous",
        (Some("f"), false) => "private file",
        (Some("f"), true) => "shared file",
        (Some("m" | "n"), false) => "private memfd",
        (Some("m" | "n"), true) => "shared memfd",
        (Some(_), _) => "other",
    }
}
