//! Where Linux takes a decision: file and function, by ranges of rules as the specification groups
//! them.
//!
//! Absent: line numbers, which drift.

use super::Rule;

/// The rules from the first number to the second, and where they are decided.
type Place = (u8, u8, u8, &'static str);

/// By family, then by number.
const PLACES: [Place; 53] = [
    (b'A', 1, 25, "mm/gup.c __get_user_pages"),
    (b'A', 30, 39, "mm/gup.c check_vma_flags"),
    (b'A', 40, 50, "mm/mmap.c find_extend_vma, expand_downwards"),
    (b'A', 60, 65, "mm/gup.c get_gate_page"),
    (b'A', 70, 81, "mm/hugetlb.c follow_hugetlb_page"),
    (b'A', 90, 101, "mm/gup.c follow_page_mask"),
    (b'A', 110, 123, "mm/gup.c follow_page_pte"),
    (b'A', 130, 146, "mm/gup.c faultin_page"),
    (b'A', 150, 153, "mm/gup.c get_user_pages_locked, __get_user_pages_unlocked"),
    (b'A', 154, 157, "arch/x86/mm/gup.c get_user_pages_fast"),
    (b'A', 158, 159, "mm/gup.c __mm_populate"),
    (b'A', 160, 160, "mm/gup.c get_dump_page"),
    (b'A', 161, 161, "mm/gup.c fixup_user_fault"),
    (b'A', 162, 163, "mm/memory.c __access_remote_vm"),
    (b'C', 1, 12, "mm/gup.c is_valid_gup_args"),
    (b'C', 13, 21, "mm/gup.c __get_user_pages"),
    (b'C', 22, 22, "mm/gup.c check_vma_flags"),
    (b'C', 23, 26, "mm/gup.c __get_user_pages"),
    (b'C', 27, 35, "mm/gup.c check_vma_flags"),
    (b'C', 36, 47, "mm/gup.c follow_page_mask, follow_page_pte"),
    (b'C', 48, 56, "mm/gup.c faultin_page, mm/memory.c handle_mm_fault"),
    (b'C', 57, 62, "mm/gup.c __get_user_pages_locked"),
    (b'C', 63, 63, "fs/userfaultfd.c handle_userfault, mm/memory.c handle_pte_marker"),
    (b'C', 64, 75, "mm/gup.c gup_fast_fallback, gup_fast_pte_range"),
    (b'C', 76, 82, "mm/gup.c __gup_longterm_locked, check_and_migrate_movable_folios"),
    (b'C', 83, 85, "mm/gup.c memfd_pin_folios"),
    (b'C', 86, 92, "mm/gup.c try_grab_folio, gup_put_folio"),
    (b'C', 93, 95, "mm/gup.c populate_vma_page_range, faultin_page_range"),
    (b'C', 96, 96, "mm/gup.c get_dump_page"),
    (b'C', 97, 97, "mm/gup.c fixup_user_fault"),
    (b'C', 98, 98, "mm/memory.c __access_remote_vm"),
    (b'C', 99, 99, "fs/proc/base.c proc_mem_foll_force"),
    (b'C', 100, 100, "mm/vma.c expand_downwards"),
    (b'C', 101, 101, "the callers of mm/gup.c"),
    (b'C', 102, 102, "mm/nommu.c"),
    (b'C', 103, 103, "mm/gup.c fault_in_readable"),
    (b'C', 104, 104, "mm/gup.c should_force_cow_break"),
    (b'C', 105, 106, "io_uring/rsrc.c io_pin_pages"),
    (b'C', 107, 107, "drivers/infiniband/core/umem.c ib_umem_get"),
    (b'C', 108, 108, "block/bio.c bio_iov_iter_get_pages"),
    (b'C', 109, 109, "the system call's own entry"),
    (b'F', 1, 7, "include/linux/rmap.h, include/linux/page-flags.h"),
    (b'F', 8, 20, "mm/memory.c copy_page_range, copy_present_ptes"),
    (b'F', 21, 32, "mm/memory.c do_wp_page, do_swap_page"),
    (b'F', 33, 44, "mm/vmscan.c, mm/migrate.c, mm/ksm.c, mm/huge_memory.c"),
    (b'F', 45, 53, "mm/memory.c zap_page_range_single, mm/truncate.c"),
    (b'F', 54, 57, "mm/gup.c gup_fast, mm/rmap.c"),
    (b'F', 58, 58, "mm/huge_memory.c __split_huge_pmd_locked"),
    (b'F', 59, 59, "mm/internal.h gup_must_unshare"),
    (b'M', 1, 7, "mm/mprotect.c, mm/mlock.c, mm/madvise.c, mm/mremap.c"),
    (b'M', 8, 15, "mm/memory.c do_fault_around, mm/madvise.c"),
    (b'N', 1, 11, "mm/nommu.c __get_user_pages"),
    (b'W', 1, 6, "mm/gup.c, its published description"),
];

/// Where Linux decides `rule`; `None` for what is no decision of one place.
pub(super) fn of(rule: Rule) -> Option<&'static str> {
    let holds = |&&(family, first, last, _): &&Place| {
        family == rule.family && (first..=last).contains(&rule.number)
    };
    PLACES.iter().find(holds).map(|(_, _, _, place)| *place)
}

#[cfg(test)]
mod tests {
    use super::{PLACES, of};
    use crate::rule::Rule;

    #[test]
    fn every_refusal_of_an_ordinary_family_has_a_place() {
        for row in Rule::all().filter(|row| row.errno.is_some()) {
            let special = ['S', 'I', 'O'].contains(&row.rule.family());
            assert!(special || of(row.rule).is_some(), "{}", row.rule);
        }
    }

    #[test]
    fn places_do_not_overlap() {
        for pair in PLACES.windows(2) {
            let same = pair[0].0 == pair[1].0;
            assert!(!same || pair[0].2 < pair[1].1, "{pair:?}");
        }
    }
}
