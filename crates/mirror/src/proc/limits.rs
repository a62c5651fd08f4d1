//! `/proc/PID/limits` and the status file: how much memory the process may lock.
//!
//! Linux: `fs/proc/base.c` `proc_pid_limits`, `mm/mlock.c` `can_do_mlock`.

use crate::proc::privilege::IpcLock;
use crate::process::Process;

/// How much memory a process may lock, and how much it has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRights {
    /// `RLIMIT_MEMLOCK` in bytes; `None` for no limit, or when it could not be read.
    pub memlock: Option<u64>,
    /// `CAP_IPC_LOCK` is effective, where the kernel asks for it: no limit counts.
    pub ipc_lock: bool,
    /// Locked memory, in pages.
    pub locked_pages: u64,
}

impl LockRights {
    /// No limit, nothing locked.
    pub const FREE: Self = Self { memlock: None, ipc_lock: false, locked_pages: 0 };

    /// Those of `process`.
    pub fn of(process: &Process) -> Self {
        let text = process.read_file("limits").unwrap_or_default();
        let status = process.status();
        Self {
            memlock: parse(&String::from_utf8_lossy(&text)),
            ipc_lock: IpcLock::of(process).exempts(),
            locked_pages: status.locked_kib.unwrap_or(0) / 4,
        }
    }
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many bytes.
    Bytes(u64),
    /// None.
    None,
    /// It could not be read.
    Unseen,
}

/// `RLIMIT_MEMLOCK` of `process`, the soft one.
pub fn memlock_limit(process: &Process) -> Limit {
    match process.read_file("limits") {
        Err(_) => Limit::Unseen,
        Ok(text) => parse(&String::from_utf8_lossy(&text)).map_or(Limit::None, Limit::Bytes),
    }
}

/// The soft limit on locked memory, in bytes; `None` if it is unlimited or not there.
pub fn parse(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_soft_limit_is_read_and_unlimited_is_no_limit() {
        let line =
            |soft| format!("Max processes 9 9 processes\nMax locked memory {soft} 99 bytes\n");
        assert_eq!(parse(&line("8388608")), Some(8_388_608));
        assert_eq!(parse(&line("unlimited")), None);
    }
}
