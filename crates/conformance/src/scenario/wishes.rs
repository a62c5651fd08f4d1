//! What is expected: after `->` of one step, or on a line of its own.
//!
//! Absent: whether it holds ([`super::check`]).

use super::cursor::Cursor;
use super::mistake::Mistake;
use super::program::{Counted, Expect, Op, Place, Signal};
use super::scope::Scope;
use gup::errno::Errno;
use gup::rule::Rule;

/// The most pages one line looks at.
const STATE_MAX: u64 = 1 << 16;

/// `-> …`, if that is at hand.
pub(super) fn after_arrow(cursor: &mut Cursor<'_>) -> Result<Vec<Expect>, Mistake> {
    let mut wishes = Vec::new();
    if !cursor.take_arrow() {
        return Ok(wishes);
    }
    loop {
        wishes.push(wish(cursor)?);
        if !cursor.take_sign(',') {
            return Ok(wishes);
        }
    }
}

fn wish(cursor: &mut Cursor<'_>) -> Result<Expect, Mistake> {
    const WANTED: &str = "a number, an errno such as EFAULT, a text in quotes, ok, any, SIGSEGV, \
                          SIGBUS, SIGKILL, minor N, major N, waits N, dropped, kept, \
                          nonblocking N or rule ID";
    const SIMPLE: [(&str, Expect); 7] = [
        ("any", Expect::Any),
        ("ok", Expect::Ok),
        ("SIGSEGV", Expect::Gets(Signal::Sigsegv)),
        ("SIGBUS", Expect::Gets(Signal::Sigbus)),
        ("SIGKILL", Expect::Gets(Signal::Sigkill)),
        ("dropped", Expect::Dropped),
        ("kept", Expect::Kept),
    ];
    if let Some(bytes) = cursor.take_text() {
        return Ok(Expect::Reads(bytes));
    }
    let word = cursor.word(WANTED)?;
    if let Some((_, simple)) = SIMPLE.iter().find(|(known, _)| *known == word) {
        return Ok(simple.clone());
    }
    match word.as_str() {
        "minor" => return cursor.number("a number of faults").map(Expect::Minor),
        "major" => return cursor.number("a number of faults").map(Expect::Major),
        "waits" => return cursor.number("a number of waits").map(Expect::Waits),
        "nonblocking" => {
            let value = cursor.number("0 or 1")?;
            return Ok(Expect::Nonblocking(i64::try_from(value).unwrap_or(i64::MAX)));
        }
        "rule" => {
            let id = cursor.word("a rule's id, such as C-32")?;
            let rule = Rule::parse(&id);
            return rule
                .map(Expect::Decided)
                .ok_or_else(|| cursor.mistake_before("a rule's id, such as C-32"));
        }
        _ => {}
    }
    let errno = Errno::from_name(word.strip_prefix('-').unwrap_or(&word));
    if let Some(errno) = errno {
        return Ok(Expect::Fails(errno));
    }
    let number = super::cursor::plain(&word).and_then(|number| i64::try_from(number).ok());
    let number = number.or_else(|| word.parse::<i64>().ok());
    number.map(Expect::Returns).ok_or_else(|| cursor.mistake_before(WANTED))
}

/// A line that begins with `expect`, which has been read.
pub(super) fn expectation(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Op, Mistake> {
    const WANTED: &str = "what is expected: state, areas, same, other, refs, pins or mapcount";
    let word = cursor.word(WANTED)?;
    let counted = match word.as_str() {
        "state" => return state(cursor, scope),
        "areas" => return areas(cursor, scope),
        "same" => {
            let left = scope.place(cursor)?;
            return Ok(Op::ExpectSame { left, right: scope.place(cursor)? });
        }
        "other" => {
            let left = scope.place(cursor)?;
            return Ok(Op::ExpectOther { left, right: scope.place(cursor)? });
        }
        "refs" => Counted::Refs,
        "pins" => Counted::Pins,
        "mapcount" => Counted::Mapcount,
        _ => return Err(cursor.mistake_before(WANTED)),
    };
    let place = scope.place(cursor)?;
    Ok(Op::ExpectCount { place, counted, value: cursor.number("a number")? })
}

/// `P:a 4 pages "0-2 rw-p; 2-4 r--s f+1"`: which areas there are, in pages from the address.
fn areas(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Op, Mistake> {
    let Place::Mapped { process, at } = scope.place(cursor)? else {
        return Err(cursor.mistake_before("an address of a process: `P:a`"));
    };
    let pages = cursor.length()?.pages();
    let text = cursor.text("the areas in quotes, such as \"0-2 rw-p; 2-4 r--s f+1\"")?;
    let words = String::from_utf8_lossy(&text).into_owned();
    let words: Vec<&str> = words.split_whitespace().collect();
    Ok(Op::ExpectAreas { process, at, pages, areas: words.join(" ") })
}

/// `P a 4 pages "- Ax - -"`, or `P:a "…"` with as many pages as tokens.
fn state(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Op, Mistake> {
    let Place::Mapped { process, at } = scope.place(cursor)? else {
        return Err(cursor.mistake_before("an address of a process: `P:a`"));
    };
    let text = cursor.text("the pages' states in quotes, such as \"- Ax - -\"")?;
    let words = String::from_utf8_lossy(&text).into_owned();
    let tokens: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    let known = |token: &String| {
        let mut letters = token.chars();
        letters.next().is_some_and(|c| ".-ZAFKSG".contains(c))
            && letters.all(|c| "xsThHdLcw".contains(c) || c.is_ascii_digit())
    };
    let pages = tokens.len() as u64;
    if tokens.is_empty() || pages > STATE_MAX || !tokens.iter().all(known) {
        return Err(cursor.mistake_before(
            "a token a page: one of . - Z A F K S G, then any of x s T h H d L c w or a mapcount",
        ));
    }
    Ok(Op::ExpectState { process, at, pages, tokens })
}
