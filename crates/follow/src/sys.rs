//! ptrace, waiting, signals and reading another process's memory: the system calls that rustix
//! does not have, each with its argument; the only unsafe code besides [`crate::start`].
//!
//! A *tracee* is a thread that we trace. ptrace calls on one that is not stopped, or gone, answer
//! ESRCH; that is how a tracee killed from outside shows, and callers take it as such.
//!
//! Linux: `kernel/ptrace.c`, `kernel/signal.c`; `PTRACE_GET_SYSCALL_INFO` since 5.3.

use rustix::io::Errno;
use std::ffi::{c_int, c_long, c_void};

/// What ptrace reports as events; the numbers are Linux's.
pub(crate) const EVENT_FORK: i32 = libc::PTRACE_EVENT_FORK;
pub(crate) const EVENT_VFORK: i32 = libc::PTRACE_EVENT_VFORK;
pub(crate) const EVENT_CLONE: i32 = libc::PTRACE_EVENT_CLONE;
pub(crate) const EVENT_EXEC: i32 = libc::PTRACE_EVENT_EXEC;
pub(crate) const EVENT_SECCOMP: i32 = libc::PTRACE_EVENT_SECCOMP;
/// The first stop of a new tracee, an interruption, or a group-stop.
pub(crate) const EVENT_STOP: i32 = 128;

/// A request of ptrace's; libc has it as another type with each C library.
type Request = u32;

fn ptrace(request: Request, pid: i32, addr: usize, data: usize) -> Result<c_long, Errno> {
    let (addr, data) = (addr as *mut c_void, data as *mut c_void);
    // SAFETY: no request that is made here lets the kernel write through `data` but the two whose
    // buffers the callers below own for as long as the call lasts; none touches this process's
    // memory otherwise. A wrong `pid` is answered with ESRCH.
    let ret = unsafe { libc::ptrace(request as _, pid, addr, data) };
    if ret == -1 { Err(last_errno()) } else { Ok(ret) }
}

/// The errno of the last call of this thread that failed.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Begins to trace `pid`, which goes on, and all that it starts.
pub(crate) fn seize(pid: i32) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_EXITKILL;
    ptrace(libc::PTRACE_SEIZE as Request, pid, 0, options.cast_unsigned() as usize).map(drop)
}

/// How a tracee goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// To the next call that the filter stops, signal or event.
    Freely,
    /// To the next entry or return of any call as well.
    CallByCall,
}

/// Lets a stopped tracee go on, with `signal` delivered (0 for none).
pub(crate) fn resume(pid: i32, how: Resume, signal: i32) -> Result<(), Errno> {
    let request = match how {
        Resume::Freely => libc::PTRACE_CONT,
        Resume::CallByCall => libc::PTRACE_SYSCALL,
    };
    ptrace(request as Request, pid, 0, signal.cast_unsigned() as usize).map(drop)
}

/// Leaves a tracee in the group-stop that it entered, until it is continued.
pub(crate) fn listen(pid: i32) -> Result<(), Errno> {
    ptrace(libc::PTRACE_LISTEN as Request, pid, 0, 0).map(drop)
}

/// Asks a running tracee to stop with [`EVENT_STOP`].
pub(crate) fn interrupt(pid: i32) -> Result<(), Errno> {
    ptrace(libc::PTRACE_INTERRUPT as Request, pid, 0, 0).map(drop)
}

/// The number that came with the event at which a tracee is stopped.
pub(crate) fn event_message(pid: i32) -> Result<u64, Errno> {
    let mut message: libc::c_ulong = 0;
    let at = (&raw mut message).expose_provenance();
    ptrace(libc::PTRACE_GETEVENTMSG as Request, pid, 0, at)?;
    Ok(message)
}

/// A stop of a tracee at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallStop {
    /// Before it: by the filter, or because every call is stopped.
    Entry {
        /// Its number.
        number: u64,
        /// Its arguments.
        args: [u64; 6],
    },
    /// At its return, with what it gives: a negative errno on failure.
    Exit {
        /// The value.
        value: i64,
    },
    /// None of these.
    None,
}

/// The system call at which a tracee is stopped.
pub(crate) fn call_stop(pid: i32) -> Result<CallStop, Errno> {
    const ENTRY: u8 = 1;
    const EXIT: u8 = 2;
    const SECCOMP: u8 = 3;
    // The C library may not have it.
    const PTRACE_GET_SYSCALL_INFO: Request = 0x420e;
    // struct ptrace_syscall_info: op, arch; ip; sp; then number and arguments, or value.
    let mut words = [0_u64; 11];
    let at = words.as_mut_ptr().expose_provenance();
    ptrace(PTRACE_GET_SYSCALL_INFO, pid, size_of_val(&words), at)?;
    let [head, _ip, _sp, first, args @ ..] = words;
    Ok(match head.to_ne_bytes()[0] {
        ENTRY | SECCOMP => {
            let (args, _) = args.split_first_chunk().unwrap_or((&[0; 6], &[]));
            CallStop::Entry { number: first, args: *args }
        }
        EXIT => CallStop::Exit { value: first.cast_signed() },
        _ => CallStop::None,
    })
}

/// What a wait told of one tracee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It ended with this status.
    Exited(i32),
    /// It was ended by this signal.
    Killed(i32),
    /// It stopped with this signal, and this event (0 for none).
    Stopped {
        /// The signal; bit 7 is set for a stop at a system call.
        signal: i32,
        /// The event.
        event: i32,
    },
}

/// Waits for the next change of any tracee.
///
/// # Errors
/// `ECHILD` when there is none left; `EINTR`.
pub(crate) fn wait() -> Result<(i32, Heard), Errno> {
    let mut status: c_int = 0;
    // SAFETY: `status` is writable.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
    if pid < 0 {
        return Err(last_errno());
    }
    let heard = if libc::WIFEXITED(status) {
        Heard::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        Heard::Killed(libc::WTERMSIG(status))
    } else {
        Heard::Stopped { signal: libc::WSTOPSIG(status), event: status >> 16 }
    };
    Ok((pid, heard))
}

/// Reads memory of `pid` from `addr` into `buffer`; the bytes that could be read.
pub(crate) fn read_memory(pid: i32, addr: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let len = buffer.len();
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: len };
    let remote = libc::iovec { iov_base: addr as *mut c_void, iov_len: len };
    // SAFETY: `local` is `buffer`, which this function has alone; the other process is only read.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).map_err(|_| last_errno())
}

/// Sends `signal` to `pid`; a process that is gone hears nothing.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: touches no memory.
    unsafe { libc::kill(pid, signal) };
}

/// Whether thread `tid` is one of process `pid`.
pub(crate) fn is_thread_of(pid: i32, tid: i32) -> bool {
    // SAFETY: signal 0 is sent to nobody: the kernel only looks whether the pair exists.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, 0) == 0 }
}

/// Stops this process until it is continued.
pub(crate) fn stop() {
    // SAFETY: touches no memory.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct Signals(libc::sigset_t);

impl Signals {
    /// These.
    pub(crate) fn of(signals: &[i32]) -> Self {
        // SAFETY: all zeros is a value of this plain type; it is emptied below.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is writable.
        unsafe { libc::sigemptyset(&raw mut set) };
        for &signal in signals {
            // SAFETY: as above; a number that is no signal is refused.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        Self(set)
    }

    /// Makes these the signals that the calling thread blocks besides; those before.
    pub(crate) fn block(&self) -> Self {
        let mut before = Self::of(&[]);
        // SAFETY: both sets are whole, and `before` is writable.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const self.0, &raw mut before.0) };
        before
    }

    /// Makes these the only signals that the calling thread blocks.
    pub(crate) fn set(&self) {
        // SAFETY: the set is whole; the former one is not asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }

    /// Waits for one of these, which must be blocked: its number, and whether a process sent it
    /// (else the terminal, or the kernel).
    pub(crate) fn wait(&self) -> Option<(i32, Sender)> {
        // SAFETY: all zeros is a value of this plain type.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is whole, `info` is writable.
        let signal = unsafe { libc::sigwaitinfo(&raw const self.0, &raw mut info) };
        let sender = if info.si_code > 0 { Sender::Terminal } else { Sender::Process };
        (signal > 0).then_some((signal, sender))
    }
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A key of the terminal: the whole foreground group got it.
    Terminal,
    /// A process: we got it alone.
    Process,
}
