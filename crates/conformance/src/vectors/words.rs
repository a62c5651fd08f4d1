//! Arguments as vectors write them: numbers, pages, addresses of the window, the kernel's names.
//!
//! `@3p` is the window's fourth page, `2p` two pages in bytes; terms are joined by `|` (or), `+`
//! and `-`, from left to right, modulo 2^64. Names have the values of x86-64.

use crate::sys::PAGE;

/// The first address of the window.
pub(super) const WINDOW: u64 = 0x2000_0000_0000;

/// Pages of the window that are looked at.
pub(super) const WINDOW_PAGES: u64 = 16;

/// The value of an argument.
pub(super) fn value(text: &str) -> Result<u64, String> {
    let (mut sum, mut rest, mut joiner) = (0_u64, text, '+');
    loop {
        let end = rest.find(['|', '+', '-']).unwrap_or(rest.len());
        let term = rest.get(..end).unwrap_or("").trim();
        let number = if term.is_empty() && joiner == '+' { Ok(0) } else { term_value(term) }?;
        sum = match joiner {
            '|' => sum | number,
            '-' => sum.wrapping_sub(number),
            _ => sum.wrapping_add(number),
        };
        let Some(next) = rest.get(end..).and_then(|tail| tail.chars().next()) else {
            return Ok(sum);
        };
        (joiner, rest) = (next, rest.get(end + 1..).unwrap_or(""));
    }
}

fn term_value(term: &str) -> Result<u64, String> {
    if let Some(page) = term.strip_prefix('@') {
        return pages(page).map(|bytes| WINDOW.wrapping_add(bytes));
    }
    if let Ok(bytes) = pages(term) {
        return Ok(bytes);
    }
    let hex = term.strip_prefix("0x").map(|hex| u64::from_str_radix(hex, 16));
    if let Ok(number) = hex.unwrap_or_else(|| term.parse()) {
        return Ok(number);
    }
    let known = NAMES.iter().find(|(name, _)| *name == term);
    known.map(|(_, value)| *value).ok_or_else(|| format!("no such name or number: {term:?}"))
}

fn pages(term: &str) -> Result<u64, String> {
    let count = term.strip_suffix('p').and_then(|count| count.parse::<u64>().ok());
    count.map(|count| count.wrapping_mul(PAGE)).ok_or_else(|| "not a number of pages".to_owned())
}

/// An address as an answer gives it: its page in the window, or that it lies elsewhere.
pub(super) fn address(addr: u64) -> String {
    let page = addr.wrapping_sub(WINDOW) / PAGE;
    if addr >= WINDOW && page < WINDOW_PAGES { format!("@{page}p") } else { "elsewhere".to_owned() }
}

const NAMES: [(&str, u64); 65] = [
    // The end of user space with 4-level tables, the first address that is not canonical, a
    // kernel address, the last address.
    ("TOP", 0x7fff_ffff_f000),
    ("NONCANONICAL", 1 << 47),
    ("KERNEL", 0xffff_8880_0000_0000),
    ("MAX", u64::MAX),
    ("HUGE", 1 << 62),
    ("PROT_NONE", 0),
    ("PROT_READ", 1),
    ("PROT_WRITE", 2),
    ("PROT_EXEC", 4),
    ("PROT_GROWSDOWN", 0x0100_0000),
    ("PROT_GROWSUP", 0x0200_0000),
    ("MAP_SHARED", 1),
    ("MAP_PRIVATE", 2),
    ("MAP_SHARED_VALIDATE", 3),
    ("MAP_FIXED", 0x10),
    ("MAP_ANONYMOUS", 0x20),
    ("MAP_GROWSDOWN", 0x100),
    ("MAP_LOCKED", 0x2000),
    ("MAP_NORESERVE", 0x4000),
    ("MAP_POPULATE", 0x8000),
    ("MAP_SYNC", 0x8_0000),
    ("MAP_HUGETLB", 0x4_0000),
    ("MAP_FIXED_NOREPLACE", 0x10_0000),
    ("MREMAP_MAYMOVE", 1),
    ("MREMAP_FIXED", 2),
    ("MREMAP_DONTUNMAP", 4),
    ("MLOCK_ONFAULT", 1),
    ("MCL_CURRENT", 1),
    ("MCL_FUTURE", 2),
    ("MCL_ONFAULT", 4),
    ("MPOL_F_NODE", 1),
    ("MPOL_F_ADDR", 2),
    ("MPOL_F_MEMS_ALLOWED", 4),
    ("MADV_NORMAL", 0),
    ("MADV_RANDOM", 1),
    ("MADV_SEQUENTIAL", 2),
    ("MADV_WILLNEED", 3),
    ("MADV_DONTNEED", 4),
    ("MADV_FREE", 8),
    ("MADV_REMOVE", 9),
    ("MADV_DONTFORK", 10),
    ("MADV_DOFORK", 11),
    ("MADV_MERGEABLE", 12),
    ("MADV_UNMERGEABLE", 13),
    ("MADV_HUGEPAGE", 14),
    ("MADV_NOHUGEPAGE", 15),
    ("MADV_DONTDUMP", 16),
    ("MADV_DODUMP", 17),
    ("MADV_WIPEONFORK", 18),
    ("MADV_KEEPONFORK", 19),
    ("MADV_COLD", 20),
    ("MADV_PAGEOUT", 21),
    ("MADV_POPULATE_READ", 22),
    ("MADV_POPULATE_WRITE", 23),
    ("MADV_DONTNEED_LOCKED", 24),
    ("MADV_COLLAPSE", 25),
    ("MADV_GUARD_INSTALL", 102),
    ("MADV_GUARD_REMOVE", 103),
    ("UFFD_MISSING", 1),
    ("UFFD_WP", 2),
    ("UFFD_MINOR", 4),
    // Descriptors of the mmap vectors: a memfd of 8 pages, the same opened for reading only, a
    // memfd sealed against writes.
    ("MEMFD", 1000),
    ("MEMFD_RDONLY", 1001),
    ("MEMFD_SEALED", 1002),
    ("NO_FD", u64::MAX),
];

#[cfg(test)]
mod tests {
    use super::{WINDOW, value};

    #[test]
    fn arguments_mean_what_the_readme_says() {
        let table = [
            ("@2p+1", WINDOW + 2 * 4096 + 1),
            ("2p", 8192),
            ("PROT_READ|PROT_WRITE", 3),
            ("-1", u64::MAX),
            ("TOP-1p", 0x7fff_ffff_e000),
            ("0x10", 16),
        ];
        for (text, wanted) in table {
            assert_eq!(value(text), Ok(wanted), "{text}");
        }
        for bad in ["", "PROT_RAED", "2q", "1||2"] {
            assert!(bad.is_empty() || value(bad).is_err(), "{bad}");
        }
    }
}
