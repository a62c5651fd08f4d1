//! `io_uring` instances of a process, from `/proc/PID/fdinfo`: how large they are, and which
//! buffers are registered with them.
//!
//! One ring may be open in several processes; its inode tells. Linux: `io_uring/fdinfo.c`,
//! `io_uring/io_uring.c` `rings_size`.

use crate::range::PAGE;
use std::collections::BTreeMap;

/// One ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    /// Its inode, the same wherever it is open.
    pub inode: u64,
    /// Entries of the submission queue.
    pub submissions: u64,
    /// Entries of the completion queue.
    pub completions: u64,
    /// Registered buffers, address and length in bytes.
    pub buffers: Vec<(u64, u64)>,
}

/// Fixed part of the shared memory, before the completion entries.
const HEADER: u64 = 64 * 5;

impl Ring {
    /// The ring in the fdinfo of a descriptor; `None` for other descriptors.
    pub fn parse(info: &str) -> Option<Self> {
        let mut ring = Self::default();
        let (mut found, mut in_buffers) = (false, false);
        for line in info.lines() {
            let (key, value) = line.split_once(':')?;
            let value = value.trim();
            in_buffers &= line.starts_with(' ');
            match key.trim() {
                "ino" => ring.inode = value.parse().ok()?,
                "SqMask" => {
                    ring.submissions = hex(value)? + 1;
                    found = true;
                }
                "CqMask" => ring.completions = hex(value)? + 1,
                "UserBufs" => in_buffers = true,
                _ if in_buffers => ring.buffers.extend(buffer(value)),
                // The lists after the buffers have lines of other shapes.
                "PollList" => break,
                _ => {}
            }
        }
        found.then_some(ring)
    }

    /// Pages of its queues, with entries of the usual sizes: the rings and the entries to submit.
    pub const fn pages(&self) -> u64 {
        let rings = (HEADER + self.completions * 16).next_multiple_of(64) + self.submissions * 4;
        rings.div_ceil(PAGE) + (self.submissions * 64).div_ceil(PAGE)
    }

    /// Pages that its buffers touch, each counted by itself.
    pub fn buffer_pages(&self) -> u64 {
        let pages = |&(start, len): &(u64, u64)| match len {
            0 => 0,
            len => (start.saturating_add(len - 1) >> 12) - (start >> 12) + 1,
        };
        self.buffers.iter().map(pages).sum()
    }
}

fn hex(value: &str) -> Option<u64> {
    u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()
}

/// `0x7f00/4096`; `<none>` is no buffer.
fn buffer(value: &str) -> Option<(u64, u64)> {
    let (start, len) = value.split_once('/')?;
    Some((hex(start)?, len.parse().ok()?))
}

/// What the descriptors of a process are, as far as they count against a limit of its user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// Its rings, by inode.
    pub rings: BTreeMap<u64, Ring>,
    /// Descriptors of other kinds that pin memory for a user: of `perf_event_open`.
    pub perf: usize,
    /// Descriptors of RDMA devices.
    pub rdma: usize,
    /// Sockets, by inode, as the kernel writes it.
    pub sockets: Vec<String>,
}

impl Descriptors {
    /// Those of process `pid`; `None` if they may not be seen.
    pub fn of(pid: u32) -> Option<Self> {
        let mut seen = Self::default();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let (target, number) = (target.to_string_lossy(), entry.file_name());
            match target.as_ref() {
                "anon_inode:[io_uring]" => {
                    let path = format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy());
                    let ring = Ring::parse(&std::fs::read_to_string(path).ok()?)?;
                    seen.rings.insert(ring.inode, ring);
                }
                "anon_inode:[perf_event]" => seen.perf += 1,
                device if device.starts_with("/dev/infiniband/") => seen.rdma += 1,
                socket => {
                    let inode = socket.strip_prefix("socket:[").and_then(|s| s.strip_suffix(']'));
                    seen.sockets.extend(inode.map(ToOwned::to_owned));
                }
            }
        }
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::Ring;

    const INFO: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t4220788\nSqMask:\t0x7\n\
        SqHead:\t0\nCqMask:\t0xf\nCqTail:\t0\nUserFiles:\t0\nUserBufs:\t2\n    \
        0: 0x200000000fff/2\n    1: <none>\nPollList:\nCqOverflowList:\nNAPI:\tdisabled\n";

    #[test]
    fn a_ring_is_read_with_its_buffers_and_other_descriptors_are_none() {
        let ring = Ring::parse(INFO).expect("a ring");
        assert_eq!((ring.inode, ring.submissions, ring.completions), (4_220_788, 8, 16));
        assert_eq!(ring.buffers, [(0x2000_0000_0fff, 2)]);
        assert_eq!((ring.pages(), ring.buffer_pages()), (2, 2));
        assert_eq!(Ring::parse("pos:\t0\nino:\t7\n"), None);
    }

    #[test]
    fn a_larger_ring_has_more_pages() {
        let ring = Ring { submissions: 256, completions: 512, ..Ring::default() };
        // 320 + 8192 + 1024 bytes of rings, 16384 bytes of entries.
        assert_eq!(ring.pages(), 3 + 4);
    }
}
