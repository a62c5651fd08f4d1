//! Calls that get or pin pages, on a machine with an MMU, and what is done with the pages.
//!
//! A call without a name gives its pages back at once. Absent: the twin's calls ([`super::flat`]).

use super::flat;
use super::host::PlayHost;
use super::player::{Held, Hold, Player, no_process};
use super::program::{Function, Gup};
use super::report::{Outcome, Value};
use gup::abi;
use gup::addr::VirtAddr;
use gup::flags::Foll;
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page, gup as gup_6_18};
use gup::host::Memory;
use gup::linux::Linux;
use gup::mm::{Lock, Mm};
use gup::task::Task;

/// What a call is made with.
pub(super) struct Call<'a> {
    pub(super) gup: &'a Gup,
    pub(super) linux: Linux,
    /// Who acts.
    pub(super) current: &'a Task,
    /// Whose memory it is.
    pub(super) target: &'a Task,
    pub(super) start: VirtAddr,
    /// Slots for the pages; `None` is NULL.
    pub(super) pages: Option<&'a mut [Option<Page>]>,
}

/// Plays the call.
pub(super) fn gup(player: &mut Player, gup: &Gup) -> Outcome {
    match try_gup(player, gup) {
        Ok((outcome, held)) => {
            match (&gup.name, held) {
                (Some(name), held) => {
                    if let Some(old) = player.pins.insert(name.clone(), held) {
                        release(player, old);
                    }
                }
                (None, held) => release(player, held),
            }
            outcome
        }
        Err(value) => value.into(),
    }
}

fn try_gup(player: &Player, gup: &Gup) -> Result<(Outcome, Held), Value> {
    let start = player.addr(&gup.process, &gup.at)?;
    let target = player.processes.get(&gup.process).ok_or_else(|| no_process(&gup.process))?;
    let by = gup.by.as_ref().unwrap_or(&gup.process);
    let current = player.processes.get(by).ok_or_else(|| no_process(by))?;
    let mut pages: Vec<Option<Page>> = Vec::new();
    if !gup.no_pages {
        pages.resize_with(usize::try_from(gup.nr_pages).unwrap_or(0), || None);
    }
    let linux = player.machine.linux();
    let slots = (!gup.no_pages).then_some(&mut pages[..]);
    let (current, task) = (&current.task, &target.task);
    let call = Call { gup, linux, current, target: task, start, pages: slots };
    let outcome = match &target.space {
        super::player::Space::Flat(mm) => flat::gup(mm, call),
        super::player::Space::Mmu(mm) => match linux {
            Linux::V4_4 => v4_4(mm, call),
            Linux::V6_18 => v6_18(mm, call),
        },
    };
    let mmu = player.flat.is_none();
    let bare = gup.function == Function::UnderGetUserPages && !gup.foll.contains(Foll::GET);
    let hold = match (mmu, is_pin(gup.function)) {
        (true, true) => Hold::Pin,
        (true, false) if bare => Hold::Nothing,
        (true | false, _) => Hold::Reference,
    };
    Ok((outcome, Held { pages, hold, offset: start.page_offset() }))
}

/// Whether the function pins.
fn is_pin(function: Function) -> bool {
    match function {
        Function::PinUserPages
        | Function::PinUserPagesRemote
        | Function::PinUserPagesUnlocked
        | Function::PinUserPagesFast => true,
        Function::UnderGetUserPages
        | Function::GetUserPages
        | Function::GetUserPagesLocked
        | Function::GetUserPagesUnlocked
        | Function::UnderGetUserPagesUnlocked
        | Function::GetUserPagesRemote
        | Function::GetUserPagesFast
        | Function::UnderGetUserPagesFast
        | Function::GetUserPagesFastOnly => false,
    }
}

/// A flag as the `int` that old functions take.
pub(super) fn int(call: &Call<'_>, flag: Foll) -> i32 {
    i32::from(call.gup.foll.contains(flag))
}

fn v4_4(mm: &Mm<PlayHost>, call: Call<'_>) -> Outcome {
    let (write, force) = (int(&call, Foll::WRITE), int(&call, Foll::FORCE));
    let Call { gup, current, target, start, pages, .. } = call;
    let (start, nr_pages) = (start.get(), gup.nr_pages);
    let flags = gup.foll.to_v4_4();
    let narrow = i32::try_from(nr_pages).unwrap_or(i32::MAX);
    let target = Some(target);
    let mut lock = Lock::Dropped(mm);
    let mut nonblocking = 1;
    let mut passed = None;
    let code = match gup.function {
        Function::UnderGetUserPages => {
            lock.take();
            let flag = gup.may_drop.then_some(&mut nonblocking);
            let code = abi::__get_user_pages(
                current, target, &mut lock, start, nr_pages, flags, pages, None, flag,
            );
            passed = Some(lock.is_held());
            code
        }
        Function::GetUserPages => {
            lock.take();
            let code = abi::get_user_pages(
                current, target, &mut lock, start, nr_pages, write, force, pages, None,
            );
            passed = Some(lock.is_held());
            code
        }
        Function::GetUserPagesLocked => {
            lock.take();
            let code = abi::get_user_pages_locked(
                current, target, &mut lock, start, nr_pages, write, force, pages,
            );
            passed = Some(lock.is_held());
            code
        }
        Function::GetUserPagesUnlocked => {
            abi::get_user_pages_unlocked(current, target, mm, start, nr_pages, write, force, pages)
        }
        Function::UnderGetUserPagesUnlocked => abi::__get_user_pages_unlocked(
            current, target, mm, start, nr_pages, write, force, pages, flags,
        ),
        Function::GetUserPagesFast => {
            let pages = pages.unwrap_or_default();
            abi::get_user_pages_fast(current, mm, start, narrow, write, pages).into()
        }
        Function::UnderGetUserPagesFast => {
            let pages = pages.unwrap_or_default();
            abi::__get_user_pages_fast(mm, start, narrow, write, pages).into()
        }
        other => return absent(other),
    };
    let nonblocking = gup.may_drop.then(|| i64::from(nonblocking));
    Outcome { value: Value::of_code(code), lock_kept: passed, nonblocking }
}

pub(super) fn absent(function: Function) -> Outcome {
    Value::CannotPlay(format!("this kernel has no {}", function.name())).into()
}

fn v6_18(mm: &Mm<PlayHost>, call: Call<'_>) -> Outcome {
    let Call { gup, current, start, pages, .. } = call;
    let quick = |entry, pages: Option<&mut [Option<Page>]>| {
        let pages = pages.unwrap_or_default();
        let outcome = fast(entry, current, mm, start, pages.len() as u64, gup.foll, pages);
        Outcome::from(Value::of_code(outcome.code()))
    };
    let (entry, held) = match gup.function {
        Function::GetUserPages => (Entry::Get, true),
        Function::GetUserPagesRemote => (Entry::GetRemote, true),
        Function::GetUserPagesUnlocked => (Entry::GetUnlocked, false),
        Function::PinUserPages => (Entry::Pin, true),
        Function::PinUserPagesRemote => (Entry::PinRemote, true),
        Function::PinUserPagesUnlocked => (Entry::PinUnlocked, false),
        Function::GetUserPagesFast => return quick(FastEntry::Get, pages),
        Function::GetUserPagesFastOnly => return quick(FastEntry::GetOnly, pages),
        Function::PinUserPagesFast => return quick(FastEntry::Pin, pages),
        other => return absent(other),
    };
    let mut lock = Lock::Dropped(mm);
    if held {
        lock.take();
    }
    let locked = if gup.may_drop { Locked::Given } else { Locked::Null };
    let outcome = gup_6_18(entry, current, &mut lock, start, gup.nr_pages, gup.foll, pages, locked);
    let lock_kept = held.then(|| lock.is_held());
    Outcome { value: Value::of_code(entry.code(outcome)), lock_kept, nonblocking: None }
}

fn release(player: &Player, held: Held) {
    for page in held.pages.into_iter().flatten() {
        player.release(page, held.hold);
    }
}

/// Gives the pages of pin `name` back.
pub(super) fn release_named(player: &mut Player, name: &str) -> Value {
    match player.pins.remove(name) {
        Some(held) => {
            release(player, held);
            Value::Done
        }
        None => Value::CannotPlay(format!("there is no pin {name}")),
    }
}

/// Reads through a pin.
pub(super) fn read(player: &Player, pin: &str, offset: u64, count: u64) -> Value {
    let mut bytes = vec![0; count as usize];
    let copied = player.through(pin, offset, bytes.len(), |memory, pfn, within, from, len| {
        memory.read(pfn, within, &mut bytes[from..from + len]);
    });
    match copied {
        Ok(done) => {
            bytes.truncate(done);
            Value::Bytes(bytes)
        }
        Err(value) => value,
    }
}

/// Writes through a pin, as a device does: no entry and no flag hears of it.
pub(super) fn write(player: &Player, pin: &str, offset: u64, bytes: &[u8]) -> Value {
    let copied = player.through(pin, offset, bytes.len(), |memory, pfn, within, from, len| {
        memory.write(pfn, within, &bytes[from..from + len]);
    });
    match copied {
        Ok(done) if done == bytes.len() => Value::Done,
        Ok(done) => Value::Count(i64::try_from(done).unwrap_or(i64::MAX)),
        Err(value) => value,
    }
}

/// Marks the pages of a pin dirty.
pub(super) fn dirty(player: &Player, pin: &str) -> Value {
    let Some(held) = player.pins.get(pin) else {
        return Value::CannotPlay(format!("there is no pin {pin}"));
    };
    held.pages.iter().flatten().for_each(|page| player.mark_dirty(page.pfn()));
    Value::Done
}
