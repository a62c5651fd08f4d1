//! Recording rows: one kind, one driver, the running kernel's answer, in the form in which rows are
//! replayed.
//!
//! Left out of a row: faults, and pins of drivers that give them back late.
//! `vectors/linux-6.18/kernel-rows.md` says what the fields mean. Root only: pages are looked at.

use super::observe::{Eyes, pins};
use crate::ask::answer::Asked;
use crate::ask::driver::Driver;
use crate::fixture::kind::Kind;
use crate::fixture::subject::{NoSubject, Workshop};
use crate::rows::Row;
use crate::world::token::Classes;
use crate::world::{Area, Content, Token};
use gup_mirror::proc::kpage::Kpages;
use rustix::io::Errno;

/// Asks the running kernel about a fresh range of `kind`: through `driver`, or of its state alone.
///
/// # Errors
/// Why it cannot be asked.
pub fn record(workshop: &Workshop, kind: Kind, driver: Option<Driver>) -> Result<Row, String> {
    let mut subject = workshop.start(kind).map_err(|no| match no {
        NoSubject::CannotMake(why) => format!("{}: {why}", kind.name()),
        NoSubject::Broken(error) => format!("{}: {error}", kind.name()),
    })?;
    let kpages = Kpages::open().ok_or("frames are seen by root only")?;
    let (pid, range) = (subject.pid().cast_signed(), subject.range());
    let seen = |pid: i32| Seen::of(pid, (range.start, range.pages()), &kpages);
    let before = seen(pid).map_err(|errno| format!("pagemap: {errno}"))?;
    let counted = pins();
    let answer = match driver.map(|driver| subject.ask(driver)) {
        None => None,
        Some(Asked::Answer(answer)) => Some(answer),
        Some(Asked::Cannot(why)) => return Err(why),
    };
    // What was pinned before the fork is given back with the process before this one, at any time.
    let steady = kind != Kind::ForkPinned && driver.is_none_or(gives_back_at_once);
    let now = pins().filter(|_| steady);
    let after = seen(pid).map_err(|errno| format!("pagemap: {errno}"))?;
    let relative = relative(kind, pid).and_then(|pid| seen(pid).ok());
    let frames = |seen: &Option<Seen>| seen.as_ref().map_or(Vec::new(), |seen| seen.frames.clone());
    Ok(Row {
        kind: kind.name().to_owned(),
        driver: driver.map_or("none", Driver::name).to_owned(),
        np: range.pages(),
        ret: answer.map_or(0, |answer| answer.ret),
        errno: answer.map_or(0, |answer| answer.errno),
        mask: answer.map_or(0, |answer| answer.mask),
        pfn: relations(&before.frames, &after.frames),
        sib_pfn: relations(&after.frames, &frames(&relative)),
        before: before.tokens,
        after: after.tokens,
        sib: relative.map(|seen| seen.tokens).unwrap_or_default(),
        minflt: None,
        majflt: None,
        pin_acq: counted.zip(now).map(|(then, now)| now.0.wrapping_sub(then.0)),
        pin_rel: counted.zip(now).map(|(then, now)| now.1.wrapping_sub(then.1)),
    })
}

/// Whether a driver has given back what it took when it returns.
fn gives_back_at_once(driver: Driver) -> bool {
    !matches!(driver, Driver::RingBuffer | Driver::RingPbuf | Driver::XdpUmem | Driver::Vmsplice)
}

/// The other side of the fork that the recipe of `kind` made, if it lives.
fn relative(kind: Kind, pid: i32) -> Option<i32> {
    let forks = kind.name().contains("fork") && kind != Kind::ForkExited;
    let child = matches!(
        kind,
        Kind::ForkChild | Kind::ForkChildWrote1 | Kind::ForkZero | Kind::ForkFprivRead
    );
    if !forks {
        return None;
    }
    let text = if child {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:").map(str::to_owned))?
    } else {
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?
    };
    text.split_whitespace().next()?.parse().ok()
}

/// What a look at the pages of a range shows.
struct Seen {
    tokens: String,
    frames: Vec<Option<u64>>,
}

impl Seen {
    fn of(pid: i32, range: (u64, u64), kpages: &Kpages) -> Result<Self, Errno> {
        let (start, pages) = range;
        if start >= 1 << 47 {
            let nothing = vec!["-"; usize::try_from(pages).unwrap_or(0)];
            return Ok(Self { tokens: nothing.join(" "), frames: vec![None; nothing.len()] });
        }
        let eyes = Eyes::open(pid)?;
        // Every address counts as mapped here: a hole is an empty entry in rows.
        let end = start.saturating_add(pages * crate::sys::PAGE);
        let everywhere = Area { start, end, prot: 0, shared: false, offset: 0, file: None };
        let tokens = eyes.tokens(range, &[everywhere], kpages, &mut Classes::default())?;
        let words = eyes.words(start, pages)?;
        Ok(Self {
            tokens: tokens.iter().map(in_a_row).collect::<Vec<_>>().join(" "),
            frames: words.iter().map(|word| word.pfn().filter(|_| word.present())).collect(),
        })
    }
}

/// A token as rows have it: without classes, and with a mapping that is not counted as a file's.
fn in_a_row(token: &Token) -> String {
    let content = if token.content == Content::NoArea { Content::Empty } else { token.content };
    Token { content, ..*token }.without_class().to_string()
}

/// What became of each frame: `=` the same, `!` another, `+` new, `.` none.
fn relations(old: &[Option<u64>], new: &[Option<u64>]) -> String {
    let relation = |pair| match pair {
        (_, None) => '.',
        (None, Some(_)) => '+',
        (Some(old), Some(new)) if old == new => '=',
        (Some(_), Some(_)) => '!',
    };
    old.iter().copied().zip(new.iter().copied()).map(relation).collect()
}
