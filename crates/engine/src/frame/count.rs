//! References and pins: taking, returning, freezing.
//!
//! Both counts share one word, references low, pins high, and a pin is also a reference; so a pin
//! is one add of `1 << 32 | 1`, and the last `put` sees both. *Known*: the caller has a reason why
//! the folio is not free (a present entry under the table's lock, a reference of its own).
//! *Speculative*: it has none (the lockless walk). Invariants: a count that would pass
//! [`COUNT_LIMIT`], or is zero, refuses a known grab and is left as it was (I-11); a speculative
//! grab never makes a zero count non-zero, not even for a moment. Pins are a count of their own,
//! not a multiple of references (I-12). What Linux would show, where a pin of a small folio counts
//! 1024, is computed from both and never calculated with ([`FrameTable::linux_refcount`],
//! [`FrameTable::maybe_pinned`]): exact above, safe beneath (`docs/semantics.md`, 7.1).
//! Linux: `include/linux/page_ref.h`, mm/gup.c `try_grab_folio`, `gup_put_folio`,
//! `folio_maybe_dma_pinned` (6.18).

use super::flags::{FrameFlags, Word};
use super::meta::{FrameTable, Hot};
use crate::addr::Pfn;
use crate::rule::s;
use core::fmt;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// References at or above this are refused: the sign bit of Linux's count.
pub const COUNT_LIMIT: u32 = 1 << 31;
/// What one pin of a small folio adds to the count that Linux shows.
pub const GUP_PIN_COUNTING_BIAS: u32 = 1024;

/// One reference that is also a pin.
const PIN: u64 = 1 << 32 | 1;
/// Up to this many at once, a passing overshoot of many threads cannot carry into the pins.
const STEP_MAX: u32 = 1 << 22;
/// With so few references and pins, no count is near its limit.
const FEW_REFS: u32 = 1 << 30;
/// As [`FEW_REFS`], for pins: 1023 times this is less than what is left.
const FEW_PINS: u32 = 1 << 20;

/// Why a known folio was not grabbed. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountError {
    /// Its references are zero or frozen: it is free, or being taken apart.
    Gone,
    /// Its references would pass [`COUNT_LIMIT`].
    Limit,
}

impl fmt::Display for CountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the folio has no references",
            Self::Limit => "the folio's references are at their limit",
        })
    }
}
impl core::error::Error for CountError {}

/// Whether a return was the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "whoever returns the last reference frees the folio"]
pub enum Last {
    /// References reached zero: the caller frees the folio.
    Yes,
    /// Somebody else still has one.
    No,
}

/// More references or pins were to be returned than there are. Nothing was changed: a pin is not
/// cancelled by references that are no pins (I-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdrawn;

/// What a speculative grab takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grab {
    Get,
    Pin,
}

impl Grab {
    #[inline]
    const fn unit(self) -> u64 {
        match self {
            Self::Get => 1,
            Self::Pin => PIN,
        }
    }
}

/// How a speculative grab ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speculative {
    Taken,
    Refused,
    /// Refused, but the last reference of this folio was in our hands for a moment: it is ours to
    /// free.
    RefusedLast(Pfn),
}

const fn refs_of(counts: u64) -> u32 {
    (counts & 0xffff_ffff) as u32
}
const fn pins_of(counts: u64) -> u32 {
    (counts >> 32) as u32
}

impl Hot {
    /// Adds `n` times `unit` to known counts.
    #[inline]
    fn add_known(&self, unit: u64, n: u32) -> Result<(), CountError> {
        if n > STEP_MAX {
            return self.add_slowly(unit, n);
        }
        let delta = unit * u64::from(n);
        let old = self.counts.fetch_add(delta, Relaxed);
        // One comparison for both bounds: zero wraps to the top. Linux's own count is far from its
        // limit, too, where both are.
        if refs_of(old).wrapping_sub(1) < FEW_REFS && pins_of(old) < FEW_PINS {
            return Ok(());
        }
        self.add_near_limit(delta, old, n)
    }
    /// Whether the addition of `delta`, `n` references, to `old` stands; it is taken back if not.
    #[cold]
    #[inline(never)]
    fn add_near_limit(&self, delta: u64, old: u64, n: u32) -> Result<(), CountError> {
        let refs = refs_of(old);
        if refs.wrapping_sub(1) < (COUNT_LIMIT - 1) - n && !self.is_full(old) {
            return Ok(());
        }
        self.counts.fetch_sub(delta, Relaxed);
        Err(if refs == 0 { CountError::Gone } else { CountError::Limit })
    }
    /// Whether Linux's count of a small folio, in which a pin is 1024, has reached its sign bit
    /// (row C-89).
    #[cold]
    fn is_full(&self, counts: u64) -> bool {
        let bias = u64::from(pins_of(counts)) * u64::from(GUP_PIN_COUNTING_BIAS - 1);
        let small = !Word(self.word.load(Relaxed)).is_large();
        small && u64::from(refs_of(counts)) + bias >= u64::from(COUNT_LIMIT)
    }
    #[cold]
    #[inline(never)]
    fn add_slowly(&self, unit: u64, n: u32) -> Result<(), CountError> {
        let step = |counts| checked_sum(counts, unit, n).ok();
        match self.counts.fetch_update(Relaxed, Relaxed, step) {
            Ok(_) => Ok(()),
            Err(counts) => checked_sum(counts, unit, n).map(|_| ()),
        }
    }
    /// Adds `n` times `unit` unless references are zero or at the limit.
    #[inline(always)]
    fn add_unless_zero(&self, unit: u64, n: u32) -> bool {
        let mut counts = self.counts.load(Relaxed);
        loop {
            let few = refs_of(counts).wrapping_sub(1) < FEW_REFS && pins_of(counts) < FEW_PINS;
            let sum = if few && n <= STEP_MAX {
                counts + unit * u64::from(n)
            } else {
                match checked_sum(counts, unit, n) {
                    Ok(sum) if pins_of(counts) < FEW_PINS || !self.is_full(counts) => sum,
                    Ok(_) | Err(_) => return false,
                }
            };
            match self.counts.compare_exchange_weak(counts, sum, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(now) => counts = now,
            }
        }
    }
    /// Takes `n` references away that are no pins.
    #[inline]
    fn sub_refs(&self, n: u32) -> Result<Last, Overdrawn> {
        let old = self.counts.fetch_sub(u64::from(n), Release);
        let overdrawn = u64::from(refs_of(old)) < u64::from(pins_of(old)) + u64::from(n);
        if s::S_16.when(overdrawn) {
            return self.underflow(u64::from(n));
        }
        Ok(last(refs_of(old), n))
    }
    /// Takes `n` pins away.
    #[inline]
    fn sub_pins(&self, n: u32) -> Result<Last, Overdrawn> {
        let delta = PIN * u64::from(n);
        let old = self.counts.fetch_sub(delta, Release);
        if pins_of(old) < n || refs_of(old) < n {
            return self.underflow(delta);
        }
        Ok(last(refs_of(old), n))
    }
    /// More was returned than taken: the folio is kept, for ever, rather than freed under somebody.
    #[cold]
    #[inline(never)]
    fn underflow(&self, delta: u64) -> Result<Last, Overdrawn> {
        self.counts.fetch_add(delta, Relaxed);
        Err(Overdrawn)
    }
}

/// What an overdrawn return is to a caller who cannot be told.
fn assume_returned(last: Result<Last, Overdrawn>) -> Last {
    debug_assert!(last.is_ok(), "more references or pins returned than taken");
    last.unwrap_or(Last::No)
}

#[inline]
fn last(old: u32, n: u32) -> Last {
    if old != n || n == 0 {
        return Last::No;
    }
    // Pairs with the `Release` of every earlier return: the freer sees what others wrote.
    crate::sync::fence(Acquire);
    Last::Yes
}

fn checked_sum(counts: u64, unit: u64, n: u32) -> Result<u64, CountError> {
    match refs_of(counts) {
        0 => Err(CountError::Gone),
        refs if refs >= COUNT_LIMIT || n >= COUNT_LIMIT - refs => Err(CountError::Limit),
        _ => Ok(counts + unit * u64::from(n)),
    }
}

impl FrameTable {
    /// References, pins included.
    #[inline]
    pub fn refs(&self, pfn: Pfn) -> u32 {
        refs_of(self.head_hot(pfn).counts.load(Relaxed))
    }
    /// Pins.
    #[inline]
    pub fn pins(&self, pfn: Pfn) -> u32 {
        pins_of(self.head_hot(pfn).counts.load(Relaxed))
    }
    /// The count that Linux shows: one for a reference, that of a batch of pages given away too;
    /// for a pin one in a large folio, 1024 in a small one.
    #[inline]
    pub fn linux_refcount(&self, pfn: Pfn) -> u32 {
        let counts = self.head_hot(pfn).counts.load(Relaxed);
        if self.is_large(pfn) {
            return refs_of(counts);
        }
        let bias = pins_of(counts).saturating_mul(GUP_PIN_COUNTING_BIAS - 1);
        let batch = u32::from(self.has(pfn, FrameFlags::LAZYFREE_BATCH));
        refs_of(counts).saturating_add(bias).saturating_add(batch)
    }
    /// Whether the folio may be pinned (C-88): exact for a large one; a small one says yes from
    /// 1024 plain references on, too. Never a false no.
    #[inline]
    pub fn maybe_pinned(&self, pfn: Pfn) -> bool {
        if self.is_large(pfn) {
            self.pins(pfn) > 0
        } else {
            self.linux_refcount(pfn) >= GUP_PIN_COUNTING_BIAS
        }
    }

    /// Takes `n` references on a known folio, with one atomic add.
    /// # Errors
    /// [`CountError`] (I-11): the counts are as they were.
    #[inline]
    pub fn get(&self, pfn: Pfn, n: u32) -> Result<(), CountError> {
        self.head_hot(pfn).add_known(1, n)
    }
    /// Takes `n` pins on a known folio, with one atomic add. The caller keeps away from the zero
    /// page.
    /// # Errors
    /// As [`FrameTable::get`].
    #[inline]
    pub fn pin(&self, pfn: Pfn, n: u32) -> Result<(), CountError> {
        self.head_hot(pfn).add_known(PIN, n)
    }
    /// Takes `n` references (or pins) on a folio that may be free.
    #[inline(always)]
    pub(super) fn try_add(&self, pfn: Pfn, grab: Grab, n: u32) -> Speculative {
        let own = self.hot(pfn);
        if own.word().is_tail() {
            return self.try_add_by_tail(pfn, grab, n);
        }
        if !own.add_unless_zero(grab.unit(), n) {
            return Speculative::Refused;
        }
        if own.word().is_tail() {
            return self.taken_from_another(pfn, grab, n);
        }
        Speculative::Taken
    }
    #[inline(never)]
    fn try_add_by_tail(&self, pfn: Pfn, grab: Grab, n: u32) -> Speculative {
        let head = self.head(pfn);
        if !self.hot(head).add_unless_zero(grab.unit(), n) {
            return Speculative::Refused;
        }
        if self.head(pfn) == head && !self.word(head).is_tail() {
            return Speculative::Taken;
        }
        self.taken_from_another(head, grab, n)
    }
    /// What was taken at `head` is given back.
    #[cold]
    #[inline(never)]
    fn taken_from_another(&self, head: Pfn, grab: Grab, n: u32) -> Speculative {
        let hot = self.hot(head);
        // The folio was split, or freed and allocated anew, between the two reads: what was taken
        // is another's.
        let last = match grab {
            Grab::Get => hot.sub_refs(n),
            Grab::Pin => hot.sub_pins(n),
        };
        match assume_returned(last) {
            Last::Yes => Speculative::RefusedLast(head),
            Last::No => Speculative::Refused,
        }
    }
    /// Returns `n` plain references. Those that pins are part of are not to be had this way (I-12).
    #[inline]
    pub fn put(&self, pfn: Pfn, n: u32) -> Last {
        assume_returned(self.try_put(pfn, n))
    }
    /// As [`FrameTable::put`], for a caller that can be wrong.
    /// # Errors
    /// [`Overdrawn`]: not so many references are no pins.
    #[inline]
    pub fn try_put(&self, pfn: Pfn, n: u32) -> Result<Last, Overdrawn> {
        self.head_hot(pfn).sub_refs(n)
    }
    /// Returns `n` pins.
    #[inline]
    pub fn unpin(&self, pfn: Pfn, n: u32) -> Last {
        assume_returned(self.try_unpin(pfn, n))
    }
    /// As [`FrameTable::unpin`], for a caller that can be wrong.
    /// # Errors
    /// [`Overdrawn`]: there are not so many pins.
    #[inline]
    pub fn try_unpin(&self, pfn: Pfn, n: u32) -> Result<Last, Overdrawn> {
        self.head_hot(pfn).sub_pins(n)
    }
    /// Takes all references away if they are exactly `expected` and none is a pin: nobody can grab
    /// the folio until [`FrameTable::unfreeze`]. The caller owns all of them.
    pub fn freeze(&self, pfn: Pfn, expected: u32) -> bool {
        let counts = &self.head_hot(pfn).counts;
        expected != 0 && counts.compare_exchange(u64::from(expected), 0, Acquire, Relaxed).is_ok()
    }
    /// Ends a freeze with `refs` references.
    pub fn unfreeze(&self, pfn: Pfn, refs: u32) {
        let old = self.head_hot(pfn).counts.swap(u64::from(refs), Release);
        debug_assert!(old == 0, "only a frozen folio is unfrozen");
    }
}
