//! `io_uring` registrations of a range.

use io_uring::IoUring;
use rustix::io::Errno;

/// Opens a small ring.
pub(crate) fn open() -> Result<IoUring, Errno> {
    IoUring::new(2).map_err(|error| errno_of(&error))
}

/// Registers the range as one fixed buffer of `ring`.
pub(crate) fn register(ring: &IoUring, start: u64, len: u64) -> Result<(), Errno> {
    let base = std::ptr::with_exposed_provenance_mut(start as usize);
    let buffers = [libc::iovec { iov_base: base, iov_len: len as usize }];
    // SAFETY: no operation is ever submitted to the ring, so the kernel writes nothing there.
    unsafe { ring.submitter().register_buffers(&buffers) }.map_err(|error| errno_of(&error))
}

/// Registers the range as a provided-buffer ring of `ring`.
pub(crate) fn register_pbuf(ring: &IoUring, start: u64, len: u64) -> Result<(), Errno> {
    let entries = u16::try_from(len / 16).map_err(|_| Errno::INVAL)?;
    // SAFETY: no operation is ever submitted, so the kernel neither takes nor writes a buffer.
    unsafe { ring.submitter().register_buf_ring_with_flags(start, entries, 0, 0) }
        .map_err(|error| errno_of(&error))
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
