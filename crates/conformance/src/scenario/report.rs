//! What a step did: its value, what happened meanwhile, and which expectations did not hold.

use super::host::Seen;
use super::program::{Expect, Signal};
use super::shown::Handed;
use gup::addr::VirtAddr;
use gup::errno::Errno;
use gup::observe::{Event, FaultEnd};
use std::fmt;

/// What an operation gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing but success.
    Done,
    /// An address.
    At(VirtAddr),
    /// A count, not negative.
    Count(i64),
    /// An errno.
    Failed(Errno),
    /// A signal.
    Signal(Signal),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Of a call per page: one bit per page that worked, and the last errno.
    PerPage {
        /// The pages that worked.
        mask: u64,
        /// The last errno.
        last: Option<Errno>,
    },
    /// A line of expectation holds.
    Holds,
    /// It does not; what is the case instead.
    DoesNotHold(String),
    /// It could not be played: why.
    CannotPlay(String),
}

impl Value {
    /// The value of a kernel function's return: a count, or `-errno`.
    pub(super) fn of_code(code: i64) -> Self {
        if code >= 0 {
            return Self::Count(code);
        }
        Self::Failed(Errno::from_raw(i32::try_from(code.saturating_neg()).unwrap_or(i32::MAX)))
    }
    /// The value of a system call.
    pub(super) fn of_result(result: Result<(), Errno>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Done)
    }
    fn is_success(&self) -> bool {
        match self {
            Self::Done | Self::At(_) | Self::Count(_) | Self::Bytes(_) | Self::Holds => true,
            Self::PerPage { last, .. } => last.is_none(),
            Self::Failed(_) | Self::Signal(_) | Self::DoesNotHold(_) | Self::CannotPlay(_) => false,
        }
    }
}

/// Bytes as a text in quotes.
fn quoted(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(64).map(|b| b.escape_ascii().to_string()).collect();
    let more = if bytes.len() > 64 { "…" } else { "" };
    format!("\"{}\"{more}", shown.replace("\\'", "'"))
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sigsegv => "SIGSEGV",
            Self::Sigbus => "SIGBUS",
            Self::Sigkill => "SIGKILL",
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("ok"),
            Self::At(addr) => write!(f, "{addr}"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Failed(errno) => write!(f, "-{errno}"),
            Self::Signal(signal) => write!(f, "{signal}"),
            Self::Bytes(bytes) => f.write_str(&quoted(bytes)),
            Self::PerPage { mask, last: None } => write!(f, "{mask:#b}"),
            Self::PerPage { mask, last: Some(errno) } => write!(f, "{mask:#b} -{errno}"),
            Self::Holds => f.write_str("holds"),
            Self::DoesNotHold(is) => write!(f, "does not hold: {is}"),
            Self::CannotPlay(why) => write!(f, "cannot be played: {why}"),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Ok => f.write_str("success"),
            Self::Returns(number) => write!(f, "{number}"),
            Self::Fails(errno) => write!(f, "-{errno}"),
            Self::Gets(signal) => write!(f, "{signal}"),
            Self::Reads(bytes) => f.write_str(&quoted(bytes)),
            Self::Minor(count) => write!(f, "{count} minor faults"),
            Self::Major(count) => write!(f, "{count} major faults"),
            Self::Waits(count) => write!(f, "{count} waits"),
            Self::Dropped => f.write_str("the lock dropped"),
            Self::Kept => f.write_str("the lock kept"),
            Self::Nonblocking(value) => write!(f, "*nonblocking {value}"),
            Self::Decided(rule) => write!(f, "a decision by {rule}"),
        }
    }
}

/// What the operation itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) value: Value,
    /// Whether the lock that was passed is still held, if one was.
    pub(super) lock_kept: Option<bool>,
    /// `*nonblocking` afterwards, if it was passed.
    pub(super) nonblocking: Option<i64>,
}

impl From<Value> for Outcome {
    fn from(value: Value) -> Self {
        Self { value, lock_kept: None, nonblocking: None }
    }
}

/// A step, played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it gave.
    pub value: Value,
    /// What happened, in order.
    pub seen: Vec<Seen>,
    /// Minor faults taken.
    pub minor: u64,
    /// Major faults taken.
    pub major: u64,
    /// How often somebody waited for a disk.
    pub waits: u64,
    /// Whether the lock that was passed is still held, if one was.
    pub lock_kept: Option<bool>,
    /// `*nonblocking` afterwards, if it was passed.
    pub nonblocking: Option<i64>,
    /// The mappings whose pages' states changed: a label, and tokens.
    pub states: Vec<(String, String)>,
    /// The first pages that were handed out.
    pub handed: Vec<Handed>,
    /// How many more there were.
    pub more_handed: usize,
    /// Expectations that did not hold, in words.
    pub unmet: Vec<String>,
}

impl Report {
    pub(super) fn new(outcome: Outcome, seen: Vec<Seen>, expect: &[Expect]) -> Self {
        let ended = |how: FaultEnd| {
            let end = |seen: &&Seen| match seen {
                Seen::Event(Event::FaultEnd { what, .. }) => *what == how,
                _ => false,
            };
            seen.iter().filter(end).count() as u64
        };
        let waited = |seen: &&Seen| matches!(seen, Seen::Waited | Seen::ReadUnderLock(_));
        let (minor, major) = (ended(FaultEnd::Minor), ended(FaultEnd::Major));
        let waits = seen.iter().filter(waited).count() as u64;
        let Outcome { value, lock_kept, nonblocking } = outcome;
        let mut report = Self {
            value,
            seen,
            minor,
            major,
            waits,
            lock_kept,
            nonblocking,
            states: Vec::new(),
            handed: Vec::new(),
            more_handed: 0,
            unmet: Vec::new(),
        };
        report.unmet = report.misses(expect);
        report
    }
    /// Whether everything that was expected came.
    pub fn is_as_expected(&self) -> bool {
        self.unmet.is_empty()
    }
    fn misses(&self, expect: &[Expect]) -> Vec<String> {
        let about_value = |expect: &Expect| match expect {
            Expect::Any
            | Expect::Ok
            | Expect::Returns(_)
            | Expect::Fails(_)
            | Expect::Gets(_)
            | Expect::Reads(_) => true,
            Expect::Minor(_)
            | Expect::Major(_)
            | Expect::Waits(_)
            | Expect::Dropped
            | Expect::Kept
            | Expect::Nonblocking(_)
            | Expect::Decided(_) => false,
        };
        let mut misses: Vec<String> = expect
            .iter()
            .filter_map(|wish| self.instead_of(wish).map(|is| format!("expected {wish}, got {is}")))
            .collect();
        if !expect.iter().any(about_value) && !self.value.is_success() {
            misses.push(match &self.value {
                Value::DoesNotHold(is) | Value::CannotPlay(is) => is.clone(),
                value => format!("expected success, got {value}"),
            });
        }
        misses
    }
    /// What is the case, if it is not what `expect` says.
    fn instead_of(&self, expect: &Expect) -> Option<String> {
        let count = |want: u64, is: u64| (want != is).then(|| is.to_string());
        let value = |holds: bool| (!holds).then(|| self.value.to_string());
        match expect {
            Expect::Any => None,
            Expect::Ok => value(self.value.is_success()),
            Expect::Returns(number) => value(match &self.value {
                Value::Count(is) => is == number,
                Value::Failed(errno) => errno.negated() == *number,
                Value::PerPage { mask, .. } => i64::from(mask.count_ones()) == *number,
                _ => false,
            }),
            Expect::Fails(errno) => value(match &self.value {
                Value::Failed(is) | Value::PerPage { last: Some(is), .. } => is == errno,
                _ => false,
            }),
            Expect::Gets(signal) => value(self.value == Value::Signal(*signal)),
            Expect::Reads(bytes) => value(self.value == Value::Bytes(bytes.clone())),
            Expect::Minor(want) => count(*want, self.minor),
            Expect::Major(want) => count(*want, self.major),
            Expect::Waits(want) => count(*want, self.waits),
            Expect::Dropped => (self.lock_kept != Some(false)).then(|| self.lock_words()),
            Expect::Kept => (self.lock_kept != Some(true)).then(|| self.lock_words()),
            Expect::Nonblocking(want) => (self.nonblocking != Some(*want)).then(|| {
                self.nonblocking.map_or_else(|| "none passed".into(), |is| is.to_string())
            }),
            Expect::Decided(rule) => {
                let decided = |seen: &Seen| match seen {
                    Seen::Event(Event::Rule { rule: by, .. }) => by == rule,
                    _ => false,
                };
                (!self.seen.iter().any(decided)).then(|| "none".into())
            }
        }
    }
    fn lock_words(&self) -> String {
        match self.lock_kept {
            Some(true) => "the lock kept".into(),
            Some(false) => "the lock dropped".into(),
            None => "a call that is not passed the lock".into(),
        }
    }
}
