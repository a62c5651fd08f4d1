//! The books, done again: walks all tables of all address spaces of a machine at rest, counts what
//! every entry holds, and compares with what the frames, the address spaces and the swap say.
//!
//! Tables are walked by hand, so that a wrong walk of the engine's cannot hide a wrong table. *At
//! rest*: nobody faults, edits or holds a lock. Absent: what pages contain.

use gup::addr::{Pfn, VirtAddr, VirtRange};
use gup::fault::{counter_of, normal_page};
use gup::file::{File, Slot};
use gup::flags::VmFlags;
use gup::frame::{FrameFlags, Kind};
use gup::host::{Host, Memory};
use gup::mm::{Counter, Machine, Mm};
use gup::pgtable::{Decoded, Entry, Format, Perms, SwapEntry, level_pages, level_span};
use gup::vma::{Backing, Map, Vma};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;

/// What somebody outside the tables holds, by the folio's head.
pub type Held = BTreeMap<Pfn, u32>;

/// What the entries of all address spaces say.
#[derive(Default)]
struct Books {
    /// Entries of the lowest level, by page.
    small: BTreeMap<Pfn, u32>,
    /// Huge entries, by head.
    huge: BTreeMap<Pfn, u32>,
    /// Address spaces that map the page, by number.
    spaces: BTreeMap<Pfn, BTreeSet<usize>>,
    /// Entries and places in files that name a swap slot.
    slots: BTreeMap<u64, u32>,
    /// Slots whose entry says that it is the only one.
    exclusive_slots: BTreeSet<u64>,
    /// References that page caches hold, by head.
    cached: BTreeMap<Pfn, u32>,
    tables: BTreeSet<Pfn>,
    /// `VM_ACCOUNT` pages of all address spaces.
    charged: u64,
}

/// One address space under audit.
struct Space<'a, H: Host> {
    number: usize,
    machine: &'a Machine<H>,
    map: &'a Map<H>,
    rss: BTreeMap<&'static str, i64>,
}

/// Compares everything. `files` are those that nobody may map; others are found through areas.
pub fn audit<'a, H: Host>(
    machine: &Machine<H>,
    mms: impl IntoIterator<Item = &'a Mm<H>>,
    files: &[&File<H>],
    held: &Held,
) {
    let mut books = Books::default();
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    for file in files {
        if seen.insert(file.id()) {
            books.file(machine, file);
        }
    }
    for (number, mm) in mms.into_iter().enumerate() {
        let map = mm.read();
        accounts(mm, &map, &mut books);
        for vma in map.iter() {
            if let Some(file) = vma.backing.file().filter(|file| seen.insert(file.id())) {
                books.file(machine, file);
            }
        }
        let mut space = Space { number, machine, map: &map, rss: BTreeMap::new() };
        let root = (mm.root(), <H::Format as Format>::LEVELS - 1, 0);
        space.table(root, &mut books);
        for (counter, name) in COUNTERS {
            let want = space.rss.get(name).copied().unwrap_or(0);
            assert_eq!(mm.rss(counter), want, "rss {name} of address space {number}");
        }
    }
    books.frames(machine, held);
    books.swap(machine);
    assert_eq!(machine.committed.load(Relaxed), books.charged, "pages charged");
}

const COUNTERS: [(Counter, &str); 4] = [
    (Counter::File, "file"),
    (Counter::Anon, "anon"),
    (Counter::Swap, "swap"),
    (Counter::Shmem, "shmem"),
];

fn name_of(counter: Counter) -> &'static str {
    COUNTERS.iter().find(|(c, _)| *c == counter).map_or("?", |(_, name)| name)
}

/// Areas in order, and the counters that sum over them.
fn accounts<H: Host>(mm: &Mm<H>, map: &Map<H>, books: &mut Books) {
    let (mut total, mut locked, mut data, mut end) = (0, 0, 0, VirtAddr::new(0));
    for vma in map.iter() {
        assert!(end <= vma.start() && vma.start() < vma.end(), "areas overlap: {vma:?}");
        assert!(vma.start().page_offset() == 0 && vma.end().page_offset() == 0, "{vma:?}");
        assert!(map.by_id(vma.id()).is_some_and(|found| found.range() == vma.range()), "{vma:?}");
        end = vma.end();
        let pages = vma.range().pages();
        total += pages;
        let counts = |flags: VmFlags| if vma.flags.contains(flags) { pages } else { 0 };
        locked += counts(VmFlags::LOCKED);
        books.charged += counts(VmFlags::ACCOUNT);
        let of_data = VmFlags::WRITE | VmFlags::SHARED | VmFlags::GROWSDOWN | VmFlags::GROWSUP;
        data += if vma.flags & of_data == VmFlags::WRITE { pages } else { 0 };
    }
    assert_eq!(mm.total_vm.load(Relaxed), total, "total_vm");
    assert_eq!(mm.locked_vm.load(Relaxed), locked, "locked_vm");
    assert_eq!(map.data_vm, data, "data_vm");
}

impl<H: Host> Space<'_, H> {
    fn table(&mut self, (table, level, base): (Pfn, u8, u64), books: &mut Books) {
        assert!(books.tables.insert(table), "{table:?} is in two places");
        assert_eq!(self.machine.frames().kind(table), Kind::Table, "{table:?} at {base:#x}");
        assert_eq!(self.machine.frames().refs(table), 1, "references to a table");
        let mut huge = 0;
        for (n, word) in (0..).zip(self.machine.memory().table(table)) {
            let entry: Entry<H::Format> = Entry::from_raw(word.load(Relaxed));
            let at = base + n * level_span(level);
            let of_anon = || self.map.lookup(VirtAddr::new(at)).is_some_and(Vma::is_anonymous);
            huge += u32::from(level == 1 && entry.is_leaf(1) && of_anon());
            match entry.decode(level) {
                Decoded::None => {}
                Decoded::Table(lower) => self.table((lower, level - 1, at), books),
                Decoded::Leaf(_, perms) => self.leaf(at, level, entry, perms, books),
                Decoded::Swap(swap) => self.swap(at, level, swap, books),
            }
        }
        assert_eq!(self.deposits(table, books), huge, "tables put aside for {table:?}");
    }

    /// The tables put aside for the huge entries of `table`, one each (row F-58).
    fn deposits(&self, table: Pfn, books: &mut Books) -> u32 {
        let frames = self.machine.frames();
        let next = |table: Pfn| Some(frames.owner(table).owner).filter(|next| *next != 0);
        let list = std::iter::successors(next(table), |spare| next(Pfn::new(u64::from(*spare))));
        let mut count = 0;
        for spare in list.map(|spare| Pfn::new(u64::from(spare))) {
            assert!(books.tables.insert(spare), "{spare:?} is put aside, and in use");
            assert_eq!((frames.kind(spare), frames.refs(spare)), (Kind::Table, 1), "{spare:?}");
            count += 1;
        }
        count
    }

    /// The area that has all of the entry at `at`.
    fn area(&self, at: u64, level: u8) -> &Vma<H> {
        let start = VirtAddr::new(at);
        let range = VirtRange::new(start, VirtAddr::new(at + level_span(level)));
        let vma = self.map.lookup(start);
        let vma = vma.unwrap_or_else(|| panic!("an entry at {at:#x}, level {level}, in no area"));
        assert!(range.end <= vma.end(), "the entry at {at:#x} reaches out of {vma:?}");
        vma
    }

    fn leaf(
        &mut self,
        at: u64,
        level: u8,
        entry: Entry<H::Format>,
        perms: Perms,
        books: &mut Books,
    ) {
        let frames = self.machine.frames();
        let vma = self.area(at, level);
        let private = !vma.flags.contains(VmFlags::SHARED);
        let by_number = vma.flags.intersects(VmFlags::PFNMAP | VmFlags::MIXEDMAP)
            || matches!(vma.backing, Backing::Special(_));
        let Some(page) = normal_page(entry) else {
            let first = Some(entry.pfn());
            let zero =
                first == Some(self.machine.zero_page()) || first == self.machine.huge_zero_page();
            assert!(zero || by_number, "a special entry at {at:#x}: {entry:?}");
            assert!(!(zero && perms.write), "the zero page can be written at {at:#x}");
            return;
        };
        let kind = frames.kind(page);
        assert!(kind != Kind::Free && kind != Kind::Table, "{kind:?} {page:?} mapped at {at:#x}");
        // v4.4's defect (row A-80): a forced store opens a read-only hugetlb area.
        let may = vma.flags.contains(VmFlags::WRITE) || vma.is_hugetlb();
        assert!(!perms.write || may, "{vma:?} can be written: {at:#x}");
        let anon = frames.is_anon(page);
        assert!(!anon || private || by_number, "{page:?}, anonymous, shared at {at:#x}");
        let exclusive = frames.has(page, FrameFlags::ANON_EXCLUSIVE);
        let open = private && perms.write && !by_number;
        assert!(
            !open || anon && exclusive,
            "{kind:?} {page:?} open at {at:#x}, not exclusive (F-04)"
        );
        let counts = if level == 0 { &mut books.small } else { &mut books.huge };
        *counts.entry(page).or_default() += 1;
        for n in 0..level_pages(level) {
            books.spaces.entry(page.offset(n)).or_default().insert(self.number);
        }
        if kind != Kind::Hugetlb {
            let pages = i64::try_from(level_pages(level)).unwrap();
            *self.rss.entry(name_of(counter_of(frames, page))).or_default() += pages;
        }
        if level > 0 {
            assert_eq!(frames.head(page), page, "a huge entry at {at:#x} maps a tail");
            assert_eq!(frames.folio_frames(page), level_pages(level), "at {at:#x}");
        }
    }

    fn swap(&mut self, at: u64, level: u8, swap: SwapEntry, books: &mut Books) {
        self.area(at, level);
        if let SwapEntry::Swap { slot, exclusive, .. } = swap {
            *books.slots.entry(slot).or_default() += 1;
            *self.rss.entry("swap").or_default() += 1;
            if exclusive {
                books.exclusive_slots.insert(slot);
            }
        }
    }
}

impl Books {
    fn file<H: Host>(&mut self, machine: &Machine<H>, file: &File<H>) {
        for slot in file.pages.lock().values() {
            match slot {
                Slot::Page(page) | Slot::Reading(page, _) => {
                    *self.cached.entry(machine.frames().head(*page)).or_default() += 1;
                }
                Slot::Swapped(slot) => *self.slots.entry(*slot).or_default() += 1,
            }
        }
    }

    fn frames<H: Host>(&self, machine: &Machine<H>, held: &Held) {
        let frames = machine.frames();
        let count = |books: &BTreeMap<Pfn, u32>, pfn: Pfn| books.get(&pfn).copied().unwrap_or(0);
        let mut at = 0;
        while at < frames.len() {
            let head = Pfn::new(at);
            let pages = frames.folio_frames(head);
            if frames.kind(head) == Kind::Free {
                assert_eq!(frames.refs(head), 0, "references to a free frame");
                at += pages;
                continue;
            }
            let (mut total, huge) = (count(&self.huge, head), count(&self.huge, head));
            for page in (0..pages).map(|n| head.offset(n)) {
                let small = count(&self.small, page);
                total += small;
                assert_eq!(frames.mapcount(page), small + huge, "mapcount of {page:?}");
                let exclusive = frames.has(page, FrameFlags::ANON_EXCLUSIVE);
                // The mark of a huge entry stands on the first page.
                let entries = if exclusive { small + huge } else { 0 };
                assert!(entries <= 1, "{page:?} is exclusive, with {entries} entries");
                let spaces = self.spaces.get(&page).map_or(0, BTreeSet::len);
                assert!(!exclusive || spaces <= 1, "{page:?} is exclusive to {spaces} (I-20)");
            }
            assert_eq!(frames.folio_mapcount(head), total, "mapcount of the folio {head:?}");
            assert_eq!(frames.entire_mapcount(head), if pages > 1 { huge } else { 0 });
            self.references(machine, head, total, held);
            at += pages;
        }
        assert_eq!(frames.stats().of(Kind::Table), self.tables.len() as u64, "tables");
    }

    fn references<H: Host>(&self, machine: &Machine<H>, head: Pfn, mapped: u32, held: &Held) {
        let frames = machine.frames();
        let kind = frames.kind(head);
        match kind {
            Kind::Table | Kind::Special | Kind::Kernel | Kind::Slab => return,
            Kind::Free | Kind::Anon | Kind::File | Kind::Shmem | Kind::Hugetlb | Kind::Secret => {}
        }
        let swapcache = u32::from(frames.has(head, FrameFlags::SWAPCACHE));
        assert_eq!(swapcache == 1, machine.swap().slot_of(head).is_some(), "{head:?}");
        let get = |books: &BTreeMap<Pfn, u32>| books.get(&head).copied().unwrap_or(0);
        let want = mapped + swapcache + get(&self.cached) + get(held);
        let (refs, flags) = (frames.refs(head), frames.flags(head));
        assert_eq!(refs, want, "references to {kind:?} {head:?} {flags:?}, mapped {mapped}");
        if get(held) == 0 {
            assert_eq!(frames.pins(head), 0, "pins of {kind:?} {head:?}");
        }
    }

    fn swap<H: Host>(&self, machine: &Machine<H>) {
        for (&slot, &users) in &self.slots {
            assert_eq!(machine.swap().users(slot), users, "users of slot {slot}");
            let exclusive = self.exclusive_slots.contains(&slot);
            assert!(!exclusive || users == 1, "slot {slot} is exclusive to {users}");
        }
    }
}
