//! A long range is explained by what is in it, with the verdict that page by page gives.

use gup_mirror::consumer::Consumer;
use gup_mirror::explain::glance;
use gup_mirror::explain::look::Look;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::explain::verdict::Verdict;
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect};
use std::ffi::c_void;
use std::fmt::Write;

const MIB: usize = 1 << 20;
const RW: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// `bytes` bytes of private anonymous memory without huge pages; nothing else maps them away.
fn reserve(bytes: usize) -> *mut c_void {
    let flags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing that exists.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, RW, flags) };
    let start = start.expect("address space");
    advise(start, bytes, Advice::LinuxNoHugepage);
    start
}

fn advise(start: *mut c_void, bytes: usize, advice: Advice) {
    // SAFETY: the range was mapped by a test, and nobody refers to its bytes.
    unsafe { madvise(start, bytes, advice) }.expect("the advice is taken");
}

fn touch(start: *mut c_void, bytes: usize) {
    advise(start, bytes, Advice::LinuxPopulateWrite);
}

/// All that a verdict says.
fn said(verdict: &Verdict) -> String {
    let Verdict { start, nr_pages, gup, call, segments, stop, unseen, .. } = verdict;
    let mut text = format!("{start:x} {nr_pages} {gup:?} {call:?} {unseen:?}\n");
    for segment in segments {
        let _ = writeln!(text, "{segment:x?}");
    }
    if let Some(stop) = stop {
        let place = stop.place.as_ref().map(|place| place.area.to_string());
        let _ = writeln!(text, "{} {:x} {:?} {place:?}", stop.index, stop.addr, stop.rule);
    }
    text
}

/// One of each way in which consumers ask and answer; the first is asked without frame flags too.
const CONSUMERS: [Consumer; 9] = [
    Consumer::ProcMemWrite,
    Consumer::ProcessVmReadv,
    Consumer::PtracePeek,
    Consumer::MadvisePopulateWrite,
    Consumer::Mlock,
    Consumer::Vmsplice,
    Consumer::Futex,
    Consumer::IoUringBuffer,
    Consumer::XdpUmem,
];

/// A child with the memory of this process, which does nothing: looking at it disturbs no look.
struct Still(i32);

impl Still {
    fn fork() -> Self {
        // SAFETY: the child calls nothing but `pause`, which is safe after a fork among threads.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            loop {
                // SAFETY: it waits for a signal, and the only one that comes ends it.
                unsafe { libc::pause() };
            }
        }
        assert!(pid > 0, "a child");
        Self(pid)
    }

    fn process(&self) -> Process {
        Process::open(self.0.cast_unsigned()).expect("the child")
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        // SAFETY: a signal to a child that was not waited for yet; no pointer is passed.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: it is a child, and its status is not asked for.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}

/// Asks about `bytes` bytes from `start` in both ways.
fn compare(what: &str, start: *mut c_void, bytes: usize) {
    let range = ByteRange::new(start.addr() as u64, bytes as u64).expect("a range");
    let child = Still::fork();
    for hidden in [false, true] {
        let process = child.process();
        let process = if hidden { process.without_frames() } else { process };
        let consumers = if hidden { &CONSUMERS[..1] } else { &CONSUMERS };
        for &consumer in consumers {
            let request = Request { ask: Ask::Consumer(consumer), range };
            let dense = Look::at(&process, request).expect("a verdict").verdict;
            let short = glance(&process, &request, &process.facts()).expect("a verdict").verdict;
            let (dense, short) = (said(&dense), said(&short));
            assert_eq!(short, dense, "{what} as {}, hidden: {hidden}", consumer.name());
        }
    }
}

#[test]
fn memory_of_many_kinds_gets_the_verdict_that_it_gets_page_by_page() {
    let start = reserve(48 * MIB);
    let at = |mib: usize| start.wrapping_byte_add(mib * MIB);
    compare("nothing touched", start, 20 * MIB);
    touch(at(0), 18 * MIB);
    compare("all touched, from the middle of a page", at(0).wrapping_byte_add(77), 17 * MIB);
    touch(at(24), MIB);
    compare("touched in two places", at(4), 32 * MIB);
    // SAFETY: the range was mapped above, and nobody refers to its bytes.
    unsafe { mprotect(at(34), 2 * MIB, rustix::mm::MprotectFlags::empty()) }.expect("mprotect");
    compare("with a part that may not be touched", at(10), 28 * MIB);
}

#[test]
fn a_file_that_ends_within_the_range_ends_the_verdict_at_the_same_page() {
    let file = memfd_create("long", MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&file, 20 * MIB as u64 + 5000).expect("its size");
    for kind in [MapFlags::SHARED, MapFlags::PRIVATE] {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing that exists.
        let start = unsafe { mmap(std::ptr::null_mut(), 32 * MIB, RW, kind, &file, 0) };
        let start = start.expect("address space");
        touch(start.wrapping_byte_add(4 * MIB), 12 * MIB);
        compare("a file, half touched", start.wrapping_byte_add(2 * MIB), 28 * MIB);
    }
}

#[test]
fn a_tebibyte_is_looked_at_by_what_is_in_it() {
    let start = reserve(1 << 40);
    touch(start.wrapping_byte_add(1 << 39), 3 * MIB);
    let range = ByteRange::new(start.addr() as u64, 1 << 40).expect("a range");
    let child = Still::fork();
    let process = child.process();
    let ask = Ask::Consumer(Consumer::GetMempolicy);
    let verdict =
        glance(&process, &Request { ask, range }, &process.facts()).expect("a verdict").verdict;
    let pages: Vec<u64> = verdict.segments.iter().map(|segment| segment.pages).collect();
    assert_eq!(pages, [1 << 27, 768, (1 << 27) - 768]);
    assert_eq!(verdict.call.map(|call| call.ret), Some(1 << 28));
    let writer = Request { ask: Ask::Consumer(Consumer::ProcessVmWritev), range };
    let moved = glance(&process, &writer, &process.facts()).expect("a verdict").verdict;
    assert_eq!(moved.call.map(|call| call.ret), Some(0x7fff_f000), "what one call moves");
}
