//! Explaining a range of this process, beside the bare reads of what `/proc` says of it.
//!
//! *Bare read*: the words of pagemap, one call after the other; with frame flags also
//! `/proc/kpageflags` and `/proc/kpagecount`, in the order of the frames, neighbours by one call.

use super::kernel::OwnMapping;
use super::measure::{Bench, none, timed};
use super::report::{About, Aim, Figure::OverFloor};
use super::space::{CannotBench, GIB};
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::glance;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::pread;

/// Bytes of address space that the long range has.
const TEBIBYTE: usize = 1 << 40;
/// Pages that one call of a bare read asks about.
const CALL: usize = 1 << 16;

const fn about(
    name: &'static str,
    what: &'static str,
    against: &'static str,
    aim: &'static [Aim],
) -> About {
    About { name, unit: "ns/page", what, against, asked: "", aims: aim }
}

pub(super) static ROWS: [About; 3] = [
    about(
        "explain-4k",
        "gup explain as io_uring of 1 GiB of touched 4K pages, frame flags hidden: per page",
        "the bare read of the same words of pagemap",
        &[Aim::AtMost(OverFloor, 3.0)],
    ),
    about(
        "explain-4k-flags",
        "the same, with frame flags",
        "the bare reads of pagemap, kpageflags and kpagecount, sorted by frame",
        &[Aim::AtMost(OverFloor, 1.5)],
    ),
    about(
        "explain-1t",
        "gup explain as mlock of 1 TiB of reserved memory, 1 GiB of it touched, frame flags \
         hidden: per touched page",
        "the same of the touched 1 GiB alone",
        &[Aim::AtMost(OverFloor, 1.2)],
    ),
];

/// Memory of this process, of which a part is touched.
struct Own {
    _memory: OwnMapping,
    start: u64,
    /// Bytes before the touched part.
    before: u64,
}

impl Own {
    /// `bytes` bytes, of which 1 GiB in the middle is touched, or all.
    fn new(bytes: usize) -> Option<Self> {
        let memory = OwnMapping::reserved(bytes)?;
        let touched = usize::try_from(GIB << 12).ok()?;
        let before = (bytes - touched) / 2;
        let populate = rustix::mm::Advice::LinuxPopulateWrite;
        let start = memory.address();
        memory.advise(before, touched, populate).then_some(Self {
            _memory: memory,
            start,
            before: before as u64,
        })
    }
    fn touched(&self) -> ByteRangeOf {
        ByteRangeOf { start: self.start + self.before, bytes: GIB << 12 }
    }
}

/// A part of this process.
#[derive(Clone, Copy)]
struct ByteRangeOf {
    start: u64,
    bytes: u64,
}

/// Nanoseconds per touched page of one explanation; `None` if there is none.
fn explained(process: &Process, consumer: Consumer, part: ByteRangeOf) -> Option<f64> {
    let range = ByteRange::new(part.start, part.bytes).ok()?;
    let request = Request { ask: Ask::Consumer(consumer), range };
    let mut fine = false;
    let ns = timed(GIB, || {
        let verdict = glance(process, &request, &process.facts());
        fine = verdict.is_ok_and(|glance| glance.verdict.nr_pages == range.pages());
    });
    fine.then_some(ns)
}

#[allow(clippy::unnecessary_wraps, reason = "as every group's")]
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let [plain, flags, tebibyte] = &ROWS;
    let here = || Process::open(std::process::id()).ok();
    let (Some(seen), Some(hidden)) = (here(), here().map(Process::without_frames)) else {
        return Ok(());
    };
    if bench.wants_any(&ROWS[..2]) {
        let Some(own) = usize::try_from(GIB << 12).ok().and_then(Own::new) else { return Ok(()) };
        let bare = Bare::open();
        let ring = Consumer::IoUringBuffer;
        bench.compare_up_to(
            11,
            plain,
            &mut || explained(&hidden, ring, own.touched()),
            &mut || bare.as_ref()?.words(own.touched()),
            &mut none,
        );
        bench.compare_up_to(
            5,
            flags,
            &mut || explained(&seen, ring, own.touched()),
            &mut || bare.as_ref()?.words_and_frames(own.touched()),
            &mut none,
        );
    }
    if bench.wants(tebibyte) {
        let Some(own) = Own::new(TEBIBYTE) else { return Ok(()) };
        let all = ByteRangeOf { start: own.start, bytes: TEBIBYTE as u64 };
        bench.compare_up_to(
            11,
            tebibyte,
            &mut || explained(&hidden, Consumer::Mlock, all),
            &mut || explained(&hidden, Consumer::Mlock, own.touched()),
            &mut none,
        );
    }
    Ok(())
}

/// The files that are read; those about frames need root.
struct Bare {
    pagemap: OwnedFd,
    frames: Option<[OwnedFd; 2]>,
}

impl Bare {
    fn open() -> Option<Self> {
        let file = |path| open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        let pagemap = file("/proc/self/pagemap")?;
        let frames = file("/proc/kpageflags").zip(file("/proc/kpagecount")).map(<[_; 2]>::from);
        Some(Self { pagemap, frames })
    }
    fn read(&self, part: ByteRangeOf) -> Option<Vec<u8>> {
        let mut bytes = vec![0_u8; usize::try_from(part.bytes / 512).ok()?];
        for (n, chunk) in bytes.chunks_mut(CALL * 8).enumerate() {
            let at = (part.start >> 12) * 8 + (n * CALL * 8) as u64;
            let whole = chunk.len();
            (pread(&self.pagemap, chunk, at).ok()? == whole).then_some(())?;
        }
        Some(bytes)
    }
    fn words(&self, part: ByteRangeOf) -> Option<f64> {
        let mut read = None;
        let ns = timed(GIB, || read = self.read(part));
        read.map(|_| ns)
    }
    fn words_and_frames(&self, part: ByteRangeOf) -> Option<f64> {
        let files = self.frames.as_ref()?;
        let mut read = None;
        let ns = timed(GIB, || {
            read = self.read(part).and_then(|words| {
                let mut frames: Vec<u64> = words.chunks_exact(8).filter_map(frame).collect();
                frames.sort_unstable();
                files.iter().try_for_each(|file| read_frames(file, &frames))
            });
        });
        read.map(|()| ns)
    }
}

/// The frame number in one word of pagemap.
fn frame(word: &[u8]) -> Option<u64> {
    let word = u64::from_ne_bytes(word.try_into().ok()?);
    Some(word & ((1 << 55) - 1)).filter(|pfn| *pfn != 0)
}

/// Reads a word for each of the frames, which are sorted.
fn read_frames(file: &OwnedFd, frames: &[u64]) -> Option<()> {
    let mut bytes = vec![0_u8; CALL * 8];
    for run in frames.chunk_by(|a, b| b - a <= 1) {
        for part in run.chunks(CALL) {
            let (first, last) = (*part.first()?, *part.last()?);
            let wanted = usize::try_from(last - first + 1).ok()? * 8;
            (pread(file, &mut bytes[..wanted], first * 8).ok()? == wanted).then_some(())?;
        }
    }
    Some(())
}
