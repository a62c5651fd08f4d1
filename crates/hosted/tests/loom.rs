//! How freed tables wait for walks by epochs, in every order and with every stale read: run by
//! `RUSTFLAGS="--cfg crossbeam_loom" cargo test -p gup-hosted --release --test loom`.
//!
//! The epochs are crossbeam's own code; the table is a word that says that it was freed. (The
//! engine's walkers are explored with the engine.) Bounded: two threads, [`PREEMPTIONS`] switches
//! that nothing forced. With the feature `mutate`, `GUP_RULE_OFF=F-56` switches the wait off, and
//! the model must fail.
#![cfg(crossbeam_loom)]
#![allow(missing_docs, reason = "a test program")]

use gup::pgtable::Reclaim;
use gup_hosted::Epochs;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use loom::thread;

/// Switches of threads that nothing forced, at most, in one run.
const PREEMPTIONS: usize = 2;

/// An upper entry that leads to a table, or not, and whether the table was freed.
struct World {
    linked: AtomicBool,
    freed: AtomicBool,
    walkers: Epochs,
}

#[test]
fn f_56_a_walk_counted_by_epochs_never_finds_a_freed_table() {
    #[cfg(feature = "mutate")]
    if let Some(rule) =
        std::env::var("GUP_RULE_OFF").ok().and_then(|id| gup::rule::Rule::parse(&id))
    {
        gup::rule::mutate::switch_off(rule);
    }
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.max_branches = 20_000;
    builder.check(move || {
        let (linked, freed) = (AtomicBool::new(true), AtomicBool::new(false));
        let world = Arc::new(World { linked, freed, walkers: Epochs });
        let other = Arc::clone(&world);
        let walk = thread::spawn(move || {
            let _inside = other.walkers.enter(0);
            if other.linked.load(Acquire) {
                assert!(!other.freed.load(Relaxed), "a freed table is walked");
            }
        });
        world.linked.swap(false, AcqRel);
        world.walkers.wait(thread::yield_now);
        world.freed.store(true, Relaxed);
        walk.join().expect("no panic");
    });
}
