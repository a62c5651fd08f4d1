//! Preflight: what a registration of this process's own memory would come to, before it is made.
//!
//! For programs that register buffers and want to say more than the errno: the verdict for the
//! range, and the ledger of the limit that it counts against. It reads `/proc/self` and touches
//! nothing. Other threads may map and unmap between the answer and the call.

use crate::answer::memlock::{Memlock, memlock};
use crate::consumer::Consumer;
use crate::explain::NoVerdict;
use crate::explain::look::Look;
use crate::explain::request::{Ask, Request};
use crate::explain::verdict::Verdict;
use crate::process::Process;
use crate::range::{ByteRange, PAGE};
use gup::errno::Errno;

/// What a registration would come to.
#[derive(Clone, Debug)]
pub struct Preflight {
    /// What becomes of the pages.
    pub verdict: Verdict,
    /// Whether the limit on locked memory is enough.
    pub memlock: Memlock,
}

impl Preflight {
    /// The errno that the call would fail with; `None` if it would work.
    pub fn errno(&self) -> Option<Errno> {
        self.memlock.errno
    }

    /// Why it would fail, in a sentence; `None` if it would work.
    pub fn why(&self) -> Option<String> {
        let errno = self.errno()?;
        if let Some(refusal) = self.memlock.refusal {
            let (used, needed) = (self.memlock.used * PAGE, self.memlock.needed * PAGE);
            let short = self.memlock.shortfall();
            return Some(format!(
                "{refusal}: RLIMIT_MEMLOCK is {short} bytes too small: {used} are in use, this \
                 needs {needed}"
            ));
        }
        let stop = self.verdict.stop.as_ref()?;
        let (index, addr, rule) = (stop.index, stop.addr, stop.rule);
        Some(format!("{errno} at page {index} ({addr:#x}): {} ({rule})", rule.row().meaning))
    }

    /// What to do instead; empty if nothing is known, or it would work.
    pub fn instead(&self) -> &'static str {
        if self.memlock.refusal.is_some() {
            return "raise the limit (ulimit -l, LimitMEMLOCK=), or register less at once";
        }
        self.verdict.stop.as_ref().map_or("", |stop| stop.rule.row().remedy)
    }
}

/// What `consumer` would get from `range` of this process.
///
/// ```
/// use gup_mirror::consumer::Consumer;
/// use gup_mirror::range::ByteRange;
///
/// let buffer = vec![1_u8; 10_000];
/// let range = ByteRange::new(buffer.as_ptr().addr() as u64, 10_000)?;
/// let preflight = gup_mirror::preflight(&range, Consumer::ODirectWrite)?;
/// assert_eq!(preflight.verdict.nr_pages, range.pages());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`NoVerdict`].
pub fn preflight(range: &ByteRange, consumer: Consumer) -> Result<Preflight, NoVerdict> {
    let process = Process::open(std::process::id())?;
    let look = Look::at(&process, Request { ask: Ask::Consumer(consumer), range: *range })?;
    let memlock = memlock(&look)?;
    Ok(Preflight { verdict: look.verdict, memlock })
}

#[cfg(test)]
mod tests {
    use super::preflight;
    use crate::consumer::Consumer;
    use crate::range::ByteRange;
    use gup::errno::Errno;

    #[test]
    fn nothing_mapped_is_refused_with_a_reason_and_what_to_do() {
        let range = ByteRange::new(0x1000, 4096).expect("a range");
        let preflight = preflight(&range, Consumer::Rdma).expect("an answer");
        let by_limit = preflight.memlock.refusal;
        assert_eq!(preflight.errno(), by_limit.or(Some(Errno::EFAULT)));
        assert!(preflight.why().is_some_and(|why| why.contains('E')));
        assert!(!preflight.instead().is_empty());
    }
}
