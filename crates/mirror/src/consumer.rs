//! Consumers: the system calls and drivers that pin, by the names that `--as` takes.
//!
//! A consumer stands for the GUP call that it makes in Linux 6.18: the entry point, the flags, and
//! how its own answer comes from GUP's. What the pin then decides is the engine's business.
//!
//! Absent: asking the kernel (`gup_conformance::ask`), and any reason for a refusal.

use gup::flags::Foll;

/// The GUP entry point that a consumer calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// `get_user_pages_fast` or `pin_user_pages_fast`: lockless first, by the process itself.
    Fast,
    /// `pin_user_pages`: by the process itself, keeps the lock.
    Slow,
    /// `pin_user_pages_remote`: another process's memory, may drop the lock.
    Remote,
    /// `access_remote_vm`: page by page, keeps the lock, grows stacks.
    Access,
    /// `faultin_page_range` of `MADV_POPULATE_READ` and `_WRITE`: no pages are handed out.
    Populate,
    /// `__mm_populate` after the areas were marked as locked: no pages are handed out.
    Mlock,
    /// `get_dump_page`: page by page.
    Dump,
}

/// How the caller's answer comes from GUP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answers {
    /// The bytes before the page that failed; an errno if that is the first one.
    Bytes,
    /// 0 when every page was obtained, or an errno.
    All,
    /// All bytes when every page was obtained, or an errno.
    AllBytes,
    /// One call per page (or word); what is counted is the pages that worked.
    PerPage,
    /// 0 or an errno.
    Status,
}

macro_rules! consumers {
    ($(
        $variant:ident $name:literal $entry:ident $answers:ident [$($flag:ident)*]
        $measured:literal $line:literal,
    )*) => {
        /// A system call or driver that pins.
        #[allow(clippy::doc_markdown, reason = "the lines are also printed to terminals")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Consumer { $(
            #[doc = $line]
            $variant,
        )* }

        impl Consumer {
            /// Every consumer.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that `--as` takes.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is, for a person.
            pub const fn line(self) -> &'static str {
                match self { $(Self::$variant => $line,)* }
            }

            /// The entry point that it calls.
            pub const fn entry(self) -> Entry {
                match self { $(Self::$variant => Entry::$entry,)* }
            }

            /// How its answer comes from GUP's.
            pub const fn answers(self) -> Answers {
                match self { $(Self::$variant => Answers::$answers,)* }
            }

            /// The flags that reach GUP, without those that only the entry point adds.
            pub const fn flags(self) -> Foll {
                match self { $(Self::$variant => Foll::empty()$(.union(Foll::$flag))*,)* }
            }

            /// Whether bytes are moved, by a call that moves at most 2 GiB less a page.
            pub(crate) const fn moves_bytes(self) -> bool {
                matches!(self.answers(), Answers::Bytes | Answers::AllBytes)
            }

            /// Whether its rows were measured on a running kernel; else its flags were read from
            /// source.
            pub const fn measured(self) -> bool {
                match self { $(Self::$variant => $measured,)* }
            }
        }
    };
}

consumers! {
    ProcessVmReadv "process_vm_readv" Remote Bytes [PIN REMOTE] true
        "process_vm_readv(2) by another process",
    ProcessVmWritev "process_vm_writev" Remote Bytes [PIN REMOTE WRITE] true
        "process_vm_writev(2) by another process",
    ProcMemRead "proc-mem-read" Access Bytes [GET REMOTE FORCE] true
        "a read of /proc/PID/mem",
    ProcMemWrite "proc-mem-write" Access Bytes [GET REMOTE FORCE WRITE] true
        "a write of /proc/PID/mem",
    PtracePeek "ptrace-peek" Access PerPage [GET REMOTE FORCE] true
        "PTRACE_PEEKDATA, one word per page",
    PtracePoke "ptrace-poke" Access PerPage [GET REMOTE FORCE WRITE] true
        "PTRACE_POKEDATA, one word per page",
    ProcCmdline "proc-cmdline" Access Bytes [GET REMOTE ANON] true
        "a read of /proc/PID/cmdline or environ",
    MadvisePopulateRead "madvise-populate-read" Populate Status [] true
        "madvise(MADV_POPULATE_READ)",
    MadvisePopulateWrite "madvise-populate-write" Populate Status [WRITE] true
        "madvise(MADV_POPULATE_WRITE)",
    Mlock "mlock" Mlock Status [] true
        "mlock(2)",
    MlockOnfault "mlock-onfault" Mlock Status [] true
        "mlock2(2) with MLOCK_ONFAULT",
    Vmsplice "vmsplice" Fast Bytes [GET] true
        "vmsplice(2) into a pipe",
    GetMempolicy "get-mempolicy" Fast PerPage [GET] true
        "get_mempolicy(2) with MPOL_F_ADDR, one call per page",
    Futex "futex" Fast PerPage [GET WRITE] true
        "a shared FUTEX_WAKE, one call per page",
    ODirectWrite "o-direct-write" Fast AllBytes [PIN] true
        "write(2) from the range to a file opened O_DIRECT",
    ODirectRead "o-direct-read" Fast AllBytes [PIN WRITE] true
        "read(2) into the range from a file opened O_DIRECT",
    IoUringBuffer "io-uring-buffer" Fast All [PIN WRITE LONGTERM] true
        "registration of an io_uring buffer",
    IoUringPbuf "io-uring-pbuf" Fast All [PIN WRITE LONGTERM] true
        "registration of an io_uring provided-buffer ring",
    XdpUmem "xdp-umem" Slow All [PIN WRITE LONGTERM] true
        "registration of AF_XDP memory",
    Rdma "rdma" Fast All [PIN WRITE LONGTERM] false
        "ibv_reg_mr with local write access",
    RdmaReadonly "rdma-readonly" Fast All [PIN LONGTERM] false
        "ibv_reg_mr without write access",
    Vfio "vfio" Remote All [PIN WRITE LONGTERM] false
        "a VFIO DMA map, readable and writable",
    Kvm "kvm" Fast PerPage [GET WRITE] false
        "a guest of KVM that writes to its memory, one fault per page",
    Uprobe "uprobe" Access PerPage [GET REMOTE FORCE WRITE SPLIT_PMD] true
        "a uprobe on each page, as perf and bpftrace set them",
    Coredump "coredump" Dump PerPage [GET FORCE DUMP] false
        "a core dump; pages that it cannot have are written as holes",
}

impl Consumer {
    /// The consumer with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|consumer| consumer.name() == name)
    }

    /// Whether nothing stays pinned when one page is refused.
    pub const fn all_or_nothing(self) -> bool {
        matches!(self.answers(), Answers::All | Answers::AllBytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Consumer;
    use gup::flags::Foll;

    #[test]
    fn every_consumer_is_found_by_its_name() {
        for &consumer in Consumer::ALL {
            assert_eq!(Consumer::from_name(consumer.name()), Some(consumer));
        }
    }

    #[test]
    fn no_consumer_both_gets_and_pins_and_long_term_needs_a_pin() {
        for consumer in Consumer::ALL {
            let flags = consumer.flags();
            assert!(!flags.contains(Foll::GET | Foll::PIN), "{}", consumer.name());
            assert!(!flags.contains(Foll::LONGTERM) || flags.contains(Foll::PIN));
        }
    }
}
