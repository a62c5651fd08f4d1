//! A store whose pages are not at hand at first: each is ready once somebody has waited for its
//! ticket.

use crate::support::World;
use gup::addr::PAGE_SIZE;
use gup::file::{File, FileKind};
use gup::flags::VmFlags;
use gup::host::{ReadMode, Store, StoreRead, StoreWrite, Ticket};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::support::TestHost;

/// What is ready, and how often the store was asked, and how.
#[derive(Default)]
pub struct Disk {
    ready: Mutex<BTreeSet<u64>>,
    pub asked: Mutex<Vec<(u64, ReadMode)>>,
}

/// The store's own end of a [`Disk`].
struct SlowStore(Arc<Disk>);

/// The byte that page `index` is filled with.
pub fn byte_of(index: u64) -> u8 {
    u8::try_from(index + 1).unwrap()
}

impl Store for SlowStore {
    fn read_page(&self, index: u64, mode: ReadMode, into: &mut [u8]) -> StoreRead {
        self.0.asked.lock().unwrap().push((index, mode));
        let ready = self.0.ready.lock().unwrap().contains(&index);
        if mode == ReadMode::Start && !ready {
            return StoreRead::NotYet(Ticket(index + 100));
        }
        into.fill(byte_of(index));
        StoreRead::Ready
    }
    fn write_page(&self, _: u64, _: &[u8]) -> StoreWrite {
        StoreWrite::Done
    }
}

/// A file of `pages` pages on a slow disk; a wait for a ticket makes its page ready.
pub fn slow_file(w: &World, pages: u64) -> (Arc<File<TestHost>>, Arc<Disk>) {
    let disk = Arc::new(Disk::default());
    let file = w.file(FileKind::Regular, pages, Some(Box::new(SlowStore(Arc::clone(&disk)))));
    let waited = Arc::clone(&disk);
    *w.host().on_wait.lock().unwrap() = Some(Box::new(move |ticket| {
        waited.ready.lock().unwrap().insert(ticket.0 - 100);
    }));
    (file, disk)
}

/// Maps a slow file of `pages` pages at page `at`.
pub fn slow_area(w: &World, at: u64, pages: u64, flags: VmFlags) -> Arc<Disk> {
    let (file, disk) = slow_file(w, pages);
    w.area_of(at, pages, flags, World::backing(&file), 0);
    disk
}

/// A file whose page n is filled with [`byte_of`] n, at hand at once.
pub fn quick_file(w: &World, pages: u64) -> Arc<File<TestHost>> {
    let disk = Arc::new(Disk::default());
    disk.ready.lock().unwrap().extend(0..pages);
    w.machine.new_file(FileKind::Regular, pages * PAGE_SIZE, Some(Box::new(SlowStore(disk))))
}

/// A store that starts every read, and fails it when it is asked again.
#[derive(Default)]
struct FailingStore(Mutex<BTreeSet<u64>>);

impl Store for FailingStore {
    fn read_page(&self, index: u64, mode: ReadMode, _: &mut [u8]) -> StoreRead {
        let first = self.0.lock().unwrap().insert(index);
        match mode {
            ReadMode::Start if first => StoreRead::NotYet(Ticket(index + 100)),
            ReadMode::Start | ReadMode::Block => StoreRead::Failed,
        }
    }
    fn write_page(&self, _: u64, _: &[u8]) -> StoreWrite {
        StoreWrite::Failed
    }
}

/// A file of `pages` pages whose disk is broken, and takes its time to say so.
pub fn failing_file(w: &World, pages: u64) -> Arc<File<TestHost>> {
    w.file(FileKind::Regular, pages, Some(Box::<FailingStore>::default()))
}
