//! Rows C-…: what changed from v4.4 to 6.18.
//!
//! Data only; the full facts are in `docs/semantics.md`, under the same ids.
//! Linux: mm/gup.c and its callers in 6.18.

use super::rows;

rows! { b'C';
    C_01 1
        "A caller may not pass the walk's internal flags." => EINVAL since 6 3;
        "Pass public FOLL_ flags only.";
    C_02 2
        "If locked is given, it must be 1 on entry." => EINVAL since 6 3;
        "Hold the lock and set locked to 1.";
    C_03 3
        "FOLL_GET and FOLL_PIN exclude each other." => EINVAL since 5 6;
        "Choose one: PIN to touch the data, GET to look at the page.";
    C_04 4
        "FOLL_LONGTERM needs FOLL_PIN." => EINVAL;
        "Use pin_user_pages for long-term pins.";
    C_05 5
        "GET and PIN need a pages array." => EINVAL since 6 3;
        "Pass an array, or neither flag to fault pages in only.";
    C_06 6
        "FOLL_LONGTERM and FOLL_PCI_P2PDMA exclude each other." => EINVAL since 6 2;
        "Peer-to-peer memory cannot be pinned for long.";
    C_07 7
        "Refused flags give EINVAL, but 0 from pin_user_pages and its remote and unlocked forms.";
    C_08 8
        "The other flags may be combined freely in the slow forms.";
    C_09 9
        "The fast forms refuse flags that only the slow path knows." => EINVAL;
        "Use the slow form for NOWAIT, INTERRUPTIBLE, ANON, DUMP, HWPOISON or SPLIT_PMD.";
    C_10 10
        "Each entry point adds its own flags: TOUCH, REMOTE, UNLOCKABLE, GET or PIN." reworked 6 3;
    C_11 11
        "Flags are judged first; then a request for 0 pages returns 0 without the \
         lock." reworked 6 3;
    C_12 12
        "Debug kernels check that pages is given exactly when GET or PIN is.";
    C_13 13
        "A request for 0 pages returns 0.";
    C_14 14
        "Tag bits of the address are removed as the target has them; start need not be \
         aligned." since 5 3;
    C_15 15
        "The lookup never grows a stack; an address just below one is no area, and is logged \
         once an hour." since 6 5;
    C_16 16
        "No area covers the address; where an area refuses, its own reason is \
         given." => EFAULT since 2 6;
        "Map the address first, or shorten the range to what /proc/PID/maps shows.";
    C_17 17
        "For MADV_POPULATE a hole is ENOMEM and a refusing area is EINVAL." => ENOMEM since 5 14;
        "Map the whole range first, with the permission that is asked for.";
    C_18 18
        "A fatal signal of the caller ends the request with EINTR." => EINTR;
        "The caller is being killed; nothing to do.";
    C_19 19
        "A page that is absent is faulted in; one that must be unshared is faulted in with \
         UNSHARE." reworked 5 19;
    C_20 20
        "A frame without a struct page counts if no pages are asked for, else it ends the \
         request." => EEXIST;
        "Device memory cannot be pinned: use the device's own calls, or copy through ordinary \
         memory.";
    C_21 21
        "The pages of one folio are taken in one step, also when they are stored." reworked 6 5;
    C_22 22
        "A forced write to read-only private hugetlb memory is refused; later kernels allow it, \
         and keep the entry read-only." => EFAULT since 6 1 until 6 15;
        "mprotect it writable for the time of the write.";
    C_23 23
        "A missing entry of the gate area is an error like any other; writes are \
         refused." => EFAULT;
        "The vsyscall page cannot be written, and may be switched off: use the vdso.";
    C_24 24
        "vmas is gone: no caller may keep areas." since 6 5;
    C_25 25
        "An error after the first page is hidden: the count is returned, and the next call meets \
         the error.";
    C_26 26
        "GET adds one reference, PIN adds a pin, neither adds nothing." reworked 5 6;
    C_27 27
        "Device memory and bare frame ranges (VM_IO, VM_PFNMAP) are refused." => EFAULT since 2 6;
        "Use the device's own calls for its memory, or copy through a buffer in ordinary memory.";
    C_28 28
        "Only anonymous memory is wanted (FOLL_ANON), and this is a file's." => EFAULT since 4 17;
        "Put the memory (such as a process title) into an anonymous mapping.";
    C_29 29
        "A long-term pin of a file on a DAX device is refused." => EOPNOTSUPP since 4 15;
        "Use device DAX (/dev/dax), or copy through ordinary memory.";
    C_30 30
        "Splitting a huge mapping is refused for hugetlb memory." => EOPNOTSUPP since 6 15;
        "Use transparent huge pages where they must be split.";
    C_31 31
        "Secret memory (memfd_secret) is refused to everyone." => EFAULT since 5 14;
        "Copy what must be shared into ordinary memory.";
    C_32 32
        "A long-term write pin of a shared file that tracks dirty pages is \
         refused." => EFAULT since 6 5;
        "Map it MAP_PRIVATE, use a memfd or tmpfs, or read into an anonymous buffer.";
    C_33 33
        "A read-only area refuses a write that is not forced; forced, it must be \
         private." => EFAULT since 2 6;
        "mprotect it writable; a shared file must be opened for writing and mapped PROT_WRITE.";
    C_34 34
        "An area without read permission refuses a read that is not forced." => EFAULT since 2 6;
        "mprotect it readable; a debugger's access (ptrace, /proc/PID/mem) is forced.";
    C_35 35
        "The protection key of the area forbids the access to its own process." => EFAULT since 4 6;
        "Allow the key (pkey_set) before the call.";
    C_36 36
        "A hugetlb area is walked under its own lock, so that shared tables stay.";
    C_37 37
        "A dump stops where nothing was ever written." => EFAULT;
        "Nothing to do: a core dump leaves such pages out.";
    C_38 38
        "A write accepts a read-only entry only if it is forced and the page is exclusive to \
         this process." reworked 6 0;
    C_39 39
        "Entries marked for NUMA hinting are followed, unless the caller honours \
         hints." reworked 6 6;
    C_40 40
        "SPLIT_PMD splits a huge mapping into small entries; the page itself stays \
         large." => ENOMEM since 5 4;
        "Free memory: a page table could not be allocated.";
    C_41 41
        "A dump refuses zero pages and frames without a page." => EFAULT;
        "Nothing to do: a core dump leaves such pages out.";
    C_42 42
        "A frame without a struct page answers with EEXIST." => EEXIST;
        "Device memory cannot be pinned: use the device's own calls, or copy through ordinary \
         memory.";
    C_43 43
        "A read pin of a page that is shared copy-on-write unshares it first." => EMLINK since 5 19;
    C_44 44
        "A page is taken after the write, dump and unshare tests, and marked as touched \
         last." reworked 5 19;
    C_45 45
        "FOLL_TOUCH marks a huge entry accessed and, for a write, dirty; on x86-64 nothing for a \
         read." reworked 4 15;
    C_46 46
        "FOLL_TOUCH marks the folio accessed, and dirty for a write.";
    C_47 47
        "GUP no longer locks pages in memory; faults do." reworked 5 18;
    C_48 48
        "FOLL_NOFAULT refuses a page that would need a fault." => EFAULT since 5 16;
        "Touch the page first, or allow faults.";
    C_49 49
        "A call that may drop the lock takes faults that can be retried and killed." reworked 6 3;
    C_50 50
        "A call that may not drop the lock can be neither retried nor killed while it \
         waits." reworked 6 3;
    C_51 51
        "A fault may end with the page in place and the lock already dropped." reworked 6 0;
    C_52 52
        "A page fault that fails ends the call: EFAULT for SIGBUS and SIGSEGV, ENOMEM for want of \
         memory." => EFAULT;
        "If the page lies past the end of its file, make the file longer or the range shorter.";
    C_53 53
        "A fault that must be retried has dropped the lock, but not with FOLL_NOWAIT.";
    C_54 54
        "Faults are charged to the caller, once, as major if they were retried." reworked 5 9;
    C_55 55
        "A fault that asks for what its area cannot give fails." => EFAULT;
        "mprotect the area, or map the file in another way.";
    C_56 56
        "In droppable memory a lack of memory is no error: the fault is tried again." since 6 11;
    C_57 57
        "If the lock is not held it is taken; a fatal signal meanwhile is EAGAIN." => EAGAIN;
        "The caller is being killed; nothing to do.";
    C_58 58
        "A call that may not drop the lock is one pass.";
    C_59 59
        "After the lock was dropped: a fatal signal ends the call; else the lock is retaken and \
         the page retried." => EINTR;
        "The caller is being killed; nothing to do.";
    C_60 60
        "A call that only faults in insists as well; nothing at the end is an EFAULT." => EFAULT;
        "Call again.";
    C_61 61
        "With FOLL_NOWAIT a short count, or 0, with the lock held is a right answer.";
    C_62 62
        "After the lock was dropped, the area is looked up afresh.";
    C_63 63
        "A missing userfaultfd page fails where the call may not wait; guard pages and poisoned \
         ones always." => EFAULT;
        "Let the handler fill the page first, or read it once before the call.";
    C_64 64
        "The fast form checks the range, walks without the lock, then leaves the rest to the \
         slow path." => EOVERFLOW;
        "Check the range: it wraps, or ends beyond user space.";
    C_65 65
        "A negative number of pages is a huge one to the fast forms." => EOVERFLOW;
        "Ask for at least one page.";
    C_66 66
        "The lockless walk runs with interrupts off, which keeps page tables from being freed.";
    C_67 67
        "On x86-64 the fast form's range must end below the canonical bound." => EFAULT;
        "Check the address: it is not one of user space.";
    C_68 68
        "While fork copies this process, a fast pin is given up and taken again with the \
         lock." since 5 11;
    C_69 69
        "The fast walk gives up at an entry that is absent, special, hinted, or not writable for \
         a write.";
    C_70 70
        "FORCE gains nothing in the fast walk: a read-only entry is left to the slow path.";
    C_71 71
        "The fast walk takes the page, then looks again whether it is still the same.";
    C_72 72
        "A huge entry gives the fast walk all wanted pages at once.";
    C_73 73
        "The fast walk gives up at pages whose file or kind it must ask about: secret memory, \
         slab, truncated.";
    C_74 74
        "The fast walk marks pages as referenced, and nothing as dirty.";
    C_75 75
        "A page of the fast walk was mapped with that permission at some instant of the call.";
    C_76 76
        "During a long-term pin, new pages are not placed where they would have to stay \
         movable." since 5 2;
    C_77 77
        "A long-term pin moves pages out of movable memory, and pins again until all are well \
         placed." since 5 2;
    C_78 78
        "Movable zones, CMA and device memory cannot be pinned for long." since 5 2;
    C_79 79
        "A page that cannot be isolated for its move is tried again.";
    C_80 80
        "If a page cannot be moved, the whole long-term pin fails and nothing stays \
         pinned." => ENOMEM since 5 2;
        "Something else holds the page: release it, or allocate from hugetlb or non-movable \
         memory.";
    C_81 81
        "An error of the inner call ends a long-term pin with that error.";
    C_82 82
        "Kernels that cannot migrate pages do not check where they lie.";
    C_83 83
        "memfd_pin_folios refuses files other than memfd, tmpfs and hugetlbfs, and ranges beyond \
         the end." => EINVAL since 6 11;
        "Pass a memfd and a range inside its size.";
    C_84 84
        "memfd_pin_folios pins each folio once and allocates those that are missing." since 6 11;
    C_85 85
        "A further pin of a folio needs one that exists.";
    C_86 86
        "A page with no reference left, or on the verge of overflow, is refused; small pages \
         count 1024 a pin." => ENOMEM since 5 6;
        "Too many references to one page: release some.";
    C_87 87
        "Large folios count their pins exactly.";
    C_88 88
        "A small page may seem pinned if it has 1024 references or more; never the other way \
         round." since 5 6;
    C_89 89
        "A small page takes about two million pins." since 5 6;
    C_90 90
        "Unpinning takes back what pinning added, folio by folio; the zero page counts for \
         nothing." since 5 6;
    C_91 91
        "Unpinning with dirty marks the folio first, under its lock, and may sleep." since 5 6;
    C_92 92
        "The pin counters of /proc/vmstat count base pages." since 5 7;
    C_93 93
        "populate_vma_page_range does nothing for lock-on-fault areas and refuses inaccessible \
         ones." => EFAULT;
        "mprotect the area accessible first.";
    C_94 94
        "__mm_populate works area by area; its errors are as before.";
    C_95 95
        "MADV_POPULATE_READ and WRITE fault a range in, and say exactly why they could \
         not." since 5 14;
    C_96 96
        "get_dump_page takes the lock killably if it must.";
    C_97 97
        "fixup_user_fault retries after a dropped lock, and does not grow stacks." => EINTR;
        "The caller is being killed; nothing to do.";
    C_98 98
        "access_remote_vm grows a stack itself, copies page by page, and forces only if \
         asked." reworked 6 5;
    C_99 99
        "Forced access through /proc/PID/mem can be limited to debuggers, or forbidden." since 6 12;
    C_100 100
        "A stack grows only with 256 pages left to the area below, above mmap_min_addr, under \
         the write lock." => ENOMEM reworked 6 5;
    C_101 101
        "Direct I/O, io_uring, RDMA, VFIO, futex and the rest each ask with flags of their own.";
    C_102 102
        "Without an MMU the rules are those of N-11.";
    C_103 103
        "fault_in_readable and its kin return the bytes that are not there; they pin nothing.";
    C_104 104
        "A read get or pin of a page in private memory breaks copy-on-write \
         first." since 5 8 until 5 9;
    C_105 105
        "io_uring takes no buffers in mappings of files, other than hugetlb and shared \
         memory." => EOPNOTSUPP since 5 1 until 6 5;
        "Use anonymous memory, a memfd (from 5.14) or hugetlb for the buffers.";
    C_106 106
        "io_uring takes no buffers in shared memory." => EOPNOTSUPP since 5 1 until 5 14;
        "Use private anonymous memory or hugetlb for the buffers.";
    C_107 107
        "RDMA memory that is registered without write access is pinned as by a forced \
         write." until 6 2;
    C_108 108
        "Direct I/O gets the pages instead of pinning them." until 6 5;
    C_109 109
        "The kernel does not have this call yet." => ENOSYS;
        "Use a newer kernel, or another way to hand the memory over.";
}
