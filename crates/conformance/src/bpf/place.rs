//! Where the kernel has its frames and its memory: found from the calling task, since both are at
//! random addresses.
//!
//! *Frames*: `vmemmap`, the array of `struct page`. A file of one page, our own, has its folio's
//! address in its page cache, and `/proc/self/pagemap` has the folio's number. *Memory*: where
//! physical address 0 would be mapped. It is a multiple of 1 GiB from which the table of this
//! process lies as far as its frame says, the frame that names our `mm_struct` as its owner.
//! Linux: `include/asm-generic/memory_model.h`, `arch/x86/mm/kaslr.c`, `arch/x86/mm/pgtable.c`.

use super::btf::Btf;
use super::calls::KernelWords;
use crate::sys::PAGE;
use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Where what is read lies in the structures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    task_files: u64,
    files_fdt: u64,
    fdt_fd: u64,
    file_first_page: [u64; 2],
    file_private: u64,
    mm_pgd: u64,
    ptdesc_mm: u64,
    pub(super) page_size: u64,
    pub(super) page_head: u64,
    pub(super) page_mapcount: u64,
    pub(super) page_refcount: u64,
    pub(super) folio_pincount: u64,
    pub(super) folio_entire: u64,
    pub(super) folio_mapcount: u64,
}

impl Fields {
    pub(super) fn new(btf: &Btf) -> Result<Self, String> {
        Ok(Self {
            task_files: btf.offset("task_struct", "files")?,
            files_fdt: btf.offset("files_struct", "fdt")?,
            fdt_fd: btf.offset("fdtable", "fd")?,
            file_first_page: [
                btf.offset("file", "f_mapping")?,
                btf.offset("address_space", "i_pages.xa_head")?,
            ],
            file_private: btf.offset("file", "private_data")?,
            mm_pgd: btf.offset("mm_struct", "pgd")?,
            ptdesc_mm: btf.offset("ptdesc", "pt_mm")?,
            page_size: btf.size("page")?,
            page_head: btf.offset("page", "compound_head")?,
            page_mapcount: btf.offset("page", "_mapcount")?,
            page_refcount: btf.offset("page", "_refcount")?,
            folio_pincount: btf.offset("folio", "_pincount")?,
            folio_entire: btf.offset("folio", "_entire_mapcount")?,
            folio_mapcount: btf.offset("folio", "_large_mapcount")?,
        })
    }
}

/// Where the array of frames and the memory begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) fields: Fields,
    /// The first `struct page`.
    pub(super) frames: u64,
    /// Where physical address 0 would be.
    pub(super) memory: u64,
}

fn said(what: &'static str) -> impl Fn(Errno) -> String {
    move |errno| format!("{what}: {errno}")
}

impl Place {
    pub(super) fn find(kernel: &KernelWords, fields: Fields) -> Result<Self, String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let pagemap = rustix::fs::open("/proc/self/pagemap", flags, Mode::empty());
        let pagemap = pagemap.map_err(said("/proc/self/pagemap"))?;
        let found = Self { fields, frames: 0, memory: 0 };
        let frames = found.first_frame(kernel, &pagemap)?;
        let found = Self { frames, ..found };
        let mm = found.mm_of(kernel, &pagemap).map_err(said("the address space"))?;
        let memory = found.first_byte(kernel, mm).map_err(said("page tables"))?;
        let memory = memory.ok_or("where memory is mapped was not found")?;
        Ok(Self { memory, ..found })
    }
    /// The kernel's `struct file` behind a descriptor of this process.
    fn file(&self, kernel: &KernelWords, fd: impl AsFd) -> Result<u64, Errno> {
        let Fields { task_files, files_fdt, fdt_fd, .. } = self.fields;
        let files = kernel.at(kernel.task()? + task_files)?;
        let table = kernel.at(kernel.at(files + files_fdt)? + fdt_fd)?;
        kernel.at(table + 8 * u64::from(fd.as_fd().as_raw_fd().unsigned_abs()))
    }
    /// The `mm_struct` that an open `/proc/PID/pagemap` shows.
    fn mm_of(&self, kernel: &KernelWords, pagemap: impl AsFd) -> Result<u64, Errno> {
        kernel.at(self.file(kernel, pagemap)? + self.fields.file_private)
    }
    /// The highest page table that an open `/proc/PID/pagemap` shows, as the kernel sees it.
    pub(super) fn root_of(&self, kernel: &KernelWords, pagemap: impl AsFd) -> Result<u64, Errno> {
        kernel.at(self.mm_of(kernel, pagemap)? + self.fields.mm_pgd)
    }
    fn first_frame(&self, kernel: &KernelWords, pagemap: impl AsFd) -> Result<u64, String> {
        let memfd = rustix::fs::memfd_create("gup", MemfdFlags::CLOEXEC).map_err(said("memfd"))?;
        rustix::io::write(&memfd, &[1]).map_err(said("memfd"))?;
        let (read, shared) = (ProtFlags::READ, MapFlags::SHARED | MapFlags::POPULATE);
        let size = PAGE as usize;
        // SAFETY: a new mapping where the kernel chooses.
        let at = unsafe { mmap(std::ptr::null_mut(), size, read, shared, &memfd, 0) };
        let at = at.map_err(said("memfd"))?;
        let mut word = [0; 8];
        let place = at.addr() as u64 / PAGE * 8;
        let read = rustix::io::pread(pagemap, &mut word, place);
        // SAFETY: our own mapping, to which no reference was made.
        let _ = unsafe { munmap(at, size) };
        read.map_err(said("/proc/self/pagemap"))?;
        let pfn = u64::from_ne_bytes(word) & ((1 << 55) - 1);
        if pfn == 0 {
            return Err("frame numbers cannot be seen: CAP_SYS_ADMIN is needed".to_owned());
        }
        let [mapping, first] = self.fields.file_first_page;
        let folio = self
            .file(kernel, &memfd)
            .and_then(|file| kernel.at(kernel.at(file + mapping)? + first))
            .map_err(said("the page cache"))?;
        if folio >> 63 == 0 || folio & 3 != 0 {
            return Err("the page cache of one page is not understood".to_owned());
        }
        Ok(folio.wrapping_sub(pfn.wrapping_mul(self.fields.page_size)))
    }
    fn first_byte(&self, kernel: &KernelWords, mm: u64) -> Result<Option<u64>, Errno> {
        const STEP: u64 = 1 << 30;
        /// 4 TiB.
        const STEPS: u64 = 4096;
        let table = kernel.at(mm + self.fields.mm_pgd)?;
        let physical = |n: u64| table % STEP + n * STEP;
        let owner = |n: u64| self.frame(physical(n) / PAGE) + self.fields.ptdesc_mm;
        let owners = kernel.read(&(0..STEPS).map(owner).collect::<Vec<u64>>())?;
        let found = (0..).zip(owners).find(|(_, owner)| *owner == mm);
        Ok(found.map(|(n, _)| table.wrapping_sub(physical(n))))
    }
    /// Where the `struct page` of frame `pfn` is.
    pub(super) fn frame(&self, pfn: u64) -> u64 {
        self.frames.wrapping_add(pfn.wrapping_mul(self.fields.page_size))
    }
}
