//! What the command executes, where that bears on what can be told: a program of another
//! architecture, or one that would have got other rights.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
    let path = format!("/proc/{pid}/exe");
    let mut notes = Vec::new();
    if is_foreign(Path::new(&path)) {
        notes.push(Note::Foreign);
    }
    let sets = std::fs::metadata(&path).is_ok_and(|file| {
        file.mode() & libc::S_ISUID != 0 || file.mode() & (libc::S_ISGID | 0o10) == 0o2010
    });
    if sets && !rustix::process::geteuid().is_root() {
        notes.push(Note::WithoutItsRights);
    }
    notes
}

/// Whether the ELF file at `path` is for another architecture than ours; what cannot be read is
/// not.
fn is_foreign(path: &Path) -> bool {
    let head = |path: &Path| {
        let mut head = [0; 20];
        std::io::Read::read_exact(&mut std::fs::File::open(path).ok()?, &mut head).ok()?;
        // Word size, byte order, and the machine.
        Some([head[4], head[5], head[18], head[19]])
    };
    match (head(path), head(Path::new("/proc/self/exe"))) {
        (Some(theirs), Some(ours)) => theirs != ours,
        _ => false,
    }
}
