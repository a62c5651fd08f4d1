//! `fixup_user_fault`, v4.4: one fault at an address, for those who met it with page faults
//! disabled (futexes).

use super::get::settle;
use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::fault::{Fault, FaultCx, FaultError, handle_mm_fault};
use crate::flags::{FaultFlags, VmFlags};
use crate::gup::{Busy, End, Pass, charge};
use crate::host::Host;
use crate::mm::Lock;
use crate::rule::a;
use crate::task::Task;

/// v4.4's `FAULT_FLAG_…` bits, whose values 6.18 kept.
const KNOWN: u32 = 0x7f;

/// Takes one fault at `address` as `fault_flags` (`FAULT_FLAG`_…) say, charged to `tsk`; 0 if it
/// did not fail.
///
/// `mm` must be held. Not looked at: whether the page is there afterwards. A fault that asks to be
/// retried counts as success; `mm` is [`Lock::Dropped`] then, which only `FAULT_FLAG_ALLOW_RETRY`
/// can cause.
/// # Errors
/// -EFAULT: no area, or one without `VM_WRITE` (for a write) or `VM_READ` (else), or SIGBUS,
/// SIGSEGV. -ENOMEM. -EHWPOISON, always where the memory failed. -EINVAL if `mm` is not held.
/// # Linux
/// mm/gup.c `fixup_user_fault`, v4.4. Row A-161.
pub fn fixup_user_fault<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &mut Lock<'_, H>,
    address: u64,
    fault_flags: u32,
) -> i32 {
    let addr = VirtAddr::new(address);
    let flags = FaultFlags::from_bits_truncate(fault_flags & KNOWN);
    let host = mm.mm().machine().host();
    let Some(map) = mm.map() else { return -Errno::EINVAL.raw() };
    let found = crate::vma::stack::find_extend_vma(mm.mm(), map, current, addr);
    let refused = found.is_none_or(|vma| !vma.flags.contains(needed(flags)));
    if host.rule(a::A_161, refused, addr) {
        return -Errno::EFAULT.raw();
    }
    let Some(vma) = found else { return -Errno::EFAULT.raw() };
    let cx = FaultCx { mm: mm.mm(), map, vma, task: current };
    let fault = handle_mm_fault(&cx, addr, flags);
    host.decided(a::A_161, addr);
    let (major, busy) = match fault {
        Fault::Failed(error) => return -failed(error).raw(),
        Fault::Done { major, .. } => (major, None),
        Fault::Kept(_) => (vma.uffd.is_none(), None),
        Fault::Retry(ticket) => (vma.uffd.is_none(), Some(Busy::Retry(ticket))),
        Fault::Completed { .. } => (false, Some(Busy::Completed)),
    };
    if let Some(task) = tsk {
        charge(task, major);
    }
    if let Some(busy) = busy {
        settle(mm, current, Pass { got: 0, end: End::Busy(busy) });
    }
    0
}

/// The area's permission that the fault needs.
fn needed(flags: FaultFlags) -> VmFlags {
    if flags.contains(FaultFlags::WRITE) { VmFlags::WRITE } else { VmFlags::READ }
}

fn failed(error: FaultError) -> Errno {
    match error {
        FaultError::Oom => Errno::ENOMEM,
        FaultError::HwPoison | FaultError::HwPoisonLarge(_) => Errno::EHWPOISON,
        FaultError::Sigbus | FaultError::Sigsegv | FaultError::Fallback => Errno::EFAULT,
    }
}
