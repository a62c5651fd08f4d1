//! One live process, held by its `/proc/PID` directory.
//!
//! The directory stands for the process, not for the number: when the process ends and its id is
//! given away, reads answer "gone" and never describe another process.
//!
//! A process that was collected into a bundle is opened and read in the same way.
//!
//! Linux: `fs/proc/base.c`.

use crate::bundle::Bundle;
use crate::error::MirrorError;
use crate::kernel::{Facts, PROBES, probe};
use crate::proc::hugepages::HugePages;
use crate::proc::image::Image;
use crate::proc::kernel::KernelVersion;
use crate::proc::kpage::{Folios, Kpages};
use crate::proc::status::Status;
use crate::proc::zones;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// One process with user memory, live or collected.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    source: Source,
    status: Status,
    image: Image,
    frames: Frames,
}

/// Whether flags of frames are looked at, where they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frames {
    Seen,
    Hidden,
}

/// Where what is read comes from.
#[derive(Debug)]
enum Source {
    /// The directory of a live process.
    Live(OwnedFd),
    /// A bundle.
    Kept(Box<Bundle>),
}

impl Process {
    /// Takes hold of process `pid`, and reads its status.
    ///
    /// # Errors
    /// [`MirrorError::Gone`], [`MirrorError::KernelThread`], [`MirrorError::Zombie`], or
    /// [`MirrorError::NotPermitted`] when its memory map may not be read.
    pub fn open(pid: u32) -> Result<Self, MirrorError> {
        let path = format!("/proc/{pid}");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| MirrorError::from_errno(pid, &path, errno))?;
        let text = read_at(pid, &dir, "status")?;
        let status = Status::parse(&String::from_utf8_lossy(&text));
        let name = status.name.clone();
        if status.is_zombie() {
            return Err(MirrorError::Zombie { pid, name });
        }
        if status.is_kernel_thread() {
            return Err(MirrorError::KernelThread { pid, name });
        }
        let (image, frames) = (Image::default(), Frames::Seen);
        let mut process = Self { pid, source: Source::Live(dir), status, image, frames };
        process.open_file("maps")?;
        process.image = process.image_now()?;
        Ok(process)
    }

    /// The process that was collected into `bundle`, as it was then.
    pub fn from_bundle(bundle: Bundle) -> Self {
        let status = Status::parse(bundle.file("status").unwrap_or_default());
        let (pid, image, frames) = (bundle.pid, Image::default(), Frames::Seen);
        Self { pid, source: Source::Kept(Box::new(bundle)), status, image, frames }
    }

    /// The program that it ran when it was opened.
    pub const fn image(&self) -> Image {
        self.image
    }

    /// The program that it runs now.
    ///
    /// # Errors
    /// [`MirrorError::Gone`] if it has ended; else as [`Process::read_file`].
    pub(crate) fn image_now(&self) -> Result<Image, MirrorError> {
        if self.bundle().is_some() {
            return Ok(self.image);
        }
        let text = self.read_file("stat")?;
        let gone = || self.error("stat", Errno::SRCH);
        Image::parse(&String::from_utf8_lossy(&text)).ok_or_else(gone)
    }

    /// The same process, seen as by a reader who may not look at the flags of frames.
    #[must_use]
    pub fn without_frames(self) -> Self {
        Self { frames: Frames::Hidden, ..self }
    }

    /// The flags of frames of its machine; `None` where they are hidden, or were collected.
    pub(crate) fn kpages(&self) -> Option<Kpages> {
        if self.frames == Frames::Hidden || self.bundle().is_some() {
            return None;
        }
        Kpages::open()
    }

    /// Its folios.
    pub(crate) fn folios(&self) -> Folios {
        match self.bundle() {
            Some(bundle) if bundle.shows_frames() => Folios::Kept(bundle.folios.clone()),
            Some(_) => Folios::Unseen,
            None => self.kpages().map_or(Folios::Unseen, Folios::Live),
        }
    }

    /// The bundle that it was collected into; `None` for a live process.
    pub const fn bundle(&self) -> Option<&Bundle> {
        match &self.source {
            Source::Live(_) => None,
            Source::Kept(bundle) => Some(bundle),
        }
    }

    /// The kernel that it runs on, or ran on.
    pub fn kernel(&self) -> KernelVersion {
        self.bundle().map_or_else(KernelVersion::running, |b| KernelVersion::parse(&b.release))
    }

    /// What a verdict needs of that kernel.
    pub fn facts(&self) -> Facts {
        let kept =
            |bundle: &Bundle| Facts::kept(&bundle.release, bundle.file(PROBES).unwrap_or_default());
        self.bundle().map_or_else(|| probe::running().clone(), kept)
    }

    /// The 2 MiB pages of its machine.
    pub fn huge_pages(&self) -> HugePages {
        self.bundle().map_or_else(HugePages::now, |bundle| bundle.huge_pages)
    }

    /// The frames of its machine's CMA areas, as [`zones::cma_ranges`] has them.
    pub fn cma_ranges(&self) -> String {
        self.bundle().map_or_else(zones::cma_ranges, |b| b.file("cma").unwrap_or("").to_owned())
    }

    /// The text of a file of its machine, by its whole path; `None` if it cannot be read.
    pub fn read_machine_file(&self, path: &str) -> Option<String> {
        match self.bundle() {
            Some(bundle) => bundle.file(path).map(str::to_owned),
            None => std::fs::read_to_string(path).ok(),
        }
    }

    /// The process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The name, as in `ps -o comm`.
    pub fn name(&self) -> &str {
        &self.status.name
    }

    /// The status as it was when the process was opened.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Opens `file` of this process for reading.
    ///
    /// # Errors
    /// As [`Process::open`]; [`MirrorError::NotCollected`] from a bundle.
    pub fn open_file(&self, file: &str) -> Result<OwnedFd, MirrorError> {
        match &self.source {
            Source::Live(dir) => open_at(self.pid, dir, file),
            Source::Kept(_) => Err(self.not_collected(file)),
        }
    }

    /// The bytes of `file` of this process.
    ///
    /// # Errors
    /// As [`Process::open_file`].
    pub fn read_file(&self, file: &str) -> Result<Vec<u8>, MirrorError> {
        match &self.source {
            Source::Live(dir) => read_at(self.pid, dir, file),
            Source::Kept(bundle) => {
                let text = bundle.file(file).ok_or_else(|| self.not_collected(file))?;
                Ok(text.as_bytes().to_vec())
            }
        }
    }

    /// The byte at `addr`; `None` if it may not be read. Reading brings a page that is not there:
    /// the caller has seen that it is.
    pub(crate) fn byte_at(&self, addr: u64) -> Option<u8> {
        if let Some(bundle) = self.bundle() {
            return bundle.byte_at(addr);
        }
        let mut byte = [0];
        let file = self.open_file("mem").ok()?;
        let read = rustix::io::pread(&file, &mut byte, addr).ok()?;
        (read == 1).then_some(byte[0])
    }

    /// The error for `what`, which the bundle does not have.
    pub(crate) fn not_collected(&self, what: &str) -> MirrorError {
        MirrorError::NotCollected { pid: self.pid, what: what.to_owned() }
    }

    /// The error for `errno` from `file` of this process.
    pub(crate) fn error(&self, file: &str, errno: Errno) -> MirrorError {
        MirrorError::from_errno(self.pid, &format!("/proc/{}/{file}", self.pid), errno)
    }
}

fn open_at(pid: u32, dir: &OwnedFd, file: &str) -> Result<OwnedFd, MirrorError> {
    rustix::fs::openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| MirrorError::from_errno(pid, &format!("/proc/{pid}/{file}"), errno))
}

fn read_at(pid: u32, dir: &OwnedFd, file: &str) -> Result<Vec<u8>, MirrorError> {
    let fd = open_at(pid, dir, file)?;
    read_all(&fd)
        .map_err(|errno| MirrorError::from_errno(pid, &format!("/proc/{pid}/{file}"), errno))
}

/// Every byte that `fd` still has.
pub(crate) fn read_all(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    let mut chunk = vec![0_u8; 64 * 1024];
    loop {
        match rustix::io::read(fd, &mut chunk) {
            Ok(0) => return Ok(text),
            Ok(n) => text.extend_from_slice(&chunk[..n]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
