//! Rows N-…: v4.4 and 6.18 without an MMU.
//!
//! Data only; the sentences are those of `docs/semantics.md`, in one line each.

use super::rows;

rows! { b'N';
    N_01 1
        "required permission mask: write → VM_WRITE|VM_MAYWRITE, read → VM_READ|VM_MAYREAD; then FOLL_FORCE keeps only the MAY bits, non-force only the plain";
    N_02 2
        "per page: find_vma (exact containment), no stack growth (expand_stack fails), no gate area, no hugetlb, no faulting, no signals, no cond_resched, no";
    N_03 3
        "no VMA, VM_IO/VM_PFNMAP, or permission miss → i if i>0 else -EFAULT" EFAULT;
    N_04 4
        "page = direct-map page of the address; reference taken whenever pages ≠ NULL regardless of FOLL_GET; a NULL page is stored without reference";
    N_05 5
        "vmas filled if given; tsk, nonblocking and all other flags ignored; nr_pages 0 → 0";
    N_06 6
        "unaligned start accepted; next address = (start + PAGE_SIZE) rounded down";
    N_07 7
        "get_user_pages sets only WRITE/FORCE; _locked ignores locked (never drops); __unlocked takes/releases the read lock and ignores gup_flags";
    N_08 8
        "may take references on slab pages or compound tails (documented hazard)";
    N_09 9
        "follow_pfn: only VM_IO/PFNMAP, pfn = address>>PAGE_SHIFT, else -EINVAL";
    N_10 10
        "access_remote_vm: single VMA only, length clipped to its end, VM_MAYWRITE / VM_MAYREAD decide, else 0 bytes";
    N_11 11
        "6.18: the loop lives in gup.c's locked helper: adds nr_pages==0 → 0, takes the lock killably if not held (-EAGAIN on kill), otherwise the same rules";
}
