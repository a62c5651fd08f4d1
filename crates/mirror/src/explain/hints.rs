//! Where to look when a call fails although its pin would not: whose address space it is, limits,
//! filters, permissions, alignment, the device.
//!
//! "All pages are fine" is an answer: what then fails lies outside the process's memory, and much
//! of it (page tables of devices, apertures, memory of a GPU) cannot be seen from here. Facts about
//! the process and the call; no reason of GUP's. Absent: whether a limit suffices
//! ([`crate::answer::memlock`]).

use crate::consumer::Consumer;
use crate::explain::verdict::Verdict;
use crate::process::Process;
use gup::flags::Foll;

/// Where to look, most likely first.
pub fn why_fine(process: &Process, verdict: &Verdict) -> Vec<String> {
    let mut hints: Vec<&str> = Vec::new();
    if let Some(consumer) = verdict.consumer {
        hints.extend(of_consumer(consumer));
        if is_accounted(consumer) {
            hints.push("RLIMIT_MEMLOCK, and who else uses it up: ask with --memlock");
        }
    }
    match process.status().seccomp {
        Some(2) => hints.push("the process's seccomp filter: it may refuse the call itself"),
        Some(1) => hints.push("strict seccomp: the process may make no such call"),
        _ => {}
    }
    if verdict.flags.contains(Foll::LONGTERM) {
        hints.push(
            "memory in CMA or a movable zone: it is migrated first, and that can fail: ask with \
             --movable",
        );
    }
    hints.into_iter().map(str::to_owned).collect()
}

/// The address space that a registration means.
const TASK: &str = "the task: the call uses the address space of the process that makes it; a \
                    forked child, another container or a server's own process has another one at \
                    the same addresses";

/// Tables of which nothing is seen here.
const DEVICE: &str = "the device: its own page tables, the IOMMU's mappings and DMA address width \
                      cannot be seen from the process; the kernel's log names such faults";

/// What the consumer itself asks, beyond the pages.
const fn of_consumer(consumer: Consumer) -> &'static [&'static str] {
    match consumer {
        Consumer::ProcessVmReadv | Consumer::ProcessVmWritev => &[
            "permission to trace the process (kernel.yama.ptrace_scope), and its process id: of a \
             container it is the one outside",
            "the local buffers: a bad address there is the same EFAULT",
        ],
        Consumer::ProcMemRead | Consumer::ProcMemWrite => &[
            "permission to trace the process, and proc_mem.force_override for forced access",
            "the file position: a negative one is refused by pread and lseek of some languages",
        ],
        Consumer::PtracePeek | Consumer::PtracePoke => {
            &["whether the process is traced, by this thread, and stopped"]
        }
        Consumer::ODirectRead | Consumer::ODirectWrite => &[
            "alignment of address, length and offset to the device's block size, and whether the \
             file system has direct I/O",
        ],
        Consumer::IoUringBuffer | Consumer::IoUringPbuf => &[
            "kernel.io_uring_disabled, and whether buffers are registered already (EBUSY)",
            "the call's own limits: 1 GiB for a buffer, 16384 buffers, none of length 0",
            TASK,
        ],
        Consumer::Rdma | Consumer::RdmaReadonly => &[
            "a pointer of a GPU: memory of cudaMalloc or hipMalloc is none of the process's; it \
             needs a peer-memory module (nvidia-peermem) or a dma-buf",
            "the device's limits on regions: max_mr, max_mr_size (ibv_devinfo -v), and access \
             flags that need local write",
            TASK,
            DEVICE,
        ],
        Consumer::Vfio => &[
            "the entry limit: 65535 mappings for a container (vfio_iommu_type1.dma_entry_limit); \
             ENOSPC",
            "the IOVA: the IOMMU's aperture and reserved regions \
             (/sys/kernel/iommu_groups/*/reserved_regions), and overlap with an earlier mapping",
            "the IOMMU group's state, and an address or length that is no multiple of its page",
            TASK,
            DEVICE,
        ],
        Consumer::Vmsplice => &["room in the pipe"],
        Consumer::XdpUmem => &["CAP_NET_RAW, chunk size and headroom", DEVICE],
        Consumer::Kvm => &[
            "the guest's memory regions: the address of the guest must lie in one, which need not \
             be read-only",
        ],
        Consumer::Uprobe => &[
            "the bytes there: they must be the beginning of an instruction that can be stepped",
            "CAP_PERFMON, kernel.perf_event_paranoid, and the file: no mount with noexec",
        ],
        Consumer::ProcCmdline
        | Consumer::MadvisePopulateRead
        | Consumer::MadvisePopulateWrite
        | Consumer::Mlock
        | Consumer::MlockOnfault
        | Consumer::Coredump
        | Consumer::GetMempolicy
        | Consumer::Futex => &[],
    }
}

/// Whether its pages count against `RLIMIT_MEMLOCK`.
const fn is_accounted(consumer: Consumer) -> bool {
    matches!(
        consumer,
        Consumer::Mlock
            | Consumer::MlockOnfault
            | Consumer::IoUringBuffer
            | Consumer::Rdma
            | Consumer::RdmaReadonly
            | Consumer::Vfio
            | Consumer::XdpUmem
    )
}
