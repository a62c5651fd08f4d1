//! What a call asks of an address and a length before it looks at memory.
//!
//! A refusal by form is `EINVAL`, or `EFAULT` of a buffer that is too long, whatever lies in the
//! range. Absent: what a file or device asks of
//! direct I/O beyond whole sectors, and where an address must lie for it: that is theirs to say.
//!
//! Linux 6.18: mm/madvise.c `do_madvise`, `io_uring/kbuf.c` `io_register_pbuf_ring`,
//! `net/xdp/xdp_umem.c` `xdp_umem_reg`, kernel/sys.c `validate_prctl_map_addr`.

use crate::consumer::Consumer;
use crate::explain::play::Span;
use gup::addr::TASK_SIZE;
use gup::errno::Errno;
use gup::gup::Stop;
use gup::rule::c;

/// Bytes in a sector.
const SECTOR: u64 = 512;
/// The smallest chunk of `AF_XDP` memory, in bytes; chunks are powers of two.
const CHUNK: u64 = 2048;
/// The longest buffer of `io_uring`, in bytes.
pub(crate) const LONGEST_BUFFER: u64 = 1 << 30;
/// Bytes of one entry of a provided-buffer ring.
const BUFFER_ENTRY: u64 = 16;

/// What `consumer` asks of an address and a length, where it asks anything.
pub(super) const fn asks(consumer: Consumer) -> Option<&'static str> {
    match consumer {
        Consumer::MadvisePopulateRead | Consumer::MadvisePopulateWrite => {
            Some("the address is to be the first of a page")
        }
        Consumer::IoUringBuffer => Some("one buffer has at most 1 GiB: register several"),
        Consumer::IoUringPbuf => {
            Some("the ring is to begin with a page and to have entries of 16 bytes")
        }
        Consumer::XdpUmem => {
            Some("the memory is to begin with a page and to have chunks of 2048 bytes")
        }
        Consumer::Vfio => Some("address and length are to be in whole pages"),
        Consumer::ODirectRead | Consumer::ODirectWrite => {
            Some("the length is to be in whole sectors of 512 bytes")
        }
        Consumer::ProcCmdline => Some("the text of a process lies in user space"),
        Consumer::ProcessVmReadv
        | Consumer::ProcessVmWritev
        | Consumer::ProcMemRead
        | Consumer::ProcMemWrite
        | Consumer::PtracePeek
        | Consumer::PtracePoke
        | Consumer::Mlock
        | Consumer::MlockOnfault
        | Consumer::Vmsplice
        | Consumer::GetMempolicy
        | Consumer::Futex
        | Consumer::Rdma
        | Consumer::RdmaReadonly
        | Consumer::Kvm
        | Consumer::Uprobe
        | Consumer::Coredump => None,
    }
}

/// The refusal of `consumer` to hear about `span` at all; the lowest address that a process may map
/// is `lowest`.
pub(super) fn refusal(consumer: Consumer, span: Span, lowest: u64) -> Option<Stop> {
    let at_page = span.start.is_multiple_of(4096);
    if consumer == Consumer::IoUringBuffer {
        return (span.len > LONGEST_BUFFER).then_some(Stop::with(c::C_101, Errno::EFAULT));
    }
    let (rule, fits) = match consumer {
        Consumer::MadvisePopulateRead | Consumer::MadvisePopulateWrite => (c::C_95, at_page),
        Consumer::IoUringPbuf => (c::C_101, at_page && span.len.is_multiple_of(BUFFER_ENTRY)),
        Consumer::XdpUmem => (c::C_101, at_page && span.len.is_multiple_of(CHUNK)),
        Consumer::Vfio => (c::C_101, at_page && span.len.is_multiple_of(4096)),
        Consumer::ODirectRead | Consumer::ODirectWrite => {
            (c::C_101, span.len.is_multiple_of(SECTOR))
        }
        Consumer::ProcCmdline => {
            // The text of a process lies in user space, and not at its beginning.
            let inside = |addr| (lowest..TASK_SIZE).contains(&addr);
            (c::C_16, inside(span.start) && inside(span.start.saturating_add(span.len)))
        }
        Consumer::ProcessVmReadv
        | Consumer::ProcessVmWritev
        | Consumer::ProcMemRead
        | Consumer::ProcMemWrite
        | Consumer::PtracePeek
        | Consumer::PtracePoke
        | Consumer::Mlock
        | Consumer::MlockOnfault
        | Consumer::Vmsplice
        | Consumer::GetMempolicy
        | Consumer::Futex
        | Consumer::IoUringBuffer
        | Consumer::Rdma
        | Consumer::RdmaReadonly
        | Consumer::Kvm
        | Consumer::Uprobe
        | Consumer::Coredump => return None,
    };
    (!fits).then_some(Stop::with(rule, Errno::EINVAL))
}
