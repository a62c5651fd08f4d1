//! The state of every page of every process, in the words of the recorded programs.

use super::world::{Host, PAGES, Process, World, page};
use gup::addr::{PMD_ORDER, Pfn, VirtAddr};
use gup::frame::{FrameFlags, Kind};
use gup::mm::Machine;
use gup::pgtable::{Decoded, SwapEntry};
use std::fmt::Write as _;

/// `P0: … | P1: …`.
pub(super) fn of(world: &World) -> String {
    let mut classes = Vec::new();
    let mut text = String::new();
    for (slot, process) in world.slots.iter().enumerate() {
        let Some(process) = process else { continue };
        if !text.is_empty() {
            text.push_str(" | ");
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "P{slot}:");
        for n in 0..PAGES {
            text.push(' ');
            text.push_str(&token(&world.machine, process, page(n), &mut classes));
        }
    }
    text
}

/// The state of one page: [`of`]'s token without the frame's class.
pub(super) fn at(machine: &Machine<Host>, process: &Process, addr: VirtAddr) -> String {
    let token = token(machine, process, addr, &mut Vec::new());
    match token.split_once('#') {
        Some((state, _)) => state.to_owned(),
        None if token == "." => "-".to_owned(),
        None => token,
    }
}

fn token(
    machine: &Machine<Host>,
    process: &Process,
    addr: VirtAddr,
    classes: &mut Vec<Pfn>,
) -> String {
    if process.mm.read().lookup(addr).is_none() {
        return ".".to_owned();
    }
    let walked = process.mm.tables().walk(addr);
    let level = walked.place.level;
    let huge_zero = machine.huge_zero_page();
    match (walked.entry.decode(level), walked.frame(addr)) {
        (Decoded::Leaf(first, _), _) if first == machine.zero_page() => "Z".to_owned(),
        (Decoded::Leaf(first, _), _) if Some(first) == huge_zero => "ZTH".to_owned(),
        (Decoded::Leaf(_, perms), _) if perms.special => "F".to_owned(),
        (Decoded::Leaf(_, perms), Some(pfn)) => {
            let entry = if level > 0 { "H" } else { "" };
            let token = mapped(machine, pfn, entry, perms.uffd_wp);
            format!("{token}#{}", class(pfn, classes))
        }
        (Decoded::Swap(SwapEntry::Guard), _) => "G".to_owned(),
        (Decoded::Swap(_), _) => "S".to_owned(),
        (Decoded::None | Decoded::Table(_) | Decoded::Leaf(..), _) => "-".to_owned(),
    }
}

/// The frame's number by first appearance.
fn class(pfn: Pfn, classes: &mut Vec<Pfn>) -> usize {
    classes.iter().position(|known| *known == pfn).unwrap_or_else(|| {
        classes.push(pfn);
        classes.len() - 1
    })
}

/// A page that is counted, mapped by an entry of this sort.
fn mapped(machine: &Machine<Host>, pfn: Pfn, entry: &str, protected: bool) -> String {
    let frames = machine.frames();
    let flags = frames.flags(pfn);
    // A huge entry's page is exclusive if the folio's first page is.
    let marked = if entry.is_empty() { pfn } else { frames.head(pfn) };
    let kind = match (frames.is_anon(pfn), frames.has(marked, FrameFlags::ANON_EXCLUSIVE)) {
        (true, _) if flags.contains(FrameFlags::KSM) => "K",
        (true, true) => "Ax",
        (true, false) => "As",
        (false, _) => "F",
    };
    let large = match frames.kind(pfn) {
        Kind::Hugetlb => "h",
        _ if frames.order(pfn) >= PMD_ORDER => "T",
        _ => "",
    };
    let cached = if flags.contains(FrameFlags::SWAPCACHE) { "c" } else { "" };
    let protected = if protected { "w" } else { "" };
    format!("{kind}{large}{entry}{}{cached}{protected}", frames.mapcount(pfn))
}
