//! The files of a program: made by the controller, nameless, gone when it closes them.

use crate::scenario::{Cached, FileSort, FileSpec};
use crate::sys::{self, PAGE};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::Path;

/// A file.
#[derive(Debug)]
pub(crate) struct LiveFile {
    /// The controller's descriptor.
    pub(crate) fd: OwnedFd,
    /// Its place among the program's files.
    pub(crate) index: u64,
}

/// Names of files by inode and device.
#[derive(Debug, Default)]
pub(crate) struct Inodes(BTreeMap<(u64, u32, u32), String>);

impl Inodes {
    /// The file's name in the scenario; `?` for one that it did not make.
    pub(crate) fn name(&self, inode: u64, (major, minor): (u32, u32)) -> String {
        self.0.get(&(inode, major, minor)).cloned().unwrap_or_else(|| "?".to_owned())
    }
    /// Notes that the file behind `fd` is called `name`.
    /// # Errors
    /// The kernel's.
    pub(crate) fn add(&mut self, fd: &OwnedFd, name: &str) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(fd)?;
        let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        self.0.insert((stat.st_ino, major, minor), name.to_owned());
        Ok(())
    }
}

/// Makes a file as `spec` says; regular ones in `dir`.
/// # Errors
/// Why this machine cannot make it, in words.
pub(crate) fn make(spec: &FileSpec, dir: &Path) -> Result<OwnedFd, String> {
    if spec.slow {
        return Err("no file here is slow on demand".to_owned());
    }
    let said = |errno: Errno| format!("a file: {errno}");
    let bytes = spec.len.bytes();
    match spec.kind {
        FileSort::Regular => {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            let fd = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR).map_err(said)?;
            let chunk = if spec.cached == Cached::Folio { bytes } else { PAGE };
            fill(&fd, spec, chunk).map_err(said)?;
            Ok(fd)
        }
        FileSort::Memfd => {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let fd = rustix::fs::memfd_create("gup-scenario", flags).map_err(said)?;
            if spec.fill.is_empty() && spec.cached == Cached::Nothing {
                rustix::fs::ftruncate(&fd, bytes).map_err(said)?;
            } else {
                fill(&fd, spec, PAGE).map_err(said)?;
            }
            Ok(fd)
        }
        FileSort::Secret => {
            let fd = sys::memfd_secret().map_err(said)?;
            // SAFETY: the descriptor was just opened and has no other owner.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            rustix::fs::ftruncate(&fd, bytes).map_err(said)?;
            Ok(fd)
        }
        FileSort::Ramfs | FileSort::Fsdax => {
            Err("this machine has no such file system at hand".to_owned())
        }
    }
}

/// Writes all of the file, `chunk` bytes a call.
fn fill(fd: &OwnedFd, spec: &FileSpec, chunk: u64) -> Result<(), Errno> {
    let zero = [0_u8];
    let pattern: &[u8] = if spec.fill.is_empty() { &zero } else { &spec.fill };
    let len = usize::try_from(spec.len.bytes()).map_err(|_| Errno::FBIG)?;
    let text: Vec<u8> = pattern.iter().copied().cycle().take(len).collect();
    let mut at = 0;
    for part in text.chunks(usize::try_from(chunk.max(1)).unwrap_or(usize::MAX)) {
        if rustix::io::pwrite(fd, part, at)? != part.len() {
            return Err(Errno::NOSPC);
        }
        at += part.len() as u64;
    }
    Ok(())
}

/// Adds seals to a memfd.
/// # Errors
/// The kernel's.
pub(crate) fn seal(fd: &OwnedFd, seals: u32) -> Result<(), Errno> {
    // SAFETY: no pointer is passed.
    sys::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }.into()).map(drop)
}
