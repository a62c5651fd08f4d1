//! The session: from the command's start to the end of all that it started.
//!
//! A traced thread *runs freely* to the next call that the filter stops, or *call by call*. At the
//! filter's stop of a call in the table it is sent on to that call's return, and then on freely.
//! Threads of processes that have a file opened `O_DIRECT` go call by call all the time.
//!
//! Every process that the command starts must be traced, since the filter is inherited and its
//! calls fail without a tracer; without [`Children::Followed`] theirs are let through unseen.
//!
//! Not seen: completions that arrive later (but for `io_getevents`), descriptors that are received
//! already opened `O_DIRECT`, threads that were made untraceable (`CLONE_UNTRACED`).
//!
//! Linux: `man 2 ptrace` (group-stops, events), `kernel/seccomp.c`; 5.3 or later.

use crate::calls::memory::OfThread;
use crate::calls::table::{CALL_BY_CALL, FILTERED, Kind, Row, VERBS_WRITTEN, find};
use crate::filter;
use crate::start::{NotStarted, Started, start};
use crate::sys::{self, CallStop, Heard, Resume};
use crate::trace::failed::{Failed, judged};
use crate::trace::foreign::{self, Note};
use crate::trace::interrupts;
use crate::trace::people::{Entered, People, has_direct_file, is_direct_file};
use rustix::io::Errno;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Whether processes that the command starts are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    /// They are.
    Followed,
    /// Only the command's own process is, with all its threads.
    Left,
}

/// Whether reads and writes of files opened `O_DIRECT` are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// They are; every call of a process that has such a file then stops.
    Followed,
    /// They are not.
    Left,
}

/// How the command is followed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether processes that it starts are looked at.
    pub children: Children,
    /// Whether `O_DIRECT` is.
    pub direct_io: DirectIo,
    /// Called, from another thread, when the command outlives a first interruption and is no
    /// longer looked at; with its process id.
    pub still_here: fn(u32),
}

/// What is told while the command runs.
#[derive(Clone, Debug)]
pub enum Told {
    /// A call that pins failed. Its thread waits until this has been taken in.
    Failed(Failed),
    /// Process `pid` executed something of which this is to be known.
    Note {
        /// The process.
        pid: u32,
        /// What is to be known.
        note: Note,
    },
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// Runs the command of these words, tells what is to be told, and returns when it and all that it
/// started have ended.
///
/// The calling thread blocks the signals of a terminal from here on: they are heard by another.
///
/// # Errors
/// [`NotStarted`].
pub fn follow(
    words: &[OsString],
    options: Options,
    tell: &mut dyn FnMut(Told),
) -> Result<Ended, NotStarted> {
    let rows = filtered(options.direct_io);
    let before = interrupts::heard().block();
    let started = start(words, &filter::program(&rows), before)?;
    let asked = interrupts::watch(started.pid, options.still_here);
    let call_by_call = rows.iter().copied().chain(CALL_BY_CALL).collect();
    let leader = started.pid;
    let mut session = Session {
        started,
        leader,
        options,
        rows: call_by_call,
        people: People::default(),
        late: Vec::new(),
        asked,
        executed: false,
        tell,
    };
    session.run()
}

/// The rows that the filter stops.
fn filtered(direct_io: DirectIo) -> Vec<&'static Row> {
    let verbs = Path::new("/sys/class/infiniband_verbs").exists();
    let written = if verbs { VERBS_WRITTEN } else { &[] };
    let wanted = |row: &&Row| row.kind != Kind::Watched || direct_io == DirectIo::Followed;
    FILTERED.iter().chain(written).filter(wanted).collect()
}

struct Session<'a> {
    started: Started,
    leader: i32,
    options: Options,
    rows: Vec<&'static Row>,
    people: People,
    /// Threads that should go call by call and could not be interrupted yet.
    late: Vec<i32>,
    asked: Arc<interrupts::Asked>,
    executed: bool,
    tell: &'a mut dyn FnMut(Told),
}

impl Session<'_> {
    fn run(&mut self) -> Result<Ended, NotStarted> {
        let mut ended = Ended::Exited(0);
        loop {
            let (tid, heard) = match sys::wait() {
                Ok(heard) => heard,
                Err(Errno::INTR) => continue,
                Err(_) => return Ok(ended),
            };
            match heard {
                Heard::Exited(status) if tid == self.leader => ended = Ended::Exited(status),
                Heard::Killed(signal) if tid == self.leader => ended = Ended::Killed(signal),
                Heard::Exited(_) | Heard::Killed(_) | Heard::Stopped { .. } => {}
            }
            match heard {
                Heard::Stopped { signal, event } => self.stopped(tid, signal, event),
                Heard::Exited(_) | Heard::Killed(_) => {
                    self.people.forget(tid);
                    if tid == self.leader && !self.executed {
                        return self.started.failure().map_or(Ok(ended), Err);
                    }
                }
            }
        }
    }

    fn stopped(&mut self, tid: i32, signal: i32, event: i32) {
        const AT_CALL: i32 = libc::SIGTRAP | 0x80;
        match event {
            0 if signal == AT_CALL => self.at_call(tid),
            0 => self.go_on(tid, signal),
            sys::EVENT_SECCOMP => self.at_call(tid),
            sys::EVENT_EXEC => self.executed(tid),
            sys::EVENT_FORK | sys::EVENT_VFORK => self.born(tid, Born::Process),
            sys::EVENT_CLONE => self.born(tid, Born::Either),
            sys::EVENT_STOP if signal != libc::SIGTRAP => {
                // A group-stop: it stays stopped until somebody continues it.
                let _ = sys::listen(tid);
                if tid == self.leader {
                    self.asked.stopped();
                }
            }
            _ => {
                if tid == self.leader {
                    self.asked.goes_on();
                }
                self.go_on(tid, 0);
            }
        }
    }

    /// Whether what process `pid` does is told.
    fn is_told(&self, pid: i32) -> bool {
        pid == self.leader || self.options.children == Children::Followed
    }

    /// Lets a stopped thread go on, with `signal` delivered.
    fn go_on(&mut self, tid: i32, signal: i32) {
        let thread = *self.people.thread(tid);
        let looked_at = thread.entered.is_some() || self.people.is_direct(thread.pid);
        let how = if looked_at { Resume::CallByCall } else { Resume::Freely };
        self.people.thread(tid).runs_freely = how == Resume::Freely;
        // A thread that was killed meanwhile says so at the next wait.
        let _ = sys::resume(tid, how, signal);
    }

    /// A thread stands before a call, by the filter or because every call stops, or at its return.
    fn at_call(&mut self, tid: i32) {
        let pid = self.people.thread(tid).pid;
        match sys::call_stop(tid) {
            Ok(CallStop::Entry { number, args }) if self.is_told(pid) => {
                let row = find(&self.rows, number, &args);
                self.people.thread(tid).entered = row.map(|row| Entered { row, args });
            }
            Ok(CallStop::Exit { value }) => {
                if let Some(entered) = self.people.thread(tid).entered.take() {
                    self.returned(tid, pid, entered, value);
                }
            }
            Ok(CallStop::Entry { .. } | CallStop::None) | Err(_) => {}
        }
        self.hurry();
        self.go_on(tid, 0);
    }

    /// A call of the table has returned `value`.
    fn returned(&mut self, tid: i32, pid: i32, entered: Entered, value: i64) {
        let Entered { row, args } = entered;
        match row.kind {
            Kind::Watched if value >= 0 => self.opened(pid, row, &args, value),
            Kind::Closing if value >= 0 && !has_direct_file(pid) => self.people.make_free(pid),
            _ => self.judge(tid, pid, entered, value),
        }
    }

    fn judge(&mut self, tid: i32, pid: i32, entered: Entered, value: i64) {
        let Entered { row, args } = entered;
        let direct_call = CALL_BY_CALL.iter().any(|other| std::ptr::eq(other, row));
        if self.asked.quiet.load(Ordering::SeqCst)
            || direct_call && value < 0 && !is_direct_file(pid, &args[0].to_string())
        {
            return;
        }
        if let Some((value, asked)) = judged(row, &args, value, &OfThread(tid)) {
            let (pid, tid) = (pid.unsigned_abs(), tid.unsigned_abs());
            (self.tell)(Told::Failed(Failed { pid, tid, row, args, value, asked }));
        }
    }

    /// A call that may have made a file `O_DIRECT` has succeeded.
    fn opened(&mut self, pid: i32, row: &Row, args: &[u64; 6], value: i64) {
        let fd = if row.name == "fcntl" { args[0].to_string() } else { value.to_string() };
        if is_direct_file(pid, &fd) {
            self.call_by_call(pid);
        }
    }

    /// Stops every call of process `pid` from now on.
    fn call_by_call(&mut self, pid: i32) {
        if self.people.is_direct(pid) {
            return;
        }
        self.people.make_direct(pid);
        self.late.extend(self.people.free_threads_of(pid));
    }

    /// Interrupts threads that should go call by call and run freely, so that they are let go
    /// anew. One that waits in a call that would show the interruption is tried again later.
    fn hurry(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let late = std::mem::take(&mut self.late);
        let mut still = Vec::new();
        for tid in late {
            let thread = *self.people.thread(tid);
            if !thread.runs_freely || !self.people.is_direct(thread.pid) {
                continue;
            }
            if shows_interruption(tid) {
                still.push(tid);
            } else {
                let _ = sys::interrupt(tid);
            }
        }
        self.late = still;
    }

    /// A thread has executed a program: the other threads of its process are gone, and it has the
    /// process's number.
    fn executed(&mut self, tid: i32) {
        let was_direct = self.people.is_direct(tid);
        if let Ok(former) = sys::event_message(tid) {
            self.people.forget(i32::try_from(former).unwrap_or(tid));
        }
        self.people.forget(tid);
        let pid = self.people.process(tid).pid;
        // A process has such a file from its parent, which then was known to; or we do.
        let may = was_direct || !self.executed && self.options.direct_io == DirectIo::Followed;
        self.executed = true;
        if may && self.is_told(pid) && has_direct_file(pid) {
            self.people.make_direct(pid);
        }
        if self.is_told(pid) && !self.asked.quiet.load(Ordering::SeqCst) {
            for note in foreign::notes(pid) {
                (self.tell)(Told::Note { pid: pid.unsigned_abs(), note });
            }
        }
        self.go_on(tid, 0);
    }

    /// A thread has started another thread or process, which has the same files.
    fn born(&mut self, tid: i32, born: Born) {
        let pid = self.people.thread(tid).pid;
        if let Ok(child) = sys::event_message(tid) {
            let child = i32::try_from(child).unwrap_or(tid);
            let child = match born {
                Born::Process => self.people.process(child).pid,
                Born::Either => self.people.made_by(pid, child).pid,
            };
            if self.people.is_direct(pid) && self.is_told(child) {
                self.people.make_direct(child);
            }
        }
        self.go_on(tid, 0);
    }
}

/// What a thread has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Born {
    /// A process.
    Process,
    /// A process or another thread of its own.
    Either,
}

/// Whether thread `tid` waits in a call that gives EINTR when a tracer interrupts it, instead of
/// beginning anew (`man 7 signal`).
fn shows_interruption(tid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{tid}/syscall")).unwrap_or_default();
    let number = text.split_whitespace().next().and_then(|number| number.parse::<i64>().ok());
    let shows = [
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        libc::SYS_semtimedop,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_semop,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_io_getevents,
        libc::SYS_msgrcv,
        libc::SYS_msgsnd,
        libc::SYS_read,
    ];
    number.is_some_and(|number| shows.contains(&number))
}
