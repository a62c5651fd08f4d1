//! The userfaultfds of a process, from `/proc/PID/fdinfo`: which features they were opened with.
//!
//! A userfaultfd that was handed to another process and closed here is not seen; nor is whether one
//! serves faults of user code only.
//! Linux: `fs/userfaultfd.c` `userfaultfd_show_fdinfo`.

use crate::process::Process;

/// What a userfaultfd was opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u64);

impl Features {
    /// The features in this mask.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The features as a mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// `UFFD_FEATURE_SIGBUS`: whoever faults gets a signal, nobody is asked.
    pub const fn sigbus(self) -> bool {
        self.0 >> 7 & 1 == 1
    }

    /// `UFFD_FEATURE_WP_ASYNC`: the kernel lifts write protection itself.
    pub const fn wp_async(self) -> bool {
        self.0 >> 15 & 1 == 1
    }
}

/// The features that all userfaultfds of `process` have in common; `None` if it has none, or they
/// differ.
pub fn features(process: &Process) -> Option<Features> {
    if let Some(bundle) = process.bundle() {
        return bundle.userfaultfd.map(Features);
    }
    let fds = std::fs::read_dir(format!("/proc/{}/fdinfo", process.pid())).ok()?;
    let infos = fds.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let mut found = infos.filter_map(|info| parse(&info));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// The features in the fdinfo of a userfaultfd; `None` for other descriptors.
fn parse(info: &str) -> Option<Features> {
    let api = info.lines().find_map(|line| line.strip_prefix("API:"))?;
    let features = api.trim().split(':').nth(1)?;
    u64::from_str_radix(features, 16).ok().map(Features)
}

#[cfg(test)]
mod tests {
    use super::{Features, parse};

    #[test]
    fn features_are_read_and_other_descriptors_have_none() {
        let info = "pos:\t0\nflags:\t02000002\npending:\t0\ntotal:\t0\nAPI:\taa:80:1ffff\n";
        assert_eq!(parse(info), Some(Features(0x80)));
        assert!(parse(info).is_some_and(Features::sigbus));
        assert_eq!(parse("pos:\t0\nflags:\t02\n"), None);
    }
}
