//! What stands behind a VMA, as an explicit kind: anonymous memory, a file, or something special.
//!
//! Nothing infers the kind from another property (row S-32). Shared anonymous memory is a shmem
//! file.

use crate::addr::{Pfn, VirtAddr};
use crate::file::File;
use crate::host::{Host, Ticket};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What a VMA's pages come from.
pub enum Backing<H: Host> {
    /// Private anonymous memory: zero-filled on demand.
    Anonymous,
    /// A file, shmem, hugetlbfs or secret memory.
    File(FileMapping<H>),
    /// Pages that the system or a driver put there.
    Special(Arc<Special>),
}

/// A file, as mapped.
pub struct FileMapping<H: Host> {
    /// The file.
    pub file: Arc<File<H>>,
    /// Tells descriptors apart through which it was mapped (`vm_file`): areas of two never merge.
    pub opened: u32,
}

impl<H: Host> FileMapping<H> {
    /// A mapping of `file` through a descriptor like all others.
    pub fn new(file: Arc<File<H>>) -> Self {
        Self { file, opened: 0 }
    }
}

impl<H: Host> Clone for Backing<H> {
    fn clone(&self) -> Self {
        match self {
            Self::Anonymous => Self::Anonymous,
            Self::File(mapping) => {
                let FileMapping { file, opened } = mapping;
                Self::File(FileMapping { file: Arc::clone(file), opened: *opened })
            }
            Self::Special(special) => Self::Special(Arc::clone(special)),
        }
    }
}

impl<H: Host> Backing<H> {
    /// The file, if there is one.
    #[inline]
    pub fn file(&self) -> Option<&Arc<File<H>>> {
        match self {
            Self::File(mapping) => Some(&mapping.file),
            Self::Anonymous | Self::Special(_) => None,
        }
    }
    /// Whether both are the same thing, so that adjacent areas of them may merge.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::File(a), Self::File(b)) => Arc::ptr_eq(&a.file, &b.file) && a.opened == b.opened,
            (Self::Special(a), Self::Special(b)) => Arc::ptr_eq(a, b),
            (Self::Anonymous | Self::File(_) | Self::Special(_), _) => false,
        }
    }
}

/// A special mapping: the vdso, a driver's memory, a ring shared with the kernel.
pub struct Special {
    /// Its name, as the maps file shows it.
    pub name: &'static str,
    /// Frames that a fault maps as ordinary pages, by index (`vm_special_mapping`); empty if
    /// nothing is faulted in and all entries were made when it was mapped (`remap_pfn_range`).
    pub pages: Vec<Pfn>,
    /// Frames that special entries at these indexes stand for (`vm_ops->find_special_page`, row
    ///
    pub find_special: Vec<(u64, Pfn)>,
    /// Reads and writes where there are no pages (`vm_ops->access`, row A-162).
    pub access: Option<Arc<dyn SpecialAccess>>,
}

/// Byte access to a special mapping.
pub trait SpecialAccess: Send + Sync {
    /// Reads from `addr`; how many bytes were read.
    fn read(&self, addr: VirtAddr, into: &mut [u8]) -> usize;
    /// Writes at `addr`; how many bytes were written.
    fn write(&self, addr: VirtAddr, from: &[u8]) -> usize;
}

/// A message to a userfault handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFaultMessage {
    /// The page.
    pub addr: VirtAddr,
    /// The access was a store.
    pub write: bool,
    /// The page is write-protected (else it is missing, or minor).
    pub write_protect: bool,
    /// The page is in the page cache, but not mapped.
    pub minor: bool,
}

/// A userfaultfd context: who is told of faults in the areas registered with it.
pub trait UserFault: Send + Sync {
    /// `UFFD_FEATURE_SIGBUS`: fail instead of waiting.
    fn sigbus(&self) -> bool;
    /// `UFFD_FEATURE_WP_ASYNC`: drop the protection without telling anyone.
    fn wp_async(&self) -> bool;
    /// `UFFD_FEATURE_EVENT_FORK`: the child keeps the registration.
    fn event_fork(&self) -> bool {
        false
    }
    /// Delivers a message. The ticket is ready when the handler has resolved the fault.
    fn deliver(&self, message: UserFaultMessage) -> Ticket;
}
