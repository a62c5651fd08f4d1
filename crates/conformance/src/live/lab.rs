//! The controller's side: the keeper, the mailbox, and what is observed through.
//!
//! Everything runs on one CPU. When a laboratory is dropped, the machine's settings are as they
//! were, its processes are gone, and the thread may run where it could before.

use super::exact::Exactly;
use super::keeper::KEEPER_ARGUMENT;
use super::mailbox::Mailbox;
use super::observe;
use super::remote::Desk;
use crate::fixture::files;
use crate::scenario::Setup;
use crate::sys;
use gup_mirror::proc::kpage::Kpages;
use rustix::fd::{AsRawFd, OwnedFd};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What may be changed on this machine, to be put back at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Swap on zram, where there is none.
    pub swap: bool,
    /// The pool of huge pages.
    pub huge_pages: bool,
    /// When transparent huge pages are made.
    pub thp: bool,
}

impl Changes {
    /// All of them.
    pub const ALL: Self = Self { swap: true, huge_pages: true, thp: true };
    /// None of them.
    pub const NONE: Self = Self { swap: false, huge_pages: false, thp: false };
}

/// What is looked at beside answers, areas and pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Pins of the whole machine: nobody else may pin meanwhile.
    pub pins: bool,
    /// Faults charged to the caller.
    pub faults: bool,
    /// The kernel's own counts and entries: needs the feature `bpf`, and root.
    pub exact: bool,
}

/// A place where programs are played in the running kernel.
#[derive(Debug)]
pub struct Lab {
    keeper: Keeper,
    pub(crate) mailbox: Mailbox,
    pub(crate) desk: Desk,
    /// `None` without the right to see frames.
    pub(crate) kpages: Option<Kpages>,
    /// The kernel's own counts and entries; `None` if they are not looked at.
    pub(crate) exactly: Option<Exactly>,
    /// Where regular files lie; `None` if no directory has direct I/O.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) watch: Watch,
    changes: Changes,
    affinity: sys::Affinity,
}

impl Lab {
    /// A laboratory whose keeper is started from `program`, which calls
    /// [`super::serve_keeper`] when its first argument is [`KEEPER_ARGUMENT`].
    /// # Errors
    /// Why this kernel cannot be asked, in words.
    pub fn new(program: &Path, changes: Changes, watch: Watch) -> Result<Self, String> {
        if !cfg!(target_arch = "x86_64") {
            return Err("subjects are made for x86-64".to_owned());
        }
        let affinity = sys::Affinity::of_this_thread();
        sys::stay_on_one_cpu(usize::try_from(std::process::id()).unwrap_or(0));
        let mailbox = Mailbox::new().map_err(|errno| format!("shared memory: {errno}"))?;
        let dir = files::usable_dir();
        let scratch = dir.as_deref().map(scratch).unwrap_or_default();
        let keeper = Keeper::start(program, &mailbox, &scratch)?;
        let kpages = Kpages::open().filter(|kpages| kpages.flags(1).is_some());
        let desk = Desk::new();
        let exactly = watch.exact.then(Exactly::open).transpose()?;
        Ok(Self { keeper, mailbox, desk, kpages, exactly, dir, watch, changes, affinity })
    }
    /// What this laboratory cannot see or do, in words.
    pub fn shortcomings(&self) -> Vec<&'static str> {
        let mut lacks = Vec::new();
        if self.kpages.is_none() {
            lacks.push("the state of pages cannot be seen: /proc/kpageflags needs CAP_SYS_ADMIN");
        }
        if self.dir.is_none() {
            lacks.push("no directory here has direct I/O and nameless files");
        }
        if self.watch.pins && observe::pins().is_none() {
            lacks.push("pins cannot be counted: /proc/sys/vm/stat_refresh needs root");
        }
        lacks
    }
    /// Whether the state of pages can be seen.
    pub fn sees_pages(&self) -> bool {
        self.kpages.is_some()
    }
    /// What may be changed here.
    pub(crate) fn changes(&self) -> Changes {
        self.changes
    }
    /// A new subject that serves slot `slot`.
    pub(crate) fn spawn(&mut self, slot: usize) -> Result<i32, String> {
        let word = self.keeper.ask(&format!("spawn {slot}"))?;
        word.parse().map_err(|_| "the keeper said no number".to_owned())
    }
    /// Sets a file of settings, until the laboratory is dropped.
    pub(crate) fn set(&mut self, path: &str, value: &str) -> Result<(), String> {
        self.keeper.ask(&format!("set {path} {value}")).map(drop)
    }
    /// Makes the machine like `setup` as far as that is allowed here: each part for itself.
    pub fn provide(&mut self, setup: &Setup) {
        super::machine::provide(self, setup);
    }
    /// Makes swap on zram, until the laboratory is dropped.
    pub(crate) fn make_swap(&mut self, bytes: u64) -> Result<(), String> {
        self.keeper.ask(&format!("swap {bytes}")).map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.affinity.put_back();
    }
}

/// A file of zeroes that is allocated on its disk, and another to write to.
fn scratch(dir: &Path) -> Vec<OwnedFd> {
    let pages = super::subject::DIRECT_PAGES;
    let file = || files::direct_zeroes(dir, pages).ok();
    [file(), file()].into_iter().flatten().collect()
}

#[derive(Debug)]
struct Keeper {
    child: Child,
    tell: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
}

impl Keeper {
    fn start(program: &Path, mailbox: &Mailbox, scratch: &[OwnedFd]) -> Result<Self, String> {
        let no = |error: std::io::Error| format!("the keeper cannot be started: {error}");
        let mut command = Command::new(program);
        command.arg(KEEPER_ARGUMENT).arg(mailbox.fd().as_raw_fd().to_string());
        command.args(scratch.iter().map(|fd| fd.as_raw_fd().to_string()));
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(no)?;
        let broken = || no(std::io::ErrorKind::BrokenPipe.into());
        let tell = Some(child.stdin.take().ok_or_else(broken)?);
        let hear = BufReader::new(child.stdout.take().ok_or_else(broken)?);
        let mut keeper = Self { child, tell, hear };
        // It has opened what it was told of once it answers.
        keeper.ask("restore")?;
        Ok(keeper)
    }
    fn ask(&mut self, line: &str) -> Result<String, String> {
        let gone = |error: std::io::Error| format!("the keeper broke off: {error}");
        let tell = self.tell.as_mut().ok_or("the keeper is gone")?;
        tell.write_all(format!("{line}\n").as_bytes()).and_then(|()| tell.flush()).map_err(gone)?;
        let mut answer = String::new();
        self.hear.read_line(&mut answer).map_err(gone)?;
        match answer.trim_end().split_once(' ').unwrap_or((answer.trim_end(), "")) {
            ("ok", word) => Ok(word.to_owned()),
            ("err", why) => Err(why.to_owned()),
            _ => Err("the keeper broke off".to_owned()),
        }
    }
}

impl Drop for Keeper {
    /// Waits until all is put back.
    fn drop(&mut self) {
        drop(self.tell.take());
        let _ = self.child.wait();
    }
}
