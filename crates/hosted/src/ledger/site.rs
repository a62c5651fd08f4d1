//! Sites: where in a driver something was done.

use std::fmt;
use std::panic::Location;

/// A place in a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// A line of code.
    Code(&'static Location<'static>),
    /// A name that the driver gave.
    Label(&'static str),
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(at) => write!(f, "{}:{}", at.file(), at.line()),
            Self::Label(label) => f.write_str(label),
        }
    }
}
