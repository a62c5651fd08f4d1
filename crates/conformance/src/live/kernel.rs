//! The running kernel as a world: a program's processes, files and names, and how each operation is
//! put to the kernel.
//!
//! Operations that only the engine has are not played: [`Value::CannotPlay`], with the reason.

use super::exact::exact;
use super::files::{self, Inodes, LiveFile};
use super::lab::Lab;
use super::mailbox::{DATA, Gone, SLOTS};
use super::observe::{self, Eyes};
use super::subject as orders;
use crate::bpf::Root;
use crate::scenario::{At, Base, FileSpec, Op, Setup, Span, Step, Value};
use crate::sys::PAGE;
use crate::world::token::Classes;
use crate::world::{Area, Heard, Space, WATCHED_PAGES, Window, World};
use gup::addr::VirtAddr;
use gup::errno::Errno;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A process of a program.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) pid: i32,
    pub(crate) slot: usize,
    pub(super) eyes: Eyes,
    /// Its highest page table, where that is looked at.
    pub(super) root: Option<Root>,
    /// Its memory as a file, once needed.
    pub(crate) mem: Option<OwnedFd>,
    /// What keeps its breakpoints in place.
    pub(crate) events: Vec<OwnedFd>,
    /// Mappings by name: first address, pages.
    pub(crate) names: BTreeMap<String, (u64, u64)>,
}

/// The running kernel, in the middle of a program.
#[derive(Debug)]
pub struct Kernel<'l> {
    pub(crate) lab: &'l mut Lab,
    pub(crate) processes: BTreeMap<String, Subject>,
    pub(crate) files: BTreeMap<String, LiveFile>,
    inodes: Inodes,
    watch: Vec<(u64, u64)>,
    used: usize,
    /// Faults that the last operation was charged with, if it was asked.
    pub(crate) faults: Option<(u64, u64)>,
    /// When a process ended last: what it had registered is given back a little later.
    ended: Option<Instant>,
}

/// What came of an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) ret: i64,
    pub(crate) errno: i32,
    pub(crate) signal: i32,
    pub(crate) mask: u64,
}

impl<'l> Kernel<'l> {
    /// A fresh set of processes for a program on a machine such as `setup` says.
    /// # Errors
    /// Why this machine cannot be like that, in words.
    pub fn new(lab: &'l mut Lab, setup: &Setup) -> Result<Self, String> {
        super::machine::make_like(lab, setup)?;
        Ok(Self {
            lab,
            processes: BTreeMap::new(),
            files: BTreeMap::new(),
            inodes: Inodes::default(),
            watch: setup.watch.clone(),
            used: 0,
            faults: None,
            ended: None,
        })
    }

    /// The address that `at` stands for in `process`.
    pub(crate) fn addr(&self, process: &str, at: &At) -> Result<u64, Value> {
        let start = match &at.base {
            Base::Absolute => 0,
            Base::Mapping(name) => {
                let names = &self.subject(process)?.names;
                let never = || cannot(format!("{name} was never mapped"));
                names.get(name).ok_or_else(never)?.0
            }
        };
        Ok(start.wrapping_add(at.offset))
    }
    /// Start and bytes of `span`.
    pub(crate) fn span(&self, process: &str, span: &Span) -> Result<(u64, u64), Value> {
        Ok((self.addr(process, &span.at)?, span.len.bytes()))
    }
    pub(crate) fn subject(&self, process: &str) -> Result<&Subject, Value> {
        self.processes.get(process).ok_or_else(|| cannot(format!("there is no process {process}")))
    }
    /// Lets `process` act.
    pub(crate) fn order(
        &mut self,
        process: &str,
        order: u32,
        args: &[u64],
    ) -> Result<Reply, Value> {
        let (pid, number) = {
            let subject = self.subject(process)?;
            (subject.pid, subject.slot)
        };
        let slot = self.lab.mailbox.slot(number);
        let posted = slot.post(order, args, || is_alive(pid));
        if let Err(Gone) = posted {
            return Err(cannot(format!("{process} ended instead of answering")));
        }
        let [minor, major] = [0, 1].map(|n| slot.faults[n].load(Relaxed));
        self.faults = Some((minor, major));
        Ok(Reply {
            ret: slot.ret.load(Relaxed),
            errno: i32::try_from(slot.errno.load(Relaxed)).unwrap_or(0),
            signal: i32::try_from(slot.signal.load(Relaxed)).unwrap_or(0),
            mask: slot.mask.load(Relaxed),
        })
    }
    /// Lets `process` make a system call.
    pub(crate) fn call(
        &mut self,
        process: &str,
        number: i64,
        args: [u64; 6],
    ) -> Result<Result<i64, Errno>, Value> {
        let mut words = [number.cast_unsigned(); 7];
        words[1..].copy_from_slice(&args);
        let reply = self.order(process, orders::CALL, &words)?;
        Ok(reply.result())
    }

    fn perform(&mut self, op: &Op) -> Result<Value, Value> {
        match op {
            Op::Process { name } => self.new_process(name),
            Op::File { name, spec } => self.new_file(name, spec),
            Op::Truncate { file, len } => {
                let file = self.file(file)?;
                let cut = rustix::fs::ftruncate(&file.fd, len.bytes());
                Ok(done(cut.map(|()| 0).map_err(|errno| Errno::from_raw(errno.raw_os_error()))))
            }
            Op::Seal { file, seals } => {
                let sealed = files::seal(&self.file(file)?.fd, *seals);
                Ok(done(sealed.map(|()| 0).map_err(|errno| Errno::from_raw(errno.raw_os_error()))))
            }
            Op::Fork { process, child } => self.fork(process, child),
            Op::Exit { process } => self.exit(process),
            Op::ExpectState { .. }
            | Op::ExpectAreas { .. }
            | Op::ExpectSame { .. }
            | Op::ExpectOther { .. }
            | Op::ExpectCount { .. } => super::expect::expect(self, op),
            other => super::acts::act(self, other),
        }
    }
    fn new_process(&mut self, name: &str) -> Result<Value, Value> {
        let slot = self.new_slot()?;
        let pid = self.lab.spawn(slot).map_err(Value::CannotPlay)?;
        self.adopt(name, pid, slot, BTreeMap::new())?;
        let files: Vec<(String, u64)> =
            self.files.iter().map(|(name, file)| (name.clone(), file.index)).collect();
        for (file, _) in files {
            self.hand_over(name, &file)?;
        }
        Ok(Value::Done)
    }
    fn new_slot(&mut self) -> Result<usize, Value> {
        if self.used >= SLOTS {
            return Err(cannot(format!("a program has at most {SLOTS} processes here")));
        }
        self.used += 1;
        Ok(self.used - 1)
    }
    fn adopt(
        &mut self,
        name: &str,
        pid: i32,
        slot: usize,
        names: BTreeMap<String, (u64, u64)>,
    ) -> Result<(), Value> {
        let eyes = match Eyes::open(pid) {
            Ok(eyes) => eyes,
            Err(errno) => {
                end_of(pid);
                return Err(cannot(format!("/proc/{pid}: {errno}")));
            }
        };
        let root = self.lab.exactly.as_ref().map(|exactly| exactly.sight.root(eyes.pagemap()));
        let root = root.transpose().map_err(|errno| cannot(format!("/proc/{pid}: {errno}")))?;
        let subject = Subject { pid, slot, eyes, root, mem: None, events: Vec::new(), names };
        self.processes.insert(name.to_owned(), subject);
        Ok(())
    }
    fn fork(&mut self, parent: &str, child: &str) -> Result<Value, Value> {
        let slot = self.new_slot()?;
        let names = self.subject(parent)?.names.clone();
        let reply = self.order(parent, orders::FORK, &[slot as u64])?;
        self.faults = None;
        match reply.result() {
            Ok(pid) => {
                self.adopt(child, i32::try_from(pid).unwrap_or(-1), slot, names)?;
                // It serves once it answers.
                self.order(child, orders::RING_UNREGISTER, &[])?;
                self.faults = None;
                Ok(Value::Done)
            }
            Err(errno) => Ok(Value::Failed(errno)),
        }
    }
    fn exit(&mut self, name: &str) -> Result<Value, Value> {
        let pid = self.subject(name)?.pid;
        self.order(name, orders::EXIT, &[])?;
        self.faults = None;
        crate::sys::wait_for(pid);
        self.processes.remove(name);
        self.ended = Some(Instant::now());
        Ok(Value::Done)
    }
    fn new_file(&mut self, name: &str, spec: &FileSpec) -> Result<Value, Value> {
        let Some(dir) = self.lab.dir.clone() else {
            return Err(cannot("no directory here has direct I/O and nameless files"));
        };
        let index = self.files.len() as u64;
        if index >= orders::READERS - orders::FILES {
            return Err(cannot("a program has at most 40 files here"));
        }
        let fd = files::make(spec, &dir).map_err(Value::CannotPlay)?;
        self.inodes.add(&fd, name).map_err(|errno| cannot(errno.to_string()))?;
        self.files.insert(name.to_owned(), LiveFile { fd, index });
        let processes: Vec<String> = self.processes.keys().cloned().collect();
        for process in processes {
            self.hand_over(&process, name)?;
        }
        Ok(Value::Done)
    }
    /// Gives `process` both descriptors of a file.
    fn hand_over(&mut self, process: &str, file: &str) -> Result<(), Value> {
        let (index, fd) = {
            let file = self.file(file)?;
            (file.index, u64::from(file.fd.as_raw_fd().unsigned_abs()))
        };
        let owner = u64::from(std::process::id());
        for (first, flags) in [(orders::FILES, OFlags::RDWR), (orders::READERS, OFlags::RDONLY)] {
            let args = [owner, fd, first + index, u64::from(flags.bits())];
            if let Err(errno) = self.order(process, orders::TAKE_FILE, &args)?.result() {
                return Err(cannot(format!("{process} cannot open {file}: {errno:?}")));
            }
        }
        self.faults = None;
        Ok(())
    }
    pub(crate) fn file(&self, name: &str) -> Result<&LiveFile, Value> {
        self.files.get(name).ok_or_else(|| cannot(format!("there is no file {name}")))
    }

    fn spaces(&self) -> Result<Vec<Space>, Value> {
        let mut classes = Classes::default();
        self.processes
            .iter()
            .map(|(name, subject)| self.space(name, subject, &mut classes))
            .collect()
    }
    fn space(&self, name: &str, subject: &Subject, classes: &mut Classes) -> Result<Space, Value> {
        let watch: Vec<(u64, u64)> = match &self.watch[..] {
            [] => {
                let names = subject.names.values();
                names.map(|(start, pages)| (*start, (*pages).min(WATCHED_PAGES))).collect()
            }
            said => said.to_vec(),
        };
        let no = |errno: rustix::io::Errno| cannot(format!("{name} cannot be observed: {errno}"));
        let areas = subject.eyes.areas(&watch, &self.inodes).map_err(no)?;
        let mut windows = Vec::new();
        if let Some(kpages) = &self.lab.kpages {
            for range in watch {
                let pages = subject.eyes.tokens(range, &areas, kpages, classes).map_err(no)?;
                let exact = exact(self, subject, range.0, &pages).map_err(no)?;
                windows.push(Window { start: range.0, pages, exact });
            }
        }
        Ok(Space { process: name.to_owned(), areas, windows })
    }
    /// The areas of `process` that overlap `range`.
    pub(crate) fn areas(&self, process: &str, range: (u64, u64)) -> Result<Vec<Area>, Value> {
        let eyes = &self.subject(process)?.eyes;
        eyes.areas(&[range], &self.inodes).map_err(|errno| cannot(errno.to_string()))
    }
    /// The states of `pages` pages of `process`.
    pub(crate) fn window(
        &self,
        process: &str,
        range: (u64, u64),
        classes: &mut Classes,
    ) -> Result<Window, Value> {
        let unseen = || cannot("the state of pages cannot be seen here");
        let kpages = self.lab.kpages.as_ref().ok_or_else(unseen)?;
        let no = |errno: rustix::io::Errno| cannot(errno.to_string());
        let eyes = &self.subject(process)?.eyes;
        let areas = eyes.areas(&[range], &self.inodes).map_err(no)?;
        let pages = eyes.tokens(range, &areas, kpages, classes).map_err(no)?;
        Ok(Window { start: range.0, pages, exact: None })
    }
}

impl World for Kernel<'_> {
    fn play(&mut self, step: &Step) -> Heard {
        self.faults = None;
        let count = self.lab.watch.pins;
        let before = if count { observe::pins() } else { None };
        let value = self.perform(&step.op).unwrap_or_else(|value| value);
        let after = if count { observe::pins() } else { None };
        let pins = before.zip(after).map(|(before, after)| {
            (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1))
        });
        let faults = self.faults.filter(|_| self.lab.watch.faults);
        match self.spaces() {
            Ok(spaces) => Heard { value, faults, pins, spaces },
            Err(value) => Heard { value, faults, pins, spaces: Vec::new() },
        }
    }
    fn again(&mut self) -> Option<Vec<Space>> {
        const LATE: Duration = Duration::from_secs(1);
        self.ended.filter(|ended| ended.elapsed() < LATE)?;
        std::thread::sleep(Duration::from_millis(4));
        self.spaces().ok()
    }
}

impl Drop for Kernel<'_> {
    fn drop(&mut self) {
        self.processes.values().for_each(|subject| end_of(subject.pid));
    }
}

impl Reply {
    /// The call's result.
    pub(crate) fn result(self) -> Result<i64, Errno> {
        if self.ret < 0 && self.errno != 0 {
            Err(Errno::from_raw(self.errno))
        } else {
            Ok(self.ret)
        }
    }
}

/// Ends a subject, and waits until it is gone.
fn end_of(pid: i32) {
    if pid > 1 {
        // SAFETY: a process of our own.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        crate::sys::wait_for(pid);
    }
}

/// Whether the subject has not ended.
fn is_alive(pid: i32) -> bool {
    // SAFETY: no status is wanted; the process stays waitable.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is writable.
    let asked = unsafe { libc::waitid(libc::P_PID, pid.unsigned_abs(), &raw mut info, flags) };
    // SAFETY: filled in by the kernel, or all zeroes.
    asked == 0 && unsafe { info.si_pid() } == 0
}

/// A step that cannot be played here.
pub(crate) fn cannot(why: impl Into<String>) -> Value {
    Value::CannotPlay(why.into())
}

/// The value of a call that gives nothing.
pub(crate) fn done(result: Result<i64, Errno>) -> Value {
    result.map_or_else(Value::Failed, |_| Value::Done)
}

/// The value of a call that gives a number.
pub(crate) fn count(result: Result<i64, Errno>) -> Value {
    result.map_or_else(Value::Failed, Value::Count)
}

/// The value of a call that gives an address.
pub(crate) fn address(result: Result<i64, Errno>) -> Value {
    result.map_or_else(Value::Failed, |at| Value::At(VirtAddr::new(at.cast_unsigned())))
}

/// The bytes that go through a slot's buffer at once.
pub(crate) const BYTES_MAX: u64 = DATA as u64;

/// Pages of a length, a part counting as a whole one.
pub(crate) fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE)
}
