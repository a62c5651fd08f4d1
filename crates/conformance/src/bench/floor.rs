//! The physical floor: the memory traffic that no implementation avoids, and nothing else.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the floor of a page that is obtained is.
pub(super) const GRAB: &str = "read an entry, locked add on metadata, store a frame number";
/// What the floor of a page that is given back is.
pub(super) const RELEASE: &str = "read a frame number, locked subtract on metadata";

/// The floor's own arrays, shaped as the engine's: entries, 16 bytes of metadata a frame, an array
/// of results.
pub(super) struct Floor {
    entries: Vec<AtomicU64>,
    hot: Vec<[AtomicU64; 2]>,
    out: Vec<u64>,
}

impl Floor {
    /// Arrays for `pages` pages in as many frames.
    pub(super) fn new(pages: u64) -> Self {
        Self::of_folios(pages, 1)
    }
    /// Arrays for `folios` entries, each of which maps a folio of `frames` frames.
    pub(super) fn of_folios(folios: u64, frames: u64) -> Self {
        let hot = (0..folios * frames).map(|_| Default::default()).collect();
        let entries = (0..folios).map(|n| AtomicU64::new(n * frames)).collect();
        Self { entries, hot, out: vec![0; 512] }
    }
    /// For each page: read an entry, one locked add on the frame's metadata, store the frame's
    /// number.
    pub(super) fn grab_all(&mut self) {
        grab(&self.entries, &self.hot, &mut self.out);
    }
    /// [`Floor::grab_all`] on the two halves, in a thread each.
    pub(super) fn halves(&self) -> [impl Fn() + Send + Sync; 2] {
        let (first, second) = self.entries.split_at(self.entries.len() / 2);
        [first, second].map(|entries| move || grab(entries, &self.hot, &mut vec![0; 512]))
    }
    /// For each page: read its frame's number, one locked subtract on the frame's metadata.
    pub(super) fn release_all(&mut self) {
        for entry in &self.entries {
            if let Some(hot) = of(&self.hot, entry.load(Relaxed)) {
                hot[0].fetch_sub(1, Relaxed);
            }
        }
    }
}

fn of(hot: &[[AtomicU64; 2]], pfn: u64) -> Option<&[AtomicU64; 2]> {
    usize::try_from(pfn).ok().and_then(|pfn| hot.get(pfn))
}

fn grab(entries: &[AtomicU64], hot: &[[AtomicU64; 2]], out: &mut [u64]) {
    for chunk in entries.chunks(out.len()) {
        for (entry, out) in chunk.iter().zip(out.iter_mut()) {
            let pfn = entry.load(Relaxed);
            if let Some(hot) = of(hot, pfn) {
                hot[0].fetch_add(1, Relaxed);
            }
            *out = pfn;
        }
        black_box(&out);
    }
}
