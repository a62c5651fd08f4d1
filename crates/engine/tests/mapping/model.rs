//! Random programs of edits against a naive model: one entry per page, no areas, no index.
//!
//! After each call: the answer, every page's permissions and place in its file, the accounts, and
//! the map's own invariants. Arguments are whatever 64 bits can say.

use crate::world::{BASE, RW, Sim, Space, bytes, page};
use gup::addr::{PAGE_SHIFT, TASK_SIZE, VirtAddr};
use gup::errno::Errno;
use gup::file::{File, FileKind};
use gup::flags::{MapFlags, Prot, VmFlags};
use gup::mapping::{
    self, Advice, GrowProt, MclFlags, MlockFlags, MmapRequest, MremapFlags, MremapRequest, sys,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What the model knows of a page: permissions, and its index if a file is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    prot: u32,
    index: Option<u64>,
}

/// By page number.
type Model = BTreeMap<u64, Page>;

/// Pages of the part of the address space that sane arguments are about.
const ARENA: u64 = 64;

#[derive(Clone, Debug)]
enum Op {
    Mmap { at: u64, pages: u64, prot: u32, from_file: bool },
    Anywhere { pages: u64, prot: u32 },
    Munmap { at: u64, pages: u64 },
    Mprotect { at: u64, pages: u64, prot: u32 },
    Move { at: u64, pages: u64, to: u64 },
    Resize { at: u64, old: u64, new: u64, flags: u32 },
    Lock { at: u64, pages: u64, on: bool },
    Advise { at: u64, pages: u64, advice: Advice },
    Touch { at: u64 },
    Hostile { call: u8, a: u64, b: u64, c: u64, d: u64, bits: u32 },
}

/// Numbers at which arithmetic goes wrong.
fn edge() -> impl Strategy<Value = u64> {
    let near = prop_oneof![
        Just(0),
        Just(BASE),
        Just(BASE + bytes(7)),
        Just(TASK_SIZE),
        Just(1 << 47),
        Just(1 << 63),
        Just(u64::MAX),
        Just(1 << 21),
        Just(bytes(3)),
    ];
    let off = prop_oneof![Just(0), Just(1), Just(4096), Just(4095), Just(1 << 30)];
    prop_oneof![
        (near.clone(), off.clone()).prop_map(|(near, off): (u64, u64)| near.wrapping_add(off)),
        (near, off).prop_map(|(near, off): (u64, u64)| near.wrapping_sub(off)),
        any::<u64>(),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..ARENA - 16;
    let len = 1..12u64;
    let prot = prop_oneof![Just(3), Just(1), Just(0), Just(5)];
    prop_oneof![
        4 => (at.clone(), len.clone(), prot.clone(), any::<bool>())
            .prop_map(|(at, pages, prot, from_file)| Op::Mmap { at, pages, prot, from_file }),
        1 => (len.clone(), prot.clone()).prop_map(|(pages, prot)| Op::Anywhere { pages, prot }),
        2 => (at.clone(), len.clone()).prop_map(|(at, pages)| Op::Munmap { at, pages }),
        3 => (at.clone(), len.clone(), prot)
            .prop_map(|(at, pages, prot)| Op::Mprotect { at, pages, prot }),
        2 => (at.clone(), len.clone(), at.clone())
            .prop_map(|(at, pages, to)| Op::Move { at, pages, to }),
        2 => (at.clone(), len.clone(), len.clone(), 0..2u32)
            .prop_map(|(at, old, new, flags)| Op::Resize { at, old, new, flags }),
        1 => (at.clone(), len.clone(), any::<bool>())
            .prop_map(|(at, pages, on)| Op::Lock { at, pages, on }),
        1 => (at.clone(), len, 0..Advice::ALL.len())
            .prop_map(|(at, pages, n)| Op::Advise { at, pages, advice: Advice::ALL[n] }),
        2 => at.prop_map(|at| Op::Touch { at }),
        4 => (any::<u8>(), edge(), edge(), edge(), edge(), any::<u32>())
            .prop_map(|(call, a, b, c, d, bits)| Op::Hostile { call, a, b, c, d, bits }),
    ]
}

struct World {
    /// Dropped first: the space looks whether its pages are gone.
    file: Arc<File<Sim>>,
    space: Space,
    model: Model,
}

fn number(at: u64) -> u64 {
    page(at).page_number()
}

impl World {
    fn new() -> Self {
        let space = Space::modern();
        let file = space.file(FileKind::Shmem, 2 * ARENA);
        Self { file, space, model: Model::new() }
    }
    fn play(&mut self, op: &Op) {
        match *op {
            Op::Mmap { at, pages, prot, from_file } => self.mmap(at, pages, prot, from_file),
            Op::Anywhere { pages, prot } => self.anywhere(pages, prot),
            Op::Munmap { at, pages } => {
                assert_eq!(self.space.munmap(at, at + pages), Ok(()));
                self.forget(number(at), pages);
            }
            Op::Mprotect { at, pages, prot } => self.mprotect(at, pages, prot),
            Op::Move { at, pages, to } => self.relocate(at, pages, to),
            Op::Resize { at, old, new, flags } => self.resize(at, old, new, flags),
            Op::Lock { at, pages, on } => {
                let hole = !self.covered(number(at), pages);
                let call = if on { Space::mlock } else { Space::munlock };
                let result = call(&self.space, at, at + pages);
                assert!(result.is_ok() || hole || on, "{result:?}");
            }
            Op::Advise { at, pages, advice } => {
                let _ = self.space.madvise(at, at + pages, advice);
            }
            Op::Touch { at } => {
                if self.model.get(&number(at)).is_some_and(|page| page.prot & 2 != 0) {
                    let _ = self.space.fault(at, gup::flags::FaultFlags::WRITE);
                }
            }
            Op::Hostile { call, a, b, c, d, bits } => {
                self.hostile(call, a, b, c, d, bits);
                self.model = self.pages();
            }
        }
    }
    fn mmap(&mut self, at: u64, pages: u64, prot: u32, from_file: bool) {
        let bits = Prot::from_bits_retain(prot);
        let request = if from_file {
            MmapRequest::file(&self.file, bytes(at), bytes(pages), bits, MapFlags::SHARED)
        } else {
            MmapRequest::anonymous(bytes(pages), bits)
        };
        assert_eq!(self.space.mmap(&request.at(page(at))), Ok(page(at)));
        for n in 0..pages {
            let index = from_file.then_some(at + n);
            self.model.insert(number(at + n), Page { prot, index });
        }
    }
    /// The place is the end of the highest gap below the base that is long enough.
    fn anywhere(&mut self, pages: u64, prot: u32) {
        let request = MmapRequest::anonymous(bytes(pages), Prot::from_bits_retain(prot));
        let got = self.space.mmap(&request).expect("room");
        let mut end = self.space.mm().read().mmap_base.page_number();
        for (used, _) in self.model.range(..end).rev() {
            if end - used > pages {
                break;
            }
            end = *used;
        }
        assert_eq!(got.page_number(), end - pages, "{pages} pages");
        for n in 0..pages {
            self.model.insert(end - pages + n, Page { prot, index: None });
        }
    }
    fn mprotect(&mut self, at: u64, pages: u64, prot: u32) {
        let result = self.space.mprotect(at, at + pages, Prot::from_bits_retain(prot));
        let hole = (0..pages).find(|n| !self.model.contains_key(&number(at + n)));
        assert_eq!(result, if hole.is_none() { Ok(()) } else { Err(Errno::ENOMEM) });
        for n in 0..hole.unwrap_or(pages) {
            self.model.get_mut(&number(at + n)).expect("mapped").prot = prot;
        }
    }
    fn relocate(&mut self, at: u64, pages: u64, to: u64) {
        let request = MremapRequest {
            addr: page(at),
            old_bytes: bytes(pages),
            new_bytes: bytes(pages),
            flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
            new_addr: page(to),
        };
        let overlap = at < to + pages && to < at + pages;
        let result = self.space.mremap(&request);
        if overlap {
            assert_eq!(result, Err(Errno::EINVAL));
            return;
        }
        if !self.model.contains_key(&number(at)) {
            assert_eq!(result, Err(Errno::EFAULT), "a hole at the start");
            return;
        }
        assert_eq!(result, Ok(page(to)));
        let moved: Vec<_> = (0..pages).map(|n| self.model.remove(&number(at + n))).collect();
        // Only what an area moves to is unmapped; the places of gaps stay as they are.
        for (n, page) in (0..).zip(moved) {
            if let Some(page) = page {
                self.model.insert(number(to + n), page);
            }
        }
    }
    /// In one area only, and with no more said than that what the area had is still there.
    fn resize(&mut self, at: u64, old: u64, new: u64, flags: u32) {
        let request = MremapRequest {
            addr: page(at),
            old_bytes: bytes(old),
            new_bytes: bytes(new),
            flags: MremapFlags::from_bits_retain(flags),
            new_addr: VirtAddr::new(0),
        };
        let before: Vec<_> =
            (0..old.min(new)).map(|n| self.model.get(&number(at + n)).copied()).collect();
        let result = self.space.mremap(&request);
        let after = self.pages();
        if let Ok(addr) = result {
            let now = (0..)
                .zip(&before)
                .all(|(n, page)| after.get(&(addr.page_number() + n)) == page.as_ref());
            assert!(now || flags == 0, "{before:?} went elsewhere, and changed");
        } else {
            assert_eq!(after, self.model, "an error changes nothing");
        }
        self.model = after;
    }
    fn forget(&mut self, first: u64, pages: u64) {
        self.model.retain(|n, _| !(first..first + pages).contains(n));
    }
    fn covered(&self, first: u64, pages: u64) -> bool {
        (first..first + pages).all(|n| self.model.contains_key(&n))
    }
    /// Any call with any arguments: it may refuse, but neither panic nor leave a bad map.
    fn hostile(&mut self, call: u8, a: u64, b: u64, c: u64, d: u64, bits: u32) {
        let (mm, task, addr) = (self.space.mm(), &self.space.task, VirtAddr::new(a));
        let prot = Prot::from_bits_retain(bits);
        let advice = Advice::ALL[usize::try_from(bits).unwrap_or(0) % Advice::ALL.len()];
        match call % 10 {
            0 => {
                let flags = MapFlags::from_bits_retain(bits);
                let file = bits & 1 << 31 == 0;
                let base = MmapRequest::file(&self.file, c, b, prot, flags);
                let other = MmapRequest { flags, ..MmapRequest::anonymous(b, prot) };
                // A gigantic area is legal, but the model counts pages.
                if b <= bytes(4096) || b > TASK_SIZE {
                    let _ = sys::mmap(mm, task, &if file { base } else { other }.near(addr));
                }
            }
            1 => drop(sys::munmap(mm, addr, b)),
            2 => drop(sys::mprotect(mm, task, addr, b, prot, GrowProt::Down)),
            3 => {
                let request = MremapRequest {
                    addr,
                    old_bytes: b,
                    new_bytes: if c < TASK_SIZE { c % bytes(4096) } else { c },
                    flags: MremapFlags::from_bits_retain(bits & 0xf),
                    new_addr: VirtAddr::new(d),
                };
                let _ = sys::mremap(mm, task, &request);
            }
            4 => {
                // A heap of terabytes is legal, but the model counts pages.
                let start = page(ARENA * 4);
                {
                    let mut map = mm.write();
                    if map.start_brk.get() == 0 {
                        (map.start_brk, map.brk) = (start, start);
                    }
                }
                if a < start.get() + bytes(64) || a > TASK_SIZE {
                    let _ = sys::brk(mm, task, addr);
                }
            }
            5 => drop(mapping::mlock2(mm, task, addr, b, MlockFlags::from_bits_retain(bits & 3))),
            6 => drop(mapping::munlock(mm, addr, b)),
            7 => drop(mapping::mlockall(mm, task, MclFlags::from_bits_retain(bits & 15))),
            8 => drop(mapping::madvise(mm, task, addr, b, advice)),
            _ => mapping::munlockall(mm),
        }
    }
    /// Every page of the map, as the model has them.
    fn pages(&self) -> Model {
        let map = self.space.mm().read();
        let mut pages = Model::new();
        for vma in map.iter() {
            for (n, addr) in (0..).zip(vma.range().iter_pages()) {
                let prot = u32::try_from(vma.flags.bits() & 7).unwrap();
                let index = vma.backing.file().map(|_| vma.pgoff() + n);
                pages.insert(addr.page_number(), Page { prot, index });
            }
        }
        pages
    }
    fn check(&self) {
        assert_eq!(self.pages(), self.model);
        let map = self.space.mm().read();
        let mut last = VirtAddr::new(0);
        let (mut all, mut locked, mut charged, mut data) = (0, 0, 0, 0);
        for vma in map.iter() {
            assert!(last <= vma.start() && vma.start() < vma.end() && vma.end().get() <= TASK_SIZE);
            last = vma.end();
            assert_eq!(map.by_id(vma.id()).map(gup::vma::Vma::end), Some(vma.end()));
            assert_eq!(map.lookup(vma.start()).map(gup::vma::Vma::id), Some(vma.id()));
            let pages = vma.range().bytes() >> PAGE_SHIFT;
            let has = |flag| if vma.flags.contains(flag) { pages } else { 0 };
            all += pages;
            locked += has(VmFlags::LOCKED);
            charged += has(VmFlags::ACCOUNT);
            let kind = VmFlags::WRITE | VmFlags::SHARED | VmFlags::GROWSDOWN;
            data += if vma.flags & kind == VmFlags::WRITE { pages } else { 0 };
        }
        let mm = self.space.mm();
        assert_eq!(mm.total_vm.load(Relaxed), all, "total_vm");
        assert_eq!(mm.locked_vm.load(Relaxed), locked, "locked_vm");
        assert_eq!(self.space.machine.committed.load(Relaxed), charged, "committed");
        assert_eq!(map.data_vm, data, "data_vm");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn edits_do_to_pages_what_the_model_says(ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::new();
        for op in &ops {
            world.play(op);
            world.check();
        }
    }
}

#[test]
fn stacks_keep_their_gap_free_and_the_index_learns_of_growth() {
    let space = Space::modern();
    let base = space.mm().read().mmap_base;
    let stack = base.wrapping_sub(bytes(1000));
    let request = MmapRequest::anonymous(bytes(4), RW).at(stack).with(MapFlags::GROWSDOWN);
    assert_eq!(space.mmap(&request), Ok(stack));
    let above = bytes(1000 - 4);
    let fill = MmapRequest::anonymous(above, RW).at(stack.wrapping_add(bytes(4)));
    space.mmap(&fill).expect("free");
    let gap = bytes(space.machine.sysctl.stack_guard_gap);
    let next = || space.mmap(&MmapRequest::anonymous(bytes(1), RW)).expect("room");
    let first = next();
    assert_eq!(first, stack.wrapping_sub(gap + bytes(1)), "256 pages stay free below a stack");
    space.munmap_at(first, bytes(1));
    let down = stack.wrapping_sub(bytes(50));
    drop(gup::vma::expand_stack(space.mm().read(), &space.task, down).expect("it grows"));
    assert_eq!(next(), down.wrapping_sub(gap + bytes(1)), "below where it is now");
}
