//! What kinds of memory the bodies are played with, and how each is built.
//!
//! Sizes of folios are orders: 2 to 9 for transparent ones, 9 and 18 for hugetlbfs, all that x86-64
//! has. Invariant: a backing that is built is looked at: huge where it says huge, swapped out where
//! it says so; otherwise it cannot be built, and says why.
//! Linux: the fixtures of tools/testing/selftests/mm/cow.c (6.18).

use super::play::{Failure, Process, Span, Stage, must};
use gup::addr::{PMD_ORDER, PUD_ORDER};
use gup::file::FileKind;
use gup::flags::{MapFlags, Prot};
use gup::frame::Kind;
use gup::mapping::{Advice, MmapRequest};
use std::fmt;

/// Frames of a machine for folios up to 2 MiB.
const FRAMES: u64 = 8192;
/// Orders of transparent folios (T = 8).
pub(super) const THP_ORDERS: std::ops::RangeInclusive<u8> = 2..=PMD_ORDER;
/// Orders of hugetlbfs (H = 2).
pub(super) const HUGETLB_ORDERS: [u8; 2] = [PMD_ORDER, PUD_ORDER];
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// How a transparent huge page is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// By one entry.
    Pmd,
    /// It was; now it is swapped out.
    PmdSwapped,
    /// Page by page.
    Pte,
    /// It was; now it is swapped out.
    PteSwapped,
    /// All but its first page were unmapped.
    SinglePte,
    /// They were; now that page is swapped out.
    SinglePteSwapped,
    /// Its second half was moved elsewhere.
    PartialMremap,
    /// Its first half was shared with a child, which is gone.
    PartialShared,
}

impl Shape {
    const OF_ALL: [Self; 6] = [
        Self::Pte,
        Self::PteSwapped,
        Self::SinglePte,
        Self::SinglePteSwapped,
        Self::PartialMremap,
        Self::PartialShared,
    ];
    const OF_PMD: [Self; 2] = [Self::Pmd, Self::PmdSwapped];
    fn is_swapped(self) -> bool {
        matches!(self, Self::PmdSwapped | Self::PteSwapped | Self::SinglePteSwapped)
    }
}

/// Private anonymous memory of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// One page.
    Base,
    /// One page, swapped out.
    BaseSwapped,
    /// A transparent folio of this order.
    Thp(u8, Shape),
    /// One page of hugetlbfs of this order.
    Hugetlb(u8),
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("base page"),
            Self::BaseSwapped => f.write_str("swapped-out base page"),
            Self::Thp(order, shape) => {
                let how = match shape {
                    Shape::Pmd => "PMD-mapped THP",
                    Shape::PmdSwapped => "PMD-mapped THP, swapped out",
                    Shape::Pte => "PTE-mapped THP",
                    Shape::PteSwapped => "PTE-mapped THP, swapped out",
                    Shape::SinglePte => "single PTE of THP",
                    Shape::SinglePteSwapped => "single PTE of THP, swapped out",
                    Shape::PartialMremap => "partially mremap()'ed THP",
                    Shape::PartialShared => "partially shared THP",
                };
                write!(f, "{how} ({} KiB)", 4u64 << order)
            }
            Self::Hugetlb(order) => write!(f, "hugetlb ({} KiB)", 4u64 << order),
        }
    }
}

impl Backing {
    /// All of them: 2 + 6 T + 2 + H.
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Self::Base, Self::BaseSwapped];
        for order in THP_ORDERS {
            let of_pmd = Shape::OF_PMD.into_iter().filter(|_| order == PMD_ORDER);
            all.extend(of_pmd.chain(Shape::OF_ALL).map(|shape| Self::Thp(order, shape)));
        }
        all.extend(HUGETLB_ORDERS.map(Self::Hugetlb));
        all
    }
    /// A huge page that one entry maps.
    pub(super) fn is_pmd_mapped(self) -> bool {
        self == Self::Thp(PMD_ORDER, Shape::Pmd)
    }
    /// A machine for it.
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Base | Self::BaseSwapped => Stage::new(FRAMES, 0),
            Self::Thp(order, _) => Stage::new(FRAMES, 1 << order),
            Self::Hugetlb(order) => stage_with_pool(order),
        }
    }
    /// Builds it in `process`. Answers the memory that the body is to use.
    pub(super) fn build(self, process: &Process) -> Result<Span, Failure> {
        match self {
            Self::Base | Self::BaseSwapped => {
                let span = Span::part(0, 1);
                process.map_anon(span)?;
                process.advise(span, Advice::NoHugePage).map_err(advice)?;
                process.fill(span, 1)?;
                if self == Self::BaseSwapped {
                    swap_out(process, span)?;
                }
                Ok(span)
            }
            Self::Thp(order, shape) => thp(process, order, shape),
            Self::Hugetlb(order) => {
                let span = Span::part(0, 1 << order);
                let request = MmapRequest::anonymous(span.bytes(), RW);
                process.map(span, request.with(MapFlags::HUGETLB | size_bits(order)))?;
                process.fill(span, 1)?;
                Ok(span)
            }
        }
    }
}

/// A machine with four huge pages of hugetlbfs of this order, and room for the rest.
fn stage_with_pool(order: u8) -> Stage {
    const POOL: u64 = 3;
    let stage = Stage::new((POOL + 2) << order, 0);
    stage.machine.resize_hugetlb(order, POOL);
    stage
}

/// `MAP_HUGE_…`.
fn size_bits(order: u8) -> MapFlags {
    MapFlags::from_bits_retain((12 + u32::from(order)) << 26)
}

fn advice(errno: gup::errno::Errno) -> Failure {
    Failure::broken(format!("madvise: errno {}", errno.raw()))
}

fn swap_out(process: &Process, span: Span) -> Result<(), Failure> {
    process.advise(span, Advice::PageOut).map_err(advice)?;
    let there = (0..span.pages).any(|n| process.reach_now(span.page(n), false).is_some());
    if there { Err(Failure::cannot("the memory was not swapped out")) } else { Ok(()) }
}

/// A transparent folio of this order, whole, with known bytes.
fn whole_folio(process: &Process, order: u8) -> Result<Span, Failure> {
    let span = Span::part(0, 1 << order);
    process.map_anon(span)?;
    if order == PMD_ORDER {
        process.advise(span, Advice::HugePage).map_err(advice)?;
    }
    if !process.store(span.start, 1) {
        return Err(Failure::broken("the first store succeeds"));
    }
    let frames = process.mm.machine().frames();
    let head = process.reach_now(span.start, false);
    let filled = (0..span.pages)
        .all(|n| process.reach_now(span.page(n), false) == head.map(|head| head.offset(n)));
    if !filled || head.is_none_or(|head| frames.folio_frames(head) != span.pages) {
        return Err(Failure::cannot("the fault made no folio of this size"));
    }
    process.fill(span, 1)?;
    Ok(span)
}

fn thp(process: &Process, order: u8, shape: Shape) -> Result<Span, Failure> {
    let span = whole_folio(process, order)?;
    let by_entry = matches!(shape, Shape::Pmd | Shape::PmdSwapped);
    if order == PMD_ORDER && !by_entry {
        // A part with other permissions has entries of its own, and keeps them.
        process.protect_and_back(span.sub(1, 1))?;
    }
    let level = process.mm.tables().walk(span.start).place.level;
    if level != u8::from(by_entry) {
        return Err(Failure::cannot(format!("mapped at level {level}")));
    }
    let half = span.pages / 2;
    let used = match shape {
        Shape::Pmd | Shape::PmdSwapped | Shape::Pte | Shape::PteSwapped => span,
        Shape::SinglePte | Shape::SinglePteSwapped => {
            process.unmap(span.sub(1, span.pages - 1))?;
            span.sub(0, 1)
        }
        Shape::PartialMremap => {
            process.remap(span.sub(half, half), Span::part(1, half))?;
            span.sub(0, half)
        }
        Shape::PartialShared => {
            drop(process.fork_without(Some(span.sub(half, half)))?);
            span
        }
    };
    if shape.is_swapped() {
        swap_out(process, used)?;
    }
    Ok(used)
}

/// Where the pages of private memory come from that is not anonymous, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Anonymous memory that was only read: the zero page.
    ZeroPage,
    /// The same, with a huge page's size: the huge zero page.
    HugeZeroPage,
    /// A memfd.
    Memfd,
    /// A file on tmpfs.
    Tmpfile,
    /// A file on a disk's file system.
    LocalFile,
    /// A memfd on hugetlbfs of this order.
    Hugetlb(u8),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroPage => f.write_str("shared zeropage"),
            Self::HugeZeroPage => f.write_str("huge zeropage"),
            Self::Memfd => f.write_str("memfd"),
            Self::Tmpfile => f.write_str("tmpfile"),
            Self::LocalFile => f.write_str("local file"),
            Self::Hugetlb(order) => write!(f, "memfd hugetlb ({} KiB)", 4u64 << order),
        }
    }
}

impl Source {
    /// Those that the copy-on-write bodies are played with: 3 + H + 1.
    pub(super) fn of_cow() -> Vec<Self> {
        let plain = [Self::ZeroPage, Self::HugeZeroPage, Self::Memfd, Self::Tmpfile];
        plain.into_iter().chain(HUGETLB_ORDERS.map(Self::Hugetlb)).collect()
    }
    /// Those that are pinned for long: 3 + H.
    pub(super) fn of_longterm() -> Vec<Self> {
        let plain = [Self::Memfd, Self::Tmpfile, Self::LocalFile];
        plain.into_iter().chain(HUGETLB_ORDERS.map(Self::Hugetlb)).collect()
    }
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Hugetlb(order) => stage_with_pool(order),
            Self::ZeroPage | Self::HugeZeroPage | Self::Memfd | Self::Tmpfile | Self::LocalFile => {
                Stage::new(FRAMES, 0)
            }
        }
    }
    /// Whether a device may store to its shared pages for long: nobody has to be told of dirt.
    pub(super) fn stores_go_unnoticed(self) -> bool {
        match self {
            Self::Memfd | Self::Tmpfile | Self::Hugetlb(_) => true,
            Self::ZeroPage | Self::HugeZeroPage | Self::LocalFile => false,
        }
    }
    /// Whether the first page of `span`, which was read, is one of these.
    pub(super) fn is_mapped_at(self, process: &Process, span: Span) -> bool {
        let machine = process.mm.machine();
        let Some(pfn) = process.reach_now(span.start, false) else { return false };
        match self {
            Self::ZeroPage => pfn == machine.zero_page(),
            Self::HugeZeroPage => Some(pfn) == machine.huge_zero_page(),
            Self::Memfd | Self::Tmpfile => machine.frames().kind(pfn) == Kind::Shmem,
            Self::LocalFile => machine.frames().kind(pfn) == Kind::File,
            Self::Hugetlb(order) => {
                let folio = machine.frames().folio_frames(pfn);
                machine.frames().kind(pfn) == Kind::Hugetlb && folio == 1 << order
            }
        }
    }
    /// Maps it once for each of `flags`, one after the other, in parts of their own.
    pub(super) fn map(
        self,
        stage: &Stage,
        process: &Process,
        flags: &[(MapFlags, Prot)],
    ) -> Result<Vec<Span>, Failure> {
        let (kind, pages) = match self {
            Self::ZeroPage => (None, 1),
            Self::HugeZeroPage => (None, 1 << PMD_ORDER),
            Self::Memfd | Self::Tmpfile => (Some(FileKind::Shmem), 1),
            Self::LocalFile => (Some(FileKind::Regular), 1),
            Self::Hugetlb(order) => (Some(FileKind::Hugetlb(order)), 1 << order),
        };
        let bytes = Span::part(0, pages).bytes();
        let file = kind.map(|kind| stage.machine.new_file(kind, bytes, None));
        let parts = (0..).map(|n| Span::part(n, pages));
        let mut spans = Vec::new();
        for (span, &(flags, prot)) in parts.zip(flags) {
            let request = match &file {
                Some(file) => MmapRequest::file(file, 0, bytes, prot, flags),
                None => MmapRequest::anonymous(bytes, prot),
            };
            process.map(span, request)?;
            if self == Self::HugeZeroPage {
                must("MADV_HUGEPAGE", process.advise(span, Advice::HugePage))?;
            }
            spans.push(span);
        }
        Ok(spans)
    }
}
