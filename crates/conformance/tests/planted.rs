//! Faults planted in the engine are found by random programs, and shrunk to a few operations.
//!
//! A fault is a rule switched off. The referee is the engine as it is, so that this needs nothing
//! of the machine; the running kernel finds the same faults (`gup conform --seed 1`).
//! Needs the feature `mutate`: `cargo test -p gup-conformance --features mutate --test planted`.

use gup::rule::{Rule, mutate};
use gup_conformance::random::{First, Means, Pair, Plan, Progress, Set, Worlds, run};
use gup_conformance::scenario::{Setup, Step, parse};
use gup_conformance::world::{Engine, Heard, World};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Rules are switched off for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// No rule.
const NONE: Rule = Rule::new(0, 0);

/// An engine in which one rule is off.
struct Faulty(Engine, Rule);

impl World for Faulty {
    fn play(&mut self, step: &Step) -> Heard {
        mutate::switch_off(self.1);
        let heard = self.0.play(step);
        mutate::switch_off(NONE);
        heard
    }
}

/// A faulty engine and one as it should be.
struct Planted(Rule);

impl Pair for Planted {
    fn start(&mut self, setup: &Setup) -> Result<Worlds<'_>, String> {
        let faulty = Faulty(Engine::new(setup, u64::MAX)?, self.0);
        Ok([Box::new(faulty), Box::new(Engine::new(setup, u64::MAX)?)])
    }
}

/// The first difference that the fault makes.
fn found(rule: &str) -> First {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let rule = Rule::parse(rule).expect("a rule");
    let plan = Plan {
        seed: 1,
        programs: Some(2000),
        ops: 100,
        time: Some(Duration::from_mins(1)),
        set: Set::Usual,
        means: Means { swap: true, huge_pages: 0, thp: false, userfaultfd: true },
        keep_going: false,
    };
    let totals = run(&plan, &mut Planted(rule), |progress| match progress {
        Progress::Played(_) | Progress::Differs(_) | Progress::Unsteady(_) => true,
    });
    let first =
        totals.first.clone().unwrap_or_else(|| panic!("{rule} off is not found: {totals:?}"));
    let shrunk = &first.shrunk;
    println!(
        "{rule} off: found after {} operations, {} programs tried to shrink it to\n{}",
        totals.operations, shrunk.tries, shrunk.scenario
    );
    parse(&shrunk.scenario).expect("what is printed is a scenario");
    first
}

#[test]
fn a_fault_in_the_check_of_areas_is_found_and_shrunk_to_six_operations() {
    let first = found("C-32");
    assert!(first.shrunk.operations() <= 6, "{}", first.shrunk.scenario);
}

#[test]
fn a_fault_in_fork_is_found_and_shrunk_to_six_operations() {
    let first = found("F-18");
    assert!(first.shrunk.operations() <= 6, "{}", first.shrunk.scenario);
    assert!(first.shrunk.scenario.contains("fork"));
}

#[test]
fn a_fault_in_unsharing_is_found_and_shrunk_to_six_operations() {
    let first = found("C-43");
    assert!(first.shrunk.operations() <= 6, "{}", first.shrunk.scenario);
}
