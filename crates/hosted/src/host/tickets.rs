//! Tickets: what a thread waits for, and who ends the wait.
//!
//! Numbers from 2^32 on are issued here; lower ones are others' (the engine's own), and count as
//! not ready until somebody completes them.
//! Invariant: a completed ticket stays completed; any number of threads may wait for one.

use gup::host::{Signals, Ticket, WaitMode, Woken};
use gup::task::Task;
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::time::Duration;

const FIRST: u64 = 1 << 32;
/// How long a signal may go unnoticed whose sender does not call [`Tickets::kick`].
const POLL: Duration = Duration::from_millis(2);

/// Open tickets, and the threads that wait for them.
#[derive(Debug, Default)]
pub struct Tickets {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    issued: u64,
    /// Issued here and not completed.
    open: HashSet<u64>,
    /// Others' that are completed.
    done: HashSet<u64>,
}

impl State {
    fn is_ready(&self, ticket: Ticket) -> bool {
        if (FIRST..FIRST + self.issued).contains(&ticket.0) {
            !self.open.contains(&ticket.0)
        } else {
            self.done.contains(&ticket.0)
        }
    }
}

impl Tickets {
    /// A new ticket, not ready.
    pub fn issue(&self) -> Ticket {
        let mut state = self.state.lock();
        let ticket = FIRST + state.issued;
        state.issued += 1;
        state.open.insert(ticket);
        Ticket(ticket)
    }
    /// Makes `ticket` ready, and wakes who waits for it.
    pub fn complete(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        if !state.open.remove(&ticket.0) && !state.is_ready(ticket) {
            state.done.insert(ticket.0);
        }
        drop(state);
        self.changed.notify_all();
    }
    /// Whether `ticket` is ready.
    pub fn is_ready(&self, ticket: Ticket) -> bool {
        self.state.lock().is_ready(ticket)
    }
    /// Lets every waiting thread look at its signals now.
    pub fn kick(&self) {
        self.changed.notify_all();
    }
    /// Waits until `ticket` is ready, or `task` has a signal that `mode` heeds.
    pub fn wait(&self, ticket: Ticket, mode: WaitMode, task: &Task) -> Woken {
        let mut state = self.state.lock();
        loop {
            if state.is_ready(ticket) {
                return Woken::Ready;
            }
            if heeds(mode, task.signals()) {
                return Woken::Signal;
            }
            match mode {
                WaitMode::Uninterruptible => self.changed.wait(&mut state),
                WaitMode::Killable | WaitMode::Interruptible => {
                    self.changed.wait_for(&mut state, POLL);
                }
            }
        }
    }
}

const fn heeds(mode: WaitMode, signals: Signals) -> bool {
    match mode {
        WaitMode::Uninterruptible => false,
        WaitMode::Killable => signals.fatal,
        WaitMode::Interruptible => signals.any,
    }
}
