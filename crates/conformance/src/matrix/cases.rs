//! Cases: which there are, what each is expected to do, and what it did.

use super::backings::{Backing, Source};
use super::bodies::Body;
use super::longterm::LongTerm;
use super::others::Other;
use super::play::{Decided, Failure, Stage};
use std::fmt;

/// What Linux does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// What must hold does.
    Holds,
    /// It does not, as is known.
    Breaks,
}

/// What the engine did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What must hold does.
    Holds,
    /// This does not.
    Breaks(String),
    /// The case cannot be played, for this reason.
    Cannot(String),
}

/// One body on one backing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// What is done to what.
    pub subject: Subject,
    /// What Linux does.
    pub expected: Expected,
}

/// What is done to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// To anonymous memory.
    Anon(Body, Backing),
    /// To private memory of something else.
    Private(Body, Source),
    /// To pages pinned for long.
    LongTerm(LongTerm, Source),
    /// What stands for itself.
    Other(Other),
}

/// A case and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The case.
    pub case: Case,
    /// What the engine did.
    pub verdict: Verdict,
    /// The rules that decided.
    pub decided: Decided,
}

impl Subject {
    /// What is done.
    pub fn body(&self) -> String {
        match self {
            Self::Anon(body, _) | Self::Private(body, _) => body.to_string(),
            Self::LongTerm(body, _) => body.to_string(),
            Self::Other(other) => other.to_string(),
        }
    }
    /// The row that says so, such as `T-01`.
    pub fn row(&self) -> String {
        self.body().split(' ').next().unwrap_or_default().to_owned()
    }
    /// To what.
    pub fn backing(&self) -> String {
        match self {
            Self::Anon(_, backing) => backing.to_string(),
            Self::Private(_, source) | Self::LongTerm(_, source) => source.to_string(),
            Self::Other(_) => String::new(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backing = self.backing();
        let with = if backing.is_empty() { "" } else { " with " };
        write!(f, "{}{with}{backing}", self.body())
    }
}

/// The cases of cow.c: 14 (2 + H + 6 T + 2) + 4 + 3 (3 + H + 1), 778 with H = 2 and T = 8.
pub fn cow() -> Vec<Case> {
    let holds = |subject| Case { subject, expected: Expected::Holds };
    let anon = Body::ANON.into_iter().flat_map(|body| {
        Backing::all().into_iter().map(move |backing| Case {
            subject: Subject::Anon(body, backing),
            expected: body.expected_on(backing),
        })
    });
    let whole = Backing::all().into_iter().find(|backing| backing.is_pmd_mapped());
    let collapse = Body::COLLAPSE.into_iter().zip(whole.into_iter().cycle());
    let collapse = collapse.map(|(body, backing)| holds(Subject::Anon(body, backing)));
    let private = Body::PRIVATE.into_iter().flat_map(|body| {
        Source::of_cow().into_iter().map(move |source| holds(Subject::Private(body, source)))
    });
    anon.chain(collapse).chain(private).collect()
}

/// The cases of `gup_longterm.c`: 10 (3 + H).
pub fn gup_longterm() -> Vec<Case> {
    let with = |body| {
        Source::of_longterm().into_iter().map(move |source| Case {
            subject: Subject::LongTerm(body, source),
            expected: Expected::Holds,
        })
    };
    LongTerm::all().into_iter().flat_map(with).collect()
}

/// The cases of the smaller programs.
pub fn others() -> Vec<Case> {
    let case = |other| Case { subject: Subject::Other(other), expected: Expected::Holds };
    Other::all().into_iter().map(case).collect()
}

impl Case {
    /// Plays it.
    pub fn play(self) -> Report {
        let stage = self.subject.stage();
        let verdict = match self.subject.play(&stage) {
            Ok(()) => Verdict::Holds,
            Err(Failure::Broken(what)) => Verdict::Breaks(what),
            Err(Failure::Cannot(why)) => Verdict::Cannot(why),
        };
        Report { case: self, verdict, decided: stage.decided() }
    }
}

impl Report {
    /// Whether the engine did what Linux does. What cannot be played did not.
    pub fn agrees(&self) -> bool {
        match &self.verdict {
            Verdict::Holds => self.case.expected == Expected::Holds,
            Verdict::Breaks(_) => self.case.expected == Expected::Breaks,
            Verdict::Cannot(_) => false,
        }
    }
}

impl Subject {
    fn stage(self) -> Stage {
        match self {
            Self::Anon(_, backing) => backing.stage(),
            Self::Private(_, source) | Self::LongTerm(_, source) => source.stage(),
            Self::Other(other) => other.stage(),
        }
    }
    fn play(self, stage: &Stage) -> Result<(), Failure> {
        self.play_on(stage)?;
        if stage.leaks() { Err(Failure::broken("every page is given back")) } else { Ok(()) }
    }
    fn play_on(self, stage: &Stage) -> Result<(), Failure> {
        match self {
            Self::Anon(body, backing) => {
                let process = stage.process();
                let span = backing.build(&process)?;
                body.on_anon(&process, span)
            }
            Self::Private(body, source) => body.on_private(stage, source),
            Self::LongTerm(body, source) => body.on(stage, source),
            Self::Other(other) => other.on(stage),
        }
    }
}
