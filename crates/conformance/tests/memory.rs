//! What the engine's own records take: of frames, of areas, of page tables.
//!
//! Heap bytes are counted by the allocator of this program, which therefore has one test.

use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::flags::Prot;
use gup::linux::Linux;
use gup::mapping::{MmapRequest, mmap};
use gup::mm::{Lock, Machine, MachineConfig, Mm};
use gup::task::Task;
use gup::vma::Vma;
use gup_hosted::Std;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static IN_USE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to `System` as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's duties are those of `System`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above; `at` came from `System`, with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// Heap bytes that are in use after `work` and were not before.
fn heap_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = IN_USE.load(Relaxed);
    let made = work();
    (made, IN_USE.load(Relaxed).saturating_sub(before))
}

#[test]
fn records_take_no_more_than_24_bytes_a_frame_192_an_area_and_the_tables_that_hardware_needs() {
    const FRAMES: usize = 1 << 20;
    const AREAS: usize = 60_000;
    const PAGES: u64 = 3 << 18;
    let (machine, bytes) = heap_of(|| {
        let host = Std::anonymous(FRAMES as u64).expect("address space for frames");
        Machine::new(host, MachineConfig::new(Linux::V6_18, FRAMES as u64)).expect("frames")
    });
    assert!(bytes < FRAMES * 24 + (64 << 10), "{bytes} bytes for {FRAMES} frames");

    let (mm, task) = (Mm::new(&machine).expect("a table"), Task::default());
    let (areas, bytes) = heap_of(|| {
        (0..AREAS)
            .flat_map(|n| {
                // Neighbours differ, so that they stay areas of their own.
                let prot = if n % 2 == 0 { Prot::READ } else { Prot::WRITE };
                mmap(&mut mm.write(), &task, &MmapRequest::anonymous(PAGE_SIZE, prot))
            })
            .count()
    });
    assert_eq!(areas, AREAS);
    assert!(size_of::<Vma<Std>>() <= 192);
    // With the trees that hold areas and gaps, mapped one below the other: half-filled nodes.
    assert!(bytes <= AREAS * 280, "{bytes} bytes for {AREAS} areas: {} each", bytes / AREAS);

    let mm = Mm::new(&machine).expect("a table");
    let free = machine.frames().stats().free_total();
    let request =
        MmapRequest::anonymous(PAGES * PAGE_SIZE, Prot::READ).at(VirtAddr::new(512 << 30));
    let start = mmap(&mut mm.write(), &task, &request).expect("room");
    let foll = gup::flags::Foll::empty();
    let mut lock = Lock::Read(mm.read());
    let (entry, locked) = (gup::gup::Entry::Get, gup::gup::Locked::Null);
    let got = gup::gup::gup(entry, &task, &mut lock, start, PAGES, foll, None, locked);
    assert_eq!(got.got, PAGES);
    let tables = free - machine.frames().stats().free_total();
    // Three GiB at an address that is a multiple of 512 GiB: a table of each level above the last,
    // and one of the last for 2 MiB each. Every page is the zero page.
    assert_eq!(tables, 1 + 3 + PAGES / 512);
}
