//! The side that does: reads lines, makes the system calls, says how they ended.
//!
//! Numbers are hexadecimal. One line is one call:
//!
//! ```text
//! map ADDR LEN KIND       anon, shared, memfd, memfd-shared, hugetlb, file PATH, ro, none
//! store|load ADDR LEN     one byte of each page
//! advise ADDR LEN N       protect ADDR LEN PROT    unmap ADDR LEN     mlock ADDR LEN
//! limit BYTES             RLIMIT_MEMLOCK, the soft one
//! become UID [CAPS]       real, effective and saved; all capabilities go but those of the mask
//! userns                  a user namespace of its own, in which it has every capability
//! ring ENTRIES            its number         close RING
//! register RING A L ...   fixed buffers      unregister RING      pbuf RING ADDR ENTRIES
//! umem ADDR LEN           AF_XDP memory      vmsplice ADDR LEN   into a pipe that nobody reads
//! fork                    a child that sleeps: its pid            reap
//! ```

use crate::sys::{self, Forked, PAGE, call, check};
use io_uring::IoUring;
use rustix::io::Errno;
use std::ffi::CString;
use std::io::{BufRead, Write};

/// What a puppet has.
#[derive(Default)]
struct Held {
    rings: Vec<Option<IoUring>>,
    children: Vec<i32>,
}

/// Does what standard input says, until it ends. The status to exit with.
pub fn serve() -> u8 {
    let (mut held, mut out) = (Held::default(), std::io::stdout());
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match held.act(&words) {
            Ok(value) => format!("ok {value}"),
            Err(errno) => format!("no {}", errno.raw_os_error()),
        };
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    held.reap();
    0
}

fn number(word: &str) -> Result<u64, Errno> {
    u64::from_str_radix(word.trim_start_matches("0x"), 16).map_err(|_| Errno::INVAL)
}

impl Held {
    fn act(&mut self, words: &[&str]) -> Result<i64, Errno> {
        let (verb, rest) = words.split_first().ok_or(Errno::INVAL)?;
        if *verb == "map" {
            return map(rest);
        }
        let numbers: Vec<u64> = rest.iter().map(|word| number(word)).collect::<Result<_, _>>()?;
        match (*verb, numbers.as_slice()) {
            ("store" | "load", &[addr, len]) => touch(verb, addr, len),
            ("advise", &[addr, len, advice]) => done(sys::advise(addr, len, advice as i32)),
            ("protect", &[addr, len, prot]) => done(sys::protect(addr, len, prot as i32)),
            ("unmap", &[addr, len]) => done(sys::unmap(addr, len)),
            // SAFETY: locks pages in memory; no Rust object changes.
            ("mlock", &[addr, len]) => unsafe { call(libc::SYS_mlock, [addr, len, 0, 0, 0, 0]) },
            ("limit", &[bytes]) => limit(bytes),
            ("become", &[uid]) => become_user(uid, 0),
            ("become", &[uid, caps]) => become_user(uid, caps),
            // SAFETY: changes what this process, which has one thread, may do; no pointer.
            ("userns", &[]) => unsafe { call(libc::SYS_unshare, [CLONE_NEWUSER, 0, 0, 0, 0, 0]) },
            ("ring", &[entries]) => self.open_ring(entries as u32),
            ("close", &[ring]) => done(self.slot(ring).map(|slot| *slot = None)),
            ("register", [ring, buffers @ ..]) => self.register(*ring, buffers),
            ("unregister", &[ring]) => {
                done(self.ring(ring)?.submitter().unregister_buffers().map_err(|e| errno_of(&e)))
            }
            ("pbuf", &[ring, addr, entries]) => self.pbuf(ring, addr, entries),
            ("umem", &[addr, len]) => umem(addr, len),
            ("vmsplice", &[addr, len]) => vmsplice(addr, len),
            ("fork", &[]) => self.fork(),
            ("reap", &[]) => {
                self.reap();
                Ok(0)
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn slot(&mut self, ring: u64) -> Result<&mut Option<IoUring>, Errno> {
        self.rings.get_mut(ring as usize).ok_or(Errno::BADF)
    }

    fn ring(&mut self, ring: u64) -> Result<&mut IoUring, Errno> {
        self.slot(ring)?.as_mut().ok_or(Errno::BADF)
    }

    fn open_ring(&mut self, entries: u32) -> Result<i64, Errno> {
        let ring = IoUring::new(entries).map_err(|error| errno_of(&error))?;
        self.rings.push(Some(ring));
        Ok(self.rings.len() as i64 - 1)
    }

    fn register(&mut self, ring: u64, buffers: &[u64]) -> Result<i64, Errno> {
        let iovec = |pair: &[u64]| libc::iovec {
            iov_base: std::ptr::with_exposed_provenance_mut(pair[0] as usize),
            iov_len: pair[1] as usize,
        };
        let buffers: Vec<libc::iovec> = buffers.chunks_exact(2).map(iovec).collect();
        let submitter = self.ring(ring)?.submitter();
        // SAFETY: no operation is ever submitted to the ring, so the kernel writes nothing there.
        done(unsafe { submitter.register_buffers(&buffers) }.map_err(|error| errno_of(&error)))
    }

    fn pbuf(&mut self, ring: u64, addr: u64, entries: u64) -> Result<i64, Errno> {
        let entries = u16::try_from(entries).map_err(|_| Errno::INVAL)?;
        let submitter = self.ring(ring)?.submitter();
        // SAFETY: no operation is ever submitted, so the kernel neither takes nor writes a buffer.
        let done_so = unsafe { submitter.register_buf_ring_with_flags(addr, entries, 0, 0) };
        done(done_so.map_err(|error| errno_of(&error)))
    }

    fn fork(&mut self) -> Result<i64, Errno> {
        let parent = std::process::id();
        match sys::fork()? {
            Forked::Parent(child) => {
                self.children.push(child);
                Ok(child.into())
            }
            Forked::Child => {
                sys::die_with_parent(parent);
                sys::sleep_forever()
            }
        }
    }

    fn reap(&mut self) {
        for child in self.children.drain(..) {
            // SAFETY: the process is a child of this one that nobody has waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
            sys::wait_for(child);
        }
    }
}

const CLONE_NEWUSER: u64 = libc::CLONE_NEWUSER as u64;

fn done(result: Result<(), Errno>) -> Result<i64, Errno> {
    result.map(|()| 0)
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn map(words: &[&str]) -> Result<i64, Errno> {
    let [addr, len, kind, rest @ ..] = words else { return Err(Errno::INVAL) };
    let (addr, len) = (number(addr)?, number(len)?);
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    let (private, anon) = (libc::MAP_PRIVATE, libc::MAP_ANONYMOUS);
    let (prot, flags, fd) = match *kind {
        "anon" => (rw, private | anon, -1),
        "ro" => (libc::PROT_READ, private | anon, -1),
        "none" => (libc::PROT_NONE, private | anon, -1),
        "shared" => (rw, libc::MAP_SHARED | anon, -1),
        "hugetlb" => (rw, private | anon | libc::MAP_HUGETLB, -1),
        "memfd" => (rw, private, memfd(len)?),
        "memfd-shared" => (rw, libc::MAP_SHARED, memfd(len)?),
        "file" => (rw, private, open(rest.first().ok_or(Errno::INVAL)?)?),
        _ => return Err(Errno::INVAL),
    };
    sys::map(addr, len, prot, flags, fd).map(u64::cast_signed)
}

fn memfd(len: u64) -> Result<i32, Errno> {
    // SAFETY: the name is a C string; the descriptor is new.
    let fd = check(unsafe { libc::memfd_create(c"puppet".as_ptr(), 0) }.into())? as i32;
    // SAFETY: sets the size of a file of our own.
    check(unsafe { libc::ftruncate(fd, len.cast_signed()) }.into())?;
    Ok(fd)
}

fn open(path: &str) -> Result<i32, Errno> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    // SAFETY: the path is a C string; the descriptor is new.
    let fd = check(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) }.into())?;
    Ok(fd as i32)
}

fn touch(verb: &str, addr: u64, len: u64) -> Result<i64, Errno> {
    for page in 0..len.div_ceil(PAGE) {
        let at = addr.wrapping_add(page * PAGE);
        if verb == "store" { sys::store(at, 1)? } else { sys::load(at).map(drop)? }
    }
    Ok(0)
}

/// Sets the soft limit only.
fn limit(bytes: u64) -> Result<i64, Errno> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is writable.
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) }.into())?;
    limit.rlim_cur = bytes.min(limit.rlim_max);
    // SAFETY: the limit is readable.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }.into())
}

/// Becomes another user, and keeps the capabilities in `caps`.
fn become_user(uid: u64, caps: u64) -> Result<i64, Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    // SAFETY: sets one attribute of this process; no pointer is passed.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }.into())?;
    let id = uid as libc::uid_t;
    // SAFETY: no pointer is passed.
    check(unsafe { libc::setresgid(id, id, id) }.into())?;
    // SAFETY: no pointer is passed.
    check(unsafe { libc::setresuid(id, id, id) }.into())?;
    let header = [VERSION_3, 0];
    let (low, high) = (caps as u32, (caps >> 32) as u32);
    // Effective, permitted, inheritable: the lower halves, then the upper ones.
    let sets = [low, low, 0, high, high, 0];
    let header = header.as_ptr().expose_provenance() as u64;
    let sets = sets.as_ptr().expose_provenance() as u64;
    // SAFETY: both arrays have the layout of version 3 and live until the call returns.
    unsafe { call(libc::SYS_capset, [header, sets, 0, 0, 0, 0]) }
}

/// Registers memory with a new `AF_XDP` socket, which stays open.
fn umem(addr: u64, len: u64) -> Result<i64, Errno> {
    const AF_XDP: i32 = 44;
    const SOL_XDP: i32 = 283;
    const XDP_UMEM_REG: i32 = 4;
    // SAFETY: no pointer is passed.
    let fd = check(unsafe { libc::socket(AF_XDP, libc::SOCK_RAW, 0) }.into())? as i32;
    // `struct xdp_umem_reg`: address, length, chunks of 2048 bytes, nothing else.
    let request = [addr, len, 2048, 0];
    let (size, request) = (size_of_val(&request) as u32, request.as_ptr().cast());
    // SAFETY: the array has the layout of the structure and the length that is given.
    check(unsafe { libc::setsockopt(fd, SOL_XDP, XDP_UMEM_REG, request, size) }.into())
}

/// Puts the range into a new pipe, which stays open.
fn vmsplice(addr: u64, len: u64) -> Result<i64, Errno> {
    let mut ends = [0_i32; 2];
    // SAFETY: the array has room for both descriptors.
    check(unsafe { libc::pipe(ends.as_mut_ptr()) }.into())?;
    let base = std::ptr::with_exposed_provenance_mut(addr as usize);
    let range = libc::iovec { iov_base: base, iov_len: len as usize };
    // SAFETY: one range; pages of the arena are referred to, and nothing is written.
    let moved = unsafe { libc::vmsplice(ends[1], &raw const range, 1, 0) };
    check(moved as libc::c_long)
}
