//! What is heard of a step, in words that every world shares.
//!
//! Absent: the state of one page ([`super::token`]), and comparing ([`super::compare`]).

use super::exact::Exact;
use super::token::Token;
use crate::scenario::{Step, Value};

/// Pages of a named mapping that are looked at where nothing else is said.
pub const WATCHED_PAGES: u64 = 16;

/// Something that scenarios can be played in.
pub trait World {
    /// Plays one step. A step that this world cannot play is [`Value::CannotPlay`], with the
    /// reason; nothing has happened then.
    fn play(&mut self, step: &Step) -> Heard;
    /// Looks again at every process, where something that was begun may have ended meanwhile;
    /// `None` where nothing may.
    fn again(&mut self) -> Option<Vec<Space>> {
        None
    }
}

/// What a world says of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What the operation gave.
    pub value: Value,
    /// Minor and major faults charged to the caller; `None` if this was not looked at.
    pub faults: Option<(u64, u64)>,
    /// Pins acquired and released during the step, on the whole machine, in base pages; `None` if
    /// this was not looked at.
    pub pins: Option<(u64, u64)>,
    /// Every live process, by name.
    pub spaces: Vec<Space>,
}

/// An address space, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// The process.
    pub process: String,
    /// The areas that overlap a window, whole, in order.
    pub areas: Vec<Area>,
    /// The pages of each window; empty if this world does not see pages.
    pub windows: Vec<Window>,
}

/// Pages that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first one's address.
    pub start: u64,
    /// Their states.
    pub pages: Vec<Token>,
    /// What this world itself has of each; `None` if that was not looked at.
    pub exact: Option<Vec<Exact>>,
}

/// An area, as `/proc/PID/maps` shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Area {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
    /// `PROT_READ`, `PROT_WRITE` and `PROT_EXEC`.
    pub prot: u8,
    /// Shared, or might be.
    pub shared: bool,
    /// Offset in the file, in bytes; 0 without one.
    pub offset: u64,
    /// The file's name in the scenario; `?` for one that it did not make.
    pub file: Option<String>,
}

impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letter = |bit: u8, letter| if self.prot & bit != 0 { letter } else { '-' };
        let (read, write, exec) = (letter(1, 'r'), letter(2, 'w'), letter(4, 'x'));
        let shared = if self.shared { 's' } else { 'p' };
        let Self { start, end, offset, .. } = self;
        write!(f, "{start:x}-{end:x} {read}{write}{exec}{shared}")?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, " {file}+{offset:#x}"))
    }
}

impl Area {
    /// The part in `pages` pages from `start` on, in pages from there: `0-2 rw-p`, and of a file
    /// its name and the first page that is shown, `f+1`.
    pub(crate) fn within(&self, start: u64, pages: u64) -> String {
        let end = start.saturating_add(pages << gup::addr::PAGE_SHIFT);
        let (first, last) = (self.start.max(start), self.end.min(end));
        let offset = self.offset.wrapping_add(first - self.start);
        let page = |addr: u64| addr.saturating_sub(start) >> gup::addr::PAGE_SHIFT;
        let perms = self.to_string();
        let perms = perms.split(' ').nth(1).unwrap_or("");
        let file = self.file.as_ref().map(|file| format!(" {file}+{}", offset >> 12));
        format!("{}-{} {perms}{}", page(first), page(last), file.unwrap_or_default())
    }
}

impl Heard {
    /// Return and errno, as recorded programs have them: of a call per page the return is the mask,
    /// of an access that got a signal minus its number.
    pub fn recorded(&self) -> (i64, i32) {
        match &self.value {
            Value::Count(count) => (*count, 0),
            Value::Failed(errno) => (-1, errno.raw()),
            Value::Signal(signal) => (-signal.number(), 0),
            Value::PerPage { mask, last } => {
                let errno = last.map_or(0, gup::errno::Errno::raw);
                (i64::try_from(*mask).unwrap_or(i64::MAX), errno)
            }
            Value::Done | Value::At(_) | Value::Bytes(_) | Value::Holds => (0, 0),
            Value::CannotPlay(_) | Value::DoesNotHold(_) => (-1, 0),
        }
    }
    /// States of all pages, in the form of recorded programs: `P0: - Ax1#0 | P1: …`.
    pub fn state(&self) -> String {
        let space = |space: &Space| {
            let pages = space.windows.iter().flat_map(|window| &window.pages);
            let words: Vec<String> = pages.map(Token::to_string).collect();
            format!("{}: {}", space.process, words.join(" "))
        };
        self.spaces.iter().map(space).collect::<Vec<_>>().join(" | ")
    }
}
