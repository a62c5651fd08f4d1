//! Rows M-…: edits of the map.
//!
//! Data only; the full facts are in `docs/semantics.md`, under the same ids.
//! Linux: mm/mmap.c, mm/mprotect.c, mm/madvise.c, mm/mremap.c, mm/mlock.c of 6.18.

use super::rows;

rows! { b'M';
    M_01 1
        "mprotect, mlock and munlock stop at the first hole; what was done before stays." => ENOMEM;
        "Map the hole, or end the range before it.";
    M_02 2
        "mlock marks areas up to a hole and then populates nothing; it populates for write where \
         it may." => ENOMEM;
        "Map the whole range, readable, and raise RLIMIT_MEMLOCK if that is reached.";
    M_03 3
        "madvise passes over holes and reports them at the end; a locked area stops it at \
         once." => ENOMEM;
        "Map the hole, or munlock the area first.";
    M_04 4
        "mprotect that makes a locked private area writable populates it for write.";
    M_05 5
        "mremap may move several areas in one call, with gaps inside but not at the \
         start." => EFAULT since 6 17;
        "Begin the range at a mapped address.";
    M_06 6
        "Neighbouring areas of the same kind become one.";
    M_07 7
        "A child does not inherit locked memory.";
    M_08 8
        "A read fault on a file maps every cached page of the 16 around it.";
    M_09 9
        "MADV_PAGEOUT skips pages that are mapped twice or pinned.";
    M_10 10
        "MADV_FREE skips pages that are dirty or in swap and mapped twice.";
    M_11 11
        "Writes through process_vm_writev, /proc/PID/mem and direct I/O mark the page dirty.";
    M_12 12
        "A swap slot of one user comes back exclusive; a shared one goes through the swap cache.";
    M_13 13
        "Pages of a locked area are marked mlocked until it lets go of them; page-out leaves them \
         alone.";
    M_14 14
        "MADV_COLLAPSE reads swapped pages back and makes huge pages of every 2 MiB, as far as it \
         can." => EINVAL since 6 1;
        "Advise about whole 2 MiB of private memory that was written to.";
    M_15 15
        "MADV_WILLNEED brings pages into the page cache or the swap cache and maps nothing.";
    M_16 16
        "MADV_DONTNEED of all that a page table maps frees the table." since 6 14;
    M_17 17
        "mremap makes a page table for each one that the old place has, or moves the table \
         itself.";
}
