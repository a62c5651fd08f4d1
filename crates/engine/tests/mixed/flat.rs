//! Random programs without an MMU, with hostile arguments: nothing panics, areas lie in their
//! regions, every page got is the memory at its address, and at the end no frame is left behind.

use crate::failures::Kept;
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::file::{File, FileKind};
use gup::flags::{MapFlags, Prot};
use gup::gup::Page;
use gup::heap_host::HeapHost;
use gup::linux::Linux;
use gup::mm::{Machine, MachineConfig};
use gup::nommu::{FlatMemory, Lock, MapRequest, NommuMm, Source};
use gup::task::Task;
use proptest::prelude::*;
use std::sync::Arc;

const BASE: u64 = 0x4000_0000;
const FRAMES: u64 = 200;

#[derive(Clone, Debug)]
enum Op {
    Map { mm: bool, len: u64, prot: u32, flags: u32, file: Option<u64> },
    Unmap { mm: bool, at: u64, len: u64 },
    Get { mm: bool, at: u64, nr: u64, flags: u32, pages: bool },
    Copy { mm: bool, at: u64, len: usize, write: i32 },
    Release,
}

fn address() -> impl Strategy<Value = u64> {
    let page = (0..FRAMES).prop_map(|n| BASE + n * PAGE_SIZE);
    let edge = prop_oneof![Just(0), Just(u64::MAX), Just(!(PAGE_SIZE - 1)), any::<u64>()];
    prop_oneof![12 => page, 1 => edge, 1 => BASE..BASE + FRAMES * PAGE_SIZE]
}

fn length() -> impl Strategy<Value = u64> {
    let edge = prop_oneof![Just(0), Just(u64::MAX), Just(1 << 63), any::<u64>()];
    prop_oneof![12 => (1..9u64).prop_map(|n| n * PAGE_SIZE), 2 => 0..40_000u64, 1 => edge]
}

fn op() -> impl Strategy<Value = Op> {
    let prot = prop_oneof![4 => Just(3u32), 1 => any::<u32>()];
    let flags = prop_oneof![6 => 1..3u32, 1 => any::<u32>()];
    let file =
        prop_oneof![2 => Just(None), 1 => (0..6u64).prop_map(Some), 1 => any::<Option<u64>>()];
    let map = (any::<bool>(), length(), prot, flags, file);
    prop_oneof![
        5 => map.prop_map(|(mm, len, prot, flags, file)| Op::Map { mm, len, prot, flags, file }),
        3 => (any::<bool>(), address(), length())
            .prop_map(|(mm, at, len)| Op::Unmap { mm, at, len }),
        6 => (any::<bool>(), address(), 0..9u64, any::<u32>(), any::<bool>())
            .prop_map(|(mm, at, nr, flags, pages)| Op::Get { mm, at, nr, flags, pages }),
        2 => (any::<bool>(), address(), 0..20_000usize, 0..2i32)
            .prop_map(|(mm, at, len, write)| Op::Copy { mm, at, len, write }),
        1 => Just(Op::Release),
    ]
}

struct Play {
    machine: Arc<Machine<HeapHost>>,
    flat: Arc<FlatMemory<HeapHost>>,
    mms: [Arc<NommuMm<HeapHost>>; 2],
    file: Arc<File<HeapHost>>,
    held: Vec<Page>,
}

impl Play {
    fn new() -> Self {
        let config = MachineConfig::new(Linux::V4_4, FRAMES);
        let machine = Machine::new(HeapHost::new(FRAMES), config).expect("frames");
        let flat = FlatMemory::new(&machine, VirtAddr::new(BASE)).expect("aligned");
        let mms = [NommuMm::new(&flat), NommuMm::new(&flat)];
        let store = Box::new(Kept::default());
        let file = machine.new_file(FileKind::Regular, 20_000, Some(store));
        Self { machine, flat, mms, file, held: Vec::new() }
    }
    fn play(&mut self, op: &Op) {
        match *op {
            Op::Map { mm, len, prot, flags, file } => {
                let source = match file {
                    Some(pgoff) => Source::File { file: &self.file, pgoff },
                    None => Source::Anonymous,
                };
                let (prot, flags) =
                    (Prot::from_bits_retain(prot), MapFlags::from_bits_retain(flags));
                let request = MapRequest { len, prot, flags, source };
                let _ = self.mms[usize::from(mm)].write().mmap(&request);
            }
            Op::Unmap { mm, at, len } => {
                let _ = self.mms[usize::from(mm)].write().munmap(VirtAddr::new(at), len);
            }
            Op::Get { mm, at, nr, flags, pages } => self.get(mm, at, nr, flags, pages),
            Op::Copy { mm, at, len, write } => {
                let mut bytes = vec![3; len];
                let mm = &self.mms[usize::from(mm)];
                let moved = gup::abi::nommu::access_remote_vm(mm, at, &mut bytes, write);
                assert!((0..=i64::try_from(len).unwrap()).contains(&moved));
            }
            Op::Release => self.release(),
        }
    }
    fn get(&mut self, mm: bool, at: u64, nr: u64, flags: u32, pages: bool) {
        let mut out: Vec<Option<Page>> = (0..nr).map(|_| None).collect();
        let mut lock = Lock::Read(self.mms[usize::from(mm)].read());
        let to = pages.then_some(&mut out[..]);
        let (task, nr) = (Task::default(), if pages { nr } else { u64::MAX });
        let got = gup::abi::nommu::__get_user_pages(
            &task, None, &mut lock, at, nr, flags, to, None, None,
        );
        let filled = out.iter().flatten().count();
        assert!(!pages || filled as i64 == got.max(0), "{filled} pages of {got}");
        for (n, page) in (0..).zip(out.into_iter().flatten()) {
            let addr = VirtAddr::new(at).page_floor().wrapping_add(n * PAGE_SIZE);
            assert_eq!(self.flat.frame_at(addr), Some(page.pfn()));
            self.held.push(page);
        }
    }
    fn release(&mut self) {
        for page in self.held.drain(..) {
            gup::abi::put_page(&self.machine, page);
        }
    }
    /// Areas lie in regions, and whoever has one of its pages counts.
    fn check(&self) {
        let regions = self.flat.regions();
        let users: u64 = regions.iter().map(|region| region.users).sum();
        let areas: u64 = self.mms.iter().map(|mm| mm.read().len() as u64).sum();
        assert_eq!(users, areas, "users of regions");
        for mm in &self.mms {
            for area in mm.read().iter() {
                let inside = |at: VirtAddr| regions.iter().any(|region| region.range.contains(at));
                assert!(inside(area.start()), "{area:?}");
                let frame = self.flat.frame_at(area.start()).unwrap_or(Pfn::new(0));
                assert!(self.machine.frames().refs(frame) > 0, "{area:?} is free memory");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn flat_memory_is_whole_after_any_program(program in proptest::collection::vec(op(), 1..80)) {
        let mut play = Play::new();
        let before = play.machine.frames().stats();
        for op in &program {
            play.play(op);
            play.check();
        }
        play.release();
        let Play { machine, flat, mms, .. } = play;
        drop(mms);
        prop_assert!(flat.regions().is_empty());
        prop_assert_eq!(machine.frames().stats(), before);
    }
}
