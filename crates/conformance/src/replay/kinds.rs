//! The recorded memory kinds, made in the engine: a range on its own machine, by the recipes in
//! `vectors/linux-6.18/kernel-rows.md`.
//!
//! Here: private memory, with and without a fork, in swap, and huge. Files and special memory have
//! files of their own. Linux: the system calls that the recipes name.

use super::operations::{access, advise};
use super::world::{Host, Process, World, page};
use gup::addr::{PAGE_SHIFT, VirtAddr};
use gup::file::File;
use gup::flags::{MapFlags, Prot};
use gup::gup::fast::{FastEntry, fast};
use gup::mapping::{
    Advice, GrowProt, MlockFlags, MmapRequest, OpenMode, Source, mlock2, mseal, sys,
};
use gup::mm::Mm;
use std::sync::Arc;

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
pub(super) const RW: Prot = Prot::READ.union(Prot::WRITE);

/// A range of the kind with this recorded name; `None` if the engine cannot make it here. Of a kind
/// whose recipe leaves open which side of a fork is asked, the recorded state says it: `before`.
pub(super) fn make(name: &str, before: &str) -> Option<Made> {
    let world = World::new();
    let mut made = Made { world, slot: 0, sibling: None, start: page(0), pages: 4 };
    let known = made.anonymous(name)
        || made.advised(name)
        || made.files(name)
        || made.memfds(name)
        || made.forks(name, before)
        || made.swapped(name)
        || made.thp(name)
        || made.hugetlb(name)
        || made.userfaults(name)
        || made.special(name);
    known.then_some(made)
}

/// Whose range is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Parent,
    Child,
}

pub(super) const ALL: [u64; 4] = [0, 1, 2, 3];

impl Made {
    pub(super) fn mm(&self) -> Arc<Mm<Host>> {
        Arc::clone(&self.process().mm)
    }
    pub(super) fn process(&self) -> &Process {
        self.world.slots[self.slot].as_ref().expect("the slot is in use")
    }
    /// Everything from page `first` of the arena on.
    fn cut(&self, first: u64, pages: u64) {
        sys::munmap(&self.mm(), page(first), pages << PAGE_SHIFT).expect("an area there");
    }
    fn lock(&self, flags: MlockFlags) {
        let Process { mm, task, .. } = self.process();
        mlock2(mm, task, page(0), 4 << PAGE_SHIFT, flags).expect("no limit");
    }
    /// Forks; the other side is asked of as the relative.
    fn fork(&mut self, asked: Side) {
        self.world.fork(0, 1).expect("memory for a child");
        (self.slot, self.sibling) = match asked {
            Side::Parent => (0, Some(1)),
            Side::Child => (1, Some(0)),
        };
    }
    pub(super) fn map(&self, first: u64, pages: u64, prot: Prot) {
        self.request(first, MmapRequest::anonymous(pages << PAGE_SHIFT, prot));
    }
    pub(super) fn request(&self, first: u64, request: MmapRequest<Host>) {
        let process = self.process();
        sys::mmap(&process.mm, &process.task, &request.at(page(first))).expect("room in the arena");
    }
    pub(super) fn file(
        &self,
        first: u64,
        pages: u64,
        how: (&Arc<File<Host>>, OpenMode, Prot, MapFlags),
    ) {
        let (file, mode, prot, flags) = how;
        let source = Source::File { file: Arc::clone(file), mode, offset: 0 };
        let bytes = pages << PAGE_SHIFT;
        self.request(first, MmapRequest { addr: page(first), bytes, prot, flags, source });
    }
    pub(super) fn touch(&self, pages: &[u64], store: Option<u8>) {
        let process = self.process();
        for n in pages {
            let _ = access(process, page(*n), store);
        }
        process.task.min_flt.store(0, std::sync::atomic::Ordering::Relaxed);
        process.task.maj_flt.store(0, std::sync::atomic::Ordering::Relaxed);
    }
    pub(super) fn written(&self) {
        self.map(0, 4, RW);
        self.touch(&ALL, Some(1));
    }
    pub(super) fn protect(&self, first: u64, pages: u64, prot: Prot) {
        let process = self.process();
        let (mm, task) = (&process.mm, &process.task);
        sys::mprotect(mm, task, page(first), pages << PAGE_SHIFT, prot, GrowProt::Exact)
            .expect("areas there");
    }
    pub(super) fn advise(&self, first: u64, pages: u64, advice: Advice) {
        let process = self.process();
        advise(process, page(first), pages << PAGE_SHIFT, advice).expect("areas there");
    }

    fn anonymous(&mut self, name: &str) -> bool {
        match name {
            "anon_rw_fresh" | "devzero_priv" => self.map(0, 4, RW),
            "anon_rw_written" => self.written(),
            "anon_rw_zero" => self.read(),
            "anon_rw_odd" => {
                self.map(0, 4, RW);
                self.touch(&[0, 2], Some(1));
            }
            "anon_ro_fresh" => self.map(0, 4, Prot::READ),
            "anon_none_fresh" => self.map(0, 4, Prot::NONE),
            "anon_wo_fresh" => self.map(0, 4, Prot::WRITE),
            "anon_xo_fresh" => self.map(0, 4, Prot::EXEC),
            "anon_ro_written" => self.written_then(Prot::READ),
            "anon_none_written" => self.written_then(Prot::NONE),
            "anon_xo_written" => self.written_then(Prot::EXEC),
            "anon_none_zero" => {
                self.read();
                self.protect(0, 4, Prot::NONE);
            }
            "hole" | "hole_first" => {
                self.written();
                self.cut(if name == "hole" { 2 } else { 0 }, 1);
            }
            "mid_none" | "mid_ro" => {
                self.written();
                self.protect(2, 1, if name == "mid_ro" { Prot::READ } else { Prot::NONE });
            }
            "mid_ro_fresh" => {
                self.map(0, 4, RW);
                self.protect(2, 1, Prot::READ);
            }
            "growsdown" => self.grows_down(4),
            "growsdown_span" => self.grows_down(2),
            _ => return false,
        }
        true
    }

    /// Anonymous memory after calls that say something about it.
    fn advised(&mut self, name: &str) -> bool {
        match name {
            "mseal_ro" => {
                self.written_then(Prot::READ);
                mseal(&mut self.mm().write(), page(0), 4 << PAGE_SHIFT).expect("areas there");
            }
            "guard" => {
                self.written();
                self.advise(2, 1, Advice::GuardInstall);
            }
            "madvfree" => {
                self.written();
                self.advise(0, 4, Advice::Free);
            }
            "droppable" => {
                let flags = MapFlags::DROPPABLE | MapFlags::ANONYMOUS;
                let request = MmapRequest::anonymous(4 << PAGE_SHIFT, RW);
                self.request(0, MmapRequest { flags, ..request });
                self.touch(&ALL, Some(1));
            }
            "mlocked" | "mlock_onfault" => {
                self.map(0, 4, RW);
                let late = name == "mlock_onfault";
                self.lock(if late { MlockFlags::ONFAULT } else { MlockFlags::empty() });
            }
            _ => return false,
        }
        true
    }

    fn read(&self) {
        self.map(0, 4, RW);
        self.touch(&ALL, None);
    }

    fn written_then(&self, prot: Prot) {
        self.written();
        self.protect(0, 4, prot);
    }

    /// A page that was stored to and grows down.
    fn grows_down(&self, at: u64) {
        let request = MmapRequest::anonymous(1 << PAGE_SHIFT, RW);
        self.request(at, request.with(MapFlags::GROWSDOWN));
        self.touch(&[at], Some(1));
    }

    fn forks(&mut self, name: &str, before: &str) -> bool {
        let untouched = before.split(' ').all(|token| token == "-");
        let side = if untouched { Side::Child } else { Side::Parent };
        match name {
            "fork_parent" | "fork_parent_ro" => {
                self.written();
                self.fork(Side::Parent);
                if name == "fork_parent_ro" {
                    self.protect(0, 4, Prot::READ);
                }
            }
            "fork_exited" => {
                self.written();
                self.fork(Side::Parent);
                (self.world.slots[1], self.sibling) = (None, None);
            }
            "fork_child" | "fork_child_wrote1" => {
                self.written();
                self.fork(Side::Child);
                if name == "fork_child_wrote1" {
                    self.touch(&[1], Some(2));
                }
            }
            "fork_pinned" => {
                self.written();
                self.pin();
                self.fork(Side::Parent);
            }
            "fork_zero" => {
                self.read();
                self.fork(side);
            }
            "fork_fpriv_read" => {
                self.files("fpriv_rw_read");
                self.fork(side);
            }
            "shanon_fork" => {
                self.memfds("shanon_written");
                self.fork(Side::Parent);
            }
            _ => return false,
        }
        true
    }

    fn swapped(&mut self, name: &str) -> bool {
        match name {
            "swapped" | "swapped_ro" | "swapped_none" | "swapped_fork" => {
                self.written();
                self.advise(0, 4, Advice::PageOut);
            }
            "thp_swapped" => {
                self.thp("thp_written");
                self.touch(&ALL, Some(1));
                self.advise(0, HUGE, Advice::PageOut);
            }
            _ => return false,
        }
        match name {
            "swapped_ro" => self.protect(0, 4, Prot::READ),
            "swapped_none" => self.protect(0, 4, Prot::NONE),
            "swapped_fork" => self.fork(Side::Parent),
            _ => {}
        }
        true
    }

    fn thp(&mut self, name: &str) -> bool {
        let touched = match name {
            "thp_written" | "thp_fork" | "thp_midro" | "thp_ro" => Some(Some(1)),
            "thp_zero" => Some(None),
            "thp_fresh" => None,
            _ => return false,
        };
        self.map(0, HUGE, RW);
        self.advise(0, HUGE, Advice::HugePage);
        if let Some(store) = touched {
            self.touch(&[0], store);
        }
        match name {
            "thp_fork" => self.fork(Side::Parent),
            "thp_midro" => self.protect(2, 1, Prot::READ),
            "thp_ro" => self.protect(0, HUGE, Prot::READ),
            _ => {}
        }
        true
    }

    /// Two huge pages, of which the first is stored to unless the kind is a fresh one.
    fn hugetlb(&mut self, name: &str) -> bool {
        let bytes = (2 * HUGE) << PAGE_SHIFT;
        let request = match name {
            "htlb_fresh" | "htlb_written" | "htlb_span" | "htlb_ro" | "htlb_fork" => {
                MmapRequest::anonymous(bytes, RW)
            }
            "htlb_ro_fresh" => MmapRequest::anonymous(bytes, Prot::READ),
            "htlb_shared" => MmapRequest::shared(bytes, RW),
            _ => return false,
        };
        self.world.machine.resize_hugetlb(9, 4);
        self.request(0, request.with(MapFlags::HUGETLB));
        if !name.ends_with("fresh") {
            self.touch(&[0], Some(1));
        }
        match name {
            "htlb_ro" => self.protect(0, 2 * HUGE, Prot::READ),
            "htlb_fork" => self.fork(Side::Parent),
            "htlb_span" => {
                self.cut(HUGE, HUGE);
                self.start = page(HUGE - 2);
            }
            _ => {}
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
}
