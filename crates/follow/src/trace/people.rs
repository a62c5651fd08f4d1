//! The threads and processes that are traced.

use crate::calls::table::Row;
use crate::sys;
use std::collections::{HashMap, HashSet};

/// A call that a thread is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entered {
    /// Which one.
    pub(crate) row: &'static Row,
    /// Its arguments.
    pub(crate) args: [u64; 6],
}

/// A thread that is traced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    /// Its process.
    pub(crate) pid: i32,
    /// The call that it is in, if that is one to be looked at when it returns.
    pub(crate) entered: Option<Entered>,
    /// Whether it was last let go only to the calls of the filter.
    pub(crate) runs_freely: bool,
}

impl Thread {
    /// A thread of process `pid`, in no call.
    const fn of(pid: i32) -> Self {
        Self { pid, entered: None, runs_freely: false }
    }
}

/// Everybody who is traced.
#[derive(Debug, Default)]
pub(crate) struct People {
    threads: HashMap<i32, Thread>,
    /// Processes that have a file opened `O_DIRECT`: every call of theirs is stopped.
    direct: HashSet<i32>,
}

impl People {
    /// The thread `tid`, which becomes known if it was not.
    pub(crate) fn thread(&mut self, tid: i32) -> &mut Thread {
        self.threads.entry(tid).or_insert_with(|| Thread::of(process_of(tid)))
    }

    /// The thread `tid`, which one of process `pid` has just made: one of its own, or a process.
    pub(crate) fn made_by(&mut self, pid: i32, tid: i32) -> &mut Thread {
        let process = || if sys::is_thread_of(pid, tid) { pid } else { process_of(tid) };
        self.threads.entry(tid).or_insert_with(|| Thread::of(process()))
    }

    /// The first thread of process `pid`, which becomes known if it was not.
    pub(crate) fn process(&mut self, pid: i32) -> &mut Thread {
        self.threads.entry(pid).or_insert_with(|| Thread::of(pid))
    }

    /// Forgets a thread that has ended.
    pub(crate) fn forget(&mut self, tid: i32) {
        let gone = self.threads.remove(&tid);
        if let Some(gone) = gone
            && self.threads.values().all(|thread| thread.pid != gone.pid)
        {
            self.direct.remove(&gone.pid);
        }
    }

    /// Whether every call of process `pid` is stopped.
    pub(crate) fn is_direct(&self, pid: i32) -> bool {
        self.direct.contains(&pid)
    }

    /// Stops every call of process `pid` from now on.
    pub(crate) fn make_direct(&mut self, pid: i32) {
        self.direct.insert(pid);
    }

    /// Lets process `pid` run to the calls of the filter only.
    pub(crate) fn make_free(&mut self, pid: i32) {
        self.direct.remove(&pid);
    }

    /// The threads of process `pid` that run to the calls of the filter only.
    pub(crate) fn free_threads_of(&self, pid: i32) -> Vec<i32> {
        let free = |thread: &Thread| thread.pid == pid && thread.runs_freely;
        self.threads.iter().filter(|(_, thread)| free(thread)).map(|(tid, _)| *tid).collect()
    }
}

/// The process of thread `tid`; itself, if that cannot be read any more.
fn process_of(tid: i32) -> i32 {
    if sys::is_thread_of(tid, tid) {
        return tid;
    }
    let text = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Tgid:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(tid)
}

/// Whether descriptor `fd` of process `pid` is of a file opened `O_DIRECT`.
pub(crate) fn is_direct_file(pid: i32, fd: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0);
    // A pipe has the flag for another reason: it then keeps its packets apart.
    let pipe = || {
        let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
        link.to_string_lossy().starts_with("pipe:")
    };
    flags & libc::O_DIRECT != 0 && !pipe()
}

/// Whether process `pid` has a file opened `O_DIRECT`.
pub(crate) fn has_direct_file(pid: i32) -> bool {
    let Ok(list) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return false };
    list.flatten().any(|entry| is_direct_file(pid, &entry.file_name().to_string_lossy()))
}
