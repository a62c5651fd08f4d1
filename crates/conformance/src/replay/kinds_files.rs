//! The recorded kinds of files, and of memory that several processes share.

use super::kinds::{ALL, Made, RW};
use super::world::{Host, World};
use gup::addr::PAGE_SHIFT;
use gup::file::{File, FileKind};
use gup::flags::{MapFlags, Prot, VmFlags};
use gup::mapping::OpenMode;
use std::sync::Arc;

impl Made {
    /// A file of 4 pages, or 2, all cached.
    fn regular(&self, pages: u64) -> Arc<File<Host>> {
        let file = self.world.machine.new_file(FileKind::Regular, pages << PAGE_SHIFT, None);
        fill(&self.world, &file);
        file
    }

    pub(super) fn files(&mut self, name: &str) -> bool {
        let (ro, rw) = (OpenMode::READ, OpenMode::READ | OpenMode::WRITE);
        let (private, shared) = (MapFlags::PRIVATE, MapFlags::SHARED);
        let pages = if name.contains("eof") && name != "fpriv_eof_cowed" { 2 } else { 4 };
        let file = self.regular(pages);
        let (mode, prot, flags) = match name {
            "two_vmas" | "fpriv_ro" => (ro, Prot::READ, private),
            "text_rx" => (ro, Prot::READ | Prot::EXEC, private),
            "fpriv_rw" | "fpriv_rw_read" | "fpriv_rw_cowed" | "fpriv_ro_cowed" | "fpriv_eof"
            | "fpriv_eof_cowed" => (ro, RW, private),
            "fsh_rw" | "fsh_rw_read" | "fsh_rw_written" | "fsh_eof" => (rw, RW, shared),
            "fsh_ro_wfd" => (rw, Prot::READ, shared),
            "fsh_ro_rofd" => (ro, Prot::READ, shared),
            _ => return false,
        };
        if name == "two_vmas" {
            self.map(0, 2, RW);
            self.touch(&[0, 1], Some(1));
            self.file(2, 2, (&file, mode, prot, flags));
            return true;
        }
        self.file(0, 4, (&file, mode, prot, flags));
        match name {
            "fpriv_rw_read" | "fsh_rw_read" => self.touch(&ALL, None),
            "fpriv_rw_cowed" | "fpriv_ro_cowed" | "fpriv_eof_cowed" | "fsh_rw_written" => {
                self.touch(&ALL, Some(1));
            }
            _ => {}
        }
        match name {
            "fpriv_ro_cowed" => self.protect(0, 4, Prot::READ),
            "fpriv_eof_cowed" => file.truncate(&self.world.machine, 2 << PAGE_SHIFT),
            _ => {}
        }
        true
    }

    /// Shared memory, and files that live in memory only.
    pub(super) fn memfds(&mut self, name: &str) -> bool {
        let rw = OpenMode::READ | OpenMode::WRITE;
        let (private, shared) = (MapFlags::PRIVATE, MapFlags::SHARED);
        let of = |kind, pages: u64| self.world.machine.new_file(kind, pages << PAGE_SHIFT, None);
        let memfd = |pages| of(FileKind::Shmem, pages);
        match name {
            "shanon_fresh" | "memfd_hole" => self.file(0, 4, (&memfd(4), rw, RW, shared)),
            "memfd_hole_priv" => self.file(0, 4, (&memfd(4), rw, RW, private)),
            "shanon_written" | "shanon_ro" => {
                self.file(0, 4, (&memfd(4), rw, RW, shared));
                self.touch(&ALL, Some(1));
                if name == "shanon_ro" {
                    self.protect(0, 4, Prot::READ);
                }
            }
            "memfd_rw" | "memfd_eof" | "memfd_sealw_ro" => {
                let file = memfd(if name == "memfd_eof" { 2 } else { 4 });
                fill(&self.world, &file);
                let sealed = name == "memfd_sealw_ro";
                let mode = if sealed { rw | OpenMode::SEALED } else { rw };
                self.file(0, 4, (&file, mode, if sealed { Prot::READ } else { RW }, shared));
            }
            "secretmem" => {
                self.file(0, 4, (&of(FileKind::Secret, 4), rw, RW, shared));
                self.touch(&[0, 1], Some(1));
            }
            // The ring of asynchronous I/O is a file of its own, which hears of stores.
            "aio_ring" => {
                self.file(0, 4, (&self.regular(4), rw, RW, shared));
                self.mark(VmFlags::DONTEXPAND, VmFlags::empty());
            }
            _ => return false,
        }
        true
    }
}

/// Brings the whole file into its cache.
fn fill(world: &World, file: &File<Host>) {
    let bytes = vec![0x33; usize::try_from(file.size()).unwrap_or(0)];
    file.write_at(&world.machine, 0, &bytes).expect("memory for the file");
}
