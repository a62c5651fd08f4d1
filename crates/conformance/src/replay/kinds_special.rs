//! The recorded kinds that no mmap of memory or of a file makes: watched, merged, or a driver's.

use super::kinds::{Made, RW};
use super::world::{Host, page};
use gup::addr::{Pfn, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::userfault::{self, Protection};
use gup::flags::VmFlags;
use gup::frame::{AllocFlags, FrameFlags, Kind};
use gup::host::Ticket;
use gup::mapping::{insert_page, install_special};
use gup::mm::{Machine, Mm};
use gup::pgtable::Entry;
use gup::vma::{Special, UserFault, UserFaultMessage};
use gup_hosted::Tickets;
use std::sync::{Arc, Mutex, PoisonError, Weak};

const MAY: VmFlags = VmFlags::MAYREAD.union(VmFlags::MAYWRITE).union(VmFlags::MAYEXEC);
const SHARED_RW: VmFlags =
    VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::SHARED).union(VmFlags::MAYSHARE).union(MAY);

impl Made {
    pub(super) fn userfaults(&mut self, name: &str) -> bool {
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
                self.write_protect(0, 4);
            }
            "uffd_wp_sigbus" => {
                self.written();
                self.register(VmFlags::UFFD_WP, true, false);
                self.write_protect(1, 2);
            }
            "uffd_minor_sigbus" => {
                self.memfds("memfd_rw");
                self.register(VmFlags::UFFD_MINOR, true, false);
            }
            _ => return false,
        }
        true
    }

    fn write_protect(&self, first: u64, end: u64) {
        let range = VirtRange::new(page(first), page(end));
        userfault::write_protect(&self.mm().read(), range, Protection::On)
            .expect("a registered area");
    }

    pub(super) fn special(&mut self, name: &str) -> bool {
        let one = |start| (VirtAddr::new(start), 1);
        match name {
            "ksm" => self.merge(),
            "vdso" => self.install(2, 2, VmFlags::READ | VmFlags::EXEC | MAY, "[vdso]"),
            "vvar" => {
                let flags = VmFlags::READ | VmFlags::IO | VmFlags::PFNMAP | VmFlags::DONTDUMP;
                self.install(0, 2, flags | VmFlags::MAYREAD, "[vvar]");
            }
            "perf_mmap" => {
                let more = VmFlags::IO | VmFlags::PFNMAP | VmFlags::DONTCOPY;
                self.install(0, 3, SHARED_RW | more, "anon_inode:[perf_event]");
            }
            "kvm_run" => {
                self.install(3, 3, SHARED_RW, "anon_inode:kvm-vcpu:0");
                self.mark(VmFlags::empty(), VmFlags::DONTEXPAND);
            }
            "packet_ring" => self.ring("socket:[packet]"),
            "iouring_ring" => self.ring("anon_inode:[io_uring]"),
            "vsyscall" => (self.start, self.pages) = (Machine::<Host>::gate_address(), 1),
            "nullpage" => (self.start, self.pages) = one(0),
            "noncanon" => (self.start, self.pages) = one(1 << 47),
            "kernaddr" => (self.start, self.pages) = one(0xffff_8880_0000_0000),
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
                frames.map(first.pfn(), mm.mapper());
                frames.unmap(old.pfn(), mm.mapper());
                self.world.machine.put_page(old.pfn());
            }
        }
    }

    /// Flags that the area's driver sets, and does not set.
    pub(super) fn mark(&self, set: VmFlags, not: VmFlags) {
        let mm = self.mm();
        let mut lock = mm.write();
        let vma = lock.lookup_mut(page(0)).expect("an area there");
        vma.flags = (vma.flags - not) | set;
    }

    /// An area of `pages` pages, the first `frames` of which a fault finds.
    fn install(&mut self, frames: u64, pages: u64, flags: VmFlags, name: &'static str) {
        let frames: Vec<Pfn> = (0..frames).map(|_| self.folio(0)).collect();
        let special = Special { name, pages: frames, find_special: Vec::new(), access: None };
        self.pages = pages;
        let range = VirtRange::new(page(0), page(pages));
        install_special(&mut self.mm().write(), range, flags, Arc::new(special))
            .expect("room in the arena");
    }

    /// A folio of `1 << order` frames of the system's own.
    fn folio(&self, order: u8) -> Pfn {
        let (frames, host) = (self.world.machine.frames(), self.world.machine.host());
        frames.alloc(host, order, Kind::Special, AllocFlags::empty()).expect("memory")
    }

    /// One block of four pages, which a driver mapped page by page.
    fn ring(&mut self, name: &'static str) {
        self.install(0, 4, SHARED_RW | VmFlags::MIXEDMAP, name);
        let block = self.folio(2);
        let (mm, pages) = (self.mm(), self.pages);
        let mut lock = mm.write();
        for n in 0..pages {
            insert_page(&mut lock, page(n), block.offset(n)).expect("an empty entry");
        }
    }
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
