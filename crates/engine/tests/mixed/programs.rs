//! Random programs: after every call, each page handed out is the frame that a plain walk of the
//! same tables reaches (row W-01), a reference is held for each, and a refused call holds none
//! (I-18).

use crate::audit::{Held, audit};
use crate::support::{World, page};
use gup::addr::{PAGE_SIZE, Pfn};
use gup::file::FileKind;
use gup::flags::{Foll, MapFlags, Prot};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page};
use gup::linux::Linux;
use gup::mapping::{self, Advice, GrowProt, MmapRequest, sys};
use gup::mm::Lock;
use proptest::prelude::*;

const ARENA: u64 = 24;

#[derive(Clone, Debug)]
enum Op {
    Map { at: u64, pages: u64, kind: u8, prot: u32 },
    Unmap { at: u64, pages: u64 },
    Protect { at: u64, pages: u64, prot: u32 },
    Store(u64),
    Load(u64),
    Discard { at: u64, pages: u64 },
    ForkAndExit,
    ForkAndStay,
    Grab { at: u64, pages: u64, foll: u64, how: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    let range = || (0..ARENA, 1..9u64);
    prop_oneof![
        3 => (range(), 0..4u8, 0..8u32)
            .prop_map(|((at, pages), kind, prot)| Op::Map { at, pages, kind, prot }),
        1 => range().prop_map(|(at, pages)| Op::Unmap { at, pages }),
        1 => (range(), 0..8u32).prop_map(|((at, pages), prot)| Op::Protect { at, pages, prot }),
        3 => (0..ARENA).prop_map(Op::Store),
        2 => (0..ARENA).prop_map(Op::Load),
        1 => range().prop_map(|(at, pages)| Op::Discard { at, pages }),
        1 => Just(Op::ForkAndExit),
        1 => Just(Op::ForkAndStay),
        6 => (range(), 0..4u64, 0..5u8)
            .prop_map(|((at, pages), foll, how)| Op::Grab { at, pages, foll, how }),
    ]
}

/// WRITE and FORCE, as two bits.
fn foll_of(bits: u64) -> Foll {
    let write = if bits & 1 == 0 { Foll::empty() } else { Foll::WRITE };
    if bits & 2 == 0 { write } else { write | Foll::FORCE }
}

fn play(world: &World, op: &Op) -> Option<std::sync::Arc<gup::mm::Mm<crate::support::TestHost>>> {
    let (mm, task) = (&world.mm, &world.task);
    match *op {
        Op::Map { at, pages, kind, prot } => {
            let (bytes, prot) = (pages * PAGE_SIZE, Prot::from_bits_truncate(prot));
            let file = || world.file(FileKind::Shmem, ARENA, None);
            let request = match kind {
                0 => MmapRequest::file(&file(), at * PAGE_SIZE, bytes, prot, MapFlags::PRIVATE),
                1 => MmapRequest::file(&file(), at * PAGE_SIZE, bytes, prot, MapFlags::SHARED),
                _ => MmapRequest::anonymous(bytes, prot),
            };
            let _ = sys::mmap(mm, task, &request.at(page(at)));
        }
        Op::Unmap { at, pages } => drop(sys::munmap(mm, page(at), pages * PAGE_SIZE)),
        Op::Protect { at, pages, prot } => {
            let prot = Prot::from_bits_truncate(prot);
            let _ = sys::mprotect(mm, task, page(at), pages * PAGE_SIZE, prot, GrowProt::Exact);
        }
        Op::Store(at) => drop(world.store(page(at), 1)),
        Op::Load(at) => drop(world.load(page(at))),
        Op::Discard { at, pages } => {
            let _ = mapping::madvise(mm, task, page(at), pages * PAGE_SIZE, Advice::DontNeed);
        }
        Op::ForkAndExit => drop(mapping::fork(&mut mm.write(), task)),
        Op::ForkAndStay => return mapping::fork(&mut mm.write(), task).ok(),
        Op::Grab { at, pages, foll, how } => grab(world, at, pages, foll_of(foll), how),
    }
    None
}

/// One call, checked page by page, and everything given back.
fn grab(world: &World, at: u64, nr: u64, foll: Foll, how: u8) {
    let mut pages: Vec<Option<Page>> = (0..nr).map(|_| None).collect();
    let (task, start, out) = (&world.task, page(at), &mut pages[..]);
    let code = match how {
        0 => {
            let mut lock = Lock::Read(world.mm.read());
            let flags = (foll | Foll::GET).to_v4_4();
            let start = start.get();
            gup::abi::__get_user_pages(
                task,
                None,
                &mut lock,
                start,
                nr,
                flags,
                Some(out),
                None,
                None,
            )
        }
        1 => fast(FastEntry::Get, task, &world.mm, start, nr, foll, out).code(),
        2 => fast(FastEntry::Pin, task, &world.mm, start, nr, foll, out).code(),
        _ => {
            let mut lock = Lock::Read(world.mm.read());
            let entry = if how == 3 { Entry::PinRemote } else { Entry::GetRemote };
            let out = Some(out);
            gup::gup::gup(entry, task, &mut lock, start, nr, foll, out, Locked::Given).code()
        }
    };
    let got = usize::try_from(code.max(0)).unwrap();
    for (n, page_out) in pages.iter().enumerate() {
        let pfn = page_out.as_ref().map(Page::pfn);
        assert_eq!(pfn.is_some(), n < got, "exactly the first {got} slots are filled");
        if let Some(pfn) = pfn {
            assert_eq!(reached(world, at + n as u64), Some(pfn), "page {n} of {code}");
        }
    }
    for page in pages.into_iter().flatten() {
        if matches!(how, 2 | 3) {
            world.machine.unpin_pages(page.pfn(), 1);
        } else {
            gup::abi::put_page(&world.machine, page);
        }
    }
}

/// The frame that the tables name for page `at`, whatever its permissions.
fn reached(world: &World, at: u64) -> Option<Pfn> {
    let entry = world.entry(page(at));
    entry.is_present().then(|| entry.pfn())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_page_handed_out_is_the_one_that_a_walk_reaches(
        program in proptest::collection::vec(op(), 1..60),
        old in any::<bool>(),
    ) {
        let world = World::new(if old { Linux::V4_4 } else { Linux::V6_18 });
        let children: Vec<_> = program.iter().filter_map(|op| play(&world, op)).collect();
        let mms = children.iter().map(|child| &**child).chain([&*world.mm]);
        audit(&world.machine, mms, &[], &Held::new());
        drop(children);
        world.end();
    }
}
