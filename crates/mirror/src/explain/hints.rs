//! Where to look when a call fails although its pin would not: limits, filters, permissions,
//! alignment.
//!
//! Facts about the process and the call; no reason of GUP's.

use crate::consumer::Consumer;
use crate::explain::verdict::Verdict;
use crate::proc::limits::LockRights;
use crate::process::Process;
use gup::flags::Foll;

/// Where to look, most likely first.
pub fn why_fine(process: &Process, verdict: &Verdict) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(consumer) = verdict.consumer {
        hints.extend(of_consumer(consumer));
        if is_accounted(consumer) {
            hints.extend(memlock(process, verdict));
        }
    }
    match process.status().seccomp {
        Some(2) => hints.push("the process's seccomp filter: it may refuse the call itself".into()),
        Some(1) => hints.push("strict seccomp: the process may make no such call".into()),
        _ => {}
    }
    if verdict.flags.contains(Foll::LONGTERM) {
        hints.push(
            "memory in CMA or a movable zone: it is migrated first, and that can fail".into(),
        );
    }
    hints
}

fn of_consumer(consumer: Consumer) -> Option<String> {
    let text = match consumer {
        Consumer::ProcessVmReadv | Consumer::ProcessVmWritev => {
            "permission to trace the process (kernel.yama.ptrace_scope), and the local buffers"
        }
        Consumer::ProcMemRead | Consumer::ProcMemWrite => {
            "permission to trace the process, and proc_mem.force_override for forced access"
        }
        Consumer::PtracePeek | Consumer::PtracePoke => "whether the process is traced and stopped",
        Consumer::ODirectRead | Consumer::ODirectWrite => {
            "alignment of address, length and offset to the device's block size, and the file"
        }
        Consumer::IoUringBuffer | Consumer::IoUringPbuf => {
            "kernel.io_uring_disabled, and whether buffers are registered already"
        }
        Consumer::Rdma | Consumer::RdmaReadonly => "the device's own limits on memory regions",
        Consumer::Vfio => "the IOMMU group's state, and dma_entry_limit",
        Consumer::Vmsplice => "room in the pipe",
        Consumer::XdpUmem => "CAP_NET_RAW, and the chunk size",
        Consumer::ProcCmdline
        | Consumer::MadvisePopulateRead
        | Consumer::MadvisePopulateWrite
        | Consumer::Mlock
        | Consumer::MlockOnfault
        | Consumer::Coredump
        | Consumer::GetMempolicy
        | Consumer::Futex => return None,
    };
    Some(text.to_owned())
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

fn memlock(process: &Process, verdict: &Verdict) -> Option<String> {
    let rights = LockRights::of(process);
    let limit = rights.memlock.filter(|_| !rights.ipc_lock)?;
    let used = rights.locked_pages * 4 + process.status().pinned_kib.unwrap_or(0);
    let wanted = verdict.nr_pages.saturating_mul(4);
    Some(format!(
        "RLIMIT_MEMLOCK: {} KiB; {used} KiB are locked or pinned, this needs {wanted} KiB more",
        limit / 1024
    ))
}
