//! Rows C-…: 6.18: what changed since v4.4.
//!
//! Data only; the sentences are those of `docs/semantics.md`, in one line each.

use super::rows;

rows! { b'C';
    C_01 1
        "caller passes any internal flag (bits 16–22): rejected, one-time warning" EINVAL;
    C_02 2
        "locked given but *locked ≠ 1: rejected, warning. locked given and 1 → FOLL_UNLOCKABLE added" EINVAL;
    C_03 3
        "GET and PIN together (after adding the entry point's own flags): rejected: pin_* with FOLL_GET is illegal" EINVAL;
    C_04 4
        "LONGTERM without PIN: rejected: get_user_pages* may not use LONGTERM" EINVAL;
    C_05 5
        "GET or PIN set and pages == NULL: rejected. get_user_pages(pages NULL) without GET stays legal (pre-fault only); GET is later added automatically if" EINVAL;
    C_06 6
        "LONGTERM with PCI_P2PDMA: rejected" EINVAL;
    C_07 7
        "value returned on rejection: -EINVAL from get_user_pages, _remote, _unlocked, _fast, _fast_only, pin_user_pages_fast; 0 from pin_user_pages, _remote";
    C_08 8
        "flags not validated: WRITE, DUMP, FORCE, NOWAIT, NOFAULT, HWPOISON, ANON, SPLIT_PMD, INTERRUPTIBLE, HONOR_NUMA_FAULT: any combination is legal in the";
    C_09 9
        "fast entry points, extra filter: any flag outside {WRITE, LONGTERM, FORCE, PIN, GET, FAST_ONLY, NOFAULT, PCI_P2PDMA, HONOR_NUMA_FAULT} → -EINVAL with" EINVAL;
    C_10 10
        "flags added: get_user_pages +TOUCH; get_user_pages_remote +TOUCH+REMOTE; get_user_pages_unlocked +TOUCH+UNLOCKABLE; pin_user_pages +PIN (no TOUCH)";
    C_11 11
        "argument validation vs nr_pages 0: validation first; then nr_pages 0 → 0 without taking the lock";
    C_12 12
        "debug-only checks: pages given ⇔ GET or PIN; not both GET and PIN";
    C_13 13
        "A-01: same (0)";
    C_14 14
        "A-20/23: start has its tag bits removed for the *target* mm (untagged_addr_remote). Still no TASK_SIZE/overflow check in the slow path; unaligned";
    C_15 15
        "A-07: lookup never grows a stack. Address in the gap ≤ 65536 bytes below a GROWSDOWN VMA → treated as no VMA plus a kernel log line and stack dump at";
    C_16 16
        "A-09/10: no VMA → -EFAULT; VMA check errno is returned as is (-EFAULT or -EOPNOTSUPP)" EFAULT;
    C_17 17
        "–: MADV_POPULATE mode: exact containment lookup; no VMA → -ENOMEM; VMA check failure → -EINVAL; no gate area" ENOMEM;
    C_18 18
        "A-13: SIGKILL of current → -EINTR (was -ERESTARTSYS); still tested before every lookup; non-fatal signals are *not* tested here even with" EINTR;
    C_19 19
        "A-15: lookup NULL → fault; lookup -EMLINK → fault with UNSHARE; outcomes 0 → retry lookup; -EBUSY and -EAGAIN → stop, error value 0 (return i";
    C_20 20
        "A-16: -EEXIST: with pages == NULL page is counted and skipped; with pages → returns -EEXIST (v4.4: -EFAULT)" EEXIST;
    C_21 21
        "A-19: step > 1 also when pages are requested: the lookup returns how much of the leaf remains (PMD 512, PUD 2^18 base pages on x86-64), clamped to";
    C_22 22
        "A-80: hugetlb FORCE|WRITE on read-only private VMA: refused with -EFAULT from 6.1 through 6.12 (both in VMA check and, as a warning+SIGSEGV, in the";
    C_23 23
        "A-08/A-60..65: gate page: every missing level → -EFAULT (no BUG); page taken with the caller's GET/PIN mode; still refuses WRITE; still no VMA" EFAULT;
    C_24 24
        "A-18: vmas[] gone: no caller may keep VMA pointers";
    C_25 25
        "A-21: partial-result rule unchanged: errors are hidden once ≥1 page was obtained";
    C_26 26
        "A-02: references: GET = +1, PIN = bias/pincount (2.10), neither = none (pre-fault)";
    C_27 27
        "VM_IO or VM_PFNMAP: -EFAULT" EFAULT;
    C_28 28
        "FOLL_ANON and VMA not anonymous (= has vm_ops): -EFAULT (used for /proc/pid/cmdline, environ: never block on FUSE/uffd pages of file maps)" EFAULT;
    C_29 29
        "LONGTERM and fsdax VMA: -EOPNOTSUPP" EOPNOTSUPP;
    C_30 30
        "SPLIT_PMD and hugetlb VMA: -EOPNOTSUPP" EOPNOTSUPP;
    C_31 31
        "secretmem VMA: -EFAULT, read or write, FORCE or not, GET or PIN" EFAULT;
    C_32 32
        "WRITE, PIN+LONGTERM, non-anonymous VMA that needs dirty tracking: shared writable (VM_WRITE and VM_SHARED) and (vm_ops has page_mkwrite/pfn_mkwrite" EFAULT;
    C_33 33
        "WRITE and (no VM_WRITE, or VM_SHADOW_STACK): needs FORCE, else -EFAULT; with FORCE the VMA must be a COW mapping (not VM_SHARED, VM_MAYWRITE), else" EFAULT;
    C_34 34
        "read and no VM_READ: needs FORCE and VM_MAYREAD, else -EFAULT" EFAULT;
    C_35 35
        "arch access check (pkeys) fails: only for current's own mm; skipped when 'foreign' (REMOTE flag or vma not of current->mm): -EFAULT. FORCE does not" EFAULT;
    C_36 36
        "A-90: hook gone; whole walk for a hugetlb VMA runs under the hugetlb VMA lock (read) – protects against shared-PMD unsharing";
    C_37 37
        "A-91: 'no page table' with DUMP: hugetlb VMA → -EFAULT iff no page-cache page at that index; else anonymous VMA or VMA without fault op → -EFAULT" EFAULT;
    C_38 38
        "A-97/A-115: write admitted if entry is writable; else only if *all*: FORCE; VMA neither VM_SHARED nor VM_MAYSHARE; VM_MAYWRITE; VMA lacks VM_WRITE";
    C_39 39
        "A-93/99/114: PROT_NONE-hinted entries are followed unless HONOR_NUMA_FAULT is set *and* the VMA is accessible (has any of R/W/X). A really PROT_NONE";
    C_40 40
        "A-94/95: SPLIT_PMD (THP only): split the PMD mapping (folio stays large), make sure a page table exists (-ENOMEM), continue at PTE level";
    C_41 41
        "A-98/116: DUMP with huge zero page, zero page or special pfn → -EFAULT" EFAULT;
    C_42 42
        "A-118/119: special pfn (not zero page): after optional TOUCH always -EEXIST" EEXIST;
    C_43 43
        "–: unshare test, after write/dump tests: entry not writable and must-unshare → -EMLINK. must-unshare := PIN set and WRITE clear, and: anon page → not" EMLINK;
    C_44 44
        "–: grab order: write test → dump/pfn → unshare test → grab → (PIN, PTE level only) arch 'make accessible' hook, failure undoes the pin and is";
    C_45 45
        "A-100: TOUCH on THP: PMD young always, dirty only with WRITE. No TOUCH for PUD leaves and hugetlb PMDs";
    C_46 46
        "A-121: TOUCH on PTE unchanged (folio level): WRITE and neither PTE nor folio dirty → mark folio dirty; mark accessed";
    C_47 47
        "A-101/122: MLOCK handling removed from GUP; mlock state is set in the rmap/fault path";
    C_48 48
        "NOFAULT → -EFAULT at once (also for pages needing unshare)" EFAULT;
    C_49 49
        "UNLOCKABLE → ALLOW_RETRY+KILLABLE (+INTERRUPTIBLE if FOLL_INTERRUPTIBLE); NOWAIT → ALLOW_RETRY+RETRY_NOWAIT; TRIED → TRIED (may coexist with";
    C_50 50
        "without UNLOCKABLE/NOWAIT the fault can neither drop the lock nor be killed while waiting";
    C_51 51
        "VM_FAULT_COMPLETED: fault is done and the lock already dropped → *locked=0, internal -EAGAIN; page must be looked up again after relocking";
    C_52 52
        "errno: OOM → -ENOMEM first; HWPOISON or HWPOISON_LARGE → -EHWPOISON if FOLL_HWPOISON else -EFAULT; SIGBUS/SIGSEGV → -EFAULT; any other error bit →" EFAULT;
    C_53 53
        "RETRY: *locked=0 unless NOWAIT (fixes A-142); internal -EBUSY";
    C_54 54
        "accounting: handle_mm_fault itself. RETRY not counted; error counts only the PGFAULT event; else maj_flt of current if VM_FAULT_MAJOR or TRIED";
    C_55 55
        "sanity in the fault handler: UNSHARE with WRITE → warning, SIGSEGV; UNSHARE outside COW mapping → silently an ordinary read fault; WRITE on VMA";
    C_56 56
        "VM_DROPPABLE VMA: OOM bit erased by the fault handler → GUP simply retries (loop until memory or SIGKILL)";
    C_57 57
        "locked helper, entry: nr 0 → 0; *locked==0 → take read lock killably, failure -EAGAIN; PIN → set MMF_HAS_PINNED; pages and not PIN → GET" EAGAIN;
    C_58 58
        "without UNLOCKABLE: one pass, result returned as is (an internal 0 from NOWAIT stays 0)";
    C_59 59
        "with UNLOCKABLE: pass; all obtained → done; lock still held → done with count or error; lock dropped → advance; signal test (SIGKILL, or any signal" EINTR;
    C_60 60
        "A-151 changes: pre-fault (pages NULL) also insists after a dropped lock; unlock at exit if it was taken here or ever dropped; final result 0 without" EFAULT;
    C_61 61
        "NOWAIT result: 0 or short count with lock still held is legal";
    C_62 62
        "VMA pointer is never reused after lock drop: every pass begins with a fresh lookup";
    C_63 63
        "userfaultfd: needs ALLOW_RETRY to wait; without it → SIGBUS → -EFAULT; NOWAIT → RETRY; dumping task (PF_DUMPCORE) → SIGBUS. PTE marker poisoned →" EFAULT;
    C_64 64
        "order: flag filter → PIN sets MMF_HAS_PINNED on current->mm (even if nothing gets pinned) → start untagged, masked → start+len overflow → -EOVERFLOW" EOVERFLOW;
    C_65 65
        "nr_pages is int: no clamp; negative becomes huge unsigned → -EOVERFLOW/-EFAULT (docs promise 0); 0 is not guarded (walkers are do-while): treat ≥1 as";
    C_66 66
        "interrupts (not just preemption) disabled during the walk; page-table freeing must be RCU/IPI-synchronised with that";
    C_67 67
        "x86 permitted range: end must lie below the canonical user bound";
    C_68 68
        "PIN: if fork currently write-protects this mm (sequence odd) → 0 from fast; if the sequence changed during the walk → unpin everything and return 0";
    C_69 69
        "PTE, in order: lockless read; protnone → stop; not (present, user, rw if WRITE, pkey-allowed) → stop; special → stop (zero page is special, so never";
    C_70 70
        "fast FORCE: accepted but gives nothing; R/O PTE with WRITE always falls to slow";
    C_71 71
        "grab: P2PDMA page without flag → stop; reference by add-unless-zero, then re-check that the page still belongs to the folio; PIN of zero page takes";
    C_72 72
        "leaf PMD/PUD: access test; special → stop; references for all remaining subpages at once; re-read leaf; same filter and unshare test (on the head";
    C_73 73
        "folio filter: only evaluated if PIN+LONGTERM+WRITE (reject file-backed except shmem) or the folio is order 0 and SECRETMEM is configured; slab →";
    C_74 74
        "fast sets only 'referenced'; never dirties PTE or folio";
    C_75 75
        "absence of TLB check: page returned was mapped with that permission at some instant between IRQ-off and re-read";
    C_76 76
        "scope: allocations during the call avoid movable/CMA placement (task-wide 'pin' allocation context)";
    C_77 77
        "loop: pin; for each distinct folio test pinnable; none bad → done; else unpin all of them, isolate the bad ones and migrate (sync, GFP_USER, reason";
    C_78 78
        "not pinnable: CMA/isolate pageblock, ZONE_MOVABLE, device-coherent, fsdax. The base zero page is always pinnable (tested after the CMA/isolate test).";
    C_79 79
        "bad but not isolatable folio (e.g. off-LRU): still -EAGAIN and retry; LRU caches drained locally, then globally, only if refcounts show unexplained";
    C_80 80
        "migration failure → -ENOMEM, device-coherent migration failure → -EBUSY; all pins dropped in both cases (partial count is *not* returned)" ENOMEM;
    C_81 81
        "result ≤ 0 from the inner call ends the loop with that value";
    C_82 82
        "without CONFIG_MIGRATION no check is done";
    C_83 83
        "memfd_pin_folios: -EINVAL for start<0, start>end, max 0, file NULL, file neither shmem nor hugetlbfs, end ≥ file size (end is inclusive)" EINVAL;
    C_84 84
        "pins *folios* once each (in index order), at most max_folios; *offset = byte offset of start in the first folio; missing folios are allocated into";
    C_85 85
        "folio_add_pin / folio_add_pins need an existing pin (warning otherwise); zero folio no-op";
    C_86 86
        "slow grab: folio refcount ≤ 0 → warning, -ENOMEM; P2PDMA folio without flag → -EREMOTEIO; GET +n; PIN: zero folio nothing; folio with pincount" ENOMEM;
    C_87 87
        "which folios have an exact pincount: 64-bit = every large folio; 32-bit = order > 1";
    C_88 88
        "'maybe pinned': exact folios pincount > 0; others refcount (as unsigned) ≥ 1024 → false positives possible with ≥1024 plain references, never false";
    C_89 89
        "capacity: small folio 32-bit counter / 1024 ≈ 2^21 pins (2,097,152); GET overflow protected by refusing when refcount ≤ 0";
    C_90 90
        "unpin: zero folio no-op; pincount −n (or nothing) then references −n or −1024·n; consecutive entries of the same folio batched. unpin_user_pages";
    C_91 91
        "dirty_lock: only if folio not already dirty: lock folio, mark dirty, unlock; then unpin. May sleep";
    C_92 92
        "counters nr_foll_pin_acquired / nr_foll_pin_released count base pages; folio_add_pin does not count acquired (so the two may differ)";
    C_93 93
        "A-158: populate_vma_page_range: VM_LOCKONFAULT → returns nr_pages without work; inaccessible VMA → -EFAULT; TOUCH + (WRITE if private writable else";
    C_94 94
        "A-159: __mm_populate: same walk, errors as before";
    C_95 95
        "–: faultin_page_range for MADV_POPULATE_READ/WRITE: TOUCH, HWPOISON, UNLOCKABLE, MADV_POPULATE(, WRITE). madvise returns only: EINTR, EINVAL";
    C_96 96
        "A-160: get_dump_page(addr, locked): FORCE|DUMP|GET, takes the lock killably if needed";
    C_97 97
        "A-161: fixup_user_fault: no stack growth; unlocked given → ALLOW_RETRY+KILLABLE; SIGKILL → -EINTR (before each attempt); RETRY → re-lock";
    C_98 98
        "A-162: access_remote_vm: lock killable (0 bytes if killed), untags, grows the stack itself if needed (drops read lock, takes write lock, expands";
    C_99 99
        "–: FORCE through /proc/pid/mem: policy never / ptrace-attached only / always (6.12, boot parameter proc_mem.force_override)";
    C_100 100
        "A-40..47: stack expansion (not GUP): write lock required; address below mmap_min_addr → -EPERM; accessible non-GROWSDOWN VMA below closer than the" ENOMEM;
    C_101 101
        "A-163: users: direct I/O extracts user iov by pinning (NOFAULT/P2PDMA as asked), bvec/kvec not pinned; iov_iter_get_pages (vmsplice, legacy) uses";
    C_102 102
        "§1.11: nommu: see N-11";
    C_103 103
        "–: fault_in_writeable/readable/safe_writeable return the number of bytes not faulted; do not pin";
}
