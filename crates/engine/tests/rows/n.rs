//! Rows N-01 … N-11: the twin without an MMU.

use crate::support::{World, kept_in, row};
use gup::abi::flags::{FOLL_FORCE, FOLL_GET, FOLL_WRITE};
use gup::abi::{nommu, nommu_v6_18, put_page};
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::file::FileKind;
use gup::flags::{MapFlags, Prot, VmFlags};
use gup::frame::{AllocFlags, Kind};
use gup::gup::Page;
use gup::host::{Host, Injection, Memory};
use gup::linux::Linux;
use gup::nommu::{FlatMemory, Lock, MapError, MapRequest, NommuMm, Read, Source, Write};
use gup::observe::Event;
use gup::rule::{Rule, c, n, o, w};
use gup::vma::VmaId;
use std::sync::Arc;

use crate::support::TestHost;

const FLAT: u64 = 0x8000_0000;
const EFAULT: i64 = -14;
const PRIVATE: MapFlags = MapFlags::PRIVATE;

/// An address space on a flat memory, on the machine of a world.
struct Flat<'w> {
    world: &'w World,
    memory: Arc<FlatMemory<TestHost>>,
    mm: Arc<NommuMm<TestHost>>,
    /// Whose memory the driver's areas show.
    owner: Arc<NommuMm<TestHost>>,
}

/// What a call of v4.4's `__get_user_pages` gave.
struct Answer {
    ret: i64,
    pages: Vec<Option<Page>>,
    vmas: Vec<Option<VmaId>>,
}

impl<'w> Flat<'w> {
    fn on(world: &'w World) -> Self {
        let flat = FlatMemory::new(&world.machine, VirtAddr::new(FLAT)).unwrap();
        let mm = NommuMm::new(&flat);
        let owner = NommuMm::new(&flat);
        Self { world, memory: flat, mm, owner }
    }
    /// Memory of somebody else's; its first address.
    fn lent(&self, pages: u64) -> VirtAddr {
        let (len, prot, flags) = (pages * PAGE_SIZE, Prot::NONE, PRIVATE);
        self.owner
            .write()
            .mmap(&MapRequest { len, prot, flags, source: Source::Anonymous })
            .unwrap()
    }
    fn try_map(&self, len: u64, prot: Prot, flags: MapFlags) -> Result<VirtAddr, MapError> {
        self.mm.write().mmap(&MapRequest { len, prot, flags, source: Source::Anonymous })
    }
    /// Private anonymous memory.
    fn map(&self, pages: u64, prot: Prot) -> VirtAddr {
        self.try_map(pages * PAGE_SIZE, prot, PRIVATE).unwrap()
    }
    /// An area with exactly these flags, over memory that somebody else owns.
    fn driver(&self, start: VirtAddr, pages: u64, flags: VmFlags) {
        let range = VirtRange::from_len(start, pages * PAGE_SIZE).unwrap();
        self.mm.write().map_driver(range, flags).unwrap();
    }
    fn gup(&self, start: VirtAddr, nr_pages: usize, flags: u32) -> Answer {
        let mut pages: Vec<Option<Page>> = Vec::new();
        pages.resize_with(nr_pages, || None);
        let mut vmas = vec![None; nr_pages];
        let mut lock = Lock::Read(self.mm.read());
        let (out, ids) = (Some(&mut pages[..]), Some(&mut vmas[..]));
        let task = &self.world.task;
        let (start, count) = (start.get(), nr_pages as u64);
        let ret =
            nommu::__get_user_pages(task, None, &mut lock, start, count, flags, out, ids, None);
        assert!(lock.is_held(), "the twin never drops the lock");
        Answer { ret, pages, vmas }
    }
    /// The return value of a call, its pages given back at once.
    fn ret(&self, start: VirtAddr, nr_pages: usize, flags: u32) -> i64 {
        let answer = self.gup(start, nr_pages, flags);
        self.put(answer.pages);
        answer.ret
    }
    fn put(&self, pages: Vec<Option<Page>>) {
        pages.into_iter().flatten().for_each(|page| put_page(&self.world.machine, page));
    }
    fn refs(&self, addr: VirtAddr) -> u32 {
        self.world.machine.frames().refs(self.memory.frame_at(addr).unwrap())
    }
    fn free(&self) -> u64 {
        self.world.machine.frames().stats().free_total()
    }
}

fn at(start: VirtAddr, pages: u64) -> VirtAddr {
    start.wrapping_add(pages * PAGE_SIZE)
}
/// The addresses that `rule` decided about.
fn decided(world: &World, rule: Rule) -> Vec<u64> {
    let events = world.host().observer().0.lock().unwrap();
    let addr = |event: &Event| match event {
        Event::Rule { rule: r, addr } if *r == rule => Some(addr.get()),
        _ => None,
    };
    events.iter().filter_map(|(event, _)| addr(event)).collect()
}

#[test]
fn n_01_any_wanted_permission_bit_suffices_and_force_asks_the_may_bits_alone() {
    row(n::N_01, |w| {
        let flat = Flat::on(w);
        let (r, wr, mr, mw) = (VmFlags::READ, VmFlags::WRITE, VmFlags::MAYREAD, VmFlags::MAYWRITE);
        let none = VmFlags::empty();
        let table = [
            (r, 0, 1, "a readable area is read"),
            (r, FOLL_FORCE, EFAULT, "force looks at MAYREAD, not at READ"),
            (mr, 0, EFAULT, "MAYREAD is not READ"),
            (mr, FOLL_FORCE, 1, "but force takes it"),
            (wr, 0, EFAULT, "a write-only area is not read"),
            (wr, FOLL_WRITE, 1, "and it is written"),
            (wr, FOLL_WRITE | FOLL_FORCE, EFAULT, "force looks at MAYWRITE, not at WRITE"),
            (mw, FOLL_WRITE, EFAULT, "MAYWRITE is not WRITE"),
            (mw, FOLL_WRITE | FOLL_FORCE, 1, "but force takes it"),
            (mw | VmFlags::SHARED, FOLL_WRITE | FOLL_FORCE, 1, "shared or not"),
            (r | mr, FOLL_WRITE | FOLL_FORCE, EFAULT, "no bit for a write"),
            (none, FOLL_FORCE, EFAULT, "no bit at all"),
        ];
        for (flags, foll, want, because) in table {
            let start = flat.lent(1);
            flat.driver(start, 1, flags);
            assert_eq!(flat.ret(start, 1, foll), want, "{because}");
        }
    });
}

#[test]
fn n_02_only_the_area_that_contains_the_address_counts_and_nothing_is_faulted_in() {
    row(n::N_02, |w| {
        let flat = Flat::on(w);
        let stack = flat.lent(2);
        flat.driver(stack, 2, VmFlags::READ | VmFlags::WRITE | VmFlags::GROWSDOWN);
        assert_eq!(flat.ret(at(stack, 0).wrapping_sub(1), 1, FOLL_WRITE), EFAULT, "no growth");
        assert_eq!(flat.mm.read().find(stack).unwrap().start(), stack, "the area is as it was");
        assert_eq!(flat.ret(VirtAddr::new(0xffff_ffff_ff60_0000), 1, 0), EFAULT, "no gate area");
        w.task.kill();
        w.host().kill_at.store(1, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(flat.ret(stack, 2, FOLL_WRITE), 2, "no look at signals");
        assert_eq!(w.host().kill_at.load(std::sync::atomic::Ordering::SeqCst), 1);
        assert!(w.host().flushed.lock().unwrap().is_empty(), "no flush");
        assert_eq!(w.host().relaxed.load(std::sync::atomic::Ordering::SeqCst), 0, "no giving way");
        let events = w.host().observer().0.lock().unwrap();
        let fault = |event: &Event| matches!(event, Event::Fault { .. } | Event::Walk { .. });
        assert!(!events.iter().any(|(event, _)| fault(event)), "no fault, no table");
    });
}

#[test]
fn n_03_a_refusal_gives_the_pages_before_it_and_efault_only_where_there_are_none() {
    row(n::N_03, |w| {
        let flat = Flat::on(w);
        let start = flat.lent(9);
        flat.driver(start, 2, VmFlags::READ);
        flat.driver(at(start, 2), 1, VmFlags::READ | VmFlags::IO);
        flat.driver(at(start, 4), 1, VmFlags::READ);
        flat.driver(at(start, 5), 1, VmFlags::READ | VmFlags::PFNMAP);
        flat.driver(at(start, 7), 1, VmFlags::READ);
        flat.driver(at(start, 8), 1, VmFlags::WRITE);
        let table = [
            (0, 5, 2, "stops at VM_IO"),
            (2, 1, EFAULT, "VM_IO at once"),
            (3, 1, EFAULT, "a hole"),
            (4, 5, 1, "stops at VM_PFNMAP"),
            (5, 1, EFAULT, "VM_PFNMAP at once"),
            (7, 5, 1, "stops where reading is not permitted"),
            (8, 1, EFAULT, "not permitted at once"),
        ];
        for (page, count, want, because) in table {
            assert_eq!(flat.ret(at(start, page), count, 0), want, "{because}");
        }
        let force = flat.ret(at(start, 2), 1, FOLL_FORCE);
        assert_eq!(force, EFAULT, "force does not open a device");
    });
}

#[test]
fn n_04_every_page_is_referenced_with_or_without_foll_get_and_none_where_there_is_no_memory() {
    row(n::N_04, |w| {
        let flat = Flat::on(w);
        let start = flat.map(2, Prot::READ);
        for flags in [0, FOLL_GET] {
            let answer = flat.gup(start, 2, flags);
            let frames: Vec<Pfn> = answer.pages.iter().flatten().map(Page::pfn).collect();
            assert_eq!(
                frames[0].get(),
                (start.get() - FLAT) / PAGE_SIZE,
                "the memory at the address"
            );
            assert_eq!(frames[1], frames[0].offset(1));
            assert_eq!(flat.refs(start), 2, "one of the region's, one of ours");
            flat.put(answer.pages);
            assert_eq!(flat.refs(start), 1);
        }
        let mut lock = Lock::Read(flat.mm.read());
        let (task, at0) = (&w.task, start.get());
        let ret =
            nommu::__get_user_pages(task, None, &mut lock, at0, 2, FOLL_GET, None, None, None);
        drop(lock);
        assert_eq!((ret, flat.refs(start)), (2, 1), "without pages nothing is referenced");
        let outside = VirtAddr::new(FLAT - 4 * PAGE_SIZE);
        flat.driver(outside, 1, VmFlags::READ);
        let answer = flat.gup(outside, 1, FOLL_GET);
        assert!(answer.ret == 1 && answer.pages[0].is_none(), "counted, but no page");
    });
}

#[test]
fn n_05_vmas_are_filled_and_everything_else_that_was_passed_is_ignored() {
    row(n::N_05, |w| {
        let flat = Flat::on(w);
        let (a, b) = (flat.map(1, Prot::READ), flat.map(1, Prot::READ));
        let other = gup::task::Task::default();
        let everything = !(FOLL_WRITE | FOLL_FORCE);
        let mut lock = Lock::Read(flat.mm.read());
        let (mut pages, mut vmas, mut nonblocking) = ([None], [None], 1);
        let ret = nommu::__get_user_pages(
            &w.task,
            Some(&other),
            &mut lock,
            a.get(),
            1,
            everything,
            Some(&mut pages),
            Some(&mut vmas),
            Some(&mut nonblocking),
        );
        assert_eq!((ret, nonblocking, lock.is_held()), (1, 1, true));
        let map = lock.map().unwrap();
        assert_eq!(vmas[0], map.find(a).map(|area| area.id));
        assert_ne!(vmas[0], map.find(b).map(|area| area.id));
        assert_eq!(other.min_flt.load(std::sync::atomic::Ordering::SeqCst), 0, "nobody is charged");
        drop(lock);
        flat.put(pages.into());
        assert_eq!(flat.gup(VirtAddr::new(0), 0, 0).ret, 0, "no page, no look at the address");
        let id = flat.gup(a, 1, FOLL_GET);
        flat.put(id.pages);
        flat.mm.write().munmap(a, PAGE_SIZE).unwrap();
        let stale = id.vmas[0].unwrap();
        assert!(flat.mm.read().by_id(stale).is_none(), "an id outlives its area and finds nothing");
    });
}

#[test]
fn n_06_an_unaligned_start_gives_its_page_and_the_next_one_begins_at_the_boundary() {
    row(n::N_06, |w| {
        let flat = Flat::on(w);
        let start = flat.map(2, Prot::READ);
        let answer = flat.gup(start.wrapping_add(0x7ff), 3, FOLL_GET);
        assert_eq!(answer.ret, 2, "two pages, not three");
        assert_eq!(answer.pages[0].as_ref().map(Page::pfn), flat.memory.frame_at(start));
        let looked_at = [start.get() + 0x7ff, start.get() + PAGE_SIZE];
        assert_eq!(decided(w, n::N_04), looked_at);
        flat.put(answer.pages);
        let wrapped = flat.ret(VirtAddr::new(u64::MAX), 2, 0);
        assert_eq!(wrapped, EFAULT, "the last address wraps without harm");
    });
}

#[test]
fn n_07_the_entry_points_know_write_and_force_only_and_never_drop_the_lock() {
    row(n::N_07, |w| {
        let flat = Flat::on(w);
        let start = flat.map(1, Prot::READ).get();
        let (task, mut pages) = (&w.task, [None]);
        let mut lock = Lock::Read(flat.mm.read());
        let write = |lock: &mut Lock<'_, TestHost>, write, force, pages: &mut [Option<Page>]| {
            nommu::get_user_pages(task, None, lock, start, 1, write, force, Some(pages), None)
        };
        assert_eq!(write(&mut lock, 1, 0, &mut pages), EFAULT, "write is FOLL_WRITE");
        assert_eq!(write(&mut lock, 7, 7, &mut pages), 1, "force is FOLL_FORCE");
        flat.put(pages.into());
        let (mut pages, mut locked) = ([None], 1);
        let ret = nommu::get_user_pages_locked(
            task,
            None,
            &mut lock,
            start,
            1,
            0,
            0,
            Some(&mut pages),
            Some(&mut locked),
        );
        assert_eq!((ret, locked, lock.is_held()), (1, 1, true), "`locked` is not looked at");
        drop(lock);
        flat.put(pages.into());
        let mut pages = [None];
        let flags = FOLL_WRITE;
        let ret = nommu::__get_user_pages_unlocked(
            task,
            None,
            &flat.mm,
            start,
            1,
            0,
            0,
            Some(&mut pages),
            flags,
        );
        assert_eq!(ret, 1, "FOLL_WRITE in gup_flags is ignored: the area is read-only");
        flat.put(pages.into());
        let mut pages = [None];
        let ret =
            nommu::get_user_pages_unlocked(task, None, &flat.mm, start, 1, 1, 1, Some(&mut pages));
        assert_eq!(ret, 1);
        flat.put(pages.into());
        drop(flat.mm.write());
    });
}

#[test]
fn n_08_a_slab_page_or_a_tail_is_referenced_through_its_folio() {
    row(n::N_08, |w| {
        let flat = Flat::on(w);
        let frames = w.machine.frames();
        let slab = frames.alloc(w.host(), 0, Kind::Slab, AllocFlags::empty()).unwrap();
        let folio = frames.alloc(w.host(), 2, Kind::Kernel, AllocFlags::empty()).unwrap();
        let tail = folio.offset(3);
        for pfn in [slab, tail] {
            flat.driver(flat.memory.address_of(pfn), 1, VmFlags::READ);
            let answer = flat.gup(flat.memory.address_of(pfn), 1, 0);
            assert_eq!(answer.pages[0].as_ref().map(Page::pfn), Some(pfn), "the frame asked for");
            assert_eq!(frames.refs(frames.head(pfn)), 2, "its folio's count");
            flat.put(answer.pages);
            assert_eq!(frames.refs(frames.head(pfn)), 1);
        }
        let hazards = [slab, tail].map(|pfn| flat.memory.address_of(pfn).get());
        assert_eq!(decided(w, n::N_08), hazards);
        frames.put_and_free(slab, 1);
        frames.put_and_free(folio, 1);
    });
}

#[test]
fn n_09_follow_pfn_answers_for_device_areas_with_the_address_in_pages() {
    row(n::N_09, |w| {
        let flat = Flat::on(w);
        let bus = VirtAddr::new(0xfee0_0000);
        flat.driver(bus, 2, VmFlags::READ | VmFlags::IO);
        flat.driver(at(bus, 2), 1, VmFlags::READ | VmFlags::PFNMAP);
        flat.driver(at(bus, 3), 1, VmFlags::READ | VmFlags::WRITE);
        let follow = |addr: VirtAddr| {
            let (guard, mut pfn) = (flat.mm.read(), 0);
            let area = guard.find(addr).unwrap();
            (nommu::follow_pfn(&flat.mm, area, addr.get(), &mut pfn), pfn)
        };
        assert_eq!(follow(bus.wrapping_add(0x1234)), (0, 0xfee01), "the address in pages");
        assert_eq!(follow(at(bus, 2)), (0, 0xfee02));
        assert_eq!(follow(at(bus, 3)), (-22, 0), "ordinary memory; pfn is as it was");
    });
}

#[test]
fn n_10_access_remote_vm_copies_inside_one_area_that_may_be_accessed() {
    row(n::N_10, |w| {
        let flat = Flat::on(w);
        let start = flat.map(2, Prot::NONE);
        flat.driver(at(start, 2), 1, VmFlags::READ | VmFlags::WRITE);
        let copy = |addr: VirtAddr, buf: &mut [u8], write| {
            nommu::access_remote_vm(&flat.mm, addr.get(), buf, write)
        };
        let across = at(start, 1).wrapping_sub(2);
        assert_eq!(
            copy(across, &mut b"word".to_owned(), 1),
            4,
            "MAYWRITE suffices; pages may differ"
        );
        let mut back = [0; 4];
        assert_eq!(copy(across, &mut back, 0), 4);
        assert_eq!(&back, b"word");
        let end = at(start, 2).wrapping_sub(3);
        assert_eq!(copy(end, &mut [7; 9], 1), 3, "clipped at the area's end");
        assert_eq!(copy(at(start, 2), &mut [7; 9], 1), 0, "WRITE without MAYWRITE");
        assert_eq!(copy(at(start, 2), &mut [7; 9], 0), 0, "READ without MAYREAD");
        assert_eq!(copy(at(start, 99), &mut [7; 9], 0), 0, "no area");
    });
}

#[test]
fn n_11_in_6_18_one_helper_takes_the_lock_killably_and_a_pin_is_a_plain_reference() {
    row(n::N_11, |w| {
        let flat = Flat::on(w);
        let start = flat.map(2, Prot::READ | Prot::WRITE);
        let (task, mut pages) = (&w.task, [None, None]);
        let mut lock = Lock::Read(flat.mm.read());
        let at0 = start.get();
        let (get, longterm) = (nommu_v6_18::get_user_pages, 1 << 8);
        assert_eq!(get(task, &mut lock, 1, 0, 0, None), 0, "nr_pages 0");
        assert_eq!(get(task, &mut lock, at0, 1, longterm, None), -22, "flags are checked");
        let ret = nommu_v6_18::pin_user_pages(task, &mut lock, at0, 2, 1, &mut pages);
        assert_eq!((ret, lock.is_held()), (2, true));
        let frame = flat.memory.frame_at(start).unwrap();
        let frames = w.machine.frames();
        assert_eq!((frames.refs(frame), frames.pins(frame)), (2, 0), "one reference, no pin");
        flat.put(pages.into());
        let mut pages = [None, None];
        let out = Some(&mut pages[..]);
        let remote = nommu_v6_18::get_user_pages_remote(&mut lock, at0, 2, 0, out, None);
        assert_eq!((remote, flat.refs(start)), (0, 1), "get_user_pages_remote has nothing to give");
        let ret = nommu_v6_18::pin_user_pages_remote(task, &mut lock, at0, 2, 0, &mut pages);
        assert_eq!(ret, 2, "pin_user_pages_remote has");
        drop(lock);
        flat.put(pages.into());
        let mut pages = [None, None];
        let ret = nommu_v6_18::get_user_pages_unlocked(task, &flat.mm, at0, 2, &mut pages, 0);
        assert_eq!(ret, 2, "taken and given back");
        drop(flat.mm.write());
        flat.put(pages.into());
        let contended = |point: Injection| point == Injection::LockContended;
        *w.host().inject.lock().unwrap() = Some(Box::new(contended));
        w.task.kill();
        let mut pages = [None, None];
        let ret = nommu_v6_18::pin_user_pages_unlocked(task, &flat.mm, at0, 2, &mut pages, 0);
        assert_eq!(ret, -11, "killed before the lock was had");
        let ret = nommu_v6_18::pin_user_pages_unlocked(task, &flat.mm, at0, 0, &mut [], 0);
        assert_eq!(ret, 0, "an empty request does not ask for the lock");
        assert_eq!(flat.refs(start), 1);
    });
}

#[test]
fn n_11_a_page_given_back_as_a_pin_loses_1024_and_never_comes_back() {
    row(n::N_11, |w| {
        let flat = Flat::on(w);
        let start = flat.map(2, Prot::READ | Prot::WRITE);
        let frame = |n| flat.memory.frame_at(at(start, n)).unwrap();
        let pin = |n| {
            let (mut pages, mut lock) = ([None], Lock::Read(flat.mm.read()));
            let addr = at(start, n).get();
            let ret = nommu_v6_18::pin_user_pages(&w.task, &mut lock, addr, 1, 1, &mut pages);
            assert_eq!(ret, 1);
            pages
        };
        let shown = |n| flat.memory.linux_refcount(frame(n));
        let mut pages = pin(0);
        assert_eq!(shown(0), 2, "one plain reference");
        nommu_v6_18::unpin_user_pages(&flat.mm, &mut pages);
        assert!(pages[0].is_none());
        assert_eq!(shown(0), 2 - 1024, "and 1024 taken for it");
        flat.put(pin(0).into());
        assert_eq!(shown(0), 2 - 1024, "a plain return changes nothing");
        for _ in 0..3 {
            nommu_v6_18::unpin_user_pages(&flat.mm, &mut pin(0));
        }
        assert_eq!(shown(0), 5 - 4 * 1024);
        // With 1024 references the kernel's count comes to 0, and it frees a page in use.
        w.machine.frames().get(frame(1), 1022).unwrap();
        nommu_v6_18::unpin_user_pages(&flat.mm, &mut pin(1));
        assert_eq!(shown(1), 0);
        let frames = w.machine.frames();
        let counts = [0, 1].map(|n| (frames.refs(frame(n)), frames.pins(frame(n))));
        assert_eq!(counts, [(5, 0), (1024, 0)], "beneath, nothing was taken");
        assert!(w.host().bugs.lock().unwrap().is_empty());
        w.machine.put_pages(frame(1), 1023);
        let before = flat.free();
        flat.mm.write().munmap(start, 2 * PAGE_SIZE).unwrap();
        assert_eq!(flat.free(), before + 1, "the first is lost, as in Linux; the second is not");
        assert_eq!((frames.refs(frame(0)), shown(0)), (4, 4 - 4 * 1024));
        w.machine.put_pages(frame(0), 4);
    });
}

#[test]
fn n_11_typed_pins_cannot_drift() {
    row(n::N_11, |w| {
        let flat = Flat::on(w);
        let start = flat.map(1, Prot::READ | Prot::WRITE);
        let frame = flat.memory.frame_at(start).unwrap();
        let before = flat.free();
        for _ in 0..2000 {
            let pins = flat.mm.read().pin::<Write>(start, 1).unwrap();
            assert_eq!((flat.memory.linux_refcount(frame), flat.refs(start)), (2, 2));
            drop(pins);
        }
        assert_eq!((flat.memory.linux_refcount(frame), flat.refs(start)), (1, 1));
        let refused = flat.mm.read().pin::<Write>(at(start, 1), 1).err().unwrap();
        assert_eq!(refused.rule, n::N_03);
        let mut lock = Lock::Read(flat.mm.read());
        let none = nommu_v6_18::pin_user_pages(&w.task, &mut lock, start.get(), 0, 1, &mut []);
        assert_eq!(none, 0);
        drop(lock);
        flat.mm.write().munmap(start, PAGE_SIZE).unwrap();
        assert_eq!(flat.free(), before + 1, "and the page comes back");
    });
}

#[test]
fn o_16_the_twin_references_whatever_the_flags_and_its_remote_get_gives_0() {
    kept_in(o::O_16, &[n::N_04], World::new(Linux::V4_4), |w| {
        let flat = Flat::on(w);
        let start = flat.map(1, Prot::READ);
        for flags in [0, FOLL_GET] {
            let answer = flat.gup(start, 1, flags);
            assert_eq!((answer.ret, flat.refs(start)), (1, 2), "flags {flags:#x}");
            flat.put(answer.pages);
        }
        let mut lock = Lock::Read(flat.mm.read());
        let (at0, mut pages) = (start.get(), [None]);
        let out = Some(&mut pages[..]);
        let remote = nommu_v6_18::get_user_pages_remote(&mut lock, at0, 1, 0, out, None);
        assert_eq!((remote, pages[0].is_none(), flat.refs(start)), (0, true, 1));
        let pinned = nommu_v6_18::pin_user_pages_remote(&w.task, &mut lock, at0, 1, 0, &mut pages);
        assert_eq!(pinned, 1, "and its remote pin does not");
        drop(lock);
        flat.put(pages.into());
    });
}

#[test]
fn w_04_in_the_twin_no_pages_give_0_a_negative_int_gives_0_and_a_huge_count_ends_at_the_refusal() {
    row(w::W_04, |world| {
        let flat = Flat::on(world);
        let start = flat.map(3, Prot::READ).get();
        let mut lock = Lock::Read(flat.mm.read());
        let task = &world.task;
        let lock = &mut lock;
        let mut long =
            |count| nommu::__get_user_pages(task, None, lock, start, count, 0, None, None, None);
        assert_eq!(long(0), 0);
        assert_eq!(long(u64::MAX), 3, "a negative number is a huge one, and ends at the hole");
        let int = |lock: &mut Lock<'_, TestHost>, count| {
            nommu::__get_user_pages_int(task, None, lock, start, count, 0, None, None)
        };
        for (count, want) in [(0, 0), (-1, 0), (i32::MIN, 0), (2, 2), (i32::MAX, 3)] {
            assert_eq!(int(lock, count), want, "{count} pages");
        }
        let mut pages = [None];
        let short = Some(&mut pages[..]);
        let ret = nommu::__get_user_pages(task, None, lock, start, 2, 0, short, None, None);
        assert!(ret == -22 && pages[0].is_none(), "fewer slots than pages: refused, untouched");
    });
}

#[test]
fn memory_is_page_granular_and_comes_back_whole() {
    let world = World::new(Linux::V4_4);
    let flat = Flat::on(&world);
    let before = flat.free();
    let start = flat.map(5, Prot::READ | Prot::WRITE);
    assert_eq!(flat.free(), before - 5, "not 8: the excess went back");
    flat.mm.write().munmap(at(start, 1), 2 * PAGE_SIZE).unwrap();
    assert_eq!((flat.free(), flat.mm.read().len()), (before - 3, 2), "a hole makes two areas");
    assert_eq!(flat.memory.regions().len(), 2);
    let held = flat.gup(start, 1, 0);
    flat.mm.write().munmap(start, PAGE_SIZE).unwrap();
    assert_eq!(flat.free(), before - 3, "a referenced page is not free");
    flat.put(held.pages);
    assert_eq!(flat.free(), before - 2);
    let again = flat.mm.write().munmap(start, PAGE_SIZE);
    assert_eq!(again, Err(MapError::Invalid), "nothing is mapped there any more");
    drop(flat);
    let left = world.machine.frames().stats().free_total();
    assert_eq!(left, before, "dropping the address space unmaps all of it");
    world.end();
}

#[test]
fn requests_that_make_no_sense_are_refused_and_leave_nothing() {
    let world = World::new(Linux::V4_4);
    let flat = Flat::on(&world);
    let before = flat.free();
    let shared = MapFlags::SHARED;
    let table = [
        (0, PRIVATE, MapError::Invalid, "no length"),
        (1, MapFlags::empty(), MapError::Invalid, "no kind"),
        (1, PRIVATE | shared, MapError::Invalid, "two kinds"),
        (1, PRIVATE | MapFlags::FIXED, MapError::Invalid, "MAP_FIXED"),
        (1, PRIVATE | MapFlags::FIXED_NOREPLACE, MapError::Invalid, "MAP_FIXED_NOREPLACE"),
        (u64::MAX, PRIVATE, MapError::OutOfMemory, "wraps when rounded up"),
        (1 << 62, PRIVATE, MapError::OutOfMemory, "more than there is"),
        (1 << 40, PRIVATE, MapError::OutOfMemory, "more than there is"),
    ];
    for (len, flags, want, because) in table {
        assert_eq!(flat.try_map(len, Prot::READ, flags), Err(want), "{because}");
    }
    for (start, len) in [(FLAT, 0), (FLAT + 1, 1), (FLAT, u64::MAX), (u64::MAX, 4096), (0, 4096)] {
        let ret = flat.mm.write().munmap(VirtAddr::new(start), len);
        assert_eq!(ret, Err(MapError::Invalid), "munmap({start:#x}, {len:#x})");
    }
    for base in [1, 0x8000_0800, u64::MAX - 0xfff] {
        assert!(FlatMemory::new(&world.machine, VirtAddr::new(base)).is_err(), "base {base:#x}");
    }
    assert!(flat.free() == before && flat.mm.read().is_empty());
    drop(flat);
    world.end();
}

#[test]
fn a_shared_region_of_a_file_is_one_memory_for_all_who_map_it() {
    let world = World::new(Linux::V4_4);
    let flat = Flat::on(&world);
    let other = NommuMm::new(&flat.memory);
    let file = world.file(FileKind::NoWriteback, 8, None);
    let map = |mm: &NommuMm<TestHost>, pgoff, pages| {
        let source = Source::File { file: &*file, pgoff };
        let (prot, flags) = (Prot::READ | Prot::WRITE, MapFlags::SHARED);
        mm.write().mmap(&MapRequest { len: pages * PAGE_SIZE, prot, flags, source })
    };
    let before = flat.free();
    let whole = map(&flat.mm, 2, 4).unwrap();
    let part = map(&other, 3, 2).unwrap();
    assert_eq!(part, at(whole, 1), "the same memory, at the same address");
    assert_eq!((flat.free(), flat.memory.regions()[0].users), (before - 4, 2));
    assert_eq!(map(&other, 5, 2), Err(MapError::Sharing), "not wholly inside");
    let unmapped = other.write().munmap(part, PAGE_SIZE);
    assert_eq!(unmapped, Err(MapError::Invalid), "a file's area goes whole or not at all");
    flat.mm.write().munmap(whole, 4 * PAGE_SIZE).unwrap();
    assert_eq!(flat.free(), before - 4, "the other still has it");
    drop(other);
    assert_eq!(flat.free(), before);
    drop(flat);
    world.end();
}

#[test]
fn typed_pins_read_and_write_and_release_themselves() {
    let world = World::new(Linux::V6_18);
    let flat = Flat::on(&world);
    let start = flat.map(2, Prot::READ | Prot::WRITE);
    let pins = flat.mm.read().pin::<Write>(start.wrapping_add(5), 9).unwrap();
    assert_eq!(pins.len(), 2, "as far as the area goes");
    assert_eq!(pins.write(1, 4090, b"ten bytes!"), 6, "a page ends");
    assert_eq!(pins.write(2, 0, b"x"), 0, "there is no third page");
    let mut seen = [0; 6];
    flat.memory.read(at(start, 2).wrapping_sub(6), &mut seen);
    assert_eq!(&seen, b"ten by", "a program sees the bytes at the address");
    flat.mm.write().munmap(start, 2 * PAGE_SIZE).unwrap();
    assert_eq!(pins.read(1, 4090, &mut seen), 6, "unmapped, but not freed");
    let before = flat.free();
    drop(pins);
    assert_eq!(flat.free(), before + 2);
    let refused = flat.mm.read().pin::<Read>(start, 1).err().map(|refused| refused.rule);
    assert_eq!(refused, Some(n::N_03));
    drop(flat);
    world.end();
}

#[test]
fn what_cannot_be_allocated_leaves_nothing_behind() {
    let world = World::new(Linux::V4_4);
    let flat = Flat::on(&world);
    let before = flat.free();
    *world.host().inject.lock().unwrap() = Some(Box::new(|_| true));
    assert_eq!(flat.try_map(PAGE_SIZE, Prot::READ, PRIVATE), Err(MapError::OutOfMemory));
    *world.host().inject.lock().unwrap() = None;
    assert!(flat.free() == before && flat.memory.regions().is_empty());
    let start = flat.map(1, Prot::READ | Prot::WRITE);
    let dirty = flat.memory.frame_at(start).unwrap();
    world.host().memory().write(dirty, 0, &[9]);
    flat.mm.write().munmap(start, PAGE_SIZE).unwrap();
    let again = flat.map(1, Prot::READ);
    let mut byte = [1];
    flat.memory.read(again, &mut byte);
    assert_eq!(byte, [0], "what is mapped reads as zeroes, whoever had it before");
    drop(flat);
    world.end();
}

#[test]
fn c_102_without_an_mmu_a_pin_counts_as_a_reference_and_no_flag_but_force_matters() {
    row(c::C_102, |w| {
        let flat = Flat::on(w);
        let start = flat.map(1, Prot::READ);
        let mut lock = Lock::Read(flat.mm.read());
        let mut pages = [None];
        let get = nommu_v6_18::get_user_pages;
        let write = get(&w.task, &mut lock, start.get(), 1, 1, Some(&mut pages));
        assert_eq!(write, EFAULT, "read-only");
        let forced = get(&w.task, &mut lock, start.get(), 1, 1 | 1 << 3, Some(&mut pages));
        let frame = flat.memory.frame_at(start).unwrap();
        let counts = (w.machine.frames().refs(frame), w.machine.frames().pins(frame));
        assert_eq!((forced, counts), (1, (2, 0)));
        drop(lock);
        flat.put(pages.into());
    });
}
