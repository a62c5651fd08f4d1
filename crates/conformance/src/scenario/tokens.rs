//! The state of a page as a token: `-` no entry, `Z` zero page, `Ax1` anonymous, exclusive, mapped
//! once.
//!
//! `.` no area; `F` file, shared memory or special, `K` KSM, `S` swapped out, `G` guard region;
//! then `x` exclusive or `s` not, `h` hugetlb, `T` large folio, `H` mapped by a PMD, the mapcount
//! as a digit, `d` dirty, `L` mlocked, `c` in the swap cache, `w` write-protected by userfaultfd.

use super::host::PlayHost;
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::frame::{FrameFlags, Kind};
use gup::mm::{Mm, MmRead};
use gup::pgtable::{Decoded, SwapEntry};
use std::fmt::Write;

/// The tokens of `pages` pages from `start` on.
pub(super) fn of_pages(mm: &Mm<PlayHost>, start: VirtAddr, pages: u64) -> Vec<String> {
    let map = mm.read();
    let addr = |n: u64| start.wrapping_add(n.wrapping_mul(PAGE_SIZE));
    (0..pages).map(|n| token(&map, addr(n))).collect()
}

fn token(map: &MmRead<'_, PlayHost>, addr: VirtAddr) -> String {
    if map.lookup(addr).is_none() {
        return ".".into();
    }
    let walked = map.mm().tables().walk(addr);
    let level = walked.place.level;
    match walked.entry.decode(level) {
        Decoded::None | Decoded::Table(_) => "-".into(),
        Decoded::Swap(SwapEntry::Guard) => "G".into(),
        Decoded::Swap(SwapEntry::UffdWp) => "-w".into(),
        Decoded::Swap(_) => "S".into(),
        Decoded::Leaf(_, perms) => {
            let Some(pfn) = walked.frame(addr) else { return "-".into() };
            let wp = if perms.uffd_wp { "w" } else { "" };
            format!("{}{wp}", page(map.mm(), pfn, level))
        }
    }
}

fn page(mm: &Mm<PlayHost>, pfn: Pfn, level: u8) -> String {
    let machine = mm.machine();
    if pfn == machine.zero_page() {
        return "Z".into();
    }
    let huge_zero = machine.huge_zero_page();
    if huge_zero.is_some_and(|head| (head.get()..head.get() + 512).contains(&pfn.get())) {
        return if level > 0 { "ZTH".into() } else { "Z".into() };
    }
    let frames = machine.frames();
    if !frames.pfn_valid(pfn) {
        return "F".into();
    }
    let has = |flag| frames.has(pfn, flag);
    let mut token = String::new();
    match frames.kind(pfn) {
        _ if has(FrameFlags::KSM) => token.push('K'),
        Kind::Anon | Kind::Hugetlb
            if frames.kind(pfn) == Kind::Anon || has(FrameFlags::SWAPBACKED) =>
        {
            token.push('A');
            // A huge entry's page is exclusive, or not, as its folio's first one says.
            let sole = if level > 0 { frames.head(pfn) } else { pfn };
            let exclusive = frames.has(sole, FrameFlags::ANON_EXCLUSIVE);
            token.push(if exclusive { 'x' } else { 's' });
        }
        _ => token.push('F'),
    }
    if frames.kind(pfn) == Kind::Hugetlb {
        token.push('h');
    } else if frames.is_large(pfn) {
        token.push('T');
    }
    if level > 0 {
        token.push('H');
    }
    let _ = write!(token, "{}", frames.mapcount(pfn).min(9));
    for (flag, letter) in
        [(FrameFlags::DIRTY, 'd'), (FrameFlags::MLOCKED, 'L'), (FrameFlags::SWAPCACHE, 'c')]
    {
        if has(flag) {
            token.push(letter);
        }
    }
    token
}

/// Whether `is` is what `want` asks for: the same kind, and all the letters and digits that it
/// names.
pub(crate) fn fits(want: &str, is: &str) -> bool {
    want.chars().next() == is.chars().next() && want.chars().skip(1).all(|c| is.contains(c))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_token_fits_if_it_has_all_that_is_asked_for() {
        let table = [
            ("-", "-", true),
            ("A", "Ax1", true),
            ("Ax", "Ax1d", true),
            ("As", "Ax1", false),
            ("A2", "As2", true),
            ("A1", "As2", false),
            ("F", "Ax1", false),
            ("Z", "Z", true),
        ];
        for (want, is, holds) in table {
            assert_eq!(fits(want, is), holds, "{want} {is}");
        }
    }
}
