//! The whole engine under a scheduler of its own: random small programs in random orders, each made
//! again from its seed.
//!
//! `GUP_EXPLORE_SEED=n` runs one seed; `GUP_EXPLORE_COUNT=n` runs so many (a normal run: a few
//! thousand). With the feature `mutate`, `GUP_RULE_OFF=C-71` switches a rule off, and the run must
//! fail.

#![allow(missing_docs, unreachable_pub, reason = "a test program")]

#[path = "../mixed/audit.rs"]
mod audit;
mod flat;
mod found;
mod host;
mod program;
mod scene;
mod scheduler;
mod world;

use scene::Scene;

/// Schedules of a normal run.
const COUNT: u64 = 1000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What the environment switches off.
fn switch_off() {
    #[cfg(feature = "mutate")]
    if let Some(rule) =
        std::env::var("GUP_RULE_OFF").ok().and_then(|id| gup::rule::Rule::parse(&id))
    {
        gup::rule::mutate::switch_off(rule);
    }
}

/// The scene that the environment names, if it does.
fn scene() -> Option<Scene> {
    let name = std::env::var("GUP_EXPLORE_SCENE").ok()?;
    Some(Scene::named(&name).unwrap_or_else(|| panic!("no scene is called {name}")))
}

#[test]
fn no_order_loses_a_pin_shares_a_pinned_page_or_leaves_a_reference_on_a_freed_frame() {
    switch_off();
    let seeds = match number("GUP_EXPLORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GUP_EXPLORE_COUNT").unwrap_or(COUNT),
    };
    for seed in seeds {
        let kept = program::explore(seed, scene());
        assert!(kept.is_ok(), "again by GUP_EXPLORE_SEED={seed}");
    }
}

#[test]
fn a_seed_makes_the_same_run_twice() {
    for seed in 0..40 {
        let once = || program::explore(seed, None).ok();
        assert_eq!(once(), once(), "seed {seed}");
    }
}

#[test]
fn without_an_mmu_a_pinned_page_stays_and_a_mapping_shows_what_was_asked_for() {
    switch_off();
    let seeds = match number("GUP_EXPLORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GUP_EXPLORE_COUNT").unwrap_or(COUNT),
    };
    for seed in seeds {
        assert!(flat::explore(seed).is_ok(), "again by GUP_EXPLORE_SEED={seed}");
    }
}
