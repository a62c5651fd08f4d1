//! Huge pages under 6.18: what a running kernel answered, played in the engine; and pools,
//! promises, copies, splits.
//!
//! *Token*: the state of a page, as `vectors/linux-6.18/kernel-rows.md` writes it, without the lazy
//! bits.

#![allow(missing_docs, unreachable_pub, reason = "a test program")]

#[path = "rows/support.rs"]
mod support;

use gup::addr::{PAGE_SIZE, PMD_ORDER, PUD_ORDER, Pfn, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::userfault;
use gup::file::FileKind;
use gup::flags::{Foll, MapFlags, Prot, VmFlags};
use gup::frame::{FrameFlags, Kind};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::populate::{MadvisePopulate, madvise_populate};
use gup::gup::{Entry, Locked, Outcome, Page, gup};
use gup::host::{ReadMode, Store, StoreRead, StoreWrite, Ticket};
use gup::hugetlb::PoolCounts;
use gup::linux::Linux;
use gup::mapping::{
    Advice, MmapRequest, MremapFlags, MremapRequest, fork, madvise, mlock, mmap, mprotect, mremap,
    munmap,
};
use gup::mm::{Counter, Lock, MachineConfig, Mm};
use gup::task::Task;
use gup::vma::{UserFault, UserFaultMessage};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use support::{TestHost, World, page, rw};

type Space = Arc<Mm<TestHost>>;

/// Base pages of a huge page.
const HUGE: u64 = 512;
const HUGE_BYTES: u64 = HUGE * PAGE_SIZE;
/// Pages of a recorded row.
const NP: u64 = 4;

/// kind, driver, errno, state after, frame, faults charged, pages pinned on the way, state of the
/// child, its frame.
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
    htlb_fresh  mlock      0 AxhH1  + 1 0 .      .
    htlb_ro     mlock      0 AxhH1  = 0 0 .      .
    htlb_fork   mlock      0 AxhH1  ! 1 0 AshH1  !
    thp_written mlock      0 AxT1   = 0 0 .      .
    thp_zero    mlock      0 Ax1    ! 4 0 .      .
    thp_fork    mlock      0 Ax1    ! 4 0 AsTH1  !
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
        "mlock" => {
            let mut task = Task::default();
            task.cap_ipc_lock = true;
            let done = mlock(&w.mm, &task, start, NP * PAGE_SIZE);
            w.task.min_flt.fetch_add(task.min_flt.load(SeqCst), SeqCst);
            return done.map_or_else(Errno::raw, |()| 0);
        }
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
    let rows: Vec<_> = MEASURED.lines().filter(|row| !row.is_empty()).collect();
    assert_eq!(rows.len(), 72);
    let mut wrong = Vec::new();
    for row in rows {
        let want: Vec<_> = row.split_whitespace().collect();
        let got = answer(want[0], want[1]);
        if got != want.join(" ") {
            wrong.push(format!("kernel {}\nengine {got}", want.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn counts(w: &World) -> PoolCounts {
    w.machine.hugetlb().counts(PMD_ORDER)
}

/// A world with a pool of `pages` huge pages.
fn pool(pages: u64) -> World {
    let w = World::new(Linux::V6_18);
    assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, pages), pages);
    w
}

#[test]
fn a_mapping_is_promised_its_pages_or_refused() {
    let w = pool(2);
    assert_eq!(hugetlb(&w, 3, MapFlags::PRIVATE), Err(Errno::ENOMEM));
    assert_eq!(counts(&w), PoolCounts { total: 2, free: 2, reserved: 0, surplus: 0 });
    hugetlb(&w, 2, MapFlags::PRIVATE).unwrap();
    assert_eq!(counts(&w).reserved, 2);
    assert!(w.store(page(0), 1));
    assert_eq!(counts(&w), PoolCounts { total: 2, free: 1, reserved: 1, surplus: 0 });
    munmap(&mut w.mm.write(), page(HUGE), HUGE_BYTES).unwrap();
    assert_eq!(counts(&w).reserved, 0, "the half that was not touched gave its promise back");
    munmap(&mut w.mm.write(), page(0), HUGE_BYTES).unwrap();
    assert_eq!(counts(&w), PoolCounts { total: 2, free: 2, reserved: 0, surplus: 0 });
    finish(w, None);
}

#[test]
fn without_a_promise_a_fault_may_find_the_pool_empty() {
    let w = pool(1);
    hugetlb(&w, 2, MapFlags::PRIVATE | MapFlags::NORESERVE).unwrap();
    assert_eq!(counts(&w).reserved, 0);
    assert!(w.store(page(0), 1));
    assert!(!w.store(page(HUGE), 1), "SIGBUS");
    assert_eq!(drive(&w, "popw"), 0);
    w.machine.resize_hugetlb(PMD_ORDER, 2);
    assert!(w.store(page(HUGE), 1));
    finish(w, None);
}

#[test]
fn pages_beyond_the_file_are_sigbus() {
    let w = pool(2);
    let file = w.file(FileKind::Hugetlb(PMD_ORDER), HUGE, None);
    let flags = rw() | VmFlags::HUGETLB | VmFlags::SHARED | VmFlags::MAYSHARE;
    w.area_of(0, 2 * HUGE, flags, World::backing(&file), 0);
    assert!(w.store(page(3), 1) && !w.store(page(HUGE), 1));
    drop(file);
    finish(w, None);
}

#[test]
fn a_shared_file_keeps_promises_and_pages_until_it_is_truncated() {
    let w = pool(3);
    let file = w.file(FileKind::Hugetlb(PMD_ORDER), 2 * HUGE, None);
    let prot = Prot::READ | Prot::WRITE;
    let map = |at| {
        let request = MmapRequest::file(&file, 0, 2 * HUGE_BYTES, prot, MapFlags::SHARED).at(at);
        mmap(&mut w.mm.write(), &w.task, &request).unwrap()
    };
    let (one, two) = (map(page(0)), map(page(2 * HUGE)));
    assert_eq!(counts(&w).reserved, 2, "both mappings share the file's promises");
    assert!(w.store(one, 9));
    assert_eq!(w.load(two), Some(9));
    assert_eq!(frame(&w.mm, one), frame(&w.mm, two));
    munmap(&mut w.mm.write(), one, 2 * HUGE_BYTES).unwrap();
    assert_eq!(counts(&w), PoolCounts { total: 3, free: 2, reserved: 1, surplus: 0 });
    file.truncate(&w.machine, 0);
    assert_eq!(counts(&w), PoolCounts { total: 3, free: 3, reserved: 0, surplus: 0 });
    assert!(!w.store(two, 1), "past the end");
    drop(file);
    finish(w, None);
}

#[test]
fn dropped_pages_are_promised_again_to_who_owned_them() {
    let w = pool(1);
    hugetlb(&w, 1, MapFlags::PRIVATE).unwrap();
    assert!(w.store(page(0), 1));
    let range = VirtRange::new(page(0), page(HUGE));
    let drop_pages = |w: &World| {
        let map = w.mm.read();
        gup::fault::zap_range(&w.mm, map.lookup(page(0)).unwrap(), range).unwrap();
    };
    drop_pages(&w);
    assert_eq!(counts(&w), PoolCounts { total: 1, free: 1, reserved: 1, surplus: 0 });
    assert_eq!(w.load(page(0)), Some(0));
    let partial = VirtRange::new(page(1), page(HUGE));
    gup::fault::zap_range(&w.mm, w.mm.read().lookup(page(0)).unwrap(), partial).unwrap();
    assert!(frame(&w.mm, page(0)).is_some(), "a huge page goes whole or not at all");
    drop_pages(&w);
    finish(w, None);
}

#[test]
fn a_pool_that_shrinks_below_its_use_frees_pages_as_they_return() {
    let w = pool(2);
    hugetlb(&w, 2, MapFlags::PRIVATE).unwrap();
    assert!(w.store(page(0), 1));
    assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, 0), 0);
    assert_eq!(counts(&w), PoolCounts { total: 2, free: 1, reserved: 1, surplus: 2 });
    assert!(w.store(page(HUGE), 1), "the promise holds");
    munmap(&mut w.mm.write(), page(0), HUGE_BYTES).unwrap();
    assert_eq!(counts(&w), PoolCounts { total: 1, free: 0, reserved: 0, surplus: 1 });
    assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, 1), 1);
    assert_eq!(counts(&w).surplus, 0, "what was too many is wanted again");
    finish(w, None);
}

#[test]
fn a_hugetlb_page_mapped_once_is_reused_whatever_references_it_has() {
    let (w, child) = make("htlb_fork");
    let mut pages = slots(1);
    let got = fast(FastEntry::Get, &w.task, &w.mm, page(0), 1, Foll::empty(), &mut pages);
    assert_eq!(got.got, 1);
    drop(child);
    let before = frame(&w.mm, page(0));
    assert!(w.store(page(0), 8));
    assert_eq!(frame(&w.mm, page(0)), before);
    assert_eq!(state(&w.mm), "AxhH1");
    release(&w, pages, false);
    finish(w, None);
}

#[test]
fn fork_copies_a_pinned_hugetlb_page_at_once_or_fails() {
    let (w, _) = make("htlb_written");
    let mut pages = slots(2);
    let got = fast(FastEntry::Pin, &w.task, &w.mm, page(0), 2, Foll::WRITE, &mut pages);
    assert_eq!(got.got, 2);
    let child = fork(&mut w.mm.write(), &w.task).unwrap();
    assert_eq!((state(&w.mm), state(&child)), ("AxhH1".into(), "AxhH1".into()));
    assert_ne!(frame(&w.mm, page(0)), frame(&child, page(0)));
    assert!(w.mapped(page(0), true).is_some(), "the parent's entry is untouched");
    assert_eq!(w.byte(frame(&child, page(0)).unwrap()), 7);
    // One free page is left, and it is promised to the parent.
    w.machine.resize_hugetlb(PMD_ORDER, 3);
    assert_eq!(counts(&w), PoolCounts { total: 3, free: 1, reserved: 1, surplus: 0 });
    assert_eq!(fork(&mut w.mm.write(), &w.task).err(), Some(Errno::ENOMEM));
    release(&w, pages, true);
    finish(w, Some(child));
}

#[test]
fn who_was_promised_a_page_takes_it_back_from_children_when_the_pool_is_empty() {
    let w = pool(1);
    hugetlb(&w, 1, MapFlags::PRIVATE).unwrap();
    assert!(w.store(page(0), 7));
    let before = frame(&w.mm, page(0));
    let child = fork(&mut w.mm.write(), &w.task).unwrap();
    assert_eq!(state(&child), "AshH2");
    assert!(w.store(page(0), 8));
    assert_eq!((frame(&w.mm, page(0)), state(&child)), (before, "-".into()));
    let failed = madvise_populate(&child, &w.task, VirtRange::new(page(0), page(1)), READ);
    assert_eq!(
        failed.map_err(|stop| stop.errno),
        Err(Errno::EFAULT),
        "the child's next access fails"
    );
    finish(w, Some(child));
}

const READ: MadvisePopulate = MadvisePopulate::Read;

#[test]
fn a_store_to_a_private_mapping_of_a_file_page_copies_it() {
    let w = pool(2);
    let file = w.file(FileKind::Hugetlb(PMD_ORDER), HUGE, None);
    let flags = rw() | VmFlags::HUGETLB;
    let both = VmFlags::SHARED | VmFlags::MAYSHARE;
    w.area_of(0, HUGE, flags | both, World::backing(&file), 0);
    w.area_of(HUGE, HUGE, flags, World::backing(&file), 0);
    assert!(w.store(page(0), 5));
    assert_eq!(w.load(page(HUGE)), Some(5));
    assert_eq!(token(&w.mm, page(HUGE)), "FhH2");
    assert!(w.store(page(HUGE), 6));
    assert_eq!((token(&w.mm, page(0)), token(&w.mm, page(HUGE))), ("FhH1".into(), "AxhH1".into()));
    assert_eq!((w.load(page(0)), w.load(page(HUGE))), (Some(5), Some(6)));
    drop(file);
    finish(w, None);
}

#[test]
fn failed_memory_of_a_hugetlb_page_never_returns_to_the_pool() {
    let w = pool(2);
    hugetlb(&w, 2, MapFlags::PRIVATE).unwrap();
    assert!(w.store(page(0), 1));
    assert!(gup::fault::memory_failure(&w.mm, page(5)));
    assert_eq!((w.load(page(0)), drive(&w, "popr")), (None, Errno::EHWPOISON.raw()));
    assert_eq!(drive(&w, "pvm_read"), Errno::EFAULT.raw());
    assert_eq!(counts(&w), PoolCounts { total: 1, free: 1, reserved: 1, surplus: 0 });
    assert_eq!(w.machine.frames().stats().poisoned, 1);
    finish(w, None);
}

/// A world with an area for one transparent huge page at page 0.
fn thp() -> World {
    let w = World::new(Linux::V6_18);
    w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
    w
}

#[test]
fn without_a_free_folio_small_pages_serve() {
    let w = thp();
    let huge = |point| point == gup::host::Injection::FolioAlloc(PMD_ORDER);
    *w.host().inject.lock().unwrap() = Some(Box::new(huge));
    assert_eq!(w.load(page(1)), Some(0));
    assert!(w.store(page(0), 1));
    assert_eq!((token(&w.mm, page(0)), token(&w.mm, page(1))), ("Ax1".into(), "Z".into()));
    finish(w, None);
}

#[test]
fn only_an_area_that_wants_and_holds_a_huge_page_gets_one() {
    let w = World::new(Linux::V6_18);
    w.area(0, HUGE, rw());
    w.area(2 * HUGE, HUGE - 1, rw() | VmFlags::HUGEPAGE);
    w.area(4 * HUGE, HUGE, rw() | VmFlags::HUGEPAGE | VmFlags::NOHUGEPAGE);
    w.area(6 * HUGE + 1, 2 * HUGE, rw() | VmFlags::HUGEPAGE);
    for at in [0, 2 * HUGE, 4 * HUGE, 6 * HUGE + 1, 7 * HUGE] {
        assert!(w.store(page(at), 1));
    }
    let token = |at| token(&w.mm, page(at));
    assert_eq!([token(0), token(2 * HUGE), token(4 * HUGE), token(6 * HUGE + 1)], ["Ax1"; 4]);
    assert_eq!(token(7 * HUGE), "AxTH1", "the part that is aligned");
    finish(w, None);
}

#[test]
fn the_resident_set_counts_a_huge_page_as_512() {
    let w = thp();
    w.load(page(0));
    assert_eq!(w.mm.rss(Counter::Anon), 0, "the huge zero page counts nowhere");
    w.store(page(0), 1);
    assert_eq!(w.mm.rss(Counter::Anon), 512);
    munmap(&mut w.mm.write(), page(8), PAGE_SIZE).unwrap();
    assert_eq!(w.mm.rss(Counter::Anon), 511);
    assert_eq!((token(&w.mm, page(0)), token(&w.mm, page(8))), ("AxT1".into(), "-".into()));
    munmap(&mut w.mm.write(), page(0), HUGE_BYTES).unwrap();
    assert_eq!(w.mm.rss(Counter::Anon), 0);
    finish(w, None);
}

#[test]
fn protecting_a_part_splits_the_mapping_and_keeps_the_page() {
    let w = thp();
    w.store(page(0), 1);
    let head = frame(&w.mm, page(0)).unwrap();
    mprotect(&mut w.mm.write(), &w.task, page(2), PAGE_SIZE, Prot::READ).unwrap();
    assert_eq!(frame(&w.mm, page(2)), Some(head.offset(2)));
    assert!(w.store(page(1), 1) && !w.store(page(2), 1) && w.store(page(3), 1));
    assert_eq!(w.machine.frames().refs(head), 512);
    mprotect(&mut w.mm.write(), &w.task, page(0), HUGE_BYTES, Prot::NONE).unwrap();
    assert_eq!(w.load(page(0)), None);
    finish(w, None);
}

#[test]
fn a_huge_page_with_a_foreign_reference_is_split_and_copied_page_by_page() {
    let (w, child) = make("thp_fork");
    drop(child);
    let mut pages = slots(1);
    let got = fast(FastEntry::Get, &w.task, &w.mm, page(0), 1, Foll::empty(), &mut pages);
    let before = frame(&w.mm, page(0));
    assert!(got.got == 1 && w.store(page(0), 1));
    assert_ne!(frame(&w.mm, page(0)), before);
    assert_eq!((token(&w.mm, page(0)), token(&w.mm, page(9))), ("Ax1".into(), "AsT1".into()));
    release(&w, pages, false);
    finish(w, None);
}

#[test]
fn a_huge_page_without_other_references_is_reused() {
    let (w, child) = make("thp_fork");
    drop(child);
    let before = frame(&w.mm, page(0));
    assert_eq!(state(&w.mm), "AsTH1");
    assert!(w.store(page(0), 1));
    assert_eq!((frame(&w.mm, page(0)), state(&w.mm)), (before, "AxTH1".into()));
    finish(w, None);
}

#[test]
fn a_long_term_read_pin_of_the_huge_zero_page_gets_a_page_of_its_own() {
    let (w, _) = make("thp_zero");
    let mut pages = slots(1);
    let got = fast(FastEntry::Pin, &w.task, &w.mm, page(0), 1, Foll::LONGTERM, &mut pages);
    assert_eq!((got.got, state(&w.mm)), (1, "AxTH1".into()));
    assert!(w.seen(gup::rule::f::F_28).is_some());
    release(&w, pages, true);
    finish(w, None);
}

#[test]
fn the_huge_zero_page_becomes_small_ones_where_no_huge_page_is_free() {
    let (w, _) = make("thp_zero");
    let huge = |point| point == gup::host::Injection::FolioAlloc(PMD_ORDER);
    *w.host().inject.lock().unwrap() = Some(Box::new(huge));
    assert!(w.store(page(1), 3));
    assert_eq!((token(&w.mm, page(0)), token(&w.mm, page(1))), ("Z".into(), "Ax1".into()));
    finish(w, None);
}

#[test]
fn fork_splits_a_pinned_huge_page_and_copies_all_of_it() {
    let (w, _) = make("thp_written");
    let mut pages = slots(1);
    let got = fast(FastEntry::Pin, &w.task, &w.mm, page(5), 1, Foll::WRITE, &mut pages);
    assert_eq!(got.got, 1);
    let child = fork(&mut w.mm.write(), &w.task).unwrap();
    assert_eq!((state(&w.mm), state(&child)), ("AxT1".into(), "Ax1".into()));
    assert!(w.mapped(page(5), true).is_some());
    assert_eq!(child.rss(Counter::Anon), 512);
    release(&w, pages, true);
    finish(w, Some(child));
}

#[test]
fn a_moved_huge_page_stays_huge_only_at_an_aligned_address() {
    let (w, _) = make("thp_written");
    let head = frame(&w.mm, page(0)).unwrap();
    let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
    let go = |from, to| {
        let request = MremapRequest {
            addr: page(from),
            old_bytes: HUGE_BYTES,
            new_bytes: HUGE_BYTES,
            flags,
            new_addr: page(to),
        };
        mremap(&mut w.mm.write(), &w.task, &request).unwrap();
    };
    go(0, 4 * HUGE);
    assert_eq!(token(&w.mm, page(4 * HUGE)), "AxTH1");
    go(4 * HUGE, 8 * HUGE + 3);
    assert_eq!(token(&w.mm, page(8 * HUGE + 3)), "AxT1");
    assert_eq!(frame(&w.mm, page(8 * HUGE + 5)), Some(head.offset(2)));
    assert_eq!((w.machine.frames().refs(head), w.mm.rss(Counter::Anon)), (512, 512));
    finish(w, None);
}

#[test]
fn a_whole_split_leaves_a_folio_with_other_references_whole() {
    let (w, _) = make("thp_written");
    let head = frame(&w.mm, page(0)).unwrap();
    let mut pages = slots(1);
    let got = fast(FastEntry::Get, &w.task, &w.mm, page(0), 1, Foll::empty(), &mut pages);
    assert_eq!(got.got, 1);
    gup::fault::split_page(&w.mm, page(0)).unwrap();
    assert_eq!(state(&w.mm), "AxT1");
    release(&w, pages, false);
    gup::fault::split_page(&w.mm, page(0)).unwrap();
    assert_eq!((state(&w.mm), w.machine.frames().refs(head)), ("Ax1".into(), 1));
    finish(w, None);
}

#[test]
fn a_split_huge_page_of_one_process_is_reused_part_by_part() {
    let (w, child) = make("thp_fork");
    let child = child.expect("a child");
    let split = |mm: &Mm<TestHost>| gup::fault::split_leaf(mm, page(0)).unwrap();
    split(&w.mm);
    split(&child);
    let before = frame(&w.mm, page(0));
    assert_eq!(state(&w.mm), "AsT2");
    drop(child);
    assert!(w.store(page(0), 1));
    assert_eq!((frame(&w.mm, page(0)), token(&w.mm, page(0))), (before, "AxT1".into()));
    let mut pages = slots(1);
    let got = fast(FastEntry::Get, &w.task, &w.mm, page(1), 1, Foll::empty(), &mut pages);
    assert!(got.got == 1 && w.store(page(1), 1));
    assert_eq!(token(&w.mm, page(1)), "Ax1", "a reference that is no mapping: copied");
    release(&w, pages, false);
    finish(w, None);
}

#[test]
fn advice_to_page_out_takes_a_huge_page_page_by_page() {
    let (w, _) = make("thp_written");
    assert!(w.store(page(3), 3));
    assert!(w.machine.swap().on(Arc::new(Disk::default()), 16));
    madvise(&w.mm, &w.task, page(2), 2 * PAGE_SIZE, Advice::PageOut).unwrap();
    let tokens = [1, 2, 3].map(|n| token(&w.mm, page(n)));
    assert_eq!(tokens, ["Z", "Z", "-"], "what nobody stored to is the zero page again");
    assert_eq!(w.mm.rss(Counter::Swap), 1);
    assert_eq!(w.load(page(3)), Some(3));
    finish(w, None);
}

/// A swap device in memory.
#[derive(Default)]
struct Disk(Mutex<HashMap<u64, Vec<u8>>>);

impl Store for Disk {
    fn read_page(&self, index: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        into.copy_from_slice(&self.0.lock().unwrap()[&index]);
        StoreRead::Ready
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        self.0.lock().unwrap().insert(index, from.to_vec());
        StoreWrite::Done
    }
}

#[test]
fn a_gigabyte_page_is_one_entry_and_one_lookup() {
    let w = World::with(MachineConfig::new(Linux::V6_18, 3 << PUD_ORDER));
    assert_eq!(w.machine.resize_hugetlb(PUD_ORDER, 2), 2);
    let bytes = PAGE_SIZE << PUD_ORDER;
    let gigabytes = MapFlags::from_bits_retain(30 << 26) | MapFlags::HUGETLB;
    let request = MmapRequest::anonymous(1, Prot::READ | Prot::WRITE).at(page(0)).with(gigabytes);
    assert_eq!(mmap(&mut w.mm.write(), &w.task, &request), Ok(page(0)));
    assert_eq!(w.mm.read().lookup(page(0)).unwrap().range().bytes(), bytes);
    let far = (1 << PUD_ORDER) - 8;
    let mut pages = slots(8);
    let at = page(far);
    let got = fast(FastEntry::Pin, &w.task, &w.mm, at, 8, Foll::WRITE, &mut pages);
    let head = frame(&w.mm, page(0)).unwrap();
    assert_eq!((got.got, pages[0].as_ref().map(Page::pfn)), (8, Some(head.offset(far))));
    assert_eq!((w.mm.tables().walk(at).place.level, token(&w.mm, at)), (2, "AxhH1".into()));
    assert_eq!((w.machine.frames().pins(head), w.count(gup::rule::c::C_21)), (8, 1));
    assert_eq!(munmap(&mut w.mm.write(), page(0), HUGE_BYTES), Err(Errno::EINVAL), "not in part");
    munmap(&mut w.mm.write(), page(0), bytes).unwrap();
    let counts = w.machine.hugetlb().counts(PUD_ORDER);
    assert_eq!((counts.total, counts.free), (2, 1), "the pins keep the page");
    release(&w, pages, true);
    assert_eq!(w.machine.hugetlb().counts(PUD_ORDER).free, 2);
    w.machine.resize_hugetlb(PUD_ORDER, 0);
    w.end();
}

/// Tells nobody, and fails what it would be told of.
struct Nobody;

impl UserFault for Nobody {
    fn sigbus(&self) -> bool {
        true
    }
    fn wp_async(&self) -> bool {
        false
    }
    fn deliver(&self, _: UserFaultMessage) -> Ticket {
        Ticket(1)
    }
}

#[test]
fn a_userfault_protection_of_a_part_splits_the_mapping() {
    let (w, _) = make("thp_written");
    w.set_area_flags(page(0), rw() | VmFlags::HUGEPAGE | VmFlags::UFFD_WP);
    w.mm.write().lookup_mut(page(0)).unwrap().uffd = Some(Arc::new(Nobody));
    let protect = |from, to| {
        let range = VirtRange::new(page(from), page(to));
        userfault::write_protect(&w.mm.read(), range, userfault::Protection::On)
    };
    protect(2, 3).unwrap();
    assert_eq!(state(&w.mm), "AxT1");
    assert!(w.store(page(1), 1) && !w.store(page(2), 1) && w.store(page(3), 1));
    finish(w, None);
    let (w, _) = make("thp_written");
    w.set_area_flags(page(0), rw() | VmFlags::HUGEPAGE | VmFlags::UFFD_WP);
    w.mm.write().lookup_mut(page(0)).unwrap().uffd = Some(Arc::new(Nobody));
    let all = VirtRange::new(page(0), page(HUGE));
    userfault::write_protect(&w.mm.read(), all, userfault::Protection::On).unwrap();
    assert_eq!((state(&w.mm), w.store(page(5), 1)), ("AxTH1".into(), false));
    finish(w, None);
}

#[test]
fn a_missing_huge_page_is_left_to_the_userfault_handler() {
    let w = World::new(Linux::V6_18);
    w.area(0, HUGE, rw() | VmFlags::HUGEPAGE | VmFlags::UFFD_MISSING);
    w.mm.write().lookup_mut(page(0)).unwrap().uffd = Some(Arc::new(Nobody));
    assert!(!w.store(page(5), 1) && w.load(page(6)).is_none());
    assert_eq!(token(&w.mm, page(5)), "-");
    finish(w, None);
}

/// Huge pages of both sorts, shared with a child, pinned, copied, split, unmapped; errors are taken
/// as they come.
fn mixed(w: &World) {
    let _ = hugetlb(w, 2, MapFlags::PRIVATE);
    for at in [0, 5, HUGE, 2 * HUGE, 3 * HUGE + 1] {
        w.store(page(at), 1);
    }
    w.load(page(4 * HUGE));
    let child = fork(&mut w.mm.write(), &w.task);
    w.store(page(0), 2);
    w.store(page(2 * HUGE), 2);
    let mut pages = slots(2);
    let pin = |at, foll, pages: &mut [Option<Page>]| {
        fast(FastEntry::Pin, &w.task, &w.mm, page(at), 1, foll, pages).got
    };
    let _ = pin(HUGE, Foll::WRITE, &mut pages[..1]);
    let _ = pin(3 * HUGE, Foll::WRITE, &mut pages[1..]);
    let again = fork(&mut w.mm.write(), &w.task);
    w.store(page(4 * HUGE), 3);
    let part = 2 * HUGE + 7;
    let _ = mprotect(&mut w.mm.write(), &w.task, page(part), PAGE_SIZE, Prot::READ);
    let _ = munmap(&mut w.mm.write(), page(3 * HUGE + 1), PAGE_SIZE);
    let _ = munmap(&mut w.mm.write(), page(0), HUGE_BYTES);
    release(w, pages, true);
    drop((child, again));
}

#[test]
fn a_failure_at_any_point_leaves_nothing_behind() {
    let mut points = 0;
    for fails in 0.. {
        let w = pool(3);
        w.area(2 * HUGE, 3 * HUGE, rw() | VmFlags::HUGEPAGE);
        let passed = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&passed);
        let nth = move |_| count.fetch_add(1, SeqCst) == fails;
        *w.host().inject.lock().unwrap() = Some(Box::new(nth));
        mixed(&w);
        *w.host().inject.lock().unwrap() = None;
        finish(w, None);
        points = passed.load(SeqCst);
        if fails >= points {
            break;
        }
    }
    assert!(points > 20, "{points} points were passed");
}

#[test]
fn force_writes_to_a_read_only_hugetlb_page_and_leaves_its_entry_read_only() {
    let (w, _) = make("htlb_fresh");
    protect(&w, Prot::READ);
    assert_eq!((drive(&w, "mem_write"), state(&w.mm)), (0, "AxhH1".into()));
    assert!(w.mapped(page(0), true).is_none() && !w.store(page(0), 1));
    assert_eq!(drive(&w, "pvm_write"), Errno::EFAULT.raw(), "only by force");
    finish(w, None);
}

#[test]
fn shared_hugetlb_pages_are_the_file_s_and_pinned_for_long() {
    let w = pool(2);
    hugetlb(&w, 2, MapFlags::SHARED).unwrap();
    assert_eq!((drive(&w, "iou_reg"), state(&w.mm)), (0, "FhH1".into()));
    assert!(w.mapped(page(0), true).is_some());
    let child = fork(&mut w.mm.write(), &w.task).unwrap();
    assert_eq!(state(&child), "-", "a fault finds the page again");
    let mut lock = Lock::Dropped(&child);
    let mut pages = slots(1);
    let foll = Foll::empty();
    let unlocked = Entry::GetUnlocked;
    let got = gup(unlocked, &w.task, &mut lock, page(0), 1, foll, Some(&mut pages), Locked::Given);
    assert_eq!((got.got, pages[0].as_ref().map(Page::pfn)), (1, frame(&w.mm, page(0))));
    assert_eq!((lock.is_held(), state(&child)), (false, "FhH2".into()));
    drop(lock);
    release(&w, pages, false);
    finish(w, Some(child));
}

#[test]
fn a_request_over_the_end_of_a_hugetlb_area_gets_what_lies_before() {
    let (w, _) = make("htlb_written");
    munmap(&mut w.mm.write(), page(HUGE), HUGE_BYTES).unwrap();
    let mut pages = slots(4);
    let foll = Foll::WRITE;
    let got = fast(FastEntry::Pin, &w.task, &w.mm, page(HUGE - 2), 4, foll, &mut pages);
    assert_eq!((got.got, got.stop.map(|stop| stop.errno)), (2, Some(Errno::EFAULT)));
    release(&w, pages, true);
    finish(w, None);
}
