//! Which areas a core dump has at all; of those that it has, it asks for every page.
//!
//! That is the process's choice (`/proc/PID/coredump_filter`, `MADV_DONTDUMP`). Absent: the first
//! page of an executable, which is dumped alone where the rest of the area is not; files on memory
//! that is a disk (DAX).
//! Linux 6.18: fs/coredump.c `vma_dump_size`, `always_dump_vma`.

use crate::proc::backing::Backing;
use crate::process::Process;
use crate::window::{PageState, Place, Window, pages_in};

/// What is dumped of a process that chose nothing: private and shared anonymous memory, and private
/// huge pages.
pub const DEFAULT: u64 = 0x33;

const ANON_PRIVATE: u64 = 1;
const ANON_SHARED: u64 = 1 << 1;
const MAPPED_PRIVATE: u64 = 1 << 2;
const MAPPED_SHARED: u64 = 1 << 3;
const HUGETLB_PRIVATE: u64 = 1 << 5;
const HUGETLB_SHARED: u64 = 1 << 6;

/// Whether an area has anonymous pages, or had some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Some were seen.
    Seen,
    /// None were seen.
    Unseen,
}

/// What `process` chose; the default where that is not to be seen.
pub fn filter_of(process: &Process) -> u64 {
    let text = process.read_file("coredump_filter").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    u64::from_str_radix(text.trim(), 16).unwrap_or(DEFAULT)
}

/// The areas of `window` that a dump does not have, as first address and the one after the last.
pub fn left_out(window: &Window) -> Vec<(u64, u64)> {
    let ends = |place: &Place| (place.area.start, place.area.end);
    let not_in_it = |place: &&Place| !has(place, window.core_filter, seen_in(place, window));
    window.places.iter().filter(not_in_it).map(ends).collect()
}

/// Whether pages of the window that lie in `place` are anonymous.
fn seen_in(place: &Place, window: &Window) -> Anonymous {
    let own = |state: PageState| match state {
        PageState::AnonExclusive | PageState::AnonShared | PageState::AnonOnce => true,
        PageState::Ksm | PageState::Swap => true,
        PageState::Absent | PageState::Zero | PageState::AnonOrZero | PageState::File => false,
        PageState::Guard | PageState::Poisoned | PageState::Marked => false,
    };
    let mut pages = pages_in(place, window.start, &window.pages).iter();
    if pages.any(|page| own(page.state)) { Anonymous::Seen } else { Anonymous::Unseen }
}

/// Whether a dump has the area `place`, for a process that chose the kinds of `filter`.
pub fn has(place: &Place, filter: u64, anonymous: Anonymous) -> bool {
    let flag = |name| place.area.flags.as_ref().is_some_and(|flags| flags.has(name));
    let wants = |kind: u64| filter & kind != 0;
    match place.backing {
        Backing::Vdso | Backing::Vvar | Backing::Gate => return true,
        Backing::Anonymous | Backing::Shmem { .. } | Backing::Hugetlb { .. } => {}
        Backing::Secretmem | Backing::File { .. } | Backing::AioRing | Backing::Device => {}
    }
    // A file that has no name any more counts as anonymous memory.
    let nameless = place.area.name.ends_with(" (deleted)");
    let shared = place.area.perms.shared();
    if flag("dd") {
        false
    } else if flag("ht") {
        wants(if shared { HUGETLB_SHARED } else { HUGETLB_PRIVATE })
    } else if flag("io") {
        false
    } else if shared {
        wants(if nameless { ANON_SHARED } else { MAPPED_SHARED })
    } else if anonymous == Anonymous::Seen || place.backing == Backing::Anonymous {
        wants(ANON_PRIVATE)
    } else {
        wants(MAPPED_PRIVATE)
    }
}

#[cfg(test)]
mod tests {
    use super::{Anonymous, DEFAULT, has};
    use crate::proc::backing::Backing;
    use crate::proc::maps::Area;
    use crate::proc::vmflags::VmFlagNames;
    use crate::window::Place;

    fn place(line: &str, flags: &str, backing: Backing) -> Place {
        let mut area = Area::parse(line).expect("a line of maps");
        area.flags = Some(VmFlagNames::parse(flags));
        Place { area, backing }
    }

    #[test]
    fn a_dump_has_what_the_process_chose() {
        let file = || Backing::File { fs_type: Some("ext4".into()), size: None };
        let text = place("1000-2000 r-xp 0 fe:0 9 /bin/cat", "rd ex", file());
        assert!(!has(&text, DEFAULT, Anonymous::Unseen) && has(&text, 4, Anonymous::Unseen));
        assert!(has(&text, DEFAULT, Anonymous::Seen), "pages of it were written to");
        let own = place("1000-2000 rw-p 0 0:0 0 ", "rd wr", Backing::Anonymous);
        assert!(has(&own, DEFAULT, Anonymous::Unseen) && !has(&own, 0x32, Anonymous::Seen));
        let kept_out = place("1000-2000 rw-p 0 0:0 0 ", "rd wr dd", Backing::Anonymous);
        assert!(!has(&kept_out, u64::MAX, Anonymous::Seen));
        let memfd = Backing::Shmem { size: None };
        let memfd = place("1000-2000 rw-s 0 0:1 9 /memfd:x (deleted)", "rd wr sh", memfd);
        assert!(has(&memfd, DEFAULT, Anonymous::Unseen) && !has(&memfd, 8, Anonymous::Unseen));
        let huge = Backing::Hugetlb { size: None };
        let huge = place("1000-2000 rw-s 0 0:1 9 /anon_hugepage (deleted)", "rd wr sh ht", huge);
        assert!(!has(&huge, DEFAULT, Anonymous::Unseen) && has(&huge, 0x40, Anonymous::Unseen));
        let device = place("1000-2000 rw-s 0 0:1 9 anon_inode:x", "rd sh io", Backing::Device);
        assert!(!has(&device, u64::MAX, Anonymous::Unseen));
        let vdso = place("1000-2000 r-xp 0 0:0 0 [vdso]", "rd ex", Backing::Vdso);
        assert!(has(&vdso, 0, Anonymous::Unseen));
    }
}
