//! How the command behaves on a terminal and beside other programs: lines that fit, shell
//! completions, manual pages.

mod manual;
mod wrap;

pub(crate) use manual::{completions, man};
pub(crate) use wrap::{Wrapping, width_of};
