//! The state of every page of every process, in the words of the recorded programs.

use super::world::{Host, PAGES, Process, World, page};
use gup::addr::Pfn;
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
            text.push_str(&token(&world.machine, process, n, &mut classes));
        }
    }
    text
}

fn token(machine: &Machine<Host>, process: &Process, n: u64, classes: &mut Vec<Pfn>) -> String {
    if process.mm.read().lookup(page(n)).is_none() {
        return ".".to_owned();
    }
    let walked = process.mm.tables().walk(page(n));
    match walked.entry.decode(walked.place.level) {
        Decoded::None | Decoded::Table(_) => "-".to_owned(),
        Decoded::Leaf(_, perms) if perms.special => "Z".to_owned(),
        Decoded::Leaf(pfn, _) => mapped(machine, pfn, classes),
        Decoded::Swap(SwapEntry::Guard) => "G".to_owned(),
        Decoded::Swap(_) => "S".to_owned(),
    }
}

fn mapped(machine: &Machine<Host>, pfn: Pfn, classes: &mut Vec<Pfn>) -> String {
    let frames = machine.frames();
    let kind = match (frames.kind(pfn), frames.has(pfn, FrameFlags::ANON_EXCLUSIVE)) {
        (Kind::Anon, true) => "Ax",
        (Kind::Anon, false) => "As",
        (_, _) => "F",
    };
    let cached = if frames.has(pfn, FrameFlags::SWAPCACHE) { "c" } else { "" };
    let class = classes.iter().position(|known| *known == pfn).unwrap_or_else(|| {
        classes.push(pfn);
        classes.len() - 1
    });
    format!("{kind}{}{cached}#{class}", frames.mapcount(pfn))
}
