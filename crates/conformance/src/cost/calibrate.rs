//! The calibration: twenty rounds, in each of which every rate is measured once; about a second.
//!
//! Each rate is a difference of two pins, so that what they have in common drops out: untouched
//! less touched memory gives faults. A page that was just given back may still be in the
//! processor's caches when it is made again, and a pin may meet such pages or others. So some
//! rounds pin as much as is to be predicted, some do so again and again and look at the last time
//! only, and some pin so much that no cache has it.

use crate::cost::memory::{Making, Memory};
use crate::cost::pin::{Measured, Pinner};
use gup_mirror::answer::rates::{Rates, Round};

/// How often each rate is measured at the size that is asked about, and how often right after that
/// was done already.
const ROUNDS: usize = 7;

/// How often memory is made before its pages count as recent.
const AGAIN: usize = 3;

/// How often at a size that is in no cache.
const COLD_ROUNDS: usize = 6;

/// That size, in bytes; more is never pinned.
const COLD: u64 = 32 << 20;

/// A size that most limits on locked memory allow.
const ALLOWED: u64 = 4 << 20;

/// Measures what pages cost on this machine, for a pin of `bytes` bytes; `None` where there is no
/// `io_uring`, or the limit on locked memory leaves too little to try with.
pub fn calibrate(bytes: u64) -> Option<Rates> {
    let pinner = Pinner::new()?;
    let own = bytes.clamp(1, COLD).next_multiple_of(4096);
    [COLD, ALLOWED].into_iter().find_map(|most| {
        let (own, cold) = (usize::try_from(own.min(most)).ok()?, usize::try_from(most).ok()?);
        // The first round warms up.
        round(&pinner, own, Pages::Any)?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(round(&pinner, own, Pages::Any)?);
            rounds.push(round(&pinner, own, Pages::Recent)?);
        }
        for _ in 0..COLD_ROUNDS {
            rounds.push(round(&pinner, cold, Pages::Any)?);
        }
        Some(Rates { rounds })
    })
}

/// Which pages memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    /// Those that there are.
    Any,
    /// Those that the same memory was made of just before.
    Recent,
}

fn round(pinner: &Pinner, bytes: usize, recent: Pages) -> Option<Round> {
    let pages = per(bytes, 1 << 12);
    let (fresh, there, one) = both(pinner, Making::Small, bytes, recent)?;
    let call = one.ns;
    let pin_small = rest(there.ns, call) / pages;
    let fault_small = rest(fresh.ns, there.ns) / pages;
    // A fault makes whole huge pages.
    let blocks = bytes.div_ceil(1 << 21);
    let (pin_in_huge, fault_huge) = match both(pinner, Making::Thp, bytes, recent) {
        Some((fresh, there, _)) => {
            (rest(there.ns, call) / pages, rest(fresh.ns, there.ns) / per(blocks, 1))
        }
        None => (pin_small, fault_small * 512.0),
    };
    let copy = match both(pinner, Making::OfFile, bytes, recent) {
        Some((fresh, there, _)) => rest(fresh.ns, there.ns) / pages,
        None => fault_small,
    };
    Some(Round { call, pin_small, pin_in_huge, fault_small, fault_huge, copy })
}

/// A pin of untouched memory, one when all is there, and one of its first page. Pages that are
/// there were made just before, by this pin or otherwise.
fn both(
    pinner: &Pinner,
    making: Making,
    bytes: usize,
    recent: Pages,
) -> Option<(Measured, Measured, Measured)> {
    if recent == Pages::Recent {
        for _ in 0..AGAIN {
            pinner.pin(&Memory::new(making, bytes)?)?;
        }
    }
    let memory = Memory::new(making, bytes)?;
    let fresh = pinner.pin(&memory)?;
    let memory = match recent {
        Pages::Recent => memory,
        Pages::Any => {
            let other = Memory::new(making, bytes)?;
            other.touch().then_some(other)?
        }
    };
    Some((fresh, pinner.pin(&memory)?, pinner.pin_part(&memory, 4096)?))
}

/// What is left of `all`, at least nothing.
fn rest(all: f64, part: f64) -> f64 {
    (all - part).max(0.0)
}

#[allow(clippy::cast_precision_loss, reason = "numbers of pages")]
const fn per(bytes: usize, size: usize) -> f64 {
    (bytes / size) as f64
}
