//! The machine that is measured: mapped memory, faulted in beforehand, and one address space on it.

use super::measure::timed;
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::flags::Prot;
use gup::frame::OutOfMemory;
use gup::gup::Page;
use gup::linux::Linux;
use gup::mapping::{MmapRequest, mmap};
use gup::mm::{Machine, MachineConfig, Mm};
use gup::task::Task;
use gup_hosted::Std;
use std::hint::black_box;
use std::sync::Arc;

/// A GiB, in pages.
pub(super) const GIB: u64 = 1 << 18;
/// A MiB, in pages.
pub(super) const MIB: u64 = 1 << 8;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum CannotBench {
    /// The arena could not be mapped or faulted in.
    #[error("cannot map {0} MiB of memory to measure on: {1}; free some memory and try again")]
    Memory(u64, std::io::Error),
    /// The engine ran out of frames.
    #[error("the engine has no frame left: {0}")]
    Frames(#[from] OutOfMemory),
    /// No row is called so.
    #[error("no row is called {0}; there are {1}")]
    NoSuchRow(String, String),
    /// A mapping edit failed.
    #[error("cannot map the range to measure: {0}")]
    Map(#[from] gup::errno::Errno),
}

/// A machine of `Std` hosts.
pub(super) type Host = Std;

/// A machine and an address space.
pub(super) struct Space {
    pub(super) machine: Arc<Machine<Host>>,
    pub(super) mm: Arc<Mm<Host>>,
    pub(super) task: Task,
}

impl Space {
    /// A machine with `mib` MiB, every frame touched.
    pub(super) fn new(linux: Linux, mib: u64) -> Result<Self, CannotBench> {
        Self::of(MachineConfig::new(linux, mib * MIB), mib)
    }
    /// A machine with `mib` MiB, every frame touched, which gives anonymous memory 2 MiB folios.
    fn huge(mib: u64) -> Result<Self, CannotBench> {
        let mut config = MachineConfig::new(Linux::V6_18, mib * MIB);
        config.sysctl.thp_always = true;
        Self::of(config, mib)
    }
    fn of(config: MachineConfig, mib: u64) -> Result<Self, CannotBench> {
        let frames = mib * MIB;
        let no_memory = |error| CannotBench::Memory(mib, error);
        let host = Std::anonymous(frames).map_err(no_memory)?;
        gup::host::Host::memory(&host).prefault(Pfn::new(0), frames).map_err(no_memory)?;
        let machine = Machine::new(host, config)?;
        let mm = Mm::new(&machine)?;
        Ok(Self { machine, mm, task: Task::default() })
    }
    /// Maps `pages` pages of private anonymous memory, readable and writable.
    pub(super) fn map(&self, pages: u64) -> Result<VirtAddr, CannotBench> {
        let request = MmapRequest::anonymous(pages * PAGE_SIZE, Prot::READ | Prot::WRITE);
        Ok(mmap(&mut self.mm.write(), &self.task, &request)?)
    }
    /// Faults all pages in for writing.
    pub(super) fn touch(&self, start: VirtAddr, pages: u64) -> i64 {
        let mut lock = gup::mm::Lock::Read(self.mm.read());
        let write = gup::abi::flags::FOLL_WRITE;
        let task = &self.task;
        gup::abi::__get_user_pages(
            task,
            None,
            &mut lock,
            start.get(),
            pages,
            write,
            None,
            None,
            None,
        )
    }
}

/// A space with a range of pages that are all present, and writable.
pub(super) struct Present {
    pub(super) space: Space,
    pub(super) start: VirtAddr,
    pub(super) pages: u64,
    /// The frames, in the order of the pages.
    pub(super) frames: Vec<Pfn>,
}

impl Present {
    /// `pages` pages on a machine that has as many frames and some for tables.
    pub(super) fn new(linux: Linux, pages: u64) -> Result<Self, CannotBench> {
        Self::on(Space::new(linux, pages / MIB + pages / MIB / 256 + 8)?, pages)
    }
    /// `pages` pages in folios of 2 MiB that are mapped whole.
    pub(super) fn huge(pages: u64) -> Result<Self, CannotBench> {
        Self::on(Space::huge(pages / MIB + pages / MIB / 256 + 8)?, pages)
    }
    /// `pages` pages of `space`, faulted in.
    pub(super) fn on(space: Space, pages: u64) -> Result<Self, CannotBench> {
        let start = space.map(pages)?;
        space.touch(start, pages);
        let mut frames = Vec::new();
        for n in 0..pages {
            let addr = start.wrapping_add(n * PAGE_SIZE);
            frames.extend(space.mm.tables().walk(addr).frame(addr));
        }
        Ok(Self { space, start, pages, frames })
    }
    /// Calls `call` for every `each` pages in turn, with the address and an array of as many slots,
    /// `passes` times over: nanoseconds per page. `None` if a call obtains less.
    pub(super) fn calls(
        &self,
        each: u64,
        passes: u64,
        mut call: impl FnMut(VirtAddr, &mut [Option<Page>]) -> i64,
    ) -> Option<f64> {
        let mut out: Vec<_> = (0..each).map(|_| None).collect();
        let mut got = 0;
        let ns = timed(self.pages * passes, || {
            for _ in 0..passes {
                for n in 0..self.pages / each {
                    got += call(self.start.wrapping_add(n * each * PAGE_SIZE), &mut out);
                    black_box(&mut out);
                }
            }
        });
        (got.cast_unsigned() == self.pages * passes).then_some(ns)
    }
    /// Gives back `count` references to, or pins of, each page.
    pub(super) fn give_back(&self, held: Held, count: u64) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        for &pfn in &self.frames {
            match held {
                Held::Reference => self.space.machine.put_pages(pfn, count),
                Held::Pin => self.space.machine.unpin_pages(pfn, count),
            }
        }
    }
}

/// What a call obtains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// A reference.
    Reference,
    /// A pin.
    Pin,
}
