//! `/proc/self/cmdline` of a process whose text was moved to the range.
//!
//! `PR_SET_MM_MAP` moves it: all the marks of the address space at once, which needs no privilege.
//! Linux: kernel/sys.c `prctl_set_mm_map`, fs/proc/base.c `get_mm_cmdline`.

use crate::ask::answer::{Answer, Asked};
use crate::fixture::subject::Range;
use crate::sys::call;
use rustix::io::Errno;

/// `struct prctl_mm_map`.
#[repr(C)]
struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Reads the range as this process's text.
pub(super) fn read(range: Range) -> Asked {
    let text = (range.start, range.start.wrapping_add(range.len_bytes() as u64));
    match set_text(text) {
        Ok(()) => {}
        // A text that lies outside user space is refused as the recorded driver has it.
        Err(Errno::INVAL) => return Asked::Answer(Answer::once(Err(Errno::INVAL))),
        Err(errno) => return Asked::cannot("PR_SET_MM_MAP", errno),
    }
    let Ok(file) = std::fs::File::open("/proc/self/cmdline") else {
        return Asked::Cannot("/proc/self/cmdline cannot be opened".into());
    };
    let mut bytes = vec![0_u8; range.len_bytes()];
    Asked::Answer(Answer::once(rustix::io::read(&file, &mut bytes).map(|n| n as i64)))
}

/// Says that the text of this process lies between these addresses, and leaves the other marks.
fn set_text((arg_start, arg_end): (u64, u64)) -> Result<(), Errno> {
    const PR_SET_MM: u64 = 35;
    const PR_SET_MM_MAP: u64 = 14;
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|_| Errno::IO)?;
    let (_, words) = stat.rsplit_once(") ").ok_or(Errno::IO)?;
    let words: Vec<&str> = words.split(' ').collect();
    // The state, behind the name, is field 3.
    let field = |n: usize| words.get(n - 3).and_then(|word| word.trim().parse().ok());
    let mark = |n| field(n).ok_or(Errno::IO);
    // SAFETY: 0 is no address: the break is asked for, not moved.
    let brk = unsafe { call(libc::SYS_brk, [0; 6]) }?.cast_unsigned();
    let map = MmMap {
        start_code: mark(26)?,
        end_code: mark(27)?,
        start_data: mark(45)?,
        end_data: mark(46)?,
        start_brk: mark(47)?,
        brk,
        start_stack: mark(28)?,
        arg_start,
        arg_end,
        env_start: mark(50)?,
        env_end: mark(51)?,
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    let (at, size) = ((&raw const map).expose_provenance() as u64, size_of::<MmMap>() as u64);
    // SAFETY: `map` is one structure of that size; the marks are only what /proc shows.
    unsafe { call(libc::SYS_prctl, [PR_SET_MM, PR_SET_MM_MAP, at, size, 0, 0]) }.map(drop)
}
