//! Any store, slowed down: every page takes its time, the first time it is read.
//!
//! Absent: writes are not slowed.

use crate::host::Tickets;
use gup::host::{ReadMode, Store, StoreRead, StoreWrite, Ticket};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A store whose pages arrive `delay` after they are first asked for.
#[derive(Debug)]
pub struct SlowStore<S> {
    inner: S,
    delay: Duration,
    tickets: Arc<Tickets>,
    asked: Mutex<HashMap<u64, Ticket>>,
}

impl<S: Store> SlowStore<S> {
    /// `inner`, each page `delay` late.
    pub fn new(inner: S, delay: Duration, tickets: Arc<Tickets>) -> Self {
        Self { inner, delay, tickets, asked: Mutex::default() }
    }
    /// The store behind.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
    /// The ticket of page `index`, whose time runs from now if it was not asked for before.
    fn ask(&self, index: u64) -> Ticket {
        let mut asked = self.asked.lock();
        *asked.entry(index).or_insert_with(|| {
            let (ticket, tickets, delay) =
                (self.tickets.issue(), Arc::clone(&self.tickets), self.delay);
            let work = move || {
                thread::sleep(delay);
                tickets.complete(ticket);
            };
            if thread::Builder::new().name("gup-slow".into()).spawn(work).is_err() {
                self.tickets.complete(ticket);
            }
            ticket
        })
    }
}

impl<S: Store> Store for SlowStore<S> {
    fn read_page(&self, index: u64, mode: ReadMode, into: &mut [u8]) -> StoreRead {
        let ticket = self.ask(index);
        if !self.tickets.is_ready(ticket) {
            match mode {
                ReadMode::Start => return StoreRead::NotYet(ticket),
                ReadMode::Block => thread::sleep(self.delay),
            }
        }
        self.inner.read_page(index, mode, into)
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        self.inner.write_page(index, from)
    }
}
