//! What the command does that `gup explain -- CMD` follows here: it makes each call of the table
//! fail, and says what it expects to be told.
//!
//! The areas lie where nothing else is put ([`Area`]), so that a hole stays one.

use rustix::io::Errno;
use std::ffi::c_long;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

const PAGE: u64 = 4096;
/// The page that stops every call.
const BAD: u64 = 4;
const PAGES: u64 = 8;

/// Eight pages; the fifth is a hole, or may not be written to.
#[derive(Clone, Copy)]
struct Area(u64);

impl Area {
    fn map() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0x3000_0000_0000);
        let start = NEXT.fetch_add(1 << 20, Ordering::SeqCst);
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_FIXED_NOREPLACE);
        let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let len = (PAGES * PAGE) as usize;
        // SAFETY: nothing is mapped there, and nothing of Rust's ever will be.
        let at = unsafe { libc::mmap(start as *mut _, len, prot, flags, -1, 0) };
        assert_eq!(at as u64, start, "room");
        Self(start)
    }
    fn hole() -> Self {
        let area = Self::map();
        // SAFETY: nothing of Rust's lies there.
        assert_eq!(unsafe { libc::munmap((area.0 + BAD * PAGE) as *mut _, PAGE as usize) }, 0);
        area
    }
    fn read_only() -> Self {
        let area = Self::map();
        let at = (area.0 + BAD * PAGE) as *mut _;
        // SAFETY: nothing of Rust's lies there.
        assert_eq!(unsafe { libc::mprotect(at, PAGE as usize, libc::PROT_READ) }, 0);
        area
    }
    const fn len() -> u64 {
        PAGES * PAGE
    }
    const fn bad(self) -> u64 {
        self.0 + BAD * PAGE
    }
    const fn vector(self) -> [u64; 2] {
        [self.0, Self::len()]
    }
    /// Memory at the beginning of the area, which no call here refuses, filled with `words`.
    fn holding(words: &[u64]) -> u64 {
        let area = Self::map();
        for (index, word) in words.iter().enumerate() {
            // SAFETY: mapped and writable, aligned, and less than a page is written.
            unsafe { ((area.0 + 8 * index as u64) as *mut u64).write_volatile(*word) };
        }
        area.0
    }
}

/// Makes a call of six arguments.
fn call(number: c_long, args: [u64; 6]) -> Result<i64, Errno> {
    let [first, second, third, ..] = args;
    // SAFETY: what the calls below write to is an area of ours, or nothing.
    let ret = unsafe { libc::syscall(number, first, second, third, args[3], args[4], args[5]) };
    if ret < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).expect("an errno"));
    }
    Ok(ret)
}

fn fd_of(file: &impl AsRawFd) -> u64 {
    file.as_raw_fd().unsigned_abs().into()
}

/// Says what is to be told of the call that was just made. `at` is 0 where no page is named.
fn expect(name: &str, consumer: &str, at: u64, gave: Result<i64, Errno>) {
    let errno = gave.map_or_else(Errno::raw_os_error, |_| 0);
    say(&format!("expect {name} {consumer} {at:#x} {errno}"));
}

/// Past the test runner, which may hold lines back, and may have begun one.
fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).expect("a reader");
}

fn remote() {
    let local = Area::holding(&Area::map().vector());
    let own = std::process::id().into();
    for (number, name, area) in [
        (libc::SYS_process_vm_readv, "process_vm_readv", Area::hole()),
        (libc::SYS_process_vm_writev, "process_vm_writev", Area::read_only()),
    ] {
        let remote = Area::holding(&area.vector());
        let gave = call(number, [own, local, 1, remote, 1, 0]);
        assert_eq!(gave, Ok((BAD * PAGE) as i64), "a part is done");
        expect(name, name, area.bad(), gave);
        let remote = Area::holding(&[area.bad(), PAGE]);
        expect(name, name, area.bad(), call(number, [own, local, 1, remote, 1, 0]));
    }
}

fn locks() {
    let area = Area::hole();
    let gave = call(libc::SYS_mlock, [area.0, Area::len(), 0, 0, 0, 0]);
    expect("mlock", "mlock", area.bad(), gave);
    let gave = call(libc::SYS_mlock2, [area.0, Area::len(), 1, 0, 0, 0]);
    expect("mlock2", "mlock-onfault", area.bad(), gave);
    expect("mlockall", "-", 0, call(libc::SYS_mlockall, [64, 0, 0, 0, 0, 0]));
}

fn populate() {
    let (hole, read_only) = (Area::hole(), Area::read_only());
    let gave = call(libc::SYS_madvise, [hole.0, Area::len(), 22, 0, 0, 0]);
    expect("madvise", "madvise-populate-read", hole.bad(), gave);
    let gave = call(libc::SYS_madvise, [read_only.0, Area::len(), 23, 0, 0, 0]);
    expect("madvise", "madvise-populate-write", read_only.bad(), gave);
}

fn short_pins() {
    let area = Area::hole();
    let (_out, into) = rustix::pipe::pipe().expect("a pipe");
    let bad = Area::holding(&[area.bad(), PAGE]);
    let gave = call(libc::SYS_vmsplice, [fd_of(&into), bad, 1, 2, 0, 0]);
    expect("vmsplice", "vmsplice", area.bad(), gave);
    let node = Area::map().0;
    let gave = call(libc::SYS_get_mempolicy, [node, 0, 0, area.bad(), 3, 0]);
    expect("get_mempolicy", "get-mempolicy", area.bad(), gave);
    let gave = call(libc::SYS_futex, [area.bad(), 1, 1, 0, 0, 0]);
    expect("futex", "futex", area.bad(), gave);
    // FUTEX_REQUEUE: the second word is the bad one.
    let gave = call(libc::SYS_futex, [area.0, 3, 1, 0, area.bad(), 0]);
    expect("futex", "futex", area.bad(), gave);
    // A private futex pins nothing, and is not stopped.
    call(libc::SYS_futex, [area.bad(), 128, 0, 0, 0, 0]).expect_err("a wait at a hole");
}

fn direct_io() {
    let path = std::env::current_dir().expect("here").join(format!("d{}", std::process::id()));
    std::fs::write(&path, vec![7; 64 * 1024]).expect("room");
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::DIRECT;
    let file = rustix::fs::open(&path, flags, rustix::fs::Mode::empty());
    let _ = std::fs::remove_file(&path);
    let Ok(file) = file else { return say("cannot ask: no O_DIRECT in this folder") };
    let fd = fd_of(&file);
    let (hole, read_only) = (Area::hole(), Area::read_only());
    let len = Area::len();
    let (into, from) = ("o-direct-read", "o-direct-write");
    let single = [
        (libc::SYS_read, "read", read_only, into),
        (libc::SYS_pread64, "pread64", read_only, into),
        (libc::SYS_write, "write", hole, from),
        (libc::SYS_pwrite64, "pwrite64", hole, from),
    ];
    for (number, name, area, consumer) in single {
        expect(name, consumer, area.bad(), call(number, [fd, area.0, len, 0, 0, 0]));
    }
    let several = [
        (libc::SYS_readv, "readv", read_only, into),
        (libc::SYS_preadv, "preadv", read_only, into),
        (libc::SYS_writev, "writev", hole, from),
        (libc::SYS_pwritev, "pwritev", hole, from),
    ];
    for (number, name, area, consumer) in several {
        let vectors = Area::holding(&[area.0, PAGE, area.bad(), PAGE]);
        expect(name, consumer, area.bad(), call(number, [fd, vectors, 2, 0, 0, 0]));
    }
    completions(fd, hole);
    // The same calls on another file pin nothing.
    let zero = std::fs::File::open("/dev/zero").expect("/dev/zero");
    let bad = read_only.bad();
    call(libc::SYS_read, [fd_of(&zero), bad, PAGE, 0, 0, 0]).expect_err("read-only");
}

/// A write that is submitted, and fails later.
fn completions(fd: u64, area: Area) {
    let context = Area::holding(&[0]);
    if call(libc::SYS_io_setup, [8, context, 0, 0, 0, 0]).is_err() {
        return say("cannot ask: io_setup");
    }
    // SAFETY: mapped, and the kernel has written there.
    let id = unsafe { (context as *const u64).read_volatile() };
    let write = 1 | fd << 32;
    let request = Area::holding(&[7, 0, write, area.0, Area::len(), 0, 0, 0]);
    let gave = call(libc::SYS_io_submit, [id, 1, Area::holding(&[request]), 0, 0, 0]);
    if gave == Ok(1) {
        let events = Area::map().0;
        assert_eq!(call(libc::SYS_io_getevents, [id, 1, 8, events, 0, 0]), Ok(1));
        expect("io_getevents", "o-direct-write", area.bad(), Err(Errno::FAULT));
    } else {
        say("cannot ask: io_submit refuses at once");
    }
}

fn rings() {
    let params = Area::holding(&[]);
    let Ok(ring) = call(libc::SYS_io_uring_setup, [1, params, 0, 0, 0, 0]) else {
        return say("cannot ask: io_uring");
    };
    let area = Area::read_only();
    let register = |opcode: u64, arg: u64, nr: u64, consumer: &str| {
        let gave = call(libc::SYS_io_uring_register, [ring.cast_unsigned(), opcode, arg, nr, 0, 0]);
        expect("io_uring_register", consumer, area.bad(), gave);
    };
    let two = Area::holding(&[Area::map().0, PAGE, area.0, Area::len()]);
    register(0, two, 2, "io-uring-buffer");
    register(15, Area::holding(&[2, 0, two, 0]), 32, "io-uring-buffer");
    register(22, Area::holding(&[area.bad(), 256, 0, 0, 0]), 1, "io-uring-pbuf");
    // A table to update: one slot, and it is empty.
    let empty = Area::holding(&[0, 0]);
    let gave = call(libc::SYS_io_uring_register, [ring.cast_unsigned(), 0, empty, 1, 0, 0]);
    gave.expect("an empty slot can be registered");
    register(16, Area::holding(&[0, two + 16, 0, 1]), 32, "io-uring-buffer");
}

fn sockets() {
    let Ok(socket) = call(libc::SYS_socket, [44, libc::SOCK_RAW as u64, 0, 0, 0, 0]) else {
        return say("cannot ask: AF_XDP (needs CAP_NET_RAW)");
    };
    let area = Area::read_only();
    let umem = Area::holding(&[area.0, Area::len(), 2048, 0]);
    let gave = call(libc::SYS_setsockopt, [socket.cast_unsigned(), 283, 4, umem, 32, 0]);
    expect("setsockopt", "xdp-umem", area.bad(), gave);
}

fn zerocopy() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let stream = std::net::TcpStream::connect(listener.local_addr().expect("bound"));
    let stream = stream.expect("ourselves");
    let (fd, on) = (fd_of(&stream), Area::holding(&[1]));
    call(libc::SYS_setsockopt, [fd, 1, 60, on, 4, 0]).expect("SO_ZEROCOPY");
    let (area, flags) = (Area::hole(), libc::MSG_ZEROCOPY as u64);
    let gave = call(libc::SYS_sendto, [fd, area.bad(), PAGE, flags, 0, 0]);
    expect("sendto", "vmsplice", area.bad(), gave);
    let vectors = Area::holding(&[area.bad(), PAGE]);
    let message = Area::holding(&[0, 0, vectors, 1, 0, 0, 0]);
    expect(
        "sendmsg",
        "vmsplice",
        area.bad(),
        call(libc::SYS_sendmsg, [fd, message, flags, 0, 0, 0]),
    );
}

/// No device is needed to see that they are noticed, only to see them succeed.
fn ioctls() {
    let null = std::fs::File::open("/dev/null").expect("/dev/null");
    let (fd, area) = (fd_of(&null), Area::hole());
    let ioctl = |request: u64, words: &[u64]| {
        call(libc::SYS_ioctl, [fd, request, Area::holding(words), 0, 0, 0])
    };
    let [start, len] = area.vector();
    expect("ioctl", "vfio", area.bad(), ioctl(0x3b71, &[0x20 | 3 << 32, start, 0, len]));
    expect("ioctl", "vfio", area.bad(), ioctl(0x3b85, &[0x30 | 7 << 32, 1, start, len, 0]));
    let readable = 4 << 32;
    expect("ioctl", "rdma-readonly", area.bad(), ioctl(0x3b85, &[readable, 1, start, len, 0]));
    expect("ioctl", "kvm", area.bad(), ioctl(0x4020_ae46, &[0, 0, len, start]));
    expect("ioctl", "rdma", area.bad(), ioctl(0x8010_aebb, &[start, len]));
    expect("ioctl", "-", 0, ioctl(0x4018_7542, &[0, 0, len]));
    // A registration of verbs: attributes 2 (the command, 9) and 0 (its structure).
    let registration = Area::holding(&[0, start, len, 0, 1 << 32]);
    let verbs = [2 << 48, 0, 0, 2, 9, 0, registration];
    expect("ioctl", "rdma", area.bad(), ioctl(0xc018_1b01, &verbs));
}

/// Reads a word of a process that is none of ours, and is traced for that.
fn peek() {
    let pid = std::env::var("GUP_TEST_PID").expect("a process").parse().expect("a number");
    let ptrace = |request, addr| call(libc::SYS_ptrace, [request, pid, addr, 0, 0, 0]);
    if ptrace(0x4206, 0).and_then(|_| ptrace(0x4207, 0)).is_err() {
        return say("cannot ask: ptrace of another process");
    }
    // SAFETY: waits for that process to stop; its status is not asked for.
    unsafe {
        libc::waitpid(i32::try_from(pid).expect("an id"), std::ptr::null_mut(), libc::__WALL)
    };
    expect("ptrace", "ptrace-peek", 0x1000, ptrace(2, 0x1000));
    expect("ptrace", "ptrace-poke", 0x1000, ptrace(5, 0x1000));
}

/// Registers more than may be locked: the pages are fine.
fn limit() {
    let params = Area::holding(&[]);
    let Ok(ring) = call(libc::SYS_io_uring_setup, [1, params, 0, 0, 0, 0]) else {
        return say("cannot ask: io_uring");
    };
    let limit = libc::rlimit { rlim_cur: PAGE, rlim_max: PAGE };
    // SAFETY: the limit is whole.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }, 0);
    let gave = call(libc::SYS_io_uring_setup, [64, params, 0, 0, 0, 0]);
    if gave.is_err() {
        expect("io_uring_setup", "-", 0, gave);
    }
    let buffers = Area::holding(&Area::map().vector());
    let args = [ring.cast_unsigned(), 0, buffers, 1, 0, 0];
    expect("io_uring_register", "io-uring-buffer", 0, call(libc::SYS_io_uring_register, args));
    let gave = call(libc::SYS_mlockall, [1, 0, 0, 0, 0, 0]);
    expect("mlockall", "-", 0, gave);
}

/// Does what the test asks for, and ends the process.
pub(crate) fn act(what: &str) -> ! {
    match what {
        "everything" => {
            for part in
                [remote, locks, populate, short_pins, direct_io, rings, sockets, zerocopy, ioctls]
            {
                part();
            }
        }
        "peek" => peek(),
        "limit" => limit(),
        "child" => {
            // SAFETY: the child makes one call and ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                locks();
                std::process::exit(0);
            }
            // SAFETY: waits for that child; its status is not asked for.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        }
        "late" => {
            // A thread that is there before the file is opened writes from a hole.
            let (tell, hear) = std::sync::mpsc::channel::<()>();
            let writer = std::thread::spawn(move || {
                let _ = hear.recv();
                direct_io();
            });
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT;
            let _file = rustix::fs::open("/proc/self/exe", flags, rustix::fs::Mode::empty());
            tell.send(()).expect("the writer waits");
            writer.join().expect("it ends");
        }
        other => panic!("no such act: {other}"),
    }
    std::process::exit(7)
}
