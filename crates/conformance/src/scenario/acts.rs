//! What a process does on a machine with an MMU: edits of its map, loads and stores, fork.
//!
//! Absent: calls that pin by name ([`super::calls`]).

use super::host::{Meanwhile, PlayHost};
use super::player::{Player, Process, Space, no_process};
use super::program::{Map, Op, Reach, Source, Span, Touch};
use super::report::Value;
use super::{access, drivers, sysacts};
use gup::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::flags::{Foll, MapFlags, VmFlags};
use gup::gup::remote;
use gup::linux::Linux;
use gup::mapping::{self, GrowProt, MmapRequest, MremapFlags, MremapRequest, sys};
use gup::task::{Limits, Task};
use gup::vma::Special;
use std::sync::Arc;

/// The first frame of a device, far beyond memory.
const DEVICE: Pfn = Pfn::new(1 << 30);

/// Plays `op`, which some process does.
pub(super) fn act(player: &mut Player, op: &Op) -> Value {
    try_act(player, op).unwrap_or_else(|value| value)
}

fn try_act(player: &mut Player, op: &Op) -> Result<Value, Value> {
    match op {
        Op::Map(_)
        | Op::Munmap { .. }
        | Op::Mprotect { .. }
        | Op::Madvise { .. }
        | Op::Mremap { .. }
        | Op::Mlock { .. }
        | Op::Munlock { .. } => edit(player, op),
        Op::Sys { process, name, call } => sysacts::call(player, process, name.as_deref(), call),
        Op::Uffd { process, call } => sysacts::uffd(player, process, call),
        Op::Ask { process, driver, span } => drivers::ask(player, process, *driver, span),
        Op::Unregister { process } => drivers::unregister(player, process),
        Op::Touch { process, span, touch: kind } => touch(player, process, span, *kind),
        Op::Meanwhile { after, op } => meanwhile(player, *after, op),
        Op::Fork { process, child } => fork(player, process, child),
        Op::Kill { process } => signal(player, process, Task::kill),
        Op::Interrupt { process } => signal(player, process, Task::interrupt),
        Op::Store { process, at, bytes } => {
            let addr = player.addr(process, at)?;
            let (mm, owner) = player.mmu(process)?;
            let stored = access::store(mm, &owner.task, addr, bytes);
            Ok(stored.map_or_else(Value::Signal, |()| Value::Done))
        }
        Op::Load { process, at, count } => {
            let addr = player.addr(process, at)?;
            let (mm, owner) = player.mmu(process)?;
            let mut bytes = vec![0; *count as usize];
            let loaded = access::load(mm, &owner.task, addr, &mut bytes);
            Ok(loaded.map_or_else(Value::Signal, |()| Value::Bytes(bytes)))
        }
        Op::RemoteLoad { process, reach, at, count } => {
            let addr = player.addr(process, at)?;
            let mut bytes = vec![0; *count as usize];
            let moved =
                remote_access(player, process, *reach, addr, remote::Access::Read(&mut bytes))?;
            bytes.truncate(moved);
            let nothing = bytes.is_empty() && *count > 0;
            Ok(if nothing { Value::Failed(refusal(*reach)) } else { Value::Bytes(bytes) })
        }
        Op::RemoteStore { process, reach, at, bytes } => {
            let addr = player.addr(process, at)?;
            let access = remote::Access::Write(bytes);
            let moved = remote_access(player, process, *reach, addr, access)?;
            let nothing = moved == 0 && !bytes.is_empty();
            let count = i64::try_from(moved).unwrap_or(i64::MAX);
            Ok(if nothing { Value::Failed(refusal(*reach)) } else { Value::Count(count) })
        }
        other => Err(Value::CannotPlay(format!("{other:?} is no act of a process"))),
    }
}

/// A byte of each page; the pages before a signal are touched.
fn touch(player: &Player, process: &str, span: &Span, touch: Touch) -> Result<Value, Value> {
    let (start, bytes) = player.span(process, span)?;
    let (mm, owner) = player.mmu(process)?;
    for n in 0..bytes.div_ceil(PAGE_SIZE) {
        let at = start.wrapping_add(n << PAGE_SHIFT);
        let touched = match touch {
            Touch::Load => access::load(mm, &owner.task, at, &mut [0]),
            Touch::Store => access::store(mm, &owner.task, at, &[Touch::byte(at.get())]),
        };
        if let Err(signal) = touched {
            return Ok(Value::Signal(signal));
        }
    }
    Ok(Value::Done)
}

/// Edits of a map.
fn edit(player: &mut Player, op: &Op) -> Result<Value, Value> {
    match op {
        Op::Map(map) => mmap(player, map),
        Op::Munmap { process, span } => {
            let (start, bytes) = player.span(process, span)?;
            let (mm, _) = player.mmu(process)?;
            Ok(Value::of_result(sys::munmap(mm, start, bytes)))
        }
        Op::Mprotect { process, span, prot } => {
            let (start, bytes) = player.span(process, span)?;
            let (mm, owner) = player.mmu(process)?;
            let done = sys::mprotect(mm, &owner.task, start, bytes, *prot, GrowProt::Exact);
            Ok(Value::of_result(done))
        }
        Op::Madvise { process, span, advice } => {
            let (start, bytes) = player.span(process, span)?;
            let (mm, owner) = player.mmu(process)?;
            Ok(Value::of_result(mapping::madvise(mm, &owner.task, start, bytes, *advice)))
        }
        Op::Mremap { process, name, span, to, at } => {
            let at = at.as_ref().map(|at| player.addr(process, at)).transpose()?;
            let (start, bytes) = player.span(process, span)?;
            mremap(player, process, name.as_deref(), (start, bytes), to.bytes(), at)
        }
        Op::Mlock { process, span } => {
            let (start, bytes) = player.span(process, span)?;
            let (mm, owner) = player.mmu(process)?;
            Ok(Value::of_result(mapping::mlock(mm, &owner.task, start, bytes)))
        }
        Op::Munlock { process, span } => {
            let (start, bytes) = player.span(process, span)?;
            let (mm, _) = player.mmu(process)?;
            Ok(Value::of_result(mapping::munlock(mm, start, bytes)))
        }
        other => Err(Value::CannotPlay(format!("{other:?} is no edit"))),
    }
}

/// What a caller sees where nothing could be moved.
fn refusal(reach: Reach) -> Errno {
    match reach {
        Reach::ProcessVm => Errno::EFAULT,
        Reach::Ptrace => Errno::EIO,
    }
}

fn signal(player: &Player, process: &str, send: impl FnOnce(&Task)) -> Result<Value, Value> {
    let owner = player.processes.get(process).ok_or_else(|| no_process(process))?;
    send(&owner.task);
    Ok(Value::Done)
}

fn mmap(player: &mut Player, map: &Map) -> Result<Value, Value> {
    let at = map.at.as_ref().map(|at| player.addr(&map.process, at)).transpose()?;
    let bytes = map.len.bytes();
    if map.source == Source::Device {
        return device(player, map, at, bytes);
    }
    let request = request(player, map, bytes)?;
    let request = match at {
        Some(at) if map.flags.contains(MapFlags::FIXED_NOREPLACE) => request.near(at),
        Some(at) => request.at(at),
        None => request,
    };
    let (mm, owner) = player.mmu(&map.process)?;
    let mapped = sys::mmap(mm, &owner.task, &request);
    match mapped {
        Ok(at) => {
            player.name(&map.process, map.name.as_deref(), at, bytes);
            Ok(Value::At(at))
        }
        Err(errno) => Ok(Value::Failed(errno)),
    }
}

fn request(player: &Player, map: &Map, bytes: u64) -> Result<MmapRequest<PlayHost>, Value> {
    Ok(match &map.source {
        Source::Anon | Source::Device => {
            MmapRequest { flags: map.flags | MapFlags::ANONYMOUS, ..anonymous(map, bytes) }
        }
        Source::Hugetlb => MmapRequest {
            flags: map.flags | MapFlags::ANONYMOUS | MapFlags::HUGETLB,
            ..anonymous(map, bytes)
        },
        Source::File(name, from) | Source::ReadOnlyFile(name, from) => {
            let none = || Value::CannotPlay(format!("there is no file {name}"));
            let document = player.files.get(name).ok_or_else(none)?;
            let offset = from.saturating_mul(PAGE_SIZE);
            let reader = matches!(map.source, Source::ReadOnlyFile(..));
            let (file, mode) = (Arc::clone(&document.file), document.mode(reader));
            let source = mapping::Source::File { file, mode, offset };
            MmapRequest { addr: VirtAddr::new(0), bytes, prot: map.prot, flags: map.flags, source }
        }
    })
}

fn anonymous(map: &Map, bytes: u64) -> MmapRequest<PlayHost> {
    MmapRequest::anonymous(bytes, map.prot)
}

/// A driver's memory: an area that is `VM_IO` and `VM_PFNMAP`, which nothing is ever faulted into.
fn device(
    player: &mut Player,
    map: &Map,
    at: Option<VirtAddr>,
    bytes: u64,
) -> Result<Value, Value> {
    let at = at.ok_or_else(|| Value::CannotPlay("a device needs `at ADDRESS`".into()))?;
    let range = VirtRange::from_len(at, bytes).filter(|range| {
        !range.is_empty() && at.page_offset() == 0 && range.end.get() <= gup::addr::TASK_SIZE
    });
    let Some(range) = range.and_then(|range| Some(VirtRange::new(at, range.end.page_ceil()?)))
    else {
        return Ok(Value::Failed(Errno::EINVAL));
    };
    let (mm, _) = player.mmu(&map.process)?;
    let mut lock = mm.write();
    let special =
        Special { name: "device", pages: Vec::new(), find_special: Vec::new(), access: None };
    let access = VmFlags::from_bits_truncate(u64::from(map.prot.bits()));
    let may = VmFlags::MAYREAD | VmFlags::MAYWRITE | VmFlags::MAYEXEC;
    let flags = access | may | VmFlags::SHARED | VmFlags::MAYSHARE;
    let installed = mapping::install_special(&mut lock, range, flags, Arc::new(special))
        .and_then(|()| mapping::remap_pfn_range(&mut lock, range, DEVICE));
    if let Err(errno) = installed {
        return Ok(Value::Failed(errno));
    }
    drop(lock);
    player.name(&map.process, map.name.as_deref(), at, bytes);
    Ok(Value::At(at))
}

fn mremap(
    player: &mut Player,
    process: &str,
    name: Option<&str>,
    (addr, old_bytes): (VirtAddr, u64),
    new_bytes: u64,
    at: Option<VirtAddr>,
) -> Result<Value, Value> {
    let (mm, owner) = player.mmu(process)?;
    let fixed = if at.is_some() { MremapFlags::FIXED } else { MremapFlags::empty() };
    let flags = MremapFlags::MAYMOVE | fixed;
    let new_addr = at.unwrap_or_default();
    let request = MremapRequest { addr, old_bytes, new_bytes, flags, new_addr };
    match sys::mremap(mm, &owner.task, &request) {
        Ok(at) => {
            player.name(process, name, at, new_bytes);
            Ok(Value::At(at))
        }
        Err(errno) => Ok(Value::Failed(errno)),
    }
}

/// Lets `op` be done by another thread of its process, after the `after`-th fault of the next call.
fn meanwhile(player: &mut Player, after: u64, op: &Op) -> Result<Value, Value> {
    let act: Meanwhile = match op {
        Op::Madvise { process, span, advice } => {
            let ((start, bytes), advice) = (player.span(process, span)?, *advice);
            let mm = Arc::clone(player.mmu(process)?.0);
            Box::new(move || {
                let _ = mapping::madvise(&mm, &Task::default(), start, bytes, advice);
            })
        }
        Op::Store { process, at, bytes } => {
            let (addr, bytes) = (player.addr(process, at)?, bytes.clone());
            let mm = Arc::clone(player.mmu(process)?.0);
            Box::new(move || {
                let _ = access::store_mapped(&mm, addr, &bytes);
            })
        }
        Op::Load { process, at, count } => {
            let (addr, count) = (player.addr(process, at)?, *count as usize);
            let mm = Arc::clone(player.mmu(process)?.0);
            Box::new(move || {
                let _ = access::load_mapped(&mm, addr, &mut vec![0; count]);
            })
        }
        Op::Kill { process } | Op::Interrupt { process } => {
            let owner = player.processes.get(process).ok_or_else(|| no_process(process))?;
            let (task, fatal) = (Arc::clone(&owner.task), matches!(op, Op::Kill { .. }));
            Box::new(move || if fatal { task.kill() } else { task.interrupt() })
        }
        _ => return Err(Value::CannotPlay("this cannot be done meanwhile".into())),
    };
    player.pending = Some((after, act));
    Ok(Value::Done)
}

fn fork(player: &mut Player, process: &str, child: &str) -> Result<Value, Value> {
    let (mm, owner) = player.mmu(process)?;
    let forked = mapping::fork(&mut mm.write(), &owner.task);
    let names = owner.names.clone();
    match forked {
        Ok(mm) => {
            let limits = owner.task.limits;
            let process = Process { names, ..Process::new(Space::Mmu(mm), limits) };
            player.processes.insert(child.to_owned(), process);
            Ok(Value::Done)
        }
        Err(errno) => Ok(Value::Failed(errno)),
    }
}

/// Bytes moved by somebody else, who is called `remote` and has no signals.
fn remote_access(
    player: &Player,
    process: &str,
    reach: Reach,
    addr: VirtAddr,
    access: remote::Access<'_>,
) -> Result<usize, Value> {
    let (mm, _) = player.mmu(process)?;
    let caller = Task::new(Limits::default());
    if player.machine.linux() == Linux::V4_4 {
        let moved = match access {
            remote::Access::Read(buf) => {
                gup::abi::access_remote_vm(&caller, mm, addr.get(), buf, 0)
            }
            remote::Access::Write(from) => {
                let mut buf = from.to_vec();
                gup::abi::access_remote_vm(&caller, mm, addr.get(), &mut buf, 1)
            }
        };
        return Ok(usize::try_from(moved).unwrap_or(0));
    }
    Ok(match reach {
        Reach::Ptrace => remote::access_remote_vm(&caller, mm, addr, access, Foll::FORCE).bytes,
        Reach::ProcessVm => remote::process_vm(&caller, mm, addr, access).bytes,
    })
}
