//! What can be seen of a subject from outside without disturbing it: its areas, and the state of
//! each page.
//!
//! Reads `pagemap`, `kpageflags`, `kpagecount`, and asks `PROCMAP_QUERY` and `PAGEMAP_SCAN` (for
//! what a PMD maps). Pages are seen by root only.
//! Linux: `fs/proc/task_mmu.c`, `fs/proc/page.c`.

use super::files::Inodes;
use crate::sys::{PAGE, check};
use crate::world::token::Classes;
use crate::world::{Area, Content, Token};
use gup_mirror::proc::kpage::{KpageFlags, Kpages};
use gup_mirror::proc::pagemap::PagemapWord;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Open handles on one subject.
#[derive(Debug)]
pub(crate) struct Eyes {
    pagemap: OwnedFd,
    maps: OwnedFd,
}

/// `struct procmap_query`.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    addr: u64,
    start: u64,
    end: u64,
    perms: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    major: u32,
    minor: u32,
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

const PROCMAP_QUERY: libc::Ioctl = 0xc068_6611_u32 as libc::Ioctl;
/// The area at the address, or the next one.
const COVERING_OR_NEXT: u64 = 0x10;

impl Eyes {
    /// Opens what is read of process `pid`.
    /// # Errors
    /// The kernel's.
    pub(crate) fn open(pid: i32) -> Result<Self, Errno> {
        let open = |file: &str| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::open(format!("/proc/{pid}/{file}"), flags, Mode::empty())
        };
        Ok(Self { pagemap: open("pagemap")?, maps: open("maps")? })
    }
    /// The open pagemap.
    pub(super) fn pagemap(&self) -> &OwnedFd {
        &self.pagemap
    }
    /// The areas that overlap one of the ranges, in order.
    /// # Errors
    /// The kernel's; ENOTTY before Linux 6.11.
    pub(crate) fn areas(&self, ranges: &[(u64, u64)], inodes: &Inodes) -> Result<Vec<Area>, Errno> {
        let mut areas = Vec::new();
        for (start, pages) in ranges {
            let end = start.saturating_add(pages.saturating_mul(PAGE));
            let mut at = *start;
            while at < end {
                let Some(found) = self.query(at)? else { break };
                if found.start >= end {
                    break;
                }
                at = found.end;
                areas.push(area(&found, inodes));
            }
        }
        areas.sort();
        areas.dedup();
        Ok(areas)
    }
    fn query(&self, addr: u64) -> Result<Option<Query>, Errno> {
        let size = size_of::<Query>() as u64;
        let mut query = Query { size, flags: COVERING_OR_NEXT, addr, ..Query::default() };
        // SAFETY: the request reads and writes one such structure.
        let done = unsafe {
            libc::ioctl(self.maps.as_raw_fd(), PROCMAP_QUERY, std::ptr::from_mut(&mut query))
        };
        match check(done.into()) {
            Ok(_) => Ok(Some(query)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
    pub(super) fn words(&self, start: u64, pages: u64) -> Result<Vec<PagemapWord>, Errno> {
        let mut bytes = vec![0_u8; usize::try_from(pages).unwrap_or(0) * 8];
        let mut filled = 0;
        while filled < bytes.len() {
            let at = (start / PAGE) * 8 + filled as u64;
            match rustix::io::pread(&self.pagemap, &mut bytes[filled..], at) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| PagemapWord(u64::from_ne_bytes(*word))).collect())
    }
    /// The states of `pages` pages from `start` on, `areas` being those there.
    /// # Errors
    /// The kernel's.
    pub(crate) fn tokens(
        &self,
        (start, pages): (u64, u64),
        areas: &[Area],
        kpages: &Kpages,
        classes: &mut Classes,
    ) -> Result<Vec<Token>, Errno> {
        let words = self.words(start, pages)?;
        let mut huge = None;
        let mut tokens = Vec::with_capacity(words.len());
        let mut areas = areas.iter().peekable();
        for (n, word) in (0_u64..).zip(&words) {
            let addr = start + n * PAGE;
            while areas.next_if(|area| area.end <= addr).is_some() {}
            if areas.peek().is_none_or(|area| area.start > addr) {
                tokens.push(Token::of(Content::NoArea));
                continue;
            }
            let flags = word.pfn().and_then(|pfn| kpages.flags(pfn)).unwrap_or_default();
            let mut token = token(*word, flags, kpages, classes);
            if flags.thp() || flags.hugetlb() {
                if huge.is_none() {
                    huge = Some(self.huge(start, pages)?);
                }
                let ranges = huge.iter().flatten();
                let by_pmd = ranges.clone().any(|(from, to)| (*from..*to).contains(&addr));
                token.huge_entry = by_pmd;
                if by_pmd {
                    token = of_huge_entry(token, *word, kpages);
                }
            }
            tokens.push(token);
        }
        Ok(tokens)
    }
    /// The ranges that PMDs map.
    fn huge(&self, start: u64, pages: u64) -> Result<Vec<(u64, u64)>, Errno> {
        const PAGEMAP_SCAN: libc::Ioctl = 0xc060_6610_u32 as libc::Ioctl;
        const PAGE_IS_HUGE: u64 = 1 << 6;
        const REGIONS: usize = 512;
        let mut regions = [[0_u64; 3]; REGIONS];
        let end = start + pages * PAGE;
        let vec = regions.as_mut_ptr().expose_provenance() as u64;
        // Size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, any, return.
        let mut arg: [u64; 12] =
            [96, 0, start, end, 0, vec, REGIONS as u64, 0, 0, PAGE_IS_HUGE, 0, PAGE_IS_HUGE];
        // SAFETY: the argument is a `struct pm_scan_arg`, whose regions live until the end.
        let found =
            unsafe { libc::ioctl(self.pagemap.as_raw_fd(), PAGEMAP_SCAN, arg.as_mut_ptr()) };
        let found = usize::try_from(check(found.into())?).unwrap_or(0);
        Ok(regions.iter().take(found).map(|[from, to, _]| (*from, *to)).collect())
    }
}

fn area(query: &Query, inodes: &Inodes) -> Area {
    let file = (query.inode != 0).then(|| inodes.name(query.inode, (query.major, query.minor)));
    Area {
        start: query.start,
        end: query.end,
        prot: (query.perms & 7) as u8,
        shared: query.perms & 8 != 0,
        offset: query.offset,
        file,
    }
}

fn token(word: PagemapWord, flags: KpageFlags, kpages: &Kpages, classes: &mut Classes) -> Token {
    if word.guard() {
        return Token::of(Content::Guard);
    }
    if word.swapped() {
        return of_swap(word);
    }
    if !word.present() {
        return Token { uffd_wp: word.userfault_wp(), ..Token::of(Content::Empty) };
    }
    let Some(pfn) = word.pfn() else { return Token::of(Content::File) };
    if flags.zero_page() {
        return Token { large: flags.thp(), ..Token::of(Content::Zero) };
    }
    let content = match (flags.anon(), flags.ksm()) {
        (_, true) => Content::Ksm,
        (true, false) => Content::Anon { exclusive: flags.anon_exclusive() },
        (false, false) => Content::File,
    };
    let mapcount = kpages.mapcount(pfn).unwrap_or(0);
    // What the kernel maps without counting has no frame of its own here.
    let special = content == Content::File && mapcount == 0;
    Token {
        hugetlb: flags.hugetlb(),
        large: flags.thp() && !flags.hugetlb() && is_whole_pmd(pfn, kpages),
        mapcount: u8::try_from(mapcount.min(9)).unwrap_or(9),
        swap_cache: flags.0 >> 13 & 1 == 1 && flags.anon(),
        uffd_wp: word.userfault_wp(),
        class: (!special).then(|| classes.of(pfn)),
        ..Token::of(content)
    }
}

/// Whether the folio of this frame is as large as a PMD maps: its first frame is where a PMD's
/// would be, and no smaller folio begins in its middle.
fn is_whole_pmd(pfn: u64, kpages: &Kpages) -> bool {
    const HEAD: u64 = 1 << 15;
    const TAIL: u64 = 1 << 16;
    let first = pfn & !511;
    let has = |pfn, flag| kpages.flags(pfn).is_some_and(|flags| flags.0 & flag != 0);
    has(first, HEAD) && has(first + 256, TAIL)
}

/// A huge entry's page is exclusive if the folio's first page is.
fn of_huge_entry(token: Token, word: PagemapWord, kpages: &Kpages) -> Token {
    let Content::Anon { .. } = token.content else { return token };
    let head = word.pfn().map(|pfn| pfn & !511);
    let flags = head.and_then(|pfn| kpages.flags(pfn)).unwrap_or_default();
    Token { content: Content::Anon { exclusive: flags.anon_exclusive() }, ..token }
}

/// Entries that are no page: swap, or a mark that userfaultfd left.
fn of_swap(word: PagemapWord) -> Token {
    // The types of true swap devices are the lowest of the 32.
    const MARKERS: u64 = 24;
    let marker = word.0 & 31 >= MARKERS;
    let content = if marker { Content::Empty } else { Content::Swap };
    Token { uffd_wp: word.userfault_wp(), ..Token::of(content) }
}

/// Pins of the whole machine so far, acquired and released; after what was counted on each CPU has
/// been added up.
pub(crate) fn pins() -> Option<(u64, u64)> {
    std::fs::write("/proc/sys/vm/stat_refresh", "1").ok()?;
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    };
    Some((number("nr_foll_pin_acquired ")?, number("nr_foll_pin_released ")?))
}
