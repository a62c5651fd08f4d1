//! Readers from outside, side by side: what `process_vm_readv`, `/proc/PID/mem` and a debugger that
//! reads words would get from the range, and whether what stops them is no mapping or a refusal.
//!
//! The three verdicts are the explainer's, on one reading of the process. Absent: whether the
//! reader may trace the process at all.

use crate::consumer::Consumer;
use crate::explain::look::Look;
use crate::explain::request::{Ask, Request};
use crate::explain::{NoVerdict, explain_window};

use crate::explain::verdict::{StopAt, Verdict};
use gup::errno::Errno;

/// The readers, in the order in which people try them.
pub const READERS: [Consumer; 3] =
    [Consumer::ProcessVmReadv, Consumer::ProcMemRead, Consumer::PtracePeek];

/// How far a reader comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It gets everything.
    Whole,
    /// It comes to an address at which nothing is mapped.
    NoMapping,
    /// It comes to a page that is mapped and is refused to it.
    Refused,
}

impl Reach {
    /// The name that `--json` prints; a closed list.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::NoMapping => "no-mapping",
            Self::Refused => "refused",
        }
    }
}

/// What one reader gets.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Who reads.
    pub consumer: Consumer,
    /// Bytes from the start of the range that it gets; a debugger, word by word.
    pub bytes: u64,
    /// The errno that it sees; `None` if it gets everything, or a short count instead.
    pub errno: Option<Errno>,
    /// How far it comes.
    pub reach: Reach,
    /// What stops it.
    pub stop: Option<StopAt>,
}

/// What the readers get.
#[derive(Clone, Debug)]
pub struct Readers {
    /// Bytes of the range.
    pub len: u64,
    /// One after the other.
    pub readers: Vec<Reader>,
}

/// What each of [`READERS`] gets from the range of `look`.
///
/// # Errors
/// [`NoVerdict::Build`].
pub fn readers(look: &Look<'_>) -> Result<Readers, NoVerdict> {
    let range = look.request.range;
    let mut readers = Vec::new();
    for consumer in READERS {
        let request = Request { ask: Ask::Consumer(consumer), range };
        readers.push(reader(consumer, explain_window(&look.window, &request)?, look));
    }
    Ok(Readers { len: range.len_bytes(), readers })
}

fn reader(consumer: Consumer, verdict: Verdict, look: &Look<'_>) -> Reader {
    let range = look.request.range;
    let reach = match &verdict.stop {
        None => Reach::Whole,
        Some(stop) if stop.place.is_none() => Reach::NoMapping,
        Some(_) => Reach::Refused,
    };
    let until = |stop: &StopAt| stop.addr.saturating_sub(range.start()).min(range.len_bytes());
    let bytes = verdict.stop.as_ref().map_or(range.len_bytes(), until);
    let errno = verdict.call.and_then(|call| call.errno);
    Reader { consumer, bytes, errno, reach, stop: verdict.stop }
}
