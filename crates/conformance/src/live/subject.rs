//! The subject's side: a process that does what is ordered, about its own memory.
//!
//! No memory is allocated here, and everything it writes to is touched before the first order, so
//! that the faults it is charged with are those of the orders.
//! Descriptors have fixed numbers: the controller names them in its orders.

use super::mailbox::{self, Slot, raw};
use super::touch;
use crate::ask::core;
use crate::scenario::Touch;
use crate::sys::{self, PAGE, exit_now};
use rustix::io::Errno;
use std::ffi::CStr;
use std::sync::atomic::Ordering::Relaxed;

/// Descriptors of files: of the `n`-th, readable and writable, and readable only.
pub(crate) const FILES: u64 = 200;
/// See [`FILES`].
pub(crate) const READERS: u64 = 240;
/// The userfaultfd.
pub(crate) const UFFD: u64 = 190;
/// A file of zeroes for direct reads, and one for direct writes.
pub(crate) const DIRECT: [u64; 2] = [191, 192];
/// The most pages of a direct read or write.
pub(crate) const DIRECT_PAGES: u64 = 512;

/// Declares orders.
macro_rules! orders {
    ($($name:ident = $number:literal $line:literal,)*) => {
        $(#[doc = $line] pub(crate) const $name: u32 = $number;)*
    };
}

orders! {
    CALL = 1 "A system call: number, six arguments.",
    LOAD_PAGES = 2 "A byte of each page: address, pages.",
    STORE_PAGES = 3 "The same, stored.",
    LOAD = 4 "Bytes into the buffer: address, count.",
    STORE = 5 "Bytes from the buffer: address, count.",
    FORK = 6 "A child: its slot.",
    EXIT = 7 "The end.",
    MEMPOLICY = 8 "`get_mempolicy` per page: address, pages.",
    FUTEX = 9 "A shared `FUTEX_WAKE` per page: address, pages.",
    VMSPLICE = 10 "Into a pipe: address, bytes.",
    DIRECT_READ = 11 "Address, bytes.",
    DIRECT_WRITE = 12 "Address, bytes.",
    RING_BUFFER = 13 "A fixed buffer: address, bytes.",
    RING_UNREGISTER = 14 "It is given back.",
    RING_PBUF = 15 "A ring of provided buffers: address, bytes.",
    UMEM = 16 "Memory of `AF_XDP`: address, bytes.",
    SELF_READ = 17 "/proc/self/mem: address, bytes.",
    SELF_WRITE = 18 "/proc/self/mem: address, bytes.",
    CMDLINE = 19 "/proc/self/cmdline with its text there: address, bytes.",
    UFFD_OPEN = 20 "Flags, features.",
    DUMP = 22 "A core dump, into the directory whose path is in the buffer.",
    TAKE_FILE = 21 "A descriptor: the owner's pid, its number there, the number here, open flags.",
}

/// What this process holds.
struct Subject {
    slot: &'static Slot,
    number: usize,
    ring: i64,
    pbufs: u64,
    umems: [i64; 8],
    umem_count: usize,
    controller: u32,
}

/// Serves slot `number` until the end.
pub(crate) fn serve(slots: &'static [Slot], number: usize, controller: u32) -> ! {
    let (umems, umem_count) = ([-1; 8], 0);
    let slot = &slots[number];
    let mut subject = Subject { slot, number, ring: -1, pbufs: 0, umems, umem_count, controller };
    sys::die_with_parent(controller);
    touch::catch_faults();
    touch_stack();
    subject.warm_up();
    loop {
        let order = subject.slot.wait_for_order();
        subject.act(slots, order);
        subject.slot.answer();
    }
}

/// Writes to the pages of the stack that orders may use.
#[inline(never)]
fn touch_stack() {
    let mut room = [0_u8; 16 << 10];
    for byte in room.iter_mut().step_by(1024) {
        // SAFETY: a byte of a local array; volatile, so that it is not left out.
        unsafe { std::ptr::from_mut(byte).write_volatile(1) };
    }
    std::hint::black_box(&room);
}

impl Subject {
    /// Uses everything once that orders will use.
    fn warm_up(&self) {
        self.slot.ret.store(0, Relaxed);
        self.slot.data.0[0].store(0, Relaxed);
        for _ in 0..2 {
            let _ = self.charged(|| Ok(0));
            let _ = touch::load(self.slot.data.0.as_ptr().expose_provenance() as u64);
        }
    }
    /// The `n`-th argument.
    fn arg(&self, n: usize) -> u64 {
        self.slot.arg(n)
    }
    fn faults(&self, which: usize) -> [u64; 2] {
        let usage = &self.slot.usage[which];
        let into = usage.as_ptr().expose_provenance() as u64;
        let _ = raw(libc::SYS_getrusage.cast_unsigned(), [0, into, 0, 0, 0, 0]);
        // `ru_minflt` and `ru_majflt` are the eighth and ninth word.
        [usage[8].load(Relaxed), usage[9].load(Relaxed)]
    }
    /// Runs `act`, and notes the faults charged.
    fn charged<T>(&self, act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        let before = self.faults(0);
        let result = act();
        let after = self.faults(1);
        for (slot, (after, before)) in self.slot.faults.iter().zip(after.iter().zip(before)) {
            slot.store(after - before, Relaxed);
        }
        result
    }
    fn say(&self, result: Result<i64, Errno>) {
        let (ret, errno) = match result {
            Ok(ret) => (ret, 0),
            Err(errno) => (-1, errno.raw_os_error()),
        };
        self.slot.ret.store(ret, Relaxed);
        self.slot.errno.store(errno.into(), Relaxed);
    }
    fn act(&mut self, slots: &'static [Slot], order: u32) {
        self.slot.signal.store(0, Relaxed);
        self.slot.mask.store(0, Relaxed);
        self.slot.faults.iter().for_each(|count| count.store(0, Relaxed));
        let (addr, len) = (self.arg(0), self.arg(1));
        match order {
            FORK => self.fork(slots),
            EXIT => self.end(),
            LOAD_PAGES | STORE_PAGES => self.touch_pages(addr, len, order == STORE_PAGES),
            LOAD => self.load(addr, len),
            STORE => self.store(addr, len),
            MEMPOLICY | FUTEX => self.per_page(addr, len, order == FUTEX),
            _ => {
                let result = self.once(order, addr, len);
                self.say(result);
            }
        }
    }
    fn once(&mut self, order: u32, addr: u64, len: u64) -> Result<i64, Errno> {
        let number = |number: i64| number.cast_unsigned();
        match order {
            CALL => {
                let args = [1, 2, 3, 4, 5, 6].map(|n| self.arg(n));
                self.charged(|| raw(addr, args))
            }
            VMSPLICE => self.vmsplice(addr, len),
            DIRECT_READ | DIRECT_WRITE => {
                let (call, fd) = match order {
                    DIRECT_READ => (libc::SYS_pread64, DIRECT[0]),
                    _ => (libc::SYS_pwrite64, DIRECT[1]),
                };
                self.charged(|| raw(number(call), [fd, addr, len, 0, 0, 0]))
            }
            RING_BUFFER => {
                let ring = self.ring()?;
                let buffer = [addr, len];
                let buffer = buffer.as_ptr().expose_provenance() as u64;
                self.charged(|| register(ring, 0, buffer, 1))
            }
            RING_UNREGISTER if self.ring < 0 => Ok(0),
            RING_UNREGISTER => register(self.ring, 1, 0, 0),
            RING_PBUF => {
                let ring = self.ring()?;
                let (entries, group) = (len / 16, self.pbufs);
                self.pbufs += 1;
                let request = [addr, entries | group << 32, 0, 0, 0];
                let request = request.as_ptr().expose_provenance() as u64;
                self.charged(|| register(ring, 22, request, 1))
            }
            UMEM => self.umem(addr, len),
            SELF_READ | SELF_WRITE => self.own_memory(addr, len, order == SELF_WRITE),
            CMDLINE => self.cmdline(addr, len),
            UFFD_OPEN => Self::open_uffd(addr, len),
            TAKE_FILE => self.take_file(),
            DUMP => self.dump(),
            _ => Err(Errno::NOSYS),
        }
    }
    fn touch_pages(&self, addr: u64, pages: u64, store: bool) {
        let touched = self.charged(|| {
            for n in 0..pages {
                let at = addr.wrapping_add(n.wrapping_mul(PAGE));
                let touched = if store {
                    touch::store(at, Touch::byte(at))
                } else {
                    touch::load(at).map(drop)
                };
                if let Err(signal) = touched {
                    self.slot.signal.store(signal.into(), Relaxed);
                    return Ok(0);
                }
            }
            Ok(0)
        });
        self.say(touched);
    }
    fn load(&self, addr: u64, count: u64) {
        for (n, into) in (0..count).zip(&self.slot.data.0) {
            match touch::load(addr.wrapping_add(n)) {
                Ok(byte) => into.store(byte, Relaxed),
                Err(signal) => return self.slot.signal.store(signal.into(), Relaxed),
            }
        }
        self.say(Ok(0));
    }
    fn store(&self, addr: u64, count: u64) {
        for (n, from) in (0..count).zip(&self.slot.data.0) {
            if let Err(signal) = touch::store(addr.wrapping_add(n), from.load(Relaxed)) {
                return self.slot.signal.store(signal.into(), Relaxed);
            }
        }
        self.say(Ok(0));
    }
    fn per_page(&self, addr: u64, pages: u64, futex: bool) {
        let (mut mask, mut last) = (0_u64, 0);
        let node = self.slot.data.0.as_ptr().expose_provenance() as u64;
        let asked = self.charged(|| {
            for n in 0..pages {
                let at = addr.wrapping_add(n.wrapping_mul(PAGE));
                let result = if futex {
                    raw(libc::SYS_futex.cast_unsigned(), [at, 1, 1, 0, 0, 0])
                } else {
                    raw(libc::SYS_get_mempolicy.cast_unsigned(), [node, 0, 0, at, 3, 0])
                };
                match result {
                    Ok(_) => mask |= 1 << (n & 63),
                    Err(errno) => last = errno.raw_os_error(),
                }
            }
            Ok(0)
        });
        self.say(asked);
        self.slot.mask.store(mask, Relaxed);
        self.slot.errno.store(last.into(), Relaxed);
    }
    fn vmsplice(&self, addr: u64, len: u64) -> Result<i64, Errno> {
        const F_SETPIPE_SZ: u64 = 1031;
        let mut ends = [0_i32; 2];
        let into = ends.as_mut_ptr().expose_provenance() as u64;
        raw(libc::SYS_pipe2.cast_unsigned(), [into, 0, 0, 0, 0, 0])?;
        let (out, into) = (ends[0].unsigned_abs().into(), ends[1].unsigned_abs().into());
        let enough = if len > 16 * PAGE {
            let args = [into, F_SETPIPE_SZ, len.next_power_of_two(), 0, 0, 0];
            raw(libc::SYS_fcntl.cast_unsigned(), args)
        } else {
            Ok(0)
        };
        let area = [addr, len];
        let area = area.as_ptr().expose_provenance() as u64;
        let spliced = enough.and_then(|_| {
            self.charged(|| raw(libc::SYS_vmsplice.cast_unsigned(), [into, area, 1, 2, 0, 0]))
        });
        close(out);
        close(into);
        spliced
    }
    /// The process's ring, made when it is first needed.
    fn ring(&mut self) -> Result<i64, Errno> {
        if self.ring < 0 {
            let mut params = [0_u64; 15];
            let params = params.as_mut_ptr().expose_provenance() as u64;
            self.ring = raw(libc::SYS_io_uring_setup.cast_unsigned(), [2, params, 0, 0, 0, 0])?;
        }
        Ok(self.ring)
    }
    fn umem(&mut self, addr: u64, len: u64) -> Result<i64, Errno> {
        const AF_XDP: u64 = 44;
        const SOCK_RAW: u64 = 3;
        const SOL_XDP: u64 = 283;
        const XDP_UMEM_REG: u64 = 4;
        let socket = libc::SYS_socket.cast_unsigned();
        let fd = raw(socket, [AF_XDP, SOCK_RAW, 0, 0, 0, 0])?;
        // `struct xdp_umem_reg`: address, length, a chunk of 2048 bytes, nothing else.
        let request = [addr, len, 2048, 0];
        let request = request.as_ptr().expose_provenance() as u64;
        let setsockopt = libc::SYS_setsockopt.cast_unsigned();
        let args = [fd.cast_unsigned(), SOL_XDP, XDP_UMEM_REG, request, 32, 0];
        let result = self.charged(|| raw(setsockopt, args));
        match (result, self.umems.get_mut(self.umem_count)) {
            (Ok(_), Some(place)) => {
                *place = fd;
                self.umem_count += 1;
            }
            (Ok(_), None) => return Err(Errno::MFILE),
            (Err(_), _) => close(fd.cast_unsigned()),
        }
        result
    }
    fn own_memory(&self, addr: u64, len: u64, write: bool) -> Result<i64, Errno> {
        let path = c"/proc/self/mem".as_ptr().expose_provenance() as u64;
        let (at_cwd, read_write) = (-100_i64, libc::O_RDWR.cast_unsigned());
        let args = [at_cwd.cast_unsigned(), path, read_write.into(), 0, 0, 0];
        let fd = raw(libc::SYS_openat.cast_unsigned(), args)?.cast_unsigned();
        let buffer = self.buffer(len, write);
        let call = if write { libc::SYS_pwrite64 } else { libc::SYS_pread64 };
        let result = self.charged(|| raw(call.cast_unsigned(), [fd, buffer, len, addr, 0, 0]));
        close(fd);
        result
    }
    /// The first bytes of the buffer, touched; their address.
    fn buffer(&self, len: u64, fill: bool) -> u64 {
        let len = usize::try_from(len).unwrap_or(0);
        let step = if fill { 1 } else { 512 };
        self.slot.data.0.iter().take(len).step_by(step).for_each(|byte| byte.store(0x55, Relaxed));
        self.slot.data.0.as_ptr().expose_provenance() as u64
    }
    /// `/proc/self/cmdline` while its text is said to be the range (`PR_SET_MM_MAP`).
    fn cmdline(&self, addr: u64, len: u64) -> Result<i64, Errno> {
        let old = own_map()?;
        let mut new = old;
        (new[ARG_START], new[ARG_END]) = (addr, addr.wrapping_add(len));
        set_map(&new)?;
        let result = self.read_text(len);
        set_map(&old)?;
        result
    }
    fn read_text(&self, len: u64) -> Result<i64, Errno> {
        let fd = open_proc(c"/proc/self/cmdline")?;
        let buffer = self.buffer(len, false);
        let args = [fd, buffer, len, 0, 0, 0];
        let result = self.charged(|| raw(libc::SYS_read.cast_unsigned(), args));
        close(fd);
        result
    }
    fn open_uffd(flags: u64, features: u64) -> Result<i64, Errno> {
        const API: u64 = 0xc018_aa3f;
        let fd =
            raw(libc::SYS_userfaultfd.cast_unsigned(), [flags, 0, 0, 0, 0, 0])?.cast_unsigned();
        let request = [0xaa, features, 0];
        let request = request.as_ptr().expose_provenance() as u64;
        let known = raw(libc::SYS_ioctl.cast_unsigned(), [fd, API, request, 0, 0, 0]);
        let known = known.and_then(|_| raw(libc::SYS_dup3.cast_unsigned(), [fd, UFFD, 0, 0, 0, 0]));
        close(fd);
        known.map(|_| 0)
    }
    /// Takes a descriptor of another process: by opening what it shows, or by copying it.
    fn take_file(&self) -> Result<i64, Errno> {
        let (owner, theirs, ours, flags) = (self.arg(0), self.arg(1), self.arg(2), self.arg(3));
        let mut path = [0_u8; 64];
        write_path(&mut path, owner, theirs);
        let at_cwd = (-100_i64).cast_unsigned();
        let path = path.as_ptr().expose_provenance() as u64;
        let opened = raw(libc::SYS_openat.cast_unsigned(), [at_cwd, path, flags, 0, 0, 0]);
        let fd = match opened {
            Ok(fd) => fd,
            Err(_) => {
                let pidfd = raw(libc::SYS_pidfd_open.cast_unsigned(), [owner, 0, 0, 0, 0, 0])?;
                let pidfd = pidfd.cast_unsigned();
                let got = raw(libc::SYS_pidfd_getfd.cast_unsigned(), [pidfd, theirs, 0, 0, 0, 0]);
                close(pidfd);
                got?
            }
        };
        let moved = raw(libc::SYS_dup3.cast_unsigned(), [fd.cast_unsigned(), ours, 0, 0, 0, 0]);
        close(fd.cast_unsigned());
        moved
    }
    /// A path in the buffer, at most 255 bytes long, is where the dump goes.
    fn dump(&self) -> Result<i64, Errno> {
        let mut path = [0_u8; 256];
        for (byte, from) in path.iter_mut().zip(&self.slot.data.0).take(255) {
            *byte = from.load(Relaxed);
        }
        let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::NAMETOOLONG)?;
        core::dump_into(path).map(|()| 0)
    }
    fn fork(&mut self, slots: &'static [Slot]) {
        let child = usize::try_from(self.arg(0)).unwrap_or(0);
        let parent = (self.ring, self.number);
        match clone_beside() {
            Ok(0) => {
                if parent.0 >= 0 {
                    close(parent.0.cast_unsigned());
                }
                for fd in self.umems.iter().take(self.umem_count) {
                    close(fd.cast_unsigned());
                }
                close(UFFD);
                serve(slots, child, self.controller)
            }
            result => {
                touch_stack();
                self.warm_up();
                self.say(result);
            }
        }
    }
    /// Gives back what is given back later otherwise, and ends.
    fn end(&mut self) {
        if self.ring >= 0 {
            let _ = register(self.ring, 1, 0, 0);
            close(self.ring.cast_unsigned());
        }
        self.umems.iter().take(self.umem_count).for_each(|fd| close(fd.cast_unsigned()));
        self.slot.answer();
        exit_now(0)
    }
}

fn register(ring: i64, what: u64, with: u64, count: u64) -> Result<i64, Errno> {
    let args = [ring.cast_unsigned(), what, with, count, 0, 0];
    raw(libc::SYS_io_uring_register.cast_unsigned(), args)
}

fn close(fd: u64) {
    let _ = raw(libc::SYS_close.cast_unsigned(), [fd, 0, 0, 0, 0, 0]);
}

/// `struct prctl_mm_map`: code, data, heap, stack, text, environment; no auxiliary vector; no file.
type MmMap = [u64; 13];
/// Where the text begins and ends in it.
const ARG_START: usize = 7;
const ARG_END: usize = 8;

fn set_map(map: &MmMap) -> Result<i64, Errno> {
    const PR_SET_MM: u64 = 35;
    const PR_SET_MM_MAP: u64 = 14;
    let (at, size) = (map.as_ptr().expose_provenance() as u64, size_of::<MmMap>() as u64);
    raw(libc::SYS_prctl.cast_unsigned(), [PR_SET_MM, PR_SET_MM_MAP, at, size, 0, 0])
}

/// This process's own map, from its stat.
fn own_map() -> Result<MmMap, Errno> {
    let fd = open_proc(c"/proc/self/stat")?;
    let mut bytes = [0_u8; 1024];
    let into = bytes.as_mut_ptr().expose_provenance() as u64;
    let read = raw(libc::SYS_read.cast_unsigned(), [fd, into, 1024, 0, 0, 0]);
    close(fd);
    let text = &bytes[..usize::try_from(read?).unwrap_or(0)];
    let name_end = text.iter().rposition(|byte| *byte == b')').ok_or(Errno::IO)?;
    // Behind the name, the state is word 3.
    let words = text[name_end + 1..].split(|byte| *byte == b' ').skip(1);
    let number = |word: &[u8]| {
        let digits = word.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_u64, |sum, byte| sum.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')))
    };
    let mut found = [0_u64; 60];
    for (place, word) in found.iter_mut().skip(3).zip(words) {
        *place = number(word);
    }
    let heap_end = raw(libc::SYS_brk.cast_unsigned(), [0; 6])?.cast_unsigned();
    let [code, code_end, stack] = [found[26], found[27], found[28]];
    let [data, data_end, heap] = [found[45], found[46], found[47]];
    let no_file = u64::from(u32::MAX) << 32;
    Ok([
        code, code_end, data, data_end, heap, heap_end, stack, found[48], found[49], found[50],
        found[51], 0, no_file,
    ])
}

fn open_proc(path: &CStr) -> Result<u64, Errno> {
    let path = path.as_ptr().expose_provenance() as u64;
    let at_cwd = (-100_i64).cast_unsigned();
    raw(libc::SYS_openat.cast_unsigned(), [at_cwd, path, 0, 0, 0, 0]).map(i64::cast_unsigned)
}

/// `fork`, but the child's parent is this process's parent: all subjects are the controller's.
pub(crate) fn clone_beside() -> Result<i64, Errno> {
    let flags = (libc::CLONE_PARENT | libc::SIGCHLD).cast_unsigned();
    raw(libc::SYS_clone.cast_unsigned(), [flags.into(), 0, 0, 0, 0, 0])
}

/// `/proc/PID/fd/N`, terminated.
fn write_path(into: &mut [u8; 64], pid: u64, fd: u64) {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        for byte in bytes {
            if let Some(place) = into.get_mut(at) {
                *place = *byte;
                at += 1;
            }
        }
    };
    let mut digits = [0_u8; 20];
    put(b"/proc/");
    put(decimal(pid, &mut digits));
    put(b"/fd/");
    put(decimal(fd, &mut digits));
}

fn decimal(number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut left = number;
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            return &digits[at..];
        }
    }
}

/// The address at which the subject of slot `n` sees its buffer.
pub(crate) fn buffer_of(n: usize) -> u64 {
    mailbox::data_address(n)
}
