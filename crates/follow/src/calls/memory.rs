//! What the arguments of a call point to, read from the caller while it is stopped.
//!
//! The kernel has just read the same bytes, so reading them brings no page. What cannot be read is
//! `None`, and the call is then told of without a range.

use crate::sys;

/// Where arguments are read from.
pub trait Memory {
    /// `N` bytes at `addr`; `None` if not all of them can be read.
    fn bytes<const N: usize>(&self, addr: u64) -> Option<[u8; N]>;

    /// The 32 bits at `addr`.
    fn word(&self, addr: u64) -> Option<u32> {
        self.bytes(addr).map(u32::from_ne_bytes)
    }

    /// The 64 bits at `addr`.
    fn long(&self, addr: u64) -> Option<u64> {
        self.bytes(addr).map(u64::from_ne_bytes)
    }

    /// The first `count` structures `iovec` at `addr`, as many as can be read: start and length.
    fn vectors(&self, addr: u64, count: u64) -> Vec<(u64, u64)> {
        let at = |index: u64| {
            let entry = addr.checked_add(index.checked_mul(16)?)?;
            Some((self.long(entry)?, self.long(entry.checked_add(8)?)?))
        };
        // The kernel takes at most 1024 (UIO_MAXIOV), and io_uring 16384.
        (0..count.min(16_384)).map_while(at).collect()
    }
}

/// The memory of one thread that is stopped.
#[derive(Clone, Copy, Debug)]
pub struct OfThread(pub i32);

impl Memory for OfThread {
    fn bytes<const N: usize>(&self, addr: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let read = sys::read_memory(self.0, addr, &mut bytes).ok()?;
        (read == N).then_some(bytes)
    }
}
