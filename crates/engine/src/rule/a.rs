//! Rows A-…: v4.4, the form with an MMU.
//!
//! Data only; the sentences are those of `docs/semantics.md`, in one line each.

use super::rows;

rows! { b'A';
    A_01 1
        "nr_pages == 0: returns 0 first, before any check, lock use or flag change";
    A_02 2
        "pages given ⇔ FOLL_GET set: debug-only assertion (CONFIG_DEBUG_VM); mismatch is a caller bug, unchecked otherwise";
    A_03 3
        "FOLL_FORCE clear: FOLL_NUMA is added implicitly. With FOLL_FORCE it is not (hinting faults not forced)";
    A_04 4
        "lock: mmap_sem must be held on entry (read or write); read only if it may be dropped (nonblocking given and no FOLL_NOWAIT)";
    A_05 5
        "per-page flags: the working flag set is re-copied from gup_flags for every page; it survives retries of the same page only";
    A_06 6
        "VMA (re)lookup: on the first iteration and whenever start ≥ current vma end. Never re-looked-up after a fault of the same page (lock still held)";
    A_07 7
        "lookup function: find_extend_vma (can grow a stack, §1.4)";
    A_08 8
        "no VMA, address in gate area: gate path §1.5; success: one page, step 1, then the *gate vma* becomes the current vma; failure: return i if i>0 else" EFAULT;
    A_09 9
        "no VMA, not gate: i if i>0 else -EFAULT" EFAULT;
    A_10 10
        "check_vma_flags fails: i if i>0 else -EFAULT (its own errno is discarded; it is always -EFAULT anyway)" EFAULT;
    A_11 11
        "hugetlb VMA: whole VMA portion handled by follow_hugetlb_page §1.6; result replaces i; then only the loop test nr_pages != 0 is evaluated";
    A_12 12
        "order inside the retry point: (1) SIGKILL test, (2) cond_resched, (3) page lookup. Executed again before every re-lookup after a successful fault";
    A_13 13
        "SIGKILL pending for current (not tsk): i if i>0 else -ERESTARTSYS" ERESTARTSYS;
    A_14 14
        "lookup gives page: store, then flush_anon_page(vma,page,addr) and flush_dcache_page(page) – only when pages ≠ NULL; step forced to 1";
    A_15 15
        "lookup gives 'nothing': faultin_page §1.9. 0 → retry point; -EFAULT/-ENOMEM/-EHWPOISON → i or that errno; -EBUSY → returns i (may be 0); -ENOENT →";
    A_16 16
        "lookup gives -EEXIST: page counted, pages[i] untouched (can only occur when pages == NULL, because with FOLL_GET the pfn case is -EFAULT)";
    A_17 17
        "lookup gives other error: i if i>0 else that errno";
    A_18 18
        "vmas ≠ NULL: vmas[i] set for every counted page (also skipped ones); forces step 1";
    A_19 19
        "step: 1 + (~(start >> PAGE_SHIFT) & page_mask), clamped to remaining. page_mask = 511 only for a PMD THP and only if both pages and vmas are NULL";
    A_20 20
        "unaligned start: accepted; the offset is carried along (start += step*PAGE_SIZE); only the gate path masks it";
    A_21 21
        "partial result rule: any error after ≥1 page is hidden: the count is returned; caller must call again to see the error";
    A_22 22
        "return > 0 with holes: with FOLL_MLOCK/FOLL_POPULATE skips (A-15 -ENOENT) the count includes pages not faulted";
    A_23 23
        "address arithmetic: no overflow check and no TASK_SIZE check here; a range beyond user space simply finds no VMA → -EFAULT";
    A_24 24
        "page_mask on a NULL THP lookup: the mask is set to 511 even when the THP lookup returned NULL for write-protection; visible only in the -ENOENT skip";
    A_25 25
        "result meaning: each returned page has one extra reference; it was the page mapped at some instant. No guarantee it is still mapped on return. vmas";
    A_30 30
        "VM_IO or VM_PFNMAP set: -EFAULT, even with FOLL_FORCE, read or write" EFAULT;
    A_31 31
        "FOLL_WRITE, VM_WRITE set: allowed";
    A_32 32
        "FOLL_WRITE, !VM_WRITE, !FOLL_FORCE: -EFAULT" EFAULT;
    A_33 33
        "FOLL_WRITE, !VM_WRITE, FOLL_FORCE, COW mapping (VM_SHARED clear, VM_MAYWRITE set): allowed";
    A_34 34
        "same but not a COW mapping (shared, or private without MAYWRITE): -EFAULT; additionally a one-time warning if VM_MAYWRITE" EFAULT;
    A_35 35
        "read, VM_READ set: allowed";
    A_36 36
        "read, !VM_READ, !FOLL_FORCE: -EFAULT (so exec-only and write-only VMAs are not readable)" EFAULT;
    A_37 37
        "read, !VM_READ, FOLL_FORCE: allowed iff VM_MAYREAD, else -EFAULT";
    A_38 38
        "VM_MIXEDMAP: not refused here (decided per PTE)";
    A_39 39
        "protection keys / foreign mm: not checked in 4.4 (added 4.6 (mem))";
    A_40 40
        "address masked to page; find_vma gives the first VMA with end > address; if it contains the address, done";
    A_41 41
        "grow-down: containing gap's upper VMA must be VM_GROWSDOWN, else no VMA. Grow-up archs: the *previous* VMA is extended" EFAULT;
    A_42 42
        "expansion runs with mmap_sem held only for read (serialised by the anon_vma lock + page_table_lock) – root cause class of StackRot once the VMA tree";
    A_43 43
        "adjacency rule: if the previous VMA ends exactly at the (masked) new address and is not GROWSDOWN → -ENOMEM → no VMA → GUP -EFAULT. (next VMA/GROWSUP" ENOMEM;
    A_44 44
        "accounting in order: address-space limit (may_expand_vm) → RLIMIT_STACK of current (size minus one guard page, so the guard page is free) →" ENOMEM;
    A_45 45
        "security_mmap_addr(address) (mmap_min_addr, uses current's credentials) is checked first for grow-down (source of CVE-2019-9213)" EPERM;
    A_46 46
        "no distance-to-stack-pointer heuristic exists in GUP: any address below a GROWSDOWN VMA with free gap and rlimit grows it, also for a remote mm";
    A_47 47
        "if the grown VMA is VM_LOCKED, the newly added part is populated immediately (populate_vma_page_range, nonblocking NULL, result ignored)";
    A_48 48
        "guard page: an anonymous fault at the lowest page of a GROWSDOWN VMA tries to grow by one more page; if a non-GROWSDOWN VMA abuts below →" EFAULT;
    A_49 49
        "FOLL_POPULATE never faults the guard page: lowest page of GROWSDOWN VMA (unless VMA below is its GROWSDOWN continuation) or highest page of GROWSUP" ENOENT;
    A_50 50
        "stable 4.4.y after mid-2017 replaces the guard page by a gap of 256 pages by default (1be7107fbe18; CVE-2017-1000364); A-43/48/49 then vanish";
    A_60 60
        "FOLL_WRITE → -EFAULT before any walk (FOLL_FORCE does not help)" EFAULT;
    A_61 61
        "address > TASK_SIZE uses the kernel page tables, else the mm's gate pgd; pgd/pud must exist (BUG otherwise); pmd none or pte none → -EFAULT" EFAULT;
    A_62 62
        "*vma set to the gate vma; if caller passed no pages, returns 0 without touching a page";
    A_63 63
        "normal page → reference taken with a plain get (regardless of FOLL_GET) ; special pte: only the zero page is accepted, and not with FOLL_DUMP";
    A_64 64
        "no check_vma_flags, no flush_* calls, no TOUCH processing for gate pages; page_mask 0";
    A_65 65
        "x86-64: gate vma is one page at 0xffffffffff600000; absent for ia32-compat mm, for mm == NULL with CONFIG_COMPAT, and when vsyscall=none. 4.4";
    A_70 70
        "loop bound: until VMA end or no pages remain; then continues with the next VMA in the caller";
    A_71 71
        "SIGKILL pending: stops; remaining := 0; returns count or -EFAULT (not -ERESTARTSYS)" EFAULT;
    A_72 72
        "absent (no table or none entry) + FOLL_DUMP and no page-cache page: stops; count or -EFAULT (hole in dump)" EFAULT;
    A_73 73
        "absent, or migration/hwpoison entry, or (FOLL_WRITE and entry not writable): page-table lock dropped, hugetlb_fault called with only FAULT_FLAG_WRITE";
    A_74 74
        "hugetlb_fault error of any kind (OOM, SIGBUS, HWPOISON_LARGE): remaining := 0; count or -EFAULT – errno is lost, FOLL_HWPOISON ignored" EFAULT;
    A_75 75
        "present: subpage = head + offset; all following subpages of the same huge page in range/VMA are stored in one lock hold, one reference each (tail";
    A_76 76
        "nonblocking / FOLL_NOWAIT: not passed down: hugetlb faults block and never drop mmap_sem";
    A_77 77
        "FOLL_TOUCH, FOLL_NUMA, FOLL_MLOCK, flush_*: not applied to hugetlb";
    A_78 78
        "zero page: hugetlb has none; absent pages are allocated (reserve rules apply)";
    A_79 79
        "vmas: filled per subpage";
    A_80 80
        "FOLL_FORCE|FOLL_WRITE on a read-only private hugetlb VMA: passes A-33 and the COW path installs a writable huge PTE in a non-writable VMA – known";
    A_81 81
        "tsk fault accounting: not done for hugetlb in GUP";
    A_90 90
        "arch hook follow_huge_addr: if it answers, page returned without FOLL_GET (BUG if FOLL_GET). Default: not handled";
    A_91 91
        "pgd none/bad, pud none/bad, pmd none: 'no page table': NULL, or -EFAULT if FOLL_DUMP and the VMA has no vm_ops->fault (i.e. would be zero-filled)" EFAULT;
    A_92 92
        "huge PUD/PMD in hugetlb VMA: PUD: with FOLL_GET returns nothing, else page without ref. PMD: under lock; present → page (+ref if FOLL_GET); migration";
    A_93 93
        "FOLL_NUMA and PMD protnone: no page table (A-91) – tested before the THP test";
    A_94 94
        "THP PMD + FOLL_SPLIT: whole huge page split, then PTE lookup";
    A_95 95
        "THP PMD being split: waits for the split, then PTE lookup";
    A_96 96
        "THP PMD: under PMD lock → A-97..A-101; page_mask = 511";
    A_97 97
        "FOLL_WRITE and PMD not writable: NULL (→ fault)";
    A_98 98
        "FOLL_DUMP and huge zero page: -EFAULT" EFAULT;
    A_99 99
        "FOLL_NUMA and protnone: NULL";
    A_100 100
        "FOLL_TOUCH: sets young and dirty in the PMD unconditionally, also for reads (later exploited by CVE-2017-1000405)";
    A_101 101
        "FOLL_MLOCK in VM_LOCKED VMA: if mapping set and trylock succeeds: drain LRU caches, recheck mapping, mlock the page; failure silently ignored.";
    A_110 110
        "PMD bad: no page table (A-91)";
    A_111 111
        "PTE none: no page table (A-91)";
    A_112 112
        "not present, FOLL_MIGRATION and it is a migration entry: wait for migration, then retry (KSM only; GUP never sets it)";
    A_113 113
        "not present otherwise (swap, migration, hwpoison): NULL";
    A_114 114
        "FOLL_NUMA and protnone: NULL";
    A_115 115
        "FOLL_WRITE and PTE not writable: NULL. (post-fix: accept if FOLL_FORCE && FOLL_COW && pte dirty)";
    A_116 116
        "no normal page (special/pfn) and FOLL_DUMP: -EFAULT (covers zero page)" EFAULT;
    A_117 117
        "zero page: page = zero page (reference taken if FOLL_GET)";
    A_118 118
        "other special pfn, FOLL_GET: -EFAULT" EFAULT;
    A_119 119
        "other special pfn, no FOLL_GET: FOLL_TOUCH marks the PTE young (and dirty if FOLL_WRITE); returns -EEXIST" EEXIST;
    A_120 120
        "normal page, FOLL_GET: reference under PTE lock";
    A_121 121
        "FOLL_TOUCH: if FOLL_WRITE and neither PTE nor page dirty: set_page_dirty. Then mark_page_accessed. The PTE itself is not modified";
    A_122 122
        "FOLL_MLOCK and VM_LOCKED: as A-101 (needs page->mapping, so never the zero page)";
    A_123 123
        "vm_normal_page rule (arch with special bit): special: vm_ops->find_special_page if provided; VM_PFNMAP/VM_MIXEDMAP → none; zero pfn → none; else";
    A_130 130
        "FOLL_MLOCK set without FOLL_POPULATE: -ENOENT (lock only what is present; MLOCK_ONFAULT)" ENOENT;
    A_131 131
        "FOLL_POPULATE and stack guard page: -ENOENT" ENOENT;
    A_132 132
        "FOLL_WRITE: FAULT_FLAG_WRITE";
    A_133 133
        "nonblocking ≠ NULL: FAULT_FLAG_ALLOW_RETRY";
    A_134 134
        "FOLL_NOWAIT: ALLOW_RETRY + RETRY_NOWAIT";
    A_135 135
        "FOLL_TRIED: FAULT_FLAG_TRIED; warns once if ALLOW_RETRY is also set (mutually exclusive in 4.4)";
    A_136 136
        "never set by GUP: KILLABLE, USER (so memcg OOM is not user-style; page-lock waits are uninterruptible)";
    A_137 137
        "VM_FAULT_OOM: -ENOMEM (tested first)" ENOMEM;
    A_138 138
        "HWPOISON / HWPOISON_LARGE: -EHWPOISON if FOLL_HWPOISON else -EFAULT" EHWPOISON;
    A_139 139
        "SIGBUS / SIGSEGV: -EFAULT" EFAULT;
    A_140 140
        "other error bit (FALLBACK): BUG";
    A_141 141
        "accounting: if tsk: maj_flt++ when VM_FAULT_MAJOR else min_flt++. Done for every non-error result including RETRY (so a retried fault counts twice)";
    A_142 142
        "VM_FAULT_RETRY: *nonblocking := 0 if given (even with FOLL_NOWAIT, where the lock was not dropped – known defect, fixed 2018 (mem)); -EBUSY" EBUSY;
    A_143 143
        "VM_FAULT_WRITE and VMA lacks VM_WRITE: drops FOLL_WRITE from this page's working flags → next lookup is done as a read. Dirty COW: if the COWed page";
    A_144 144
        "fix (19be0eaffa3a, 4.9-rc2, 4.4.26): FOLL_WRITE is kept; FOLL_COW is added instead; lookup accepts a non-writable PTE only if FOLL_FORCE, FOLL_COW";
    A_145 145
        "VM_WRITE VMA: FOLL_WRITE never dropped: loops until the PTE is writable";
    A_146 146
        "NOPAGE / 0: success → re-lookup (unbounded retries, interrupted only by SIGKILL)";
    A_150 150
        "get_user_pages(tsk,mm,start,n,write,force,pages,vmas): FOLL_TOUCH always; GET iff pages; WRITE/FORCE from ints; nonblocking NULL ⇒ lock never dropped";
    A_151 151
        "get_user_pages_locked(…, int *locked): *locked must be 1 on entry (BUG otherwise), vmas not allowed (BUG). Loop: call; if lock still held → done; if";
    A_152 152
        "get_user_pages_unlocked / __…_unlocked(gup_flags): takes the read lock itself, same loop, releases if still held; the plain form adds FOLL_TOUCH, the";
    A_153 153
        "error merge in the loop: first error only reported when no page was obtained at all";
    A_154 154
        "get_user_pages_fast(start, int n, write, pages) x86: start masked; if end wraps or exceeds the canonical user mask → slow for all. Walk with";
    A_155 155
        "__get_user_pages_fast: IRQ-safe, never faults, never negative; access_ok failure → 0";
    A_156 156
        "fast with n ≤ 0: documentation says 0; code has no guard: the do/while walkers assume end > start. Treat n ≥ 1 as precondition";
    A_157 157
        "weak (no fast support): get_user_pages_fast = unlocked slow path; __fast returns 0";
    A_158 158
        "populate_vma_page_range(vma,start,end,nonblocking): FOLL_TOUCH|POPULATE|MLOCK; VM_LOCKONFAULT clears POPULATE; WRITE iff VM_WRITE and not VM_SHARED";
    A_159 159
        "__mm_populate(start,len,ignore_errors): takes lock lazily, VMA by VMA, skips VM_IO/VM_PFNMAP, advances by returned count, re-finds VMA if the lock";
    A_160 160
        "get_dump_page(addr): FORCE|DUMP|GET, one page, no mmap_sem taken (other threads dead); anything but success → NULL; flush_cache_page on success";
    A_161 161
        "fixup_user_fault(tsk,mm,addr,fault_flags): find_extend_vma; VMA must have VM_WRITE (write) or VM_READ; calls handle_mm_fault once; OOM→-ENOMEM";
    A_162 162
        "access_process_vm / access_remote_vm: page by page get_user_pages with force=1 always; on failure, if the VMA has vm_ops->access (VM_IO/PFNMAP) uses";
    A_163 163
        "other FOLL users: KSM: follow_page(GET|MIGRATION); munlock: GET|DUMP; move_pages: GET|SPLIT|DUMP; KVM async: TOUCH|NOWAIT|HWPOISON|GET(|WRITE)";
}
