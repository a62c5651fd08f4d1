//! A small number for each thread of this process: which slot of the engine's walkers is its own.
//!
//! Numbers begin at 0. One that a thread had is given to the next new thread once it has ended, so
//! that as many are in use as threads have walked and live. Absent: which processor a thread is on,
//! since it may be moved in the middle of a walk.

use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeSet;

/// Numbers given back, and the first that nobody has had.
struct Numbers {
    free: BTreeSet<usize>,
    next: usize,
}

static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers { free: BTreeSet::new(), next: 0 });

/// No number yet.
const NONE: usize = usize::MAX;

/// Gives the number back when the thread ends.
struct Held(usize);

impl Drop for Held {
    fn drop(&mut self) {
        NUMBERS.lock().free.insert(self.0);
    }
}

thread_local! {
    // Apart from `HELD`, since what has nothing to drop is read without asking whether it is there.
    static NUMBER: Cell<usize> = const { Cell::new(NONE) };
    static HELD: Held = Held(take());
}

/// The calling thread's number.
#[inline]
pub(super) fn number() -> usize {
    let number = NUMBER.get();
    if number == NONE { first() } else { number }
}

#[cold]
fn first() -> usize {
    // A thread that is ending, and gave its number back, shares the first slot.
    let number = HELD.try_with(|held| held.0).unwrap_or(0);
    NUMBER.set(number);
    number
}

fn take() -> usize {
    let mut numbers = NUMBERS.lock();
    numbers.free.pop_first().unwrap_or_else(|| {
        numbers.next += 1;
        numbers.next - 1
    })
}

#[cfg(test)]
mod tests {
    use super::number;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn threads_that_live_at_one_time_have_different_numbers() {
        let together = Barrier::new(4);
        let numbers: Vec<_> = thread::scope(|scope| {
            let thread = || {
                together.wait();
                let mine = number();
                assert_eq!(mine, number(), "and keep it");
                together.wait();
                mine
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(thread)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let mut different = numbers.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 4, "{numbers:?}");
    }

    #[test]
    fn a_number_is_used_again() {
        let many = (0..100).map(|_| thread::spawn(number).join().expect("no panic"));
        assert!(many.max().is_some_and(|most| most < 50), "a new number for each thread");
    }
}
