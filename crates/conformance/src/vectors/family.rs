//! The entry points that vectors are about.

/// Declares the entry points: variant, name, fewest and most arguments.
macro_rules! entries {
    ($($variant:ident $name:literal $fewest:literal $most:literal,)*) => {
        /// An entry point.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Entry { $($variant,)* }

        impl Entry {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
            /// Whether it can be given so many arguments.
            pub(super) fn takes(self, count: usize) -> bool {
                match self { $(Self::$variant => ($fewest..=$most).contains(&count),)* }
            }
        }
    };
}

entries! {
    Mmap "mmap" 6 6,
    Munmap "munmap" 2 2,
    Mprotect "mprotect" 3 3,
    Mremap "mremap" 5 5,
    Madvise "madvise" 3 3,
    Mlock "mlock" 2 2,
    Mlock2 "mlock2" 3 3,
    Munlock "munlock" 2 2,
    Mlockall "mlockall" 1 1,
    Mseal "mseal" 3 3,
    Mincore "mincore" 2 2,
    Load "load" 1 1,
    Store "store" 1 1,
    CopyToUser "copy_to_user" 2 2,
    CopyFromUser "copy_from_user" 2 2,
    VmReadv "process_vm_readv" 3 33,
    VmWritev "process_vm_writev" 3 33,
    MemRead "proc_mem_read" 2 2,
    MemWrite "proc_mem_write" 2 2,
    Peek "ptrace_peek" 1 1,
    Poke "ptrace_poke" 1 1,
    Vmsplice "vmsplice" 3 33,
    DirectWrite "o_direct_write" 2 2,
    DirectRead "o_direct_read" 2 2,
    RingBuffer "io_uring_register_buffers" 2 2,
    FutexWake "futex_wake" 1 1,
    Mempolicy "get_mempolicy" 2 2,
    MovePages "move_pages" 1 16,
    SecretFd "memfd_secret" 1 1,
    UffdRegister "uffdio_register" 3 3,
    UffdUnregister "uffdio_unregister" 2 2,
    UffdCopy "uffdio_copy" 4 4,
    UffdZeropage "uffdio_zeropage" 3 3,
    UffdProtect "uffdio_writeprotect" 3 3,
    UffdMove "uffdio_move" 4 4,
}

impl Entry {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|entry| entry.name() == name)
    }
}
