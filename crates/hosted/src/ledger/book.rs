//! The book: pages held, and mistakes found so far.
//!
//! Invariants: one entry per page taken and not given back; equal mistakes are one report, which
//! counts them. Looking a page up is by frame; an unmapped range is compared with every entry.

use super::report::{Held, Mistake, Report, Why};
use super::site::Site;
use super::sited::Sited;
use gup::addr::{Pfn, VirtAddr, VirtRange};
use gup::observe::{Event, Observer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Who holds which page of a machine. Clones are the same ledger: give one to the host as its
/// observer, and keep one.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    book: Mutex<Book>,
    /// Pins taken less pins given back, of the whole machine.
    pins: AtomicI64,
}

#[derive(Debug, Default)]
struct Book {
    held: HashMap<Pfn, Vec<Entry>>,
    reports: Vec<Report>,
}

/// A page held.
#[derive(Clone, Copy, Debug)]
struct Entry {
    how: Held,
    place: Place,
    site: Site,
    unmapped: bool,
}

/// An address of an address space, which its root table names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) root: Pfn,
    pub(super) addr: VirtAddr,
}

impl Ledger {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
    /// For what the calling line of code does.
    #[track_caller]
    pub fn here(&self) -> Sited<'_> {
        Sited { ledger: self, site: Site::Code(Location::caller()) }
    }
    /// For what is done under this name.
    pub fn labelled(&self, label: &'static str) -> Sited<'_> {
        Sited { ledger: self, site: Site::Label(label) }
    }
    /// What went wrong so far, in the order of its first time.
    pub fn reports(&self) -> Vec<Report> {
        self.0.book.lock().reports.clone()
    }
    /// What is held now, as leaks: one report for each site, in no order.
    pub fn leaks(&self) -> Vec<Report> {
        let book = self.0.book.lock();
        let mut leaks = Vec::new();
        for (pfn, entry) in
            book.held.iter().flat_map(|(pfn, all)| all.iter().map(move |e| (pfn, e)))
        {
            let mistake = Mistake::Leak { taken: entry.how, at: entry.site };
            add(&mut leaks, mistake, *pfn, Some(entry.place.addr));
        }
        leaks
    }
    /// How many base pages are held.
    pub fn held(&self) -> usize {
        self.0.book.lock().held.values().map(Vec::len).sum()
    }
    /// Pins of the whole machine, taken through the ledger or not, in base pages; the zero page's
    /// are never counted.
    pub fn machine_pins(&self) -> i64 {
        self.0.pins.load(Relaxed)
    }

    pub(super) fn enter(&self, how: Held, place: Place, pfn: Pfn, site: Site) {
        let entry = Entry { how, place, site, unmapped: false };
        self.0.book.lock().held.entry(pfn).or_default().push(entry);
    }
    /// Strikes one entry of `pfn` out, the latest that was taken as it is given back now, else the
    /// latest. How it was taken, if it was.
    pub(super) fn strike(&self, as_if: Held, pfn: Pfn, released: Site) -> Option<Held> {
        let book = &mut *self.0.book.lock();
        let entry = book.held.get_mut(&pfn).and_then(|entries| {
            let fitting = entries.iter().rposition(|entry| entry.how == as_if);
            fitting.map(|at| entries.remove(at)).or_else(|| entries.pop())
        });
        if book.held.get(&pfn).is_some_and(Vec::is_empty) {
            book.held.remove(&pfn);
        }
        let Some(Entry { how, place, site: at, .. }) = entry else {
            add(&mut book.reports, Mistake::NotHeld { as_if, released }, pfn, None);
            return None;
        };
        if how != as_if {
            let mistake = Mistake::Mismatch { taken: how, at, released };
            add(&mut book.reports, mistake, pfn, Some(place.addr));
        }
        Some(how)
    }
    /// Looks at a translation that is being used; `now` is the frame that stands there. Whether it
    /// is good.
    pub(super) fn look(&self, place: Place, pfn: Pfn, now: Option<Pfn>, used: Site) -> bool {
        let book = &mut *self.0.book.lock();
        let entries = book.held.get(&pfn);
        // The latest: an address can be taken again after it was unmapped.
        let entry = entries.and_then(|all| all.iter().rev().find(|entry| entry.place == place));
        let why = match entry {
            None => Why::NotHeld,
            Some(entry) if entry.unmapped => Why::Unmapped,
            Some(_) if now.is_some_and(|now| now != pfn) => Why::OtherFrame,
            Some(_) => return true,
        };
        let mistake = Mistake::Stale { why, at: entry.map(|entry| entry.site), used };
        add(&mut book.reports, mistake, pfn, Some(place.addr));
        false
    }
    fn unmapped(&self, root: Pfn, range: VirtRange) {
        let book = &mut *self.0.book.lock();
        let concerned = |place: &Place| place.root == root && range.contains(place.addr);
        for entry in book.held.values_mut().flatten().filter(|entry| concerned(&entry.place)) {
            entry.unmapped = true;
        }
    }
}

impl Observer for Ledger {
    const ON: bool = true;

    fn event(&self, event: &Event, _: &'static Location<'static>) {
        match *event {
            Event::Pinned(count) => drop(self.0.pins.fetch_add(i64::from(count), Relaxed)),
            Event::Unpinned(count) => drop(self.0.pins.fetch_sub(i64::from(count), Relaxed)),
            Event::Unmapped { root, start, end } => {
                self.unmapped(root, VirtRange::new(start, end));
            }
            _ => {}
        }
    }
}

/// One more page for the report of `mistake`, or a new report.
fn add(reports: &mut Vec<Report>, mistake: Mistake, pfn: Pfn, addr: Option<VirtAddr>) {
    match reports.iter_mut().find(|report| report.mistake == mistake) {
        Some(report) => report.pages += 1,
        None => reports.push(Report { mistake, pfn, addr, pages: 1 }),
    }
}
