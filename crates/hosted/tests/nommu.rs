//! The twin without an MMU on a buffer that the host owns: its addresses are the host's pointers.

use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::flags::{MapFlags, Prot};
use gup::linux::Linux;
use gup::mm::{Machine, MachineConfig};
use gup::nommu::{FlatMemory, MapRequest, NommuMm, Source, Write};
use gup_hosted::Std;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

const FRAMES: u64 = 64;

/// The byte at `addr`, as any code of this process would reach it.
fn byte_at<T>(_memory: &T, addr: VirtAddr) -> &AtomicU8 {
    let pointer = addr.get() as usize as *const AtomicU8;
    // SAFETY: `addr` lies in a mapping of the machine, so in the buffer that `_memory` keeps mapped
    // for as long as the result is borrowed from it; a byte is always aligned; the engine and the
    // tests touch it as an atomic only.
    unsafe { &*pointer }
}

#[test]
fn an_address_of_the_twin_is_a_pointer_into_the_hosts_buffer() {
    let host = Std::anonymous(FRAMES).expect("memory");
    let machine = Machine::new(host, MachineConfig::new(Linux::V6_18, FRAMES)).expect("frames");
    let base = machine.memory().address(Pfn::new(0)).expect("frame 0 exists");
    let flat = FlatMemory::new(&machine, VirtAddr::new(base as u64)).expect("page-aligned");
    let mm = NommuMm::new(&flat);
    let request = MapRequest {
        len: 2 * PAGE_SIZE,
        prot: Prot::READ | Prot::WRITE,
        flags: MapFlags::PRIVATE,
        source: Source::Anonymous,
    };
    let start = mm.write().mmap(&request).expect("room");
    let frame = flat.frame_at(start).expect("inside the memory");

    let byte = byte_at(&machine, start.wrapping_add(PAGE_SIZE + 3));
    assert_eq!(byte.load(SeqCst), 0, "new memory is zero");
    byte.store(7, SeqCst);

    let pins = mm.read().pin::<Write>(start, 2).expect("mapped and writable");
    let mut seen = [0];
    assert_eq!(pins.read(1, 3, &mut seen), 1);
    assert_eq!(seen, [7], "what the program stored, the device reads");
    assert_eq!(pins.write(1, 3, &[9]), 1);
    assert_eq!(byte.load(SeqCst), 9, "what the device stored, the program reads");

    mm.write().munmap(start, 2 * PAGE_SIZE).expect("mapped");
    byte.store(11, SeqCst);
    pins.read(1, 3, &mut seen);
    assert_eq!(seen, [11], "pinned memory stays where it is");
    assert_eq!(machine.frames().refs(frame), 1);
    drop(pins);
    assert_eq!(machine.frames().refs(frame), 0, "and is free when nobody pins it");
    let weak = Arc::downgrade(&machine);
    drop((mm, flat, machine));
    assert!(weak.upgrade().is_none(), "nothing keeps the machine");
}
