//! The machine that is measured: mapped memory, faulted in beforehand, and one address space on it.

use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::flags::Prot;
use gup::frame::OutOfMemory;
use gup::linux::Linux;
use gup::mapping::{MmapRequest, mmap};
use gup::mm::{Machine, MachineConfig, Mm};
use gup::task::Task;
use gup_hosted::Std;
use std::sync::Arc;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum CannotBench {
    /// The arena could not be mapped or faulted in.
    #[error("cannot map {0} MiB of memory to measure on: {1}; free some memory and try again")]
    Memory(u64, std::io::Error),
    /// The engine ran out of frames.
    #[error("the engine has no frame left: {0}")]
    Frames(#[from] OutOfMemory),
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
        let frames = mib << 8;
        let no_memory = |error| CannotBench::Memory(mib, error);
        let host = Std::anonymous(frames).map_err(no_memory)?;
        gup::host::Host::memory(&host).prefault(Pfn::new(0), frames).map_err(no_memory)?;
        let machine = Machine::new(host, MachineConfig::new(linux, frames))?;
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
