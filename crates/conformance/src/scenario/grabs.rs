//! Calls that get or pin pages, and what is done with the pages: `P: x = pin_user_pages …`, `x: …`.
//!
//! Absent: which function does what ([`super::calls`]).

use super::cursor::Cursor;
use super::mistake::Mistake;
use super::program::{Function, Gup, Length, Op, Setup};
use super::scope::Scope;
use gup::flags::Foll;
use gup::linux::Linux;

/// The most page slots one call gets.
const SLOTS_MAX: u64 = 1 << 20;
/// The most bytes one line reads.
const READ_MAX: u64 = 1 << 20;

/// Where a function exists.
#[derive(Clone, Copy)]
enum In {
    V4_4,
    V6_18,
    Both,
}

/// The functions, with the kernels that have them; whether the twin without an MMU has them too.
const FUNCTIONS: [(&str, Function, In, bool); 13] = [
    ("__get_user_pages", Function::UnderGetUserPages, In::V4_4, true),
    ("get_user_pages", Function::GetUserPages, In::Both, true),
    ("get_user_pages_locked", Function::GetUserPagesLocked, In::V4_4, true),
    ("get_user_pages_unlocked", Function::GetUserPagesUnlocked, In::Both, true),
    ("__get_user_pages_unlocked", Function::UnderGetUserPagesUnlocked, In::V4_4, true),
    ("get_user_pages_remote", Function::GetUserPagesRemote, In::V6_18, true),
    ("get_user_pages_fast", Function::GetUserPagesFast, In::Both, false),
    ("__get_user_pages_fast", Function::UnderGetUserPagesFast, In::V4_4, false),
    ("get_user_pages_fast_only", Function::GetUserPagesFastOnly, In::V6_18, false),
    ("pin_user_pages", Function::PinUserPages, In::V6_18, true),
    ("pin_user_pages_remote", Function::PinUserPagesRemote, In::V6_18, true),
    ("pin_user_pages_unlocked", Function::PinUserPagesUnlocked, In::V6_18, true),
    ("pin_user_pages_fast", Function::PinUserPagesFast, In::V6_18, false),
];

impl Function {
    /// Its name.
    pub fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function, ..)| *function == self).map_or("?", |row| row.0)
    }
}

/// The functions that `setup` has.
pub(super) fn functions_of(setup: &Setup) -> Vec<(&'static str, Function)> {
    let has = |kernels: In| match kernels {
        In::V4_4 => setup.linux == Linux::V4_4,
        In::V6_18 => setup.linux == Linux::V6_18,
        In::Both => true,
    };
    let rows = FUNCTIONS.iter().filter(|row| has(row.2) && (row.3 || !setup.nommu));
    rows.map(|(name, function, ..)| (*name, *function)).collect()
}

/// The rest of a call, its function having been read.
pub(super) fn gup(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    setup: &Setup,
    (process, name): (String, Option<String>),
    function: Function,
) -> Result<Gup, Mistake> {
    let at = scope.at(cursor, &process)?;
    let nr_pages = match cursor.length()? {
        Length::Pages(count) => count,
        Length::Bytes(_) => {
            return Err(cursor.mistake_before("a number of pages, such as `4 pages` or `4p`"));
        }
    };
    let mut gup = Gup {
        process,
        by: None,
        name: None,
        function,
        at,
        nr_pages,
        foll: Foll::empty(),
        may_drop: false,
        no_pages: false,
    };
    options(cursor, scope, setup.linux, &mut gup)?;
    if nr_pages > SLOTS_MAX && !gup.no_pages {
        return Err(cursor.mistake("no-pages, since more than 1048576 pages are asked for"));
    }
    if let Some(name) = &name {
        if gup.no_pages {
            return Err(cursor.mistake("no `no-pages`: the result has a name"));
        }
        scope.add_pin(name);
    }
    gup.name = name;
    Ok(gup)
}

/// The flags that `function` can be given on `linux`.
fn flags_of(function: Function, linux: Linux) -> Foll {
    match (linux, function) {
        (Linux::V6_18, _) => Foll::from_v6_18(u32::MAX),
        (Linux::V4_4, Function::UnderGetUserPages | Function::UnderGetUserPagesUnlocked) => {
            Foll::from_v4_4(u32::MAX)
        }
        (Linux::V4_4, Function::GetUserPagesFast | Function::UnderGetUserPagesFast) => Foll::WRITE,
        (Linux::V4_4, _) => Foll::WRITE | Foll::FORCE,
    }
}

/// The word by which a caller lets `function` drop the lock, if it has such a parameter.
fn dropping(function: Function) -> Option<&'static str> {
    match function {
        Function::UnderGetUserPages => Some("nonblocking"),
        Function::GetUserPagesRemote | Function::PinUserPagesRemote => Some("locked"),
        Function::GetUserPages
        | Function::GetUserPagesLocked
        | Function::GetUserPagesUnlocked
        | Function::UnderGetUserPagesUnlocked
        | Function::GetUserPagesFast
        | Function::UnderGetUserPagesFast
        | Function::GetUserPagesFastOnly
        | Function::PinUserPages
        | Function::PinUserPagesUnlocked
        | Function::PinUserPagesFast => None,
    }
}

fn options(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    linux: Linux,
    gup: &mut Gup,
) -> Result<(), Mistake> {
    let (flags, dropping) = (flags_of(gup.function, linux), dropping(gup.function));
    while let Some(word) = cursor.peek_word().map(str::to_owned) {
        let flag = Foll::from_name(&word).filter(|flag| flags.contains(*flag));
        if let Some(flag) = flag {
            gup.foll |= flag;
        } else if dropping == Some(&word) {
            gup.may_drop = true;
        } else {
            match word.as_str() {
                "no-pages" => gup.no_pages = true,
                "by" => {
                    cursor.word("")?;
                    gup.by = Some(scope.process(cursor)?);
                    continue;
                }
                _ => {
                    let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
                    let drop = dropping.map(|word| format!(", {word}")).unwrap_or_default();
                    return Err(cursor.mistake(format!(
                        "a flag of {} ({}){drop}, no-pages, by PROCESS, or `->`",
                        gup.function.name(),
                        names.join(", "),
                    )));
                }
            }
        }
        cursor.word("")?;
        cursor.take_sign('|');
    }
    Ok(())
}

/// What is done with pin `name`; `NAME:` has been read.
pub(super) fn of_pin(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    pin: String,
) -> Result<Op, Mistake> {
    const WANTED: &str = "what is done with the pages: read, write, dirty or release";
    let word = cursor.word(WANTED)?;
    Ok(match word.as_str() {
        "read" => {
            let offset = sum(cursor)?;
            Op::PinRead { pin, offset, count: count(cursor)? }
        }
        "write" => {
            let offset = sum(cursor)?;
            Op::PinWrite { pin, offset, bytes: cursor.text("a text in quotes to write")? }
        }
        "dirty" => Op::PinDirty { pin },
        "release" => {
            scope.drop_pin(&pin);
            Op::PinRelease { pin }
        }
        _ => return Err(cursor.mistake_before(WANTED)),
    })
}

/// An offset from the first byte of the first page: `0`, `1p`, `1p+5`.
fn sum(cursor: &mut Cursor<'_>) -> Result<u64, Mistake> {
    let mut sum = cursor.offset()?;
    while cursor.take_sign('+') {
        sum = sum.wrapping_add(cursor.offset()?);
    }
    Ok(sum)
}

/// How many bytes to read.
pub(super) fn count(cursor: &mut Cursor<'_>) -> Result<u64, Mistake> {
    let bytes = if cursor.is_bare_number() {
        cursor.number("a number of bytes")?
    } else {
        cursor.length()?.bytes()
    };
    if bytes > READ_MAX {
        return Err(cursor.mistake_before("at most 1M to read at once"));
    }
    Ok(bytes)
}
