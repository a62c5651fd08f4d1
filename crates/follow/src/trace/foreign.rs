//! What the command executes, where that bears on what can be told: a program of another
//! architecture, or one that would have got other rights.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::OnceLock;

/// Something to know about a program that was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Of another word size or architecture: its calls are not looked at, and nothing is known of
    /// them.
    Foreign,
    /// Set-user-ID or set-group-ID, and we are not privileged: it runs without that.
    WithoutItsRights,
}

/// What is to be known about the program that process `pid` has just executed.
pub(crate) fn notes(pid: i32) -> Vec<Note> {
    let Ok(program) = File::open(format!("/proc/{pid}/exe")) else { return Vec::new() };
    let mut notes = Vec::new();
    if is_foreign(&program) {
        notes.push(Note::Foreign);
    }
    let sets = |file: &Metadata| {
        file.mode() & libc::S_ISUID != 0 || file.mode() & (libc::S_ISGID | 0o10) == 0o2010
    };
    if !rustix::process::geteuid().is_root() && program.metadata().is_ok_and(|file| sets(&file)) {
        notes.push(Note::WithoutItsRights);
    }
    notes
}

/// Whether this ELF file is for another architecture than ours; what cannot be read is not.
fn is_foreign(program: &File) -> bool {
    static OURS: OnceLock<Option<[u8; 4]>> = OnceLock::new();
    let ours = OURS.get_or_init(|| machine(&File::open("/proc/self/exe").ok()?));
    matches!((machine(program), ours), (Some(theirs), Some(ours)) if theirs != *ours)
}

/// Word size, byte order, and machine.
fn machine(program: &File) -> Option<[u8; 4]> {
    let mut head = [0; 20];
    program.read_exact_at(&mut head, 0).ok()?;
    Some([head[4], head[5], head[18], head[19]])
}
