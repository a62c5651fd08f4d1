//! A real file as the store behind a mapping.
//!
//! [`ReadMode::Start`] asks the kernel for the page without waiting (`RWF_NOWAIT`): if it is in the
//! kernel's own page cache it is ready at once; if not, a thread reads it and completes the ticket.
//! So "will not wait for disk IO" is about real disks. Invariant: a page that a thread has read is
//! kept until it is asked for, so that asking again succeeds. Absent: a cache of our own; the
//! engine has one.

use crate::host::Tickets;
use gup::addr::PAGE_SIZE;
use gup::host::{ReadMode, Store, StoreRead, StoreWrite, Ticket};
use parking_lot::Mutex;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwrite};
use std::collections::HashMap;
use std::fs::File;
use std::io::IoSliceMut;
use std::sync::Arc;
use std::thread;

const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_SIZE);

/// Pages of a file. What lies past its end reads as zero.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: File,
    tickets: Arc<Tickets>,
    reads: Mutex<HashMap<u64, Read>>,
}

/// A page that was not at hand.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Started(Ticket),
    Ready(Vec<u8>),
    Failed,
}

impl FileStore {
    /// The pages of `file`; reads that have to wait complete tickets of `tickets`.
    pub fn new(file: File, tickets: Arc<Tickets>) -> Self {
        Self { shared: Arc::new(Shared { file, tickets, reads: Mutex::default() }) }
    }
    /// The file.
    pub fn file(&self) -> &File {
        &self.shared.file
    }
}

impl Shared {
    fn read_blocking(&self, index: u64, into: &mut [u8]) -> Result<(), Errno> {
        let start = index.checked_mul(PAGE_SIZE).ok_or(Errno::INVAL)?;
        let mut done = 0;
        while done < into.len() {
            match pread(&self.file, &mut into[done..], start + done as u64) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        into[done..].fill(0);
        Ok(())
    }
    /// The page, if the kernel has all of it at hand.
    fn read_nowait(&self, index: u64, into: &mut [u8]) -> bool {
        let Some(start) = index.checked_mul(PAGE_SIZE) else { return false };
        let mut bufs = [IoSliceMut::new(into)];
        preadv2(&self.file, &mut bufs, start, ReadWriteFlags::NOWAIT) == Ok(into.len())
    }
    /// Lets a thread read the page; `reads` is locked until that is noted.
    fn start(self: &Arc<Self>, index: u64, reads: &mut HashMap<u64, Read>) -> StoreRead {
        let ticket = self.tickets.issue();
        let shared = Arc::clone(self);
        let work = move || {
            let mut bytes = vec![0; PAGE];
            let outcome = match shared.read_blocking(index, &mut bytes) {
                Ok(()) => Read::Ready(bytes),
                Err(_) => Read::Failed,
            };
            // Whoever wrote the page meanwhile, or read it another way, has withdrawn the order.
            let mut reads = shared.reads.lock();
            if reads.get(&index) == Some(&Read::Started(ticket)) {
                reads.insert(index, outcome);
            }
            drop(reads);
            shared.tickets.complete(ticket);
        };
        if thread::Builder::new().name("gup-read".into()).spawn(work).is_err() {
            self.tickets.complete(ticket);
            return StoreRead::Failed;
        }
        reads.insert(index, Read::Started(ticket));
        StoreRead::NotYet(ticket)
    }
}

impl Store for FileStore {
    fn read_page(&self, index: u64, mode: ReadMode, into: &mut [u8]) -> StoreRead {
        let shared = &self.shared;
        if mode == ReadMode::Block {
            shared.reads.lock().remove(&index);
            return match shared.read_blocking(index, into) {
                Ok(()) => StoreRead::Ready,
                Err(_) => StoreRead::Failed,
            };
        }
        let mut reads = shared.reads.lock();
        match reads.remove(&index) {
            Some(Read::Ready(bytes)) => {
                into.copy_from_slice(&bytes[..into.len()]);
                return StoreRead::Ready;
            }
            Some(Read::Failed) => return StoreRead::Failed,
            Some(Read::Started(ticket)) => {
                reads.insert(index, Read::Started(ticket));
                return StoreRead::NotYet(ticket);
            }
            None => {}
        }
        if shared.read_nowait(index, into) {
            return StoreRead::Ready;
        }
        shared.start(index, &mut reads)
    }

    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        let Some(start) = index.checked_mul(PAGE_SIZE) else { return StoreWrite::Failed };
        self.shared.reads.lock().remove(&index);
        let mut done = 0;
        while done < from.len() {
            match pwrite(&self.shared.file, &from[done..], start + done as u64) {
                Ok(0) => return StoreWrite::Failed,
                Ok(bytes) => done += bytes,
                Err(Errno::INTR) => {}
                Err(_) => return StoreWrite::Failed,
            }
        }
        StoreWrite::Done
    }
}
