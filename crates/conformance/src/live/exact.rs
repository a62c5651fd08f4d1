//! What the kernel itself has of a subject's pages, where that can be seen.
//!
//! New pages wait in lists of the CPU, each with a reference, until enough have come together: the
//! lists are emptied before counts are read. Linux: mm/swap.c `lru_add_drain`, which `MADV_COLD` of
//! anything begins with.

use super::kernel::{Kernel, Subject};
use crate::bpf::Sight;
use crate::sys::{PAGE, check};
use crate::world::{Counts, Exact, Token};
use gup_mirror::proc::kpage::KpageFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::ptr::NonNull;

/// Sees counts and entries.
#[derive(Debug)]
pub(crate) struct Exactly {
    pub(crate) sight: Sight,
    /// A page of nothing, whose going cold empties the lists.
    page: NonNull<std::ffi::c_void>,
}

impl Exactly {
    /// # Errors
    /// Why they cannot be seen, in words.
    pub(crate) fn open() -> Result<Self, String> {
        let sight = Sight::open()?;
        let (null, none) = (std::ptr::null_mut(), ProtFlags::READ);
        // SAFETY: a new mapping where the kernel chooses.
        let page = unsafe { mmap_anonymous(null, PAGE as usize, none, MapFlags::PRIVATE) };
        let page = page.map_err(|errno| format!("a page: {errno}"))?;
        Ok(Self { sight, page: NonNull::new(page).ok_or("a page is nowhere")? })
    }
    /// Empties this CPU's lists of pages.
    fn settle(&self) -> Result<(), Errno> {
        let (at, len) = (self.page.as_ptr(), PAGE as usize);
        // SAFETY: our own page, whose bytes this does not change.
        check(unsafe { libc::madvise(at, len, libc::MADV_COLD) }.into()).map(drop)
    }
}

impl Drop for Exactly {
    fn drop(&mut self) {
        // SAFETY: our own mapping of one page, to which there is no reference.
        let _ = unsafe { munmap(self.page.as_ptr(), PAGE as usize) };
    }
}

/// `counts` without the reference that a file system has for data of its own (`folio_has_private`):
/// the engine's files have no such data.
fn without_private(kernel: &Kernel<'_>, counts: Counts, pfn: u64) -> Counts {
    let flags = kernel.lab.kpages.as_ref().and_then(|kpages| kpages.flags(pfn));
    let private = flags.is_some_and(KpageFlags::private);
    Counts { refs: counts.refs - i32::from(private), ..counts }
}

/// What the kernel has of the subject's pages from `start` on, `tokens` being their states; `None`
/// if that is not looked at.
/// # Errors
/// The kernel's.
pub(crate) fn exact(
    kernel: &Kernel<'_>,
    subject: &Subject,
    start: u64,
    tokens: &[Token],
) -> Result<Option<Vec<Exact>>, Errno> {
    let Some((exactly, root)) = kernel.lab.exactly.as_ref().zip(subject.root) else {
        return Ok(None);
    };
    exactly.settle()?;
    let addrs: Vec<u64> = (0..tokens.len() as u64).map(|n| start + n * PAGE).collect();
    let marks = exactly.sight.marks(root, &addrs)?;
    let words = subject.eyes.words(start, addrs.len() as u64)?;
    let counted: Vec<Option<u64>> =
        tokens.iter().zip(&words).map(|(token, word)| token.class.and(word.pfn())).collect();
    let pfns: Vec<u64> = counted.iter().flatten().copied().collect();
    let counts = exactly.sight.counts(&pfns)?;
    let mut counts =
        counts.into_iter().zip(&pfns).map(|(counts, pfn)| without_private(kernel, counts, *pfn));
    let each = marks.into_iter().zip(counted);
    let exact =
        |(marks, pfn): (_, Option<u64>)| Exact { marks, counts: pfn.and_then(|_| counts.next()) };
    Ok(Some(each.map(exact).collect()))
}
