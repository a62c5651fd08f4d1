//! Rows A-…: v4.4, the form with an MMU, `vmas` and `nonblocking`.
//!
//! Data only; the full facts are in `docs/semantics.md`, under the same ids.
//! Linux: mm/gup.c, mm/memory.c, mm/hugetlb.c, mm/mmap.c of v4.4.

use super::rows;

rows! { b'A';
    A_01 1
        "A request for 0 pages returns 0 before anything is checked, locked or changed.";
    A_02 2
        "pages is given exactly when FOLL_GET is; anything else is a caller's bug, seen by debug \
         kernels only.";
    A_03 3
        "Without FOLL_FORCE, NUMA hinting faults are taken (FOLL_NUMA is added); with it they \
         are not.";
    A_04 4
        "The mmap lock is held on entry; it may be dropped only if nonblocking is given without \
         FOLL_NOWAIT.";
    A_05 5
        "Each page begins with the caller's own flags; what a fault changed in them lasts for \
         that page only.";
    A_06 6
        "The area is looked up at the first page and whenever its end is reached, not after a \
         fault.";
    A_07 7
        "The lookup of an area may grow a stack down to the address." until 6 5;
    A_08 8
        "An address in no area is tried in the gate area (vsyscall); its page counts, and the \
         gate becomes the area." => EFAULT;
        "The vsyscall page is all that lies outside the areas: use the vdso, or an address that \
         is mapped.";
    A_09 9
        "No area covers the address, and it is not in the gate area." => EFAULT;
        "Map the address first, or shorten the range to what /proc/PID/maps shows.";
    A_10 10
        "The area forbids the access; whatever its reason, the caller sees EFAULT." => EFAULT;
        "See the reason given; mprotect the area, or map it in another way.";
    A_11 11
        "A hugetlb area is served as a whole by a walk of its own." until 6 10;
    A_12 12
        "Before every look at a page table: a fatal signal is checked, then the CPU is offered \
         to others.";
    A_13 13
        "A fatal signal of the caller, not of the target, ends the request." => ERESTARTSYS;
        "The caller is being killed; nothing to do.";
    A_14 14
        "A page that is found is stored, and the CPU caches of its contents are flushed if pages \
         is given.";
    A_15 15
        "A page that is not there is faulted in; the fault's outcome says whether to look again, \
         stop or skip.";
    A_16 16
        "A page without a struct page counts but is not stored, if no pages are asked for.";
    A_17 17
        "Any other failure of the lookup ends the request: the count so far, or that error if it \
         is 0.";
    A_18 18
        "If vmas is given, it receives the area of every counted page, skipped ones too." until 6 5;
    A_19 19
        "Without pages and vmas a huge page is passed in one step; with them, page by \
         page." until 6 5;
    A_20 20
        "start need not be aligned: its offset is carried along.";
    A_21 21
        "An error after the first page is hidden: the count is returned, and the next call meets \
         the error.";
    A_22 22
        "With FOLL_MLOCK or FOLL_POPULATE the count includes pages that were skipped." until 5 18;
    A_23 23
        "The range is not checked against the end of user space; beyond it there are no \
         areas." => EFAULT;
        "Check the address: it lies outside what a process can map.";
    A_24 24
        "A huge page that is skipped is skipped whole, even if it was refused for \
         writing." until 5 18;
    A_25 25
        "A returned page holds one more reference; it was mapped at some instant, and may no \
         longer be.";
    A_30 30
        "Device memory and bare frame ranges (VM_IO, VM_PFNMAP) are refused, even with \
         FOLL_FORCE." => EFAULT;
        "Use the device's own calls for its memory, or copy through a buffer in ordinary memory.";
    A_31 31
        "An area that may be written may be got for writing.";
    A_32 32
        "A read-only area refuses a write that is not forced." => EFAULT;
        "mprotect it writable first, or ask for reading only.";
    A_33 33
        "FOLL_FORCE writes to a private read-only area that could be made writable, through a \
         copy.";
    A_34 34
        "FOLL_FORCE does not write to a shared area, nor to one that can never be made \
         writable." => EFAULT;
        "Map the file MAP_PRIVATE, or open it for writing and map it PROT_WRITE.";
    A_35 35
        "An area that may be read may be got for reading.";
    A_36 36
        "An area without read permission refuses a read that is not forced (execute-only and \
         write-only too)." => EFAULT;
        "mprotect it readable first; a debugger's access (ptrace, /proc/PID/mem) is forced.";
    A_37 37
        "FOLL_FORCE reads an area without read permission if it could be made readable." => EFAULT;
        "The mapping was made from a descriptor that cannot be read: open it for reading.";
    A_38 38
        "A mixed area (VM_MIXEDMAP) is not refused as such: each entry decides.";
    A_39 39
        "Protection keys and the difference of a foreign address space are not looked \
         at." until 4 6;
    A_40 40
        "The area is the first that ends above the address, if it contains it.";
    A_41 41
        "Below a stack (VM_GROWSDOWN) the area above is grown; below any other area there is \
         nothing." => EFAULT until 6 5;
        "Map the address first: only stacks grow, and only downwards.";
    A_42 42
        "A stack is grown with the mmap lock held for reading only." until 6 5;
    A_43 43
        "A stack does not grow onto the page that touches another kind of \
         area." => ENOMEM until 4 12;
        "The stack has met the mapping below it: move that, or use a smaller stack.";
    A_44 44
        "A stack grows within the limits of the caller: address space, RLIMIT_STACK, \
         RLIMIT_MEMLOCK, commit." => ENOMEM until 6 5;
        "Raise the limit (ulimit -s, -v, -l) of the process that asks.";
    A_45 45
        "A stack does not grow below mmap_min_addr, judged with the caller's \
         credentials." => EPERM until 6 5;
        "No process needs memory there; look for a null pointer with an offset.";
    A_46 46
        "A stack grows to any free address below it, near the stack pointer or not, for a remote \
         target too." until 6 5;
    A_47 47
        "If a grown stack is locked, its new part is populated at once." until 6 5;
    A_48 48
        "A fault at the lowest page of a stack grows it by a page more; where it cannot, the \
         fault fails." => EFAULT until 4 12;
        "The stack has met the mapping below it: move that, or use a smaller stack.";
    A_49 49
        "FOLL_POPULATE skips a stack's guard page, and counts it." => ENOENT until 4 12;
    A_50 50
        "Later kernels keep a gap of 256 pages below a stack, in place of the guard \
         page." since 4 12;
    A_60 60
        "The gate area refuses to be written, FOLL_FORCE or not." => EFAULT;
        "The vsyscall page cannot be written.";
    A_61 61
        "The gate page is looked up in the kernel's tables; a missing entry there is an \
         error." => EFAULT;
        "The kernel was booted with vsyscall=none.";
    A_62 62
        "Without pages, the gate area is reported without touching its page.";
    A_63 63
        "The gate page is referenced without regard to FOLL_GET; of special entries only the \
         zero page counts." => EFAULT;
        "Nothing to do: the page has no memory behind it.";
    A_64 64
        "The gate page is neither checked against flags, nor flushed, nor marked as touched.";
    A_65 65
        "On x86-64 the gate is the vsyscall page, unless it is switched off or the process is \
         32-bit.";
    A_70 70
        "The hugetlb walk ends at the end of the area or of the request." until 6 10;
    A_71 71
        "A fatal signal ends the hugetlb walk with the count, or with EFAULT." => EFAULT;
        "The caller is being killed; nothing to do.";
    A_72 72
        "A dump stops at a hugetlb page that does not exist." => EFAULT;
        "Nothing to do: the page was never written.";
    A_73 73
        "A hugetlb page that is absent, or read-only for a write, is faulted in and looked at \
         again." until 6 10;
    A_74 74
        "Every failure of a hugetlb fault becomes EFAULT, whatever it was." => EFAULT;
        "Reserve more huge pages (vm.nr_hugepages), or map fewer.";
    A_75 75
        "All wanted subpages of one huge page are taken at once, each with a reference of its \
         own." until 6 10;
    A_76 76
        "hugetlb faults block and keep the lock, whatever nonblocking and FOLL_NOWAIT say.";
    A_77 77
        "FOLL_TOUCH, FOLL_NUMA, FOLL_MLOCK and cache flushes do not apply to hugetlb pages.";
    A_78 78
        "hugetlb has no zero page: an absent page is allocated, from the reserve if there is \
         one.";
    A_79 79
        "vmas receives the hugetlb area once for every subpage." until 6 5;
    A_80 80
        "FOLL_FORCE makes a read-only private hugetlb page writable, in an area that is \
         not." until 6 1;
    A_81 81
        "hugetlb faults taken by GUP are not charged to a task." until 5 9;
    A_90 90
        "An architecture may answer for a huge address itself, without a reference; x86-64 does \
         not.";
    A_91 91
        "Where no table is, there is no page; a dump stops if the page would be all \
         zeros." => EFAULT;
        "Nothing to do: a core dump leaves such pages out.";
    A_92 92
        "A hugetlb entry at the middle or upper level answers at once, and waits while it is \
         migrated." until 6 10;
    A_93 93
        "A huge entry marked for NUMA hinting counts as absent if hints are honoured.";
    A_94 94
        "FOLL_SPLIT splits a huge page before one of its pages is taken.";
    A_95 95
        "A huge page that is being split is waited for.";
    A_96 96
        "A huge entry answers for all of its 512 pages.";
    A_97 97
        "A huge entry that is not writable counts as absent for a write.";
    A_98 98
        "A dump refuses the huge zero page." => EFAULT;
        "Nothing to do: a core dump leaves zero pages out.";
    A_99 99
        "A huge entry marked for NUMA hinting, seen under its lock, counts as absent.";
    A_100 100
        "FOLL_TOUCH marks a huge entry accessed and dirty, even for a read." until 4 15;
    A_101 101
        "FOLL_MLOCK locks a huge page of a locked area in memory, if it can have the page's \
         lock." until 5 18;
    A_110 110
        "A damaged middle entry counts as no table.";
    A_111 111
        "An empty entry counts as no table.";
    A_112 112
        "FOLL_MIGRATION waits for a page that is being moved.";
    A_113 113
        "An entry that is swapped, moving or poisoned counts as absent.";
    A_114 114
        "An entry marked for NUMA hinting counts as absent if hints are honoured.";
    A_115 115
        "An entry that is not writable counts as absent for a write.";
    A_116 116
        "A dump refuses an entry that has no page of its own, such as the zero page." => EFAULT;
        "Nothing to do: a core dump leaves such pages out.";
    A_117 117
        "The zero page is handed out like any page.";
    A_118 118
        "A frame without a struct page cannot be referenced." => EFAULT;
        "Device memory cannot be pinned: use the device's own calls, or copy through ordinary \
         memory.";
    A_119 119
        "A frame without a struct page is passed over if no reference is asked for." => EEXIST;
    A_120 120
        "The reference is taken under the page-table lock.";
    A_121 121
        "FOLL_TOUCH marks the page accessed, and dirty for a write; the entry stays as it is.";
    A_122 122
        "FOLL_MLOCK locks a page of a locked area in memory, never the zero page." until 5 18;
    A_123 123
        "An entry has a page of its own unless it is special, or a bare frame of its area.";
    A_130 130
        "FOLL_MLOCK without FOLL_POPULATE skips pages that are not there." => ENOENT until 5 18;
    A_131 131
        "FOLL_POPULATE does not fault a stack's guard page." => ENOENT until 4 12;
    A_132 132
        "FOLL_WRITE takes the fault as a write.";
    A_133 133
        "nonblocking lets the fault drop the lock while it waits.";
    A_134 134
        "FOLL_NOWAIT lets the fault start what it needs, but neither wait nor drop the lock.";
    A_135 135
        "FOLL_TRIED tells the fault that it was retried once; it must not be retried again.";
    A_136 136
        "A fault taken here is neither killable nor a user's own." until 5 7;
    A_137 137
        "The fault found no memory." => ENOMEM;
        "Free memory, raise the cgroup's limit, or pin less at once.";
    A_138 138
        "The page's memory is broken: EHWPOISON if the caller asked to know, else \
         EFAULT." => EHWPOISON;
        "The data is lost; unmap the page and map another.";
    A_139 139
        "The fault ended in SIGBUS or SIGSEGV: past the end of a file, or the area does not \
         allow it." => EFAULT;
        "Check the file's size against the mapping, and the area's permissions.";
    A_140 140
        "Any other error of a fault is a kernel bug.";
    A_141 141
        "Each fault is charged to the target task as major or minor, one that is retried \
         twice." until 5 9;
    A_142 142
        "A fault that must be retried ends the call, and nonblocking is cleared even where the \
         lock is kept." => EBUSY;
        "Call again.";
    A_143 143
        "After a forced write was copied, the page is looked up as for a read: the Dirty COW \
         race." until 4 9;
    A_144 144
        "After the Dirty COW fix a forced write accepts a read-only entry only if it is its own \
         dirty copy." since 4 9 until 6 0;
    A_145 145
        "In a writable area a write looks again until the entry is writable.";
    A_146 146
        "A fault that succeeded is followed by another look, as often as needed.";
    A_150 150
        "get_user_pages marks pages as touched, and never drops the lock.";
    A_151 151
        "get_user_pages_locked goes on after the lock was dropped, and says if it released it.";
    A_152 152
        "get_user_pages_unlocked takes and releases the lock itself.";
    A_153 153
        "Of several rounds, an error is reported only if no page was obtained at all.";
    A_154 154
        "get_user_pages_fast walks without the lock and leaves what it misses to the slow path.";
    A_155 155
        "__get_user_pages_fast never faults and never fails: it returns what it got." until 5 8;
    A_156 156
        "The fast forms expect at least one page; smaller numbers are not guarded.";
    A_157 157
        "Without a fast walk, the fast form is the slow one, and __get_user_pages_fast returns \
         0.";
    A_158 158
        "populate_vma_page_range faults a range of one area in, for write if it is private and \
         writable.";
    A_159 159
        "__mm_populate does so area by area, and says what mlock makes of its errors.";
    A_160 160
        "get_dump_page returns one page for a core dump, or none.";
    A_161 161
        "fixup_user_fault takes one fault for an address, by its area's plain permissions.";
    A_162 162
        "access_process_vm copies page by page, always forced, and returns the bytes done.";
    A_163 163
        "Other users of the walk: KSM, munlock, move_pages, KVM, each with flags of its own.";
}
