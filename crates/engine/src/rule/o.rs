//! Rows O-…: oddities of Linux that callers can see, and that are kept.
//!
//! No decision is made by one of these: other rules have them, and the map of rows says which.
//! Data only; the full facts are in `docs/semantics.md`, under the same ids.
//! Linux: mm/gup.c of v4.4 and 6.18.

use super::rows;

rows! { b'O';
    O_01 1
        "Of the slow functions, those that pin return 0 for an illegal flag set, and those that \
         get return EINVAL.";
    O_02 2
        "A count below one gives 0 in the fast forms of v4.4, and is a huge one in those of 6.18.";
    O_03 3
        "A kill is EAGAIN while the lock is taken first, and EINTR when it is taken again.";
    O_04 4
        "Broken memory is EHWPOISON only with the flag; fixup_user_fault says so always in v4.4, \
         never in 6.18.";
    O_05 5
        "v4.4 makes every failure at a hugetlb page EFAULT, a kill too.";
    O_06 6
        "v4.4 with NOWAIT clears nonblocking although the lock is held.";
    O_07 7
        "A frame mapped by number is EFAULT in v4.4 and EEXIST in 6.18, if pages are asked for.";
    O_08 8
        "Only the fast functions check the range against user space.";
    O_09 9
        "An address space counts as pinned from although the pin failed.";
    O_10 10
        "A huge page under migration is a hole to a dump.";
    O_11 11
        "Droppable memory that cannot be allocated is tried again without end.";
    O_12 12
        "A hugetlb page is reused although somebody refers to it.";
    O_13 13
        "A small page with 1024 references looks pinned.";
    O_14 14
        "The gate page is read by process_vm_readv, but no longer by access_remote_vm.";
    O_15 15
        "The huge zero page is counted when it is pinned, the small one is not.";
    O_16 16
        "Without an MMU references are taken whatever the flags, and get_user_pages_remote \
         returns 0.";
}
