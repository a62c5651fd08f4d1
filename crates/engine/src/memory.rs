//! Heap memory: frames that the engine's own allocator lends, for tests and for hosts without a
//! better one.
//!
//! Every byte lives in an atomic word, so nothing here is a data race, whoever copies while
//! somebody stores. Frames come into being, zeroed, in chunks, when first touched: a machine of 1
//! GiB costs what it uses. Absent: speed beyond a word at a time (`gup-hosted` has mapped memory),
//! `unsafe`.

use crate::addr::Pfn;
use crate::host::Memory;
use crate::sync::Word;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering::Relaxed;
use spin::Once;

const WORDS: usize = 512;
const WORD: usize = size_of::<u64>();
/// loom keeps account of every word that exists.
const CHUNK: usize = if cfg!(loom) { 2 } else { 64 };

type Frame = [Word; WORDS];

/// Memory of the heap.
pub struct HeapMemory {
    chunks: Box<[Once<Box<[Frame]>>]>,
    frames: u64,
}

impl fmt::Debug for HeapMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapMemory").field("frames", &self.frames).finish_non_exhaustive()
    }
}

impl HeapMemory {
    /// `frames` frames, all zero.
    pub fn new(frames: u64) -> Self {
        let chunks = usize::try_from(frames.div_ceil(CHUNK as u64)).unwrap_or(usize::MAX);
        let mut list = Vec::with_capacity(chunks);
        list.resize_with(chunks, Once::new);
        Self { chunks: list.into_boxed_slice(), frames }
    }

    #[inline]
    fn frame(&self, pfn: Pfn) -> &Frame {
        #[allow(clippy::cast_possible_truncation, reason = "as many chunks fit in a usize")]
        let number = pfn.get() as usize;
        let chunk = self.chunks[number / CHUNK].call_once(new_chunk);
        &chunk[number % CHUNK]
    }
    /// Whether nobody has touched the chunk of `pfn`: it reads as zero.
    fn is_untouched(&self, pfn: Pfn) -> bool {
        let chunk = usize::try_from(pfn.get()).map(|number| number / CHUNK);
        chunk.is_ok_and(|chunk| !self.chunks[chunk].is_completed())
    }
}

#[cold]
fn new_chunk() -> Box<[Frame]> {
    #[cfg(not(loom))]
    return (0..CHUNK).map(|_| [const { Word::new(0) }; WORDS]).collect();
    #[cfg(loom)]
    return (0..CHUNK).map(|_| core::array::from_fn(|_| Word::new(0))).collect();
}

impl Memory for HeapMemory {
    fn frames(&self) -> u64 {
        self.frames
    }
    #[inline]
    fn table(&self, pfn: Pfn) -> &[Word; 512] {
        self.frame(pfn)
    }
    fn zero(&self, pfn: Pfn, count: u64) {
        for n in 0..count {
            if self.is_untouched(pfn.offset(n)) {
                continue;
            }
            for word in self.frame(pfn.offset(n)) {
                word.store(0, Relaxed);
            }
        }
    }
    fn copy(&self, to: Pfn, from: Pfn, count: u64) {
        for n in 0..count {
            if self.is_untouched(from.offset(n)) {
                self.zero(to.offset(n), 1);
                continue;
            }
            let (to, from) = (self.frame(to.offset(n)), self.frame(from.offset(n)));
            for (to, from) in to.iter().zip(from) {
                to.store(from.load(Relaxed), Relaxed);
            }
        }
    }
    fn read(&self, pfn: Pfn, offset: usize, into: &mut [u8]) {
        let frame = self.frame(pfn);
        for (at, part) in spans(offset, into.len()) {
            let bytes = frame[at.word].load(Relaxed).to_ne_bytes();
            into[part..part + at.len].copy_from_slice(&bytes[at.byte..at.byte + at.len]);
        }
    }
    fn write(&self, pfn: Pfn, offset: usize, from: &[u8]) {
        let frame = self.frame(pfn);
        for (at, part) in spans(offset, from.len()) {
            let new = &from[part..part + at.len];
            let merge = |old: u64| {
                let mut bytes = old.to_ne_bytes();
                bytes[at.byte..at.byte + at.len].copy_from_slice(new);
                u64::from_ne_bytes(bytes)
            };
            if at.len == WORD {
                frame[at.word].store(merge(0), Relaxed);
            } else {
                // Somebody else may store to the word's other bytes meanwhile.
                let _always = frame[at.word].fetch_update(Relaxed, Relaxed, |old| Some(merge(old)));
            }
        }
    }
}

/// Bytes of one word.
#[derive(Clone, Copy)]
struct Span {
    word: usize,
    byte: usize,
    len: usize,
}

/// Cuts `len` bytes from `offset` at word boundaries; each with its place in the caller's buffer.
fn spans(offset: usize, len: usize) -> impl Iterator<Item = (Span, usize)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let (word, byte) = ((offset + done) / WORD, (offset + done) % WORD);
        let span = Span { word, byte, len: (WORD - byte).min(len - done) };
        let part = done;
        done += span.len;
        Some((span, part))
    })
}
