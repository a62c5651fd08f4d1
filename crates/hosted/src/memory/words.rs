//! Moving aligned 8-byte words that other threads may load and store atomically at the same time.
//!
//! Each function behaves as if it loaded and stored every shared word with one `Relaxed` atomic of
//! 8 bytes, in some order; so it races with no other 8-byte atomic access. On x86-64 the string
//! instructions do it: what an `asm!` block does to memory is judged by what Rust code could have
//! done there, and the processor moves aligned quadwords whole. Elsewhere, and under Miri, it is
//! the loop that says so. Absent: bytes; callers merge the words at the edges.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes in a word.
pub(super) const WORD: usize = size_of::<u64>();

/// Below this many words a loop beats the start-up of a string instruction.
const STRING_MIN: usize = 32;

const STRINGS: bool = cfg!(all(target_arch = "x86_64", not(miri)));

/// Zeroes shared words.
pub(super) fn zero(to: &[AtomicU64]) {
    if STRINGS && to.len() >= STRING_MIN {
        // SAFETY: `to` is valid for its length; its words may be stored to through `&AtomicU64`.
        return unsafe { string::zero(to.as_ptr().cast_mut().cast(), to.len()) };
    }
    for word in to {
        word.store(0, Relaxed);
    }
}

/// Copies shared words to others. The shorter slice ends it.
pub(super) fn copy(to: &[AtomicU64], from: &[AtomicU64]) {
    let count = to.len().min(from.len());
    if STRINGS && count >= STRING_MIN {
        // SAFETY: both are valid for `count` words; those of `to` may be stored to through
        // `&AtomicU64`. If they overlap, words are still loaded and stored one by one.
        return unsafe { string::copy(to.as_ptr().cast_mut().cast(), from.as_ptr().cast(), count) };
    }
    for (to, from) in to.iter().zip(from) {
        to.store(from.load(Relaxed), Relaxed);
    }
}

/// Copies shared words into private bytes: `into.len()` is `from.len()` words.
pub(super) fn load(into: &mut [u8], from: &[AtomicU64]) {
    let count = from.len().min(into.len() / WORD);
    if STRINGS && count >= STRING_MIN {
        // SAFETY: `into` is ours alone and holds `count` words, at any alignment; `from` is valid
        // for as many.
        return unsafe { string::copy(into.as_mut_ptr().cast(), from.as_ptr().cast(), count) };
    }
    for (into, from) in into.chunks_exact_mut(WORD).zip(from) {
        into.copy_from_slice(&from.load(Relaxed).to_ne_bytes());
    }
}

/// Copies private bytes into shared words: `from.len()` is `to.len()` words.
pub(super) fn store(to: &[AtomicU64], from: &[u8]) {
    let count = to.len().min(from.len() / WORD);
    if STRINGS && count >= STRING_MIN {
        // SAFETY: `to` is valid for `count` words, which may be stored to through `&AtomicU64`;
        // `from` holds as many, at any alignment, and does not change while borrowed.
        return unsafe { string::copy(to.as_ptr().cast_mut().cast(), from.as_ptr().cast(), count) };
    }
    for (to, from) in to.iter().zip(from.chunks_exact(WORD)) {
        let mut word = [0; WORD];
        word.copy_from_slice(from);
        to.store(u64::from_ne_bytes(word), Relaxed);
    }
}

/// The string instructions.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod string {
    use std::arch::asm;

    /// Zeroes `count` words at `to`.
    ///
    /// # Safety
    /// `to` is valid for stores of `count` words.
    pub(super) unsafe fn zero(to: *mut u64, count: usize) {
        // SAFETY: stores exactly `count` words upwards from `to` (the direction flag is clear, as
        // Rust has it), which the caller vouches for; uses no stack and no flag.
        unsafe {
            asm!("rep stosq", inout("rcx") count => _, inout("rdi") to => _, in("rax") 0_u64,
                options(nostack, preserves_flags));
        }
    }

    /// Copies `count` words from `from` to `to`.
    ///
    /// # Safety
    /// `from` is valid for loads and `to` for stores of `count` words; the private one of them may
    /// be unaligned.
    pub(super) unsafe fn copy(to: *mut u64, from: *const u64, count: usize) {
        // SAFETY: loads and stores exactly `count` words upwards (as above), which the caller
        // vouches for.
        unsafe {
            asm!("rep movsq", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
    }
}

/// Never called: [`STRINGS`] is false here.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod string {
    /// Zeroes `count` words at `to`.
    ///
    /// # Safety
    /// `to` is valid for stores of `count` words.
    pub(super) unsafe fn zero(to: *mut u64, count: usize) {
        // SAFETY: as the caller vouches.
        unsafe { to.write_bytes(0, count) };
    }

    /// Copies `count` words from `from` to `to`.
    ///
    /// # Safety
    /// `from` is valid for loads and `to` for stores of `count` words.
    pub(super) unsafe fn copy(to: *mut u64, from: *const u64, count: usize) {
        // SAFETY: as the caller vouches; bytes have no alignment.
        unsafe { to.cast::<u8>().copy_from(from.cast(), count * super::WORD) };
    }
}
