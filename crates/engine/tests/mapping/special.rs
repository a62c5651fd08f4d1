//! Areas that a driver or the system installs: raw frames, inserted pages, and what they refuse.

use crate::world::{RW, Sim, Space, bytes, page};
use gup::addr::{Pfn, VirtRange};
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::VmFlags;
use gup::host::ReadMode;
use gup::mapping::{insert_page, insert_pfn, install_special, remap_pfn_range};
use gup::vma::Special;
use std::sync::Arc;

const FLAGS: VmFlags = VmFlags::READ
    .union(VmFlags::WRITE)
    .union(VmFlags::SHARED)
    .union(VmFlags::MAYREAD)
    .union(VmFlags::MAYWRITE)
    .union(VmFlags::MAYSHARE);

fn special() -> Arc<Special> {
    Arc::new(Special {
        name: "[device]",
        pages: Vec::new(),
        find_special: Vec::new(),
        access: None,
    })
}
fn pages(from: u64, to: u64) -> VirtRange {
    VirtRange::new(page(from), page(to))
}
fn install(space: &Space, from: u64, to: u64) -> Result<(), Errno> {
    install_special(&mut space.mm().write(), pages(from, to), FLAGS, special())
}
fn flags(space: &Space, n: u64) -> VmFlags {
    space.mm().read().lookup(page(n)).expect("an area").flags
}
/// A page of a file, with one reference that the test gives back.
fn file_page(space: &Space) -> (Arc<gup::file::File<Sim>>, Pfn) {
    let file = space.file(FileKind::Shmem, 1);
    let pfn = file.load(&space.machine, 0, ReadMode::Block).expect("memory");
    (file, pfn)
}

#[test]
fn special_areas_need_room_and_never_merge() {
    let space = Space::modern();
    space.anon(4, 5, RW);
    assert_eq!(install(&space, 0, 0), Err(Errno::EINVAL));
    assert_eq!(install(&space, 3, 6), Err(Errno::ENOMEM), "something is there");
    assert_eq!(install(&space, 0, 2), Ok(()));
    assert_eq!(install(&space, 2, 4), Ok(()));
    assert_eq!(space.maps(), "0-2 rw-s, 2-4 rw-s, 4-5 rw-p");
}

#[test]
fn raw_frames_are_mapped_special_and_counted_nowhere() {
    let space = Space::modern();
    assert_eq!(install(&space, 0, 4), Ok(()));
    let mut lock = space.mm().write();
    assert_eq!(remap_pfn_range(&mut lock, pages(0, 3), Pfn::new(1 << 30)), Ok(()));
    assert_eq!(remap_pfn_range(&mut lock, pages(2, 4), Pfn::new(7)), Err(Errno::EBUSY));
    assert_eq!(remap_pfn_range(&mut lock, pages(3, 5), Pfn::new(7)), Err(Errno::EINVAL));
    drop(lock);
    let (pfn, perms) = space.leaf(2).expect("mapped");
    assert_eq!((pfn, perms.special, perms.write), (Pfn::new((1 << 30) + 2), true, true));
    assert!(flags(&space, 0).contains(VmFlags::IO | VmFlags::PFNMAP | VmFlags::DONTDUMP));
    assert_eq!(space.mm().rss(gup::mm::Counter::File), 0);
}

#[test]
fn an_inserted_page_is_an_ordinary_one() {
    let space = Space::modern();
    assert_eq!(install(&space, 0, 2), Ok(()));
    let (file, pfn) = file_page(&space);
    let before = space.machine.frames().refs(pfn);
    let mut lock = space.mm().write();
    assert_eq!(insert_page(&mut lock, page(0), pfn), Ok(()));
    assert_eq!(insert_page(&mut lock, page(0), pfn), Err(Errno::EBUSY));
    assert_eq!(insert_page(&mut lock, page(9), pfn), Err(Errno::EFAULT));
    assert_eq!(insert_page(&mut lock, page(1), Pfn::new(u64::MAX)), Err(Errno::EINVAL));
    assert_eq!(insert_pfn(&mut lock, page(1), Pfn::new(1 << 30)), Ok(()));
    drop(lock);
    assert!(flags(&space, 0).contains(VmFlags::MIXEDMAP));
    assert_eq!(space.machine.frames().refs(pfn), before + 1);
    assert_eq!(space.machine.frames().mapcount(pfn), 1);
    assert!(space.leaf(1).is_some_and(|(_, perms)| perms.special));
    space.munmap_at(page(0), bytes(2));
    assert_eq!(space.machine.frames().refs(pfn), before);
    space.machine.put_page(pfn);
    drop(file);
}
