//! The signals that reach us while the command runs.
//!
//! Keys of the terminal reach the whole foreground group, the command too; what a process sends
//! reaches us alone and is passed on. We cannot leave before the command does: without a tracer
//! the calls that the filter stops would fail. So the first interruption ends the looking, and the
//! second ends the command.

use crate::sys::{self, Sender, Signals};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Those that we hear.
pub(crate) fn heard() -> Signals {
    Signals::of(&[
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ])
}

/// What the signals have asked for so far.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// To tell nothing any more.
    pub(crate) quiet: AtomicBool,
    /// To stop when the command has stopped, as the terminal's ^Z asks of both.
    stop: AtomicBool,
    /// Whether the command has stopped.
    stopped: AtomicBool,
}

impl Asked {
    /// The command has stopped.
    pub(crate) fn stopped(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.stop_too();
    }

    /// The command goes on.
    pub(crate) fn goes_on(&self) {
        self.stopped.store(false, Ordering::SeqCst);
    }

    /// Stops if both have happened, whichever came last, and only once.
    fn stop_too(&self) {
        let both = self.stopped.load(Ordering::SeqCst) && self.stop.swap(false, Ordering::SeqCst);
        if both {
            sys::stop();
        }
    }
}

/// Listens for signals, in a thread of its own, on behalf of the command `pid`. `still_here` is
/// called when the command outlives the first interruption.
pub(crate) fn watch(pid: i32, still_here: fn(u32)) -> Arc<Asked> {
    let asked = Arc::new(Asked::default());
    let shared = Arc::clone(&asked);
    std::thread::spawn(move || {
        loop {
            match heard().wait() {
                Some((libc::SIGINT, sender)) => {
                    interrupted(pid, sender, &shared, still_here);
                }
                Some((libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU, Sender::Terminal)) => {
                    shared.stop.store(true, Ordering::SeqCst);
                    shared.stop_too();
                }
                Some((signal, Sender::Process)) => sys::kill(pid, signal),
                Some((_, Sender::Terminal)) | None => {}
            }
        }
    });
    asked
}

fn interrupted(pid: i32, sender: Sender, asked: &Asked, still_here: fn(u32)) {
    if asked.quiet.swap(true, Ordering::SeqCst) {
        // Whatever is still traced ends with us.
        sys::kill(pid, libc::SIGKILL);
        std::process::exit(128 + libc::SIGINT);
    }
    if sender == Sender::Process {
        sys::kill(pid, libc::SIGINT);
    }
    // A command that ends of it ends us meanwhile; a second interruption waits for this long.
    std::thread::sleep(Duration::from_millis(200));
    still_here(pid.unsigned_abs());
}
