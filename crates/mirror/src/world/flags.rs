//! From the two-letter flags of smaps to the engine's VM flags.
//!
//! Names that the engine has no flag for change no pin and are left out. Without a `VmFlags` line
//! the permission letters give what they can.

use crate::proc::maps::Area;
use gup::flags::VmFlags;

/// Two-letter names and what they stand for.
const NAMES: [(&str, VmFlags); 36] = [
    ("rd", VmFlags::READ),
    ("wr", VmFlags::WRITE),
    ("ex", VmFlags::EXEC),
    ("sh", VmFlags::SHARED),
    ("mr", VmFlags::MAYREAD),
    ("mw", VmFlags::MAYWRITE),
    ("me", VmFlags::MAYEXEC),
    ("ms", VmFlags::MAYSHARE),
    ("gd", VmFlags::GROWSDOWN),
    ("pf", VmFlags::PFNMAP),
    ("lo", VmFlags::LOCKED),
    ("io", VmFlags::IO),
    ("sr", VmFlags::SEQ_READ),
    ("rr", VmFlags::RAND_READ),
    ("dc", VmFlags::DONTCOPY),
    ("de", VmFlags::DONTEXPAND),
    ("lf", VmFlags::LOCKONFAULT),
    ("ac", VmFlags::ACCOUNT),
    ("nr", VmFlags::NORESERVE),
    ("ht", VmFlags::HUGETLB),
    ("sf", VmFlags::SYNC),
    ("wf", VmFlags::WIPEONFORK),
    ("dd", VmFlags::DONTDUMP),
    ("sd", VmFlags::SOFTDIRTY),
    ("mm", VmFlags::MIXEDMAP),
    ("hg", VmFlags::HUGEPAGE),
    ("nh", VmFlags::NOHUGEPAGE),
    ("mg", VmFlags::MERGEABLE),
    ("um", VmFlags::UFFD_MISSING),
    ("uw", VmFlags::UFFD_WP),
    ("ui", VmFlags::UFFD_MINOR),
    ("ss", VmFlags::SHADOW_STACK),
    ("dp", VmFlags::DROPPABLE),
    ("sl", VmFlags::SEALED),
    ("gu", VmFlags::MAYBE_GUARD),
    ("ar", VmFlags::ARCH_1),
];

/// The engine's flags for `area`.
pub fn of(area: &Area) -> VmFlags {
    let Some(names) = &area.flags else { return from_letters(area) };
    let set = NAMES.iter().filter(|(name, _)| names.has(name));
    set.fold(VmFlags::empty(), |flags, (_, flag)| flags | *flag)
}

/// What the permission letters say, and that all permissions may be given.
fn from_letters(area: &Area) -> VmFlags {
    let when = |set: bool, flag: VmFlags| if set { flag } else { VmFlags::empty() };
    VmFlags::MAYREAD
        | VmFlags::MAYWRITE
        | VmFlags::MAYEXEC
        | when(area.perms.read(), VmFlags::READ)
        | when(area.perms.write(), VmFlags::WRITE)
        | when(area.perms.exec(), VmFlags::EXEC)
        | when(area.perms.shared(), VmFlags::SHARED | VmFlags::MAYSHARE)
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::proc::maps::Area;
    use crate::proc::vmflags::VmFlagNames;
    use gup::flags::VmFlags;

    #[test]
    fn a_shared_mapping_of_a_read_only_descriptor_may_be_shared_and_is_not() {
        let mut area = Area::parse("1000-2000 r--s 0 0:0 0").unwrap();
        area.flags = Some(VmFlagNames::parse("rd mr me ms zz"));
        let want = VmFlags::READ | VmFlags::MAYREAD | VmFlags::MAYEXEC | VmFlags::MAYSHARE;
        assert_eq!(of(&area), want);
    }
}
