//! Rows M-…: mapping edits in 6.18.
//!
//! Data only; the sentences are those of `docs/semantics.md`, in one line each.

use super::rows;

rows! { b'M';
    M_01 1
        "mprotect, mlock, munlock stop with ENOMEM at the first hole; what was done before it stays";
    M_02 2
        "mlock over a hole sets the flag up to it and populates nothing. It populates for write if the area is private and writable, else for read; PROT_NONE";
    M_03 3
        "madvise DONTNEED, FREE, PAGEOUT pass over holes and return ENOMEM at the end; they stop at once with EINVAL at a locked area (FREE: also at a";
    M_04 4
        "mprotect that makes a locked, private, read-only area writable populates it for write";
    M_05 5
        "mremap with MREMAP_FIXED moves several areas in one call since 6.17; gaps are allowed inside, but at the start EFAULT";
    M_06 6
        "areas merge when flags are equal (incl. LOCKED and ACCOUNT; ACCOUNT is set by a private writable area and never cleared), same file, continuous";
    M_07 7
        "fork clears LOCKED in the child";
    M_08 8
        "a read fault on a file maps every cached, not-swapped page of the area inside the aligned 16-page window around it";
    M_09 9
        "PAGEOUT skips pages with mapcount other than 1 and pinned anonymous pages; a memfd page leaves the page cache for swap";
    M_10 10
        "MADV_FREE skips a dirty or swap-cache folio whose mapcount is not 1. A lazily freed page that was dirtied again survives one PAGEOUT and becomes";
    M_11 11
        "process_vm_writev, /proc/PID/mem writes and O_DIRECT reads mark the folio dirty (not visible in the traces, but later PAGEOUT and FREE depend on it)";
    M_12 12
        "a swap slot with a single user is read in fresh and mapped exclusive; a shared slot goes through the swap cache";
}
