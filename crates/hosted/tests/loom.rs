//! Both ways in which freed tables wait for walks, in every order and with every stale read: run by
//! `RUSTFLAGS="--cfg loom --cfg crossbeam_loom" cargo test -p gup-hosted --release --test loom`.
//!
//! The walkers are the engine's code and crossbeam's; the table is a word that says that it was
//! freed. Bounded: two threads, [`PREEMPTIONS`] switches that nothing forced.
#![cfg(all(loom, crossbeam_loom))]
#![allow(missing_docs, reason = "a test program")]

use gup::pgtable::{Reclaim, Walkers};
use gup_hosted::Epochs;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use loom::thread;

/// Switches of threads that nothing forced, at most, in one run.
const PREEMPTIONS: usize = 2;

/// An upper entry that leads to a table, or not, and whether the table was freed.
struct World<R> {
    linked: AtomicBool,
    freed: AtomicBool,
    walkers: R,
}

/// A walk in thread `number` never finds a freed table.
fn never_walked_when_freed<R: Reclaim>(number: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.max_branches = 20_000;
    builder.check(move || {
        let (linked, freed) = (AtomicBool::new(true), AtomicBool::new(false));
        let world = Arc::new(World { linked, freed, walkers: R::default() });
        let other = Arc::clone(&world);
        let walk = thread::spawn(move || {
            let _inside = other.walkers.enter(number);
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

#[test]
fn f_56_the_engine_s_walkers_are_waited_for_with_a_slot_and_without() {
    never_walked_when_freed::<Walkers<1>>(0);
    never_walked_when_freed::<Walkers<1>>(1);
}

#[test]
fn f_56_crossbeam_s_epochs_are_waited_for() {
    never_walked_when_freed::<Epochs>(0);
}
