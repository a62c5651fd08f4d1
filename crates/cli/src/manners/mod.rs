//! How the command behaves on a terminal and beside other programs: lines that fit, how far it is,
//! ^C, shell completions, manual pages.

mod interrupt;
mod manual;
mod progress;
mod wrap;

pub(crate) use interrupt::{heed, status, was_interrupted};
pub(crate) use manual::{completions, man};
pub(crate) use progress::{Bar, Watched};
pub(crate) use wrap::{Wrapping, width_of};
