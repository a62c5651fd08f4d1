//! What the registrations of `io_uring` ask for.
//!
//! Linux 6.18: `include/uapi/linux/io_uring.h`, `io_uring/{rsrc,kbuf,memmap,register}.c`.

use crate::calls::decode::Asked;
use crate::calls::memory::Memory;
use gup_mirror::consumer::Consumer;

/// `IORING_REGISTER_BUFFERS`; an iovec without an address leaves its slot empty.
pub(crate) fn buffers(vectors: Vec<(u64, u64)>) -> Asked {
    let vectors = vectors.into_iter().filter(|(start, _)| *start != 0).collect();
    Asked::vectors(Consumer::IoUringBuffer, None, vectors)
        .and("whether the ring has registered buffers already (EBUSY)")
        .and("a buffer of more than 1 GiB, or of length 0 with an address (EFAULT)")
}

/// `IORING_REGISTER_BUFFERS2`: `struct io_uring_rsrc_register` at `addr`.
pub(crate) fn buffers2(addr: u64, memory: &impl Memory) -> Asked {
    let read = || Some((memory.word(addr)?, memory.long(addr.checked_add(16)?)?));
    vectors_of(read(), memory)
}

/// `IORING_REGISTER_BUFFERS_UPDATE`: `struct io_uring_rsrc_update2` at `addr`.
pub(crate) fn update(addr: u64, memory: &impl Memory) -> Asked {
    let read = || Some((memory.word(addr.checked_add(24)?)?, memory.long(addr.checked_add(8)?)?));
    vectors_of(read(), memory).and("whether the ring has a table of buffers that is large enough")
}

fn vectors_of(found: Option<(u32, u64)>, memory: &impl Memory) -> Asked {
    match found {
        Some((count, data)) => buffers(memory.vectors(data, count.into())),
        None => Asked::found(Consumer::IoUringBuffer, None),
    }
}

/// `IORING_REGISTER_PBUF_RING`: `struct io_uring_buf_reg` at `addr`; entries have 16 bytes.
pub(crate) fn provided(addr: u64, memory: &impl Memory) -> Asked {
    const IN_KERNEL: u64 = 1;
    let read = || Some((memory.long(addr)?, memory.long(addr.checked_add(8)?)?));
    let Some((ring, rest)) = read() else { return Asked::found(Consumer::IoUringPbuf, None) };
    // Entries are the low 32 bits; group and flags follow.
    if rest >> 48 & IN_KERNEL != 0 {
        return Asked::advice("the kernel makes the memory of this ring: nothing is pinned");
    }
    Asked::range(Consumer::IoUringPbuf, ring, (rest & 0xffff_ffff) * 16)
        .and("whether the group exists already (EEXIST), and that entries are a power of two")
}

/// `IORING_REGISTER_MEM_REGION`: a description of a region, behind the structure at `addr`.
pub(crate) fn region(addr: u64, memory: &impl Memory) -> Asked {
    let read = || {
        let region = memory.long(addr)?;
        Some((memory.long(region)?, memory.long(region.checked_add(8)?)?))
    };
    Asked::found(Consumer::IoUringPbuf, read())
        .and("whether the ring has a region already, and is disabled still (EINVAL)")
}

/// `io_uring_setup`: with `IORING_SETUP_NO_MMAP` the rings and the submission entries are the
/// caller's; else the kernel makes them, and some kernels count them as locked.
pub(crate) fn setup(entries: u64, addr: u64, memory: &impl Memory) -> Asked {
    const NO_MMAP: u32 = 1 << 14;
    const SUBMISSION: u64 = 40 + 32;
    const COMPLETION: u64 = 80 + 32;
    let read = || {
        let flags = memory.word(addr.checked_add(8)?)?;
        let entries_at = memory.long(addr.checked_add(SUBMISSION)?)?;
        Some((flags, entries_at, memory.long(addr.checked_add(COMPLETION)?)?))
    };
    let asked = match read() {
        Some((flags, entries_at, ring_at)) if flags & NO_MMAP != 0 => {
            let entries = (entries & 0xffff_ffff).next_power_of_two();
            // A submission entry has 64 bytes; a completion entry 16, twice as many, and an index
            // of 4.
            let ranges = vec![(ring_at, entries * (16 * 2 + 4) + 64), (entries_at, entries * 64)];
            Asked::vectors(Consumer::IoUringPbuf, None, ranges)
        }
        _ => Asked::default(),
    };
    asked
        .and("RLIMIT_MEMLOCK, which the rings count against in some kernels (ENOMEM)")
        .and("kernel.io_uring_disabled, or a seccomp filter that forbids io_uring (EPERM)")
}
