//! The table of calls that pin: by number and by what the filter can see of their arguments.
//!
//! A *row* is one call, or one request of `ioctl` and its like. Its *conditions* are all on the
//! low 32 bits of an argument, so that a BPF filter in the kernel can decide them: calls that meet
//! none never stop. Reads and writes pin only on a file opened `O_DIRECT`, which no filter sees:
//! they are rows of their own, used in processes that were seen to open one
//! ([`Kind::Watched`]).
//!
//! Absent: what the arguments point to ([`super::decode`]).
//!
//! Linux 6.18: the consumers of `gup_mirror::consumer`; `include/uapi/linux/{io_uring,vfio,iommufd,
//! kvm,udmabuf,if_xdp,tcp}.h`, `include/uapi/rdma/`.

use libc::{O_DIRECT, c_long};

/// What the low half of an argument must be for a row to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Exactly this.
    Is(u8, u32),
    /// With at least one of these bits.
    HasOneOf(u8, u32),
    /// With none of these bits.
    HasNoneOf(u8, u32),
    /// This, when only the bits of the mask are looked at: argument, mask, value.
    Masked(u8, u32, u32),
}

impl Condition {
    /// Whether it holds of `args`.
    pub fn holds(self, args: &[u64; 6]) -> bool {
        let low = |arg: u8| args.get(usize::from(arg)).map_or(0, |arg| *arg as u32);
        match self {
            Self::Is(arg, value) => low(arg) == value,
            Self::HasOneOf(arg, bits) => low(arg) & bits != 0,
            Self::HasNoneOf(arg, bits) => low(arg) & bits == 0,
            Self::Masked(arg, mask, value) => low(arg) & mask == value,
        }
    }
}

/// What a call does with memory, and so how its arguments are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `process_vm_readv`.
    RemoteRead,
    /// `process_vm_writev`.
    RemoteWrite,
    /// `ptrace` that reads a word.
    Peek,
    /// `ptrace` that writes a word.
    Poke,
    /// `mlock`.
    Lock,
    /// `mlock2`, whose flags say whether pages are brought.
    LockFlagged,
    /// `mlockall`, or `mmap` of memory that is locked at once: no range that exists.
    LockWithoutRange,
    /// `madvise(MADV_POPULATE_READ)`.
    PopulateRead,
    /// `madvise(MADV_POPULATE_WRITE)`.
    PopulateWrite,
    /// `vmsplice`.
    Splice,
    /// `get_mempolicy` with an address.
    Policy,
    /// `futex` on a word that processes may share.
    Futex,
    /// `futex` on two such words.
    FutexPair,
    /// `send` or `sendto` with `MSG_ZEROCOPY`.
    Send,
    /// `sendmsg` or the first of `sendmmsg` with `MSG_ZEROCOPY`.
    SendMessage,
    /// Registration of `io_uring`'s buffers: an array of iovecs.
    RingBuffers,
    /// The same, behind `struct io_uring_rsrc_register`.
    RingBuffers2,
    /// The same, behind `struct io_uring_rsrc_update2`.
    RingBuffersUpdate,
    /// Registration of a ring of provided buffers.
    RingProvided,
    /// Registration of a memory region.
    RingRegion,
    /// `io_uring_setup` with rings in the caller's memory.
    RingSetup,
    /// `setsockopt(XDP_UMEM_REG)`.
    Umem,
    /// `getsockopt(TCP_ZEROCOPY_RECEIVE)`.
    ReceiveMap,
    /// `VFIO_IOMMU_MAP_DMA`.
    VfioMap,
    /// `IOMMU_IOAS_MAP`.
    IommufdMap,
    /// `KVM_SET_USER_MEMORY_REGION` and its second form.
    KvmSlot,
    /// `KVM_MEMORY_ENCRYPT_REG_REGION`.
    KvmEncrypted,
    /// `UDMABUF_CREATE`, `UDMABUF_CREATE_LIST`.
    Udmabuf,
    /// An ioctl of verbs.
    Verbs,
    /// A command of verbs that is written.
    VerbsWrite,
    /// `read` and `pread` of a file opened `O_DIRECT`.
    DirectRead,
    /// `write` and `pwrite` to one.
    DirectWrite,
    /// `readv`, `preadv`, `preadv2` of one.
    DirectReadVector,
    /// `writev`, `pwritev`, `pwritev2` to one.
    DirectWriteVector,
    /// `io_getevents`: what became of reads and writes that were submitted before.
    Completions,
    /// A call that may make a file `O_DIRECT`: watched for its success.
    Watched,
    /// A call that may close the last such file.
    Closing,
}

/// One call that pins, or one request of it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its number.
    pub number: c_long,
    /// Its name.
    pub name: &'static str,
    /// How many arguments it has.
    pub arity: u8,
    /// The name of the request that one of its arguments is, and which one.
    pub request: Option<(u8, &'static str)>,
    /// What must all hold of its arguments.
    pub when: &'static [Condition],
    /// What it does.
    pub kind: Kind,
}

impl Row {
    /// Whether a call is this one.
    pub fn is(&self, number: u64, args: &[u64; 6]) -> bool {
        u64::try_from(self.number) == Ok(number)
            && self.when.iter().all(|condition| condition.holds(args))
    }
}

macro_rules! row {
    ($number:ident $name:literal $arity:literal $kind:ident [$($when:expr),*]) => {
        Row {
            number: libc::$number, name: $name, arity: $arity, request: None,
            when: &[$($when),*], kind: Kind::$kind,
        }
    };
    (
        $number:ident $name:literal $arity:literal $kind:ident [$($when:expr),*]
        $at:literal $request:literal
    ) => {
        Row {
            number: libc::$number, name: $name, arity: $arity, request: Some(($at, $request)),
            when: &[$($when),*], kind: Kind::$kind,
        }
    };
}

use Condition::{HasNoneOf, HasOneOf, Is, Masked};

const DIRECT: u32 = O_DIRECT.cast_unsigned();
const ZEROCOPY: u32 = libc::MSG_ZEROCOPY.cast_unsigned();
/// `FUTEX_PRIVATE_FLAG`: the key is the address, and nothing is pinned.
const PRIVATE: u32 = 128;
const FUTEX_COMMAND: u32 = !(PRIVATE | 256);
/// An opcode of `io_uring_register`, without the bit for a registered ring.
const OPCODE: u32 = 0x7fff_ffff;

/// What the filter stops. Calls that programs make often are first.
pub static FILTERED: &[Row] = &[
    row!(SYS_futex "futex" 6 FutexPair [HasNoneOf(1, PRIVATE), Masked(1, FUTEX_COMMAND, 3)]),
    row!(SYS_futex "futex" 6 FutexPair [HasNoneOf(1, PRIVATE), Masked(1, FUTEX_COMMAND, 4)]),
    row!(SYS_futex "futex" 6 FutexPair [HasNoneOf(1, PRIVATE), Masked(1, FUTEX_COMMAND, 5)]),
    row!(SYS_futex "futex" 6 FutexPair [HasNoneOf(1, PRIVATE), Masked(1, FUTEX_COMMAND, 12)]),
    row!(SYS_futex "futex" 6 Futex [HasNoneOf(1, PRIVATE)]),
    row!(SYS_openat "openat" 4 Watched [HasOneOf(2, DIRECT)]),
    #[cfg(target_arch = "x86_64")]
    row!(SYS_open "open" 3 Watched [HasOneOf(1, DIRECT)]),
    row!(SYS_fcntl "fcntl" 3 Watched [Is(1, 4), HasOneOf(2, DIRECT)]),
    row!(SYS_openat2 "openat2" 4 Watched []),
    row!(SYS_open_by_handle_at "open_by_handle_at" 3 Watched [HasOneOf(2, DIRECT)]),
    row!(SYS_madvise "madvise" 3 PopulateRead [Is(2, 22)] 2 "MADV_POPULATE_READ"),
    row!(SYS_madvise "madvise" 3 PopulateWrite [Is(2, 23)] 2 "MADV_POPULATE_WRITE"),
    row!(SYS_mmap "mmap" 6 LockWithoutRange [HasOneOf(3, libc::MAP_LOCKED.cast_unsigned())]),
    row!(SYS_ioctl "ioctl" 3 VfioMap [Is(1, 0x3b71)] 1 "VFIO_IOMMU_MAP_DMA"),
    row!(SYS_ioctl "ioctl" 3 IommufdMap [Is(1, 0x3b85)] 1 "IOMMU_IOAS_MAP"),
    row!(SYS_ioctl "ioctl" 3 KvmSlot [Is(1, 0x4020_ae46)] 1 "KVM_SET_USER_MEMORY_REGION"),
    row!(SYS_ioctl "ioctl" 3 KvmSlot [Is(1, 0x40a0_ae49)] 1 "KVM_SET_USER_MEMORY_REGION2"),
    row!(SYS_ioctl "ioctl" 3 KvmEncrypted [Is(1, 0x8010_aebb)] 1 "KVM_MEMORY_ENCRYPT_REG_REGION"),
    row!(SYS_ioctl "ioctl" 3 Udmabuf [Is(1, 0x4018_7542)] 1 "UDMABUF_CREATE"),
    row!(SYS_ioctl "ioctl" 3 Udmabuf [Is(1, 0x4008_7543)] 1 "UDMABUF_CREATE_LIST"),
    row!(SYS_ioctl "ioctl" 3 Verbs [Is(1, 0xc018_1b01)] 1 "RDMA_VERBS_IOCTL"),
    row!(SYS_sendto "sendto" 6 Send [HasOneOf(3, ZEROCOPY)]),
    row!(SYS_sendmsg "sendmsg" 3 SendMessage [HasOneOf(2, ZEROCOPY)]),
    row!(SYS_sendmmsg "sendmmsg" 4 SendMessage [HasOneOf(3, ZEROCOPY)]),
    row!(SYS_setsockopt "setsockopt" 5 Umem [Is(1, 283), Is(2, 4)] 2 "XDP_UMEM_REG"),
    row!(SYS_getsockopt "getsockopt" 5 ReceiveMap [Is(1, 6), Is(2, 35)] 2 "TCP_ZEROCOPY_RECEIVE"),
    row!(SYS_process_vm_readv "process_vm_readv" 6 RemoteRead []),
    row!(SYS_process_vm_writev "process_vm_writev" 6 RemoteWrite []),
    row!(SYS_mlock "mlock" 2 Lock []),
    row!(SYS_mlock2 "mlock2" 3 LockFlagged []),
    row!(SYS_mlockall "mlockall" 1 LockWithoutRange []),
    row!(SYS_vmsplice "vmsplice" 4 Splice []),
    row!(SYS_get_mempolicy "get_mempolicy" 5 Policy [HasOneOf(4, 2)]),
    row!(SYS_ptrace "ptrace" 4 Peek [Is(0, 1)] 0 "PTRACE_PEEKTEXT"),
    row!(SYS_ptrace "ptrace" 4 Peek [Is(0, 2)] 0 "PTRACE_PEEKDATA"),
    row!(SYS_ptrace "ptrace" 4 Poke [Is(0, 4)] 0 "PTRACE_POKETEXT"),
    row!(SYS_ptrace "ptrace" 4 Poke [Is(0, 5)] 0 "PTRACE_POKEDATA"),
    row!(SYS_io_uring_setup "io_uring_setup" 2 RingSetup []),
    row!(SYS_io_uring_register "io_uring_register" 4 RingBuffers [Masked(1, OPCODE, 0)]
        1 "IORING_REGISTER_BUFFERS"),
    row!(SYS_io_uring_register "io_uring_register" 4 RingBuffers2 [Masked(1, OPCODE, 15)]
        1 "IORING_REGISTER_BUFFERS2"),
    row!(SYS_io_uring_register "io_uring_register" 4 RingBuffersUpdate [Masked(1, OPCODE, 16)]
        1 "IORING_REGISTER_BUFFERS_UPDATE"),
    row!(SYS_io_uring_register "io_uring_register" 4 RingProvided [Masked(1, OPCODE, 22)]
        1 "IORING_REGISTER_PBUF_RING"),
    row!(SYS_io_uring_register "io_uring_register" 4 RingRegion [Masked(1, OPCODE, 34)]
        1 "IORING_REGISTER_MEM_REGION"),
];

/// What is looked at besides in a process that has a file opened `O_DIRECT`, where every call
/// stops.
pub static CALL_BY_CALL: &[Row] = &[
    row!(SYS_read "read" 3 DirectRead []),
    row!(SYS_pread64 "pread64" 4 DirectRead []),
    row!(SYS_write "write" 3 DirectWrite []),
    row!(SYS_pwrite64 "pwrite64" 4 DirectWrite []),
    row!(SYS_readv "readv" 3 DirectReadVector []),
    row!(SYS_preadv "preadv" 5 DirectReadVector []),
    row!(SYS_preadv2 "preadv2" 6 DirectReadVector []),
    row!(SYS_writev "writev" 3 DirectWriteVector []),
    row!(SYS_pwritev "pwritev" 5 DirectWriteVector []),
    row!(SYS_pwritev2 "pwritev2" 6 DirectWriteVector []),
    row!(SYS_io_getevents "io_getevents" 5 Completions []),
    row!(SYS_close "close" 1 Closing []),
    row!(SYS_close_range "close_range" 3 Closing []),
];

/// What is filtered besides where the machine has verbs devices: a registration by `write` has
/// this length.
pub static VERBS_WRITTEN: &[Row] = &[row!(SYS_write "write" 3 VerbsWrite [Is(2, 48)])];

/// The row of a call among `rows`.
pub fn find(rows: &[&'static Row], number: u64, args: &[u64; 6]) -> Option<&'static Row> {
    rows.iter().copied().find(|row| row.is(number, args))
}
