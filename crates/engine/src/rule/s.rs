//! Rows S-…: bugs that Linux had, each with what keeps it out here.
//!
//! A decision by one of these rules is the invariant at work: the request that the bug let through
//! is refused, waits, or copies.
//! Data only; the full facts, with the kernels concerned, are in `docs/semantics.md`, under the
//! same ids.

use super::rows;

rows! { b'S';
    S_01 1
        "Dirty COW, CVE-2016-5195: a request keeps its write requirement until the end.";
    S_02 2
        "Huge Dirty COW, CVE-2017-1000405: a dirty bit allows no store.";
    S_03 3
        "CVE-2022-2590: a dirty entry of a file's page allows no forced store.";
    S_04 4
        "CVE-2020-29374: a page that somebody else refers to is not reused in place.";
    S_05 5
        "A fast pin that meets a fork is given up.";
    S_06 6
        "A pinned exclusive page is copied for the child, never shared.";
    S_07 7
        "CVE-2020-29368: whether a huge page is reused is decided by its references, under the \
         lock.";
    S_08 8
        "CVE-2023-4732: the early copy of fork carries the mark of userfaultfd.";
    S_09 9
        "CVE-2018-1120: a reader may ask for anonymous memory only, so no file keeps it waiting.";
    S_10 10
        "CVE-2024-44943: a page known to be in use is grabbed without a test that may fail.";
    S_11 11
        "CVE-2024-35872: secret memory is known by whose page it is, not by a passing state.";
    S_12 12
        "CVE-2025-22034: splitting is refused for hugetlb areas before anything is walked.";
    S_13 13
        "A fast long-term pin takes no page that the slow one would move.";
    S_14 14
        "CVE-2021-22543: frames mapped by number are not handed out.";
    S_15 15
        "CVE-2019-11487: a reference count near its limit refuses.";
    S_16 16
        "CVE-2026-43494: returned references never cancel a pin.";
    S_17 17
        "The pins of a large folio are counted exactly.";
    S_18 18
        "A fast walk that finds another table the second time gives up.";
    S_19 19
        "CVE-2022-3623: the lock of a huge entry follows from the entry's level.";
    S_20 20
        "CVE-2024-45024: lookup and fault of a hugetlb entry take the same lock.";
    S_21 21
        "CVE-2025-38085: a table changes its owner only after every lockless walker has left.";
    S_22 22
        "CVE-2024-42293: a lockless walk reads each entry once and goes on with the value.";
    S_23 23
        "CVE-2025-38434: a fast walk never leaves user space.";
    S_24 24
        "CVE-2018-18281: a moved entry is flushed before its table is unlocked.";
    S_25 25
        "CVE-2021-4002: an unmapped hugetlb page is flushed before it is given back.";
    S_26 26
        "CVE-2022-41222: a moved huge entry is flushed before its table is unlocked.";
    S_27 27
        "CVE-2020-10757: a huge leaf is known by one test, wherever it is moved from.";
    S_28 28
        "CVE-2017-1000364: a stack keeps its distance from whatever is below.";
    S_29 29
        "CVE-2019-9213: nobody's rights let a stack grow below mmap_min_addr.";
    S_30 30
        "CVE-2023-3269: a stack grows under the exclusive lock only.";
    S_31 31
        "CVE-2020-29369: a stack that grew meanwhile is looked up again.";
    S_32 32
        "CVE-2015-3288: a shared area without a file's pages gets no anonymous ones.";
    S_33 33
        "CVE-2021-46927: a call that needs the lock does not run without it.";
}
