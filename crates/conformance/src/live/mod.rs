//! The running kernel as a world that plays scenarios.
//!
//! Law: `vectors/linux-6.18/kernel-rows.md`, *How to ask a kernel and get the same answer twice*.

use crate::scenario::{Setup, Step, Value};
use crate::world::{Heard, World};

/// The running kernel, in the middle of a program.
#[derive(Debug)]
pub struct Kernel(());

impl Kernel {
    /// A fresh set of processes for a program on a machine such as `setup` says.
    /// # Errors
    /// Why this kernel cannot be asked, in words.
    pub fn new(setup: &Setup) -> Result<Self, String> {
        let _ = setup;
        Err("the running kernel cannot be asked yet".to_owned())
    }
}

impl World for Kernel {
    fn play(&mut self, _: &Step) -> Heard {
        let value = Value::CannotPlay("the running kernel cannot be asked yet".to_owned());
        Heard { value, faults: None, pins: None, spaces: Vec::new() }
    }
}
