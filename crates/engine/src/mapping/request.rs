//! What mmap is asked for: the source of the pages, and what the descriptor allows.
//!
//! Linux: mm/mmap.c `ksys_mmap_pgoff`, `do_mmap` (6.18).

use crate::addr::{PAGE_SHIFT, PMD_ORDER, PUD_ORDER, VirtAddr};
use crate::file::{File, FileKind};
use crate::flags::{MapFlags, Prot};
use crate::host::Host;
use crate::vma::Vma;
use alloc::sync::Arc;
use bitflags::bitflags;

bitflags! {
    /// What an open file allows its mappings.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct OpenMode: u32 {
        /// Opened for reading.
        const READ = 1;
        /// Opened for writing.
        const WRITE = 2;
        /// The file can only grow (`S_APPEND`): no shared mapping of a descriptor that can write.
        const APPEND = 4;
        /// On a file system mounted `noexec`.
        const NOEXEC = 8;
        /// Sealed against writing (`F_SEAL_WRITE`): no new writable shared mapping.
        const SEALED = 16;
        /// An active swap file: no shared writable mapping.
        const SWAPFILE = 32;
    }
}

/// Where the pages of a mapping come from.
pub enum Source<H: Host> {
    /// Nowhere: `MAP_ANONYMOUS`. Shared anonymous memory becomes a shmem file of its own.
    Anonymous,
    /// A file, from `offset` bytes on.
    File {
        /// The file.
        file: Arc<File<H>>,
        /// What its descriptor allows.
        mode: OpenMode,
        /// In bytes; a multiple of the page size.
        offset: u64,
    },
}

/// The arguments of mmap. Unknown bits in `prot` and `flags` may be retained; most are ignored, as
/// the kernel ignores them.
pub struct MmapRequest<H: Host> {
    /// The address wanted: binding with `FIXED`, a hint without.
    pub addr: VirtAddr,
    /// Length in bytes; rounded up to pages.
    pub bytes: u64,
    /// Permissions.
    pub prot: Prot,
    /// One of `SHARED`, `PRIVATE`, `DROPPABLE`, or `SHARED_VALIDATE` (both bits), and others.
    pub flags: MapFlags,
    /// The pages.
    pub source: Source<H>,
}

impl<H: Host> MmapRequest<H> {
    /// `bytes` bytes of private anonymous memory, wherever there is room.
    pub fn anonymous(bytes: u64, prot: Prot) -> Self {
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
        Self { addr: VirtAddr::new(0), bytes, prot, flags, source: Source::Anonymous }
    }
    /// `bytes` bytes of anonymous memory that children share, wherever there is room.
    pub fn shared(bytes: u64, prot: Prot) -> Self {
        let flags = MapFlags::SHARED | MapFlags::ANONYMOUS;
        Self { flags, ..Self::anonymous(bytes, prot) }
    }
    /// `bytes` bytes of `file`, opened for reading and writing, from `offset` bytes on.
    pub fn file(file: &Arc<File<H>>, offset: u64, bytes: u64, prot: Prot, flags: MapFlags) -> Self {
        let mode = OpenMode::READ | OpenMode::WRITE;
        let source = Source::File { file: Arc::clone(file), mode, offset };
        Self { addr: VirtAddr::new(0), bytes, prot, flags, source }
    }
    /// The same, at `addr` exactly, in place of whatever is there.
    #[must_use]
    pub fn at(self, addr: VirtAddr) -> Self {
        Self { addr, flags: self.flags | MapFlags::FIXED, ..self }
    }
    /// The same, with more flags.
    #[must_use]
    pub fn with(self, flags: MapFlags) -> Self {
        Self { flags: self.flags | flags, ..self }
    }
    /// The same, near `addr` if there is room.
    #[must_use]
    pub fn near(self, addr: VirtAddr) -> Self {
        Self { addr, ..self }
    }
}

/// log2 of the pages that a file is mapped by.
pub(super) fn file_shift<H: Host>(file: &File<H>) -> u32 {
    match file.kind() {
        FileKind::Hugetlb(order) => PAGE_SHIFT + u32::from(order),
        FileKind::Regular
        | FileKind::NoWriteback
        | FileKind::Fsdax
        | FileKind::Shmem
        | FileKind::Secret => PAGE_SHIFT,
    }
}

/// log2 of the pages that an area is made of: larger than [`PAGE_SHIFT`] for hugetlb.
pub(super) fn huge_shift<H: Host>(vma: &Vma<H>) -> u32 {
    vma.backing.file().map_or(PAGE_SHIFT, |file| file_shift(file))
}

/// The order of huge pages that `MAP_HUGETLB` and its size bits ask for, if there is such a size.
pub(super) fn huge_order(flags: MapFlags) -> Option<u8> {
    match flags.bits() >> 26 & 0x3f {
        0 | 21 => Some(PMD_ORDER),
        30 => Some(PUD_ORDER),
        _ => None,
    }
}
