//! Leaves that are changed as one remember together: neighbours in one large folio that allow the
//! same (6.17 and later).
//!
//! *History*: accessed and dirty. *Run*: such neighbours, with any history. Absent: the change
//! itself; soft-dirty, which separates runs.
//! Linux: mm/mprotect.c `mprotect_folio_pte_batch`, `modify_prot_start_ptes` (6.18).

use super::page::normal_page;
use crate::addr::{PAGE_SIZE, Pfn, VirtRange};
use crate::frame::{FrameTable, OutOfMemory};
use crate::host::Host;
use crate::linux::Linux;
use crate::mm::Mm;
use crate::pgtable::{Action, Entry, Format, Part, Perms, Visit};
use alloc::vec::Vec;

/// Makes of every entry of `range` what `change` says; of an entry that maps more than the range,
/// nothing. `change` gets runs as they remember together.
/// # Errors
/// As [`crate::pgtable::Tables::for_each`].
pub(crate) fn change_entries<H: Host>(
    mm: &Mm<H>,
    range: VirtRange,
    change: impl Fn(&Visit<H::Format>, Entry<H::Format>) -> Entry<H::Format>,
) -> Result<(), OutOfMemory> {
    let (frames, together) = (mm.machine().frames(), mm.machine().linux() == Linux::V6_18);
    let mut runs = Runs::default();
    mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| {
        if together {
            runs.note(frames, visit);
        }
        replace(visit, change(visit, visit.entry))
    })?;
    for run in runs.mixed() {
        mm.tables().for_each(run.range, &mut |visit: &Visit<H::Format>| {
            replace(visit, change(visit, run.remember(visit.entry)))
        })?;
    }
    Ok(())
}

fn replace<F: Format>(visit: &Visit<F>, new: Entry<F>) -> Action<F> {
    match visit.part {
        _ if new == visit.entry => Action::Keep,
        Part::Whole => Action::Replace(new),
        Part::Some => Action::Keep,
    }
}

/// Runs, noted entry by entry as they are before the change.
#[derive(Default)]
struct Runs {
    last: Option<Run>,
    /// Those in which not all have the same history.
    mixed: Vec<Run>,
}

/// One run.
#[derive(Clone, Copy)]
struct Run {
    range: VirtRange,
    head: Pfn,
    /// The page that would be next.
    next: Pfn,
    /// Of the first, the history of all.
    perms: Perms,
    mixed: bool,
}

/// What separates runs.
fn kind(perms: Perms) -> Perms {
    Perms { young: false, dirty: false, ..perms }
}

impl Runs {
    /// Notes one entry; those of a range in order.
    fn note<F: Format>(&mut self, frames: &FrameTable, visit: &Visit<F>) {
        let leaf = visit.entry.perms(0).filter(|_| visit.place.level == 0);
        let Some((page, perms)) = normal_page(visit.entry).zip(leaf) else { return };
        if !frames.is_large(page) {
            return;
        }
        let (head, addr) = (frames.head(page), visit.addr);
        let follows = |run: &&mut Run| {
            run.range.end == addr
                && run.head == head
                && run.next == page
                && kind(run.perms) == kind(perms)
        };
        let end = addr.saturating_add(PAGE_SIZE);
        if let Some(run) = self.last.as_mut().filter(follows) {
            run.mixed |= (run.perms.young, run.perms.dirty) != (perms.young, perms.dirty);
            run.perms = run.perms.with_history_of(perms);
            (run.range.end, run.next) = (end, page.offset(1));
            return;
        }
        self.end();
        let range = VirtRange::new(addr, end);
        self.last = Some(Run { range, head, next: page.offset(1), perms, mixed: false });
    }
    fn end(&mut self) {
        self.mixed.extend(self.last.take().filter(|run| run.mixed));
    }
    /// The runs whose entries are to remember what any of them does.
    fn mixed(mut self) -> Vec<Run> {
        self.end();
        self.mixed
    }
}

impl Run {
    /// An entry of the run, with the history of all.
    fn remember<F: Format>(&self, entry: Entry<F>) -> Entry<F> {
        entry.map_perms(0, |perms| *perms = perms.with_history_of(self.perms))
    }
}
