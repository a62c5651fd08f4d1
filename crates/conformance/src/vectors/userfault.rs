//! userfaultfd of the process that asks: one descriptor, faults refused with SIGBUS, none handled.
//!
//! Linux: `include/uapi/linux/userfaultfd.h`.

use super::builder::{Cannot, step};
use crate::sys;
use rustix::io::Errno;
use std::sync::OnceLock;

pub(super) const MISSING: u64 = 1;
pub(super) const WP: u64 = 2;

const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const UNREGISTER: u64 = 0x8010_aa01;
const COPY: u64 = 0xc028_aa03;
const ZEROPAGE: u64 = 0xc020_aa04;
const MOVE: u64 = 0xc028_aa05;
const WRITEPROTECT: u64 = 0xc018_aa06;
const FEATURE_SIGBUS: u64 = 1 << 7;

/// The descriptor, opened at its first use.
fn descriptor() -> Result<u64, Errno> {
    static DESCRIPTOR: OnceLock<Result<u64, Errno>> = OnceLock::new();
    *DESCRIPTOR.get_or_init(|| {
        let cloexec = u64::from(libc::O_CLOEXEC.cast_unsigned());
        let user_only = 1;
        // SAFETY: no pointer is passed.
        let fd = unsafe { sys::call(libc::SYS_userfaultfd, [cloexec | user_only, 0, 0, 0, 0, 0]) }?;
        let fd = fd.cast_unsigned();
        request(fd, API, &mut [0xaa, FEATURE_SIGBUS, 0])?;
        Ok(fd)
    })
}

/// Whether a userfaultfd can be opened here.
pub(crate) fn can_watch() -> bool {
    descriptor().is_ok()
}

/// One ioctl whose argument is `N` words.
fn request<const N: usize>(fd: u64, op: u64, words: &mut [u64; N]) -> Result<(), Errno> {
    let words = words.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: every `op` above reads and writes a structure of exactly `N` words; what it does to
    // memory it does to the arena, where no Rust object lives.
    unsafe { sys::call(libc::SYS_ioctl, [fd, op, words, 0, 0, 0]) }.map(drop)
}

/// Registers a range.
pub(super) fn watch(at: u64, bytes: u64, mode: u64) -> Result<(), Cannot> {
    step("userfaultfd", descriptor())?;
    step("UFFDIO_REGISTER", register(at, bytes, mode))
}

pub(super) fn register(at: u64, bytes: u64, mode: u64) -> Result<(), Errno> {
    request(descriptor()?, REGISTER, &mut [at, bytes, mode, 0])
}

pub(super) fn unregister(at: u64, bytes: u64) -> Result<(), Errno> {
    request(descriptor()?, UNREGISTER, &mut [at, bytes])
}

pub(super) fn copy(to: u64, from: u64, bytes: u64, mode: u64) -> Result<(), Errno> {
    request(descriptor()?, COPY, &mut [to, from, bytes, mode, 0])
}

pub(super) fn zeropage(at: u64, bytes: u64, mode: u64) -> Result<(), Errno> {
    request(descriptor()?, ZEROPAGE, &mut [at, bytes, mode, 0])
}

pub(super) fn write_protect(at: u64, bytes: u64, mode: u64) -> Result<(), Errno> {
    request(descriptor()?, WRITEPROTECT, &mut [at, bytes, mode])
}

pub(super) fn move_pages(to: u64, from: u64, bytes: u64, mode: u64) -> Result<(), Errno> {
    request(descriptor()?, MOVE, &mut [to, from, bytes, mode, 0])
}
