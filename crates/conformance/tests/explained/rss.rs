//! Memory added by a pin, against what smaps shows before and after.

use crate::chance::Chance;
use crate::{Check, START, cannot_ask, puppet, tell, with_look};
use gup_conformance::puppet::Puppet;
use gup_mirror::answer::rss::{Memory, rss};
use gup_mirror::consumer::Consumer;
use gup_mirror::range::PAGE;
use std::fs;

/// The checks of this file.
pub(crate) const CHECKS: &[Check] = &[
    ("a private memfd of 64 MiB that is pinned for writing is there twice", private_memfd),
    ("a shared memfd adds nothing that was not touched", shared_memfd),
    ("a read-only long-term pin copies pages of a private file", read_only_long_term),
    ("memory added is as predicted for random ranges", random_ranges),
];

const MIB: u64 = 1 << 20;

/// What smaps shows of the arena, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shown {
    anon: i64,
    shmem: i64,
    file: i64,
}

fn shown(puppet: &Puppet) -> Shown {
    let text = fs::read_to_string(format!("/proc/{}/smaps", puppet.pid())).expect("its smaps");
    let (mut shown, mut counts, mut shmem) = (Shown::default(), false, false);
    let mut rss = 0;
    for line in text.lines() {
        let kib = || -> i64 {
            let number = line.split_whitespace().nth(1).and_then(|n| n.parse::<i64>().ok());
            number.unwrap_or(0) * 1024
        };
        if line.starts_with("Rss:") {
            rss = kib();
        } else if line.starts_with("Anonymous:") && counts {
            shown.anon += kib();
            *(if shmem { &mut shown.shmem } else { &mut shown.file }) += rss - kib();
        } else if !line.starts_with(|c: char| c.is_ascii_uppercase()) {
            let start = line.split('-').next().and_then(|s| u64::from_str_radix(s, 16).ok());
            counts = start.is_some_and(|start| (START..START + (1 << 31)).contains(&start));
            shmem = line.contains("memfd:") || line.contains("/dev/zero");
        }
    }
    shown
}

fn predicted(puppet: &Puppet, consumer: Consumer, range: (u64, u64)) -> Memory {
    with_look(puppet, consumer, &[range], |look| rss(look).expect("an answer").memory)
}

/// What a registration of `range` adds, as smaps shows it, beside what is said.
/// `None` if this user may not pin as much.
fn both(puppet: &mut Puppet, range: (u64, u64)) -> Option<(Shown, Shown, Memory)> {
    let said = predicted(puppet, Consumer::IoUringBuffer, range);
    let before = shown(puppet);
    let registered = puppet.tell("ring 1").is_ok();
    assert!(registered, "a ring");
    let result = puppet.tell(&format!("register 0 {:x} {:x}", range.0, range.1));
    if result == Err(rustix::io::Errno::NOMEM) {
        cannot_ask("to pin as much as this (needs CAP_IPC_LOCK)");
        return None;
    }
    assert!(result.is_ok(), "{range:x?}: {result:?}");
    let after = shown(puppet);
    let measured = Shown {
        anon: after.anon - before.anon,
        shmem: after.shmem - before.shmem,
        file: after.file - before.file,
    };
    Some((measured, Shown { anon: said.anon, shmem: said.shmem, file: said.file }, said))
}

fn private_memfd() {
    const ALL: u64 = 64 * MIB;
    for (touch, name) in [("", "untouched"), ("load", "read"), ("store", "written")] {
        let mut puppet = puppet();
        tell(&mut puppet, &format!("map {START:x} {ALL:x} memfd"));
        if !touch.is_empty() {
            tell(&mut puppet, &format!("{touch} {START:x} {ALL:x}"));
        }
        let Some((measured, said, memory)) = both(&mut puppet, (START, ALL)) else { return };
        assert_eq!(measured, said, "{name}");
        let all = ALL.cast_signed();
        match name {
            // The file's pages are made, and copied.
            "untouched" => assert_eq!((said.anon, memory.new_cache), (all, all)),
            "read" => assert_eq!((said.anon, said.shmem, memory.new_anon), (all, -all, all)),
            _ => assert_eq!((said, memory.new_anon), (Shown::default(), 0)),
        }
    }
}

fn shared_memfd() {
    const ALL: u64 = 16 * MIB;
    let mut puppet = puppet();
    tell(
        &mut puppet,
        &format!("map {START:x} {ALL:x} memfd-shared\nstore {START:x} {:x}", ALL / 2),
    );
    let Some((measured, said, _)) = both(&mut puppet, (START, ALL)) else { return };
    assert_eq!(measured, said);
    assert_eq!(said, Shown { anon: 0, shmem: (ALL / 2).cast_signed(), file: 0 });
}

/// Said only: nothing on an ordinary machine takes such a pin.
fn read_only_long_term() {
    let program = std::env::current_exe().expect("this program has a path");
    let mut puppet = puppet();
    tell(
        &mut puppet,
        &format!("map {START:x} 10000 file {}\nload {START:x} 4000", program.display()),
    );
    let before = shown(&puppet).file;
    let said = predicted(&puppet, Consumer::RdmaReadonly, (START, 0x10000));
    assert_eq!((said.anon, said.file), (0x10000, -before.min(0x10000)), "{said:#?}");
}

fn random_ranges() {
    let mut chance = Chance::new(0xabcd_ef01_2345_6789);
    let program = std::env::current_exe().expect("this program has a path");
    for set in 0..60 {
        let mut puppet = puppet();
        let at = |mib: u64| START + mib * MIB;
        let huge = if chance.once_in(2) { "e" } else { "f" };
        let lines = format!(
            "map {:x} 400000 anon\nadvise {:x} 400000 {huge}\nmap {:x} 100000 memfd\n\
             map {:x} 100000 memfd-shared\nmap {:x} 100000 file {}\nmap {:x} 100000 shared",
            at(0),
            at(0),
            at(4),
            at(5),
            at(6),
            program.display(),
            at(7)
        );
        tell(&mut puppet, &lines);
        for _ in 0..chance.below(8) {
            let first = chance.below(8 * 256 - 64);
            let verb = if chance.once_in(2) { "load" } else { "store" };
            let len = chance.below(64) * PAGE;
            tell(&mut puppet, &format!("{verb} {:x} {len:x}", START + first * PAGE));
        }
        let start = START + chance.below(7 * MIB);
        let range = (start, 1 + chance.below(MIB));
        let Some((measured, said, _)) = both(&mut puppet, range) else { return };
        assert_eq!(measured, said, "set {set}, {range:x?}, advice {huge}");
    }
}
