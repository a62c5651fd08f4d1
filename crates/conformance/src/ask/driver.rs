//! The drivers: system calls that pin, by the names of the recorded kernel rows.

/// A system call through which the kernel can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Driver {
    /// `get_mempolicy(MPOL_F_NODE | MPOL_F_ADDR)`, page by page.
    Mempolicy,
    /// A shared `FUTEX_WAKE`, page by page.
    FutexWake,
    /// `madvise(MADV_POPULATE_READ)`.
    PopulateRead,
    /// `madvise(MADV_POPULATE_WRITE)`.
    PopulateWrite,
    /// `mlock`.
    Mlock,
    /// `mlock2(MLOCK_ONFAULT)`.
    MlockOnfault,
    /// `vmsplice` into a pipe.
    Vmsplice,
    /// A direct write from the range.
    DirectWrite,
    /// A direct read into the range.
    DirectRead,
    /// Registration of an `io_uring` buffer.
    RingBuffer,
    /// Registration of an `io_uring` provided-buffer ring.
    RingPbuf,
    /// Registration of `AF_XDP` memory.
    XdpUmem,
    /// A read of `/proc/self/mem`.
    SelfMemRead,
    /// A write of `/proc/self/mem`.
    SelfMemWrite,
    /// `process_vm_readv` by another process.
    VmRead,
    /// `process_vm_writev` by another process.
    VmWrite,
    /// A read of `/proc/PID/mem` by another process.
    MemRead,
    /// A write of `/proc/PID/mem` by another process.
    MemWrite,
    /// `PTRACE_PEEKDATA`, page by page.
    Peek,
    /// `PTRACE_POKEDATA`, page by page.
    Poke,
    /// A read of `/proc/self/cmdline`, its text being the range.
    Cmdline,
    /// A core dump.
    CoreDump,
    /// A uprobe on each page.
    Uprobe,
    /// A dma-buf of the memfd behind the range.
    Udmabuf,
    /// A guest of KVM that writes to each page.
    KvmGuest,
}

/// Who makes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The process whose memory it is.
    Subject,
    /// Another process.
    Other,
}

impl Driver {
    /// Every driver.
    pub const ALL: [Self; 25] = [
        Self::Mempolicy,
        Self::FutexWake,
        Self::PopulateRead,
        Self::PopulateWrite,
        Self::Mlock,
        Self::MlockOnfault,
        Self::Vmsplice,
        Self::DirectWrite,
        Self::DirectRead,
        Self::RingBuffer,
        Self::RingPbuf,
        Self::XdpUmem,
        Self::SelfMemRead,
        Self::SelfMemWrite,
        Self::VmRead,
        Self::VmWrite,
        Self::MemRead,
        Self::MemWrite,
        Self::Peek,
        Self::Poke,
        Self::Cmdline,
        Self::CoreDump,
        Self::Uprobe,
        Self::Udmabuf,
        Self::KvmGuest,
    ];

    /// The recorded name, such as `od_read`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mempolicy => "mempolicy",
            Self::FutexWake => "futex_wake",
            Self::PopulateRead => "popr",
            Self::PopulateWrite => "popw",
            Self::Mlock => "mlock",
            Self::MlockOnfault => "mlock2_onfault",
            Self::Vmsplice => "vmsplice",
            Self::DirectWrite => "od_write",
            Self::DirectRead => "od_read",
            Self::RingBuffer => "iou_reg",
            Self::RingPbuf => "iou_pbuf",
            Self::XdpUmem => "xdp_umem",
            Self::SelfMemRead => "memself_r",
            Self::SelfMemWrite => "memself_w",
            Self::VmRead => "pvm_read",
            Self::VmWrite => "pvm_write",
            Self::MemRead => "mem_read",
            Self::MemWrite => "mem_write",
            Self::Peek => "peek",
            Self::Poke => "poke",
            Self::Cmdline => "cmdline",
            Self::CoreDump => "coredump",
            Self::Uprobe => "uprobe",
            Self::Udmabuf => "udmabuf",
            Self::KvmGuest => "kvm_guest",
        }
    }

    /// The driver with this recorded name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.name() == name)
    }

    /// Who makes the call.
    pub const fn caller(self) -> Caller {
        match self {
            Self::VmRead | Self::VmWrite | Self::MemRead | Self::MemWrite => Caller::Other,
            Self::Peek | Self::Poke | Self::Uprobe => Caller::Other,
            Self::Mempolicy | Self::FutexWake | Self::PopulateRead | Self::PopulateWrite => {
                Caller::Subject
            }
            Self::Mlock | Self::MlockOnfault | Self::Vmsplice | Self::DirectWrite => {
                Caller::Subject
            }
            Self::DirectRead | Self::RingBuffer | Self::RingPbuf | Self::XdpUmem => Caller::Subject,
            Self::SelfMemRead | Self::SelfMemWrite | Self::Cmdline => Caller::Subject,
            Self::CoreDump | Self::Udmabuf | Self::KvmGuest => Caller::Subject,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Driver;

    #[test]
    fn every_driver_is_found_by_its_name() {
        for driver in Driver::ALL {
            assert_eq!(Driver::from_name(driver.name()), Some(driver));
        }
    }
}
