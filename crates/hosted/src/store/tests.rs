//! Files, swap and slowness.

use super::{FileStore, SlowStore, SwapFile};
use crate::host::Tickets;
use gup::host::{ReadMode, Store, StoreRead, StoreWrite, WaitMode, Woken};
use gup::task::{Limits, Task};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

fn file(bytes: &[u8]) -> File {
    let fd = rustix::fs::memfd_create("gup-store", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd");
    let mut file = File::from(fd);
    file.write_all(bytes).expect("room");
    file
}

#[test]
fn a_files_page_reads_as_its_bytes_and_zeros_past_its_end() {
    let store = FileStore::new(file(&[9; 5000]), Arc::default());
    let mut page = [1; 4096];
    assert_eq!(store.read_page(1, ReadMode::Block, &mut page), StoreRead::Ready);
    assert!(page[..904] == [9; 904] && page[904..] == [0; 3192]);
    assert_eq!(store.read_page(2, ReadMode::Block, &mut page), StoreRead::Ready);
    assert!(page == [0; 4096]);
    assert_eq!(store.read_page(u64::MAX, ReadMode::Block, &mut page), StoreRead::Failed);
}

#[test]
fn a_page_that_is_not_at_hand_is_ready_when_its_ticket_is() {
    let (tickets, task) = (Arc::new(Tickets::default()), Task::new(Limits::default()));
    // Half a page is never "all at hand", so the thread has to read it.
    let store = FileStore::new(file(&[9; 2048]), Arc::clone(&tickets));
    let mut page = [1; 4096];
    let StoreRead::NotYet(ticket) = store.read_page(0, ReadMode::Start, &mut page) else {
        panic!("a short page was ready at once")
    };
    assert!(page[..4] != [9; 4] || page[4095] == 1, "nothing is promised about the buffer yet");
    assert_eq!(tickets.wait(ticket, WaitMode::Uninterruptible, &task), Woken::Ready);
    assert_eq!(store.read_page(0, ReadMode::Start, &mut page), StoreRead::Ready);
    assert!(page[..2048] == [9; 2048] && page[2048..] == [0; 2048]);
}

#[test]
fn a_swap_slot_gives_back_what_was_put_there_and_there_are_no_more_slots() {
    let dir = std::env::temp_dir();
    let Ok(swap) = SwapFile::create_in(&dir, 4, Arc::default()) else {
        cannot_ask(&format!("{} has no unnamed files", dir.display()));
        return;
    };
    let mut page = [0; 4096];
    for slot in 0..4_u8 {
        assert_eq!(swap.write_page(slot.into(), &[slot + 1; 4096]), StoreWrite::Done);
    }
    for slot in 0..4_u8 {
        assert_eq!(swap.read_page(slot.into(), ReadMode::Block, &mut page), StoreRead::Ready);
        assert!(page == [slot + 1; 4096]);
    }
    assert_eq!(swap.write_page(4, &page), StoreWrite::Failed);
    assert_eq!(swap.read_page(4, ReadMode::Block, &mut page), StoreRead::Failed);
}

struct Nines;

impl Store for Nines {
    fn read_page(&self, _: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        into.fill(9);
        StoreRead::Ready
    }
    fn write_page(&self, _: u64, _: &[u8]) -> StoreWrite {
        StoreWrite::Failed
    }
}

#[test]
fn a_slow_store_is_not_ready_and_then_is() {
    let (tickets, task) = (Arc::new(Tickets::default()), Task::new(Limits::default()));
    let store = SlowStore::new(Nines, Duration::from_millis(20), Arc::clone(&tickets));
    let mut page = [0; 4096];
    let StoreRead::NotYet(ticket) = store.read_page(0, ReadMode::Start, &mut page) else {
        panic!("a slow page was ready at once")
    };
    assert_eq!(store.read_page(0, ReadMode::Start, &mut page), StoreRead::NotYet(ticket));
    assert_eq!(tickets.wait(ticket, WaitMode::Killable, &task), Woken::Ready);
    assert_eq!(store.read_page(0, ReadMode::Start, &mut page), StoreRead::Ready);
    assert!(page == [9; 4096]);
}

/// Says why this test could not ask, past the test runner, which keeps what passing tests print.
fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}
