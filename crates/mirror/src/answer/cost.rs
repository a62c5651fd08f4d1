//! Cost: what a pin does before it has all pages, counted, and the time that takes.
//!
//! Counts are read off the engine after the consumer was played: its faults are those of
//! `getrusage`, its zeroing and copying those of the kernel. *Runs* are pages that follow one
//! another in physical memory, as a device's table has one entry for each; where a page is made
//! first, its place is not known, so there is a least and a most.
//! Absent: moving the bytes of a read or write; what a driver does besides pinning.
//!
//! Linux: `mm/memory.c` `mm_account_fault`.

use crate::answer::rates::{Rates, Time};
use crate::answer::what_if::WhatIf;
use crate::explain::NoVerdict;
use crate::explain::look::Look;
use crate::explain::trial::{Blocks, Trial};
use crate::window::PageState;
use gup::addr::{PMD_ORDER, Pfn};
use gup::frame::Kind;

/// Entries that VFIO allows a container.
pub const ENTRY_LIMIT: u64 = 65_535;

/// What a pin does, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Small pages obtained.
    pub small: u64,
    /// 4 KiB pages obtained that are part of huge ones.
    pub in_huge: u64,
    /// The huge pages that they are part of.
    pub huge: u64,
    /// Faults that do not wait.
    pub faults: u64,
    /// Faults that wait for a disk.
    pub major: u64,
    /// Anonymous and shared small pages zeroed.
    pub zeroed_small: u64,
    /// Huge pages zeroed.
    pub zeroed_huge: u64,
    /// Pages copied, because they are shared or of a file.
    pub copied: u64,
    /// Pages moved out of movable memory.
    pub moved: u64,
    /// Pages of files that no entry maps: read from the disk, unless they are cached.
    pub from_files: u64,
    /// Pages of shared memory that no entry maps: made and zeroed, unless they are there.
    pub from_shared: u64,
    /// Pages read from swap.
    pub swapped_in: u64,
    /// Runs of pages in physical memory, at least.
    pub runs_at_least: u64,
    /// The same, at most.
    pub runs_at_most: u64,
}

impl Counts {
    /// Bytes zeroed.
    pub const fn zeroed_bytes(&self) -> u64 {
        (self.zeroed_small << 12).saturating_add(self.zeroed_huge << 21)
    }
}

/// What a pin costs in memory made in one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bill {
    /// What is done.
    pub counts: Counts,
    /// Whether the counts follow from what was seen; else they are the most that it can be.
    pub exact: bool,
    /// How long it takes here; `None` if that was not measured.
    pub time: Option<Time>,
}

/// What a pin costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// As the memory is.
    pub now: Bill,
    /// As it would be in memory made otherwise.
    pub what_if: Option<(WhatIf, Bill)>,
}

/// What the pin of `look` costs.
///
/// # Errors
/// [`NoVerdict`].
pub fn cost(look: &Look<'_>) -> Result<Cost, NoVerdict> {
    let blocks = Blocks::around(look)?;
    let now = bill(look, &blocks)?;
    if look.what_if.is_truth() {
        return Ok(Cost { now, what_if: None });
    }
    let window = look.what_if.apply(&blocks.0, look.request.range);
    let other = bill(look, &Blocks(window, blocks.1))?;
    Ok(Cost { now, what_if: Some((look.what_if, other)) })
}

fn bill(look: &Look<'_>, blocks: &Blocks) -> Result<Bill, NoVerdict> {
    let mut found = Vec::new();
    for assume in blocks.assumptions() {
        found.push(counts(look, blocks, &blocks.trial(look, *assume)?));
    }
    let same = found.windows(2).all(|pair| pair[0] == pair[1]);
    let counts = found.into_iter().max_by_key(|counts| counts.copied).unwrap_or_default();
    let exact = same && counts.from_files == 0 && counts.from_shared == 0;
    let time = look.rates.as_ref().and_then(|rates: &Rates| rates.time(&counts));
    Ok(Bill { counts, exact, time })
}

fn counts(look: &Look<'_>, blocks: &Blocks, trial: &Trial) -> Counts {
    let machine = &trial.mirror.machine;
    let tally = machine.host().recorder().record().tally;
    let (before, traffic) = (trial.traffic_before, machine.memory().traffic());
    let after = machine.frames().stats();
    let new = |kind: Kind| after.of(kind).saturating_sub(trial.before.of(kind));
    let zeroed = traffic.zeroed.saturating_sub(before.zeroed);
    let mut counts = Counts {
        faults: tally.minor,
        major: tally.major,
        zeroed_small: zeroed.saturating_sub(new(Kind::Table) + new(Kind::File)),
        zeroed_huge: traffic.zeroed_huge.saturating_sub(before.zeroed_huge),
        copied: traffic.copied.saturating_sub(before.copied + tally.moved_pages),
        moved: tally.moved_pages,
        from_files: new(Kind::File),
        from_shared: new(Kind::Shmem),
        ..Counts::default()
    };
    add_pages(look, blocks, trial, &mut counts);
    counts
}

/// One page that was obtained: its real frame if it is known, and its folio here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placed {
    real: Option<u64>,
    folio: Pfn,
    order: u8,
}

fn add_pages(look: &Look<'_>, blocks: &Blocks, trial: &Trial, counts: &mut Counts) {
    let (mirror, window) = (&trial.mirror, &blocks.0);
    let frames = mirror.machine.frames();
    let first = (look.request.range.first_page().wrapping_sub(window.start)) >> 12;
    let mut last: Option<Placed> = None;
    for index in first..first.saturating_add(trial.played.got) {
        let addr = window.start.wrapping_add(index << 12);
        let Some(page) = usize::try_from(index).ok().and_then(|i| window.pages.get(i)) else {
            break;
        };
        counts.swapped_in += u64::from(page.state == PageState::Swap);
        let Some(pfn) = mirror.frame_now(addr) else { continue };
        let stayed = mirror.frame_before(index as usize) == Some(pfn);
        let folio = frames.head(pfn);
        let real = page.pfn.filter(|_| stayed);
        let placed = Placed { real, folio, order: frames.order(folio) };
        let new_folio = last.is_none_or(|last| last.folio != folio);
        if placed.order >= PMD_ORDER {
            counts.in_huge += 1;
            counts.huge += u64::from(new_folio);
        } else {
            counts.small += 1;
        }
        let together = !new_folio && placed.order > 0;
        let known = last.and_then(|last| last.real).zip(placed.real);
        let apart = known.is_some_and(|(a, b)| a.wrapping_add(1) != b);
        counts.runs_at_least += u64::from(last.is_none() || apart && !together);
        counts.runs_at_most += u64::from(!together && (known.is_none() || apart));
        last = Some(placed);
    }
}
