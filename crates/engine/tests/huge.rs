//! Huge pages under 6.18: what a running kernel answered, played in the engine; and pools, promises, copies, splits.
//!
//! *Token*: the state of a page, as `vectors/linux-6.18/kernel-rows.md` writes it, without the lazy bits.

#![allow(missing_docs, unreachable_pub, reason = "a test program")]

#[path = "rows/support.rs"]
mod support;

use gup::addr::{PAGE_SIZE, PMD_ORDER, Pfn, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{Foll, MapFlags, Prot, VmFlags};
use gup::frame::{FrameFlags, Kind};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::populate::{MadvisePopulate, madvise_populate};
use gup::gup::{Entry, Locked, Outcome, Page, gup};
use gup::hugetlb::PoolCounts;
use gup::linux::Linux;
use gup::mapping::{MmapRequest, fork, mmap, mprotect, munmap};
use gup::mm::{Counter, Lock, Mm};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use support::{TestHost, World, page, rw};

type Space = Arc<Mm<TestHost>>;

/// Base pages of a huge page.
const HUGE: u64 = 512;
const HUGE_BYTES: u64 = HUGE * PAGE_SIZE;
/// Pages of a recorded row.
const NP: u64 = 4;

/// kind, driver, errno, state after, frame, faults charged, pages pinned on the way, state of the child, its frame.
const MEASURED: &str = "
    htlb_fresh  popr       0 AxhH1  + 1 0 .      .
    htlb_fresh  popw       0 AxhH1  + 1 0 .      .
    htlb_fresh  vmsplice   0 AxhH1  + 1 0 .      .
    htlb_fresh  od_write   0 AxhH1  + 1 4 .      .
    htlb_fresh  od_read    0 AxhH1  + 1 4 .      .
    htlb_fresh  iou_reg    0 AxhH1  + 1 4 .      .
    htlb_fresh  xdp_umem   0 AxhH1  + 1 4 .      .
    htlb_fresh  pvm_read   0 AxhH1  + 1 4 .      .
    htlb_fresh  pvm_write  0 AxhH1  + 1 4 .      .
    htlb_fresh  mem_read   0 AxhH1  + 1 0 .      .
    htlb_fresh  mem_write  0 AxhH1  + 1 0 .      .
    htlb_ro     popr       0 AxhH1  = 0 0 .      .
    htlb_ro     popw      22 AxhH1  = 0 0 .      .
    htlb_ro     vmsplice   0 AxhH1  = 0 0 .      .
    htlb_ro     od_write   0 AxhH1  = 0 4 .      .
    htlb_ro     od_read   14 AxhH1  = 0 0 .      .
    htlb_ro     iou_reg   14 AxhH1  = 0 0 .      .
    htlb_ro     xdp_umem  14 AxhH1  = 0 0 .      .
    htlb_ro     pvm_read   0 AxhH1  = 0 4 .      .
    htlb_ro     pvm_write 14 AxhH1  = 0 0 .      .
    htlb_ro     mem_read   0 AxhH1  = 0 0 .      .
    htlb_ro     mem_write  0 AxhH1  = 0 0 .      .
    htlb_fork   popr       0 AshH2  = 0 0 AshH2  =
    htlb_fork   popw       0 AxhH1  ! 1 0 AshH1  !
    htlb_fork   vmsplice   0 AshH2  = 0 0 AshH2  =
    htlb_fork   od_write   0 AxhH1  ! 1 8 AshH1  !
    htlb_fork   od_read    0 AxhH1  ! 1 4 AshH1  !
    htlb_fork   iou_reg    0 AxhH1  ! 1 4 AshH1  !
    htlb_fork   xdp_umem   0 AxhH1  ! 1 4 AshH1  !
    htlb_fork   pvm_read   0 AxhH1  ! 1 4 AshH1  !
    htlb_fork   pvm_write  0 AxhH1  ! 1 4 AshH1  !
    htlb_fork   mem_read   0 AshH2  = 0 0 AshH2  =
    htlb_fork   mem_write  0 AxhH1  ! 1 0 AshH1  !
    thp_written popr       0 AxTH1  = 0 0 .      .
    thp_written popw       0 AxTH1  = 0 0 .      .
    thp_written vmsplice   0 AxTH1  = 0 0 .      .
    thp_written od_write   0 AxTH1  = 0 4 .      .
    thp_written od_read    0 AxTH1  = 0 4 .      .
    thp_written iou_reg    0 AxTH1  = 0 4 .      .
    thp_written xdp_umem   0 AxTH1  = 0 4 .      .
    thp_written pvm_read   0 AxTH1  = 0 4 .      .
    thp_written pvm_write  0 AxTH1  = 0 4 .      .
    thp_written mem_read   0 AxTH1  = 0 0 .      .
    thp_written mem_write  0 AxTH1  = 0 0 .      .
    thp_zero    popr       0 ZTH    = 0 0 .      .
    thp_zero    popw       0 AxTH1  ! 1 0 .      .
    thp_zero    vmsplice   0 ZTH    = 0 0 .      .
    thp_zero    od_write   0 ZTH    = 0 4 .      .
    thp_zero    od_read    0 AxTH1  ! 1 4 .      .
    thp_zero    iou_reg    0 AxTH1  ! 1 4 .      .
    thp_zero    xdp_umem   0 AxTH1  ! 1 4 .      .
    thp_zero    pvm_read   0 ZTH    = 0 4 .      .
    thp_zero    pvm_write  0 AxTH1  ! 1 4 .      .
    thp_zero    mem_read   0 ZTH    = 0 0 .      .
    thp_zero    mem_write  0 AxTH1  ! 1 0 .      .
    thp_fork    popr       0 AsTH2  = 0 0 AsTH2  =
    thp_fork    popw       0 Ax1    ! 4 0 AsTH1  !
    thp_fork    vmsplice   0 AsTH2  = 0 0 AsTH2  =
    thp_fork    od_write   0 Ax1    ! 4 8 AsTH1  !
    thp_fork    od_read    0 Ax1    ! 4 4 AsTH1  !
    thp_fork    iou_reg    0 Ax1    ! 4 4 AsTH1  !
    thp_fork    xdp_umem   0 Ax1    ! 4 4 AsTH1  !
    thp_fork    pvm_read   0 Ax1    ! 4 4 AsTH1  !
    thp_fork    pvm_write  0 Ax1    ! 4 4 AsTH1  !
    thp_fork    mem_read   0 AsTH2  = 0 0 AsTH2  =
    thp_fork    mem_write  0 Ax1    ! 4 0 AsTH1  !
";

/// A world with this kind of memory at page 0, and the child if it has one.
fn make(kind: &str) -> (World, Option<Space>) {
    let w = World::new(Linux::V6_18);
    w.machine.resize_hugetlb(PMD_ORDER, 4);
    let (source, state) = kind.split_once('_').expect("two words");
    if source == "htlb" {
        hugetlb(&w, 2, MapFlags::PRIVATE).expect("the pool has pages");
    } else {
        w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
    }
    match state {
        "fresh" => {}
        "zero" => {
            w.load(page(0));
        }
        _ => assert!(w.store(page(0), 7)),
    }
    if state == "ro" {
        protect(&w, Prot::READ);
    }
    let child = (state == "fork").then(|| fork(&mut w.mm.write(), &w.task).expect("memory"));
    (w, child)
}

/// Maps `pages` huge pages of hugetlbfs at page 0.
fn hugetlb(w: &World, pages: u64, flags: MapFlags) -> Result<VirtAddr, Errno> {
    let prot = Prot::READ | Prot::WRITE;
    let request = MmapRequest::anonymous(pages * HUGE_BYTES, prot).at(page(0));
    let kind = MapFlags::ANONYMOUS | MapFlags::HUGETLB | MapFlags::FIXED;
    let request = MmapRequest { flags: kind | flags, ..request };
    mmap(&mut w.mm.write(), &w.task, &request)
}

fn protect(w: &World, prot: Prot) {
    let bytes = w.mm.read().lookup(page(0)).expect("an area").range().bytes();
    mprotect(&mut w.mm.write(), &w.task, page(0), bytes, prot).expect("allowed");
}

/// The state of one page.
fn token(mm: &Mm<TestHost>, at: VirtAddr) -> String {
    let machine = mm.machine();
    let frames = machine.frames();
    let walked = mm.tables().walk(at);
    let level = walked.place.level;
    let Some(pfn) = walked.frame(at) else { return "-".into() };
    let huge = if level > 0 { "H" } else { "" };
    if machine.huge_zero_page() == Some(frames.head(pfn)) {
        return format!("ZT{huge}");
    }
    if pfn == machine.zero_page() {
        return "Z".into();
    }
    let marked = if level > 0 { walked.entry.pfn() } else { pfn };
    let exclusive = if frames.has(marked, FrameFlags::ANON_EXCLUSIVE) { "x" } else { "s" };
    let kind = if frames.is_anon(pfn) { format!("A{exclusive}") } else { "F".into() };
    let size = match frames.kind(pfn) {
        Kind::Hugetlb => "h",
        _ if frames.is_large(pfn) => "T",
        _ => "",
    };
    format!("{kind}{size}{huge}{}", frames.mapcount(pfn))
}

fn frame(mm: &Mm<TestHost>, at: VirtAddr) -> Option<Pfn> {
    mm.tables().walk(at).frame(at)
}

fn slots(count: u64) -> Vec<Option<Page>> {
    (0..count).map(|_| None).collect()
}

/// One driver's call on the first pages; its errno, or 0. What it got is given back.
fn drive(w: &World, driver: &str) -> i32 {
    let start = page(0);
    let range = VirtRange::new(start, page(NP));
    let mut pages = slots(NP);
    let quick = |entry, foll, pages: &mut [Option<Page>]| {
        fast(entry, &w.task, &w.mm, start, NP, foll, pages)
    };
    let slow = |entry, foll, pages: &mut [Option<Page>], locked| {
        let mut lock = Lock::Read(w.mm.read());
        gup(entry, &w.task, &mut lock, start, NP, foll, Some(pages), locked)
    };
    let write = Foll::WRITE;
    let outcome: Result<Outcome, Errno> = match driver {
        "popr" => return populate(w, range, MadvisePopulate::Read),
        "popw" => return populate(w, range, MadvisePopulate::Write),
        "vmsplice" => Ok(quick(FastEntry::Get, Foll::empty(), &mut pages)),
        "od_write" => Ok(quick(FastEntry::Pin, Foll::empty(), &mut pages)),
        "od_read" => Ok(quick(FastEntry::Pin, write, &mut pages)),
        "iou_reg" => Ok(quick(FastEntry::Pin, write | Foll::LONGTERM, &mut pages)),
        "xdp_umem" => Ok(slow(Entry::Pin, write | Foll::LONGTERM, &mut pages, Locked::Null)),
        "pvm_read" => Ok(slow(Entry::PinRemote, Foll::empty(), &mut pages, Locked::Given)),
        "pvm_write" => Ok(slow(Entry::PinRemote, write, &mut pages, Locked::Given)),
        "mem_read" => Ok(slow(Entry::GetRemote, Foll::FORCE, &mut pages, Locked::Null)),
        "mem_write" => Ok(slow(Entry::GetRemote, Foll::FORCE | write, &mut pages, Locked::Null)),
        other => panic!("no driver {other}"),
    };
    let outcome = outcome.expect("a call");
    let pins = !matches!(driver, "vmsplice" | "mem_read" | "mem_write");
    release(w, pages, pins);
    if outcome.got == NP { 0 } else { outcome.errno().map_or(0, Errno::raw) }
}

fn populate(w: &World, range: VirtRange, access: MadvisePopulate) -> i32 {
    let done = madvise_populate(&w.mm, &w.task, range, access);
    done.map_or_else(|stop| stop.errno.raw(), |()| 0)
}

/// Gives pages back.
fn release(w: &World, pages: Vec<Option<Page>>, pins: bool) {
    for page in pages.into_iter().flatten() {
        if pins {
            w.machine.unpin_pages(page.pfn(), 1);
        } else {
            w.machine.put_page(page.pfn());
        }
    }
}

/// The token of all pages of the row, which must be one.
fn state(mm: &Mm<TestHost>) -> String {
    let first = token(mm, page(0));
    for n in 1..NP {
        assert_eq!(token(mm, page(n)), first, "page {n} differs");
    }
    first
}

fn finish(w: World, child: Option<Space>) {
    drop(child);
    w.put_all();
    w.machine.resize_hugetlb(PMD_ORDER, 0);
    w.end();
}

/// What the engine answers to a row's question, as the row writes it.
fn answer(kind: &str, driver: &str) -> String {
    let (w, child) = make(kind);
    let before = frame(&w.mm, page(0));
    let faults = w.task.min_flt.load(SeqCst);
    w.forget();
    let errno = drive(&w, driver);
    let after = frame(&w.mm, page(0));
    let pfn = match (before, after) {
        (_, None) => ".",
        (None, Some(_)) => "+",
        (Some(before), Some(after)) if before == after => "=",
        (Some(_), Some(_)) => "!",
    };
    let (theirs, sib) = child.as_ref().map_or((".".into(), "."), |child| {
        let same = frame(child, page(0)) == after;
        (state(child), if same { "=" } else { "!" })
    });
    let charged = w.task.min_flt.load(SeqCst) - faults;
    let line = [
        kind.to_owned(),
        driver.to_owned(),
        errno.to_string(),
        state(&w.mm),
        pfn.to_owned(),
        charged.to_string(),
        w.pinned().to_string(),
        theirs,
        sib.to_owned(),
    ];
    finish(w, child);
    line.join(" ")
}

#[test]
fn the_engine_answers_as_the_kernel_did() {
    let mut wrong = Vec::new();
    for row in MEASURED.lines().filter(|row| !row.is_empty()) {
        let want: Vec<_> = row.split_whitespace().collect();
        let got = answer(want[0], want[1]);
        if got != want.join(" ") {
            wrong.push(format!("kernel {}\nengine {got}", want.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}
