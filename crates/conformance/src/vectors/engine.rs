//! Asking the engine: the window on a machine of its own, and the call.
//!
//! What a system call checks before it comes to memory (descriptors, arrays of ranges, flag words
//! of calls that the engine does not have) is not the engine's, and cannot be asked.

use super::answer::{Answer, Returned, Told};
use super::builder::{Cannot, is_written};
use super::family::Entry;
use super::file::Vector;
use super::layout::{Anon, Page as Letter, Run, runs};
use super::words::{WINDOW, WINDOW_PAGES, address};
use crate::replay::operations::{access, futex, get};
use crate::replay::world::{Host, Process, World};
use gup::addr::{PAGE_SHIFT, PAGE_SIZE, TASK_SIZE, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::move_page;
use gup::fault::userfault::{self, Protection};
use gup::file::{File, FileKind};
use gup::flags::{Foll, MapFlags, Prot, VmFlags};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::fault_in::{fault_in_readable, fault_in_writeable};
use gup::gup::proc_mem::{Tracer, proc_mem};
use gup::gup::remote::{Access, access_remote_vm, process_vm};
use gup::host::Ticket;
use gup::mapping::{
    Advice, GrowProt, MclFlags, MlockFlags, MmapRequest, MremapFlags, MremapRequest, OpenMode,
    Source, madvise, mlock, mlock2, mlockall, mseal, munlock, sys,
};
use gup::mm::Mm;
use gup::pgtable::{Decoded, SwapEntry};
use gup::vma::{UserFault, UserFaultMessage, expand_stack};
use std::sync::Arc;

const RW: Prot = Prot::READ.union(Prot::WRITE);

/// Asks the engine.
pub fn ask_engine(vector: &Vector) -> Told {
    match asked(vector) {
        Ok(answer) => Told::Answer(answer),
        Err(why) => Told::Cannot(why),
    }
}

fn asked(vector: &Vector) -> Result<Answer, Cannot> {
    let (entry, args) = (vector.entry_point()?, vector.values()?);
    let mut world = World::new();
    let process = world.slots[0].take().ok_or("no process")?;
    let window = Window { world, process };
    window.build(&vector.layout)?;
    let returned = window.perform(entry, &args)?;
    Ok(Answer::new(returned, window.after()))
}

/// The machine, and the process whose window it is.
struct Window {
    world: World,
    process: Process,
}

/// What a call that returns nothing but an errno returned.
fn unit<T>(result: Result<T, Errno>) -> Returned {
    result.map(|_| "0".to_owned()).map_err(Errno::raw)
}

#[allow(clippy::unnecessary_wraps, reason = "what a call returned")]
fn number(bytes: usize) -> Returned {
    Ok(bytes.to_string())
}

fn at(page: u64) -> VirtAddr {
    VirtAddr::new(WINDOW + (page << PAGE_SHIFT))
}

fn buffer(bytes: u64) -> Vec<u8> {
    vec![0x5a; usize::try_from(bytes & 0xf_ffff).unwrap_or(0)]
}

impl Window {
    fn mm(&self) -> &Mm<Host> {
        &self.process.mm
    }

    fn build(&self, layout: &str) -> Result<(), Cannot> {
        let runs = runs(layout)?;
        for run in &runs {
            self.map(run)?;
        }
        for run in &runs {
            self.finish(run).map_err(|errno| format!("the window: {errno}"))?;
        }
        Ok(())
    }

    fn file(&self, kind: FileKind, pages: u64) -> Arc<File<Host>> {
        let file = self.world.machine.new_file(kind, pages << PAGE_SHIFT, None);
        if kind != FileKind::Secret {
            let bytes = vec![0x33; usize::try_from(pages << PAGE_SHIFT).unwrap_or(0)];
            file.write_at(&self.world.machine, 0, &bytes).expect("memory for the file");
        }
        file
    }

    fn map(&self, run: &Run) -> Result<(), Cannot> {
        let bytes = run.pages << PAGE_SHIFT;
        let shown = |file: Arc<File<Host>>, mode, flags, prot| {
            let source = Source::File { file, mode, offset: 0 };
            MmapRequest { addr: VirtAddr::new(0), bytes, prot, flags, source }
        };
        let (both, shared) = (OpenMode::READ | OpenMode::WRITE, MapFlags::SHARED);
        let memfd = || self.file(FileKind::Shmem, WINDOW_PAGES);
        let request = match run.page {
            Letter::Anon(Anon::ReadOnlyFresh) => MmapRequest::anonymous(bytes, Prot::READ),
            Letter::Anon(Anon::NoneFresh) => MmapRequest::anonymous(bytes, Prot::NONE),
            Letter::Anon(Anon::GrowsDown) => {
                MmapRequest::anonymous(bytes, RW).with(MapFlags::GROWSDOWN)
            }
            Letter::Anon(_) => MmapRequest::anonymous(bytes, RW),
            Letter::Shared => MmapRequest::shared(bytes, RW),
            Letter::FilePrivate => shown(memfd(), both, MapFlags::PRIVATE, RW),
            Letter::FileShared => shown(memfd(), both, shared, RW),
            Letter::FileReadOnly => shown(memfd(), OpenMode::READ, shared, Prot::READ),
            Letter::PastEnd => shown(self.file(FileKind::Shmem, 0), both, shared, RW),
            Letter::Disk => shown(self.file(FileKind::Regular, run.pages), both, shared, RW),
            Letter::Secret => shown(self.file(FileKind::Secret, run.pages), both, shared, RW),
        };
        let done = sys::mmap(self.mm(), &self.process.task, &request.at(at(run.first)));
        done.map(drop).map_err(|errno| format!("the window: {errno}"))
    }

    fn finish(&self, run: &Run) -> Result<(), Errno> {
        let Letter::Anon(anon) = run.page else { return Ok(()) };
        let (mm, task) = (self.mm(), &self.process.task);
        let (first, bytes) = (at(run.first), run.pages << PAGE_SHIFT);
        for n in run.first..run.first + run.pages {
            if is_written(anon) || anon == Anon::Read {
                let byte = is_written(anon).then_some(0x41);
                access(&self.process, at(n), byte).map_err(|_| Errno::EFAULT)?;
            }
        }
        let protect = |prot| sys::mprotect(mm, task, first, bytes, prot, GrowProt::Exact);
        match anon {
            Anon::Fresh
            | Anon::Written
            | Anon::Read
            | Anon::ReadOnlyFresh
            | Anon::NoneFresh
            | Anon::GrowsDown => Ok(()),
            Anon::ReadOnlyWritten => protect(Prot::READ),
            Anon::NoneWritten => protect(Prot::NONE),
            Anon::ExecuteOnly => protect(Prot::EXEC),
            Anon::Guarded => madvise(mm, task, first, bytes, Advice::GuardInstall),
            Anon::Locked => mlock(mm, task, first, bytes),
            Anon::Sealed => mseal(&mut mm.write(), first, bytes),
            Anon::SealedReadOnly => {
                protect(Prot::READ)?;
                mseal(&mut mm.write(), first, bytes)
            }
            Anon::UffdMissing => self.watch(first, bytes, VmFlags::UFFD_MISSING),
            Anon::UffdProtected => {
                self.watch(first, bytes, VmFlags::UFFD_WP)?;
                let range = VirtRange::new(first, first.wrapping_add(bytes));
                userfault::write_protect(&mm.read(), range, Protection::On)
            }
        }
    }

    /// Registers pages that are an area of their own, or are made one by protecting them apart.
    fn watch(&self, first: VirtAddr, bytes: u64, mode: VmFlags) -> Result<(), Errno> {
        let (mm, task) = (self.mm(), &self.process.task);
        let protect = |prot| sys::mprotect(mm, task, first, bytes, prot, GrowProt::Exact);
        protect(Prot::READ)?;
        {
            let mut lock = mm.write();
            let vma = lock.lookup_mut(first).ok_or(Errno::ENOMEM)?;
            vma.flags |= mode;
            vma.uffd = Some(Arc::new(Refuses));
        }
        protect(RW)
    }

    fn perform(&self, entry: Entry, args: &[u64]) -> Result<Returned, Cannot> {
        let arg = |n: usize| args.get(n).copied().unwrap_or(0);
        let (mm, task) = (self.mm(), &self.process.task);
        let (addr, bytes) = (VirtAddr::new(arg(0)), arg(1));
        Ok(match entry {
            Entry::Mmap => return self.mmap(args),
            Entry::Munmap => unit(sys::munmap(mm, addr, bytes)),
            Entry::Mprotect => self.mprotect(addr, bytes, arg(2)),
            Entry::Mremap => {
                let flags = MremapFlags::from_bits_retain(arg(3) as u32);
                let (new_bytes, new_addr) = (arg(2), VirtAddr::new(arg(4)));
                let request = MremapRequest { addr, old_bytes: bytes, new_bytes, flags, new_addr };
                let done = sys::mremap(mm, task, &request);
                done.map(|at| address(at.get())).map_err(Errno::raw)
            }
            Entry::Madvise => {
                let raw = i32::try_from(arg(2)).unwrap_or(-1);
                if raw == 25 {
                    return Err("the engine collapses by a call of its own".to_owned());
                }
                match Advice::from_raw(raw) {
                    Some(advice) => unit(madvise(mm, task, addr, bytes, advice)),
                    None => unit(Err::<(), _>(Errno::EINVAL)),
                }
            }
            Entry::Mlock => unit(mlock(mm, task, addr, bytes)),
            Entry::Mlock2 => {
                let flags = MlockFlags::from_bits_retain(arg(2) as u32);
                unit(mlock2(mm, task, addr, bytes, flags))
            }
            Entry::Munlock => unit(munlock(mm, addr, bytes)),
            Entry::Mlockall => unit(mlockall(mm, task, MclFlags::from_bits_retain(arg(0) as u32))),
            Entry::Mseal if arg(2) != 0 => return Err("the engine's mseal has no flags".to_owned()),
            Entry::Mseal => unit(mseal(&mut mm.write(), addr, bytes)),
            Entry::Load => self.touch(addr, None),
            Entry::Store => self.touch(addr, Some(0x42)),
            Entry::CopyToUser | Entry::CopyFromUser => self.user_copy(entry, addr, bytes),
            Entry::VmReadv | Entry::VmWritev => return self.vm(entry, args),
            Entry::MemRead | Entry::MemWrite => self.proc_mem(entry, addr, bytes),
            Entry::Peek | Entry::Poke => self.word(entry, addr),
            Entry::Vmsplice => return self.vmsplice(args),
            Entry::DirectRead | Entry::DirectWrite => return self.direct(entry, addr, bytes),
            Entry::RingBuffer => return self.ring(addr, bytes),
            Entry::FutexWake if addr.get() % 4 != 0 => {
                return Err("futex refuses this before it gets a page".to_owned());
            }
            Entry::FutexWake => unit(futex(&self.process, addr)),
            Entry::Mempolicy if arg(1) != 3 => {
                return Err("get_mempolicy refuses this before it gets a page".to_owned());
            }
            Entry::Mempolicy => unit(self.policy(addr)),
            Entry::MovePages => {
                Ok(args.iter().map(|at| self.node(*at)).collect::<Vec<_>>().join(" "))
            }
            Entry::Mincore => return Err("the engine has no mincore".to_owned()),
            Entry::SecretFd => return Err("the engine has no descriptors".to_owned()),
            Entry::UffdRegister | Entry::UffdUnregister => {
                return Err("the engine's areas are registered by their owner".to_owned());
            }
            Entry::UffdCopy | Entry::UffdZeropage | Entry::UffdProtect | Entry::UffdMove => {
                return self.userfault(entry, args);
            }
        })
    }

    fn mmap(&self, args: &[u64]) -> Result<Returned, Cannot> {
        let &[addr, bytes, prot, flags, fd, offset] = args else {
            return Err("mmap takes six arguments".to_owned());
        };
        let both = OpenMode::READ | OpenMode::WRITE;
        let flags = MapFlags::from_bits_retain(flags as u32);
        let memfd = |mode| {
            let file = self.file(FileKind::Shmem, WINDOW_PAGES);
            Source::File { file, mode, offset }
        };
        let source = match fd {
            _ if flags.contains(MapFlags::ANONYMOUS) && offset % PAGE_SIZE != 0 => {
                return Err("the engine's anonymous memory has no offset".to_owned());
            }
            _ if flags.contains(MapFlags::ANONYMOUS) => Source::Anonymous,
            1000 => memfd(both),
            1001 => memfd(OpenMode::READ),
            1002 => memfd(both | OpenMode::SEALED),
            _ => return Err("the engine has no descriptors".to_owned()),
        };
        let prot = Prot::from_bits_retain(prot as u32);
        let request = MmapRequest { addr: VirtAddr::new(addr), bytes, prot, flags, source };
        let done = sys::mmap(self.mm(), &self.process.task, &request);
        Ok(done.map(|at| address(at.get())).map_err(Errno::raw))
    }

    fn mprotect(&self, addr: VirtAddr, bytes: u64, prot: u64) -> Returned {
        const GROWSDOWN: u64 = 0x0100_0000;
        let grow = if prot & GROWSDOWN == 0 { GrowProt::Exact } else { GrowProt::Down };
        let prot = Prot::from_bits_retain((prot & !GROWSDOWN) as u32);
        unit(sys::mprotect(self.mm(), &self.process.task, addr, bytes, prot, grow))
    }

    #[allow(clippy::unnecessary_wraps, reason = "what a call returned")]
    fn touch(&self, addr: VirtAddr, byte: Option<u8>) -> Returned {
        if !self.grown(addr) {
            return Ok("SIGSEGV".to_owned());
        }
        Ok(match access(&self.process, addr, byte) {
            Ok(()) => "0",
            Err(7) => "SIGBUS",
            Err(_) => "SIGSEGV",
        }
        .to_owned())
    }

    /// Whether an area contains `addr`, if need be after the stack above it has grown.
    fn grown(&self, addr: VirtAddr) -> bool {
        let lock = self.mm().read();
        lock.lookup(addr).is_some() || expand_stack(lock, &self.process.task, addr).is_ok()
    }

    fn user_copy(&self, entry: Entry, addr: VirtAddr, bytes: u64) -> Returned {
        if addr.get() > TASK_SIZE || bytes > TASK_SIZE - addr.get() {
            return Err(Errno::EFAULT.raw());
        }
        let (task, mm) = (&self.process.task, self.mm());
        let left = match entry {
            Entry::CopyToUser => fault_in_writeable(task, mm, addr, bytes),
            _ => fault_in_readable(task, mm, addr, bytes),
        };
        if left == bytes && bytes > 0 {
            Err(Errno::EFAULT.raw())
        } else {
            Ok((bytes - left).to_string())
        }
    }

    fn vm(&self, entry: Entry, args: &[u64]) -> Result<Returned, Cannot> {
        let Some((0, ranges)) = args.split_first() else {
            return Err("the engine's process_vm has no flags".to_owned());
        };
        let mut moved = 0;
        for &[addr, bytes] in ranges.as_chunks::<2>().0 {
            if bytes > i64::MAX as u64 || addr.checked_add(bytes).is_none_or(|end| end > TASK_SIZE)
            {
                return Err("process_vm_* refuses this array before it pins".to_owned());
            }
            let mut bytes = buffer(bytes);
            let wanted = bytes.len();
            let access = if entry == Entry::VmReadv {
                Access::Read(&mut bytes)
            } else {
                Access::Write(&bytes)
            };
            let controller = &self.world.controller;
            let here = process_vm(controller, self.mm(), VirtAddr::new(addr), access).bytes;
            moved += here;
            if here < wanted {
                let nothing = moved == 0;
                return Ok(if nothing { Err(Errno::EFAULT.raw()) } else { number(moved) });
            }
        }
        Ok(number(moved))
    }

    fn proc_mem(&self, entry: Entry, addr: VirtAddr, bytes: u64) -> Returned {
        if addr.get() > i64::MAX as u64 {
            return Err(Errno::EINVAL.raw());
        }
        let mut bytes = buffer(bytes);
        let access = match entry {
            Entry::MemRead => Access::Read(&mut bytes),
            _ => Access::Write(&bytes),
        };
        let done = proc_mem(&self.process.task, self.mm(), addr, access, Tracer::No);
        done.map(|bytes| bytes.to_string()).map_err(Errno::raw)
    }

    fn word(&self, entry: Entry, addr: VirtAddr) -> Returned {
        let mut word = [0x5a; 8];
        let access =
            if entry == Entry::Poke { Access::Write(&word) } else { Access::Read(&mut word) };
        match access_remote_vm(&self.world.controller, self.mm(), addr, access, Foll::FORCE).bytes {
            8 => Ok("0".to_owned()),
            _ => Err(Errno::EIO.raw()),
        }
    }

    /// Takes the pages of a range as often as it takes, and gives them back: the bytes before the
    /// first page that could not be had, and why.
    fn grab(&self, entry: FastEntry, range: (u64, u64), foll: Foll) -> (u64, Option<Errno>) {
        let (addr, bytes) = range;
        let first = VirtAddr::new(addr).page_floor();
        let pages = (VirtAddr::new(addr).page_offset() + bytes).div_ceil(PAGE_SIZE);
        let (mut done, mut stop) = (0, None);
        while done < pages && stop.is_none() {
            let count = usize::try_from(pages - done).unwrap_or(0);
            let mut slots: Vec<_> = std::iter::repeat_with(|| None).take(count).collect();
            let start = first.wrapping_add(done << PAGE_SHIFT);
            let (mm, task) = (self.mm(), &self.process.task);
            let outcome = fast(entry, task, mm, start, pages - done, foll, &mut slots);
            for page in slots.into_iter().flatten() {
                match entry {
                    FastEntry::Pin => mm.machine().unpin_pages(page.pfn(), 1),
                    FastEntry::Get | FastEntry::GetOnly => mm.machine().put_page(page.pfn()),
                }
            }
            done += outcome.got;
            if outcome.got == 0 {
                stop = Some(outcome.errno().unwrap_or(Errno::EFAULT));
            }
        }
        let got = first.wrapping_add(done << PAGE_SHIFT).bytes_from(VirtAddr::new(addr));
        (if done == 0 { 0 } else { got.min(bytes) }, stop)
    }

    fn vmsplice(&self, args: &[u64]) -> Result<Returned, Cannot> {
        let Some((0..16, ranges)) = args.split_first() else {
            return Err("the engine's pages go to no pipe that could refuse flags".to_owned());
        };
        let mut moved = 0;
        for &[addr, bytes] in ranges.as_chunks::<2>().0 {
            if bytes > i64::MAX as u64 || addr.checked_add(bytes).is_none_or(|end| end > TASK_SIZE)
            {
                return Err("vmsplice refuses this array before it gets a page".to_owned());
            }
            let (got, stop) = self.grab(FastEntry::Get, (addr, bytes), Foll::empty());
            moved += got;
            if let Some(errno) = stop {
                return Ok(if moved == 0 { Err(errno.raw()) } else { Ok(moved.to_string()) });
            }
        }
        Ok(Ok(moved.to_string()))
    }

    fn direct(&self, entry: Entry, addr: VirtAddr, bytes: u64) -> Result<Returned, Cannot> {
        if !addr.get().is_multiple_of(512) || !bytes.is_multiple_of(512) {
            return Err("a disk refuses what is not aligned to its sectors".to_owned());
        }
        let foll = if entry == Entry::DirectRead { Foll::WRITE } else { Foll::empty() };
        let (got, stop) = self.grab(FastEntry::Pin, (addr.get(), bytes), foll);
        let refused = stop.is_some() || addr.get().checked_add(bytes).is_none();
        Ok(if refused { Err(Errno::EFAULT.raw()) } else { Ok(got.to_string()) })
    }

    fn ring(&self, addr: VirtAddr, bytes: u64) -> Result<Returned, Cannot> {
        let end = addr.get().checked_add(bytes);
        if bytes == 0 || bytes > 1 << 30 || addr.get() == 0 || end.is_none() {
            return Err("io_uring refuses this before it pins".to_owned());
        }
        let pages = (addr.page_offset() + bytes).div_ceil(PAGE_SIZE);
        let count = usize::try_from(pages).unwrap_or(0);
        let mut slots: Vec<_> = std::iter::repeat_with(|| None).take(count).collect();
        let (mm, task, foll) = (self.mm(), &self.process.task, Foll::WRITE | Foll::LONGTERM);
        let outcome = fast(FastEntry::Pin, task, mm, addr, pages, foll, &mut slots);
        for page in slots.into_iter().flatten() {
            mm.machine().unpin_pages(page.pfn(), 1);
        }
        let all = outcome.got == pages;
        let errno = outcome.errno().unwrap_or(Errno::EFAULT);
        Ok(if all { Ok("0".to_owned()) } else { Err(errno.raw()) })
    }

    fn policy(&self, addr: VirtAddr) -> Result<(), Errno> {
        self.mm().read().lookup(addr).map(drop).ok_or(Errno::EFAULT)?;
        get(&self.process, addr, Foll::empty()).map(drop)
    }

    /// What `move_pages` says about an address: its node, or why there is none.
    fn node(&self, addr: u64) -> String {
        let addr = VirtAddr::new(addr);
        if self.mm().read().lookup(addr).is_none() {
            return Errno::EFAULT.negated().to_string();
        }
        let walked = self.mm().tables().walk(addr);
        match walked.entry.decode(walked.place.level) {
            Decoded::Leaf(pfn, _) if pfn == self.world.machine.zero_page() => {
                Errno::EFAULT.negated().to_string()
            }
            Decoded::Leaf(..) => "0".to_owned(),
            Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => {
                Errno::ENOENT.negated().to_string()
            }
        }
    }

    fn userfault(&self, entry: Entry, args: &[u64]) -> Result<Returned, Cannot> {
        let arg = |n: usize| args.get(n).copied().unwrap_or(0);
        let (addr, map) = (VirtAddr::new(arg(0)), self.mm().read());
        let (bytes, mode) = match entry {
            Entry::UffdCopy | Entry::UffdMove => (arg(2), arg(3)),
            _ => (arg(1), arg(2)),
        };
        if entry == Entry::UffdProtect && bytes > 0 && bytes % PAGE_SIZE == 0 && mode < 2 {
            let protection = if mode == 1 { Protection::On } else { Protection::Off };
            let range = VirtRange::new(addr, addr.saturating_add(bytes));
            return Ok(unit(userfault::write_protect(&map, range, protection)));
        }
        if bytes != PAGE_SIZE || mode != 0 {
            return Err("the engine's userfaultfd takes one page, and no mode".to_owned());
        }
        if entry == Entry::UffdCopy && map.lookup(VirtAddr::new(arg(1))).is_none() {
            return Err("the engine is given the bytes that are copied".to_owned());
        }
        Ok(unit(match entry {
            Entry::UffdCopy => userfault::copy(&map, addr, &[0x33; PAGE_SIZE as usize]),
            Entry::UffdZeropage => userfault::zeropage(&map, addr),
            _ => move_page(&map, addr, VirtAddr::new(arg(1))),
        }))
    }

    fn after(&self) -> String {
        let map = self.mm().read();
        let tokens = (0..WINDOW_PAGES).map(|n| {
            let Some(vma) = map.lookup(at(n)) else { return ".".to_owned() };
            let has = |flag, letter, other| if vma.flags.contains(flag) { letter } else { other };
            let walked = self.mm().tables().walk(at(n));
            let there = match walked.entry.decode(walked.place.level) {
                Decoded::None | Decoded::Table(_) => "",
                Decoded::Swap(SwapEntry::Guard) => "g",
                Decoded::Leaf(..) | Decoded::Swap(_) => "+",
            };
            format!(
                "{}{}{}{}{}{there}",
                has(VmFlags::READ, "r", "-"),
                has(VmFlags::WRITE, "w", "-"),
                has(VmFlags::EXEC, "x", "-"),
                has(VmFlags::MAYSHARE, "s", "p"),
                has(VmFlags::LOCKED, "l", ""),
            )
        });
        tokens.collect::<Vec<_>>().join(" ")
    }
}

/// A userfaultfd that refuses to serve faults (`UFFD_FEATURE_SIGBUS`).
struct Refuses;

impl UserFault for Refuses {
    fn sigbus(&self) -> bool {
        true
    }
    fn wp_async(&self) -> bool {
        false
    }
    fn deliver(&self, _: UserFaultMessage) -> Ticket {
        userfault::UNDELIVERED
    }
}
