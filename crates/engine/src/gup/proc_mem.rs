//! `/proc/PID/mem`: another process's bytes, forced as far as the system's setting allows.
//!
//! Linux: fs/proc/base.c `mem_rw`, `proc_mem_foll_force` (6.18; row C-99).

use super::remote::{Access, access_remote_vm};
use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::flags::Foll;
use crate::host::Host;
use crate::mm::{Mm, ProcMemForce};
use crate::rule::c;
use crate::task::Task;

/// What the acting task is to the process whose memory it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracer {
    /// Its debugger, attached (`PTRACE_ATTACH`).
    Attached,
    /// Somebody who may open the file.
    No,
}

/// Reads or writes at `addr` of `mm` through `/proc/PID/mem`; bytes moved.
///
/// Goes past the areas' permissions as `proc_mem.force_override` says (row C-99). Takes the mmap
/// lock.
/// # Errors
/// EIO: not one byte could be moved.
/// # Linux
/// `mem_rw()`.
pub fn proc_mem<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    addr: VirtAddr,
    access: Access<'_>,
    tracer: Tracer,
) -> Result<usize, Errno> {
    let machine = mm.machine();
    let forces = match machine.sysctl.proc_mem_force {
        ProcMemForce::Always => true,
        ProcMemForce::Ptrace => tracer == Tracer::Attached,
        ProcMemForce::Never => false,
    };
    let foll = if forces { Foll::FORCE } else { Foll::empty() };
    machine.host().decided(c::C_99, addr);
    let empty = match &access {
        Access::Read(buffer) => buffer.is_empty(),
        Access::Write(buffer) => buffer.is_empty(),
    };
    let moved = access_remote_vm(current, mm, addr, access, foll);
    if moved.bytes == 0 && !empty { Err(Errno::EIO) } else { Ok(moved.bytes) }
}
