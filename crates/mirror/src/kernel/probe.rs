//! The running kernel: its version, and what it has against its version.
//!
//! Distributions carry changes back, so that what can be asked is asked: by calls that work on
//! memory of this program alone and change nothing else. What cannot be asked so follows the
//! version, and the point releases that are known to carry a change.
//!
//! Linux: `mm/madvise.c` `madvise_behavior_valid`, `fs/proc/base.c` `proc_mem_foll_force`.

use crate::kernel::{Facts, Forced, parse};
use gup::linux::{Kernel, Linux, Version};
use gup::rule::{Rule, a, c};
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
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy().into_owned();
        let built = uname.version().to_string_lossy().into_owned();
        let version = parse(&release).unwrap_or(Linux::V6_18.version());
        let page = Page::new();
        let otherwise = carried(version, &format!("{release} {built}"));
        let mut kernel = Kernel { version, otherwise };
        for (rule, there) in page.as_ref().map(Page::calls).into_iter().flatten() {
            if kernel.has(rule) != there {
                kernel.otherwise.push(rule);
            }
        }
        let forced = page.as_ref().map_or(Forced::Yes, |page| page.forced(version));
        Facts { kernel: Some(kernel), forced, seen_on: true }
    })
}

/// Point releases from which on a kernel does not grow stacks for GUP any more, as 6.5.
const NO_GROWTH: [(Version, u32); 3] =
    [(Version(6, 1), 37), (Version(6, 3), 11), (Version(6, 4), 1)];

/// What a kernel of `version` has against it, by the point releases in what it says of itself: its
/// release, or, as Debian has it, a word such as `6.1.192-2` in the line of its build.
fn carried(version: Version, said: &str) -> Vec<Rule> {
    let Some((_, first)) = NO_GROWTH.iter().find(|(known, _)| *known == version) else {
        return Vec::new();
    };
    let prefix = format!("{version}.");
    let point = |word: &str| -> Option<u32> {
        let rest = word.strip_prefix(&prefix)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    let last = said.split_whitespace().filter_map(point).max();
    if last.is_some_and(|last| last >= *first) { vec![a::A_07, c::C_15] } else { Vec::new() }
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
    use super::{carried, running};
    use gup::linux::Version;
    use gup::rule::{a, c};

    #[test]
    fn a_point_release_carries_what_is_known_of_it() {
        let debian = "6.1.0-40-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-01-01)";
        let carries = [a::A_07, c::C_15];
        assert_eq!(carried(Version(6, 1), debian), carries);
        assert_eq!(carried(Version(6, 1), "6.1.36 #1 SMP"), []);
        assert_eq!(carried(Version(6, 1), "6.1.37 #1 SMP"), carries);
        assert_eq!(carried(Version(6, 4), "6.4.0-rc7+ #1"), []);
        assert_eq!(carried(Version(5, 15), "5.15.190-generic"), [], "nothing is known of it");
    }

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
