//! What stands behind an area: nothing, shared memory, a file, or something special.
//!
//! Read from the area's name, kernel flags and device, and from `stat` of the file where a path to
//! it is open to this reader: its own name, `/proc/PID/map_files`, or a descriptor of the process.
//! The file itself is never opened. Unseen facts are `None`.

use crate::proc::maps::Area;
use crate::proc::mounts::Mounts;
use crate::process::Process;
use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What stands behind an area.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backing {
    /// Nothing: private anonymous memory, which Linux knows by the absence of `vm_ops`.
    Anonymous,
    /// Shared anonymous memory, a memfd, `SysV` memory, or a file of tmpfs.
    Shmem {
        /// Size in bytes, if seen.
        size: Option<u64>,
    },
    /// hugetlb pages.
    Hugetlb {
        /// Size in bytes, if seen.
        size: Option<u64>,
    },
    /// `memfd_secret` memory.
    Secretmem,
    /// A file.
    File {
        /// Type of the file system, as in mountinfo; `None` if unseen.
        fs_type: Option<String>,
        /// Size in bytes, if seen.
        size: Option<u64>,
    },
    /// The vDSO's code.
    Vdso,
    /// The vDSO's data, mapped by frame number.
    Vvar,
    /// The vsyscall page, which is no VMA of the process.
    Gate,
    /// The ring of asynchronous I/O, which tracks dirty pages.
    AioRing,
    /// Memory of a device or of a kernel object.
    Device,
}

impl Backing {
    /// What stands behind `area` of `process`.
    pub fn of(process: &Process, area: &Area, mounts: &Mounts) -> Self {
        if let Some(kept) = process.bundle().and_then(|bundle| bundle.backings.get(&area.start)) {
            return kept.clone();
        }
        if let Some(named) = by_name(area) {
            return named;
        }
        let fs_type = mounts.fs_type(area.dev);
        let file = stat_of(process, area, fs_type.is_some());
        let size = || file.as_ref().map(|(_, file)| file.size());
        let has = |flag| area.flags.as_ref().is_some_and(|flags| flags.has(flag));
        if has("ht") {
            return Self::Hugetlb { size: size() };
        }
        if is_kernel_shmem(&area.name) {
            return Self::Shmem { size: size() };
        }
        if has("io") || has("pf") {
            return Self::Device;
        }
        let by_path = || file.as_ref().and_then(|(path, _)| fs_type_at(path));
        match fs_type.or_else(by_path) {
            Some("tmpfs" | "devtmpfs") => Self::Shmem { size: size() },
            // A shared mapping that may write is one of the file in the upper layer.
            Some("overlay") if area.perms.shared() && upper_is_tmpfs(process, area, mounts) => {
                Self::Shmem { size: size() }
            }
            fs_type => Self::File { fs_type: fs_type.map(str::to_owned), size: size() },
        }
    }

    /// Whether a shared writable mapping of it must learn of every page made dirty, which Linux
    /// answers with a `page_mkwrite` or with write-back; `None` if the file system is unseen.
    pub fn tracks_dirty(&self) -> Option<bool> {
        match self {
            Self::Anonymous | Self::Shmem { .. } | Self::Hugetlb { .. } | Self::Secretmem => {
                Some(false)
            }
            Self::Vdso | Self::Vvar | Self::Gate | Self::Device => Some(false),
            Self::AioRing => Some(true),
            Self::File { fs_type, .. } => fs_type.as_ref().map(|_| true),
        }
    }

    /// Size in bytes of the file behind it; `None` if there is none, or it is unseen.
    pub const fn file_size(&self) -> Option<u64> {
        match self {
            Self::Shmem { size } | Self::Hugetlb { size } | Self::File { size, .. } => *size,
            Self::Anonymous | Self::Secretmem | Self::Vdso | Self::Vvar => None,
            Self::Gate | Self::AioRing | Self::Device => None,
        }
    }
}

/// What the name alone decides.
fn by_name(area: &Area) -> Option<Backing> {
    match area.name.as_str() {
        "[vdso]" => Some(Backing::Vdso),
        "[vsyscall]" => Some(Backing::Gate),
        "/[aio] (deleted)" => Some(Backing::AioRing),
        "/secretmem (deleted)" => Some(Backing::Secretmem),
        "/dev/zero" if !area.perms.shared() => Some(Backing::Anonymous),
        name if name.starts_with("[vvar") => Some(Backing::Vvar),
        // Its pages belong to a file of its own, as those of shared memory.
        GUEST_MEMORY => None,
        name if name.starts_with("anon_inode:") => Some(Backing::Device),
        name if name.starts_with("socket:") => Some(Backing::Device),
        _ if area.inode == 0 && !area.perms.shared() => Some(Backing::Anonymous),
        _ => None,
    }
}

/// `guest_memfd`, mapped by the guest's user (Linux 6.18).
const GUEST_MEMORY: &str = "anon_inode:[kvm-gmem]";

/// Files of the kernel's own tmpfs, which no mountinfo lists, and what is as those.
fn is_kernel_shmem(name: &str) -> bool {
    [GUEST_MEMORY, "/memfd:", "/dev/zero (deleted)", "/SYSV", "[anon_shmem:"]
        .iter()
        .any(|p| name.starts_with(p))
}

/// A path to the file of `area`, and what `stat` says of it, by the first way that shows it.
///
/// Where no mount has the area's device number (btrfs has one per subvolume), the inode has to do.
fn stat_of(process: &Process, area: &Area, known_dev: bool) -> Option<(String, Metadata)> {
    let pid = process.pid();
    let is_it = |file: &Metadata| {
        let dev = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
        file.ino() == area.inode && (dev == area.dev || !known_dev)
    };
    let stat = |path: String| {
        let file = std::fs::metadata(&path).ok().filter(is_it)?;
        Some((path, file))
    };
    let by_descriptor = || {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        entries.flatten().find_map(|entry| stat(entry.path().to_string_lossy().into_owned()))
    };
    stat(format!("/proc/{pid}/map_files/{:x}-{:x}", area.start, area.end))
        .or_else(|| stat(format!("/proc/{pid}/root{}", area.name)))
        .or_else(by_descriptor)
}

/// Whether the upper layer of the overlay that `area` is a file of lies in a tmpfs.
fn upper_is_tmpfs(process: &Process, area: &Area, mounts: &Mounts) -> bool {
    let Some(upper) = mounts.upper(area.dev) else { return false };
    let seen_by_process = format!("/proc/{}/root{upper}", process.pid());
    let fs_type = fs_type_at(&seen_by_process).or_else(|| fs_type_at(upper));
    fs_type == Some("tmpfs")
}

/// The type of the file system at `path`, if it is one that mounts with several device numbers.
fn fs_type_at(path: &str) -> Option<&'static str> {
    let magic = rustix::fs::statfs(path).ok()?.f_type.cast_unsigned();
    Some(match magic {
        0x9123_683e => "btrfs",
        0x794c_7630 => "overlay",
        0x2fc1_2fc1 => "zfs",
        0xca45_1a4e => "bcachefs",
        0x6969 => "nfs",
        0x0102_1994 => "tmpfs",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Backing, by_name, is_kernel_shmem};
    use crate::proc::maps::Area;

    #[test]
    fn names_tell_special_memory_from_files() {
        let table = [
            ("1000-2000 rw-p 00000000 00:00 0 ", Some(Backing::Anonymous)),
            ("1000-2000 rw-p 00000000 00:00 0 [heap]", Some(Backing::Anonymous)),
            ("1000-2000 r-xp 00000000 00:00 0 [vdso]", Some(Backing::Vdso)),
            ("1000-2000 r--p 00000000 00:00 0 [vvar_vclock]", Some(Backing::Vvar)),
            ("1000-2000 --xp 00000000 00:00 0 [vsyscall]", Some(Backing::Gate)),
            ("1000-2000 rw-p 00000000 00:05 4 /dev/zero", Some(Backing::Anonymous)),
            ("1000-2000 rw-s 00000000 00:0e 9 /secretmem (deleted)", Some(Backing::Secretmem)),
            ("1000-2000 rw-s 00000000 00:01 9 /dev/zero (deleted)", None),
            ("1000-2000 r--p 00000000 fe:00 9 /usr/bin/cat", None),
        ];
        for (line, want) in table {
            assert_eq!(by_name(&Area::parse(line).unwrap()), want, "{line}");
        }
        assert!(is_kernel_shmem("/memfd:x (deleted)") && !is_kernel_shmem("/tmp/memfd:x"));
    }

    #[test]
    fn every_file_that_is_no_shared_memory_tracks_dirty_pages() {
        let file = |fs: Option<&str>| Backing::File { fs_type: fs.map(str::to_owned), size: None };
        assert_eq!(file(Some("ext4")).tracks_dirty(), Some(true));
        assert_eq!(file(Some("ramfs")).tracks_dirty(), Some(true), "it has a page_mkwrite too");
        assert_eq!(file(None).tracks_dirty(), None, "an unseen file system is unknown");
        assert_eq!(Backing::Shmem { size: None }.tracks_dirty(), Some(false));
    }
}
