//! Rates: what pages cost on one machine, as measured, and the time that follows for a pin.
//!
//! A *round* measured every rate once, one after the other. The time of a pin is computed for each
//! round; the range goes from the fastest to the slowest, and a little beyond: after twenty rounds,
//! one more lies between the fastest and the slowest in nineteen cases of twenty-one.
//! Absent: measuring, which needs memory and system calls of its own (`gup_conformance::cost`).

use crate::answer::cost::Counts;

/// What was measured in one round, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Round {
    /// A call that pins one page that is there.
    pub call: f64,
    /// Pinning one more small page that is there.
    pub pin_small: f64,
    /// Pinning one more 4 KiB of a huge page that is there.
    pub pin_in_huge: f64,
    /// The fault that makes and zeroes a small page.
    pub fault_small: f64,
    /// The fault that makes and zeroes a huge page.
    pub fault_huge: f64,
    /// The fault that copies a small page.
    pub copy: f64,
}

/// Rounds on one machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// What was measured.
    pub rounds: Vec<Round>,
}

/// From one time to another, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The shortest that is expected.
    pub low: f64,
    /// The longest that is expected.
    pub high: f64,
}

/// How far the range goes beyond what was measured.
const BEYOND: f64 = 0.15;

impl Span {
    /// Whether `time` lies in it, in nanoseconds.
    pub fn has(&self, time: f64) -> bool {
        self.low <= time && time <= self.high
    }

    fn of(times: impl Iterator<Item = f64>) -> Option<Self> {
        let span = times.fold(None, |span: Option<Self>, time| {
            let Self { low, high } = span.unwrap_or(Self { low: time, high: time });
            Some(Self { low: low.min(time), high: high.max(time) })
        })?;
        Some(Self { low: span.low * (1.0 - BEYOND), high: span.high * (1.0 + BEYOND) })
    }
}

/// How long a pin takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Time {
    /// Faults, with zeroing and copying.
    pub faults: Span,
    /// Taking the pages.
    pub pin: Span,
    /// Both.
    pub total: Span,
}

impl Rates {
    /// How long a pin takes that does what `counts` says; `None` without rounds, or if it does
    /// what was not measured: reads from files or swap, or moves pages.
    pub fn time(&self, counts: &Counts) -> Option<Time> {
        let measured = counts.swapped_in == 0
            && counts.moved == 0
            && counts.from_files == 0
            && counts.major == 0;
        if !measured {
            return None;
        }
        let rounds = || self.rounds.iter();
        Some(Time {
            faults: Span::of(rounds().map(|round| round.faults(counts)))?,
            pin: Span::of(rounds().map(|round| round.pin(counts)))?,
            total: Span::of(rounds().map(|round| round.faults(counts) + round.pin(counts)))?,
        })
    }
}

#[allow(clippy::cast_precision_loss, reason = "numbers of pages, for a person")]
const fn real(n: u64) -> f64 {
    n as f64
}

impl Round {
    fn faults(&self, counts: &Counts) -> f64 {
        let huge = counts.zeroed_huge;
        let small = counts.faults.saturating_sub(huge + counts.copied);
        real(huge) * self.fault_huge
            + real(counts.copied) * self.copy
            + real(small) * self.fault_small
    }

    fn pin(&self, counts: &Counts) -> f64 {
        self.call + real(counts.small) * self.pin_small + real(counts.in_huge) * self.pin_in_huge
    }
}

#[cfg(test)]
mod tests {
    use super::{Rates, Round};
    use crate::answer::cost::Counts;

    #[test]
    fn the_range_is_that_of_the_rounds_and_a_little_more() {
        let round =
            |fault_small| Round { call: 100.0, pin_small: 10.0, fault_small, ..Round::default() };
        let rates = Rates { rounds: vec![round(200.0), round(300.0)] };
        let counts = Counts { small: 10, faults: 10, zeroed_small: 10, ..Counts::default() };
        let time = rates.time(&counts).expect("all of it was measured");
        assert!(time.faults.has(1700.0) && time.faults.has(3449.0) && !time.faults.has(3451.0));
        assert!(time.pin.has(200.0) && !time.pin.has(231.0));
        assert!(time.total.has(1871.0) && time.total.has(3679.0) && !time.total.has(3681.0));
    }

    #[test]
    fn what_was_not_measured_gets_no_time() {
        let rates = Rates { rounds: vec![Round::default()] };
        for counts in [
            Counts { swapped_in: 1, ..Counts::default() },
            Counts { moved: 1, ..Counts::default() },
            Counts { from_files: 1, ..Counts::default() },
        ] {
            assert_eq!(rates.time(&counts), None, "{counts:?}");
        }
        assert_eq!(Rates::default().time(&Counts::default()), None);
    }
}
