//! ^C while something long runs: the first ends it with what was found so far, the second ends the
//! command at once.
//!
//! The exit status is then 130 (128 and the signal's number, as in a shell), so that nobody takes a
//! part for the whole.

use gup_mirror::meanwhile::interruption;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit status of what was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

/// Hears the first ^C from now on; for verbs that look whether there was one.
pub(crate) fn heed() {
    static SECOND: std::sync::OnceLock<Arc<AtomicBool>> = std::sync::OnceLock::new();
    if SECOND.get().is_some() {
        return;
    }
    let second = SECOND.get_or_init(Arc::default);
    // Where a handler cannot be set, ^C ends the command as it always did.
    let _ = flag::register_conditional_default(SIGINT, Arc::clone(second));
    let _ = flag::register(SIGINT, Arc::clone(second));
    let _ = flag::register(SIGINT, Arc::clone(interruption()));
}

/// Whether there was a ^C that nobody has answered yet.
pub(crate) fn was_interrupted() -> bool {
    interruption().load(Ordering::SeqCst)
}

/// The exit status of something that was interrupted.
pub(crate) fn status() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}
