//! `/proc/PID/status`: the lines that matter to a pin.
//!
//! Every number is `None` when its line is absent.
//! Linux: `fs/proc/array.c`.

/// The lines of `/proc/PID/status` that matter to a pin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The name, at most 15 bytes.
    pub name: String,
    /// The state letter, such as `S` or `Z`.
    pub state: Option<char>,
    /// The `Kthread` line (Linux 6.10): 1 for a kernel thread.
    pub kthread: Option<bool>,
    /// Whether the process has user memory (a `VmSize` line).
    pub has_memory: bool,
    /// Number of threads.
    pub threads: Option<u64>,
    /// Memory locked by `mlock`, in KiB.
    pub locked_kib: Option<u64>,
    /// Memory pinned for a long time and accounted, in KiB.
    pub pinned_kib: Option<u64>,
    /// The effective user id.
    pub euid: Option<u32>,
    /// The real user id.
    pub ruid: Option<u32>,
    /// Effective capabilities, as a mask.
    pub cap_effective: Option<u64>,
    /// Permitted capabilities, as a mask.
    pub cap_permitted: Option<u64>,
    /// Capabilities that it may get by executing a file, as a mask.
    pub cap_bounding: Option<u64>,
    /// Seccomp mode: 0 none, 1 strict, 2 filter.
    pub seccomp: Option<u64>,
}

impl Status {
    /// Reads the text of a status file.
    pub fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match key {
                "Name" => value.clone_into(&mut status.name),
                "State" => status.state = value.chars().next(),
                "Kthread" => status.kthread = number(value).map(|n| n != 0),
                "VmSize" => status.has_memory = true,
                "Threads" => status.threads = number(value),
                "VmLck" => status.locked_kib = number(value),
                "VmPin" => status.pinned_kib = number(value),
                "Uid" => [status.ruid, status.euid] = first_two(value),
                "CapEff" => status.cap_effective = mask(value),
                "CapPrm" => status.cap_permitted = mask(value),
                "CapBnd" => status.cap_bounding = mask(value),
                "Seccomp" => status.seccomp = number(value),
                _ => {}
            }
        }
        status
    }

    /// Whether the process has ended and only waits to be reaped.
    pub const fn is_zombie(&self) -> bool {
        matches!(self.state, Some('Z' | 'X'))
    }

    /// Whether this is a kernel thread. Before Linux 6.10 it is one that has no memory of its own.
    pub const fn is_kernel_thread(&self) -> bool {
        match self.kthread {
            Some(kthread) => kthread,
            None => !self.has_memory,
        }
    }
}

fn mask(value: &str) -> Option<u64> {
    u64::from_str_radix(value, 16).ok()
}

fn first_two(value: &str) -> [Option<u32>; 2] {
    let mut words = value.split_whitespace().map(|word| word.parse().ok());
    [words.next().flatten(), words.next().flatten()]
}

fn number(value: &str) -> Option<u64> {
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn a_status_without_memory_is_a_kernel_thread_when_the_kernel_does_not_say() {
        let status = Status::parse("Name:\tkworker/0:1\nState:\tI (idle)\nThreads:\t1\n");
        assert!(status.is_kernel_thread());
        assert_eq!(status.name, "kworker/0:1");
    }

    #[test]
    fn numbers_and_masks_are_read_and_absent_lines_stay_unknown() {
        let text = "Name:\tcat\nState:\tR (running)\nKthread:\t0\nVmSize:\t 9 kB\nVmLck:\t 16 kB\n\
                    Uid:\t1\t2\t3\t4\nCapEff:\t00000000000000ff\n";
        let status = Status::parse(text);
        assert!(!status.is_kernel_thread());
        assert_eq!(status.locked_kib, Some(16));
        assert_eq!((status.ruid, status.euid), (Some(1), Some(2)));
        assert_eq!(status.cap_effective, Some(0xff));
        assert_eq!(status.pinned_kib, None);
    }
}
