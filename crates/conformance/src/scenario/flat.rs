//! What a process does on a machine without an MMU, and the twin's calls.
//!
//! Absent: fork, mprotect, faults; such a machine has none. Every address of the memory can be
//! loaded and stored, whoever mapped it.

use super::calls::{Call, absent, int};
use super::host::PlayHost;
use super::player::{Player, Process, Space, no_process};
use super::program::{Function, Map, Op, Signal, Source};
use super::report::{Outcome, Value};
use gup::abi::{nommu, nommu_v6_18};
use gup::addr::{PAGE_SIZE, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::flags::{Foll, VmFlags};
use gup::linux::Linux;
use gup::nommu::{Lock, MapError, MapRequest, NommuMm, Source as FlatSource};
use std::sync::Arc;

/// Plays `op`, which some process does.
pub(super) fn act(player: &mut Player, op: &Op) -> Value {
    try_act(player, op).unwrap_or_else(|value| value)
}

fn space<'p>(
    player: &'p Player,
    name: &str,
) -> Result<(&'p Arc<NommuMm<PlayHost>>, &'p Process), Value> {
    let process = player.processes.get(name).ok_or_else(|| no_process(name))?;
    match &process.space {
        Space::Flat(mm) => Ok((mm, process)),
        Space::Mmu(_) => Err(Value::CannotPlay("this machine has an MMU".into())),
    }
}

fn try_act(player: &mut Player, op: &Op) -> Result<Value, Value> {
    match op {
        Op::Map(map) => mmap(player, map),
        Op::Munmap { process, span } => {
            let (start, bytes) = player.span(process, span)?;
            let done = space(player, process)?.0.write().munmap(start, bytes);
            Ok(Value::of_result(done.map_err(MapError::errno)))
        }
        Op::Kill { process } => {
            space(player, process)?.1.task.kill();
            Ok(Value::Done)
        }
        Op::Interrupt { process } => {
            space(player, process)?.1.task.interrupt();
            Ok(Value::Done)
        }
        Op::Store { process, at, bytes } => {
            let addr = player.addr(process, at)?;
            let done = space(player, process)?.0.flat().write(addr, bytes);
            let whole = done == bytes.len();
            Ok(if whole { Value::Done } else { Value::Signal(Signal::Sigbus) })
        }
        Op::Load { process, at, count } => {
            let addr = player.addr(process, at)?;
            let mut bytes = vec![0; *count as usize];
            let done = space(player, process)?.0.flat().read(addr, &mut bytes);
            let whole = done == bytes.len();
            Ok(if whole { Value::Bytes(bytes) } else { Value::Signal(Signal::Sigbus) })
        }
        Op::RemoteLoad { process, at, count, .. } => {
            let addr = player.addr(process, at)?;
            let mut bytes = vec![0; *count as usize];
            let (mm, _) = space(player, process)?;
            let done = nommu::access_remote_vm(mm, addr.get(), &mut bytes, 0);
            bytes.truncate(usize::try_from(done).unwrap_or(0));
            Ok(Value::Bytes(bytes))
        }
        Op::RemoteStore { process, at, bytes, .. } => {
            let addr = player.addr(process, at)?;
            let (mm, _) = space(player, process)?;
            let code = nommu::access_remote_vm(mm, addr.get(), &mut bytes.clone(), 1);
            Ok(Value::of_code(code))
        }
        _ => Err(Value::CannotPlay("a machine without an MMU cannot do that".into())),
    }
}

fn mmap(player: &mut Player, map: &Map) -> Result<Value, Value> {
    let bytes = map.len.bytes();
    let at = map.at.as_ref().map(|at| player.addr(&map.process, at)).transpose()?;
    let (mm, _) = space(player, &map.process)?;
    let mapped = match (&map.source, at) {
        (Source::Device, Some(at)) => {
            let whole = bytes.checked_next_multiple_of(PAGE_SIZE);
            let range = whole.and_then(|bytes| VirtRange::from_len(at, bytes));
            let Some(range) = range else { return Ok(Value::Failed(Errno::EINVAL)) };
            let access = VmFlags::from_bits_truncate(u64::from(map.prot.bits()));
            let flags = access | VmFlags::IO | VmFlags::PFNMAP;
            mm.write().map_driver(range, flags).map(|()| at)
        }
        (Source::Device | Source::Hugetlb, _) | (_, Some(_)) => {
            return Ok(Value::Failed(Errno::EINVAL));
        }
        (Source::Anon, None) => {
            let source = FlatSource::Anonymous;
            let (len, prot, flags) = (bytes, map.prot, map.flags);
            mm.write().mmap(&MapRequest { len, prot, flags, source })
        }
        (Source::File(name, from) | Source::ReadOnlyFile(name, from), None) => {
            let none = || Value::CannotPlay(format!("there is no file {name}"));
            let file = &*player.files.get(name).ok_or_else(none)?.file;
            let source = FlatSource::File { file, pgoff: *from };
            let (len, prot, flags) = (bytes, map.prot, map.flags);
            mm.write().mmap(&MapRequest { len, prot, flags, source })
        }
    };
    match mapped {
        Ok(at) => {
            player.name(&map.process, map.name.as_deref(), at, bytes);
            Ok(Value::At(at))
        }
        Err(error) => Ok(Value::Failed(error.errno())),
    }
}

/// States of pages: `.` no area, `F` memory; there is nothing else to tell.
pub(super) fn tokens(mm: &NommuMm<PlayHost>, start: VirtAddr, pages: u64) -> Vec<String> {
    let map = mm.read();
    let token = |n: u64| {
        let addr = start.wrapping_add(n.wrapping_mul(PAGE_SIZE));
        if map.find(addr).is_some() { "F".to_owned() } else { ".".to_owned() }
    };
    (0..pages).map(token).collect()
}

/// Plays a call of the twin.
pub(super) fn gup(mm: &NommuMm<PlayHost>, call: Call<'_>) -> Outcome {
    match call.linux {
        Linux::V4_4 => v4_4(mm, call),
        Linux::V6_18 => v6_18(mm, call),
    }
}

fn v4_4(mm: &NommuMm<PlayHost>, call: Call<'_>) -> Outcome {
    let (write, force) = (int(&call, Foll::WRITE), int(&call, Foll::FORCE));
    let Call { gup, current, target, start, pages, .. } = call;
    let (start, nr_pages, flags) = (start.get(), gup.nr_pages, gup.foll.to_v4_4());
    let mut nonblocking = 1;
    let target = Some(target);
    let unlocked = matches!(
        gup.function,
        Function::GetUserPagesUnlocked | Function::UnderGetUserPagesUnlocked
    );
    let mut lock = if unlocked { Lock::Dropped(mm) } else { Lock::Read(mm.read()) };
    let code = match gup.function {
        Function::UnderGetUserPages => {
            let flag = gup.may_drop.then_some(&mut nonblocking);
            nommu::__get_user_pages(
                current, target, &mut lock, start, nr_pages, flags, pages, None, flag,
            )
        }
        Function::GetUserPages => nommu::get_user_pages(
            current, target, &mut lock, start, nr_pages, write, force, pages, None,
        ),
        Function::GetUserPagesLocked => nommu::get_user_pages_locked(
            current, target, &mut lock, start, nr_pages, write, force, pages, None,
        ),
        Function::GetUserPagesUnlocked => nommu::get_user_pages_unlocked(
            current, target, mm, start, nr_pages, write, force, pages,
        ),
        Function::UnderGetUserPagesUnlocked => nommu::__get_user_pages_unlocked(
            current, target, mm, start, nr_pages, write, force, pages, flags,
        ),
        other => return absent(other),
    };
    let lock_kept = (!unlocked).then(|| lock.is_held());
    let nonblocking = gup.may_drop.then(|| i64::from(nonblocking));
    Outcome { value: Value::of_code(code), lock_kept, nonblocking }
}

fn v6_18(mm: &NommuMm<PlayHost>, call: Call<'_>) -> Outcome {
    let Call { gup, current, start, pages, .. } = call;
    let (start, nr_pages) = (start.get(), gup.nr_pages);
    let flags = gup.foll.bits() as u32;
    let unlocked =
        matches!(gup.function, Function::GetUserPagesUnlocked | Function::PinUserPagesUnlocked);
    let mut lock = if unlocked { Lock::Dropped(mm) } else { Lock::Read(mm.read()) };
    let lock = &mut lock;
    let code = match gup.function {
        Function::GetUserPages => {
            nommu_v6_18::get_user_pages(current, lock, start, nr_pages, flags, pages)
        }
        Function::GetUserPagesRemote => {
            nommu_v6_18::get_user_pages_remote(lock, start, nr_pages, flags, pages, None)
        }
        Function::GetUserPagesUnlocked => {
            let pages = pages.unwrap_or_default();
            nommu_v6_18::get_user_pages_unlocked(current, mm, start, nr_pages, pages, flags)
        }
        Function::PinUserPages => {
            let pages = pages.unwrap_or_default();
            nommu_v6_18::pin_user_pages(current, lock, start, nr_pages, flags, pages)
        }
        Function::PinUserPagesRemote => {
            let pages = pages.unwrap_or_default();
            nommu_v6_18::pin_user_pages_remote(current, lock, start, nr_pages, flags, pages)
        }
        Function::PinUserPagesUnlocked => {
            let pages = pages.unwrap_or_default();
            nommu_v6_18::pin_user_pages_unlocked(current, mm, start, nr_pages, pages, flags)
        }
        other => return absent(other),
    };
    let lock_kept = (!unlocked).then(|| lock.is_held());
    Outcome { value: Value::of_code(code), lock_kept, nonblocking: None }
}
