//! Rows W-…: the seed's words as requirements.
//!
//! Data only; the sentences are those of `docs/semantics.md`, in one line each.

use super::rows;

rows! { b'W';
    W_01 1
        "it walks page tables and takes a reference to each page that a user access at that instant would reach: property test: the frame handed out is the";
    W_02 2
        "the page may be another one later, but is not freed completely: test: truncate and refault while pinned; the pinned frame keeps its bytes and is not";
    W_03 3
        "nonblocking: whether waiting for disk IO or mmap_sem contention: stores that are *not ready*: with nonblocking the read is started, the lock dropped";
    W_04 4
        "nr_pages 0 or negative returns 0: the text; in the code nr_pages is unsigned, so a negative number is a huge one (MMU), and an int counter in the";
    W_05 5
        "each page must be released with put_page; set_page_dirty(_lock) before that if it was written: abi has them, and the typed layer makes forgetting";
    W_06 6
        "vmas stay valid only while mmap_sem is held: a compile-fail test for the borrowed form, a generation test for the id form";
}
