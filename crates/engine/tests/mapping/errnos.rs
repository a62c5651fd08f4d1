//! What each call refuses, and with which errno: rows of arguments, as a running 6.18 answered
//! them.

use crate::world::{BASE, R, RW, Space, bytes, page};
use gup::addr::VirtAddr;
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{MapFlags, Prot};
use gup::mapping::{
    self, Advice, GrowProt, MclFlags, MlockFlags, MmapRequest, MremapFlags, MremapRequest,
    OpenMode, Source, mlock, mlock2, mlockall, munlock, sys,
};
use gup::task::Limits;
use std::sync::Arc;

/// 2^64 minus this.
const fn minus(n: u64) -> u64 {
    n.wrapping_neg()
}
/// As the tables write it: `ok` or the errno's name.
fn verdict<T>(result: Result<T, Errno>) -> String {
    result.map_or_else(|errno| errno.name().into(), |_| "ok".into())
}
/// Pages 0..2 and 3..16, read and write.
fn space() -> Space {
    let space = Space::modern();
    space.anon(0, 2, RW);
    space.anon(3, 16, RW);
    space
}

#[test]
fn munmap_refuses_what_is_not_pages_of_user_space() {
    for (addr, bytes, want) in [
        (BASE, 0, "EINVAL"),
        (BASE + 1, 4096, "EINVAL"),
        (BASE, minus(1), "EINVAL"),
        (BASE, minus(4096), "EINVAL"),
        (1 << 47, 4096, "EINVAL"),
        (minus(4096), 8192, "EINVAL"),
        (0x100_0000, 4096, "ok"),
        (BASE, 1, "ok"),
        (BASE, 1 << 46, "ok"),
    ] {
        let space = space();
        let mut lock = space.mm().write();
        let got = verdict(mapping::munmap(&mut lock, VirtAddr::new(addr), bytes));
        assert_eq!(got, want, "munmap({addr:#x}, {bytes:#x})");
    }
}

#[test]
fn mprotect_refuses_in_the_kernels_order() {
    for (addr, bytes, prot, want) in [
        (BASE, 0, 3, "ok"),
        (BASE + 1, 0, 3, "EINVAL"),
        (BASE, 4096, 0x10, "EINVAL"),
        (BASE, 4096, 8, "ok"),
        (BASE, minus(1), 3, "ENOMEM"),
        (BASE, minus(4096), 3, "ENOMEM"),
        (minus(4096), 4096, 1, "ENOMEM"),
        (BASE + 4096, 1 << 47, 1, "ENOMEM"),
        (BASE + 8192, 4096, 1, "ENOMEM"),
        (BASE, 4 * 4096, 1, "ENOMEM"),
    ] {
        let space = space();
        let prot = Prot::from_bits_retain(prot);
        let mut lock = space.mm().write();
        let got = mapping::mprotect(&mut lock, &space.task, VirtAddr::new(addr), bytes, prot);
        assert_eq!(verdict(got), want, "mprotect({addr:#x}, {bytes:#x}, {prot:?})");
    }
}

#[test]
fn growing_down_needs_a_stack() {
    let space = space();
    let stack = MmapRequest::anonymous(bytes(4), RW).at(page(20)).with(MapFlags::GROWSDOWN);
    assert_eq!(space.mmap(&stack), Ok(page(20)));
    let down = |at| sys::mprotect(space.mm(), &space.task, page(at), 4096, R, GrowProt::Down);
    assert_eq!(down(0), Err(Errno::EINVAL), "no stack");
    assert_eq!(down(2), Err(Errno::ENOMEM), "nothing there");
    assert_eq!(down(22), Ok(()));
    assert!(space.maps().ends_with("20-23 r--p, 23-24 rw-p"), "{}", space.maps());
}

#[test]
fn anonymous_mmap_refuses_in_the_kernels_order() {
    let (p, a) = (MapFlags::PRIVATE.bits(), MapFlags::ANONYMOUS.bits());
    let fixed = MapFlags::FIXED.bits();
    for (addr, bytes, flags, want) in [
        (0, 0, p, "EINVAL"),
        (0, minus(1), p, "ENOMEM"),
        (0, 1 << 47, p, "ENOMEM"),
        (0, 4096, 0, "EINVAL"),
        (0, 4096, 3, "EINVAL"),
        (0, 4096, 4, "EINVAL"),
        (1, 4096, p | fixed, "EINVAL"),
        (minus(4096), 4096, p | fixed, "ENOMEM"),
        (0, 4096, p | fixed, "EPERM"),
        (0, 4096, MapFlags::SHARED.bits() | MapFlags::GROWSDOWN.bits(), "EINVAL"),
        (0, 4096, p | MapFlags::HUGETLB.bits() | 5 << 26, "EINVAL"),
        (0, 4096, MapFlags::DROPPABLE.bits() | MapFlags::LOCKED.bits(), "EINVAL"),
        (0, 4096, MapFlags::DROPPABLE.bits() | MapFlags::GROWSDOWN.bits(), "EINVAL"),
        (0, 4096, MapFlags::DROPPABLE.bits(), "ok"),
        (BASE, 4096, p | MapFlags::FIXED_NOREPLACE.bits(), "EEXIST"),
        (BASE + 8192, 4096, p | MapFlags::FIXED_NOREPLACE.bits(), "ok"),
        (BASE + 1, 4096, p, "ok"),
        (0, 4096, p | 0x8000_0000, "ok"),
        (0, 1 << 46, p, "ENOMEM"),
    ] {
        let space = space();
        let flags = MapFlags::from_bits_retain(flags | a);
        let request = MmapRequest { flags, ..MmapRequest::anonymous(bytes, RW) };
        let got = verdict(space.mmap(&request.near(VirtAddr::new(addr))));
        assert_eq!(got, want, "mmap({addr:#x}, {bytes:#x}, {flags:?})");
    }
}

#[allow(clippy::many_single_char_names, reason = "columns of a table")]
#[test]
fn file_mmap_refuses_in_the_kernels_order() {
    let (s, p, v) = (1, 2, 3); // MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE
    let (r, w) = (OpenMode::READ, OpenMode::WRITE);
    let rw = r | w;
    for (kind, mode, offset, bytes, prot, flags, want) in [
        (FileKind::Shmem, rw, 1, 4096, RW, s, "EINVAL"),
        (FileKind::Shmem, rw, minus(4096), 4096, RW, s, "EOVERFLOW"),
        (FileKind::Shmem, rw, minus(4096), 8192, RW, s, "EOVERFLOW"),
        (FileKind::Shmem, rw, 0x7fff_ffff_ffff_f000, 4096, RW, s, "EOVERFLOW"),
        (FileKind::Shmem, rw, 0x7fff_ffff_ffff_e000, 4096, RW, s, "ok"),
        (FileKind::Shmem, rw, 0, 4096, RW, v | 0x4000_0000, "ok"),
        (FileKind::Shmem, rw, 0, 4096, RW, v | 0x8_0000, "EOPNOTSUPP"),
        (FileKind::Shmem, rw, 0, 4096, RW, p | 0x100, "EINVAL"),
        (FileKind::Shmem, rw, 0, 4096, RW, p | 0x4_0000, "EINVAL"),
        (FileKind::Shmem, rw, 0, 4096, RW, 0, "EINVAL"),
        (FileKind::Shmem, r, 0, 4096, RW, s, "EACCES"),
        (FileKind::Shmem, r, 0, 4096, R, s, "ok"),
        (FileKind::Shmem, r, 0, 4096, RW, p, "ok"),
        (FileKind::Shmem, w, 0, 4096, R, p, "EACCES"),
        (FileKind::Shmem, rw | OpenMode::APPEND, 0, 4096, R, s, "EACCES"),
        (FileKind::Shmem, rw | OpenMode::SEALED, 0, 4096, RW, s, "EPERM"),
        (FileKind::Shmem, rw | OpenMode::SEALED, 0, 4096, R, s, "ok"),
        (FileKind::Shmem, rw | OpenMode::NOEXEC, 0, 4096, R | Prot::EXEC, p, "EPERM"),
        (FileKind::Shmem, rw | OpenMode::SWAPFILE, 0, 4096, RW, s, "ETXTBSY"),
        (FileKind::Secret, rw, 0, 4096, RW, p, "EINVAL"),
        (FileKind::Secret, rw, 0, 4096, RW, s, "ok"),
        (FileKind::Hugetlb(9), rw, 4096, 4096, RW, s, "EINVAL"),
    ] {
        let space = space();
        let source = Source::File { file: space.file(kind, 16), mode, offset };
        let flags = MapFlags::from_bits_retain(flags);
        let request = MmapRequest { addr: VirtAddr::new(0), bytes, prot, flags, source };
        let got = verdict(space.mmap(&request));
        assert_eq!(got, want, "{kind:?} {mode:?} {offset:#x} {bytes:#x} {prot:?} {flags:?}");
    }
}

#[test]
fn mremap_refuses_in_the_kernels_order() {
    let (may, fixed, stay) = (1, 2, 4);
    let at = |n: u64| BASE + bytes(n);
    for (addr, old, new, flags, to, want) in [
        (at(0), 4096, 0, 0, 0, "EINVAL"),
        (at(0) + 1, 4096, 4096, 0, 0, "EINVAL"),
        (at(0), 4096, 4096, 8, 0, "EINVAL"),
        (at(0), 4096, 4096, fixed, at(64), "EINVAL"),
        (at(0), 4096, 4096, may | fixed, at(0), "EINVAL"),
        (at(0), 8192, 8192, may | fixed, at(1), "EINVAL"),
        (at(0), 4096, 4096, may | fixed, at(64) + 1, "EINVAL"),
        (at(0), 4096, 4096, may | fixed, 1 << 47, "EINVAL"),
        (at(0), 0, 4096, may, 0, "EINVAL"),
        (at(0), minus(4096), 8192, may, 0, "EINVAL"),
        (at(0), 4096, minus(4096), may, 0, "EINVAL"),
        (at(0), 4096, 1 << 47, may, 0, "EINVAL"),
        (at(0), 4 * 4096, 8 * 4096, may, 0, "EFAULT"),
        (0x100_0000, 4096, 8192, may, 0, "EFAULT"),
        (at(0), 4096, 8192, may | stay, 0, "EINVAL"),
        (at(0), 4096, 4096, stay, 0, "EINVAL"),
        (at(0), 4096, 8192, 0, 0, "ENOMEM"),
        (at(0), 12288, 4096, 0, 0, "ok"),
        (at(2), 16384, 16384, may | fixed, at(256), "EFAULT"),
    ] {
        let space = space();
        let request = MremapRequest {
            addr: VirtAddr::new(addr),
            old_bytes: old,
            new_bytes: new,
            flags: MremapFlags::from_bits_retain(flags),
            new_addr: VirtAddr::new(to),
        };
        assert_eq!(verdict(space.mremap(&request)), want, "{request:?}");
    }
}

#[test]
fn locking_refuses_in_the_kernels_order() {
    for (addr, bytes, want) in [
        (BASE, minus(1), "ok"),
        (BASE, minus(4096), "EINVAL"),
        (minus(4096), 8192, "EINVAL"),
        (BASE, 16384, "ENOMEM"),
        (BASE + 5, 4096, "ok"),
    ] {
        let space = space();
        let addr = VirtAddr::new(addr);
        assert_eq!(verdict(mlock(space.mm(), &space.task, addr, bytes)), want, "mlock {bytes:#x}");
        assert_eq!(verdict(munlock(space.mm(), addr, bytes)), want, "munlock {bytes:#x}");
    }
    let space = space();
    let unknown = MlockFlags::from_bits_retain(2);
    let got = mlock2(space.mm(), &space.task, page(0), 4096, unknown);
    assert_eq!(verdict(got), "EINVAL");
    for bits in [0, 4, 8] {
        let got = mlockall(space.mm(), &space.task, MclFlags::from_bits_retain(bits));
        assert_eq!(verdict(got), "EINVAL", "mlockall({bits})");
    }
}

#[test]
fn madvise_refuses_in_the_kernels_order() {
    let space = space();
    let advise = |addr: u64, bytes: u64, advice| {
        let addr = VirtAddr::new(addr);
        verdict(mapping::madvise(space.mm(), &space.task, addr, bytes, advice))
    };
    assert_eq!(Advice::from_raw(99), None);
    assert!(Advice::ALL.iter().all(|a| Advice::from_raw(*a as i32) == Some(*a)));
    for advice in Advice::ALL {
        assert_eq!(advise(BASE + 1, 4096, advice), "EINVAL");
        assert_eq!(advise(BASE, minus(1), advice), "EINVAL");
        assert_eq!(advise(minus(4096), 8192, advice), "EINVAL");
        assert_eq!(advise(BASE, 0, advice), "ok");
    }
    assert_eq!(space.mlock(0, 1), Ok(()));
    for advice in [Advice::GuardInstall, Advice::PageOut, Advice::Cold, Advice::DontNeed] {
        assert_eq!(advise(BASE, 8192, advice), "EINVAL", "{advice:?} of a locked area");
    }
    assert_eq!(advise(BASE, 4096, Advice::Remove), "EINVAL", "no file");
}

#[test]
fn limits_refuse_what_exceeds_them() {
    let with = |limits: Limits| Space::with(gup::linux::Linux::V6_18, limits, |_| {});
    let two = || MmapRequest::anonymous(bytes(2), RW);
    let space = with(Limits { address_space: bytes(3), ..Limits::default() });
    assert!(space.mmap(&two()).is_ok());
    assert_eq!(space.mmap(&two()), Err(Errno::ENOMEM), "RLIMIT_AS");
    let space = with(Limits { data: bytes(3), ..Limits::default() });
    assert!(space.mmap(&two()).is_ok());
    assert_eq!(space.mmap(&two()), Err(Errno::ENOMEM), "RLIMIT_DATA");
    assert!(space.mmap(&MmapRequest::anonymous(bytes(2), R)).is_ok(), "not data");
    let space = with(Limits { memlock: bytes(3), ..Limits::default() });
    let locked = || two().with(MapFlags::LOCKED);
    assert!(space.mmap(&locked()).is_ok());
    assert_eq!(space.mmap(&locked()), Err(Errno::EAGAIN), "RLIMIT_MEMLOCK");
    space.anon(0, 2, RW);
    assert_eq!(space.mlock(0, 2), Err(Errno::ENOMEM), "RLIMIT_MEMLOCK");
    assert_eq!(space.mlock(0, 1), Ok(()));
    assert_eq!(space.mlock(0, 1), Ok(()), "what is locked already does not count twice");
    let space = with(Limits { memlock: 0, ..Limits::default() });
    assert_eq!(space.mmap(&locked()), Err(Errno::EPERM));
    space.anon(0, 2, RW);
    assert_eq!(space.mlock(0, 1), Err(Errno::EPERM));
}

#[test]
fn the_number_of_areas_is_limited_for_splits_and_for_new_ones() {
    let few = |sysctl: &mut gup::mm::Sysctl| sysctl.max_map_count = 4;
    let space = Space::with(gup::linux::Linux::V6_18, Limits::default(), few);
    space.anon(0, 3, RW);
    space.anon(4, 5, RW);
    space.anon(6, 7, RW);
    space.anon(8, 9, RW);
    assert_eq!(space.munmap(1, 2), Err(Errno::ENOMEM), "a hole");
    assert_eq!(space.mprotect(0, 1, R), Err(Errno::ENOMEM), "a split");
    assert_eq!(space.munmap(2, 3), Ok(()), "an end is no hole");
    space.anon(10, 11, RW);
    let request = MmapRequest::anonymous(bytes(1), RW).at(page(12));
    assert_eq!(space.mmap(&request), Err(Errno::ENOMEM), "one more than the limit there may be");
    assert_eq!(space.maps(), "0-2 rw-p, 4-5 rw-p, 6-7 rw-p, 8-9 rw-p, 10-11 rw-p");
}

#[test]
fn overcommit_counts_private_writable_memory() {
    let strict = |sysctl: &mut gup::mm::Sysctl| sysctl.overcommit = gup::mm::Overcommit::Never(9);
    let space = Space::with(gup::linux::Linux::V6_18, Limits::default(), strict);
    space.anon(0, 6, RW);
    let request = MmapRequest::anonymous(bytes(4), RW).at(page(10));
    assert_eq!(space.mmap(&request), Err(Errno::ENOMEM));
    space.anon(10, 14, R);
    assert_eq!(space.mprotect(10, 14, RW), Err(Errno::ENOMEM));
    assert_eq!(space.maps(), "0-6 rw-p, 10-14 r--p");
    assert_eq!(space.munmap(0, 2), Ok(()));
    assert_eq!(space.mprotect(10, 14, RW), Ok(()));
    assert_eq!(space.mprotect(10, 14, R), Ok(()), "nothing was written: the promise is taken back");
    space.anon(20, 24, RW);
    let guess = Space::modern();
    let huge = MmapRequest::anonymous(bytes(5000), RW);
    assert_eq!(guess.mmap(&huge), Err(Errno::ENOMEM), "more than all memory in one piece");
    assert!(guess.mmap(&huge.with(MapFlags::NORESERVE)).is_ok());
}

#[test]
fn sealed_areas_are_not_changed() {
    let space = space();
    assert_eq!(mapping::mseal(&mut space.mm().write(), page(0), bytes(3)), Err(Errno::ENOMEM));
    assert_eq!(mapping::mseal(&mut space.mm().write(), page(1), bytes(1)), Ok(()));
    let to = MremapFlags::MAYMOVE | MremapFlags::FIXED;
    let request = MremapRequest {
        addr: page(1),
        old_bytes: 4096,
        new_bytes: 4096,
        flags: to,
        new_addr: page(64),
    };
    assert_eq!(space.munmap(0, 2), Err(Errno::EPERM));
    assert_eq!(space.mprotect(1, 2, R), Err(Errno::EPERM));
    assert_eq!(space.mremap(&request), Err(Errno::EPERM));
    let over = MmapRequest::anonymous(4096, RW).at(page(1));
    assert_eq!(space.mmap(&over), Err(Errno::EPERM));
    assert_eq!(space.maps(), "0-1 rw-p, 1-2 rw-p, 3-16 rw-p");
    assert_eq!(
        space.madvise(1, 2, Advice::DontNeed),
        Ok(()),
        "writable: it could be zeroed anyway"
    );
    let file = Arc::clone(&space.file(FileKind::Shmem, 1));
    drop(file);
}
