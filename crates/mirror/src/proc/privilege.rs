//! `CAP_IPC_LOCK` of a process, and whether it counts: the kernel asks for it in the initial user
//! namespace, so that one of a user namespace of its own is worth nothing.
//!
//! Linux: `kernel/capability.c` `capable`, `include/linux/proc_ns.h` `PROC_USER_INIT_INO`.

use crate::proc::status::Status;
use crate::process::Process;

/// Whether a process has `CAP_IPC_LOCK`, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpcLock {
    /// It is effective, in the initial user namespace: no limit counts.
    Effective,
    /// It is effective, but in another user namespace: where the kernel asks, it does not count.
    ElsewhereOnly,
    /// It is permitted, but not effective: the process could switch it on.
    PermittedOnly,
    /// It is in the bounding set only, which lets a file grant it, and grants nothing.
    BoundingOnly,
    /// The process has it in no set.
    Absent,
    /// It is effective; in which user namespace was not seen.
    Unknown,
}

/// The inode of the initial user namespace.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

impl IpcLock {
    /// That of `process`.
    pub fn of(process: &Process) -> Self {
        let initial = match process.bundle() {
            None => in_initial_namespace(process.pid()),
            Some(bundle) => bundle.file("uid_map").map(maps_everybody),
        };
        Self::read(process.status(), initial)
    }

    /// That of the live process `pid`, which has this status.
    pub fn of_live(pid: u32, status: &Status) -> Self {
        Self::read(status, in_initial_namespace(pid))
    }

    fn read(status: &Status, in_initial: Option<bool>) -> Self {
        const BIT: u32 = 14;
        let has = |mask: Option<u64>| mask.is_some_and(|mask| mask >> BIT & 1 == 1);
        if has(status.cap_effective) {
            return match in_initial {
                Some(true) => Self::Effective,
                Some(false) => Self::ElsewhereOnly,
                None => Self::Unknown,
            };
        }
        if has(status.cap_permitted) {
            Self::PermittedOnly
        } else if has(status.cap_bounding) {
            Self::BoundingOnly
        } else {
            Self::Absent
        }
    }

    /// Whether no limit counts; also where that depends on what was not seen.
    pub const fn exempts(self) -> bool {
        matches!(self, Self::Effective | Self::Unknown)
    }

    /// The name that `--json` prints; a closed list, see `docs/json.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Effective => "effective",
            Self::ElsewhereOnly => "other-user-namespace",
            Self::PermittedOnly => "permitted-only",
            Self::BoundingOnly => "bounding-only",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }

    /// What it means, for a person.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Effective => "CAP_IPC_LOCK is effective: the limit does not count",
            Self::ElsewhereOnly => {
                "CAP_IPC_LOCK is effective in a user namespace only: the kernel asks for it in the \
                 initial one, so it does not count"
            }
            Self::PermittedOnly => {
                "CAP_IPC_LOCK is permitted, but not effective: the process would have to switch it \
                 on"
            }
            Self::BoundingOnly => {
                "CAP_IPC_LOCK is in the bounding set only, which is not effective: run as root, or \
                 give the capability to the file or as an ambient one"
            }
            Self::Absent => "CAP_IPC_LOCK is in no set of the process",
            Self::Unknown => {
                "CAP_IPC_LOCK is effective, in a user namespace that was not seen: it counts only \
                 in the initial one"
            }
        }
    }
}

fn in_initial_namespace(pid: u32) -> Option<bool> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/user")).ok()?;
    Some(link.to_string_lossy() == INITIAL_USER_NAMESPACE)
}

/// Whether a user namespace with this `uid_map` gives every user the number that it has outside.
fn maps_everybody(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}
