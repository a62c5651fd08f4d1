//! Movability: where the pages of the range lie, which of them a long-term pin must move first, and
//! what speaks against that.
//!
//! Moves are the engine's: the consumer is played in a machine whose movable memory holds the pages
//! that movable memory and CMA hold here, and the folios that it moved are counted. CMA is no zone:
//! which frames are in it is seen in debugfs only; without it, ordinary memory may be CMA.
//! Linux: `mm/gup.c` `check_and_migrate_movable_pages`, `mm/migrate.c`, `fs/proc/meminfo.c`.

use crate::explain::NoVerdict;
use crate::explain::look::Look;
use crate::explain::trial::Blocks;
use crate::proc::zones::{CmaInfo, Lies};
use crate::world::around::Around;
use gup::flags::Foll;
use gup::rule::{Rule, c};

/// Pages of the range that are in memory, by where they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// In a zone where they may stay; perhaps in CMA all the same ([`Movable::maybe_cma`]).
    pub ordinary: u64,
    /// In `ZONE_MOVABLE`.
    pub movable: u64,
    /// In CMA.
    pub cma: u64,
    /// In memory of a device.
    pub device: u64,
    /// Not seen: without privilege, or in spans of several zones.
    pub unknown: u64,
}

/// Folios and pages that are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Folios: a huge page is one.
    pub folios: u64,
    /// Pages, as `pgmigrate_success` counts them.
    pub pages: u64,
}

/// What speaks against moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// More of CMA is free than there is in all CMA areas: it has pages that belong to none.
    CmaBeyondTotal {
        /// `CmaTotal`, in KiB.
        total_kib: u64,
        /// `CmaFree`, in KiB.
        free_kib: u64,
    },
    /// CMA is nearly all lent out to pages of processes.
    CmaLentOut {
        /// `CmaTotal`, in KiB.
        total_kib: u64,
        /// `CmaFree`, in KiB.
        free_kib: u64,
    },
    /// Less memory is free outside CMA than is to be moved.
    LittleFree {
        /// Free outside CMA, in KiB.
        free_kib: u64,
    },
}

impl Warning {
    /// The name that `--json` prints; a closed list.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CmaBeyondTotal { .. } => "cma-beyond-total",
            Self::CmaLentOut { .. } => "cma-lent-out",
            Self::LittleFree { .. } => "little-free",
        }
    }

    /// What it means and what to do, for a person.
    pub fn sentence(self) -> String {
        match self {
            Self::CmaBeyondTotal { total_kib, free_kib } => format!(
                "CmaFree ({free_kib} KiB) is more than CmaTotal ({total_kib} KiB): the kernel \
                 lends memory to processes that belongs to no CMA area (scratch memory of kexec \
                 handover, for one); when other memory is short, long-term pins have to move out \
                 of it and may fail with ENOMEM. Try kho=off on the kernel's command line"
            ),
            Self::CmaLentOut { total_kib, free_kib } => format!(
                "of {total_kib} KiB of CMA only {free_kib} KiB are free: pages of processes live \
                 in it, and long-term pins have to move them"
            ),
            Self::LittleFree { free_kib } => format!(
                "only {free_kib} KiB are free outside CMA: pages that have to move may find no \
                 place"
            ),
        }
    }
}

/// What a pin has to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movable {
    /// Whether the pin is a long-term one; others move nothing.
    pub longterm: bool,
    /// Where the pages lie now.
    pub places: Places,
    /// How many of the ordinary pages may be in CMA at most; 0 where that was seen.
    pub maybe_cma: u64,
    /// What is moved, of what is known to have to.
    pub moves: Moves,
    /// The rule by which moving fails, if it does.
    pub fails: Option<Rule>,
    /// What speaks against moving.
    pub warnings: Vec<Warning>,
}

/// What the pin of `look` has to move.
///
/// # Errors
/// [`NoVerdict`].
pub fn movable(look: &Look<'_>) -> Result<Movable, NoVerdict> {
    let blocks = Blocks::around(look)?;
    let around = &blocks.1;
    let meminfo = look.process.read_machine_file("/proc/meminfo").unwrap_or_default();
    let cma = CmaInfo::parse(&meminfo);
    let places = places(look, around);
    let longterm = look.verdict.flags.contains(Foll::LONGTERM);
    let trial = blocks.trial(look, blocks.assumptions()[0])?;
    let tally = trial.mirror.machine.host().recorder().record().tally;
    let moves = Moves { folios: tally.moved_folios, pages: tally.moved_pages };
    let stop = trial.played.stop.filter(|stop| stop.rule == c::C_80);
    let maybe_cma = maybe_cma(places.ordinary, cma, around);
    let to_move = if longterm { places.movable + places.cma + maybe_cma } else { 0 };
    Ok(Movable {
        longterm,
        places,
        maybe_cma,
        moves,
        fails: stop.map(|stop| stop.rule),
        warnings: warnings(cma, &meminfo, to_move),
    })
}

fn places(look: &Look<'_>, around: &Around) -> Places {
    let mut places = Places::default();
    for page in &look.window.pages {
        match around.lies(page) {
            Some(Lies::Ordinary) => places.ordinary += 1,
            Some(Lies::Movable) => places.movable += 1,
            Some(Lies::Cma) => places.cma += 1,
            Some(Lies::Device) => places.device += 1,
            Some(Lies::Unknown) => places.unknown += 1,
            None => {}
        }
    }
    places
}

/// How many of so many ordinary pages may be in CMA: no more than what is lent out of it, if that
/// can be told.
fn maybe_cma(ordinary: u64, cma: CmaInfo, around: &Around) -> u64 {
    let (total, free) = (cma.total_kib.unwrap_or(0), cma.free_kib.unwrap_or(0));
    let seen = around.zones.cma_frames() * 4 >= total && free <= total;
    match (seen, free <= total) {
        (true, _) => 0,
        (false, true) => ordinary.min((total - free) / 4),
        (false, false) => ordinary,
    }
}

fn warnings(cma: CmaInfo, meminfo: &str, to_move: u64) -> Vec<Warning> {
    let (total_kib, free_kib) = (cma.total_kib.unwrap_or(0), cma.free_kib.unwrap_or(0));
    let mut warnings = Vec::new();
    if free_kib > total_kib {
        warnings.push(Warning::CmaBeyondTotal { total_kib, free_kib });
    } else if total_kib > 0 && free_kib < total_kib / 16 {
        warnings.push(Warning::CmaLentOut { total_kib, free_kib });
    }
    let free = meminfo.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let free: Option<u64> = free.and_then(|free| free.split_whitespace().next()?.parse().ok());
    let outside = free.map(|free| free.saturating_sub(free_kib));
    if let Some(free_kib) = outside.filter(|outside| to_move > 0 && *outside < to_move * 4) {
        warnings.push(Warning::LittleFree { free_kib });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::{Warning, maybe_cma, warnings};
    use crate::proc::zones::{CmaInfo, Zones};
    use crate::world::around::Around;

    fn info(total: u64, free: u64) -> (CmaInfo, String) {
        let text = format!("MemFree: 1000 kB\nCmaTotal: {total} kB\nCmaFree: {free} kB\n");
        (CmaInfo::parse(&text), text)
    }

    #[test]
    fn cma_that_is_lent_out_or_belongs_to_nobody_is_warned_of_and_other_machines_are_quiet() {
        let table = [
            (0, 0, None, "no CMA"),
            (65_536, 55_232, None, "mostly free"),
            (0, 10_171_187, Some("cma-beyond-total"), "scratch memory without an area"),
            (32_768, 9_000_000, Some("cma-beyond-total"), "the same beside an area"),
            (65_536, 100, Some("cma-lent-out"), "nearly all lent out"),
        ];
        for (total, free, want, because) in table {
            let (cma, text) = info(total, free);
            let names: Vec<&str> = warnings(cma, &text, 0).into_iter().map(Warning::name).collect();
            assert_eq!(names, want.into_iter().collect::<Vec<_>>(), "{because}");
        }
        let (cma, text) = info(0, 0);
        let little = warnings(cma, &text, 251);
        assert_eq!(little, [Warning::LittleFree { free_kib: 1000 }]);
        assert_eq!(warnings(cma, &text, 250), []);
    }

    #[test]
    fn ordinary_pages_may_be_in_cma_only_as_far_as_it_is_lent_out() {
        let zones = |cma| Around { zones: Zones::parse("", cma), ..Around::default() };
        assert_eq!(maybe_cma(100, info(0, 0).0, &zones("")), 0, "no CMA");
        assert_eq!(maybe_cma(100, info(400, 160).0, &zones("")), 60);
        assert_eq!(maybe_cma(50, info(400, 160).0, &zones("")), 50);
        assert_eq!(maybe_cma(50, info(400, 160).0, &zones("0 100\n")), 0, "debugfs lists it");
        assert_eq!(maybe_cma(50, info(0, 99).0, &zones("")), 50, "nobody knows how much there is");
    }
}
