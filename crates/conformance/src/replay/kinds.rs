//! The recorded memory kinds, made in the engine: a range on its own machine, by the recipes in
//! `vectors/linux-6.18/kernel-rows.md`.
//!
//! Linux: the system calls that the recipes name.

use super::operations::{access, advise};
use super::world::{Host, World, page};
use gup::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::userfault::{self, Protection};
use gup::file::{File, FileKind};
use gup::flags::{MapFlags, Prot, VmFlags};
use gup::frame::{AllocFlags, FrameFlags, Kind};
use gup::gup::fast::{FastEntry, fast};
use gup::host::Ticket;
use gup::mapping::{
    Advice, GrowProt, MlockFlags, MmapRequest, OpenMode, Source, insert_page, install_special,
    mlock2, mseal, sys,
};
use gup::mm::Mm;
use gup::pgtable::Entry;
use gup::vma::{Special, UserFault, UserFaultMessage};
use gup_hosted::Tickets;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A range of some kind.
pub(super) struct Made {
    pub(super) world: World,
    /// Whose range it is.
    pub(super) slot: usize,
    /// The forked relative, if there is one.
    pub(super) sibling: Option<usize>,
    pub(super) start: VirtAddr,
    pub(super) pages: u64,
}

/// Base pages of a huge page.
const HUGE: u64 = 512;
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// A range of the kind with this recorded name; `None` if the engine cannot make it here.
pub(super) fn make(name: &str) -> Option<Made> {
    let world = World::new();
    let mut made = Made { world, slot: 0, sibling: None, start: page(0), pages: 4 };
    let known = made.anonymous(name)
        || made.files(name)
        || made.forks(name)
        || made.huge(name)
        || made.others(name);
    known.then_some(made)
}

impl Made {
    fn mm(&self) -> Arc<Mm<Host>> {
        let process = self.world.slots[self.slot].as_ref();
        Arc::clone(&process.expect("the slot is in use").mm)
    }
    fn map(&self, first: u64, pages: u64, prot: Prot) {
        self.request(first, MmapRequest::anonymous(pages << PAGE_SHIFT, prot));
    }
    fn request(&self, first: u64, request: MmapRequest<Host>) {
        let process = self.world.slots[self.slot].as_ref().expect("the slot is in use");
        sys::mmap(&process.mm, &process.task, &request.at(page(first))).expect("room in the arena");
    }
    fn file(&self, first: u64, pages: u64, how: (&Arc<File<Host>>, OpenMode, Prot, MapFlags)) {
        let (file, mode, prot, flags) = how;
        let source = Source::File { file: Arc::clone(file), mode, offset: 0 };
        let bytes = pages << PAGE_SHIFT;
        self.request(first, MmapRequest { addr: page(first), bytes, prot, flags, source });
    }
    fn touch(&self, pages: &[u64], store: Option<u8>) {
        let process = self.world.slots[self.slot].as_ref().expect("the slot is in use");
        for n in pages {
            let _ = access(process, page(*n), store);
        }
        process.task.min_flt.store(0, std::sync::atomic::Ordering::Relaxed);
        process.task.maj_flt.store(0, std::sync::atomic::Ordering::Relaxed);
    }
    fn written(&self) {
        self.map(0, 4, RW);
        self.touch(&[0, 1, 2, 3], Some(1));
    }
    fn protect(&self, first: u64, pages: u64, prot: Prot) {
        let process = self.world.slots[self.slot].as_ref().expect("the slot is in use");
        let (mm, task) = (&process.mm, &process.task);
        sys::mprotect(mm, task, page(first), pages << PAGE_SHIFT, prot, GrowProt::Exact)
            .expect("areas there");
    }
    fn advise(&self, first: u64, pages: u64, advice: Advice) {
        let process = self.world.slots[self.slot].as_ref().expect("the slot is in use");
        advise(process, page(first), pages << PAGE_SHIFT, advice).expect("areas there");
    }

    fn anonymous(&mut self, name: &str) -> bool {
        match name {
            "anon_rw_fresh" => self.map(0, 4, RW),
            "anon_rw_written" => self.written(),
            "anon_rw_zero" => {
                self.map(0, 4, RW);
                self.touch(&[0, 1, 2, 3], None);
            }
            "anon_ro_fresh" => self.map(0, 4, Prot::READ),
            "anon_none_written" | "anon_xo_written" | "mseal_ro" => {
                self.written();
                let prot = match name {
                    "anon_none_written" => Prot::NONE,
                    "anon_xo_written" => Prot::EXEC,
                    _ => Prot::READ,
                };
                self.protect(0, 4, prot);
                if name == "mseal_ro" {
                    mseal(&mut self.mm().write(), page(0), 4 << PAGE_SHIFT).expect("areas there");
                }
            }
            "hole" => {
                self.written();
                sys::munmap(&self.mm(), page(2), 1 << PAGE_SHIFT).expect("an area there");
            }
            "mid_none" | "mid_ro" => {
                self.written();
                self.protect(2, 1, if name == "mid_ro" { Prot::READ } else { Prot::NONE });
            }
            "growsdown" => {
                let request = MmapRequest::anonymous(1 << PAGE_SHIFT, RW);
                self.request(4, request.with(MapFlags::GROWSDOWN));
                self.touch(&[4], Some(1));
            }
            "guard" => {
                self.written();
                self.advise(2, 1, Advice::GuardInstall);
            }
            "mlock_onfault" => {
                self.map(0, 4, RW);
                let process = self.world.slots[0].as_ref().expect("the slot is in use");
                let bytes = 4 << PAGE_SHIFT;
                mlock2(&process.mm, &process.task, page(0), bytes, MlockFlags::ONFAULT)
                    .expect("no limit");
            }
            _ => return false,
        }
        true
    }

    /// A file of 4 pages, or 2, all cached.
    fn regular(&self, pages: u64) -> Arc<File<Host>> {
        let file = self.world.machine.new_file(FileKind::Regular, pages << PAGE_SHIFT, None);
        fill(&self.world, &file);
        file
    }

    fn files(&mut self, name: &str) -> bool {
        let (ro, rw) = (OpenMode::READ, OpenMode::READ | OpenMode::WRITE);
        let (private, shared) = (MapFlags::PRIVATE, MapFlags::SHARED);
        let memfd = || {
            let machine = &self.world.machine;
            machine.new_file(FileKind::Shmem, 4 << PAGE_SHIFT, None)
        };
        match name {
            "two_vmas" => {
                self.map(0, 2, RW);
                self.touch(&[0, 1], Some(1));
                self.file(2, 2, (&self.regular(4), ro, Prot::READ, private));
            }
            "shanon_fresh" => self.file(0, 4, (&memfd(), rw, RW, shared)),
            "shanon_ro" => {
                self.file(0, 4, (&memfd(), rw, RW, shared));
                self.touch(&[0, 1, 2, 3], Some(1));
                self.protect(0, 4, Prot::READ);
            }
            "fpriv_ro" => self.file(0, 4, (&self.regular(4), ro, Prot::READ, private)),
            "fpriv_rw" => self.file(0, 4, (&self.regular(4), ro, RW, private)),
            "fpriv_rw_cowed" => {
                self.file(0, 4, (&self.regular(4), ro, RW, private));
                self.touch(&[0, 1, 2, 3], Some(1));
            }
            "fpriv_eof" => self.file(0, 4, (&self.regular(2), ro, RW, private)),
            "fsh_rw" => self.file(0, 4, (&self.regular(4), rw, RW, shared)),
            "fsh_rw_written" => {
                self.file(0, 4, (&self.regular(4), rw, RW, shared));
                self.touch(&[0, 1, 2, 3], Some(1));
            }
            "fsh_ro_rofd" => self.file(0, 4, (&self.regular(4), ro, Prot::READ, shared)),
            "memfd_rw" | "memfd_sealw_ro" => {
                let file = memfd();
                fill(&self.world, &file);
                let sealed = name == "memfd_sealw_ro";
                let mode = if sealed { rw | OpenMode::SEALED } else { rw };
                self.file(0, 4, (&file, mode, if sealed { Prot::READ } else { RW }, shared));
            }
            "secretmem" => {
                let size = 4 << PAGE_SHIFT;
                let file = self.world.machine.new_file(FileKind::Secret, size, None);
                self.file(0, 4, (&file, rw, RW, shared));
                self.touch(&[0, 1], Some(1));
            }
            _ => return false,
        }
        true
    }

    fn forks(&mut self, name: &str) -> bool {
        match name {
            "fork_parent" | "fork_child" | "fork_exited" => {
                self.written();
                self.world.fork(0, 1).expect("memory for a child");
                match name {
                    "fork_parent" => self.sibling = Some(1),
                    "fork_exited" => self.world.slots[1] = None,
                    _ => (self.slot, self.sibling) = (1, Some(0)),
                }
            }
            "fork_pinned" => {
                self.written();
                self.pin();
                self.world.fork(0, 1).expect("memory for a child");
                self.sibling = Some(1);
            }
            "swapped" | "swapped_none" => {
                self.written();
                self.advise(0, 4, Advice::PageOut);
                if name == "swapped_none" {
                    self.protect(0, 4, Prot::NONE);
                }
            }
            _ => return false,
        }
        true
    }

    fn huge(&mut self, name: &str) -> bool {
        match name {
            "thp_written" | "thp_zero" | "thp_fork" => {
                self.map(0, HUGE, RW);
                self.advise(0, HUGE, Advice::HugePage);
                self.touch(&[0], (name != "thp_zero").then_some(1));
            }
            "htlb_fresh" | "htlb_ro" | "htlb_fork" => {
                self.world.machine.resize_hugetlb(9, 4);
                let request = MmapRequest::anonymous((2 * HUGE) << PAGE_SHIFT, RW);
                self.request(0, request.with(MapFlags::HUGETLB));
                if name != "htlb_fresh" {
                    self.touch(&[0], Some(1));
                }
            }
            _ => return false,
        }
        if name == "htlb_ro" {
            self.protect(0, 2 * HUGE, Prot::READ);
        }
        if name.ends_with("_fork") {
            self.world.fork(0, 1).expect("memory for a child");
            self.sibling = Some(1);
        }
        true
    }

    /// As a registered buffer does.
    fn pin(&mut self) {
        let process = self.world.slots[0].as_mut().expect("the slot is in use");
        let mut pages: [Option<gup::gup::Page>; 4] = Default::default();
        let foll = gup::flags::Foll::WRITE | gup::flags::Foll::LONGTERM;
        let (mm, task) = (&process.mm, &process.task);
        let outcome = fast(FastEntry::Pin, task, mm, page(0), 4, foll, &mut pages);
        assert_eq!(outcome.got, 4, "writable memory can be pinned");
        process.ring = Some(pages.iter().flatten().map(gup::gup::Page::pfn).collect());
    }

    fn others(&mut self, name: &str) -> bool {
        match name {
            "uffd_miss_sigbus" | "uffd_miss_handled" => {
                self.map(0, 4, RW);
                self.touch(&[0, 2], Some(1));
                let sigbus = name == "uffd_miss_sigbus";
                self.register(VmFlags::UFFD_MISSING, sigbus, false);
            }
            "uffd_wp_async" => {
                self.written();
                self.register(VmFlags::UFFD_WP, false, true);
                let range = VirtRange::new(page(0), page(4));
                userfault::write_protect(&self.mm().read(), range, Protection::On)
                    .expect("a registered area");
            }
            "ksm" => self.merge(),
            "vdso" => self.special(2, VmFlags::READ | VmFlags::EXEC, MAY, "[vdso]"),
            "vvar" => {
                let flags = VmFlags::READ | VmFlags::IO | VmFlags::PFNMAP | VmFlags::DONTDUMP;
                self.special(0, flags, VmFlags::MAYREAD, "[vvar]");
            }
            "perf_mmap" => {
                let flags = VmFlags::READ | VmFlags::WRITE | VmFlags::SHARED;
                let may = MAY | VmFlags::MAYSHARE | VmFlags::IO | VmFlags::PFNMAP;
                self.special(0, flags | VmFlags::DONTCOPY, may, "anon_inode:[perf_event]");
                self.pages = 3;
            }
            "packet_ring" => self.ring(),
            "vsyscall" => {
                (self.start, self.pages) = (gup::mm::Machine::<Host>::gate_address(), 1);
            }
            "noncanon" => (self.start, self.pages) = (VirtAddr::new(1 << 47), 1),
            _ => return false,
        }
        true
    }

    fn register(&self, mode: VmFlags, sigbus: bool, wp_async: bool) {
        let mm = self.mm();
        let tickets = Arc::clone(self.world.machine.host().tickets());
        let context =
            Context { sigbus, wp_async, mm: Arc::downgrade(&mm), tickets, told: Mutex::default() };
        let mut lock = mm.write();
        let vma = lock.lookup_mut(page(0)).expect("an area there");
        vma.flags |= mode;
        vma.uffd = Some(Arc::new(context));
    }

    /// Four entries of one page, as KSM leaves them.
    fn merge(&self) {
        self.written();
        let (mm, frames) = (self.mm(), self.world.machine.frames());
        let tables = mm.tables();
        let first = tables.walk(page(0)).entry;
        let merged = first.map_perms(0, |perms| perms.write = false);
        frames.set(first.pfn(), FrameFlags::KSM);
        frames.clear(first.pfn(), FrameFlags::ANON_EXCLUSIVE);
        for n in 0..4 {
            let place = tables.walk(page(n)).place;
            let _guard = tables.lock(place.table);
            let old: Entry<<Host as gup::host::Host>::Format> = tables.swap(place, merged);
            if n > 0 {
                frames.get(first.pfn(), 1).expect("few references");
                frames.map(first.pfn());
                frames.unmap(old.pfn());
                self.world.machine.put_page(old.pfn());
            }
        }
    }

    fn special(&mut self, pages: u64, flags: VmFlags, may: VmFlags, name: &'static str) {
        let frames: Vec<Pfn> = (0..pages).map(|_| self.frame()).collect();
        let special = Special { name, pages: frames, find_special: Vec::new(), access: None };
        self.pages = 2;
        let count = if name.starts_with("anon_inode") { 3 } else { 2 };
        let range = VirtRange::new(page(0), page(count));
        install_special(&mut self.mm().write(), range, flags | may, Arc::new(special))
            .expect("room in the arena");
    }

    /// A frame of the system's own.
    fn frame(&self) -> Pfn {
        self.folio(0)
    }
    /// A folio of `1 << order` frames of the system's own.
    fn folio(&self, order: u8) -> Pfn {
        let (frames, host) = (self.world.machine.frames(), self.world.machine.host());
        frames.alloc(host, order, Kind::Special, AllocFlags::empty()).expect("memory")
    }

    /// One block of four pages, which a driver mapped page by page.
    fn ring(&mut self) {
        self.special(0, RWS, MAY | VmFlags::MAYSHARE, "socket:[packet]");
        let mm = self.mm();
        sys::munmap(&mm, page(0), 2 << PAGE_SHIFT).expect("an area there");
        let special = Special {
            name: "socket:[packet]",
            pages: Vec::new(),
            find_special: Vec::new(),
            access: None,
        };
        let range = VirtRange::new(page(0), page(4));
        let flags = RWS | MAY | VmFlags::MAYSHARE | VmFlags::MIXEDMAP;
        let mut lock = mm.write();
        install_special(&mut lock, range, flags, Arc::new(special)).expect("room in the arena");
        let block = self.folio(2);
        for n in 0..4 {
            insert_page(&mut lock, page(n), block.offset(n)).expect("an empty entry");
        }
        self.pages = 4;
    }
}

const MAY: VmFlags = VmFlags::MAYREAD.union(VmFlags::MAYWRITE).union(VmFlags::MAYEXEC);
const RWS: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::SHARED);

/// Brings the whole file into its cache.
fn fill(world: &World, file: &File<Host>) {
    let bytes = vec![0x33; usize::try_from(file.size()).unwrap_or(0)];
    file.write_at(&world.machine, 0, &bytes).expect("memory for the file");
}

/// A userfaultfd whose handler answers every missing page with the zero page.
struct Context {
    sigbus: bool,
    wp_async: bool,
    mm: Weak<Mm<Host>>,
    tickets: Arc<Tickets>,
    told: Mutex<Vec<std::thread::JoinHandle<Result<(), Errno>>>>,
}

impl UserFault for Context {
    fn sigbus(&self) -> bool {
        self.sigbus
    }
    fn wp_async(&self) -> bool {
        self.wp_async
    }
    fn deliver(&self, message: UserFaultMessage) -> Ticket {
        let ticket = self.tickets.issue();
        let (mm, tickets) = (self.mm.clone(), Arc::clone(&self.tickets));
        let handler = std::thread::spawn(move || {
            let Some(mm) = mm.upgrade() else { return Err(Errno::ENOENT) };
            let result = userfault::zeropage(&mm.read(), message.addr);
            drop(mm);
            tickets.complete(ticket);
            result
        });
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(handler);
        ticket
    }
}
