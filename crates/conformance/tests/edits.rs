//! Random programs of mapping edits, played by the engine and by the running kernel: after each
//! call the answer and the areas, with all their flags, must be the same.
//!
//! *Arena*: pages at one address in both worlds, far from everything else, in which all programs
//! run. `GUP_EDIT_PROGRAMS` sets how many programs are played. Absent: limits, which are the whole
//! process's.

#![allow(clippy::cast_possible_wrap, reason = "addresses below 2^47, as libc wants them")]

use gup::addr::{PAGE_SIZE, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::{Fault, FaultCx, handle_mm_fault};
use gup::file::{File, FileKind};
use gup::flags::{FaultFlags, MapFlags, Prot, VmFlags};
use gup::heap_host::HeapHost;
use gup::linux::Linux;
use gup::mapping::{
    self, Advice, GrowProt, MlockFlags, MmapRequest, MremapFlags, MremapRequest, sys,
};
use gup::mm::{Machine, MachineConfig, Mm};
use gup::pgtable::{Decoded, SwapEntry};
use gup::task::{Limits, Task};
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::sync::Arc;

/// Where the arena is, in both worlds.
const ARENA: u64 = 0x5000_0000_0000;
/// Its pages.
const PAGES: u64 = 48;
/// Pages of the memfd behind file areas.
const FILE_PAGES: u64 = 64;
/// Calls of one program.
const CALLS: u32 = 120;

fn at(page: u64) -> u64 {
    ARENA + page * PAGE_SIZE
}

/// What a mapping is made of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Private,
    NoReserve,
    Stack,
    Shared,
    FilePrivate,
    FileShared,
}

/// One call.
#[derive(Clone, Copy, Debug)]
enum Call {
    Mmap { page: u64, pages: u64, prot: u32, kind: Kind, flags: MapFlags },
    Munmap { page: u64, pages: u64 },
    Mprotect { page: u64, pages: u64, prot: u32 },
    Mremap { page: u64, old: u64, new: u64, flags: u32, to: u64 },
    Mlock { page: u64, pages: u64, flags: u32 },
    Munlock { page: u64, pages: u64 },
    Madvise { page: u64, pages: u64, advice: Advice },
    Touch { page: u64 },
}

const ADVICE: [Advice; 22] = [
    Advice::Normal,
    Advice::Random,
    Advice::Sequential,
    Advice::DontNeed,
    Advice::Free,
    Advice::DontFork,
    Advice::DoFork,
    Advice::HugePage,
    Advice::NoHugePage,
    Advice::DontDump,
    Advice::DoDump,
    Advice::WipeOnFork,
    Advice::KeepOnFork,
    Advice::Cold,
    Advice::PopulateRead,
    Advice::PopulateWrite,
    Advice::DontNeedLocked,
    Advice::PageOut,
    Advice::GuardInstall,
    Advice::GuardRemove,
    Advice::WillNeed,
    Advice::Collapse,
];

/// A stream of numbers that a seed replays.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
    fn range(&mut self) -> (u64, u64) {
        let page = self.below(PAGES);
        (page, 1 + self.below(12.min(PAGES - page)))
    }
    fn prot(&mut self) -> u32 {
        [3, 3, 3, 1, 1, 0, 5, 7][usize::try_from(self.below(8)).unwrap()]
    }
    fn call(&mut self) -> Call {
        let (page, pages) = self.range();
        match self.below(20) {
            0..5 => self.mmap(page, pages),
            5..7 => Call::Munmap { page, pages },
            7..10 => Call::Mprotect { page, pages, prot: self.prot() },
            10..13 => self.mremap(page, pages),
            13 => Call::Mlock { page, pages, flags: u32::try_from(self.below(2)).unwrap() },
            14 => Call::Munlock { page, pages },
            15..17 => {
                let advice = ADVICE[usize::try_from(self.below(ADVICE.len() as u64)).unwrap()];
                Call::Madvise { page, pages, advice }
            }
            _ => Call::Touch { page },
        }
    }
    fn mmap(&mut self, page: u64, pages: u64) -> Call {
        let kind = match self.below(10) {
            0 => Kind::NoReserve,
            1 => Kind::FilePrivate,
            2 => Kind::FileShared,
            3 => Kind::Stack,
            4 => Kind::Shared,
            _ => Kind::Private,
        };
        let flags = match self.below(8) {
            0 => MapFlags::FIXED_NOREPLACE,
            1 => MapFlags::FIXED | MapFlags::LOCKED,
            2 => MapFlags::FIXED | MapFlags::POPULATE,
            _ => MapFlags::FIXED,
        };
        Call::Mmap { page, pages, prot: self.prot(), kind, flags }
    }
    fn mremap(&mut self, page: u64, old: u64) -> Call {
        let new = if self.below(2) == 0 { old } else { 1 + self.below(12) };
        let flags = [0, 3, 3, 3, 7, 2, 4][usize::try_from(self.below(7)).unwrap()];
        // A flag that places without an address would leave the arena.
        let flags = if flags == 4 { 6 } else { flags };
        Call::Mremap { page, old, new, flags, to: self.below(PAGES - new.min(12)) }
    }
}

/// What a call answered: 0 and more, or an errno.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Answer(Result<u64, i32>);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(value) => write!(f, "{value:#x}"),
            Err(errno) => write!(f, "{}", Errno::from_raw(errno)),
        }
    }
}

/// The names of flags in `smaps`, in its order.
const NAMES: [(VmFlags, &str); 27] = [
    (VmFlags::READ, "rd"),
    (VmFlags::WRITE, "wr"),
    (VmFlags::EXEC, "ex"),
    (VmFlags::SHARED, "sh"),
    (VmFlags::MAYREAD, "mr"),
    (VmFlags::MAYWRITE, "mw"),
    (VmFlags::MAYEXEC, "me"),
    (VmFlags::MAYSHARE, "ms"),
    (VmFlags::GROWSDOWN, "gd"),
    (VmFlags::PFNMAP, "pf"),
    (VmFlags::MAYBE_GUARD, "gu"),
    (VmFlags::LOCKED, "lo"),
    (VmFlags::IO, "io"),
    (VmFlags::SEQ_READ, "sr"),
    (VmFlags::RAND_READ, "rr"),
    (VmFlags::DONTCOPY, "dc"),
    (VmFlags::DONTEXPAND, "de"),
    (VmFlags::LOCKONFAULT, "lf"),
    (VmFlags::ACCOUNT, "ac"),
    (VmFlags::NORESERVE, "nr"),
    (VmFlags::HUGETLB, "ht"),
    (VmFlags::WIPEONFORK, "wf"),
    (VmFlags::DONTDUMP, "dd"),
    (VmFlags::MIXEDMAP, "mm"),
    (VmFlags::HUGEPAGE, "hg"),
    (VmFlags::NOHUGEPAGE, "nh"),
    (VmFlags::MERGEABLE, "mg"),
];

/// The engine's world.
struct Engine {
    mm: Arc<Mm<HeapHost>>,
    task: Task,
    file: Arc<File<HeapHost>>,
}

impl Engine {
    fn new() -> Self {
        let machine = Machine::new(HeapHost::new(2048), MachineConfig::new(Linux::V6_18, 2048));
        let machine = machine.expect("frames");
        let file = machine.new_file(FileKind::Shmem, FILE_PAGES * PAGE_SIZE, None);
        let mut task = Task::new(Limits { memlock: memlock(), ..Limits::default() });
        task.cap_ipc_lock = may_lock_anything();
        Self { mm: Mm::new(&machine).expect("a root"), task, file }
    }
    fn play(&self, call: &Call) -> Answer {
        Answer(self.call(call).map_err(Errno::raw))
    }
    fn call(&self, call: &Call) -> Result<u64, Errno> {
        let (mm, task) = (&*self.mm, &self.task);
        let addr = |page: u64| VirtAddr::new(at(page));
        let done = |result: Result<(), Errno>| result.map(|()| 0);
        match *call {
            Call::Mmap { page, pages, prot, kind, flags } => {
                let request = self.request(page, pages, prot, kind, flags);
                sys::mmap(mm, task, &request).map(VirtAddr::get)
            }
            Call::Munmap { page, pages } => done(sys::munmap(mm, addr(page), pages * PAGE_SIZE)),
            Call::Mprotect { page, pages, prot } => {
                let prot = Prot::from_bits_retain(prot);
                let bytes = pages * PAGE_SIZE;
                done(sys::mprotect(mm, task, addr(page), bytes, prot, GrowProt::Exact))
            }
            Call::Mremap { page, old, new, flags, to } => {
                let request = MremapRequest {
                    addr: addr(page),
                    old_bytes: old * PAGE_SIZE,
                    new_bytes: new * PAGE_SIZE,
                    flags: MremapFlags::from_bits_retain(flags),
                    new_addr: addr(to),
                };
                sys::mremap(mm, task, &request).map(VirtAddr::get)
            }
            Call::Mlock { page, pages, flags } => {
                let flags = MlockFlags::from_bits_retain(flags);
                done(mapping::mlock2(mm, task, addr(page), pages * PAGE_SIZE, flags))
            }
            Call::Munlock { page, pages } => {
                done(mapping::munlock(mm, addr(page), pages * PAGE_SIZE))
            }
            Call::Madvise { page, pages, advice } => {
                done(mapping::madvise(mm, task, addr(page), pages * PAGE_SIZE, advice))
            }
            Call::Touch { page } => {
                self.touch(addr(page));
                Ok(0)
            }
        }
    }
    fn request(
        &self,
        page: u64,
        pages: u64,
        prot: u32,
        kind: Kind,
        flags: MapFlags,
    ) -> MmapRequest<HeapHost> {
        let (bytes, prot) = (pages * PAGE_SIZE, Prot::from_bits_retain(prot));
        let file = |flags| MmapRequest::file(&self.file, page * PAGE_SIZE, bytes, prot, flags);
        let request = match kind {
            Kind::Private => MmapRequest::anonymous(bytes, prot),
            Kind::NoReserve => MmapRequest::anonymous(bytes, prot).with(MapFlags::NORESERVE),
            Kind::Stack => {
                MmapRequest::anonymous(bytes, prot).with(MapFlags::GROWSDOWN | MapFlags::STACK)
            }
            Kind::Shared => MmapRequest::shared(bytes, prot),
            Kind::FilePrivate => file(MapFlags::PRIVATE),
            Kind::FileShared => file(MapFlags::SHARED),
        };
        request.near(VirtAddr::new(at(page))).with(flags)
    }
    /// Whether a store to the page would come through.
    fn writable(&self, addr: VirtAddr) -> bool {
        let guard = Decoded::Swap(SwapEntry::Guard);
        let map = self.mm.read();
        map.lookup(addr).is_some_and(|vma| vma.flags.contains(VmFlags::WRITE))
            && self.mm.tables().walk(addr).entry.decode(0) != guard
    }
    fn touch(&self, addr: VirtAddr) {
        let map = self.mm.read();
        let Some(vma) = map.lookup(addr).filter(|vma| vma.flags.contains(VmFlags::WRITE)) else {
            return;
        };
        let cx = FaultCx { mm: &self.mm, map: &map, vma, task: &self.task };
        let reached = || self.mm.tables().walk(addr).entry;
        for _ in 0..4 {
            if reached().is_present() && reached().is_writable() {
                return;
            }
            let fault = handle_mm_fault(&cx, addr, FaultFlags::WRITE | FaultFlags::USER);
            assert!(matches!(fault, Fault::Done { .. }), "{fault:?}");
        }
    }
    fn areas(&self) -> Vec<String> {
        let arena = VirtRange::new(VirtAddr::new(ARENA), VirtAddr::new(at(2 * PAGES)));
        let map = self.mm.read();
        let line = |vma: &gup::vma::Vma<HeapHost>| {
            let offset = vma.backing.file().map_or(0, |_| vma.pgoff());
            let names = NAMES.iter().filter(|(flag, _)| vma.flags.contains(*flag));
            let names: Vec<&str> = names.map(|(_, name)| *name).collect();
            area(vma.start().get(), vma.end().get(), offset, &names.join(" "))
        };
        map.overlapping(arena).map(line).collect()
    }
}

/// An area as text: pages of the arena, offset in pages, flags.
fn area(start: u64, end: u64, offset: u64, flags: &str) -> String {
    let page = |addr: u64| (addr - ARENA) / PAGE_SIZE;
    format!("{}-{} @{offset} {flags}", page(start), page(end))
}

/// The running kernel's world: this very process.
struct Kernel {
    memfd: libc::c_int,
}

impl Kernel {
    fn new() -> Self {
        // SAFETY: the name is a terminated string; no flags.
        let memfd = unsafe { libc::memfd_create(c"gup-edits".as_ptr(), 0) };
        assert!(memfd >= 0, "memfd_create");
        // SAFETY: a descriptor of this process, which nobody else uses.
        let sized = unsafe { libc::ftruncate(memfd, (FILE_PAGES * PAGE_SIZE) as i64) };
        assert_eq!(sized, 0, "ftruncate");
        Self { memfd }
    }
    fn play(&self, call: &Call) -> Answer {
        let ret = self.call(call);
        if ret == -1 {
            return Answer(Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)));
        }
        Answer(Ok(ret.cast_unsigned()))
    }
    /// Every address that these calls change lies in the arena, where nothing of this process is.
    fn call(&self, call: &Call) -> i64 {
        let addr = |page: u64| at(page) as usize as *mut libc::c_void;
        let size = |pages: u64| (pages * PAGE_SIZE) as usize;
        match *call {
            Call::Mmap { page, pages, prot, kind, flags } => {
                let anonymous = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
                let (kind, fd) = match kind {
                    Kind::Private => anonymous,
                    Kind::NoReserve => (anonymous.0 | libc::MAP_NORESERVE, -1),
                    Kind::Stack => (anonymous.0 | libc::MAP_GROWSDOWN | libc::MAP_STACK, -1),
                    Kind::Shared => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
                    Kind::FilePrivate => (libc::MAP_PRIVATE, self.memfd),
                    Kind::FileShared => (libc::MAP_SHARED, self.memfd),
                };
                let flags = kind | flags.bits().cast_signed();
                let offset = if fd < 0 { 0 } else { (page * PAGE_SIZE) as i64 };
                let prot = prot.cast_signed();
                // SAFETY: only the arena is replaced.
                let got = unsafe { libc::mmap(addr(page), size(pages), prot, flags, fd, offset) };
                got as i64
            }
            Call::Munmap { page, pages } => {
                // SAFETY: only the arena is unmapped.
                i64::from(unsafe { libc::munmap(addr(page), size(pages)) })
            }
            Call::Mprotect { page, pages, prot } => {
                // SAFETY: only the arena is protected.
                i64::from(unsafe { libc::mprotect(addr(page), size(pages), prot.cast_signed()) })
            }
            Call::Mremap { page, old, new, flags, to } => {
                let (flags, to) = (flags.cast_signed(), addr(to));
                // SAFETY: from the arena into it: every call that moves says where to.
                let got = unsafe { libc::mremap(addr(page), size(old), size(new), flags, to) };
                got as i64
            }
            Call::Mlock { page, pages, flags } => {
                // SAFETY: locking changes no byte.
                i64::from(unsafe { libc::mlock2(addr(page), size(pages), flags) })
            }
            Call::Munlock { page, pages } => {
                // SAFETY: unlocking changes no byte.
                i64::from(unsafe { libc::munlock(addr(page), size(pages)) })
            }
            Call::Madvise { page, pages, advice } => {
                // SAFETY: only pages of the arena are dropped.
                i64::from(unsafe { libc::madvise(addr(page), size(pages), advice as i32) })
            }
            Call::Touch { page } => {
                // SAFETY: the caller has seen that the page is mapped and writable, and no
                // reference to it exists.
                unsafe { addr(page).cast::<u8>().write_volatile(1) };
                0
            }
        }
    }
    #[allow(clippy::unused_self, reason = "as the engine's, so that the two read alike")]
    fn areas(&self) -> Vec<String> {
        let smaps = fs::read_to_string("/proc/self/smaps").expect("/proc");
        let (mut areas, mut head) = (Vec::new(), None);
        for line in smaps.lines() {
            if let Some(flags) = line.strip_prefix("VmFlags: ") {
                let Some((start, end, offset)) = head.take() else { continue };
                areas.push(area(start, end, offset, flags.trim()));
            } else if let Some(found) = parse_head(line) {
                head = Some(found).filter(|(start, ..)| (ARENA..at(2 * PAGES)).contains(start));
            }
        }
        areas
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own.
        unsafe { libc::close(self.memfd) };
    }
}

/// `start-end perms offset device inode …`: the range, and the offset in pages (0 for anonymous
/// memory).
fn parse_head(line: &str) -> Option<(u64, u64, u64)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let offset = hex(words.nth(1)?)?;
    Some((hex(start)?, hex(end)?, offset / PAGE_SIZE))
}

fn play(seed: u64, kernel: &Kernel) {
    let (engine, mut random, mut past) = (Engine::new(), Random(seed), Vec::new());
    for _ in 0..CALLS {
        let call = random.call();
        if let Call::Touch { page } = call
            && !engine.writable(VirtAddr::new(at(page)))
        {
            continue;
        }
        let before = engine.areas();
        let (real, ours) = (kernel.play(&call), engine.play(&call));
        past.push(call);
        let story = || format!("seed {seed}, call {}: {call:?}\nbefore: {before:#?}", past.len());
        assert_eq!(ours, real, "{}", story());
        assert_eq!(engine.areas(), kernel.areas(), "{}", story());
    }
}

#[test]
fn the_engine_edits_maps_as_the_running_kernel_does() {
    if !cfg!(target_arch = "x86_64") || !is_6_18() {
        cannot_ask("this kernel is not the one that the engine is exact for");
        return;
    }
    let programs = std::env::var("GUP_EDIT_PROGRAMS").ok().and_then(|n| n.parse().ok());
    let kernel = Kernel::new();
    for seed in 0..programs.unwrap_or(25) {
        kernel.play(&Call::Munmap { page: 0, pages: 2 * PAGES });
        play(seed, &kernel);
    }
    kernel.play(&Call::Munmap { page: 0, pages: 2 * PAGES });
}

/// This process's `RLIMIT_MEMLOCK`, in bytes.
fn memlock() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    limit.current.unwrap_or(u64::MAX)
}

/// Whether this process has `CAP_IPC_LOCK`.
fn may_lock_anything() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let caps = line.and_then(|caps| u64::from_str_radix(caps.trim(), 16).ok());
    caps.unwrap_or(0) & 1 << 14 != 0
}

fn is_6_18() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.starts_with("6.18")
}

/// Says why this test could not ask, past the test runner, which keeps what passing tests print.
fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}
