//! The running kernel: its version, and what it has against its version.
//!
//! Distributions carry changes back, so that what can be asked is asked: by calls that work on
//! memory of this program alone and change nothing else. What cannot be asked so follows the
//! version.
//!
//! Linux: `mm/madvise.c` `madvise_behavior_valid`, `fs/proc/base.c` `proc_mem_foll_force`.

use crate::kernel::{Facts, Forced, parse};
use gup::linux::{Kernel, Linux, Version};
use gup::rule::{Rule, c};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::OnceLock;

/// Bytes of the memory that is asked about.
const LEN: usize = 4096;

/// The facts of the running kernel, probed once.
pub fn running() -> &'static Facts {
    static RUNNING: OnceLock<Facts> = OnceLock::new();
    RUNNING.get_or_init(|| {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let version = parse(&release).unwrap_or(Linux::V6_18.version());
        let page = Page::new();
        let mut kernel = Kernel::released(version);
        for (rule, there) in page.as_ref().map(Page::calls).into_iter().flatten() {
            if kernel.has(rule) != there {
                kernel.otherwise.push(rule);
            }
        }
        let forced = page.as_ref().map_or(Forced::Yes, |page| page.forced(version));
        Facts { kernel: Some(kernel), forced, seen_on: true }
    })
}

/// A read-only anonymous page of this program, unmapped when it is dropped.
struct Page(*mut std::ffi::c_void);

impl Page {
    fn new() -> Option<Self> {
        // SAFETY: the kernel chooses the address of a new mapping, so that no other memory of this
        // program is replaced.
        let at = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), LEN, ProtFlags::READ, MapFlags::PRIVATE)
        };
        at.ok().map(Self)
    }

    /// The calls that stand for a rule, and whether they are there.
    fn calls(&self) -> Vec<(Rule, bool)> {
        let populate = self.knows(Advice::LinuxPopulateRead);
        populate.map(|there| (c::C_95, there)).into_iter().collect()
    }

    /// Whether the kernel knows `advice`; `None` if its answer does not tell.
    fn knows(&self, advice: Advice) -> Option<bool> {
        // A length of 0 is refused only if the advice itself is unknown.
        // SAFETY: `self.0` is the start of a mapping of this value's own; no byte is in the range.
        match unsafe { rustix::mm::madvise(self.0, 0, advice) } {
            Ok(()) => Some(true),
            Err(Errno::INVAL) => Some(false),
            Err(_) => None,
        }
    }

    /// Whether a store through `/proc/self/mem` goes past the page's permissions. Before 6.12 that
    /// was not a question.
    fn forced(&self, version: Version) -> Forced {
        if version < Version(6, 12) {
            return Forced::Yes;
        }
        let Ok(file) = OpenOptions::new().write(true).open("/proc/self/mem") else {
            return Forced::Yes;
        };
        match file.write_at(&[0], self.0 as u64) {
            Ok(_) => Forced::Yes,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Forced::No,
            Err(_) => Forced::Yes,
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and nothing refers to it: no
        // reference to its bytes is ever made.
        let _ = unsafe { rustix::mm::munmap(self.0, LEN) };
    }
}

#[cfg(test)]
mod tests {
    use super::running;
    use gup::linux::Version;

    #[test]
    fn a_kernel_as_it_was_released_has_nothing_against_its_version() {
        let facts = running();
        let kernel = facts.kernel.as_ref().expect("a running kernel");
        if kernel.version >= Version(6, 18) {
            assert_eq!(kernel.otherwise, []);
            assert_eq!(facts.older(), None, "its rules are those of 6.18");
        }
    }
}
