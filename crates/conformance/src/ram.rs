//! Swap in RAM, for machines that are played on: what zram is to a kernel.

use gup::host::{ReadMode, Store, StoreRead, StoreWrite};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Swap in RAM.
#[derive(Default)]
pub(crate) struct Ram(Mutex<BTreeMap<u64, Vec<u8>>>);

impl Store for Ram {
    fn read_page(&self, index: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pages.get(&index) {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                StoreRead::Ready
            }
            None => StoreRead::Failed,
        }
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.insert(index, from.to_vec());
        StoreWrite::Done
    }
}
