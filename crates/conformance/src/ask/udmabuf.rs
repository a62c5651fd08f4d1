//! A dma-buf of the memfd behind the range: `memfd_pin_folios`.
//!
//! The device pins pages of the file and looks at no address space; which bytes of the file are
//! asked for follows from the area. Linux 6.18: drivers/dma-buf/udmabuf.c.

use crate::ask::answer::{Answer, Asked};
use crate::fixture::subject::Range;
use crate::sys::{self, PAGE};
use gup_mirror::proc::maps;
use gup_mirror::process::Process;
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, SealFlags};
use rustix::io::Errno;

/// Makes a dma-buf of the pages of the file that lies behind `range` of this process, and closes
/// it.
pub(super) fn create(range: Range) -> Asked {
    let device = match crate::fixture::open("/dev/udmabuf") {
        Ok(device) => device,
        Err(errno) => return Asked::cannot("/dev/udmabuf (CONFIG_UDMABUF)", errno),
    };
    match memfd_behind(range) {
        Err(why) => Asked::Cannot(why),
        Ok((memfd, offset)) => {
            // A file that can shrink is refused; one that is sealed against sealing stays as it is.
            let _ = rustix::fs::fcntl_add_seals(&memfd, SealFlags::SHRINK);
            Asked::Answer(Answer::once(ioctl(&device, &memfd, offset, range.bytes)))
        }
    }
}

/// The file behind the range, opened anew, and where in it the range begins.
fn memfd_behind(range: Range) -> Result<(OwnedFd, u64), String> {
    let process = Process::open(std::process::id()).map_err(|error| error.to_string())?;
    let areas = maps::all(&process).map_err(|error| error.to_string())?;
    let area = areas.iter().find(|area| area.contains(range.start) && area.inode != 0);
    let area = area.ok_or("there is no file behind the range, so nothing for a dma-buf")?;
    let path = format!("/proc/self/map_files/{:x}-{:x}", area.start, area.end);
    let opened = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let file = opened.map_err(|errno| format!("{path}: {errno}"))?;
    Ok((file, area.offset + (range.start & !(PAGE - 1)) - area.start))
}

fn ioctl(device: &OwnedFd, memfd: &OwnedFd, offset: u64, bytes: u64) -> Result<i64, Errno> {
    const UDMABUF_CREATE: u64 = 0x4018_7542;
    const CLOEXEC: u64 = 1;
    // `struct udmabuf_create`: the memfd and flags in one word, offset, size.
    let request = [u64::from(memfd.as_raw_fd().cast_unsigned()) | CLOEXEC << 32, offset, bytes];
    let at = request.as_ptr().expose_provenance() as u64;
    let fd = u64::from(device.as_raw_fd().cast_unsigned());
    // SAFETY: `request` is the 24 bytes that the operation reads.
    let made = unsafe { sys::call(libc::SYS_ioctl, [fd, UDMABUF_CREATE, at, 0, 0, 0]) }?;
    // SAFETY: the descriptor was just opened and has no other owner.
    drop(unsafe { OwnedFd::from_raw_fd(i32::try_from(made).map_err(|_| Errno::BADF)?) });
    Ok(0)
}
