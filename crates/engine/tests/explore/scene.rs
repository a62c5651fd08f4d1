//! The scenes: what a process has mapped when its threads begin, and what else happens there.
//!
//! *Place*: a page that programs name. *Unit*: the pages around a place that are mapped and
//! unmapped together: one page, or a huge page's 512. Absent: the threads' steps
//! ([`crate::program`]), and what must hold ([`crate::world`]).

use crate::host::ExploreHost;
use crate::scheduler::{Numbers, blocked};
use crate::world::{Kept, World};
use gup::addr::{PAGE_SIZE, PMD_ORDER, VirtAddr, VirtRange};
use gup::file::{File, FileKind};
use gup::flags::{MapFlags, Prot, VmFlags};
use gup::frame::{FramesConfig, Zone};
use gup::host::Ticket;
use gup::linux::Linux;
use gup::mapping::{self, Advice, MmapRequest, sys};
use gup::mm::{Machine, MachineConfig};
use gup::vma::{UserFault, UserFaultMessage};
use std::ops::Range;
use std::sync::Arc;

pub const RW: Prot = Prot::READ.union(Prot::WRITE);
/// Pages of a huge page.
pub const HUGE: u64 = 1 << PMD_ORDER;
/// Pages of each file.
pub const FILE_PAGES: u64 = 3;
/// Slots of swap.
pub const SLOTS: u64 = 32;

pub fn page(n: u64) -> VirtAddr {
    VirtAddr::new(0x5555_4000_0000 + n * PAGE_SIZE)
}

/// What a process is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Small anonymous pages: three neighbours, and two under tables of their own.
    Small,
    /// 2 MiB that are a huge page, or become one (`collapse`), and are split.
    Huge,
    /// Small pages and a shared one in movable memory, out of which long-term pins move them.
    Movable,
    /// Shared memory and a file, shared and private, truncated and punched.
    Files,
    /// Huge pages of hugetlbfs, shared and private.
    Hugetlb,
    /// Pages that userfaultfd protects and moves, and mremap moves.
    Watched,
    /// Equal pages, which are merged.
    Merged,
}

impl Scene {
    pub const ALL: [Self; 7] = [
        Self::Small,
        Self::Huge,
        Self::Movable,
        Self::Files,
        Self::Hugetlb,
        Self::Watched,
        Self::Merged,
    ];
    /// How many of 16 runs take place in it.
    const fn share(self) -> u64 {
        match self {
            Self::Small => 4,
            Self::Huge | Self::Movable | Self::Files => 3,
            Self::Hugetlb | Self::Watched | Self::Merged => 1,
        }
    }
    pub fn random(numbers: &mut Numbers) -> Self {
        let mut left = numbers.next(Self::ALL.iter().map(|scene| scene.share()).sum());
        for scene in Self::ALL {
            if left < scene.share() {
                return scene;
            }
            left -= scene.share();
        }
        Self::Small
    }
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scene| format!("{scene:?}").eq_ignore_ascii_case(name))
    }
    pub fn machine(self) -> Arc<Machine<ExploreHost>> {
        let frames = match self {
            Self::Huge => FramesConfig::normal(5 * HUGE),
            Self::Hugetlb => FramesConfig::normal(6 * HUGE),
            Self::Movable => FramesConfig::normal(96).and(Zone::Movable, 0, 96),
            Self::Small | Self::Files | Self::Watched | Self::Merged => FramesConfig::normal(128),
        };
        let host = ExploreHost::new(frames.frames());
        let config = MachineConfig::new(Linux::V6_18, frames.frames());
        let config = MachineConfig { frames, ..config };
        let machine = Machine::new(host, config).expect("frames");
        machine.host().watch(Arc::downgrade(&machine));
        machine.swap().on(Arc::new(Kept::default()), SLOTS);
        if self == Self::Hugetlb {
            machine.resize_hugetlb(PMD_ORDER, 3);
        }
        machine
    }
    pub fn files(self, machine: &Machine<ExploreHost>) -> Vec<Arc<File<ExploreHost>>> {
        let of = |kind, pages: u64, store| machine.new_file(kind, pages * PAGE_SIZE, store);
        let shmem = || of(FileKind::Shmem, FILE_PAGES, None);
        match self {
            Self::Files => {
                let regular = of(FileKind::Regular, FILE_PAGES, Some(Box::new(Kept::default())));
                vec![shmem(), regular]
            }
            Self::Movable => vec![shmem()],
            Self::Hugetlb => {
                let kind = FileKind::Hugetlb(PMD_ORDER);
                vec![of(kind, HUGE, None), of(kind, HUGE, None)]
            }
            Self::Small | Self::Huge | Self::Watched | Self::Merged => vec![],
        }
    }
    /// The areas: the first page, how many, and what is behind.
    pub fn areas(self, numbers: &mut Numbers) -> Vec<Area> {
        let area = |first, pages, behind| Area { first, pages, behind };
        let file = |file, shared| Behind::File { file, shared };
        match self {
            Self::Small => [(0, 3), (7 * HUGE, 1), (9 * HUGE + 1, 1)]
                .map(|(first, pages)| area(first, pages, Behind::Nothing))
                .to_vec(),
            Self::Huge => {
                let advised = if numbers.next(2) == 0 { Behind::Advised } else { Behind::Nothing };
                vec![area(64 * HUGE, HUGE, advised)]
            }
            Self::Movable => {
                vec![area(0, 3, Behind::Nothing), area(7 * HUGE, 2, file(0, true))]
            }
            Self::Files => vec![
                area(0, 2, file(0, true)),
                area(7 * HUGE, 2, file(0, false)),
                area(9 * HUGE, 1, file(1, true)),
                area(11 * HUGE, 2, file(1, false)),
            ],
            Self::Hugetlb => {
                vec![area(64 * HUGE, HUGE, file(0, false)), area(66 * HUGE, HUGE, file(1, true))]
            }
            Self::Watched => vec![area(0, 3, Behind::Watched), area(7 * HUGE, 2, Behind::Watched)],
            Self::Merged => vec![area(0, 3, Behind::Merged), area(7 * HUGE, 1, Behind::Merged)],
        }
    }
    /// The pages that programs touch.
    pub fn places(self, areas: &[Area]) -> Vec<u64> {
        let pages = areas.iter().flat_map(Area::range);
        match self {
            Self::Huge | Self::Hugetlb => {
                pages.filter(|n| n % HUGE < 2 || n % HUGE == HUGE - 1).collect()
            }
            Self::Small | Self::Movable | Self::Files | Self::Watched | Self::Merged => {
                pages.collect()
            }
        }
    }
    /// Pages stay where they are in their areas, so that a frame names its place.
    pub fn names_last(self) -> bool {
        match self {
            Self::Small | Self::Huge | Self::Movable | Self::Files | Self::Hugetlb => true,
            Self::Watched | Self::Merged => false,
        }
    }
}

/// Neighbouring pages that are mapped alike.
#[derive(Clone, Debug)]
pub struct Area {
    pub first: u64,
    pub pages: u64,
    pub behind: Behind,
}

impl Area {
    pub fn range(&self) -> Range<u64> {
        self.first..self.first + self.pages
    }
    /// Pages that are mapped together.
    pub fn unit(&self) -> u64 {
        if self.pages == HUGE { HUGE } else { 1 }
    }
    /// What the process stores can be seen by others who map the same.
    pub fn is_shared(&self) -> bool {
        matches!(self.behind, Behind::File { shared: true, .. })
    }
}

/// What is behind an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    Nothing,
    /// Huge pages are wanted.
    Advised,
    Merged,
    /// Registered with a userfaultfd that tells nobody: what is missing is a bus error.
    Watched,
    /// A file of the scene's, from its first page on.
    File {
        file: usize,
        shared: bool,
    },
}

/// The userfaultfd.
struct Handler;

impl UserFault for Handler {
    fn sigbus(&self) -> bool {
        true
    }
    fn wp_async(&self) -> bool {
        true
    }
    fn deliver(&self, _: UserFaultMessage) -> Ticket {
        blocked();
        Ticket(1)
    }
}

impl World {
    /// Maps the pages of the unit of `n`.
    pub fn map(&self, n: u64) {
        let area = self.area(n);
        let unit = self.unit(n);
        let (start, bytes) = (page(unit.start), (unit.end - unit.start) * PAGE_SIZE);
        let request = match area.behind {
            Behind::Nothing | Behind::Advised | Behind::Merged | Behind::Watched => {
                MmapRequest::anonymous(bytes, RW)
            }
            Behind::File { file, shared } => {
                let flags = if shared { MapFlags::SHARED } else { MapFlags::PRIVATE };
                let offset = (unit.start - area.first) * PAGE_SIZE;
                MmapRequest::file(&self.files[file], offset, bytes, RW, flags)
            }
        };
        if sys::mmap(&self.mm, &self.task, &request.at(start)).is_err() {
            return;
        }
        let advice = match area.behind {
            Behind::Advised => Advice::HugePage,
            Behind::Merged => Advice::Mergeable,
            Behind::Watched => return self.register(start),
            Behind::Nothing | Behind::File { .. } => return,
        };
        let _ = mapping::madvise(&self.mm, &self.task, start, bytes, advice);
    }
    /// Registers the area at `start` with the userfaultfd, if it is there still.
    fn register(&self, start: VirtAddr) {
        let mut map = self.mm.write();
        if let Some(vma) = map.lookup_mut(start) {
            vma.flags |= VmFlags::UFFD_MISSING | VmFlags::UFFD_WP;
            vma.uffd = Some(Arc::new(Handler));
        }
    }
    pub fn area(&self, n: u64) -> &Area {
        let area = self.areas.iter().find(|area| area.range().contains(&n));
        area.expect("every place lies in an area")
    }
    /// The pages that are mapped together with `n`.
    pub fn unit(&self, n: u64) -> Range<u64> {
        let unit = self.area(n).unit();
        n / unit * unit..n / unit * unit + unit
    }
    pub fn unit_range(&self, n: u64) -> VirtRange {
        let unit = self.unit(n);
        VirtRange::new(page(unit.start), page(unit.end))
    }
}
