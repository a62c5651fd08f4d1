//! A scheduler of its own: several threads, of which one runs at a time, and a seed that says
//! which.
//!
//! A thread may hand over at every *point*: each callback of the host, each entry read or written,
//! each lock. The same seed makes the same run. Absent: weak memory; every thread sees every store
//! at once (the loom models have that).

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// So many points in one run mean that nobody gets on.
const POINTS_MAX: u64 = 400_000;

/// A small generator of numbers.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// A number below `below`.
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % below
    }
}

struct State {
    numbers: Numbers,
    /// One point in so many hands over.
    rarity: u64,
    /// The same, within a walk without locks.
    walking: u64,
    /// Threads that have not ended, by number.
    alive: Vec<usize>,
    /// Whose turn it is.
    current: usize,
    points: u64,
    /// Everything that was decided, folded: equal for equal runs.
    trace: u64,
}

impl State {
    /// Somebody else, if there is anybody.
    fn other(&mut self) -> Option<usize> {
        let others: Vec<usize> =
            self.alive.iter().copied().filter(|&n| n != self.current).collect();
        let count = others.len() as u64;
        (count > 0).then(|| others[self.numbers.next(count) as usize])
    }
}

struct Scheduler {
    state: Mutex<State>,
    turns: Vec<Condvar>,
}

thread_local! {
    static WALKS: Cell<bool> = const { Cell::new(false) };
    static ME: RefCell<Option<(Arc<Scheduler>, usize)>> = const { RefCell::new(None) };
}

/// How readily a point hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urge {
    /// As rarely as this run does.
    Rare,
    /// One time in three, in every second run.
    Walking,
    /// Every other time.
    Often,
    /// It must.
    Always,
}

/// A point: somebody else may run now. Nothing in a thread that is not scheduled.
pub fn point() {
    let urge = if WALKS.get() { Urge::Walking } else { Urge::Rare };
    with_me(|scheduler, me| scheduler.point(me, urge));
}

/// Whether this thread's points are those of a walk without locks.
pub fn walks(does: bool) {
    WALKS.set(does);
}

/// A point at which the protocol is open: somebody else runs every other time.
pub fn hot_point() {
    with_me(|scheduler, me| scheduler.point(me, Urge::Often));
}

/// A point at which this thread waits for another.
pub fn blocked() {
    with_me(|scheduler, me| scheduler.point(me, Urge::Always));
}

fn with_me(then: impl FnOnce(&Scheduler, usize)) {
    // A thread that ends drops what it held when its place is gone already.
    let me = ME.try_with(|me| me.borrow().clone()).ok().flatten();
    if let Some((scheduler, me)) = me {
        then(&scheduler, me);
    }
}

impl Scheduler {
    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn point(&self, me: usize, urge: Urge) {
        let mut state = self.locked();
        state.points += 1;
        let stuck = state.points > POINTS_MAX && !std::thread::panicking();
        if stuck {
            drop(state);
            panic!("{POINTS_MAX} points, and no end: a livelock or a deadlock");
        }
        let one_in = match urge {
            Urge::Rare => state.rarity,
            Urge::Walking => state.walking,
            Urge::Often => 2,
            Urge::Always => 1,
        };
        if state.numbers.next(one_in) != 0 {
            return;
        }
        let Some(next) = state.other() else { return };
        self.hand_over(&mut state, next);
        self.wait(state, me);
    }
    fn hand_over(&self, state: &mut State, next: usize) {
        state.current = next;
        state.trace = (state.trace ^ next as u64 ^ state.points << 8)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(7);
        self.turns[next].notify_one();
    }
    fn wait(&self, mut state: std::sync::MutexGuard<'_, State>, me: usize) {
        while state.current != me {
            state = self.turns[me].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
    fn end(&self, me: usize) {
        let mut state = self.locked();
        state.alive.retain(|&n| n != me);
        if let Some(next) = state.other() {
            self.hand_over(&mut state, next);
        }
    }
}

/// Runs all `bodies`, one at a time, in an order that `seed` chooses. Answers what became of each,
/// and a number that stands for the order.
pub fn run<T: Send>(seed: u64, bodies: Vec<impl FnOnce() -> T + Send>) -> (Vec<Option<T>>, u64) {
    let mut numbers = Numbers::new(seed);
    let rarity = [2, 3, 5, 9, 33, 120][numbers.next(6) as usize];
    let walking = if numbers.next(2) == 0 { rarity.min(3) } else { rarity };
    let current = numbers.next(bodies.len() as u64) as usize;
    let alive = (0..bodies.len()).collect();
    let state = State { numbers, rarity, walking, alive, current, points: 0, trace: 0 };
    let turns = bodies.iter().map(|_| Condvar::new()).collect();
    let scheduler = Arc::new(Scheduler { state: Mutex::new(state), turns });
    let results = std::thread::scope(|scope| {
        let scheduler = &scheduler;
        let start = |(me, body)| {
            scope.spawn(move || {
                ME.set(Some((Arc::clone(scheduler), me)));
                scheduler.wait(scheduler.locked(), me);
                let body = std::panic::AssertUnwindSafe(body);
                let result = std::panic::catch_unwind(body).ok();
                ME.set(None);
                scheduler.end(me);
                result
            })
        };
        let threads: Vec<_> = bodies.into_iter().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(None)).collect()
    });
    let trace = scheduler.locked().trace;
    (results, trace)
}
