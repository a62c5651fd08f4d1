//! The repository's scenarios, and which of them shows a rule at work.
//!
//! A scenario *shows* a rule when the engine, playing it, decides by that rule. Nothing is listed
//! by hand.

use gup::observe::Event;
use gup::rule::Rule;
use gup_conformance::scenario::{Player, Program, Seen, parse_bytes};

/// The scenarios with these names: path in the repository, and text.
macro_rules! stories {
    ($($name:literal),* $(,)?) => {
        [$((
            concat!("scenarios/", $name, ".gup"),
            include_str!(concat!("../../../scenarios/", $name, ".gup")),
        )),*]
    };
}

/// Every scenario of the repository.
static ALL: &[(&str, &str)] = &stories![
    "first-touch",
    "partial-result-at-a-hole",
    "cow-after-fork",
    "thp-pinned-whole",
    "slow-disk-6.18",
    "slow-disk",
    "dirty-cow-v4.4",
    "dirty-cow-fixed",
    "swapped-out",
    "long-term-on-a-file",
    "fork-under-a-device-v4.4",
    "no-mmu",
    "areas-merge",
    "every-driver",
    "userfaultfd",
];

/// The most steps that are quoted.
const STEPS: usize = 10;

/// A scenario, up to the first step in which a rule decides.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The scenario's path in the repository.
    pub(crate) path: &'static str,
    /// Its last steps, at most ten; the rule decides in the last one.
    pub(crate) steps: Vec<String>,
}

/// The scenario that comes to `rule` in the fewest steps, if any does.
pub(crate) fn shown(rule: Rule) -> Option<Shown> {
    let found = ALL.iter().filter_map(|(path, text)| {
        let program = parse_bytes(text.as_bytes()).ok()?;
        Some((*path, first_step(&program, rule)?, program))
    });
    let (path, last, program) = found.min_by_key(|(_, last, _)| *last)?;
    let first = (last + 1).saturating_sub(STEPS);
    let steps = program.steps.get(first..=last)?;
    Some(Shown { path, steps: steps.iter().map(|step| step.text.clone()).collect() })
}

/// The first step in which `rule` decides.
fn first_step(program: &Program, rule: Rule) -> Option<usize> {
    let mut player = Player::new(&program.setup).ok()?;
    program.steps.iter().position(|step| {
        let seen = player.step(step).seen;
        seen.iter().any(|seen| match seen {
            Seen::Event(Event::Rule { rule: decided, .. }) => *decided == rule,
            _ => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{ALL, STEPS, shown};
    use gup::rule::{a, c};

    #[test]
    fn every_scenario_of_the_repository_is_here() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
        let files = std::fs::read_dir(folder).expect("the scenarios").flatten();
        let paths = files.map(|file| file.path());
        for path in paths.filter(|path| path.extension().is_some_and(|kind| kind == "gup")) {
            let name = path.file_name().expect("a name").to_string_lossy();
            let path = format!("scenarios/{name}");
            assert!(ALL.iter().any(|(known, _)| *known == path), "{path} is not in the list");
        }
    }

    #[test]
    fn a_hole_and_dirty_cow_are_shown_in_ten_lines() {
        for rule in [c::C_16, c::C_25, a::A_143] {
            let shown = shown(rule).expect("a scenario comes to it");
            assert!(!shown.steps.is_empty() && shown.steps.len() <= STEPS, "{rule}");
        }
    }
}
