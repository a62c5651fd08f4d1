//! Whether this machine is like the one that a scenario describes, and making it so where that is
//! allowed.

use super::lab::Lab;
use crate::scenario::Setup;
use gup::linux::Linux;
use gup_mirror::proc::kernel::KernelVersion;
use std::fs;

const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const POOL: &str = "/proc/sys/vm/nr_hugepages";
/// Swap that is made, in bytes: more than any program uses.
const SWAP: u64 = 512 << 20;

/// Makes the machine like `setup`.
/// # Errors
/// What is not so and cannot be made so.
pub(crate) fn make_like(lab: &mut Lab, setup: &Setup) -> Result<(), String> {
    if setup.linux != Linux::V6_18 {
        let running = KernelVersion::running();
        return Err(format!("the scenario is of Linux 4.4, this is {}", running.release));
    }
    if setup.nommu {
        return Err("this machine has an MMU".to_owned());
    }
    thp(lab, setup.thp_always)?;
    swap(lab, setup.swap_pages)?;
    pool(lab, setup.huge_pages)
}

/// As [`make_like`], but one part that cannot be had keeps no other from being made, and nothing is
/// said.
pub(crate) fn provide(lab: &mut Lab, setup: &Setup) {
    let _ = thp(lab, setup.thp_always);
    let _ = swap(lab, setup.swap_pages);
    let _ = pool(lab, setup.huge_pages);
}

fn swap(lab: &mut Lab, pages: u64) -> Result<(), String> {
    if pages == 0 || has_swap() {
        return Ok(());
    }
    if !lab.changes().swap {
        return Err("there is no swap (--setup makes some on zram, as root)".to_owned());
    }
    lab.make_swap(SWAP)
}

/// Whether there is swap.
pub(crate) fn has_swap() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}

fn thp(lab: &mut Lab, always: bool) -> Result<(), String> {
    let want = if always { "always" } else { "madvise" };
    let text = fs::read_to_string(THP).unwrap_or_default();
    if text.is_empty() || text.contains(&format!("[{want}]")) {
        return Ok(());
    }
    if !lab.changes().thp {
        return Err(format!("transparent huge pages are not set to {want} (--setup sets them)"));
    }
    lab.set(THP, want)
}

fn pool(lab: &mut Lab, pages: u64) -> Result<(), String> {
    let read = |path: &str| {
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    if read(POOL) >= pages {
        return Ok(());
    }
    if !lab.changes().huge_pages {
        return Err(format!("the pool has fewer than {pages} huge pages (--setup fills it)"));
    }
    lab.set(POOL, &pages.to_string())?;
    if read(POOL) < pages {
        return Err(format!("memory has no room for {pages} huge pages"));
    }
    Ok(())
}
