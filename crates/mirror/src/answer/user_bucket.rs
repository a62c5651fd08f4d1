//! What one user has in use of the limit that all its processes share (`user_struct.locked_vm`).
//!
//! Linux publishes no such number. It is summed up from the processes of that user that may be
//! seen: of each the memory that it pinned and the rings that it has. What else may count there is
//! named, not guessed. Rings of a privileged process count nowhere, since privilege is asked for
//! when a ring is made.
//!
//! Linux: `io_uring/rsrc.c` `__io_account_mem`, `io_uring/memmap.c`, `net/xdp/xdp_umem.c`.

use crate::proc::privilege::IpcLock;
use crate::proc::rings::Descriptors;
use crate::proc::status::Status;
use crate::process::Process;
use gup::linux::Version;
use std::collections::BTreeSet;

/// What one process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Pages of registered buffers.
    pub buffers: u64,
    /// Pages of the rings themselves.
    pub rings: u64,
}

impl Holder {
    /// All of it, in pages.
    pub const fn pages(&self) -> u64 {
        self.buffers.saturating_add(self.rings)
    }
}

/// What may count there as well, and was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Besides {
    /// Processes of the user that this reader may not look into.
    Processes,
    /// `AF_XDP` sockets: Linux publishes neither whose they are nor their size.
    Xdp,
    /// Buffers of `perf_event_open`, beyond what everybody has for free.
    Perf,
    /// Memory regions of RDMA, which are pinned and count elsewhere.
    Rdma,
}

impl Besides {
    /// The name that `--json` prints; a closed list, see `docs/json.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Xdp => "af-xdp",
            Self::Perf => "perf",
            Self::Rdma => "rdma",
        }
    }

    /// What it is, for a person.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Processes => "what other processes of the user hold that may not be looked into",
            Self::Xdp => "memory of AF_XDP sockets, of which Linux does not say whose it is",
            Self::Perf => "buffers of perf_event_open",
            Self::Rdma => "which of the pinned memory is RDMA's, that counts elsewhere",
        }
    }
}

/// What a user has in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Who holds it, largest first.
    pub holders: Vec<Holder>,
    /// What may count as well.
    pub besides: BTreeSet<Besides>,
}

impl InUse {
    /// What was seen, in pages.
    pub fn pages(&self) -> u64 {
        self.holders.iter().map(Holder::pages).sum()
    }

    /// What the user of `process` has in use, by the rules of `kernel`; of one in a bundle, only
    /// its own is known.
    pub(crate) fn of(process: &Process, uid: u32, kernel: Version) -> Self {
        if process.bundle().is_none() {
            return Self::of_user(uid, kernel);
        }
        let (pid, name) = (process.pid(), process.name().to_owned());
        let buffers = process.status().pinned_kib.unwrap_or(0) / 4;
        let holders = vec![Holder { pid, name, buffers, rings: 0 }];
        Self { holders, besides: BTreeSet::from([Besides::Processes]) }
    }

    fn of_user(uid: u32, kernel: Version) -> Self {
        let (mut in_use, mut seen) = (Self::default(), BTreeSet::new());
        // In between, rings were charged to the memory cgroup alone.
        let rings_count = !(Version(5, 12)..Version(6, 14)).contains(&kernel);
        for pid in pids() {
            let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
            let status = Status::parse(&text);
            let counts = IpcLock::of_live(pid, &status) != IpcLock::Effective;
            if status.ruid != Some(uid) || !counts || status.is_kernel_thread() {
                continue;
            }
            let Some(descriptors) = Descriptors::of(pid) else {
                in_use.besides.insert(Besides::Processes);
                continue;
            };
            let also = [
                (descriptors.perf > 0, Besides::Perf),
                (descriptors.rdma > 0, Besides::Rdma),
                (may_have_xdp(pid, &descriptors.sockets), Besides::Xdp),
            ];
            in_use.besides.extend(also.iter().filter(|(is, _)| *is).map(|(_, what)| *what));
            let new = descriptors.rings.values().filter(|ring| seen.insert(ring.inode));
            let rings = new.map(|ring| if rings_count { ring.pages() } else { 0 }).sum();
            let buffers = status.pinned_kib.unwrap_or(0) / 4;
            let holder = Holder { pid, name: status.name, buffers, rings };
            in_use.holders.extend(Some(holder).filter(|holder| holder.pages() > 0));
        }
        in_use.holders.sort_by_key(|holder| std::cmp::Reverse(holder.pages()));
        in_use
    }
}

/// Every process.
fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Files of `/proc/PID/net` that name sockets by their inodes; those of `AF_XDP` are in none.
const SOCKETS: [&str; 9] =
    ["unix", "netlink", "tcp", "tcp6", "udp", "udp6", "packet", "raw", "raw6"];

/// Whether one of these sockets of process `pid` may be of `AF_XDP`.
fn may_have_xdp(pid: u32, sockets: &[String]) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{file}"));
    if sockets.is_empty() || !any_xdp(&read("protocols").unwrap_or_default()) {
        return false;
    }
    let texts: Vec<String> = SOCKETS.iter().filter_map(|file| read(file).ok()).collect();
    let known: BTreeSet<&str> = texts.iter().flat_map(|text| text.split_whitespace()).collect();
    sockets.iter().any(|inode| !known.contains(inode.as_str()))
}

/// Whether there is an `AF_XDP` socket in a network namespace with these `protocols`.
fn any_xdp(protocols: &str) -> bool {
    let sockets = |line: &str| {
        let mut words = line.split_whitespace().filter(|_| line.starts_with("XDP "));
        words.nth(2).and_then(|count| count.parse::<u64>().ok())
    };
    protocols.lines().filter_map(sockets).any(|count| count > 0)
}
