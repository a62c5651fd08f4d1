//! What a process does by system calls with plain numbers, by drivers, and by its userfaultfd.
//!
//! Absent: what is done by name ([`super::verbs`]).

use super::cursor::Cursor;
use super::mistake::Mistake;
use super::program::{At, Modes, Op, Sys, Touch, Uffd};
use super::scope::Scope;
use crate::ask::driver::Driver;

const CALLS: &str = "sys_mmap, sys_munmap, sys_mprotect, sys_mremap, sys_madvise, sys_mlock2, \
                     sys_munlock, sys_mseal or sys_brk";

fn number(cursor: &mut Cursor<'_>, what: &str) -> Result<u64, Mistake> {
    cursor.number(&format!("{what}, a number"))
}

fn word(cursor: &mut Cursor<'_>, what: &str) -> Result<u32, Mistake> {
    let number = number(cursor, what)?;
    u32::try_from(number).map_err(|_| cursor.mistake_before("a number of 32 bits"))
}

/// A number, which may be negative.
fn advice(cursor: &mut Cursor<'_>) -> Result<i32, Mistake> {
    const WANTED: &str = "an advice, a number of 32 bits";
    let text = cursor.word(WANTED)?;
    text.parse().map_err(|_| cursor.mistake_before(WANTED))
}

/// `sys_CALL ADDRESS NUMBERS`, if that is at hand.
pub(super) fn call(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    process: &str,
) -> Result<Option<Sys>, Mistake> {
    let Some(name) = cursor.peek_word().and_then(|word| word.strip_prefix("sys_")) else {
        return Ok(None);
    };
    let name = name.to_owned();
    cursor.word(CALLS)?;
    let known = ["mmap", "munmap", "mprotect", "mremap", "madvise", "mlock2", "munlock", "mseal"];
    if !known.contains(&name.as_str()) && name != "brk" {
        return Err(cursor.mistake_before(CALLS));
    }
    let at = scope.at(cursor, process)?;
    if name == "brk" {
        return Ok(Some(Sys::Brk { at }));
    }
    if name == "mremap" {
        let (old, new) = (number(cursor, "the old bytes")?, number(cursor, "the new bytes")?);
        let flags = word(cursor, "flags")?;
        let to = scope.at(cursor, process)?;
        return Ok(Some(Sys::Mremap { at, old, new, flags, to }));
    }
    let bytes = number(cursor, "bytes")?;
    Ok(Some(match name.as_str() {
        "mmap" => mmap(cursor, scope, at, bytes)?,
        "munmap" => Sys::Munmap { at, bytes },
        "mprotect" => Sys::Mprotect { at, bytes, prot: word(cursor, "permissions")? },
        "madvise" => Sys::Madvise { at, bytes, advice: advice(cursor)? },
        "mlock2" => Sys::Mlock { at, bytes, flags: word(cursor, "flags")? },
        "munlock" => Sys::Munlock { at, bytes },
        _ => Sys::Mseal { at, bytes, flags: number(cursor, "flags")? },
    }))
}

fn mmap(cursor: &mut Cursor<'_>, scope: &Scope, at: At, bytes: u64) -> Result<Sys, Mistake> {
    let (prot, flags) = (word(cursor, "permissions")?, word(cursor, "flags")?);
    let file = match cursor.find_in(&[("file", false), ("rofile", true)]) {
        None => None,
        Some(reader) => {
            let name = scope.file(cursor)?;
            Some((name, reader, number(cursor, "the offset in bytes")?))
        }
    };
    Ok(Sys::Mmap { at, bytes, prot, flags, file })
}

/// What `word`, which has been read, begins, if it is a driver or a call of userfaultfd.
pub(super) fn driver(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    process: &str,
    word: &str,
) -> Result<Option<Op>, Mistake> {
    let owner = process.to_owned();
    if let Some(driver) = Driver::from_name(word).filter(|driver| *driver != Driver::Mlock) {
        let span = scope.span(cursor, process)?;
        return Ok(Some(Op::Ask { process: owner, driver, span }));
    }
    Ok(Some(match word {
        "iou_unreg" => Op::Unregister { process: owner },
        "load" | "store" => {
            let touch = if word == "load" { Touch::Load } else { Touch::Store };
            Op::Touch { process: owner, span: scope.span(cursor, process)?, touch }
        }
        _ => match word.strip_prefix("uffd_") {
            Some(rest) => {
                let call = uffd(cursor, scope, process, rest)?;
                Op::Uffd { process: owner, call }
            }
            None => return Ok(None),
        },
    }))
}

fn uffd(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    process: &str,
    word: &str,
) -> Result<Uffd, Mistake> {
    if word == "open" {
        let sorts = [("sigbus", true), ("wp-async", false)];
        let sigbus = cursor.one_of("how nobody answers", &sorts)?;
        return Ok(if sigbus { Uffd::OpenSigbus } else { Uffd::OpenAsync });
    }
    let calls = [
        "register",
        "unregister",
        "zeropage",
        "copy",
        "protect",
        "unprotect",
        "move",
        "continue",
        "poison",
    ];
    if !calls.contains(&word) {
        return Err(cursor.mistake_before(format!("uffd_open, or uffd_ and {}", calls.join(", "))));
    }
    let span = scope.span(cursor, process)?;
    Ok(match word {
        "register" => {
            let bits = number(cursor, "modes (1 missing, 2 write-protect, 4 minor)")?;
            Uffd::Register { span, modes: Modes::from_bits_retain(bits) }
        }
        "unregister" => Uffd::Unregister { span },
        "zeropage" => Uffd::Zeropage { span },
        "copy" => Uffd::Copy { to: span, from: scope.at(cursor, process)? },
        "continue" => Uffd::Continue { span },
        "poison" => Uffd::Poison { span },
        "protect" => Uffd::Protect { span },
        "unprotect" => Uffd::Unprotect { span },
        _ => Uffd::Move { to: span, from: scope.at(cursor, process)? },
    })
}
