//! System calls with plain numbers, and userfaultfd's, in the engine.
//!
//! Linux: the entry points' own checks of their arguments; all else is the engine's.

use super::host::PlayHost;
use super::player::{Player, no_process};
use super::program::{Modes, Sys, Uffd};
use super::report::Value;
use gup::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::move_page;
use gup::fault::userfault::{self, Protection, UNDELIVERED};
use gup::flags::{MapFlags, Prot, VmFlags};
use gup::host::Ticket;
use gup::mapping::{
    self, Advice, GrowProt, MlockFlags, MmapRequest, MremapFlags, MremapRequest, OpenMode, Source,
    sys,
};
use gup::mm::Mm;
use gup::vma::{UserFault, UserFaultMessage};
use std::sync::Arc;

/// Plays a system call of `process`; an address that it gives gets the name.
pub(super) fn call(
    player: &mut Player,
    process: &str,
    name: Option<&str>,
    call: &Sys,
) -> Result<Value, Value> {
    let addr = player.addr(process, call.name().1)?;
    let (mm, owner) = player.mmu(process)?;
    let (mm, task) = (Arc::clone(mm), Arc::clone(&owner.task));
    let done = |result| Ok(Value::of_result(result));
    match call {
        Sys::Mmap { bytes, .. } => {
            let mapped = mmap(player, process, addr, call);
            Ok(named(player, process, name, *bytes, mapped))
        }
        Sys::Munmap { bytes, .. } => done(sys::munmap(&mm, addr, *bytes)),
        Sys::Mprotect { bytes, prot, .. } => {
            const GROWSDOWN: u32 = 0x100_0000;
            const GROWSUP: u32 = 0x200_0000;
            let grow = match prot & (GROWSDOWN | GROWSUP) {
                0 => GrowProt::Exact,
                GROWSDOWN => GrowProt::Down,
                _ => return Ok(Value::Failed(Errno::EINVAL)),
            };
            let prot = Prot::from_bits_retain(prot & !GROWSDOWN);
            done(sys::mprotect(&mm, &task, addr, *bytes, prot, grow))
        }
        Sys::Mremap { old, new, flags, to, .. } => {
            let new_addr = player.addr(process, to)?;
            let flags = MremapFlags::from_bits_retain(*flags);
            let request = MremapRequest { addr, old_bytes: *old, new_bytes: *new, flags, new_addr };
            let moved = sys::mremap(&mm, &task, &request);
            Ok(named(player, process, name, *new, moved))
        }
        Sys::Madvise { bytes, advice, .. } => match Advice::from_raw(*advice) {
            Some(advice) => done(mapping::madvise(&mm, &task, addr, *bytes, advice)),
            None => Ok(Value::Failed(Errno::EINVAL)),
        },
        Sys::Mlock { bytes, flags, .. } => {
            let flags = MlockFlags::from_bits_retain(*flags);
            done(mapping::mlock2(&mm, &task, addr, *bytes, flags))
        }
        Sys::Munlock { bytes, .. } => done(mapping::munlock(&mm, addr, *bytes)),
        Sys::Mseal { flags, .. } if *flags != 0 => Ok(Value::Failed(Errno::EINVAL)),
        Sys::Mseal { bytes, .. } => done(mapping::mseal(&mut mm.write(), addr, *bytes)),
        Sys::Brk { .. } => Ok(Value::At(sys::brk(&mm, &task, addr))),
    }
}

fn named(
    player: &mut Player,
    process: &str,
    name: Option<&str>,
    bytes: u64,
    mapped: Result<VirtAddr, Errno>,
) -> Value {
    if let Ok(at) = mapped {
        player.name(process, name, at, bytes);
    }
    mapped.map_or_else(Value::Failed, Value::At)
}

fn mmap(player: &Player, process: &str, addr: VirtAddr, call: &Sys) -> Result<VirtAddr, Errno> {
    let Sys::Mmap { bytes, prot, flags, file, .. } = call else { return Err(Errno::ENOSYS) };
    let flags = MapFlags::from_bits_retain(*flags);
    let offset = file.as_ref().map_or(0, |(.., offset)| *offset);
    if offset % PAGE_SIZE != 0 {
        return Err(Errno::EINVAL);
    }
    let source = match file {
        _ if flags.contains(MapFlags::ANONYMOUS) => Source::Anonymous,
        None => return Err(Errno::EBADF),
        Some((name, reader, offset)) => {
            let document = player.files.get(name).ok_or(Errno::EBADF)?;
            let mode = document.mode(*reader);
            Source::File { file: Arc::clone(&document.file), mode, offset: *offset }
        }
    };
    let prot = Prot::from_bits_retain(*prot);
    let (mm, owner) = player.mmu(process).map_err(|_| Errno::EINVAL)?;
    let request = MmapRequest { addr, bytes: *bytes, prot, flags, source };
    sys::mmap(mm, &owner.task, &request)
}

impl super::player::Document {
    /// What a descriptor of the file allows.
    pub(super) fn mode(&self, reader: bool) -> OpenMode {
        let sealed = if self.sealed { OpenMode::SEALED } else { OpenMode::empty() };
        let write = if reader { OpenMode::empty() } else { OpenMode::WRITE };
        OpenMode::READ | write | sealed
    }
}

/// A userfaultfd to which nobody listens.
pub(super) struct Deaf {
    sigbus: bool,
}

impl UserFault for Deaf {
    fn sigbus(&self) -> bool {
        self.sigbus
    }
    fn wp_async(&self) -> bool {
        !self.sigbus
    }
    fn deliver(&self, _: UserFaultMessage) -> Ticket {
        UNDELIVERED
    }
}

/// Plays a call of the process's userfaultfd.
pub(super) fn uffd(player: &mut Player, process: &str, call: &Uffd) -> Result<Value, Value> {
    let span = match call {
        Uffd::OpenSigbus | Uffd::OpenAsync => {
            let sigbus = *call == Uffd::OpenSigbus;
            let owner = player.processes.get_mut(process).ok_or_else(|| no_process(process))?;
            owner.uffd = Some(Arc::new(Deaf { sigbus }));
            return Ok(Value::Done);
        }
        Uffd::Register { span, .. }
        | Uffd::Unregister { span }
        | Uffd::Zeropage { span }
        | Uffd::Continue { span }
        | Uffd::Poison { span }
        | Uffd::Protect { span }
        | Uffd::Unprotect { span } => span,
        Uffd::Copy { to, .. } | Uffd::Move { to, .. } => to,
    };
    let (start, bytes) = player.span(process, span)?;
    let from = match call {
        Uffd::Copy { from, .. } | Uffd::Move { from, .. } => player.addr(process, from)?,
        _ => start,
    };
    uffd_at(player, process, call, (start, bytes), from)
}

/// The same, once its addresses are known: where it goes, how long it is, and where it comes from.
fn uffd_at(
    player: &mut Player,
    process: &str,
    call: &Uffd,
    (start, bytes): (VirtAddr, u64),
    from: VirtAddr,
) -> Result<Value, Value> {
    let (mm, owner) = player.mmu(process)?;
    let Some(context) = owner.uffd.clone() else { return Ok(Value::Failed(Errno::EBADF)) };
    let Some(range) = valid(start, bytes) else { return Ok(Value::Failed(Errno::EINVAL)) };
    Ok(match call {
        Uffd::OpenSigbus | Uffd::OpenAsync => Value::Done,
        Uffd::Register { modes, .. } => {
            let context: Arc<dyn UserFault> = context;
            let registered = match flags_of(*modes) {
                Some(modes) => mapping::userfault_register(&mut mm.write(), range, modes, &context),
                None => Err(Errno::EINVAL),
            };
            Value::of_result(registered)
        }
        Uffd::Unregister { .. } => {
            let context: Arc<dyn UserFault> = context;
            Value::of_result(mapping::userfault_unregister(&mut mm.write(), range, &context))
        }
        Uffd::Zeropage { .. } | Uffd::Continue { .. } | Uffd::Poison { .. }
            if !lies_in_one(mm, range) =>
        {
            Value::Failed(Errno::ENOENT)
        }
        Uffd::Continue { .. } => {
            page_by_page(range, |at| userfault::map_cached(&mm.read(), at), start)
        }
        Uffd::Poison { .. } => page_by_page(range, |at| userfault::poison(&mm.read(), at), start),
        Uffd::Zeropage { .. } => {
            page_by_page(range, |at| userfault::zeropage(&mm.read(), at), start)
        }
        Uffd::Copy { .. } => {
            let mut bytes = vec![0; PAGE_SIZE as usize];
            let copy = |at: VirtAddr| {
                // Where it goes is looked at first.
                userfault::fillable(&mm.read(), at)?;
                let source = from.wrapping_add(at.get().wrapping_sub(start.get()));
                super::access::load(mm, &owner.task, source, &mut bytes)
                    .map_err(|_| Errno::EFAULT)?;
                userfault::copy(&mm.read(), at, &bytes)
            };
            page_by_page(range, copy, start)
        }
        Uffd::Protect { .. } => {
            Value::of_result(userfault::write_protect(&mm.read(), range, Protection::On))
        }
        Uffd::Unprotect { .. } => {
            Value::of_result(userfault::write_protect(&mm.read(), range, Protection::Off))
        }
        Uffd::Move { .. } => {
            let one = |at: VirtAddr| {
                let source = from.wrapping_add(at.get().wrapping_sub(start.get()));
                move_page(&mm.read(), at, source)
            };
            page_by_page(range, one, start)
        }
    })
}

/// The checks that every call of a userfaultfd about a range begins with (`validate_range`).
fn valid(start: VirtAddr, bytes: u64) -> Option<VirtRange> {
    VirtRange::from_len(start, bytes).filter(|range| {
        !range.is_empty()
            && start.page_offset() == 0
            && bytes.is_multiple_of(PAGE_SIZE)
            && range.end.get() <= gup::addr::TASK_SIZE
    })
}

/// Whether `range` lies in one registered area.
fn lies_in_one(mm: &Mm<PlayHost>, range: VirtRange) -> bool {
    userfault::registered(&mm.read(), range.start).is_ok_and(|vma| range.end <= vma.end())
}

/// One page after the other: the first one's errno, or EAGAIN if there is something to go on from.
fn page_by_page(
    range: VirtRange,
    mut act: impl FnMut(VirtAddr) -> Result<(), Errno>,
    start: VirtAddr,
) -> Value {
    for n in 0..(range.end.get() - range.start.get()) >> PAGE_SHIFT {
        if let Err(errno) = act(start.wrapping_add(n << PAGE_SHIFT)) {
            return Value::Failed(if n == 0 { errno } else { Errno::EAGAIN });
        }
    }
    Value::Done
}

/// The engine's flags for these modes; `None` for modes that nobody knows.
fn flags_of(modes: Modes) -> Option<VmFlags> {
    let flags = [
        (Modes::MISSING, VmFlags::UFFD_MISSING),
        (Modes::WP, VmFlags::UFFD_WP),
        (Modes::MINOR, VmFlags::UFFD_MINOR),
    ];
    let wanted = flags.iter().filter(|(mode, _)| modes.contains(*mode));
    let wanted = wanted.fold(VmFlags::empty(), |set, (_, flag)| set | *flag);
    Modes::all().contains(modes).then_some(wanted)
}
