//! What pins cost in the running kernel: one pin measured, and a short calibration of this machine
//! for predictions (`gup_mirror::answer::rates`).

mod calibrate;
mod memory;
mod pin;

pub use calibrate::calibrate;
pub use memory::{Making, Memory};
pub use pin::{Measured, Pinner};
