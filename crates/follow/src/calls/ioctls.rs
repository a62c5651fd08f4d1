//! What the ioctls ask for that hand memory to a device or a guest.
//!
//! Linux: `include/uapi/linux/{vfio,iommufd,kvm}.h`,
//! `include/uapi/rdma/{ib_user_verbs,rdma_user_ioctl_cmds,ib_user_ioctl_cmds}.h`.

use crate::calls::decode::{Asked, pair};
use crate::calls::memory::Memory;
use gup_mirror::consumer::Consumer;

/// `VFIO_IOMMU_MAP_DMA`: `struct vfio_iommu_type1_dma_map` at `addr`.
pub(crate) fn vfio(addr: u64, memory: &impl Memory) -> Asked {
    let read = || Some((memory.long(addr.checked_add(8)?)?, memory.long(addr.checked_add(24)?)?));
    Asked::found(device(addr, memory), read()).and("whether the IOVA is mapped already (EEXIST)")
}

/// `IOMMU_IOAS_MAP`: `struct iommu_ioas_map` at `addr`.
pub(crate) fn iommufd(addr: u64, memory: &impl Memory) -> Asked {
    let read = || pair(addr.checked_add(16)?, memory);
    Asked::found(device(addr, memory), read()).and("whether the IOVA is mapped or reserved already")
}

/// Who pins for a device, by the flags in the second word of the structure at `addr`: whether it
/// may write.
fn device(addr: u64, memory: &impl Memory) -> Consumer {
    const WRITEABLE: u32 = 2;
    let flags = addr.checked_add(4).and_then(|at| memory.word(at)).unwrap_or(WRITEABLE);
    if flags & WRITEABLE != 0 { Consumer::Vfio } else { Consumer::RdmaReadonly }
}

/// `KVM_SET_USER_MEMORY_REGION`: `struct kvm_userspace_memory_region` at `addr`. No page is looked
/// at before the guest touches it.
pub(crate) fn kvm_slot(addr: u64, memory: &impl Memory) -> Asked {
    let read = || Some((memory.long(addr.checked_add(24)?)?, memory.long(addr.checked_add(16)?)?));
    Asked::found(Consumer::Kvm, read()).and(
        "KVM looks at no page before the guest touches it: see whether address and size are whole \
         pages (EINVAL), the slot overlaps another (EEXIST), and the slot's number",
    )
}

/// `KVM_MEMORY_ENCRYPT_REG_REGION`: `struct kvm_enc_region` at `addr`.
pub(crate) fn kvm_encrypted(addr: u64, memory: &impl Memory) -> Asked {
    Asked::found(Consumer::Rdma, pair(addr, memory))
        .and("whether the guest is one with encrypted memory (ENOTTY)")
}

const WRITES: u32 = 1 | 2 | 8 | 16;

/// A registration by the structure `ib_uverbs_reg_mr` at `addr`.
fn registration(addr: u64, memory: &impl Memory) -> Asked {
    let at = |offset: u64| addr.checked_add(offset);
    let range = || Some((memory.long(at(8)?)?, memory.long(at(16)?)?));
    let access = at(36).and_then(|at| memory.word(at)).unwrap_or(WRITES);
    registered(range(), access)
}

fn registered(range: Option<(u64, u64)>, access: u32) -> Asked {
    let writes = access & WRITES != 0;
    let consumer = if writes { Consumer::Rdma } else { Consumer::RdmaReadonly };
    Asked::found(consumer, range).and("the device's limits on memory regions (ibv_devinfo -v)")
}

/// `RDMA_VERBS_IOCTL`: the structure `ib_uverbs_ioctl_hdr` at `addr`. `None` if it registers no
/// memory.
pub(crate) fn verbs(addr: u64, memory: &impl Memory) -> Option<Asked> {
    const DEVICE: u16 = 0;
    const INVOKE_WRITE: u16 = 0;
    const CORE_IN: u16 = 0;
    const WRITE_COMMAND: u16 = 2;
    let half = |at: u64| memory.bytes(at).map(u16::from_ne_bytes);
    let (object, method) = (half(addr.checked_add(2)?)?, half(addr.checked_add(4)?)?);
    let count = half(addr.checked_add(6)?)?;
    let mut attributes = (0..u64::from(count)).map_while(|index| {
        let at = addr.checked_add(24 + 16 * index)?;
        Some((half(at)?, memory.long(at.checked_add(8)?)?))
    });
    if (object, method) != (DEVICE, INVOKE_WRITE) {
        return None;
    }
    let attributes: Vec<(u16, u64)> = attributes.by_ref().collect();
    let value = |id: u16| attributes.iter().find(|(own, _)| *own == id).map(|a| a.1);
    // An enumeration that is given in place.
    if value(WRITE_COMMAND)? & 0xff != REGISTER {
        return None;
    }
    Some(registration(value(CORE_IN)?, memory))
}

/// `IB_USER_VERBS_CMD_REG_MR`.
const REGISTER: u64 = 9;

/// A command of verbs that is written from `addr`: `struct ib_uverbs_cmd_hdr`, then its own.
/// `None` if it registers no memory.
pub(crate) fn verbs_written(addr: u64, memory: &impl Memory) -> Option<Asked> {
    if u64::from(memory.word(addr)?) & 0xff != REGISTER {
        return None;
    }
    Some(registration(addr.checked_add(8)?, memory))
}
