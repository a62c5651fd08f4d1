//! The host of a mirrored machine: ghost memory, nobody to wait for, and a recorder of decisions.
//!
//! A wait is over at once: what a process would have to wait for (a disk, a userfault handler) is taken to come.

use crate::world::ghost::GhostMemory;
use gup::host::{Host, Ticket, WaitMode, Woken};
use gup::observe::{Event, FaultEnd, Observer};
use gup::pgtable::X86_64;
use gup::rule::Rule;
use gup::task::Task;
use std::collections::VecDeque;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

/// How many of the last decisions are kept.
const KEPT: usize = 32;

/// The host of a mirrored machine.
#[derive(Debug)]
pub struct MirrorHost {
    memory: GhostMemory,
    recorder: Recorder,
}

impl MirrorHost {
    /// A host with `frames` frames of ghost memory.
    pub fn new(frames: usize) -> Self {
        Self { memory: GhostMemory::new(frames), recorder: Recorder::default() }
    }

    /// What was recorded.
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl Host for MirrorHost {
    type Memory = GhostMemory;
    type RawMutex = parking_lot::RawMutex;
    type RawRwLock = parking_lot::RawRwLock;
    type Format = X86_64;
    type Observer = Recorder;
    const HARDWARE_WALKS: bool = false;

    fn memory(&self) -> &GhostMemory {
        &self.memory
    }

    fn observer(&self) -> &Recorder {
        &self.recorder
    }

    fn wait(&self, _ticket: Ticket, _mode: WaitMode, _task: &Task) -> Woken {
        Woken::Ready
    }
}

/// The last decisions, and how the last fault ended.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Record>);

/// What the engine decided last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The last rules that decided, oldest first, with the address each decided about.
    pub rules: VecDeque<(Rule, u64)>,
    /// How the last fault ended.
    pub fault: Option<FaultEnd>,
}

impl Recorder {
    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Record::default();
    }

    /// What was recorded since the last [`Recorder::clear`].
    pub fn record(&self) -> Record {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Recorder {
    const ON: bool = true;

    fn event(&self, event: &Event, _at: &'static Location<'static>) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Rule { rule, addr } => {
                if record.rules.len() == KEPT {
                    record.rules.pop_front();
                }
                record.rules.push_back((*rule, addr.get()));
            }
            Event::FaultEnd { what, .. } => record.fault = Some(*what),
            _ => {}
        }
    }
}
