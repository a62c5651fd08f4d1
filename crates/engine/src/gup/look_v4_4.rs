//! One lookup without a fault, v4.4: `follow_page`, for KSM, munlock and page migration.
//!
//! Unlike the slow path it meets hugetlb areas here, and waits for pages under migration. Absent:
//! faults.
//! Linux: mm/gup.c `follow_page_mask`, v4.4; mm/hugetlb.c `follow_huge_pmd`, `follow_huge_pud`.

use super::follow::grab;
use super::request::Cx;
use super::semantics::{Look, Semantics};
use super::v4_4::V4_4;
use crate::addr::{PMD_ORDER, VirtAddr};
use crate::flags::Foll;
use crate::host::Host;
use crate::pgtable::{Decoded, Entry, Place, SwapEntry, Walked};
use crate::rule::a;
use crate::vma::Vma;

/// The level whose leaves are of [`PMD_ORDER`].
const PMD_LEVEL: u8 = 1;
const _: () = assert!(PMD_ORDER == 9 * PMD_LEVEL);

/// Looks `addr`, which lies in `vma`, up; grabs the page if `foll` has GET. Waits only for
/// migrations.
pub(crate) fn look<H: Host>(cx: &Cx<'_, H>, vma: &Vma<H>, addr: VirtAddr, foll: Foll) -> Look {
    let host = cx.host();
    host.decided(a::A_90, addr);
    // Bounded by migrations that end, and by one split of the leaf.
    loop {
        let Walked { place, entry } = cx.mm.tables().walk(addr);
        let look = if vma.is_hugetlb() && place.level > 0 {
            hugetlb(cx, vma, addr, place, foll)
        } else if place.level == 0 {
            let _locked = cx.mm.tables().lock(place.table);
            let entry = cx.mm.tables().load(place);
            if awaits(entry, foll) && host.rule(a::A_112, true, addr) {
                Err(entry)
            } else {
                Ok(V4_4::look_pte(cx, vma, addr, entry, place, foll))
            }
        } else if entry.is_leaf(place.level) {
            match V4_4::split_huge(cx, vma, addr, foll) {
                Some(Err(stop)) => return Look::Stop(stop),
                Some(Ok(())) => continue,
                None => {}
            }
            let _locked = cx.mm.tables().lock(place.table);
            let entry = cx.mm.tables().load(place);
            if !entry.is_leaf(place.level) {
                continue;
            }
            Ok(V4_4::look_huge(cx, vma, addr, entry, place, foll, 1))
        } else {
            Ok(V4_4::no_table(cx, vma, addr, entry, foll))
        };
        match look {
            Ok(look) => return look,
            Err(moving) => wait_for_migration(cx, place, moving),
        }
    }
}

/// Whether this lookup waits at `entry` (row A-112).
fn awaits<F: crate::pgtable::Format>(entry: Entry<F>, foll: Foll) -> bool {
    foll.contains(Foll::MIGRATION) && is_migration(entry)
}

fn is_migration<F: crate::pgtable::Format>(entry: Entry<F>) -> bool {
    matches!(entry.decode(0), Decoded::Swap(SwapEntry::Migration { .. }))
}

/// A hugetlb area's entry at `place`, above the lowest level (row A-92); an entry under migration
/// as `Err`.
fn hugetlb<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    place: Place,
    foll: Foll,
) -> Result<Look, Entry<H::Format>> {
    let _locked = cx.mm.tables().lock(place.table);
    let entry = cx.mm.tables().load(place);
    if is_migration(entry) && cx.host().rule(a::A_92, place.level == PMD_LEVEL, addr) {
        return Err(entry);
    }
    let referable = place.level == PMD_LEVEL || !foll.contains(Foll::GET);
    if !entry.is_leaf(place.level) || !referable {
        cx.host().decided(a::A_92, addr);
        return Ok(V4_4::no_table(cx, vma, addr, entry, foll));
    }
    cx.host().decided(a::A_92, addr);
    let Some(pfn) = (Walked { place, entry }).frame(addr) else { return Ok(Look::Absent) };
    let got = grab(cx, pfn, foll & Foll::GET, 1, a::A_92);
    Ok(got.map_or_else(Look::Stop, |()| Look::Page(pfn)))
}

/// Waits until the entry at `place` is no longer `moving`: whoever migrates the page replaces it.
fn wait_for_migration<H: Host>(cx: &Cx<'_, H>, place: Place, moving: Entry<H::Format>) {
    while cx.mm.tables().load(place) == moving {
        cx.host().relax();
        core::hint::spin_loop();
    }
}
