//! Failures on purpose: the n-th point that the engine passes, once.
//!
//! Off, it costs one load. A test first [`Injector::watch`]es a scenario to learn how many points
//! it passes, then plays it again for each of them.

use gup::host::Injection;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Decides which points fail.
#[derive(Debug, Default)]
pub struct Injector {
    armed: AtomicBool,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    /// Only points like this count; every point if none.
    only: Option<Injection>,
    /// Which one fails, from 1; none if 0.
    nth: u64,
    /// Points counted so far.
    passed: u64,
}

impl Injector {
    /// Lets the `nth` point from now fail (1 is the next), and no other. 0 lets none fail.
    pub fn fail_nth(&self, nth: u64) {
        self.arm(Plan { only: None, nth, passed: 0 });
    }
    /// Lets the `nth` point that equals `point` fail, and no other.
    pub fn fail_nth_of(&self, point: Injection, nth: u64) {
        self.arm(Plan { only: Some(point), nth, passed: 0 });
    }
    /// Counts points from now on, and lets none fail.
    pub fn watch(&self) {
        self.fail_nth(0);
    }
    /// Counts no more, lets none fail. Answers how many points were counted.
    pub fn stop(&self) -> u64 {
        self.armed.store(false, Relaxed);
        self.plan.lock().passed
    }
    fn arm(&self, plan: Plan) {
        *self.plan.lock() = plan;
        self.armed.store(true, Relaxed);
    }
    /// Whether this point fails.
    #[inline]
    pub fn fails(&self, point: Injection) -> bool {
        self.armed.load(Relaxed) && self.count(point)
    }
    #[cold]
    fn count(&self, point: Injection) -> bool {
        let mut plan = self.plan.lock();
        // A stray outcome is a bug, not a failure: it is had by name only.
        if plan.only.map_or(point == Injection::StrayOutcome, |only| only != point) {
            return false;
        }
        plan.passed += 1;
        plan.passed == plan.nth
    }
}
