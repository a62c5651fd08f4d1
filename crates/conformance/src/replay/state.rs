//! The state of every page of every process, in the words of the recorded programs.

use super::world::{Host, PAGES, Process, World, page};
use gup::addr::{Pfn, VirtAddr};
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
    match walked.entry.decode(walked.place.level) {
        Decoded::None | Decoded::Table(_) => "-".to_owned(),
        Decoded::Leaf(pfn, _) if pfn == machine.zero_page() => "Z".to_owned(),
        Decoded::Leaf(_, perms) if perms.special => "F".to_owned(),
        Decoded::Leaf(pfn, perms) => mapped(machine, pfn, perms.uffd_wp, classes),
        Decoded::Swap(SwapEntry::Guard) => "G".to_owned(),
        Decoded::Swap(_) => "S".to_owned(),
    }
}

fn mapped(machine: &Machine<Host>, pfn: Pfn, protected: bool, classes: &mut Vec<Pfn>) -> String {
    let frames = machine.frames();
    let flags = frames.flags(pfn);
    let kind = match frames.kind(pfn) {
        Kind::Anon if flags.contains(FrameFlags::KSM) => "K",
        Kind::Anon if flags.contains(FrameFlags::ANON_EXCLUSIVE) => "Ax",
        Kind::Anon => "As",
        _ => "F",
    };
    let cached = if flags.contains(FrameFlags::SWAPCACHE) { "c" } else { "" };
    let protected = if protected { "w" } else { "" };
    let class = classes.iter().position(|known| *known == pfn).unwrap_or_else(|| {
        classes.push(pfn);
        classes.len() - 1
    });
    format!("{kind}{}{cached}{protected}#{class}", frames.mapcount(pfn))
}
