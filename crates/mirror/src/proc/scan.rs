//! The `PAGEMAP_SCAN` ioctl: categories of pages that need no privilege, the zero page among them.
//!
//! Only read: the write-protect operations of the ioctl are never asked for. Linux 6.7,
//! `fs/proc/task_mmu.c`; guard regions since 6.15.

use crate::error::MirrorError;
use crate::process::Process;
use linux_raw_sys::general::{self, page_region, pm_scan_arg};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use std::ffi::c_void;

/// The categories of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(u64);

impl Categories {
    /// The page is the small or the huge zero page.
    pub const fn zero_page(self) -> bool {
        self.has(general::PAGE_IS_PFNZERO)
    }
    /// The page is mapped by a PMD, or belongs to hugetlb.
    pub const fn huge(self) -> bool {
        self.has(general::PAGE_IS_HUGE)
    }
    /// The page is present.
    pub const fn present(self) -> bool {
        self.has(general::PAGE_IS_PRESENT)
    }
    /// The page was written since its tracking began.
    pub const fn written(self) -> bool {
        self.has(general::PAGE_IS_WRITTEN)
    }
    /// The page is part of a guard region.
    pub const fn guard(self) -> bool {
        self.has(general::PAGE_IS_GUARD)
    }

    /// The categories in this mask.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
    /// The categories as a mask.
    pub const fn bits(self) -> u64 {
        self.0
    }
    /// The page is of a file, or of shared memory.
    pub const fn file(self) -> bool {
        self.has(general::PAGE_IS_FILE)
    }
    /// The entry is a swap entry, or another entry that is not a page.
    pub const fn swapped(self) -> bool {
        self.has(general::PAGE_IS_SWAPPED)
    }

    const fn has(self, category: u32) -> bool {
        self.0 & category as u64 != 0
    }
}

const ALL: u64 = 0x1ff;
/// What Linux 6.7 to 6.14 know: no guard regions.
const FIRST: u64 = 0xff;

/// Categories of each of `pages` pages from the page of `start`; `None` if the kernel has no such
/// ioctl.
///
/// # Errors
/// As [`Process::open_file`].
pub fn categories(
    process: &Process,
    start: u64,
    pages: usize,
) -> Result<Option<Vec<Categories>>, MirrorError> {
    let start = start & !0xfff;
    let end = start.saturating_add((pages as u64).saturating_mul(4096));
    let Some(regions) = regions(process, start, end, [ALL, FIRST])? else { return Ok(None) };
    let mut found = vec![Categories::default(); pages];
    for region in regions {
        let first = (region.start.saturating_sub(start) / 4096) as usize;
        let last = (region.end.saturating_sub(start) / 4096) as usize;
        for page in found.iter_mut().take(last.min(pages)).skip(first) {
            page.0 |= region.categories;
        }
    }
    Ok(Some(found))
}

/// The parts of `[start, end)` in which entries are not empty, as first address and the one after
/// the last; `None` if the kernel has no such ioctl.
///
/// # Errors
/// As [`Process::open_file`].
pub fn occupied(
    process: &Process,
    start: u64,
    end: u64,
) -> Result<Option<Vec<(u64, u64)>>, MirrorError> {
    let old = u64::from(general::PAGE_IS_PRESENT | general::PAGE_IS_SWAPPED);
    let new = old | u64::from(general::PAGE_IS_GUARD);
    let Some(regions) = regions(process, start, end, [new, old])? else { return Ok(None) };
    Ok(Some(regions.iter().map(|region| (region.start, region.end)).collect()))
}

/// The address of the first page in `[start, end)` whose entry is not empty: `end` if there is
/// none; `None` if the kernel has no such ioctl.
///
/// # Errors
/// As [`Process::open_file`].
pub(crate) fn first_occupied(
    process: &Process,
    start: u64,
    end: u64,
) -> Result<Option<u64>, MirrorError> {
    let fd = process.open_file("pagemap")?;
    let old = u64::from(general::PAGE_IS_PRESENT | general::PAGE_IS_SWAPPED);
    let mut mask = old | u64::from(general::PAGE_IS_GUARD);
    let mut at = start;
    while at < end {
        match scan(fd.as_fd(), at, end, mask, Most::OnePage) {
            Ok((regions, walked)) => match regions.first() {
                Some(region) => return Ok(Some(region.start)),
                None if walked <= at => break,
                None => at = walked,
            },
            Err(Errno::INVAL) if mask != old => mask = old,
            Err(Errno::INVAL | Errno::NOTTY | Errno::FAULT) => return Ok(None),
            Err(errno) => return Err(process.error("pagemap", errno)),
        }
    }
    Ok(Some(end))
}

/// The regions of `[start, end)` in any category of the first of `masks` that the kernel knows.
fn regions(
    process: &Process,
    start: u64,
    end: u64,
    masks: [u64; 2],
) -> Result<Option<Vec<page_region>>, MirrorError> {
    let fd = process.open_file("pagemap")?;
    for mask in masks {
        match with_mask(fd.as_fd(), start, end, mask) {
            Ok(found) => return Ok(Some(found)),
            Err(Errno::INVAL) => {}
            Err(Errno::NOTTY | Errno::FAULT) => return Ok(None),
            Err(errno) => return Err(process.error("pagemap", errno)),
        }
    }
    Ok(None)
}

/// Categories of runs of pages, without an entry for each page: for ranges of any length.
#[derive(Debug)]
pub(crate) struct Runs {
    fd: OwnedFd,
    mask: u64,
}

impl Runs {
    /// What tells states of pages apart; nothing that would cut runs of one state into pieces.
    const STATES: u64 = (general::PAGE_IS_FILE
        | general::PAGE_IS_PRESENT
        | general::PAGE_IS_SWAPPED
        | general::PAGE_IS_PFNZERO
        | general::PAGE_IS_HUGE
        | general::PAGE_IS_GUARD) as u64;

    /// Opens the pagemap of `process`; `None` if the kernel has no such ioctl.
    ///
    /// # Errors
    /// As [`Process::open_file`].
    pub(crate) fn open(process: &Process) -> Result<Option<Self>, MirrorError> {
        for mask in [Self::STATES, Self::STATES & FIRST] {
            let runs = Self { fd: process.open_file("pagemap")?, mask };
            match scan(runs.fd.as_fd(), 0, 4096, mask, Most::Regions) {
                Ok(_) => return Ok(Some(runs)),
                Err(Errno::INVAL) => {}
                Err(Errno::NOTTY | Errno::FAULT) => return Ok(None),
                Err(errno) => return Err(process.error("pagemap", errno)),
            }
        }
        Ok(None)
    }

    /// Tells `each` the runs of pages in `[start, end)` that are not empty entries, in address
    /// order: first byte, first byte after, categories.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn each<E: From<Errno>>(
        &self,
        start: u64,
        end: u64,
        mut each: impl FnMut(u64, u64, Categories) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = start;
        while at < end {
            let (regions, walked) = match scan(self.fd.as_fd(), at, end, self.mask, Most::Regions) {
                Err(Errno::INTR) => continue,
                done => done?,
            };
            for region in &regions {
                each(region.start, region.end, Categories(region.categories))?;
            }
            if walked <= at {
                break;
            }
            at = walked;
        }
        Ok(())
    }
}

fn with_mask(
    fd: BorrowedFd<'_>,
    start: u64,
    end: u64,
    mask: u64,
) -> Result<Vec<page_region>, Errno> {
    let (mut found, mut at) = (Vec::new(), start);
    while at < end {
        let (regions, walked) = scan(fd, at, end, mask, Most::Regions)?;
        found.extend(regions);
        if walked <= at {
            break;
        }
        at = walked;
    }
    Ok(found)
}

const REGIONS: usize = 256;

/// Where a call of the ioctl stops at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Most {
    /// Where there is no room for more regions.
    Regions,
    /// After the first page that is found.
    OnePage,
}

/// One call of the ioctl: the regions found, and where the walk stopped.
fn scan(
    fd: BorrowedFd<'_>,
    start: u64,
    end: u64,
    mask: u64,
    most: Most,
) -> Result<(Vec<page_region>, u64), Errno> {
    let mut regions = vec![page_region { start: 0, end: 0, categories: 0 }; REGIONS];
    let mut arg = pm_scan_arg {
        size: size_of::<pm_scan_arg>() as u64,
        flags: 0,
        start,
        end,
        walk_end: 0,
        vec: regions.as_mut_ptr().expose_provenance() as u64,
        vec_len: REGIONS as u64,
        max_pages: u64::from(most == Most::OnePage),
        category_inverted: 0,
        category_mask: 0,
        category_anyof_mask: mask,
        return_mask: mask,
    };
    // SAFETY: `arg.vec` points to `REGIONS` writable regions that live until this function returns.
    let count = unsafe { ioctl(fd, Scan(&mut arg)) }?;
    regions.truncate(count);
    Ok((regions, arg.walk_end))
}

/// `PAGEMAP_SCAN` with its argument.
struct Scan<'a>(&'a mut pm_scan_arg);

// SAFETY: the opcode is that of `_IOWR('f', 16, struct pm_scan_arg)`; the kernel reads and writes
// one `pm_scan_arg` there, which the borrow keeps alive and unshared.
unsafe impl Ioctl for Scan<'_> {
    type Output = usize;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<pm_scan_arg>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
        Ok(usize::try_from(out).unwrap_or(0))
    }
}
