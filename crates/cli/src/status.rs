//! Exit statuses, and how a failure is reported: what was tried, on what, what to do; on standard
//! error.

use gup_mirror::error::MirrorError;
use gup_mirror::explain::NoVerdict;
use gup_mirror::range::{BadRange, NoRange};
use gup_mirror::world::build::CannotBuild;
use std::io;
use std::process::ExitCode;
use thiserror::Error;

/// It answered, and the answer is yes or needs no yes.
pub(crate) const ANSWERED: u8 = 0;
/// It answered, and the answer is no.
pub(crate) const NO: u8 = 1;
/// The request makes no sense.
pub(crate) const BAD_USAGE: u8 = 2;
/// It could not look.
pub(crate) const COULD_NOT_LOOK: u8 = 3;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The request makes no sense; the sentence says why.
    #[error("{0}")]
    Usage(String),
    /// The process could not be looked at.
    #[error(transparent)]
    Look(#[from] MirrorError),
    /// The mirror of the process could not be built.
    #[error("{0}")]
    Mirror(String),
    /// A file could not be read.
    #[error("{0}")]
    Unreadable(String),
    /// Standard output broke.
    #[error("could not write: {0}")]
    Output(#[from] io::Error),
}

impl From<BadRange> for Failure {
    fn from(bad: BadRange) -> Self {
        Self::Usage(bad.to_string())
    }
}

impl From<NoRange> for Failure {
    fn from(reason: NoRange) -> Self {
        match reason {
            NoRange::Bad(bad) => bad.into(),
            NoRange::Look(error) => error.into(),
        }
    }
}

impl From<CannotBuild> for Failure {
    fn from(reason: CannotBuild) -> Self {
        Self::Mirror(reason.to_string())
    }
}

impl From<NoVerdict> for Failure {
    fn from(reason: NoVerdict) -> Self {
        match reason {
            NoVerdict::Look(error) => error.into(),
            NoVerdict::Build(error) => Self::Mirror(error.to_string()),
            NoVerdict::Range(bad) => bad.into(),
        }
    }
}

impl Failure {
    /// Prints the failure and gives its exit status. A closed pipe is no failure.
    pub(crate) fn report(self) -> ExitCode {
        let status = match &self {
            Self::Usage(_) => BAD_USAGE,
            Self::Look(_) | Self::Mirror(_) | Self::Unreadable(_) => COULD_NOT_LOOK,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return ExitCode::from(ANSWERED);
            }
            Self::Output(_) => COULD_NOT_LOOK,
        };
        anstream::eprintln!("gup: {self}");
        ExitCode::from(status)
    }
}

/// The exit status of a yes-or-no answer.
pub(crate) fn yes_or_no(yes: impl Into<Answer>) -> ExitCode {
    match yes.into() {
        Answer::Yes => ExitCode::from(ANSWERED),
        Answer::No => ExitCode::from(NO),
    }
}

/// A yes or a no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
}
