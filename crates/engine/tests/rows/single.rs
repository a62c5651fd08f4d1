//! Rows A-160 … A-163, and what only they reach: one page, one fault, another's
//! bytes.

use crate::store::{quick_file, slow_area};
use crate::support::{World, none, page, ro, row, rw};
use gup::abi;
use gup::abi::flags::{
    FOLL_DUMP, FOLL_GET, FOLL_HWPOISON, FOLL_MIGRATION, FOLL_NOWAIT, FOLL_SPLIT, FOLL_TOUCH,
    FOLL_WRITE,
};
use gup::addr::{PMD_ORDER, Pfn, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::{AllocFlags, FrameFlags, Kind};
use gup::gup::Page;
use gup::host::Injection;
use gup::mm::Lock;
use gup::pgtable::{Entry, Perms, SwapEntry};
use gup::rule::a;
use gup::vma::{Backing, Special, SpecialAccess};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

const EFAULT: i32 = -Errno::EFAULT.raw();

fn write() -> u32 {
    FaultFlags::WRITE.bits()
}

/// `follow_page` at `addr`, in the area that is there; the page is kept until the end.
fn follow(w: &World, addr: VirtAddr, flags: u32) -> Result<Option<Pfn>, Errno> {
    let lock = Lock::Read(w.mm.read());
    let vma = lock.map().unwrap().lookup(addr).expect("an area").id();
    let page = abi::follow_page(&w.task, &lock, vma, addr.get(), flags)?;
    let pfn = page.as_ref().map(Page::pfn);
    if flags & FOLL_GET != 0 {
        w.hold(page);
    }
    Ok(pfn)
}

/// Bytes of the process at `addr`, by `access_process_vm`; how many were got.
fn peek(w: &World, addr: VirtAddr, buf: &mut [u8]) -> i32 {
    abi::access_process_vm(&w.task, &w.task, Some(&w.mm), addr.get(), buf, 0)
}
fn poke(w: &World, addr: VirtAddr, buf: &mut [u8]) -> i32 {
    abi::access_process_vm(&w.task, &w.task, Some(&w.mm), addr.get(), buf, 1)
}

#[test]
fn a_160_a_dump_gets_one_page_and_nothing_for_holes() {
    row(a::A_160, |w| {
        let dump = |at: u64| {
            let page = abi::get_dump_page(&w.task, &w.mm, page(at).get());
            let pfn = page.as_ref().map(Page::pfn);
            w.hold(page);
            pfn
        };
        w.area(0, 3, none());
        assert_eq!(dump(0), None, "a hole");
        assert!(w.faults().is_empty(), "which is not filled");
        w.area(4, 2, rw());
        w.store(page(4), 9);
        w.load(page(5));
        assert_eq!(dump(4), w.mapped(page(4), true));
        assert_eq!(w.machine.frames().refs(w.mapped(page(4), true).unwrap()), 2);
        assert_eq!(dump(5), None, "the zero page");
        let file = quick_file(w, 1);
        w.area_of(8, 1, none(), World::backing(&file), 0);
        assert!(dump(8).is_some(), "a file's page is read in, by force");
        assert_eq!(dump(9), None, "no area");
        let flushed = w.host().flushed.lock().unwrap().len();
        assert!(flushed >= 2, "each page was flushed");
    });
}

#[test]
fn a_161_fixup_takes_one_fault_by_the_areas_plain_permissions() {
    row(a::A_161, |w| {
        let fixup = |at: u64, flags: u32| {
            let mut lock = Lock::Read(w.mm.read());
            let at = page(at).get();
            let ret = abi::fixup_user_fault(&w.task, Some(&w.task), &mut lock, at, flags);
            (ret, lock.is_held())
        };
        w.area(0, 2, rw());
        assert_eq!(fixup(0, write()), (0, true));
        assert!(w.mapped(page(0), true).is_some());
        assert_eq!((w.faults().len(), w.task.min_flt.load(SeqCst)), (1, 1), "one, charged to tsk");
        assert_eq!(fixup(0, write()), (0, true), "there already");
        w.area(4, 1, ro());
        assert_eq!(fixup(4, 0), (0, true));
        assert_eq!(fixup(4, write()), (EFAULT, true), "not writable");
        w.area(6, 1, none() | VmFlags::WRITE);
        assert_eq!(fixup(6, 0), (EFAULT, true), "not readable");
        assert_eq!(fixup(9, 0), (EFAULT, true), "no area");
        let no_folio = |point| matches!(point, Injection::FolioAlloc(_));
        *w.host().inject.lock().unwrap() = Some(Box::new(no_folio));
        assert_eq!(fixup(1, write()), (-Errno::ENOMEM.raw(), true));
        *w.host().inject.lock().unwrap() = None;
        let place = w.mm.tables().make(page(1), 0).unwrap();
        w.mm.tables().store(place, Entry::swap(SwapEntry::HwPoison(Pfn::new(9))));
        assert_eq!(fixup(1, write()), (-Errno::EHWPOISON.raw(), true), "though nobody asked");
        w.mm.tables().store(place, Entry::NONE);
        let mut dropped = Lock::Dropped(&w.mm);
        let at = page(0).get();
        let ret = abi::fixup_user_fault(&w.task, None, &mut dropped, at, 0);
        assert_eq!(ret, -Errno::EINVAL.raw(), "the lock is not held");
    });
}

#[test]
fn a_161_a_fixup_that_must_be_retried_counts_as_done() {
    row(a::A_161, |w| {
        slow_area(w, 0, 1, ro());
        let mut lock = Lock::Read(w.mm.read());
        let (at, flags) = (page(0).get(), FaultFlags::ALLOW_RETRY.bits());
        assert_eq!(abi::fixup_user_fault(&w.task, None, &mut lock, at, flags), 0);
        assert!(!lock.is_held() && w.mapped(page(0), false).is_none());
    });
}

#[test]
fn a_162_remote_access_is_forced_and_counts_the_bytes_done() {
    row(a::A_162, |w| {
        w.area(0, 1, rw());
        w.area(1, 1, ro());
        w.area(2, 1, none());
        w.store(page(0).wrapping_add(4095), 7);
        let mut buf = [0; 4098];
        assert_eq!(peek(w, page(0).wrapping_add(4095), &mut buf), 4098, "PROT_NONE by force");
        assert_eq!(buf[..2], [7, 0]);
        let mut two = [1, 2];
        assert_eq!(poke(w, page(1).wrapping_add(4095), &mut two), 2, "a read-only area too");
        let pfn = w.mapped(page(1), false).unwrap();
        assert!(w.mapped(page(1), true).is_none() && pfn != w.machine.zero_page());
        assert!(w.machine.frames().has(pfn, FrameFlags::DIRTY));
        assert_eq!(w.machine.frames().refs(pfn), 1, "and given back");
        assert_eq!(peek(w, page(2), &mut buf), 4096, "up to the hole");
        assert_eq!(peek(w, page(9), &mut buf), 0, "errors are hidden");
        assert_eq!(abi::access_remote_vm(&w.task, &w.mm, page(0).get(), &mut two, 0), 2);
        let no_mm = None::<&gup::mm::Mm<crate::support::TestHost>>;
        assert_eq!(abi::access_process_vm(&w.task, &w.task, no_mm, 0, &mut two, 0), 0);
        assert!(w.task.min_flt.load(SeqCst) > 0, "faults are charged to the target");
    });
}

/// A driver whose memory is a byte vector.
struct Registers(Mutex<Vec<u8>>);

impl SpecialAccess for Registers {
    fn read(&self, addr: VirtAddr, into: &mut [u8]) -> usize {
        let from = usize::try_from(addr.page_offset()).unwrap();
        let bytes = self.0.lock().unwrap();
        let some = bytes.get(from..).unwrap_or_default();
        let len = some.len().min(into.len());
        into[..len].copy_from_slice(&some[..len]);
        len
    }
    fn write(&self, addr: VirtAddr, from: &[u8]) -> usize {
        let at = usize::try_from(addr.page_offset()).unwrap();
        self.0.lock().unwrap()[at] = from[0];
        1
    }
}

#[test]
fn a_162_a_driver_may_answer_where_there_are_no_pages() {
    row(a::A_162, |w| {
        let registers = Arc::new(Registers(Mutex::new(vec![1, 2, 3, 4])));
        let access: Arc<dyn SpecialAccess> = Arc::clone(&registers) as _;
        let (pages, find_special) = (Vec::new(), Vec::new());
        let special = Special { name: "[regs]", pages, find_special, access: Some(access) };
        w.area_of(0, 1, rw() | VmFlags::IO, Backing::Special(Arc::new(special)), 0);
        let mut buf = [0; 3];
        assert_eq!(peek(w, page(0).wrapping_add(1), &mut buf), 3);
        assert_eq!(buf, [2, 3, 4]);
        assert_eq!(peek(w, page(0).wrapping_add(4), &mut buf), 0, "the driver has no more");
        assert_eq!(poke(w, page(0), &mut [9, 8]), 2, "a byte at a time");
        assert_eq!(*registers.0.lock().unwrap(), [9, 8, 3, 4]);
    });
}

#[test]
fn a_163_follow_page_serves_ksm_munlock_and_move_pages_without_a_fault() {
    row(a::A_163, |w| {
        w.area(0, 3, rw());
        w.store(page(0), 1);
        w.load(page(1));
        w.forget();
        let first = w.mapped(page(0), true);
        let (ksm, munlock) = (FOLL_GET | FOLL_MIGRATION, FOLL_GET | FOLL_DUMP);
        let move_pages = FOLL_GET | FOLL_SPLIT | FOLL_DUMP;
        for flags in [ksm, munlock, move_pages] {
            assert_eq!(follow(w, page(0), flags), Ok(first), "{flags:#x}");
        }
        assert_eq!(w.machine.frames().refs(first.unwrap()), 4, "a reference each");
        assert_eq!(follow(w, page(1), ksm), Ok(Some(w.machine.zero_page())));
        assert_eq!(follow(w, page(1), munlock), Err(Errno::EFAULT), "no zero page for a dump");
        assert_eq!(follow(w, page(2), ksm), Ok(None), "a hole");
        assert_eq!(follow(w, page(2), move_pages), Err(Errno::EFAULT), "a hole in a dump");
        assert_eq!(follow(w, page(1), FOLL_WRITE), Ok(None), "not writable");
        assert_eq!(follow(w, page(0), 0), Ok(first), "without a reference");
        assert_eq!(w.machine.frames().refs(first.unwrap()), 4);
        assert!(w.faults().is_empty());
        let lock = Lock::Read(w.mm.read());
        let wrong = abi::follow_page(&w.task, &lock, gup::vma::VmaId::GATE, page(0).get(), 0);
        assert!(wrong.is_err_and(|errno| errno == Errno::EINVAL), "another area's id");
    });
}

#[test]
fn a_163_kvm_asks_without_waiting_and_for_broken_memory() {
    row(a::A_163, |w| {
        let disk = slow_area(w, 0, 1, ro());
        let kvm = FOLL_TOUCH | FOLL_NOWAIT | FOLL_HWPOISON | FOLL_GET;
        let call = crate::support::Call { flags: kvm, charge: true, ..Default::default() };
        assert_eq!(w.call(call).ret, 0, "the read is started");
        assert_eq!(disk.asked.lock().unwrap().len(), 1);
        assert_eq!(follow(w, page(0), FOLL_GET), Ok(None));
    });
}

#[test]
fn a_90_on_x86_64_no_hook_answers_for_a_huge_address() {
    row(a::A_90, |w| {
        let (at, head) = huge_page(w, rw() | VmFlags::HUGETLB);
        assert_eq!(follow(w, at, FOLL_GET), Ok(Some(head)), "the walk answers");
        assert_eq!(w.machine.frames().refs(head), 2, "with a reference, which a hook has not");
        w.put_all();
        drop_huge_page(w, at, head);
    });
}

/// A hugetlb area whose only page is mapped; its address and frame.
fn huge_page(w: &World, flags: VmFlags) -> (VirtAddr, Pfn) {
    let (frames, order) = (w.machine.frames(), PMD_ORDER);
    let head = frames.alloc(w.host(), order, Kind::Hugetlb, AllocFlags::empty()).unwrap();
    let file = w.file(FileKind::Hugetlb(order), 512, None);
    let at = w.area_of(0, 512, flags, World::backing(&file), 0);
    let perms = Perms { write: true, ..Perms::default() };
    w.mm.tables().map(huge_range(at), head, perms, 1).unwrap();
    (at, head)
}
fn huge_range(at: VirtAddr) -> VirtRange {
    VirtRange::from_len(at, 1 << 21).unwrap()
}
fn drop_huge_page(w: &World, at: VirtAddr, head: Pfn) {
    w.mm.tables().unmap(huge_range(at), |_, _, _| {}).unwrap();
    w.machine.put_page(head);
}

#[test]
fn a_92_a_hugetlb_entry_answers_at_once_but_an_upper_one_not_with_a_reference() {
    row(a::A_92, |w| {
        let (at, head) = huge_page(w, rw() | VmFlags::HUGETLB);
        let inside = at.wrapping_add(5 << 12);
        assert_eq!(follow(w, inside, FOLL_GET), Ok(Some(head.offset(5))));
        assert_eq!(follow(w, inside, 0), Ok(Some(head.offset(5))));
        assert_eq!(w.machine.frames().refs(head), 2, "one reference, for FOLL_GET");
        w.put_all();
        let tables = w.mm.tables();
        let place = tables.walk(at).place;
        let poison = Entry::swap(SwapEntry::HwPoison(head));
        let mapped = tables.swap(place, poison);
        assert_eq!(follow(w, inside, FOLL_GET), Ok(None), "broken memory: nothing");
        let moving = SwapEntry::Migration { pfn: head, write: true, exclusive: false };
        tables.store(place, Entry::swap(moving));
        end_migration(w, at, mapped);
        assert_eq!(follow(w, inside, FOLL_GET), Ok(Some(head.offset(5))), "it was waited for");
        w.put_all();
        drop_huge_page(w, at, head);

        let giant = VirtAddr::new(1 << 40);
        let file = w.file(FileKind::Hugetlb(18), 1 << 18, None);
        let range = VirtRange::from_len(giant, 1 << 30).unwrap();
        let mut map = w.mm.write();
        let id = map.new_id();
        let flags = rw() | VmFlags::HUGETLB;
        map.insert(gup::vma::Vma::new(id, range, flags, World::backing(&file), 0));
        drop(map);
        let bare = Pfn::new(1 << 18);
        w.mm.tables().map(range, bare, Perms::default(), 2).unwrap();
        assert_eq!(follow(w, giant.wrapping_add(1 << 12), FOLL_GET), Ok(None));
        assert_eq!(follow(w, giant.wrapping_add(1 << 12), 0), Ok(Some(bare.offset(1))));
        w.mm.tables().unmap(range, |_, _, _| {}).unwrap();
    });
}

/// Once somebody waits, the entry for `addr` becomes `mapped`.
fn end_migration(w: &World, addr: VirtAddr, mapped: Entry<gup::pgtable::X86_64>) {
    let mm = Arc::downgrade(&w.mm);
    *w.host().on_relax.lock().unwrap() = Some(Box::new(move || {
        let Some(mm) = mm.upgrade() else { return };
        mm.tables().store(mm.tables().walk(addr).place, mapped);
    }));
}

#[test]
fn a_112_foll_migration_waits_for_a_page_that_moves() {
    row(a::A_112, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let tables = w.mm.tables();
        let walked = tables.walk(page(0));
        let pfn = walked.entry.pfn();
        let moving = SwapEntry::Migration { pfn, write: true, exclusive: true };
        tables.store(walked.place, Entry::swap(moving));
        assert_eq!(follow(w, page(0), FOLL_GET), Ok(None), "not without the flag");
        assert_eq!(w.host().relaxed.load(SeqCst), 0);
        end_migration(w, page(0), walked.entry);
        assert_eq!(follow(w, page(0), FOLL_GET | FOLL_MIGRATION), Ok(Some(pfn)));
        assert!(w.host().relaxed.load(SeqCst) > 0, "it waited");
    });
}
