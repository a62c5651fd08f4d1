//! Starting the command: forked, traced, filtered, then executed.
//!
//! The child waits until it is traced, sets the filter for itself and executes the command; it
//! tells of a failure through a pipe that executing closes. A filter without privilege needs
//! `no_new_privs`: then set-user-ID programs run without their rights, as they do under any
//! tracer.
//!
//! Invariant: between fork and exec the child calls only what is async-signal-safe, and allocates
//! nothing: all that it needs is made before.

use crate::sys::{self, Signals, last_errno};
use libc::sock_filter;
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{CString, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;
use thiserror::Error;

/// Why the command did not start.
#[derive(Debug, Error)]
pub enum NotStarted {
    /// There is no such program.
    #[error("could not run {0:?}: no such file, here or in PATH")]
    NotFound(OsString),
    /// It is there, and cannot be executed.
    #[error("could not run {0:?}: {1}")]
    NotExecutable(OsString, Errno),
    /// A word holds a zero byte.
    #[error("{0:?} holds a zero byte: no program can be given that")]
    ZeroByte(OsString),
    /// The kernel refuses a step of ours.
    #[error("could not {0} ({1}): {2}")]
    Refused(Step, Errno, &'static str),
}

/// A step of starting the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making pipes or a process.
    Fork,
    /// Tracing it.
    Trace,
    /// Setting the filter.
    Filter,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fork => "make a process",
            Self::Trace => "trace it",
            Self::Filter => "set a seccomp filter",
        })
    }
}

/// A command that was started and is traced.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its process.
    pub(crate) pid: i32,
    /// Where it tells why it did not execute; at its end when it did.
    fate: OwnedFd,
    name: OsString,
}

/// What the child tells through the pipe: which step failed, and the errno.
const FILTER_FAILED: i32 = 1;
const EXEC_FAILED: i32 = 2;

impl Started {
    /// Why it did not execute, once its process has ended; `None` if it did.
    pub(crate) fn failure(&self) -> Option<NotStarted> {
        let (mut step, mut errno) = ([0; 4], [0; 4]);
        for half in [&mut step, &mut errno] {
            if rustix::io::read(&self.fate, half) != Ok(4) {
                return None;
            }
        }
        let errno = Errno::from_raw_os_error(i32::from_ne_bytes(errno));
        let name = self.name.clone();
        Some(match (i32::from_ne_bytes(step), errno) {
            (FILTER_FAILED, errno) => NotStarted::Refused(
                Step::Filter,
                errno,
                "the kernel needs CONFIG_SECCOMP_FILTER, and no filter that forbids another",
            ),
            (_, Errno::NOENT) => NotStarted::NotFound(name),
            (_, errno) => NotStarted::NotExecutable(name, errno),
        })
    }
}

/// Starts the command of these words with this filter; `before` are the signals that it blocks.
pub(crate) fn start(
    words: &[OsString],
    filter: &[sock_filter],
    before: Signals,
) -> Result<Started, NotStarted> {
    let argv = words.iter().map(|word| zero_ended(word)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<*const c_char> = argv.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let refused = |errno| NotStarted::Refused(Step::Fork, errno, "see ulimit -u and -n");
    let (go_out, go_in) = pipe_with(PipeFlags::CLOEXEC).map_err(refused)?;
    let (fate_out, fate_in) = pipe_with(PipeFlags::CLOEXEC).map_err(refused)?;
    let child = Child {
        argv: &pointers,
        filter,
        before,
        go: go_out.as_raw_fd(),
        not_mine: go_in.as_raw_fd(),
        fate: fate_in.as_raw_fd(),
    };
    // SAFETY: the child calls only what is async-signal-safe (invariant of this module), and never
    // returns.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => return Err(refused(last_errno())),
        0 => child.run(),
        _ => {}
    }
    drop(fate_in);
    if let Err(errno) = sys::seize(pid) {
        sys::kill(pid, libc::SIGKILL);
        let hint = "is gup itself traced, or does a filter or security module forbid ptrace?";
        return Err(NotStarted::Refused(Step::Trace, errno, hint));
    }
    rustix::io::write(&go_in, &[1]).map_err(refused)?;
    Ok(Started { pid, fate: fate_out, name: words.first().cloned().unwrap_or_default() })
}

fn zero_ended(word: &OsStr) -> Result<CString, NotStarted> {
    CString::new(word.as_bytes()).map_err(|_| NotStarted::ZeroByte(word.to_owned()))
}

/// What the child needs, all made before the fork.
struct Child<'a> {
    argv: &'a [*const c_char],
    filter: &'a [sock_filter],
    before: Signals,
    go: RawFd,
    not_mine: RawFd,
    fate: RawFd,
}

impl Child<'_> {
    /// Waits to be traced, sets the filter, executes.
    fn run(&self) -> ! {
        self.before.set();
        // SAFETY: the program that is executed shall have the usual answer to a broken pipe, which
        // Rust's runtime has changed for this process; no handler is involved.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        // SAFETY: the end of the pipe that the parent writes is not used here.
        unsafe { libc::close(self.not_mine) };
        let mut byte = 0_u8;
        // SAFETY: `byte` is writable.
        let read = unsafe { libc::read(self.go, (&raw mut byte).cast(), 1) };
        if read != 1 {
            exit(127);
        }
        if !self.filtered() {
            self.fail(FILTER_FAILED);
        }
        if let Some(&program) = self.argv.first() {
            // SAFETY: the words end with zero bytes and their array with a null pointer; both live
            // in memory that the fork copied.
            unsafe { libc::execvp(program, self.argv.as_ptr()) };
        }
        self.fail(EXEC_FAILED)
    }

    /// Sets the filter: with privilege, or else for good without new privileges.
    fn filtered(&self) -> bool {
        let program = libc::sock_fprog {
            len: u16::try_from(self.filter.len()).unwrap_or(u16::MAX),
            filter: self.filter.as_ptr().cast_mut(),
        };
        let set = || {
            // SAFETY: the kernel reads the program's steps, which live in memory that the fork
            // copied; the filter holds for this thread, the only one.
            let ret = unsafe {
                libc::syscall(
                    libc::SYS_seccomp,
                    libc::SECCOMP_SET_MODE_FILTER,
                    0,
                    &raw const program,
                )
            };
            ret == 0
        };
        // SAFETY: touches no memory.
        let renounced = || unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0;
        set() || (renounced() && set())
    }

    /// Tells what failed, and ends.
    fn fail(&self, step: i32) -> ! {
        let errno = last_errno().raw_os_error();
        let told = [step, errno];
        // SAFETY: `told` is readable for its whole size.
        unsafe { libc::write(self.fate, told.as_ptr().cast(), size_of_val(&told)) };
        exit(127)
    }
}

fn exit(status: i32) -> ! {
    // SAFETY: ends the process without running anything of the parent's.
    unsafe { libc::_exit(status) }
}
