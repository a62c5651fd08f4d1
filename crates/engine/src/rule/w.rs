//! Rows W-…: the published description of `__get_user_pages`, as requirements.
//!
//! Data only; the full facts are in `docs/semantics.md`, under the same ids.
//! Linux: the kernel-doc text in mm/gup.c of v4.4.

use super::rows;

rows! { b'W';
    W_01 1
        "The page handed out is the page that an access of the user would reach at that instant.";
    W_02 2
        "The address may show another page later; the one handed out is not freed.";
    W_03 3
        "nonblocking says whether to wait for disk I/O or for the lock.";
    W_04 4
        "A request for 0 pages returns 0; a negative number is a huge one.";
    W_05 5
        "Every page must be released with put_page, and marked dirty before that if it was \
         written.";
    W_06 6
        "An area in vmas is valid only while the lock is held.";
}
