//! What a failed call asked for: which ranges of whose memory, pinned as which consumer does.
//!
//! Some calls have no range (`mlockall`), some name memory that nothing is pinned of (KVM's slots);
//! for those the *advice* says where else to look. A range without a consumer is one that gup has
//! no rules for.
//!
//! Absent: reasons. Why a range is refused is the verdict's (`gup_mirror::explain`).

use crate::calls::memory::Memory;
use crate::calls::table::Kind;
use crate::calls::{ioctls, rings};
use gup_mirror::consumer::Consumer;

/// One range that a call asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The process whose memory it is; `None` for the caller's own.
    pub pid: Option<u32>,
    /// Who pins it.
    pub consumer: Consumer,
    /// First byte address.
    pub start: u64,
    /// Length in bytes; not 0.
    pub len: u64,
}

/// What a failed call asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its ranges, in the order in which the kernel goes through them; those of length 0 left out.
    pub ranges: Vec<Range>,
    /// Where else to look.
    pub advice: Vec<&'static str>,
}

impl Asked {
    /// One range of the caller's memory.
    pub(crate) fn range(consumer: Consumer, start: u64, len: u64) -> Self {
        Self::vectors(consumer, None, vec![(start, len)])
    }

    /// The same, of an address and a length that may not have been readable.
    pub(crate) fn found(consumer: Consumer, range: Option<(u64, u64)>) -> Self {
        let unread = Self::advice("the structure that the call points to: it cannot be read");
        range.map_or(unread, |(start, len)| Self::range(consumer, start, len))
    }

    /// These ranges of the memory of `pid`.
    pub(crate) fn vectors(consumer: Consumer, pid: Option<u32>, all: Vec<(u64, u64)>) -> Self {
        let ranges = all.into_iter().filter(|(_, len)| *len != 0);
        let range = |(start, len)| Range { pid, consumer, start, len };
        Self { ranges: ranges.map(range).collect(), advice: Vec::new() }
    }

    /// No range: only advice.
    pub(crate) fn advice(advice: &'static str) -> Self {
        Self { ranges: Vec::new(), advice: vec![advice] }
    }

    /// With this advice besides.
    pub(crate) fn and(mut self, advice: &'static str) -> Self {
        self.advice.push(advice);
        self
    }
}

/// What a call of `kind` with `args` asked for; `None` if it is none of those that pin after all.
pub fn asked(kind: Kind, args: &[u64; 6], memory: &impl Memory) -> Option<Asked> {
    let [first, second, third, fourth, fifth, _] = *args;
    let advice = Asked::advice;
    Some(match kind {
        Kind::RemoteRead => remote(Consumer::ProcessVmReadv, args, memory),
        Kind::RemoteWrite => remote(Consumer::ProcessVmWritev, args, memory),
        Kind::Peek => word(Consumer::PtracePeek, second, third),
        Kind::Poke => word(Consumer::PtracePoke, second, third),
        Kind::LockFlagged if third & 1 == 1 => Asked::range(Consumer::MlockOnfault, first, second),
        Kind::Lock | Kind::LockFlagged => Asked::range(Consumer::Mlock, first, second),
        Kind::LockWithoutRange => {
            advice("RLIMIT_MEMLOCK: it counts all that the process has mapped or is mapping")
        }
        Kind::PopulateRead => Asked::range(Consumer::MadvisePopulateRead, first, second)
            .and("whether the kernel has MADV_POPULATE_READ (5.14), and the address's alignment"),
        Kind::PopulateWrite => Asked::range(Consumer::MadvisePopulateWrite, first, second)
            .and("whether the kernel has MADV_POPULATE_WRITE (5.14), and the address's alignment"),
        Kind::Splice => Asked::vectors(Consumer::Vmsplice, None, memory.vectors(second, third)),
        Kind::Policy => Asked::range(Consumer::GetMempolicy, fourth, 1),
        Kind::Futex => Asked::range(Consumer::Futex, first, 4),
        Kind::FutexPair => Asked::vectors(Consumer::Futex, None, vec![(first, 4), (fifth, 4)]),
        Kind::Send => zerocopy(vec![(second, third)]),
        Kind::SendMessage => zerocopy(message(second, memory)),
        Kind::RingBuffers => rings::buffers(memory.vectors(third, fourth)),
        Kind::RingBuffers2 => rings::buffers2(third, memory),
        Kind::RingBuffersUpdate => rings::update(third, memory),
        Kind::RingProvided => rings::provided(third, memory),
        Kind::RingRegion => rings::region(third, memory),
        Kind::RingSetup => rings::setup(first, second, memory),
        Kind::Umem => Asked::found(Consumer::XdpUmem, pair(fourth, memory)),
        Kind::ReceiveMap => advice(
            "nothing is pinned here: the address must lie in a mapping of this socket (mmap of \
             its descriptor), and the length be whole pages",
        ),
        Kind::VfioMap => ioctls::vfio(third, memory),
        Kind::IommufdMap => ioctls::iommufd(third, memory),
        Kind::KvmSlot => ioctls::kvm_slot(third, memory),
        Kind::KvmEncrypted => ioctls::kvm_encrypted(third, memory),
        Kind::Udmabuf => advice(
            "a memfd is pinned, not a range of addresses: it needs F_SEAL_SHRINK and no \
             F_SEAL_WRITE, whole pages, and /sys/module/udmabuf/parameters/size_limit_mb",
        ),
        Kind::Verbs => ioctls::verbs(third, memory)?,
        Kind::VerbsWrite => ioctls::verbs_written(second, memory)?,
        Kind::DirectRead => Asked::range(Consumer::ODirectRead, second, third),
        Kind::DirectWrite => Asked::range(Consumer::ODirectWrite, second, third),
        Kind::DirectReadVector => {
            Asked::vectors(Consumer::ODirectRead, None, memory.vectors(second, third))
        }
        Kind::DirectWriteVector => {
            Asked::vectors(Consumer::ODirectWrite, None, memory.vectors(second, third))
        }
        Kind::Completions | Kind::Watched | Kind::Closing => return None,
    })
}

/// The remote side of `process_vm_readv` and `process_vm_writev`.
fn remote(consumer: Consumer, args: &[u64; 6], memory: &impl Memory) -> Asked {
    let [pid, _, _, vectors, count, _] = *args;
    Asked::vectors(consumer, u32::try_from(pid & 0xffff_ffff).ok(), memory.vectors(vectors, count))
        .and("the local buffers: they are copied to and from as any memory, not pinned")
}

/// How many bytes `process_vm_readv` or `process_vm_writev` moves at most.
pub fn remote_bytes(args: &[u64; 6], memory: &impl Memory) -> u64 {
    let total = |addr, count| {
        memory.vectors(addr, count).iter().fold(0_u64, |sum, (_, len)| sum.saturating_add(*len))
    };
    total(args[1], args[2]).min(total(args[3], args[4]))
}

fn word(consumer: Consumer, pid: u64, addr: u64) -> Asked {
    Asked::vectors(consumer, u32::try_from(pid & 0xffff_ffff).ok(), vec![(addr, 8)])
}

/// What a send without copying asks for: the pages are got as vmsplice gets them.
fn zerocopy(ranges: Vec<(u64, u64)>) -> Asked {
    Asked::vectors(Consumer::Vmsplice, None, ranges)
        .and("net.core.optmem_max, which the notifications of MSG_ZEROCOPY count against")
        .and("RLIMIT_MEMLOCK, which pages that are being sent count against")
}

/// The buffers of the `struct msghdr` at `addr`.
fn message(addr: u64, memory: &impl Memory) -> Vec<(u64, u64)> {
    let field = |offset| memory.long(addr.wrapping_add(offset));
    let (Some(vectors), Some(count)) = (field(16), field(24)) else { return Vec::new() };
    memory.vectors(vectors, count)
}

/// Two longs that follow one another: an address and a length.
pub(crate) fn pair(addr: u64, memory: &impl Memory) -> Option<(u64, u64)> {
    Some((memory.long(addr)?, memory.long(addr.checked_add(8)?)?))
}
