//! Fork: what becomes of the range and its pins when the process forks while the consumer holds
//! them.
//!
//! Played, not derived: the consumer pins on the mirror, the engine forks it, the parent stores to
//! every page; frames are compared before and after. *Keeps*: the parent's page is still the one
//! that the consumer holds. *Neighbour*: bytes that are not of the range and share a page with it,
//! so that they go where it goes when the range is kept from children (`MADV_DONTFORK`).
//!
//! Absent: pins that others hold already (Linux does not publish them), and areas outside the
//! blocks of 2 MiB around the range.
//! Linux: `mm/memory.c` `copy_page_range`, `mm/hugetlb.c` `copy_hugetlb_page_range`.

use crate::explain::NoVerdict;
use crate::explain::look::Look;
use crate::explain::trial::{Blocks, Trial};
use crate::proc::kpage::Folios;
use crate::range::PAGE;
use crate::window::{Page, PageState};
use crate::world::host::MirrorHost;
use gup::addr::{Pfn, VirtAddr};
use gup::errno::Errno;
use gup::flags::{Foll, VmFlags};
use gup::frame::{Kind, Stats};
use gup::gup::fault_in::fault_in_safe_writeable;
use gup::mapping;
use gup::mm::Mm;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the consumer still holds when its call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing: a fork cannot come between.
    Nothing,
    /// References, which a copy-on-write does not respect.
    References,
    /// Pins.
    Pins,
}

/// What the child has where the parent has a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// No area: it is not copied (`MADV_DONTFORK`).
    Unmapped,
    /// An empty area: what it reads are zeros (`MADV_WIPEONFORK`).
    Wiped,
    /// The same page for good: it is shared memory.
    Shared,
    /// The same page until one of them writes.
    UntilWrite,
    /// A copy, made by fork.
    Copy,
    /// No page yet; a fault will bring one, or there is nothing in the parent either.
    Nothing,
}

/// What the parent's next store does to a page that the consumer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// It stays in the page that the consumer holds.
    Keeps,
    /// It goes to a copy: the consumer's page and the parent's diverge.
    Leaves,
    /// The consumer holds no page there.
    HoldsNone,
}

/// Pages that follow one another and are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address of the first page, in bytes.
    pub start: u64,
    /// Number of pages.
    pub pages: u64,
    /// What the child has.
    pub child: Child,
    /// What the parent's next store does.
    pub parent: Parent,
}

/// Bytes beside the range, in a page of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// First byte address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// They are kept from children already, since the area is.
    pub lost: bool,
}

/// What a fork does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// What the consumer holds meanwhile.
    pub held: Held,
    /// Why fork fails, if it does: a page that has to be copied at once finds no memory.
    pub errno: Option<Errno>,
    /// Pages of the range, in address order.
    pub segments: Vec<Segment>,
    /// Bytes that fork copies at once.
    pub copied: u64,
    /// Those of them that are no bytes of the range's pages: other parts of its huge pages.
    pub copied_outside: u64,
    /// Bytes of page tables that fork makes for the blocks of the range.
    pub page_tables: u64,
    /// Bytes that share pages with the range.
    pub neighbours: Vec<Neighbour>,
}

impl Fork {
    /// How many pages the parent would leave.
    pub fn diverging(&self) -> u64 {
        let leaves = |segment: &&Segment| segment.parent == Parent::Leaves;
        self.segments.iter().filter(leaves).map(|segment| segment.pages).sum()
    }

    /// How many pages the child has in this way.
    pub fn pages(&self, child: Child) -> u64 {
        let same = |segment: &&Segment| segment.child == child;
        self.segments.iter().filter(same).map(|segment| segment.pages).sum()
    }
}

/// What a fork does to the range of `look`, while the consumer holds it.
///
/// # Errors
/// [`NoVerdict`].
pub fn fork(look: &Look<'_>) -> Result<Fork, NoVerdict> {
    let blocks = Blocks::around(look)?.with_copies(2);
    // Where it was not seen, exclusive or not, a pin makes it so; nothing else is asked here.
    let assume = blocks.assumptions()[0];
    let trial = blocks.trial(look, assume)?;
    let mirror = &trial.mirror;
    let before = mirror.machine.frames().stats();
    let task = mirror.task();
    let child = mapping::fork(&mut mirror.mm.write(), &task);
    let after = mirror.machine.frames().stats();
    let addresses: Vec<VirtAddr> = addresses(look).collect();
    let folios = held_folios(look, &blocks, &trial);
    let child_at = |addr: &VirtAddr| match &child {
        Ok(child) => folios.child_of(&blocks, &trial, child, *addr),
        Err(_) => Child::Nothing,
    };
    let seen: Vec<Child> = addresses.iter().map(child_at).collect();
    let all = (0..blocks.0.pages.len() as u64).map(|page| blocks.0.start + (page << 12));
    let copies = all.filter(|addr| child_at(&VirtAddr::new(*addr)) == Child::Copy).count() as u64;
    for addr in &addresses {
        fault_in_safe_writeable(&task, &mirror.mm, *addr, PAGE);
    }
    let held = held(look, &trial);
    let mut segments = Vec::new();
    for (index, (addr, child)) in addresses.iter().zip(&seen).enumerate() {
        let frame = trial.held.get(index).copied();
        let parent = parent_of(&trial, frame, *addr);
        push(&mut segments, Segment { start: addr.get(), pages: 1, child: *child, parent });
    }
    let inside = seen.iter().filter(|child| **child == Child::Copy).count() as u64 * PAGE;
    Ok(Fork {
        held,
        errno: child.err(),
        segments,
        copied: copies * PAGE,
        copied_outside: copies * PAGE - inside,
        page_tables: new(&before, &after, Kind::Table),
        neighbours: neighbours(look),
    })
}

fn addresses(look: &Look<'_>) -> impl Iterator<Item = VirtAddr> {
    let range = look.request.range;
    (0..range.pages()).map(move |page| VirtAddr::new(range.first_page()).wrapping_add(page << 12))
}

/// Bytes of this kind that are there `after` and were not `before`.
fn new(before: &Stats, after: &Stats, kind: Kind) -> u64 {
    after.of(kind).saturating_sub(before.of(kind)) * PAGE
}

fn held(look: &Look<'_>, trial: &Trial) -> Held {
    let flags = look.request.ask.flags();
    match trial.held.is_empty() {
        true => Held::Nothing,
        false if flags.contains(Foll::PIN) => Held::Pins,
        false => Held::References,
    }
}

/// The process's large folios of which a page is held. The mirror has those only where a huge entry
/// maps them; where small entries do, fork takes all of one for pinned as soon as a page of it is.
struct HeldFolios {
    all: Folios,
    heads: BTreeSet<u64>,
}

fn held_folios(look: &Look<'_>, blocks: &Blocks, trial: &Trial) -> HeldFolios {
    let all = look.process.folios();
    let mut folios = HeldFolios { all, heads: BTreeSet::new() };
    if look.request.ask.flags().contains(Foll::PIN) {
        let first = ((look.request.range.first_page() - blocks.0.start) >> 12) as usize;
        let taken = trial.held.iter().enumerate();
        let taken = taken.map(|(index, pfn)| (first + index, pfn));
        let taken = taken.filter(|(index, pfn)| trial.mirror.frame_before(*index) == Some(**pfn));
        let heads = taken.filter_map(|(index, _)| folios.head_of(blocks.0.pages.get(index)?));
        folios.heads = heads.collect();
    }
    folios
}

impl HeldFolios {
    /// The first frame of the large folio that `page` is part of.
    fn head_of(&self, page: &Page) -> Option<u64> {
        let pfn = page.pfn.filter(|_| !page.huge)?;
        let folio = self.all.of(pfn)?;
        (folio.pages > 1).then_some(folio.head)
    }

    /// What the child has at `addr`, before anybody wrote.
    fn child_of(
        &self,
        blocks: &Blocks,
        trial: &Trial,
        child: &Arc<Mm<MirrorHost>>,
        addr: VirtAddr,
    ) -> Child {
        let played = child_of(trial, child, addr);
        let index = ((addr.get() - blocks.0.start) >> 12) as usize;
        let page = blocks.0.pages.get(index);
        let mine = page.filter(|page| page.state == PageState::AnonExclusive);
        let held = mine.and_then(|page| self.head_of(page));
        match (played, held) {
            (Child::UntilWrite, Some(head)) if self.heads.contains(&head) => Child::Copy,
            (played, _) => played,
        }
    }
}

/// What the child has at `addr`, before anybody wrote.
fn child_of(trial: &Trial, child: &Arc<Mm<MirrorHost>>, addr: VirtAddr) -> Child {
    let map = trial.mirror.mm.read();
    let Some(vma) = map.lookup(addr) else { return Child::Nothing };
    if vma.flags.contains(VmFlags::DONTCOPY) {
        return Child::Unmapped;
    }
    if vma.flags.contains(VmFlags::WIPEONFORK) {
        return Child::Wiped;
    }
    let shared = vma.flags.contains(VmFlags::SHARED);
    let theirs = child.tables().walk(addr).frame(addr);
    let ours = trial.mirror.frame_now(addr.get());
    match (ours, theirs) {
        (Some(_), _) if shared => Child::Shared,
        (_, None) => Child::Nothing,
        (ours, theirs) if ours == theirs => Child::UntilWrite,
        (_, Some(_)) => Child::Copy,
    }
}

/// What became of the parent's page at `addr`, of which the consumer holds `frame`.
fn parent_of(trial: &Trial, frame: Option<Pfn>, addr: VirtAddr) -> Parent {
    match frame {
        None => Parent::HoldsNone,
        frame if trial.mirror.frame_now(addr.get()) == frame => Parent::Keeps,
        Some(_) => Parent::Leaves,
    }
}

fn push(segments: &mut Vec<Segment>, page: Segment) {
    match segments.last_mut() {
        Some(last) if (last.child, last.parent) == (page.child, page.parent) => {
            last.pages += page.pages;
        }
        _ => segments.push(page),
    }
}

/// The bytes before and after the range in its first and last page.
fn neighbours(look: &Look<'_>) -> Vec<Neighbour> {
    let range = look.request.range;
    let end = range.start().saturating_add(range.len_bytes());
    let place_of = |addr: u64| look.window.place_at(addr);
    let page_of = |addr: u64| {
        let hugetlb = place_of(addr).is_some_and(|place| place.has("ht"));
        if hugetlb { 1 << 21 } else { PAGE }
    };
    let first = range.start() & !(page_of(range.start()) - 1);
    let last = end.checked_next_multiple_of(page_of(end.saturating_sub(1))).unwrap_or(end);
    let sides = [(first, range.start()), (end, last)];
    let some = sides.into_iter().filter(|(start, end)| start < end && place_of(*start).is_some());
    some.map(|(start, end)| Neighbour {
        start,
        len: end - start,
        lost: place_of(start).is_some_and(|place| place.has("dc")),
    })
    .collect()
}
