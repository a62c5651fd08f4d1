//! The keeper: a small process of our own that makes subjects by fork, and that puts the machine's
//! settings back, whatever becomes of the controller.
//!
//! It is this program again, started with a hidden argument. It heeds no signal from the terminal;
//! when the controller closes the pipe, ends, or is killed, the keeper puts back what it changed
//! and ends. Lines on its standard input, one answer each: `spawn SLOT`, `set PATH VALUE`,
//! `swap BYTES`, `restore`; answers are `ok WORD` or `err REASON`.

use super::mailbox::{Slot, map_for_subjects};
use super::subject::{self, DIRECT, clone_beside};
use crate::sys::{self, check, last_errno};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs;
use std::io::{BufRead, Write};

/// The hidden first argument of a keeper; then the controller's descriptor of the mailbox, and of
/// the two files for direct I/O, or `-`.
pub const KEEPER_ARGUMENT: &str = "__keeper";

/// Where swap is made.
const ZRAM: &str = "/dev/zram0";

/// What was changed, to be put back in the opposite order.
enum Change {
    /// A file of settings had this value.
    Setting(String, String),
    /// Swap on zram was made.
    Swap,
}

/// Serves as the keeper until the controller is gone. Returns the exit status.
///
/// Only for a process that has one thread and was started for this.
pub fn serve(words: &[String]) -> i32 {
    let controller = std::os::unix::process::parent_id();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let Some(slots) = words.first().and_then(|fd| mailbox(controller, fd).ok()) else { return 1 };
    for (fd, number) in words.iter().skip(1).zip(DIRECT) {
        take_direct(controller, fd, number);
    }
    let mut keeper = Keeper { slots, controller, changes: Vec::new() };
    let stdin = std::io::stdin();
    let mut line = String::new();
    while matches!(stdin.lock().read_line(&mut line), Ok(count) if count > 0) {
        let answer = keeper.obey(line.trim_end());
        let text = match answer {
            Ok(word) => format!("ok {word}\n"),
            Err(why) => format!("err {why}\n"),
        };
        let mut out = std::io::stdout();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            break;
        }
        line.clear();
    }
    keeper.restore();
    0
}

fn open_of(controller: u32, fd: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(format!("/proc/{controller}/fd/{fd}"), flags, Mode::empty())
}

fn mailbox(controller: u32, fd: &str) -> Result<&'static [Slot], Errno> {
    map_for_subjects(&open_of(controller, fd, OFlags::RDWR)?)
}

/// Opens a file for direct I/O under a fixed number; without it subjects get EBADF.
fn take_direct(controller: u32, fd: &str, number: u64) {
    let Ok(fd) = open_of(controller, fd, OFlags::RDWR | OFlags::DIRECT) else { return };
    let number = i32::try_from(number).unwrap_or(-1);
    // SAFETY: nothing else uses that number in this process.
    unsafe { libc::dup2(fd.as_raw_fd(), number) };
}

struct Keeper {
    slots: &'static [Slot],
    controller: u32,
    changes: Vec<Change>,
}

impl Keeper {
    fn obey(&mut self, line: &str) -> Result<String, String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "spawn" => self.spawn(rest.parse().map_err(|_| "no such slot".to_owned())?),
            "set" => {
                let (path, value) = rest.split_once(' ').ok_or("a path and a value")?;
                self.set(path, value).map_err(|error| format!("{path}: {error}"))
            }
            "swap" => self.swap(rest.parse().map_err(|_| "no such size".to_owned())?),
            "restore" => {
                self.restore();
                Ok(String::new())
            }
            _ => Err("no such command".to_owned()),
        }
    }
    fn spawn(&self, slot: usize) -> Result<String, String> {
        if slot >= self.slots.len() {
            return Err("no such slot".to_owned());
        }
        match clone_beside() {
            Ok(0) => {
                // A subject keeps no end of the controller's pipes.
                for fd in 0..3 {
                    // SAFETY: nothing of this process uses them from here on.
                    unsafe { libc::close(fd) };
                }
                subject::serve(self.slots, slot, self.controller)
            }
            Ok(pid) => Ok(pid.to_string()),
            Err(errno) => Err(errno.to_string()),
        }
    }
    fn set(&mut self, path: &str, value: &str) -> std::io::Result<String> {
        let text = fs::read_to_string(path)?;
        let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let old = chosen.map_or(text.trim(), |(word, _)| word).to_owned();
        fs::write(path, value)?;
        self.changes.push(Change::Setting(path.to_owned(), old));
        Ok(String::new())
    }
    /// Swap of this size on zram, where there is none.
    fn swap(&mut self, bytes: u64) -> Result<String, String> {
        let no = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        let size = fs::read_to_string("/sys/block/zram0/disksize").map_err(no("zram"))?;
        if size.trim() != "0" {
            return Err("zram0 is in use".to_owned());
        }
        fs::write("/sys/block/zram0/disksize", bytes.to_string()).map_err(no("zram's size"))?;
        self.changes.push(Change::Swap);
        fs::OpenOptions::new()
            .write(true)
            .open(ZRAM)
            .and_then(|mut file| file.write_all(&swap_header(bytes)))
            .map_err(no(ZRAM))?;
        let path = CString::new(ZRAM).unwrap_or_default();
        // SAFETY: `path` is a terminated string; the device was made for this.
        check(unsafe { libc::swapon(path.as_ptr(), 0) }.into())
            .map_err(|errno| format!("swapon: {errno}"))?;
        Ok(String::new())
    }
    fn restore(&mut self) {
        while let Some(change) = self.changes.pop() {
            match change {
                Change::Setting(path, old) => drop(fs::write(path, old)),
                Change::Swap => {
                    let path = CString::new(ZRAM).unwrap_or_default();
                    // SAFETY: `path` is a terminated string.
                    if unsafe { libc::swapoff(path.as_ptr()) } != 0 {
                        let _ = last_errno();
                    }
                    drop(fs::write("/sys/block/zram0/reset", "1"));
                }
            }
        }
    }
}

/// The first page of a swap device of this size.
fn swap_header(bytes: u64) -> Vec<u8> {
    const VERSION: u32 = 1;
    let mut page = vec![0_u8; sys::PAGE as usize];
    let last = u32::try_from(bytes / sys::PAGE - 1).unwrap_or(u32::MAX);
    page[1024..1028].copy_from_slice(&VERSION.to_ne_bytes());
    page[1028..1032].copy_from_slice(&last.to_ne_bytes());
    page[4086..].copy_from_slice(b"SWAPSPACE2");
    page
}
