//! What a process does, as orders to a subject or calls of the controller.
//!
//! Absent: system calls that get or pin pages ([`super::asks`]).

use super::asks::{ask, remote};
use super::kernel::{BYTES_MAX, Kernel, Reply, address, cannot, count, done, pages};
use super::subject as orders;
use crate::scenario::{At, Map, Op, Signal, Source, Span, Sys, Touch, Uffd, Value};
use crate::sys::PAGE;
use gup::errno::Errno;
use gup::flags::MapFlags;
use std::sync::atomic::Ordering::Relaxed;

/// Plays `op`, which some process does.
pub(crate) fn act(kernel: &mut Kernel<'_>, op: &Op) -> Result<Value, Value> {
    match op {
        Op::Map(_)
        | Op::Munmap { .. }
        | Op::Mprotect { .. }
        | Op::Madvise { .. }
        | Op::Mlock { .. }
        | Op::Munlock { .. }
        | Op::Mremap { .. } => edits(kernel, op),
        Op::Sys { process, name, call } => system(kernel, process, name.as_deref(), call),
        Op::Uffd { process, call } => uffd(kernel, process, call),
        Op::Ask { process, driver, span } => ask(kernel, process, *driver, span),
        Op::Unregister { process } => {
            Ok(done(kernel.order(process, orders::RING_UNREGISTER, &[])?.result()))
        }
        Op::Touch { process, span, touch } => {
            let (start, bytes) = kernel.span(process, span)?;
            let order = match touch {
                Touch::Load => orders::LOAD_PAGES,
                Touch::Store => orders::STORE_PAGES,
            };
            let reply = kernel.order(process, order, &[start, pages(bytes)])?;
            Ok(signal_of(reply).map_or(Value::Done, Value::Signal))
        }
        Op::Store { process, at, bytes } => store(kernel, process, at, bytes),
        Op::Load { process, at, count } => load(kernel, process, at, *count),
        Op::RemoteLoad { process, reach, at, count } => {
            let start = kernel.addr(process, at)?;
            let moved = remote(kernel, process, *reach, (start, *count), None)?;
            Ok(match moved {
                Ok(moved) => {
                    Value::Bytes(kernel.lab.desk.taken(usize::try_from(moved).unwrap_or(0)))
                }
                Err(errno) => Value::Failed(errno),
            })
        }
        Op::RemoteStore { process, reach, at, bytes } => {
            let start = kernel.addr(process, at)?;
            let buffer = Some(kernel.lab.desk.put(bytes));
            remote(kernel, process, *reach, (start, bytes.len() as u64), buffer).map(count)
        }
        Op::Kill { .. } | Op::Interrupt { .. } => {
            Err(cannot("a signal ends or disturbs a subject"))
        }
        Op::Gup(_) | Op::PinRead { .. } | Op::PinWrite { .. } | Op::PinDirty { .. } => {
            Err(cannot("no system call makes just this call of the kernel's own"))
        }
        Op::PinRelease { .. } => Err(cannot("no system call gives just these pages back")),
        Op::Complete { .. } | Op::Meanwhile { .. } => {
            Err(cannot("nothing can be timed so finely here"))
        }
        other => Err(cannot(format!("{other} is no act of a process"))),
    }
}

/// Edits of a map.
fn edits(kernel: &mut Kernel<'_>, op: &Op) -> Result<Value, Value> {
    match op {
        Op::Map(map) => mmap(kernel, map),
        Op::Munmap { process, span } => edit(kernel, process, libc::SYS_munmap, span, 0),
        Op::Mprotect { process, span, prot } => {
            edit(kernel, process, libc::SYS_mprotect, span, prot.bits().into())
        }
        Op::Madvise { process, span, advice } => {
            edit(kernel, process, libc::SYS_madvise, span, (*advice as i32).unsigned_abs().into())
        }
        Op::Mlock { process, span } => edit(kernel, process, libc::SYS_mlock, span, 0),
        Op::Munlock { process, span } => edit(kernel, process, libc::SYS_munlock, span, 0),
        Op::Mremap { process, name, span, to, at } => {
            let (start, bytes) = kernel.span(process, span)?;
            let to = to.bytes();
            let place = at.as_ref().map(|at| kernel.addr(process, at)).transpose()?;
            let flags = if place.is_some() { 3 } else { 1 };
            let args = [start, bytes, to, flags, place.unwrap_or(0), 0];
            let moved = kernel.call(process, libc::SYS_mremap, args)?;
            Ok(named(kernel, process, name.as_deref(), to, moved))
        }
        other => Err(cannot(format!("{other} is no edit"))),
    }
}

/// A call with a range and one number.
pub(super) fn edit(
    kernel: &mut Kernel<'_>,
    process: &str,
    number: i64,
    span: &Span,
    last: u64,
) -> Result<Value, Value> {
    let (start, bytes) = kernel.span(process, span)?;
    Ok(done(kernel.call(process, number, [start, bytes, last, 0, 0, 0])?))
}

fn named(
    kernel: &mut Kernel<'_>,
    process: &str,
    name: Option<&str>,
    bytes: u64,
    result: Result<i64, Errno>,
) -> Value {
    if let (Ok(at), Some(name), Some(subject)) = (result, name, kernel.processes.get_mut(process)) {
        subject.names.insert(name.to_owned(), (at.cast_unsigned(), pages(bytes)));
    }
    address(result)
}

/// The subject's descriptor of a file.
fn descriptor(kernel: &Kernel<'_>, file: &str, reader: bool) -> Result<u64, Value> {
    let first = if reader { orders::READERS } else { orders::FILES };
    Ok(first + kernel.file(file)?.index)
}

/// No descriptor.
const NO_FILE: u64 = u64::MAX;

fn mmap(kernel: &mut Kernel<'_>, map: &Map) -> Result<Value, Value> {
    let Map { process, name, len, prot, flags, source, at } = map;
    let at = at.as_ref().map(|at| kernel.addr(process, at)).transpose()?;
    let placed = match at {
        Some(_) if !flags.contains(MapFlags::FIXED_NOREPLACE) => MapFlags::FIXED,
        _ => MapFlags::empty(),
    };
    let (more, fd, offset) = match source {
        Source::Anon => (MapFlags::ANONYMOUS, NO_FILE, 0),
        Source::Hugetlb => (MapFlags::ANONYMOUS | MapFlags::HUGETLB, NO_FILE, 0),
        Source::File(file, from) => {
            (MapFlags::empty(), descriptor(kernel, file, false)?, from.wrapping_mul(PAGE))
        }
        Source::ReadOnlyFile(file, from) => {
            (MapFlags::empty(), descriptor(kernel, file, true)?, from.wrapping_mul(PAGE))
        }
        Source::Device => return Err(cannot("there is no device here to map")),
    };
    let flags = u64::from((*flags | placed | more).bits());
    let args = [at.unwrap_or(0), len.bytes(), prot.bits().into(), flags, fd, offset];
    let mapped = kernel.call(process, libc::SYS_mmap, args)?;
    Ok(named(kernel, process, name.as_deref(), len.bytes(), mapped))
}

fn system(
    kernel: &mut Kernel<'_>,
    process: &str,
    name: Option<&str>,
    call: &Sys,
) -> Result<Value, Value> {
    const SYS_MSEAL: i64 = 462;
    let addr = kernel.addr(process, call.name().1)?;
    let (number, args, bytes) = match call {
        Sys::Mmap { bytes, prot, flags, file, .. } => {
            let (fd, offset) = match file {
                None => (NO_FILE, 0),
                Some((file, reader, offset)) => (descriptor(kernel, file, *reader)?, *offset),
            };
            let args = [addr, *bytes, (*prot).into(), (*flags).into(), fd, offset];
            (libc::SYS_mmap, args, Some(*bytes))
        }
        Sys::Mremap { old, new, flags, to, .. } => {
            let to = kernel.addr(process, to)?;
            (libc::SYS_mremap, [addr, *old, *new, (*flags).into(), to, 0], Some(*new))
        }
        Sys::Munmap { bytes, .. } => (libc::SYS_munmap, [addr, *bytes, 0, 0, 0, 0], None),
        Sys::Mprotect { bytes, prot, .. } => {
            (libc::SYS_mprotect, [addr, *bytes, (*prot).into(), 0, 0, 0], None)
        }
        Sys::Madvise { bytes, advice, .. } => {
            let advice = i64::from(*advice).cast_unsigned();
            (libc::SYS_madvise, [addr, *bytes, advice, 0, 0, 0], None)
        }
        Sys::Mlock { bytes, flags, .. } => {
            (libc::SYS_mlock2, [addr, *bytes, (*flags).into(), 0, 0, 0], None)
        }
        Sys::Munlock { bytes, .. } => (libc::SYS_munlock, [addr, *bytes, 0, 0, 0, 0], None),
        Sys::Mseal { bytes, flags, .. } => (SYS_MSEAL, [addr, *bytes, *flags, 0, 0, 0], None),
        Sys::Brk { .. } => {
            return Err(cannot("a subject's heap is where its program put it"));
        }
    };
    let result = kernel.call(process, number, args)?;
    Ok(match bytes {
        Some(bytes) => named(kernel, process, name, bytes, result),
        None => done(result),
    })
}

fn uffd(kernel: &mut Kernel<'_>, process: &str, call: &Uffd) -> Result<Value, Value> {
    const USER_MODE_ONLY: u64 = 1;
    const SIGBUS: u64 = 1 << 7;
    const WP_UNPOPULATED: u64 = 1 << 13;
    const WP_ASYNC: u64 = 1 << 15;
    const MOVE: u64 = 1 << 16;
    let features = match call {
        Uffd::OpenSigbus => Some(SIGBUS | MOVE),
        Uffd::OpenAsync => Some(WP_ASYNC | WP_UNPOPULATED),
        _ => None,
    };
    if let Some(features) = features {
        let reply = kernel.order(process, orders::UFFD_OPEN, &[USER_MODE_ONLY, features])?;
        return reply
            .result()
            .map(|_| Value::Done)
            .map_err(|errno| cannot(format!("userfaultfd with these features: {errno:?}")));
    }
    let range = |span: &Span| kernel.span(process, span);
    let (request, words): (u64, Vec<u64>) = match call {
        Uffd::OpenSigbus | Uffd::OpenAsync => return Ok(Value::Done),
        Uffd::Register { span, modes } => {
            let (start, len) = range(span)?;
            (0xc020_aa00, vec![start, len, modes.bits(), 0])
        }
        Uffd::Unregister { span } => {
            let (start, len) = range(span)?;
            (0x8010_aa01, vec![start, len])
        }
        Uffd::Zeropage { span } => {
            let (start, len) = range(span)?;
            (0xc020_aa04, vec![start, len, 0, 0])
        }
        Uffd::Continue { span } => {
            let (start, len) = range(span)?;
            (0xc020_aa07, vec![start, len, 0, 0])
        }
        Uffd::Poison { span } => {
            let (start, len) = range(span)?;
            (0xc020_aa08, vec![start, len, 0, 0])
        }
        Uffd::Protect { span } => {
            let (start, len) = range(span)?;
            (0xc018_aa06, vec![start, len, 1])
        }
        Uffd::Unprotect { span } => {
            let (start, len) = range(span)?;
            (0xc018_aa06, vec![start, len, 0])
        }
        Uffd::Copy { to, from } => {
            let (start, len) = range(to)?;
            (0xc028_aa03, vec![start, kernel.addr(process, from)?, len, 0, 0])
        }
        Uffd::Move { to, from } => {
            let (start, len) = range(to)?;
            (0xc028_aa05, vec![start, kernel.addr(process, from)?, len, 0, 0])
        }
    };
    let slot = kernel.subject(process)?.slot;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    put(kernel, slot, &bytes);
    let args = [orders::UFFD, request, orders::buffer_of(slot), 0, 0, 0];
    let result = kernel.call(process, libc::SYS_ioctl, args)?;
    kernel.faults = None;
    Ok(done(result))
}

/// Puts bytes into a slot's buffer.
pub(super) fn put(kernel: &Kernel<'_>, slot: usize, bytes: &[u8]) {
    let into = &kernel.lab.mailbox.slot(slot).data.0;
    into.iter().zip(bytes).for_each(|(to, from)| to.store(*from, Relaxed));
}

fn load(kernel: &mut Kernel<'_>, process: &str, at: &At, count: u64) -> Result<Value, Value> {
    let start = kernel.addr(process, at)?;
    if count > BYTES_MAX {
        return Err(cannot("at most 2M are read at once here"));
    }
    let reply = kernel.order(process, orders::LOAD, &[start, count])?;
    if let Some(signal) = signal_of(reply) {
        return Ok(Value::Signal(signal));
    }
    let slot = kernel.lab.mailbox.slot(kernel.subject(process)?.slot);
    let bytes = slot.data.0.iter().take(usize::try_from(count).unwrap_or(0));
    Ok(Value::Bytes(bytes.map(|byte| byte.load(Relaxed)).collect()))
}

fn store(kernel: &mut Kernel<'_>, process: &str, at: &At, bytes: &[u8]) -> Result<Value, Value> {
    let start = kernel.addr(process, at)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(cannot("at most 2M are written at once here"));
    }
    let slot = kernel.subject(process)?.slot;
    put(kernel, slot, bytes);
    let reply = kernel.order(process, orders::STORE, &[start, bytes.len() as u64])?;
    Ok(signal_of(reply).map_or(Value::Done, Value::Signal))
}

fn signal_of(reply: Reply) -> Option<Signal> {
    match reply.signal {
        libc::SIGSEGV => Some(Signal::Sigsegv),
        libc::SIGBUS => Some(Signal::Sigbus),
        _ => None,
    }
}
