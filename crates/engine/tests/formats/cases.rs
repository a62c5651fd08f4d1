//! Single entries and short walks, the same for every format.

use crate::every_format;
use crate::rig::{Bench, all_perms, entry, pages, ro, rw};
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::pgtable::{
    Decoded, Entry, Format, MakeError, MapError, Perms, RunTo, SwapEntry, Touch, Touched,
    level_span, user_end,
};

every_format!(
    leaves_of_each_level_say_what_was_written,
    what_one_predicate_says_is_what_decoding_says,
    tables_are_no_leaves_and_no_swap_entries,
    swap_entries_of_all_kinds_and_slots_come_back_and_are_not_present,
    runs_continue_over_history_and_nothing_else,
    an_access_marks_what_it_may_and_faults_where_it_may_not,
    a_new_table_maps_nothing_and_each_level_can_be_made,
    the_user_half_ends_where_the_format_says,
    a_group_is_sixteen_leaves_to_everybody_who_looks,
    a_group_comes_apart_when_one_of_its_members_changes,
);

/// Frame numbers that every format can hold.
const PFNS: [u64; 5] = [0, 1, 0x12345, 1 << 30, (1 << 36) - 1];

fn leaves_of_each_level_say_what_was_written<F: Format>() {
    for level in 0..=F::MAX_LEAF {
        for (perms, pfn) in all_perms().flat_map(|perms| PFNS.map(|pfn| (perms, pfn))) {
            let pfn = Pfn::new(pfn & !((1 << (9 * u32::from(level))) - 1));
            let leaf = Entry::<F>::leaf(pfn, perms, level);
            assert_eq!(leaf.decode(level), Decoded::Leaf(pfn, perms), "level {level}");
            assert!(leaf.is_present() && leaf.is_leaf(level) && !leaf.is_table(level));
            let other = Perms { write: !perms.write, dirty: false, ..perms };
            assert_eq!(leaf.with_perms(other, level).decode(level), Decoded::Leaf(pfn, other));
        }
    }
}

fn what_one_predicate_says_is_what_decoding_says<F: Format>() {
    for perms in all_perms() {
        for level in 0..=F::MAX_LEAF {
            let leaf = Entry::<F>::leaf(Pfn::new(512 * 512), perms, level);
            let said = Perms {
                write: leaf.is_writable(),
                exec: perms.exec,
                protnone: leaf.is_protnone(),
                young: leaf.is_young(),
                dirty: leaf.is_dirty(),
                special: leaf.is_special(),
                uffd_wp: leaf.is_uffd_wp(),
                soft_dirty: leaf.is_soft_dirty(),
            };
            assert_eq!((said, leaf.pfn()), (perms, Pfn::new(512 * 512)));
        }
    }
}

fn tables_are_no_leaves_and_no_swap_entries<F: Format>() {
    for (level, pfn) in (1..F::LEVELS).flat_map(|level| PFNS.map(|pfn| (level, Pfn::new(pfn)))) {
        let table = Entry::<F>::table(pfn);
        assert_eq!(table.decode(level), Decoded::Table(pfn));
        assert!(table.is_present() && table.is_table(level) && !table.is_leaf(level));
        assert!(!F::is_table(table.raw(), 0), "nothing is below level 0");
    }
}

fn swap_entries_of_all_kinds_and_slots_come_back_and_are_not_present<F: Format>() {
    let slots = [0, 1, 511, 1 << 20, (1 << F::SLOT_BITS) - 1];
    let flags = (0..8).map(|bits| [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]);
    let mut all = vec![SwapEntry::UffdWp, SwapEntry::Poisoned, SwapEntry::Guard];
    for ([a, b, c], slot) in flags.flat_map(|flags| slots.map(|slot| (flags, slot))) {
        all.push(SwapEntry::Swap { slot, exclusive: a, uffd_wp: b, soft_dirty: c });
        all.push(SwapEntry::Migration { pfn: Pfn::new(slot), write: a, exclusive: b });
        all.push(SwapEntry::HwPoison(Pfn::new(slot)));
    }
    for swap in all {
        for level in 0..=F::MAX_LEAF {
            let entry = Entry::<F>::swap(swap);
            assert_eq!(entry.decode(level), Decoded::Swap(swap), "{entry:?} at level {level}");
            assert!(!entry.is_none() && !entry.is_present());
            assert!(!entry.is_leaf(level) && !entry.is_table(level));
            assert!(!F::is_grouped(entry.raw()));
            assert_eq!(F::touch(entry.raw(), level, Touch::Read), None);
        }
    }
    assert_eq!(entry::<F>(0).decode(0), Decoded::None);
}

fn runs_continue_over_history_and_nothing_else<F: Format>() {
    for level in 0..=F::MAX_LEAF {
        let span = 1 << (9 * u32::from(level));
        for (a, b) in all_perms().flat_map(|a| all_perms().step_by(7).map(move |b| (a, b))) {
            let leaf = |pfn, perms| F::leaf(Pfn::new(pfn), perms, level);
            let (first, next) = (leaf(span * 512, a), leaf(span * 513, b));
            let alike = a.timeless() == b.timeless();
            assert_eq!(F::continues(first, next, level), alike, "{a:?} then {b:?}");
            assert!(!F::continues(first, leaf(span * 514, b), level), "not the next frames");
            assert!(!F::continues(first, 0, level), "a hole is no leaf");
            if alike {
                let gathered = Entry::<F>::from_raw(F::gather(first, next)).perms(level);
                assert_eq!(gathered, Some(a.with_history_of(b)), "{a:?} with {b:?}");
            }
        }
    }
}

fn an_access_marks_what_it_may_and_faults_where_it_may_not<F: Format>() {
    let touches = [Touch::Read, Touch::Write, Touch::Execute];
    for (perms, touch) in all_perms().flat_map(|perms| touches.map(|touch| (perms, touch))) {
        for level in 0..=F::MAX_LEAF {
            let raw = F::leaf(Pfn::new(512 * 512), perms, level);
            let marked = F::touch(raw, level, touch).map(|raw| entry::<F>(raw).perms(level));
            let allowed = match touch {
                Touch::Read => true,
                Touch::Write => perms.write,
                Touch::Execute => perms.exec,
            } && !perms.protnone;
            let stored = touch == Touch::Write;
            let after = Perms { young: true, dirty: perms.dirty || stored, ..perms };
            match marked {
                Some(marked) => assert_eq!((allowed, marked), (true, Some(after)), "{perms:?}"),
                None => assert!(!allowed || perms != after, "{perms:?} {touch:?} needs no mark"),
            }
        }
    }
}

fn a_new_table_maps_nothing_and_each_level_can_be_made<F: Format>() {
    let bench = Bench::<F>::new(32);
    let last = user_end::<F>().get() - PAGE_SIZE;
    for addr in [0, 0x1234_5000, last, last + PAGE_SIZE - 1] {
        assert!(bench.walk(addr).entry.is_none());
    }
    for level in (0..F::LEVELS).rev() {
        let place = bench.tables().make(VirtAddr::new(last), level).expect("room");
        assert_eq!((place.level, place.index), (level, F::last_index(level)));
        assert_eq!(bench.table_frames(), u64::from(F::LEVELS - level));
    }
    assert_eq!(bench.tables().destroy(), u64::from(F::LEVELS));
    assert_eq!(bench.table_frames(), 0);
}

trait LastIndex {
    /// The index of the last user page's entry at `level`.
    fn last_index(level: u8) -> usize;
}

impl<F: Format> LastIndex for F {
    fn last_index(level: u8) -> usize {
        let end = user_end::<F>().get() - 1;
        (end >> (12 + 9 * u32::from(level))) as usize % 512
    }
}

fn the_user_half_ends_where_the_format_says<F: Format>() {
    let bench = Bench::<F>::new(32);
    let end = user_end::<F>().get();
    assert!(F::TASK_SIZE <= end && F::MMAP_WINDOW <= F::TASK_SIZE);
    bench.tables().map(pages(end - PAGE_SIZE, 1), Pfn::new(8), rw(), 0).expect("the last page");
    bench.tables().map(pages(0, 1), Pfn::new(9), rw(), 0).expect("the first page");
    for addr in [end, end + PAGE_SIZE, end | 1 << 60, 1 << 63, u64::MAX, u64::MAX << 39] {
        assert!(bench.walk(addr).entry.is_none(), "{addr:#x} is not mapped");
        let made = bench.tables().make(VirtAddr::new(addr), 0);
        assert_eq!(made, Err(MakeError::Unaddressable));
    }
    assert_eq!(bench.walk(end - 1).entry.pfn(), Pfn::new(8));
    let past = pages(end - PAGE_SIZE, 2);
    let refused = bench.tables().map(past, Pfn::new(8), rw(), 0);
    assert_eq!(refused, Err(MapError::Unaddressable));
    let all = VirtRange::new(VirtAddr::new(0), VirtAddr::new(u64::MAX));
    let mut runs = Vec::new();
    bench.tables().translate(all, |run| runs.push((run.start.get(), run.pages)));
    let pages = end / PAGE_SIZE;
    assert_eq!(runs, [(0, 1), (PAGE_SIZE, pages - 2), (end - PAGE_SIZE, 1)]);
    bench.tables().unmap(all, |_, _, _| ()).expect("nothing to split");
    bench.tables().free_tables(all, VirtAddr::new(0), VirtAddr::new(u64::MAX));
    assert_eq!(bench.table_frames(), 1);
}

const AT: u64 = 0x40_0000;

fn a_group_is_sixteen_leaves_to_everybody_who_looks<F: Format>() {
    let bench = Bench::<F>::new(16);
    bench.tables().map(pages(AT, 40), Pfn::new(0x1000), rw(), 0).expect("room");
    let grouped = |n: u64| F::is_grouped(bench.raw(bench.walk(AT + n * PAGE_SIZE).place));
    let has = F::GROUP > 1;
    assert!((0..32).all(|n| grouped(n) == has), "two groups, if there are any");
    assert!((32..40).all(|n| !grouped(n)), "eight leaves are no group");
    for n in 0..40 {
        let leaf = Decoded::Leaf(Pfn::new(0x1000 + n), rw());
        assert_eq!(bench.walk(AT + n * PAGE_SIZE).entry.decode(0), leaf, "page {n}");
    }
    let mut runs = Vec::new();
    bench.tables().translate(pages(AT, 40), |run| runs.push((run.pages, run.to)));
    assert_eq!(runs, [(40, RunTo::Frames(Pfn::new(0x1000), rw()))]);
    // A mark on one member is a mark on all.
    let place = bench.walk(AT + 5 * PAGE_SIZE).place;
    let young = Entry::<F>::leaf(Pfn::new(0), Perms { young: true, ..rw() }, 0).raw();
    let bits = young & !Entry::<F>::leaf(Pfn::new(0), rw(), 0).raw();
    bench.mark(place, |raw| raw | bits);
    assert_eq!(bench.walk(AT + 9 * PAGE_SIZE).entry.is_young(), has);
    assert!(!bench.walk(AT + 16 * PAGE_SIZE).entry.is_young(), "the next group");
    let touched = bench.tables().touch(VirtAddr::new(AT + 5 * PAGE_SIZE), Touch::Read);
    assert_eq!(touched, Touched::Frame(Pfn::new(0x1005)));
    assert!(grouped(5) == has, "a marked member stays one");
    let odd = bench.tables().map(pages(AT + 0x10_0000, 16), Pfn::new(0x2008), ro(), 0);
    assert_eq!(odd, Ok(()));
    let place = bench.walk(AT + 0x10_0000).place;
    assert!(!F::is_grouped(bench.raw(place)), "frames that are not aligned");
}

fn a_group_comes_apart_when_one_of_its_members_changes<F: Format>() {
    let bench = Bench::<F>::new(16);
    bench.tables().map(pages(AT, 32), Pfn::new(0x1000), rw(), 0).expect("room");
    bench.host.fill_tlb(bench.root, pages(AT, 32));
    let one = pages(AT + 3 * PAGE_SIZE, 1);
    bench.tables().protect(one, |perms| Perms { write: false, ..perms }).expect("no split");
    bench.host.check_tlb();
    let flushes = bench.host.take_flushes();
    assert_eq!(flushes.len(), if F::GROUP > 1 { 2 } else { 1 }, "{flushes:?}");
    for n in 0..32 {
        let found = bench.walk(AT + n * PAGE_SIZE);
        let leaf = Decoded::Leaf(Pfn::new(0x1000 + n), if n == 3 { ro() } else { rw() });
        assert_eq!(found.entry.decode(0), leaf, "page {n}");
        assert_eq!(F::is_grouped(bench.raw(found.place)), F::GROUP > 1 && n >= 16);
    }
    let mut gone = Vec::new();
    let gather = |addr: VirtAddr, entry: Entry<F>, _| gone.push((addr.get(), entry.pfn().get()));
    bench.tables().unmap(pages(AT + 18 * PAGE_SIZE, 2), gather).expect("no split");
    let at = |n: u64| (AT + n * PAGE_SIZE, 0x1000 + n);
    assert_eq!(gone, [at(18), at(19)]);
    assert_eq!(bench.walk(AT + 17 * PAGE_SIZE).entry.pfn(), Pfn::new(0x1011));
    assert_eq!(level_span(0), PAGE_SIZE);
}
