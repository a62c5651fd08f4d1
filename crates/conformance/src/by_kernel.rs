//! Drivers in which the kernel acts on memory by itself, put to an address space of the engine: a
//! core dump, a breakpoint, a dma-buf.
//!
//! Linux 6.18: fs/coredump.c `dump_user_range`; kernel/events/uprobes.c `uprobe_write_opcode`;
//! drivers/dma-buf/udmabuf.c `udmabuf_create` (rows C-83, C-84, C-96, C-101).

use gup::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{Foll, VmFlags};
use gup::gup::dump::get_dump_page;
use gup::gup::memfd::memfd_pin_folios;
use gup::gup::unpin::unpin_folios;
use gup::gup::{Entry, Locked, gup};
use gup::host::Host;
use gup::mm::{Lock, Mm};
use gup::task::Task;
use gup::vma::Vma;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

/// The most pages of one area that are dumped: what is larger is passed over.
const LARGEST: u64 = 1 << 18;

/// Dumps every area of `mm` that may be dumped; the pages that the dump has, by address. Who dies
/// shares the address space.
pub(crate) fn core_dump<H: Host>(mm: &Mm<H>) -> BTreeSet<u64> {
    let left_out = VmFlags::DONTDUMP | VmFlags::IO;
    let dumped = |vma: &&Vma<H>| !vma.flags.intersects(left_out) && vma.range().pages() <= LARGEST;
    let areas: Vec<VirtRange> = mm.read().iter().filter(dumped).map(Vma::range).collect();
    let dying = Task::default();
    dying.dumping.store(true, Relaxed);
    let mut had = BTreeSet::new();
    for area in areas {
        for addr in (area.start.get()..area.end.get()).step_by(1 << PAGE_SHIFT) {
            let mut lock = Lock::Read(mm.read());
            if let Some(page) = get_dump_page(&dying, &mut lock, VirtAddr::new(addr)) {
                mm.machine().put_page(page.pfn());
                had.insert(addr);
            }
        }
    }
    had
}

/// What an area has in which the kernel sets breakpoints: it may be executed, and is not shared,
/// huge or writable.
const LOOKED_AT: VmFlags =
    VmFlags::HUGETLB.union(VmFlags::MAYEXEC).union(VmFlags::MAYSHARE).union(VmFlags::WRITE);

/// Whether a breakpoint can be set at `at`: in private text of a file, whose page is copied for it.
pub(crate) fn uprobe<H: Host>(task: &Task, mm: &Mm<H>, at: VirtAddr) -> Result<(), Errno> {
    let mut lock = Lock::Read(mm.read());
    let map = lock.map().ok_or(Errno::EFAULT)?;
    let vma = map.lookup(at).filter(|vma| vma.flags & LOOKED_AT == VmFlags::MAYEXEC);
    vma.and_then(|vma| vma.backing.file()).ok_or(Errno::EFAULT)?;
    let foll = Foll::FORCE | Foll::SPLIT_PMD | Foll::WRITE;
    let mut page = [None];
    let outcome =
        gup(Entry::GetRemote, task, &mut lock, at, 1, foll, Some(&mut page[..]), Locked::Null);
    drop(lock);
    let [Some(page)] = page else { return Err(outcome.errno().unwrap_or(Errno::EFAULT)) };
    mm.machine().put_page(page.pfn());
    Ok(())
}

/// A dma-buf of `bytes` bytes of the memfd behind `at`: none of another file, nor of one that is
/// sealed against writing.
pub(crate) fn udmabuf<H: Host>(
    task: &Task,
    mm: &Mm<H>,
    at: VirtAddr,
    bytes: u64,
) -> Result<(), Errno> {
    const EBADFD: i32 = 77;
    let map = mm.read();
    let vma = map.lookup(at).ok_or(Errno::EBADF)?;
    let file = vma.backing.file().cloned().ok_or(Errno::EBADF)?;
    let offset = (vma.pgoff() << PAGE_SHIFT).saturating_add(at.bytes_from(vma.start()));
    let sealed = vma.flags & (VmFlags::MAYSHARE | VmFlags::MAYWRITE) == VmFlags::MAYSHARE;
    drop(map);
    if !matches!(file.kind(), FileKind::Shmem | FileKind::Hugetlb(_)) {
        return Err(Errno::from_raw(EBADFD));
    }
    if sealed {
        return Err(Errno::EINVAL);
    }
    let start = i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let end = i64::try_from(offset.saturating_add(bytes) - 1).map_err(|_| Errno::EINVAL)?;
    let slots = usize::try_from(bytes >> PAGE_SHIFT).unwrap_or(0);
    let mut folios: Vec<_> = std::iter::repeat_with(|| None).take(slots).collect();
    memfd_pin_folios(mm.machine(), task, Some(&file), start, end, &mut folios)
        .map_err(|stop| stop.errno)?;
    unpin_folios(mm.machine(), &mut folios);
    Ok(())
}
