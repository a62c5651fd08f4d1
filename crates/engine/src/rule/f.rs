//! Rows F-…: fork, COW and pins in 6.18.
//!
//! Data only; the sentences are those of `docs/semantics.md`, in one line each.

use super::rows;

rows! { b'F';
    F_01 1
        "set when: new anonymous page faulted in; page copied by COW/unshare; page reused by a write or unshare fault; swap-in with the entry's exclusive mark";
    F_02 2
        "cleared only by: fork sharing (F-08); try-share for swap-out, migration entry, KSM merge; page freed";
    F_03 3
        "clearing always fails (-EBUSY) if the folio is maybe pinned ⇒ a pinned anonymous page stays exclusive until unpinned";
    F_04 4
        "writable anonymous entry ⇒ exclusive. Exclusive does not imply writable (mprotect, soft-dirty, uffd-wp, FORCE)";
    F_05 5
        "PIN may be taken on an anonymous page only if exclusive (write pins via the writable/FORCE rule, read pins via unshare) ⇒ invariant: *pinned anon";
    F_06 6
        "GET gives no such promise: R/O GET on a shared anonymous page keeps working on the old page after COW (cow.c cases 3–6 concern what the *other*";
    F_07 7
        "KSM folios are never exclusive ⇒ every PIN of a KSM page unshares first";
    F_08 8
        "per VMA with a COW mapping the parent's write_protect_seq is odd for the whole copy; parent mmap write lock held. Copies are skipped for VMAs without";
    F_09 9
        "anon page, not (MMF_HAS_PINNED and maybe pinned): child maps same page, exclusive cleared, both entries write-protected, child entry old; soft-dirty";
    F_10 10
        "anon page, MMF_HAS_PINNED and maybe pinned and exclusive: duplicate refused → page is copied now for the child; child page new, exclusive, dirty";
    F_11 11
        "anon page maybe pinned but not exclusive (already shared, fuzzy false positive): shared normally";
    F_12 12
        "allocation failure or memory error in the early copy → fork fails with -ENOMEM";
    F_13 13
        "lock-free race with GUP-fast: GUP-fast PIN samples the sequence before and after; fork increments it first. Either GUP-fast sees odd/changed → backs";
    F_14 14
        "PMD-mapped THP maybe pinned and exclusive: parent's PMD mapping is split to PTEs and each PTE handled by F-10; because the pin count is per folio";
    F_15 15
        "hugetlb private: same test; copy allocates a huge page outside the page-table lock, re-checks the entry unchanged, installs writable-if-VMA in the";
    F_16 16
        "swap entries: exclusive mark removed in parent and child. Migration entries: writable/readable-exclusive downgraded to readable in both";
    F_17 17
        "shared mappings and page-cache pages: duplicated normally, pin irrelevant";
    F_18 18
        "VM_DONTCOPY (MADV_DONTFORK), VM_WIPEONFORK: not copied; still a valid user-level way to protect GET users";
    F_19 19
        "child mm starts without MMF_HAS_PINNED even if it inherited nothing pinned; flag never cleared in parent ⇒ after one pin, refcount false positives";
    F_20 20
        "v4.4: fork knows nothing about pins; first writer after fork gets the copy (parent may lose the pinned page) – the O_DIRECT/RDMA+fork corruption that";
    F_21 21
        "write fault on present R/O anon PTE in private mapping, order: uffd-wp (sync → deliver; async → drop bit) → exclusive → reuse with no refcount test →";
    F_22 22
        "swap-in: never exclusive for KSM folios. Otherwise exclusive if the swap entry carries the exclusive mark, or the page was read freshly and never put";
    F_23 23
        "small folio reuse: not KSM; refcount ≤ 3 (quick reject); drain local LRU cache if not on LRU; refcount ≤ 1 + in-swapcache; trylock; free swap slot";
    F_24 24
        "large folio PTE-mapped: more than one subpage mapped; not mapped by a second mm (per-folio mm-id tracking); swapcache freed; large mapcount ==";
    F_25 25
        "PMD-mapped THP: exclusive → reuse; else lock; refcount ≤ 1 + (swapcache ? 512 : 0); free swap; refcount == 1 → reuse; otherwise split PMD and";
    F_26 26
        "hugetlb: mapcount == 1 and anonymous → reuse without looking at refcount (known leak for GET users; cow.c marks xfail); else allocate; if the pool is";
    F_27 27
        "UNSHARE fault: only in COW mappings; reuse test as above but the entry stays read-only and unmodified; copy case installs a read-only exclusive copy";
    F_28 28
        "huge zero page unshare: allocate a zeroed THP; if not possible split to small zero-page PTEs, then per-page copies";
    F_29 29
        "FORCE write to non-writable VMA: write fault makes page exclusive and dirty but entry stays R/O (write bit only if VM_WRITE); lookup then accepts via";
    F_30 30
        "zero page: R/O short-term pin returns the zero page without counting; R/O LONGTERM in COW mapping gives a private copy (F-27), so later writes by the";
    F_31 31
        "copy target: new folio is exclusive and inserted with clear-then-set + TLB flush (notifying secondary MMUs), old mapping removed only after the new";
    F_32 32
        "mprotect(PROT_WRITE) fast upgrade requires: exclusive (private anon), or dirty (shared file with writenotify), no protnone, no soft-dirty tracking";
    F_33 33
        "reclaim: maybe-pinned anon folio not given swap space; any maybe-pinned folio is activated after unmapping attempt and never written or freed";
    F_34 34
        "unmap for swap/migration: entry cleared+flushed first, then try-share; refused (-EBUSY) → entry restored, page kept";
    F_35 35
        "lazyfree (MADV_FREE): freed only if clean and refcount == 1 + mapcount, with barrier pairing to GUP-fast; else made swap-backed again";
    F_36 36
        "migration of any folio requires exact expected refcount (frozen) ⇒ pins and GETs both block it. Failing LONGTERM migrate = C-80";
    F_37 37
        "KSM merge: write-protect page, then mapcount + 1 + in-swapcache must equal refcount, then try-share; a pinned page never merges";
    F_38 38
        "khugepaged / collapse: any extra reference refuses; PMD cleared and flushed before PTEs are examined (GUP-fast rechecks PMD)";
    F_39 39
        "folio split: needs exact refcount; pinned folios are unsplittable (PMD *mapping* split still works; subpage exclusive bits inherit the PMD's, and if";
    F_40 40
        "NUMA balancing marks no entries of maybe-pinned folios of COW mappings (7.0: of any mapping)";
    F_41 41
        "soft-dirty clear (clear_refs 4) skips writable PTEs of maybe-pinned pages in COW mappings of mm with MMF_HAS_PINNED (not PMD)";
    F_42 42
        "UFFDIO_MOVE: source maybe pinned → -EBUSY (re-tested after the entry was cleared); not exclusive → -EBUSY";
    F_43 43
        "mremap moves entries and keeps pin/exclusive; the pin keeps pointing to the page wherever mapped";
    F_44 44
        "memory-failure of a pinned page: entry becomes hwpoison; existing pins still point to the bad page (mem)";
    F_45 45
        "munmap, exit, MADV_DONTNEED, MADV_FREE(later), MAP_FIXED: entry removed regardless of pins; the pin keeps the page alive; a later fault gives a new";
    F_46 46
        "the page keeps its exclusive mark until freed, harmless as it is unmapped";
    F_47 47
        "truncate / hole punch: page removed from the page cache although pinned: mapping = NULL, dirty by the pinner is lost, memory freed at unpin. GUP-fast";
    F_48 48
        "invalidate_inode_pages2/fadvise DONTNEED/reclaim: refuse pages with extra references (pinned ones remain). Direct I/O invalidation may report -EBUSY";
    F_49 49
        "page-cache removal freezes the refcount first and tests dirty afterwards; unpin-with-dirty therefore either wins (page kept) or the page was already";
    F_50 50
        "fsdax: truncate waits until pages have no extra references (mem) – reason LONGTERM on fsdax is refused";
    F_51 51
        "writeback of a pinned shared file page has no special case: cleans + write-protects mapping entries and writes; DMA may change the page during and";
    F_52 52
        "unpin with dirty must be used for every page the device may have written; marking before unpin; dirtying under folio lock so that truncation (mapping";
    F_53 53
        "pin_user_pages documented cases: 1 direct I/O (PIN), 2 RDMA/vfio (PIN+LONGTERM), 3 mmu-notifier driven (GET, no pin), 4 only struct-page manipulation";
    F_54 54
        "1 clear entry (+ TLB flush before reuse) 2 full barrier 3 test maybe-pinned → if yes restore 4 clear exclusive 5 write barrier 6 set new (never";
    F_55 55
        "fork: sequence++ (odd) … copy … sequence++: sample even → walk → same value, else undo all";
    F_56 56
        "page-table page freeing: after removing from the tree wait for all IRQ-off walkers (IPI or RCU): interrupts off for the complete walk";
    F_57 57
        "page freeing: refcount goes to 0 only via freeze/put-test-zero: add-unless-zero, then re-check folio identity";
}
