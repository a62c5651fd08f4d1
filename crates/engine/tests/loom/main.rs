//! The lock-free protocol in small, in every order and with every stale read that the memory model
//! allows: run with `RUSTFLAGS="--cfg loom --cfg loom_tables"` by `cargo test -p gup --release
//! --test loom`.
//!
//! Two kinds. *Models*: the counts, words and locks of frames, their allocation and the walkers are
//! the engine's own code; page-table entries are words of the models', and what is done to them
//! keeps the order of `gup::fast`, `mapping::fork`, `fault::pageout`, `fault::cow` and
//! `pgtable::free`, and says which. *Real*: all of the engine runs, its tables too, in fewer cases.
//! Bounded: two or three threads, [`PREEMPTIONS`] switches that nothing forced. With the feature
//! `mutate`, `GUP_RULE_OFF=F-54` switches a rule off, and a model must fail.
#![cfg(loom)]
#![allow(missing_docs, unreachable_pub, reason = "a test program")]

mod host;
mod models;
#[cfg(loom_tables)]
mod real;

/// Switches of threads that nothing forced, at most, in one run.
const PREEMPTIONS: usize = 3;

/// Tries every order of `model`.
fn every_order(model: impl Fn() + Sync + Send + 'static) {
    orders(PREEMPTIONS, model);
}

/// Tries the orders of `model` with so many unforced switches.
fn orders(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    #[cfg(feature = "mutate")]
    if let Some(rule) =
        std::env::var("GUP_RULE_OFF").ok().and_then(|id| gup::rule::Rule::parse(&id))
    {
        gup::rule::mutate::switch_off(rule);
    }
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}
