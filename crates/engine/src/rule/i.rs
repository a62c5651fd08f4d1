//! Rows I-…: invariants, which hold at every moment.
//!
//! No decision is made by one of these: other rules keep them, and the map of rows says which.
//! Data only; the full facts are in `docs/semantics.md`, under the same ids.
//! Linux: none; each is what would have kept some past bug out (rows S-…).

use super::rows;

rows! { b'I';
    I_01 1
        "A request keeps its write requirement; a store goes through an entry that is writable \
         now, or to an exclusive page.";
    I_02 2
        "Dirty and young marks allow nothing.";
    I_03 3
        "A page with references beside its mappings is not reused in place unless it is exclusive; \
         every read-only pin unshares first.";
    I_04 4
        "A fork and a lockless pin are ordered by a sequence of the address space.";
    I_05 5
        "An exclusive page that may be pinned is copied for the child, never shared.";
    I_06 6
        "Whether a page is reused is decided by its references, looked at again under the lock.";
    I_07 7
        "A reader on behalf of the kernel may ask for anonymous memory only, and then never waits \
         for a file.";
    I_08 8
        "A page known to be in use and a page that may be free are grabbed by different means.";
    I_09 9
        "What may be pinned follows from whose page it is, not from a passing state.";
    I_10 10
        "No page is handed out without a reference; frames mapped by number are refused.";
    I_11 11
        "Every increment of a count is checked.";
    I_12 12
        "Pins have a count of their own; references never cancel one.";
    I_13 13
        "A lockless walk looks again at every level that can be replaced under it.";
    I_14 14
        "A table that changes its owner waits for the lockless walkers.";
    I_15 15
        "A range is checked against user space without overflow, whatever the architecture.";
    I_16 16
        "A gap of many pages lies below a stack, when it grows and when others map.";
    I_17 17
        "Areas are changed under the exclusive lock only.";
    I_18 18
        "A result of r pages fills exactly the first r slots, each with one reference or pin; an \
         error leaves none.";
    I_19 19
        "A call returns with the lock in the state that it reports.";
    I_20 20
        "A pinned anonymous page stays exclusive until it is unpinned.";
    I_21 21
        "Between retries the flags of a request never change, but for TRIED.";
    I_22 22
        "Once the lock was dropped, the area is looked up again.";
    I_23 23
        "The fast path grants nothing that the slow path refuses.";
    I_24 24
        "Pins of the zero page are not counted, and unpinning it does nothing.";
}
