//! Rows F-…: fork, copy-on-write and pins.
//!
//! Data only; the full facts are in `docs/semantics.md`, under the same ids.
//! Linux: mm/memory.c, mm/rmap.c, mm/swapfile.c, kernel/fork.c of 6.18.

use super::rows;

rows! { b'F';
    F_01 1
        "A new, copied or reused anonymous page is exclusive to its process." reworked 5 19;
    F_02 2
        "Sharing by fork, swap-out, migration or KSM ends a page's exclusivity." reworked 5 19;
    F_03 3
        "A page that may be pinned stays exclusive until it is unpinned." reworked 5 19;
    F_04 4
        "A writable anonymous entry maps an exclusive page; an exclusive page need not be \
         writable." reworked 5 19;
    F_05 5
        "An anonymous page can be pinned only while it is exclusive." since 5 19;
    F_06 6
        "GET promises nothing: after copy-on-write the reference may keep the old page.";
    F_07 7
        "A KSM page is never exclusive, so a pin unshares it first." reworked 5 19;
    F_08 8
        "fork copies entries of areas that have private pages; the rest is faulted in by the \
         child.";
    F_09 9
        "fork shares an anonymous page that is not pinned, and write-protects it in both \
         processes.";
    F_10 10
        "fork copies a pinned page for the child at once; the parent keeps its page, \
         writable." since 5 9;
    F_11 11
        "fork shares a page that may be pinned but is not exclusive." since 5 19;
    F_12 12
        "If fork cannot copy a pinned page, it fails." => ENOMEM since 5 9;
        "Free memory, or mark the pinned range MADV_DONTFORK.";
    F_13 13
        "A fast pin and fork see each other through a sequence count." since 5 11;
    F_14 14
        "fork splits the mapping of a pinned huge page and copies every page of it.";
    F_15 15
        "fork copies a pinned private hugetlb page at once, from the pool." => ENOMEM;
        "Reserve more huge pages, or mark the range MADV_DONTFORK.";
    F_16 16
        "fork ends the exclusivity of swapped and moving pages in both processes." since 5 19;
    F_17 17
        "Shared mappings and file pages are duplicated by fork, pinned or not.";
    F_18 18
        "fork leaves out areas marked MADV_DONTFORK, and empties those marked MADV_WIPEONFORK.";
    F_19 19
        "A process that pinned once is treated as one that may have pins, for good; its child is \
         not." since 5 9;
    F_20 20
        "In v4.4 fork knows nothing of pins: the first writer gets the copy." until 5 9;
    F_21 21
        "A write to a read-only private page reuses it if it is exclusive, else copies it unless \
         it is the last." since 5 19;
    F_22 22
        "A page read back from swap is exclusive if its entry says so, or if nobody else has \
         it." reworked 5 19;
    F_23 23
        "A small page is reused by a write only if nothing else refers to it.";
    F_24 24
        "A large folio is reused by a write if all its references are mappings of this process.";
    F_25 25
        "A huge page is reused by a write if it is exclusive or has no other reference; else it \
         is split." reworked 5 19;
    F_26 26
        "A hugetlb page is reused by a write if it is mapped once, whatever references it has.";
    F_27 27
        "Unsharing gives this process a page of its own and leaves the entry read-only." since 5 19;
    F_28 28
        "Unsharing the huge zero page gives a huge page of zeros, or small ones." since 5 19;
    F_29 29
        "A forced write makes the page exclusive and dirty, and leaves the entry \
         read-only." reworked 6 0;
    F_30 30
        "The zero page is not counted by a pin; a long-term pin gets a page of its own." since 6 5;
    F_31 31
        "A copy is in place, and seen by every CPU, before the old page loses its mapping.";
    F_32 32
        "mprotect makes a page writable without a fault only if it is exclusive, or a dirty file \
         page.";
    F_33 33
        "Reclaim leaves pages alone that may be pinned.";
    F_34 34
        "Before swap-out or migration the entry is cleared; if the page is pinned, it is put \
         back." reworked 5 19;
    F_35 35
        "A lazily freed page is freed only if it is clean and nobody else refers to it.";
    F_36 36
        "A page with an unexplained reference is not migrated.";
    F_37 37
        "KSM does not merge a page that has other references.";
    F_38 38
        "A huge page is not assembled from pages that have other references.";
    F_39 39
        "A folio with extra references is not split; its mapping may be.";
    F_40 40
        "NUMA balancing leaves pages alone that may be pinned.";
    F_41 41
        "Clearing soft-dirty leaves pages writable that may be pinned.";
    F_42 42
        "UFFDIO_MOVE refuses a page that is pinned or not exclusive." => EBUSY since 6 8;
        "Unpin the page first.";
    F_43 43
        "mremap moves a page with its pins; they follow the page, not the address.";
    F_44 44
        "Broken memory that is pinned stays with the pin.";
    F_45 45
        "Unmapping ignores pins: the page lives on with the pin, and the address gets a new one.";
    F_46 46
        "An unmapped page keeps its exclusive mark until it is freed." reworked 5 19;
    F_47 47
        "Truncation takes a pinned page out of its file; what is written to it later is lost.";
    F_48 48
        "Dropping caches leaves pages alone that have extra references.";
    F_49 49
        "A page marked dirty before its last reference goes is kept.";
    F_50 50
        "Truncation of a DAX file waits for its pages to be released.";
    F_51 51
        "Writeback writes a pinned page as it is, while a device may still change it.";
    F_52 52
        "A page that a device has written is marked dirty before it is unpinned.";
    F_53 53
        "Who touches data pins; who only looks at the page gets." since 5 6;
    F_54 54
        "Clear the entry, order, test for pins, then end exclusivity; a pin counts, orders, \
         looks again." reworked 5 19;
    F_55 55
        "fork makes its sequence odd while it copies; a fast pin that sees it change gives \
         up." since 5 11;
    F_56 56
        "A page table is freed only after every lockless walker has gone on.";
    F_57 57
        "A page is freed only from zero references; a lockless walker never raises zero.";
    F_58 58
        "A huge mapping has a table put aside, so splitting it, or dropping a part of it, always \
         succeeds.";
    F_59 59
        "A long-term read pin of the zero page or a file's page in private memory gets a page of \
         its own first." since 6 2;
}
