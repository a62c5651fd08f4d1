//! A uprobe on each page: the kernel stores a breakpoint there, into a copy of the file's page.
//!
//! No call says whether the breakpoint was set in one process: an area in which none is set is
//! passed over. What is looked at is the page, which becomes anonymous and begins with the
//! breakpoint. The breakpoints stay until the events are closed, and then the file's page may be
//! there again.
//!
//! Linux 6.18: kernel/events/uprobes.c `valid_vma`, `uprobe_write_opcode`.

use crate::ask::answer::{Answer, Asked};
use crate::fixture::subject::Range;
use crate::sys::{self, PAGE};
use gup_mirror::proc::maps::{self, Area};
use gup_mirror::proc::pagemap;
use gup_mirror::process::Process;
use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::unix::fs::FileExt;

/// Sets a uprobe on the first byte of each page of `range` in process `pid`. The events keep the
/// breakpoints in place.
pub(crate) fn set(pid: u32, range: Range) -> (Asked, Vec<OwnedFd>) {
    let pmu = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type");
    let Some(pmu) = pmu.ok().and_then(|text| text.trim().parse().ok()) else {
        return (Asked::Cannot("this kernel has no uprobes".into()), Vec::new());
    };
    let process = match Process::open(pid) {
        Ok(process) => process,
        Err(error) => return (Asked::Cannot(error.to_string()), Vec::new()),
    };
    let areas = maps::all(&process).unwrap_or_default();
    let (mut events, mut results) = (Vec::new(), Vec::new());
    for addr in range.each_page() {
        let area = areas.iter().find(|area| area.contains(addr) && area.inode != 0);
        match area.map(|area| open(pmu, pid, area, addr)) {
            Some(Err(errno @ (Errno::PERM | Errno::ACCESS))) => {
                return (Asked::cannot("a uprobe needs CAP_PERFMON", errno), events);
            }
            Some(Ok(event)) => {
                events.push(event);
                results.push(has_breakpoint(&process, addr).then_some(()).ok_or(Errno::FAULT));
            }
            Some(Err(_)) | None => results.push(Err(Errno::FAULT)),
        }
    }
    (Asked::Answer(Answer::per_page(results)), events)
}

/// An event that sets a breakpoint at `addr`, which is in `area`.
fn open(pmu: u32, pid: u32, area: &Area, addr: u64) -> Result<OwnedFd, Errno> {
    const CLOEXEC: u64 = 8;
    let path = format!("/proc/{pid}/map_files/{:x}-{:x}", area.start, area.end);
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    let offset = area.offset + (addr & !(PAGE - 1)) - area.start;
    // `struct perf_event_attr` as far as its first 72 bytes: the last two words are the path and
    // the place in the file.
    let mut attr = [0_u64; 9];
    attr[0] = u64::from(pmu) | 72 << 32;
    attr[7] = path.as_ptr().expose_provenance() as u64;
    attr[8] = offset;
    let at = attr.as_ptr().expose_provenance() as u64;
    let args = [at, pid.into(), u64::MAX, u64::MAX, CLOEXEC, 0];
    // SAFETY: `attr` is 72 readable bytes, as it says itself, and names a C string that outlives
    // the call; the breakpoint is set in a process of our own, which does not run that text.
    let fd = unsafe { sys::call(libc::SYS_perf_event_open, args) }?;
    // SAFETY: the descriptor was just opened and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::BADF)?) })
}

/// Whether the page at `addr` is there, is anonymous and begins with a breakpoint.
fn has_breakpoint(process: &Process, addr: u64) -> bool {
    const INT3: u8 = 0xcc;
    let addr = addr & !(PAGE - 1);
    let words = pagemap::words(process, addr, 1).unwrap_or_default();
    let own = words.first().is_some_and(|word| word.present() && !word.file());
    let mut byte = [0];
    // A read of a page that is there changes nothing.
    own && std::fs::File::open(format!("/proc/{}/mem", process.pid()))
        .is_ok_and(|mem| mem.read_exact_at(&mut byte, addr).is_ok() && byte[0] == INT3)
}
