//! Pinned memory given to other crates' devices: they see the program's bytes, and it sees theirs.

#![cfg(any(feature = "embedded-dma", feature = "vm-memory"))]
#![allow(missing_docs, reason = "a test program")]

use gup::linux::Linux;
use gup::mm::{Machine, MachineConfig};
use gup_hosted::{HostedMemory, Std};
use std::sync::Arc;

const FRAMES: u64 = 256;

fn machine() -> Arc<Machine<Std<HostedMemory>>> {
    let host = Std::anonymous(FRAMES).expect("memory");
    Machine::new(host, MachineConfig::new(Linux::V6_18, FRAMES)).expect("frames")
}

#[cfg(feature = "vm-memory")]
mod guest {
    use super::{Arc, machine};
    use gup::addr::{PAGE_SHIFT, PAGE_SIZE};
    use gup::flags::Prot;
    use gup::frame::FrameFlags;
    use gup::gup::remote::{Access, access_remote_vm};
    use gup::gup::{Term, Write};
    use gup::mapping::{self, MmapRequest};
    use gup::mm::Mm;
    use gup::task::Task;
    use gup_hosted::dma::{NotMapped, pinned_memory};
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

    #[test]
    fn a_device_writes_through_pins_to_what_the_program_mapped_and_all_is_dirty_after() {
        let (machine, task) = (machine(), Task::default());
        let mm = Mm::new(&machine).expect("a frame");
        let request = MmapRequest::anonymous(5 << PAGE_SHIFT, Prot::READ | Prot::WRITE);
        let at = mapping::sys::mmap(&mm, &task, &request).expect("room");
        // Touched backwards, so that the frames do not follow one another.
        for n in [4, 2, 3, 0, 1] {
            drop(mm.pin::<Write>(&task, at.wrapping_add(n << PAGE_SHIFT), 1).expect("memory"));
        }
        let pins = mm.pin_runs::<Write>(&task, at, 5, Term::Long).expect("memory");
        let runs = pins.runs().len();
        assert!(runs > 1, "{pins:?}");
        let frames: Vec<_> = pins.frames().collect();
        let base = GuestAddress(0x8000_0000);
        let memory = pinned_memory(pins, base).expect("mapped");
        assert_eq!(memory.num_regions(), runs);
        assert_eq!(memory.iter().map(GuestMemoryRegion::len).sum::<u64>(), 5 * PAGE_SIZE);

        let text = b"written by a device across pages";
        let offset = 2 * PAGE_SIZE - 7;
        memory.write_slice(text, GuestAddress(base.0 + offset)).expect("inside");
        memory.store(0x1234_u16, base, std::sync::atomic::Ordering::Release).expect("inside");
        let mut seen = [0; 32];
        let moved = access_remote_vm(
            &task,
            &mm,
            at.wrapping_add(offset),
            Access::Read(&mut seen),
            gup::flags::Foll::empty(),
        );
        assert_eq!((moved.bytes, &seen), (32, text));
        assert!(memory.write_slice(text, GuestAddress(base.0 + 5 * PAGE_SIZE - 1)).is_err());
        assert!(memory.read_obj::<u8>(GuestAddress(base.0 - 1)).is_err());

        for pfn in &frames {
            machine.frames().clear(*pfn, FrameFlags::DIRTY);
        }
        mapping::sys::munmap(&mm, at, 5 << PAGE_SHIFT).expect("mapped");
        let second = memory.clone();
        drop(memory);
        assert_eq!(second.read_obj::<u16>(base).expect("still there"), 0x1234);
        assert!(frames.iter().all(|pfn| machine.frames().pins(*pfn) == 1));
        let kept = machine.frames().get(frames[0], 1);
        drop(second);
        assert_eq!(kept, Ok(()));
        assert!(machine.frames().has(frames[0], FrameFlags::DIRTY), "given back dirty");
        machine.put_page(frames[0]);
        assert!(frames.iter().all(|pfn| machine.frames().refs(*pfn) == 0));
        assert_eq!(Arc::strong_count(&machine), 2, "ours, and the address space's");
    }

    #[test]
    fn nothing_and_too_much_are_no_guest_memory() {
        let (machine, task) = (machine(), Task::default());
        let mm = Mm::new(&machine).expect("a frame");
        let request = MmapRequest::anonymous(1 << PAGE_SHIFT, Prot::READ | Prot::WRITE);
        let at = mapping::sys::mmap(&mm, &task, &request).expect("room");
        let pin = |pages| mm.pin_runs::<Write>(&task, at, pages, Term::Short).expect("memory");
        let base = |address| GuestAddress(address);
        assert_eq!(pinned_memory(pin(0), base(0)).unwrap_err(), NotMapped::Empty);
        assert_eq!(pinned_memory(pin(1), base(u64::MAX)).unwrap_err(), NotMapped::Overflow);
        let pins = mm.pin::<Write>(&task, at, 1).expect("memory");
        assert_eq!(machine.frames().pins(pins.frames()[0]), 1, "the others were given back");
    }
}

#[cfg(feature = "embedded-dma")]
mod buffer {
    use super::machine;
    use embedded_dma::{ReadBuffer, WriteBuffer};
    use gup::addr::{PAGE_SIZE, VirtAddr};
    use gup::flags::{MapFlags, Prot};
    use gup::nommu::{FlatMemory, MapRequest, NommuMm, Source, Write};
    use gup_hosted::dma::DmaBuffer;

    #[test]
    fn pages_pinned_without_an_mmu_are_one_buffer_whatever_base_the_memory_has() {
        let machine = machine();
        let flat = FlatMemory::new(&machine, VirtAddr::new(0x4000_0000)).expect("page-aligned");
        let mm = NommuMm::new(&flat);
        let request = MapRequest {
            len: 3 * PAGE_SIZE,
            prot: Prot::READ | Prot::WRITE,
            flags: MapFlags::PRIVATE,
            source: Source::Anonymous,
        };
        let at = mm.write().mmap(&request).expect("room");
        let pins = mm.read().pin::<Write>(at, 3).expect("mapped and writable");
        let mut buffer = DmaBuffer::new(pins).expect("one piece");
        // SAFETY: no method of `buffer` is called while the pointer is in use.
        let (to, bytes) = unsafe { buffer.write_buffer() };
        assert_eq!(bytes as u64, 3 * PAGE_SIZE);
        // SAFETY: the last byte is inside the buffer.
        let last = unsafe { to.add(bytes - 1) };
        // SAFETY: a byte of the buffer; nobody else uses the memory now.
        unsafe { last.write_volatile(0x5a) };
        let mut seen = [0];
        assert_eq!(flat.read(at.wrapping_add(3 * PAGE_SIZE - 1), &mut seen), 1);
        assert_eq!(seen, [0x5a], "the program sees what the engine wrote");
        flat.write(at, &[0xa5]);
        // SAFETY: as above.
        let (from, _) = unsafe { buffer.read_buffer() };
        // SAFETY: the first byte of the buffer; nobody else uses the memory now.
        assert_eq!(unsafe { from.read_volatile() }, 0xa5);
        let pins = buffer.into_pins();
        assert_eq!(pins.len(), 3);
        let none = mm.read().pin::<Write>(at, 0).expect("nothing");
        assert!(DmaBuffer::new(none).is_err(), "no pages are no buffer");
    }
}
