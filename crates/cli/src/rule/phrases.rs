//! What people see when a pin fails, as they search for it, and the rules that may stand behind it.
//!
//! Data only: a phrase, who says it, the rules, most likely first, and where else to look when none
//! of them is it. Absent: which rule it is in a given process; `gup explain` says that.

use gup::rule::{Rule, c, f, m};

/// What somebody prints, and what may stand behind it.
pub(crate) struct Phrase {
    /// What is printed; a search finds it if it has all these words.
    pub(crate) text: &'static str,
    /// Who prints it.
    pub(crate) by: &'static str,
    /// The rules that may stand behind it, most likely first.
    pub(crate) rules: &'static [Rule],
    /// What else it may be; empty if nothing.
    pub(crate) elsewhere: &'static str,
}

/// Areas and files that refuse a long-term pin for writing.
const LONG: &[Rule] = &[c::C_32, c::C_16, c::C_33, c::C_27, c::C_31, c::C_52, c::C_63];
/// Memory that could not be had, or may not be locked.
const MEMORY: &[Rule] = &[c::C_80, m::M_02, c::C_52, c::C_86];
/// Areas that refuse another process or a debugger.
const REMOTE: &[Rule] = &[c::C_16, c::C_27, c::C_34, c::C_33, c::C_31, c::C_15, c::C_63, c::C_52];
/// Areas that refuse the process itself.
const OWN: &[Rule] = &[c::C_16, c::C_33, c::C_34, c::C_27, c::C_31, c::C_52, c::C_63, c::C_35];

/// What is not the pages' fault when memory is short.
const MEMLOCK: &str = "RLIMIT_MEMLOCK (ulimit -l) of that process, or CAP_IPC_LOCK without effect \
                       in its user namespace";

macro_rules! phrases {
    ($($text:literal, $by:literal, $rules:expr, $elsewhere:expr;)*) => {
        /// Every phrase.
        pub(crate) static ALL: &[Phrase] = &[$(Phrase {
            text: $text,
            by: $by,
            rules: $rules,
            elsewhere: $elsewhere,
        },)*];
    };
}

phrases! {
    "Bad address", "strerror of EFAULT: any call that pins", OWN,
        "a pointer of the call itself, such as its structure of arguments";
    "errno 14", "programs that print numbers", OWN, "";
    "Cannot allocate memory", "strerror of ENOMEM: any call that pins", MEMORY, MEMLOCK;
    "errno 12", "programs that print numbers", MEMORY, MEMLOCK;
    "Resource temporarily unavailable", "strerror of EAGAIN: mlock, io_uring",
        &[c::C_57, m::M_02], "mlock says so when a page could not be had; io_uring under load";
    "Input/output error", "strerror of EIO: /proc/PID/mem, ptrace", REMOTE,
        "proc_mem.force_override, for a forced access";
    "Operation not supported", "strerror of EOPNOTSUPP: io_uring before 6.5, files on DAX",
        &[c::C_105, c::C_106, c::C_29, c::C_30], "";
    "Function not implemented", "strerror of ENOSYS", &[c::C_109],
        "a seccomp filter (containers), or kernel.io_uring_disabled";
    "Invalid argument", "strerror of EINVAL: O_DIRECT, madvise, io_uring, VFIO",
        &[c::C_17, c::C_95, c::C_109, c::C_83],
        "alignment of address, length and file offset; an argument of the call itself";
    "Device or resource busy", "strerror of EBUSY: UFFDIO_MOVE", &[f::F_42], "";
    "Value too large for defined data type", "strerror of EOVERFLOW", &[c::C_64, c::C_65], "";
    "File exists", "strerror of EEXIST: device memory", &[c::C_20, c::C_42],
        "VFIO: the same IOVA is mapped already";
    "Interrupted system call", "strerror of EINTR", &[c::C_59, c::C_18, c::C_97], "";
    "Memory page has hardware error", "strerror of EHWPOISON", &[c::C_52], "";
    "ibv_reg_mr failed", "programs on libibverbs (RDMA)", LONG, MEMLOCK;
    "ibv_reg_mr failed: Bad address", "programs on libibverbs", LONG, "";
    "ibv_reg_mr failed: Cannot allocate memory", "programs on libibverbs", MEMORY, MEMLOCK;
    "Couldn't register MR", "perftest (ib_write_bw)", LONG, MEMLOCK;
    "Call to ibv_reg_mr failed", "NCCL", LONG, MEMLOCK;
    "failed to register address", "UCX (uct_ib_reg_mr)", LONG, MEMLOCK;
    "Please set max locked memory", "UCX", MEMORY, MEMLOCK;
    "fi_mr_reg", "libfabric", LONG, MEMLOCK;
    "VFIO_MAP_DMA failed", "QEMU, DPDK, SPDK, Cloud Hypervisor", LONG,
        "the IOMMU group, an IOVA in a reserved range, dma_entry_limit";
    "VFIO_MAP_DMA failed: Bad address", "QEMU, DPDK", LONG, "";
    "VFIO_MAP_DMA failed: Cannot allocate memory", "QEMU, DPDK", MEMORY, MEMLOCK;
    "MAP_DMA -14", "programs on VFIO that print numbers", LONG, "";
    "MAP_DMA -12", "programs on VFIO that print numbers", MEMORY, MEMLOCK;
    "vfio_dma_map", "QEMU", LONG, MEMLOCK;
    "vfio_container_dma_map", "QEMU", LONG, MEMLOCK;
    "Cannot set up DMA remapping", "DPDK", LONG, MEMLOCK;
    "vfio_pin_pages_remote: RLIMIT_MEMLOCK exceeded", "the kernel's log", MEMORY, MEMLOCK;
    "io_uring_register: Cannot allocate memory", "programs on liburing", MEMORY, MEMLOCK;
    "io_uring_register: Bad address", "programs on liburing", LONG, "";
    "io_uring_register: Operation not supported", "programs on liburing",
        &[c::C_105, c::C_106, c::C_29], "";
    "io_uring_register_buffers", "programs on liburing", LONG, MEMLOCK;
    "io_uring_setup: Function not implemented", "programs on liburing", &[c::C_109],
        "a seccomp filter, or kernel.io_uring_disabled";
    "IORING_REGISTER_BUFFERS", "programs on io_uring", LONG, MEMLOCK;
    "cudaHostRegister failed", "CUDA programs", LONG,
        "memory that is registered already, or cudaHostRegisterIoMemory for device memory";
    "cuMemHostRegister", "CUDA programs", LONG, "memory that is registered already";
    "hipHostRegister", "ROCm programs", LONG, MEMLOCK;
    "hsa_amd_memory_lock", "ROCm programs", LONG, MEMLOCK;
    "Failed to pin user pages", "drivers, in the kernel's log", LONG, MEMLOCK;
    "pin_user_pages_fast failed", "drivers, in the kernel's log", LONG, MEMLOCK;
    "pin_user_pages_longterm failed", "tt-kmd, in the kernel's log", LONG, MEMLOCK;
    "get_user_pages failed", "drivers, in the kernel's log", OWN, "";
    "spdk_mem_register", "SPDK", LONG, MEMLOCK;
    "xsk_umem__create", "programs on AF_XDP", LONG,
        "RLIMIT_MEMLOCK (ENOBUFS), CAP_NET_RAW, the size of a chunk";
    "process_vm_readv: Bad address", "debuggers, profilers, crash reporters", REMOTE, "";
    "process_vm_writev: Bad address", "debuggers, injectors", REMOTE, "";
    "process_vm_readv: Operation not permitted", "debuggers, profilers", &[],
        "no pin: the right to trace the process (kernel.yama.ptrace_scope, CAP_SYS_PTRACE)";
    "Cannot access memory at address", "gdb", REMOTE, "";
    "ptrace PEEKDATA: Input/output error", "debuggers", REMOTE, "";
    "read /proc/pid/mem: Input/output error", "debuggers, scanners", REMOTE, "";
    "mlock failed: Cannot allocate memory", "programs that lock memory", &[m::M_02, c::C_93],
        MEMLOCK;
    "mlockall", "programs that lock memory", &[m::M_02], MEMLOCK;
    "MADV_POPULATE_WRITE failed", "QEMU's memory preallocation, JVMs",
        &[c::C_17, c::C_95, c::C_63, c::C_109], "too little memory or hugetlb pages";
    "Preallocating memory failed", "QEMU", &[c::C_17, c::C_95, c::C_52],
        "too few hugetlb pages, a full tmpfs, a memory cgroup";
    "write: Bad address", "programs on O_DIRECT, pipes, sockets", OWN, "";
    "read: Bad address", "programs on O_DIRECT", OWN, "";
    "vmsplice: Bad address", "programs that splice", OWN, "";
    "futex: Bad address", "libraries on shared futexes", OWN, "";
    "fork: Cannot allocate memory", "processes with pinned memory", &[f::F_12, f::F_15],
        "vm.overcommit_memory, a memory cgroup, too many processes";
    "data corruption after fork", "RDMA and O_DIRECT programs that fork",
        &[f::F_20, f::F_10, f::F_18], "";
    "empty /proc/pid/cmdline", "ps, top", &[c::C_28], "";
    "stack guard page was skipped", "the kernel's log (GUP no longer grows the stack)", &[c::C_15],
        "";
    "core file is truncated", "gdb on a core dump", &[c::C_37, c::C_41], "RLIMIT_CORE";
}

/// The words of a text: letters, digits and underscores, in lower case.
fn words(text: &str) -> Vec<String> {
    let split = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    split.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The phrases that `text` has all words of, or that contain it; those with most words first.
pub(crate) fn found(text: &str) -> Vec<&'static Phrase> {
    let lower = text.trim().to_lowercase();
    let wanted = words(text);
    let fits = |phrase: &&Phrase| {
        let inside = lower.len() > 2 && phrase.text.to_lowercase().contains(&lower);
        inside || words(phrase.text).iter().all(|word| wanted.contains(word))
    };
    let mut found: Vec<&Phrase> =
        if wanted.is_empty() { Vec::new() } else { ALL.iter().filter(fits).collect() };
    found.sort_by_key(|phrase| std::cmp::Reverse(words(phrase.text).len()));
    found
}

#[cfg(test)]
mod tests {
    use super::{ALL, found};

    #[test]
    fn a_pasted_line_finds_who_says_it() {
        for (line, want) in [
            ("ibv_reg_mr(0x7f12, 4096) failed: Bad address", "ibv_reg_mr failed: Bad address"),
            (
                "VFIO_MAP_DMA failed: Cannot allocate memory",
                "VFIO_MAP_DMA failed: Cannot allocate memory",
            ),
            ("qemu: vfio_dma_map(0x55, 0x0, 0x8000) = -14 (Bad address)", "Bad address"),
            ("MAP_DMA -14", "MAP_DMA -14"),
            (
                "io_uring_register: cannot allocate memory",
                "io_uring_register: Cannot allocate memory",
            ),
            ("cudahostregister", "cudaHostRegister failed"),
            (
                "os error: Resource temporarily unavailable (os error 11)",
                "Resource temporarily unavailable",
            ),
        ] {
            let texts: Vec<_> = found(line).iter().map(|phrase| phrase.text).collect();
            assert!(texts.contains(&want), "{line}: {texts:?}");
        }
        assert!(found("").is_empty() && found("--").is_empty());
    }

    #[test]
    fn every_phrase_leads_somewhere() {
        for phrase in ALL {
            let leads = !phrase.rules.is_empty() || !phrase.elsewhere.is_empty();
            assert!(leads && found(phrase.text).iter().any(|other| other.text == phrase.text));
        }
    }
}
