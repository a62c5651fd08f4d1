//! What can be seen of processes from outside: areas, states of pages, faults charged.
//!
//! Absent: states with their lazy marks, for people ([`super::tokens`]).

use super::player::{Player, Process, Space};
use super::program::Op;
use crate::ask::driver::Caller;
use crate::world::token::Classes;
use crate::world::{Area, Content, Counts, Exact, Marks, Token};
use gup::addr::{PAGE_SHIFT, PMD_ORDER, Pfn, VirtAddr, VirtRange};
use gup::file::File;
use gup::flags::VmFlags;
use gup::frame::{FrameFlags, Kind};
use gup::mm::{Machine, Mm, MmRead};
use gup::pgtable::{Decoded, SwapEntry};
use gup::vma::{Backing, Vma};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::host::PlayHost;

impl Player {
    /// The live processes, by name.
    pub(crate) fn process_names(&self) -> Vec<String> {
        self.processes.keys().cloned().collect()
    }
    /// The first pages of each named mapping of `process`: address, pages, by name.
    pub(crate) fn named_ranges(&self, process: &str, at_most: u64) -> Vec<(u64, u64)> {
        let names = self.processes.get(process).into_iter().flat_map(|owner| owner.names.values());
        names.map(|(start, pages)| (start.get(), (*pages).min(at_most))).collect()
    }
    fn mm_of(&self, process: &str) -> Option<&Arc<Mm<PlayHost>>> {
        match &self.processes.get(process)?.space {
            Space::Mmu(mm) => Some(mm),
            Space::Flat(_) => None,
        }
    }
    /// The areas of `process` that overlap one of the ranges, in order.
    pub(crate) fn areas(&self, process: &str, ranges: &[(u64, u64)]) -> Vec<Area> {
        let Some(mm) = self.mm_of(process) else { return Vec::new() };
        let map = mm.read();
        let mut areas: Vec<Area> = Vec::new();
        for (start, pages) in ranges {
            let start = VirtAddr::new(*start);
            let range = VirtRange::new(start, start.saturating_add(*pages << PAGE_SHIFT));
            areas.extend(map.overlapping(range).map(|vma| self.area(vma)));
        }
        areas.sort();
        areas.dedup();
        areas
    }
    fn area(&self, vma: &Vma<PlayHost>) -> Area {
        let (file, offset) = match &vma.backing {
            Backing::Anonymous => (None, 0),
            Backing::File(mapping) => {
                (Some(self.file_name(&mapping.file)), vma.pgoff() << PAGE_SHIFT)
            }
            Backing::Special(_) => (Some("?".to_owned()), vma.pgoff() << PAGE_SHIFT),
        };
        Area {
            start: vma.start().get(),
            end: vma.end().get(),
            prot: (vma.flags & VmFlags::ACCESS).bits() as u8,
            shared: vma.flags.contains(VmFlags::MAYSHARE),
            offset,
            file,
        }
    }
    fn file_name(&self, file: &Arc<File<PlayHost>>) -> String {
        let found = self.files.iter().find(|(_, document)| Arc::ptr_eq(&document.file, file));
        found.map_or_else(|| "?".to_owned(), |(name, _)| name.clone())
    }
    /// States of `pages` pages of `process`.
    pub(crate) fn tokens(
        &self,
        process: &str,
        start: u64,
        pages: u64,
        classes: &mut Classes,
    ) -> Vec<Token> {
        let Some(mm) = self.mm_of(process) else { return Vec::new() };
        let map = mm.read();
        let addr = |n: u64| VirtAddr::new(start).wrapping_add(n << PAGE_SHIFT);
        (0..pages).map(|n| token(&map, addr(n), classes)).collect()
    }
    /// Nothing waits that has a reference for it.
    pub(crate) fn settle(&self) {
        self.machine.drain_batches();
    }
    /// What the engine itself has of the pages of `process` from `start` on, `tokens` being their
    /// states.
    pub(crate) fn exact(&self, process: &str, start: u64, tokens: &[Token]) -> Vec<Exact> {
        let Some(mm) = self.mm_of(process) else { return Vec::new() };
        let map = mm.read();
        let addr = |n: u64| VirtAddr::new(start).wrapping_add(n << PAGE_SHIFT);
        (0..).zip(tokens).map(|(n, token)| exact(&map, addr(n), token)).collect()
    }
    /// Faults charged so far to who issues `op`: minor, major.
    pub(crate) fn faults_of(&self, op: &Op) -> Option<(u64, u64)> {
        let own = || self.processes.get(op.process()?).map(|process: &Process| &process.task);
        let task = match op {
            Op::Ask { driver, .. } if driver.caller() == Caller::Other => Some(&self.controller),
            Op::Ask { .. } | Op::Touch { .. } => own(),
            _ => None,
        };
        task.map(|task| (task.min_flt.load(Relaxed), task.maj_flt.load(Relaxed)))
    }
}

/// The state of one page.
pub(crate) fn token(map: &MmRead<'_, PlayHost>, addr: VirtAddr, classes: &mut Classes) -> Token {
    if map.lookup(addr).is_none() {
        return Token::of(Content::NoArea);
    }
    let (mm, machine) = (map.mm(), map.mm().machine());
    let walked = mm.tables().walk(addr);
    let level = walked.place.level;
    match (walked.entry.decode(level), walked.frame(addr)) {
        (Decoded::Leaf(first, _), _) if first == machine.zero_page() => Token::of(Content::Zero),
        (Decoded::Leaf(first, _), _) if Some(first) == machine.huge_zero_page() => {
            Token { large: true, huge_entry: true, ..Token::of(Content::Zero) }
        }
        (Decoded::Leaf(_, perms), _) if perms.special => Token::of(Content::File),
        (Decoded::Leaf(_, perms), Some(pfn)) => Token {
            huge_entry: level > 0,
            uffd_wp: perms.uffd_wp,
            class: Some(classes.of(pfn.get())),
            ..page(machine, pfn, level)
        },
        (Decoded::Swap(SwapEntry::Guard), _) => Token::of(Content::Guard),
        (Decoded::Swap(SwapEntry::UffdWp), _) => {
            Token { uffd_wp: true, ..Token::of(Content::Empty) }
        }
        (Decoded::Swap(SwapEntry::Poisoned), _) => Token::of(Content::Empty),
        (Decoded::Swap(entry), _) => {
            let uffd_wp = matches!(entry, SwapEntry::Swap { uffd_wp: true, .. });
            Token { uffd_wp, ..Token::of(Content::Swap) }
        }
        (Decoded::None | Decoded::Table(_) | Decoded::Leaf(..), _) => Token::of(Content::Empty),
    }
}

/// What the engine has of one page.
fn exact(map: &MmRead<'_, PlayHost>, addr: VirtAddr, token: &Token) -> Exact {
    let walked = map.mm().tables().walk(addr);
    let frames = map.mm().machine().frames();
    let counted = token.class.and_then(|_| walked.frame(addr));
    let signed = |count: u32| count.cast_signed();
    Exact {
        counts: counted.map(|pfn| Counts {
            refs: signed(frames.linux_refcount(pfn)),
            pins: frames.is_large(pfn).then(|| signed(frames.pins(pfn))),
            mapcount: frames.mapcount(pfn),
            of_folio: frames.folio_mapcount(pfn),
        }),
        marks: walked.entry.perms(walked.place.level).map(|perms| Marks {
            present: !perms.protnone,
            write: perms.write,
            dirty: perms.dirty,
            young: perms.young,
            uffd_wp: perms.uffd_wp,
        }),
    }
}

/// A page that is counted.
fn page(machine: &Machine<PlayHost>, pfn: Pfn, level: u8) -> Token {
    let frames = machine.frames();
    let flags = frames.flags(pfn);
    // Of a large folio, /proc/kpageflags shows the first page's mark for all.
    let marked = if level == 0 && !frames.is_large(pfn) { pfn } else { frames.head(pfn) };
    let content = match frames.is_anon(pfn) {
        true if flags.contains(FrameFlags::KSM) => Content::Ksm,
        true => Content::Anon { exclusive: frames.has(marked, FrameFlags::ANON_EXCLUSIVE) },
        false => Content::File,
    };
    let hugetlb = frames.kind(pfn) == Kind::Hugetlb;
    Token {
        hugetlb,
        large: !hugetlb && frames.order(pfn) >= PMD_ORDER,
        mapcount: u8::try_from(frames.mapcount(pfn).min(9)).unwrap_or(9),
        swap_cache: flags.contains(FrameFlags::SWAPCACHE),
        ..Token::of(content)
    }
}
