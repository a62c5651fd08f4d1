//! The memlock ledger against registrations, locks and limits of a process without privilege.

use crate::chance::Chance;
use crate::{Check, START, cannot_ask, puppet, tell, with_look};
use gup::errno::Errno;
use gup_conformance::puppet::Puppet;
use gup_mirror::answer::memlock::{Enough, Memlock, memlock};
use gup_mirror::answer::rss::rss;
use gup_mirror::consumer::Consumer;
use gup_mirror::proc::hugepages::HugePages;
use gup_mirror::proc::privilege::IpcLock;
use std::fmt::Write as _;
use std::time::Duration;

/// The checks of this file.
pub(crate) const CHECKS: &[Check] = &[
    ("two hundred random buffer sets are predicted exactly", random_buffer_sets),
    ("rings of the same user take what a registration lacks", rings_of_the_same_user),
    ("a capability in the bounding set only is not effective", bounding_set_only),
    ("a capability in a user namespace does not count", user_namespace),
    ("mlock is predicted at its limit", mlock_at_its_limit),
    ("rings of provided buffers are predicted at their limit", pbufs_at_their_limit),
    ("a page of the pool counts whole, once in a buffer", page_of_the_pool),
    ("AF_XDP is predicted at its limit", xdp_at_its_limit),
];

const MIB: u64 = 1 << 20;
const SETS: u64 = 200;

/// A user that nobody else is: the accounts of a user are shared by all its processes.
fn nobody_else(n: u64) -> u64 {
    0x4000_0000 + (u64::from(std::process::id()) << 10 & 0x0fff_fc00) + n
}

fn ledger(puppet: &Puppet, consumer: Consumer, ranges: &[(u64, u64)]) -> Memlock {
    with_look(puppet, consumer, ranges, |look| memlock(look).expect("an answer"))
}

fn register(puppet: &mut Puppet, ranges: &[(u64, u64)]) -> Option<Errno> {
    let mut line = "register 0".to_owned();
    for (start, len) in ranges {
        let _ = write!(line, " {start:x} {len:x}");
    }
    errno(puppet.tell(&line))
}

fn errno(result: Result<i64, rustix::io::Errno>) -> Option<Errno> {
    result.err().map(|errno| Errno::from_raw(errno.raw_os_error()))
}

/// Whether this machine lets a process become another user.
fn may_become(puppet: &mut Puppet, uid: u64) -> bool {
    let became = puppet.tell(&format!("become {uid:x}"));
    if let Err(errno) = became {
        cannot_ask(&format!("to become another user: {errno}"));
    }
    became.is_ok()
}

/// Areas of every kind that matters here: huge pages, small ones, files, a hole, read-only ones.
fn furnish(puppet: &mut Puppet, chance: &mut Chance) {
    let at = |mib: u64| START + mib * MIB;
    let lines = format!(
        "map {:x} 400000 anon\nadvise {:x} 400000 e\nmap {:x} 400000 anon\nmap {:x} 100000 memfd\n\
         map {:x} 100000 memfd-shared\nmap {:x} 10000 ro",
        at(0),
        at(0),
        at(4),
        at(8),
        at(9),
        at(10)
    );
    tell(puppet, &lines);
    for _ in 0..chance.below(8) {
        let first = chance.below(10 * 256);
        let pages = (1 + chance.below(64)).min(10 * 256 - first);
        tell(puppet, &format!("store {:x} {:x}", START + first * 4096, pages * 4096));
    }
}

/// Buffers that begin and end anywhere; few reach where nothing can be pinned.
fn buffers(chance: &mut Chance) -> Vec<(u64, u64)> {
    let count = 1 + chance.below(6);
    let one = |chance: &mut Chance| {
        if chance.once_in(60) {
            return (START + chance.below(MIB), (1 << 30) + 1 + chance.below(MIB));
        }
        let end = if chance.once_in(30) { 11 * MIB } else { 10 * MIB };
        let start = chance.below(end);
        let longest = if chance.once_in(3) { 2 * MIB } else { 40_000 };
        (START + start, 1 + chance.below(longest.min(end - start)))
    };
    (0..count).map(|_| one(chance)).collect()
}

fn random_buffer_sets() {
    let mut chance = Chance::new(0x9e37_79b9_7f4a_7c15);
    let mut ended = [0_u64; 3];
    for set in 0..SETS {
        let mut puppet = puppet();
        tell(&mut puppet, "limit 800000");
        if !may_become(&mut puppet, nobody_else(set)) {
            return;
        }
        furnish(&mut puppet, &mut chance);
        tell(&mut puppet, &format!("ring {:x}", 1 + chance.below(300)));
        if chance.once_in(2) {
            // What another ring of the user has registered counts as well.
            let taken = 1 + chance.below(100);
            tell(
                &mut puppet,
                &format!("ring 4\nregister 1 {:x} {:x}", START + 4 * MIB, taken * 4096),
            );
        }
        let most = if chance.once_in(2) { 200 } else { 2048 };
        let limit = chance.below(most) * 4096 + chance.below(4096);
        tell(&mut puppet, &format!("limit {limit:x}"));
        let ranges = buffers(&mut chance);
        let ledger = ledger(&puppet, Consumer::IoUringBuffer, &ranges);
        let asked = register(&mut puppet, &ranges);
        assert_eq!(ledger.errno, asked, "set {set}, limit {limit:#x}, {ranges:x?}: {ledger:#x?}");
        assert!(ledger.enough != Enough::Unknown, "set {set}: {ledger:#?}");
        ended[match asked {
            None => 0,
            Some(Errno::ENOMEM) => 1,
            _ => 2,
        }] += 1;
        if ledger.refusal.is_some() {
            shortfall_is_exact(&mut puppet, limit, &ledger, &ranges);
        }
    }
    println!(
        "  {} accepted, {} over the limit, {} refused otherwise",
        ended[0], ended[1], ended[2]
    );
    assert!(ended.iter().all(|count| *count > 0), "each end is met: {ended:?}");
}

/// A limit that is larger by the shortfall is enough, and by a page less is not.
fn shortfall_is_exact(puppet: &mut Puppet, limit: u64, ledger: &Memlock, ranges: &[(u64, u64)]) {
    let enough = (limit & !4095) + ledger.shortfall();
    if enough > 8 * MIB || ledger.buffers.iter().any(|buffer| buffer.refused.is_some()) {
        return;
    }
    tell(puppet, &format!("limit {:x}", enough - 1));
    assert_eq!(register(puppet, ranges), Some(Errno::ENOMEM), "a byte less: {ledger:#?}");
    tell(puppet, &format!("limit {enough:x}"));
    assert_eq!(register(puppet, ranges), None, "the shortfall is enough: {ledger:#?}");
}

/// liburing's thread 365: a small registration fails, since other rings of the user fill the limit.
fn rings_of_the_same_user() {
    let user = nobody_else(SETS);
    let (mut other, mut puppet) = (puppet(), puppet());
    for one in [&mut other, &mut puppet] {
        tell(one, "limit 100000");
        if !may_become(one, user) {
            return;
        }
        tell(one, &format!("map {START:x} 100000 anon\nring 8"));
    }
    tell(&mut other, &format!("register 0 {START:x} f0000"));
    let ranges = [(START, 0x10000)];
    let ledger = ledger(&puppet, Consumer::IoUringBuffer, &ranges);
    assert_eq!(register(&mut puppet, &ranges), Some(Errno::ENOMEM));
    assert_eq!((ledger.errno, ledger.enough), (Some(Errno::ENOMEM), Enough::Exceeds));
    // Two rings of two pages each are too much.
    assert_eq!(ledger.shortfall(), 4 * 4096, "{ledger:#?}");
    let pids: Vec<u32> = ledger.in_use.holders.iter().map(|holder| holder.pid).collect();
    assert_eq!(pids, [other.pid(), puppet.pid()], "the larger holder is named first");
}

fn bounding_set_only() {
    let mut puppet = puppet();
    if !may_become(&mut puppet, nobody_else(SETS + 1)) {
        return;
    }
    tell(&mut puppet, &format!("map {START:x} 100000 anon"));
    let ledger = ledger(&puppet, Consumer::IoUringBuffer, &[(START, 4096)]);
    assert_eq!(ledger.capability, IpcLock::BoundingOnly);
    assert!(ledger.capability.sentence().contains("bounding set only"));
}

fn user_namespace() {
    let mut puppet = puppet();
    if !may_become(&mut puppet, nobody_else(SETS + 2)) {
        return;
    }
    tell(&mut puppet, &format!("map {START:x} 100000 anon\nlimit 4000"));
    if let Err(errno) = puppet.tell("userns") {
        return cannot_ask(&format!("for a user namespace: {errno}"));
    }
    tell(&mut puppet, "ring 1");
    let ranges = [(START, 0x4000)];
    let ledger = ledger(&puppet, Consumer::IoUringBuffer, &ranges);
    assert_eq!(ledger.capability, IpcLock::ElsewhereOnly, "{ledger:#?}");
    assert_eq!(ledger.errno, Some(Errno::ENOMEM), "the capability does not count: {ledger:#?}");
    assert_eq!(register(&mut puppet, &ranges), ledger.errno);
}

fn mlock_at_its_limit() {
    let mut chance = Chance::new(77);
    for set in 0..50 {
        let mut puppet = puppet();
        let limit = chance.below(40) * 4096;
        tell(&mut puppet, &format!("map {START:x} 40000 anon\nlimit {limit:x}"));
        if !may_become(&mut puppet, nobody_else(SETS + 3)) {
            return;
        }
        for _ in 0..3 {
            let start = START + chance.below(0x20000);
            let len = 1 + chance.below(0x20000);
            let ledger = ledger(&puppet, Consumer::Mlock, &[(start, len)]);
            let asked = errno(puppet.tell(&format!("mlock {start:x} {len:x}")));
            assert_eq!(ledger.errno, asked, "set {set}, {start:#x} {len:#x}: {ledger:#?}");
            assert_eq!(ledger.refusal, asked, "it is the limit's: {ledger:#?}");
        }
    }
}

fn pbufs_at_their_limit() {
    let mut chance = Chance::new(55);
    for set in 0..30 {
        let mut puppet = puppet();
        tell(&mut puppet, &format!("map {START:x} 100000 anon"));
        if !may_become(&mut puppet, nobody_else(SETS + 100 + set)) {
            return;
        }
        tell(&mut puppet, "ring 1");
        // Two pages are the ring's own.
        let limit = chance.below(40) * 4096;
        tell(&mut puppet, &format!("limit {limit:x}"));
        let entries = 1 << chance.below(14);
        let ranges = [(START, 16 * entries)];
        let ledger = ledger(&puppet, Consumer::IoUringPbuf, &ranges);
        let asked = errno(puppet.tell(&format!("pbuf 0 {START:x} {entries:x}")));
        assert_eq!(ledger.errno, asked, "set {set}, limit {limit:#x}, {entries}: {ledger:#?}");
    }
}

fn page_of_the_pool() {
    if HugePages::now().free < 2 {
        return cannot_ask("two free pages in the pool (vm.nr_hugepages)");
    }
    for (limit, ranges) in [
        (MIB, vec![(START + 5, 1)]),
        (2 * MIB + 0x2000, vec![(START + 5, 1), (START + MIB, 4096)]),
        (2 * MIB + 0x1fff, vec![(START + 5, 1)]),
        (4 * MIB + 0x2000, vec![(START + 5, 1), (START + 2 * MIB, 1), (START + MIB, 1)]),
        (6 * MIB + 0x2000, vec![(START + 5, 1), (START + 2 * MIB, 1), (START + MIB, 1)]),
    ] {
        let mut puppet = puppet();
        tell(&mut puppet, &format!("limit 800000\nmap {START:x} 400000 hugetlb"));
        if !may_become(&mut puppet, nobody_else(SETS + 200 + limit % 97)) {
            return;
        }
        tell(&mut puppet, &format!("ring 1\nlimit {limit:x}"));
        let ledger = ledger(&puppet, Consumer::IoUringBuffer, &ranges);
        assert_eq!(ledger.errno, register(&mut puppet, &ranges), "{limit:#x}: {ledger:#?}");
        let memory = with_look(&puppet, Consumer::IoUringBuffer, &[(START, 4 * MIB)], |look| {
            rss(look).expect("an answer").memory
        });
        assert!(memory.hugetlb <= 4 * MIB.cast_signed() && memory.anon == 0, "{memory:?}");
        drop(puppet);
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn xdp_at_its_limit() {
    const NET_RAW: u64 = 1 << 13;
    let mut chance = Chance::new(99);
    for set in 0..20 {
        let mut puppet = puppet();
        let limit = chance.below(12) * 4096;
        tell(&mut puppet, &format!("map {START:x} 40000 anon\nlimit {limit:x}"));
        let uid = nobody_else(SETS + 4 + set);
        if let Err(errno) = puppet.tell(&format!("become {uid:x} {NET_RAW:x}")) {
            return cannot_ask(&format!("to become another user: {errno}"));
        }
        let ranges = [(START, (1 + chance.below(20)) * 2048)];
        let ledger = ledger(&puppet, Consumer::XdpUmem, &ranges);
        let asked = errno(puppet.tell(&format!("umem {START:x} {:x}", ranges[0].1)));
        if asked.is_some_and(|errno| errno != Errno::ENOBUFS) {
            return cannot_ask(&format!("AF_XDP: {asked:?}"));
        }
        assert_eq!(ledger.errno, asked, "set {set}, limit {limit:#x}: {ledger:#?}");
    }
}
