//! Asking the running kernel: a forked process builds the window, calls, and tells.
//!
//! Whoever asks must have one thread. The process ends with its answer; nothing of it is left.

use super::answer::{Answer, Returned, Told};
use super::builder::{Cannot, Desk, after, build, step};
use super::family::Entry;
use super::file::Vector;
use super::raw;
use crate::ask::driver::Driver;
use crate::ask::remote::{with_traced, word};
use crate::sys::{self, Forked};
use rustix::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Asks the running kernel; files on a disk lie in `dir`, if there is such a directory.
pub fn ask_kernel(vector: &Vector, dir: Option<&Path>) -> Told {
    match asked(vector, dir) {
        Ok(told) => told,
        Err(why) => Told::Cannot(why),
    }
}

fn asked(vector: &Vector, dir: Option<&Path>) -> Result<Told, Cannot> {
    let (up_out, up_in) = step("pipe", rustix::pipe::pipe())?;
    let (down_out, down_in) = step("pipe", rustix::pipe::pipe())?;
    let parent = std::process::id();
    let child = match step("fork", sys::fork())? {
        Forked::Parent(child) => child,
        Forked::Child => {
            sys::die_with_parent(parent);
            drop((up_out, down_in));
            let pipes = Pipes { tell: up_in, hear: down_out };
            let told = catch_unwind(AssertUnwindSafe(|| subject(vector, dir, &pipes)));
            let told = told.unwrap_or_else(|_| Err("the subject panicked".to_owned()));
            let told = told.unwrap_or_else(Told::Cannot);
            pipes.say(&serde_json::to_string(&told).unwrap_or_default());
            sys::exit_now(0);
        }
    };
    drop((up_in, down_out));
    let pipes = Pipes { tell: down_in, hear: up_out };
    let told = converse(vector, child, &pipes);
    drop(pipes);
    sys::wait_for(child);
    told
}

/// The asker's part: it makes the call itself if another process must.
fn converse(vector: &Vector, child: i32, pipes: &Pipes) -> Result<Told, Cannot> {
    let entry = vector.entry_point()?;
    if is_remote(entry) {
        let line = pipes.hear();
        if line != "ready" {
            return told(&line);
        }
        let addr = vector.values()?.first().copied().unwrap_or(0);
        let driver = if entry == Entry::Poke { Driver::Poke } else { Driver::Peek };
        let asked = step("ptrace", with_traced(child, || word(driver, child, addr)))?;
        let returned: Returned =
            asked.map(|()| "0".to_owned()).map_err(rustix::io::Errno::raw_os_error);
        pipes.say(&serde_json::to_string(&returned).unwrap_or_default());
    }
    told(&pipes.hear())
}

fn told(line: &str) -> Result<Told, Cannot> {
    serde_json::from_str(line).map_err(|_| format!("the subject ended: {line:?}"))
}

fn is_remote(entry: Entry) -> bool {
    matches!(entry, Entry::Peek | Entry::Poke)
}

/// The subject's part.
fn subject(vector: &Vector, dir: Option<&Path>, pipes: &Pipes) -> Result<Told, Cannot> {
    let (entry, args) = (vector.entry_point()?, vector.values()?);
    let desk = Desk::open(dir)?;
    build(&vector.layout, &desk)?;
    let returned = if is_remote(entry) {
        pipes.say("ready");
        serde_json::from_str(&pipes.hear()).map_err(|error| error.to_string())?
    } else {
        raw::perform(entry, &args, &desk)?
    };
    Ok(Told::Answer(Answer::new(returned, after()?)))
}

/// Lines to and from the other side.
struct Pipes {
    tell: OwnedFd,
    hear: OwnedFd,
}

impl Pipes {
    fn say(&self, line: &str) {
        let text = format!("{line}\n");
        let mut rest = text.as_bytes();
        while let Ok(n @ 1..) = rustix::io::retry_on_intr(|| rustix::io::write(&self.tell, rest)) {
            rest = rest.get(n..).unwrap_or_default();
        }
    }
    /// The next line; what there is of it if the other side has ended.
    fn hear(&self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0]);
        let next = |byte: &mut [u8; 1]| {
            rustix::io::retry_on_intr(|| rustix::io::read(self.hear.as_fd(), &mut byte[..]))
        };
        while let Ok(1) = next(&mut byte) {
            if byte[0] == b'\n' {
                break;
            }
            line.push(byte[0]);
        }
        String::from_utf8_lossy(&line).into_owned()
    }
}
