//! Rows N-…: the twin for machines without an MMU.
//!
//! Data only; the full facts are in `docs/semantics.md`, under the same ids.
//! Linux: mm/nommu.c of v4.4, mm/gup.c of 6.18.

use super::rows;

rows! { b'N';
    N_01 1
        "Without an MMU an area allows an access if any wanted permission bit is set; FORCE asks \
         the MAY bits.";
    N_02 2
        "Without an MMU there are no faults, stacks do not grow, and there is neither gate area \
         nor hugetlb.";
    N_03 3
        "No area contains the address, or the area forbids the access." => EFAULT;
        "Map the address first, with the permission that is asked for.";
    N_04 4
        "The page is the memory at the address itself; it is referenced if pages is given, \
         FOLL_GET or not.";
    N_05 5
        "vmas is filled; the task, nonblocking and all other flags are ignored; 0 pages give 0.";
    N_06 6
        "start need not be aligned; the next page begins at the next boundary.";
    N_07 7
        "Without an MMU the entry points know WRITE and FORCE only, and never drop the lock.";
    N_08 8
        "A page without an MMU may be part of a slab or the tail of a larger page: references \
         there are a hazard.";
    N_09 9
        "follow_pfn answers for device memory only; the frame number is the address." => EINVAL;
        "Ask for device memory (VM_IO, VM_PFNMAP), or pin the pages.";
    N_10 10
        "access_remote_vm copies inside one area only, if it could be made writable or readable.";
    N_11 11
        "6.18 without an MMU: the lock is taken killably if it is not held; \
         get_user_pages_remote returns 0.";
}
