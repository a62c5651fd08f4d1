//! Heap memory against a plain array of bytes.

use gup::addr::Pfn;
use gup::host::Memory;
use gup::memory::HeapMemory;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn every_offset_and_length_writes_its_bytes_and_no_others() {
    let memory = HeapMemory::new(200);
    let mut model = [0_u8; 4096];
    let data: Vec<u8> = (0..4096_usize).map(|n| (n % 251 + 1).to_le_bytes()[0]).collect();
    let offsets = [0, 1, 7, 8, 9, 2047, 4087, 4088, 4095, 4096];
    for offset in offsets {
        for len in [0, 1, 2, 7, 8, 9, 15, 16, 17, 1000, 4095, 4096] {
            if offset + len > 4096 {
                continue;
            }
            memory.write(Pfn::new(130), offset, &data[..len]);
            model[offset..offset + len].copy_from_slice(&data[..len]);
            let mut whole = [0; 4096];
            memory.read(Pfn::new(130), 0, &mut whole);
            assert!(whole == model, "write of {len} at {offset}");
            let mut part = vec![0; len];
            memory.read(Pfn::new(130), offset, &mut part);
            assert!(part == data[..len], "read of {len} at {offset}");
        }
    }
    let mut other = [1; 4096];
    memory.read(Pfn::new(131), 0, &mut other);
    assert!(other == [0; 4096], "the next frame is untouched");
}

#[test]
fn tables_are_the_bytes_that_hardware_would_read() {
    let memory = HeapMemory::new(4);
    memory.table(Pfn::new(3))[1].store(0x1122_3344_5566_7788, Relaxed);
    let mut bytes = [0; 8];
    memory.read(Pfn::new(3), 8, &mut bytes);
    assert_eq!(u64::from_ne_bytes(bytes), 0x1122_3344_5566_7788);
    memory.copy(Pfn::new(1), Pfn::new(3), 1);
    memory.zero(Pfn::new(2), 2);
    assert_eq!(memory.table(Pfn::new(1))[1].load(Relaxed), 0x1122_3344_5566_7788);
    assert_eq!(memory.table(Pfn::new(3))[1].load(Relaxed), 0);
    assert_eq!(memory.frames(), 4);
}
