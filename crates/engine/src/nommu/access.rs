//! Device frame numbers, and bytes of another address space.
//!
//! Linux: mm/nommu.c `follow_pfn`, `__access_remote_vm` (v4.4).

use super::area::Area;
use super::error::Refused;
use super::lock::NommuRead;
use crate::addr::{Pfn, VirtAddr};
use crate::errno::Errno;
use crate::flags::VmFlags;
use crate::host::Host;
use crate::rule::n;

/// The frame number of device memory at `addr`: the address itself, in pages (row N-09).
/// # Errors
/// [`Refused`] with EINVAL: `area` is ordinary memory (neither `VM_IO` nor `VM_PFNMAP`).
pub fn follow_pfn<H: Host>(host: &H, area: &Area, addr: VirtAddr) -> Result<Pfn, Refused> {
    if host.rule(n::N_09, !area.is_device(), addr) {
        return Err(Refused { rule: n::N_09, addr, errno: Errno::EINVAL });
    }
    host.decided(n::N_09, addr);
    Ok(Pfn::new(addr.page_number()))
}

impl<H: Host> NommuRead<'_, H> {
    /// Copies bytes at `addr` out of this address space; how many: those inside the one area that
    /// contains `addr`, if it may be made readable, and 0 otherwise (row N-10).
    pub fn copy_out(&self, addr: VirtAddr, into: &mut [u8]) -> usize {
        let len = self.clip(addr, into.len(), VmFlags::MAYREAD);
        self.mm().flat().read(addr, &mut into[..len])
    }
    /// Copies bytes into this address space at `addr`; how many: as for [`NommuRead::copy_out`], if
    /// the area may be made writable.
    pub fn copy_in(&self, addr: VirtAddr, from: &[u8]) -> usize {
        let len = self.clip(addr, from.len(), VmFlags::MAYWRITE);
        self.mm().flat().write(addr, &from[..len])
    }
    /// How many of `len` bytes at `addr` one area with `needed` has.
    fn clip(&self, addr: VirtAddr, len: usize, needed: VmFlags) -> usize {
        let host = self.mm().host();
        let Some(area) = self.find(addr) else {
            host.decided(n::N_10, addr);
            return 0;
        };
        if host.rule(n::N_10, !area.flags.contains(needed), addr) {
            return 0;
        }
        let left = area.end().bytes_from(addr);
        if host.rule(n::N_10, len as u64 > left, addr) { left as usize } else { len }
    }
}
