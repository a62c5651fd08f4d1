//! Both kinds of mapped memory against a plain array of bytes.

use super::HostedMemory;
use gup::addr::Pfn;
use gup::host::Memory;
use std::sync::atomic::Ordering::Relaxed;

fn both() -> [HostedMemory; 2] {
    [
        HostedMemory::anonymous(8).expect("memory"),
        HostedMemory::memfd("gup-test", 8).expect("memfd"),
    ]
}

#[test]
fn every_offset_and_length_writes_its_bytes_and_no_others() {
    for memory in both() {
        let mut model = [0_u8; 4096];
        let data: Vec<u8> = (0..4096_u32).map(|n| (n * 7 + 3).to_le_bytes()[0]).collect();
        for (offset, len) in edges() {
            memory.write(Pfn::new(3), offset, &data[..len]);
            model[offset..offset + len].copy_from_slice(&data[..len]);
            let mut whole = [0; 4096];
            memory.read(Pfn::new(3), 0, &mut whole);
            assert!(whole == model, "write of {len} at {offset}");
            let mut part = vec![0; len];
            memory.read(Pfn::new(3), offset, &mut part);
            assert!(part == data[..len], "read of {len} at {offset}");
        }
        let mut other = [1; 4096];
        memory.read(Pfn::new(4), 0, &mut other);
        assert!(other == [0; 4096], "the next frame is untouched");
    }
}

fn edges() -> impl Iterator<Item = (usize, usize)> {
    let offsets = [0, 1, 7, 8, 9, 255, 256, 4000, 4095, 4096];
    let lens = [0, 1, 2, 7, 8, 9, 15, 16, 17, 96, 255, 256, 257, 1024, 4095, 4096];
    offsets.into_iter().flat_map(move |o| lens.map(|l| (o, l))).filter(|&(o, l)| o + l <= 4096)
}

#[test]
fn a_table_is_the_frame_that_bulk_operations_move() {
    for memory in both() {
        memory.table(Pfn::new(1))[511].store(0x1122_3344_5566_7788, Relaxed);
        memory.copy(Pfn::new(5), Pfn::new(1), 2);
        assert_eq!(memory.table(Pfn::new(5))[511].load(Relaxed), 0x1122_3344_5566_7788);
        let mut bytes = [0; 8];
        memory.read(Pfn::new(5), 4088, &mut bytes);
        assert_eq!(u64::from_ne_bytes(bytes), 0x1122_3344_5566_7788);
        memory.zero(Pfn::new(4), 2);
        assert_eq!(memory.table(Pfn::new(5))[511].load(Relaxed), 0);
        assert_ne!(memory.table(Pfn::new(1))[511].load(Relaxed), 0, "the source stays");
    }
}

#[test]
fn a_discarded_frame_reads_as_zero_and_its_neighbour_does_not() {
    for memory in both() {
        memory.write(Pfn::new(2), 0, &[7]);
        assert!(memory.prefault(Pfn::new(6), 3).is_err(), "frame 8 does not exist");
        if memory.prefault(Pfn::new(0), 8).is_err() {
            eprintln!("this kernel populates nothing on request");
        }
        memory.write(Pfn::new(3), 0, &[7]);
        memory.discard(Pfn::new(2), 1).expect("discard");
        assert_eq!(memory.table(Pfn::new(2))[0].load(Relaxed), 0);
        assert_ne!(memory.table(Pfn::new(3))[0].load(Relaxed), 0);
        assert!(memory.discard(Pfn::new(7), 2).is_err(), "frame 8 does not exist");
        assert!(memory.discard(Pfn::new(u64::MAX), 2).is_err());
    }
}

#[test]
fn a_memfd_shows_the_frames_to_whoever_reads_the_file() {
    let [_, memory] = both();
    memory.write(Pfn::new(6), 10, b"hello");
    let mut bytes = [0; 5];
    let got = rustix::io::pread(memory.fd().expect("a memfd"), &mut bytes, 6 * 4096 + 10);
    assert_eq!((got, &bytes), (Ok(5), b"hello"));
}

#[test]
fn no_frames_and_too_many_are_refused() {
    assert!(HostedMemory::anonymous(0).is_err());
    assert!(HostedMemory::anonymous(u64::MAX).is_err());
    assert!(HostedMemory::anonymous(u64::MAX / 4096).is_err());
}
