//! What can be shown of the pages that a step handed out: where they stand, and their counts.
//!
//! Looked up after the step; absent where a page was given back and freed meanwhile.

use super::host::{PlayHost, Seen};
use super::player::{Player, Space};
use super::program::{Op, Step};
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::mm::Mm;
use gup::observe::Event;
use gup::pgtable::{Decoded, Perms, SwapEntry};

/// How many pages of a step are shown.
const SHOWN: usize = 4;
/// The levels' names, from the lowest.
const LEVELS: [&str; 5] = ["PTE", "PMD", "PUD", "PGD", "P5D"];

/// One page that a step handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Its address.
    pub addr: VirtAddr,
    /// Its frame.
    pub pfn: Pfn,
    /// References of its folio, pins included.
    pub refs: u32,
    /// Pins of its folio.
    pub pins: u32,
    /// Entries that map it.
    pub mapcount: u32,
    /// The walk to it now, level by level; empty without an MMU.
    pub walk: String,
}

/// The first pages that a step handed out, and how many more there were.
pub(super) fn handed(player: &Player, step: &Step, seen: &[Seen]) -> (Vec<Handed>, usize) {
    let Op::Gup(gup) = &step.op else { return (Vec::new(), 0) };
    let (Ok(start), Some(process)) =
        (player.addr(&gup.process, &gup.at), player.processes.get(&gup.process))
    else {
        return (Vec::new(), 0);
    };
    let grabs = seen.iter().filter_map(|seen| match seen {
        Seen::Event(Event::Grab { index, pfn }) if pfn.get() != 0 => Some((*index, *pfn)),
        _ => None,
    });
    let grabs: Vec<(u64, Pfn)> = grabs.collect();
    let frames = player.machine.frames();
    let page = |(index, pfn): &(u64, Pfn)| {
        let addr = start.page_floor().wrapping_add(index.wrapping_mul(PAGE_SIZE));
        let walk = match &process.space {
            Space::Mmu(mm) => walk(mm, addr),
            Space::Flat(_) => String::new(),
        };
        let (refs, pins) = (frames.refs(*pfn), frames.pins(*pfn));
        Handed { addr, pfn: *pfn, refs, pins, mapcount: frames.mapcount(*pfn), walk }
    };
    let shown = grabs.iter().take(SHOWN).map(page).collect();
    (shown, grabs.len().saturating_sub(SHOWN))
}

/// The walk to `addr`, in words.
fn walk(mm: &Mm<PlayHost>, addr: VirtAddr) -> String {
    let walked = mm.tables().walk(addr);
    let last = usize::from(walked.place.level);
    let mut names: Vec<&str> = LEVELS[last.min(4)..4].iter().rev().copied().collect();
    let end = names.pop().unwrap_or("PTE");
    let what = match walked.entry.decode(walked.place.level) {
        Decoded::None => "empty".to_owned(),
        Decoded::Table(_) => "a table".to_owned(),
        Decoded::Swap(SwapEntry::Swap { slot, .. }) => format!("swap slot {slot}"),
        Decoded::Swap(other) => format!("{other:?}"),
        Decoded::Leaf(pfn, perms) => format!("{pfn:?} {}", letters(perms)),
    };
    let path = names.iter().fold(String::new(), |path, name| path + name + " > ");
    format!("{path}{end}: {what}")
}

fn letters(perms: Perms) -> String {
    let words = [
        (perms.write, "writable", "read-only"),
        (perms.young, "accessed", ""),
        (perms.dirty, "dirty", ""),
        (perms.protnone, "no access", ""),
        (perms.special, "special", ""),
        (perms.uffd_wp, "uffd-wp", ""),
    ];
    let said = words.iter().map(|(is, yes, no)| if *is { *yes } else { *no });
    said.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
}

impl Player {
    /// `addr` in words: a mapping that contains it and the offset, or the number.
    pub fn describe(&self, addr: VirtAddr) -> String {
        let inside = |(start, pages): &(VirtAddr, u64)| {
            addr >= *start && addr.bytes_from(*start) < pages.saturating_mul(PAGE_SIZE)
        };
        let names = self.processes.values().flat_map(|process| &process.names);
        let found = names.into_iter().find(|(_, at)| inside(at));
        let Some((name, (start, _))) = found else { return addr.to_string() };
        match (addr.pages_from(*start), addr.bytes_from(*start) % PAGE_SIZE) {
            (0, 0) => name.clone(),
            (0, bytes) => format!("{name}+{bytes:#x}"),
            (pages, 0) => format!("{name}+{pages}p"),
            (pages, bytes) => format!("{name}+{pages}p+{bytes:#x}"),
        }
    }
}
