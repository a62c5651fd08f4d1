//! What became of reads and writes that were submitted with `io_submit`: they fail later, in what
//! `io_getevents` brings.
//!
//! Linux: `include/uapi/linux/aio_abi.h`; `fs/aio.c`.

use crate::calls::decode::{Asked, Range};
use crate::calls::memory::Memory;
use gup_mirror::consumer::Consumer;

/// Bytes of `struct io_event`.
const EVENT: u64 = 32;

/// The first of `count` events at `addr` that failed as a refused pin does: the errno, and what was
/// submitted.
pub(crate) fn failed(addr: u64, count: u64, memory: &impl Memory) -> Option<(i64, Asked)> {
    let event = |index: u64| {
        let at = addr.checked_add(index.checked_mul(EVENT)?)?;
        let result = memory.long(at.checked_add(16)?)?.cast_signed();
        let refused = [libc::EFAULT, libc::ENOMEM, libc::EINVAL];
        refused.iter().any(|errno| result == -i64::from(*errno)).then_some(())?;
        Some((result, submitted(memory.long(at.checked_add(8)?)?, memory)?))
    };
    (0..count).find_map(event)
}

/// What the `struct iocb` at `addr` asks for.
fn submitted(addr: u64, memory: &impl Memory) -> Option<Asked> {
    let (buffer, bytes) =
        (memory.long(addr.checked_add(24)?)?, memory.long(addr.checked_add(32)?)?);
    let (consumer, several) = match memory.bytes(addr.checked_add(16)?).map(u16::from_ne_bytes)? {
        0 => (Consumer::ODirectRead, false),
        1 => (Consumer::ODirectWrite, false),
        7 => (Consumer::ODirectRead, true),
        8 => (Consumer::ODirectWrite, true),
        _ => return None,
    };
    let all = if several { memory.vectors(buffer, bytes) } else { vec![(buffer, bytes)] };
    let ranges = all.into_iter().filter(|(_, len)| *len != 0);
    let range = |(start, len)| Range { pid: None, consumer, start, len };
    let advice = vec!["if the file was not opened O_DIRECT: the buffer as any memory, unpinned"];
    Some(Asked { ranges: ranges.map(range).collect(), advice })
}
