//! What stays different from Linux on purpose: not drawn, by name, with the reason.

/// Something that random programs leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Its name.
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// All of it.
pub const ON_PURPOSE: &[Purpose] = &[
    Purpose {
        name: "where mmap and mremap place what says no address",
        reason: "the kernel's choice depends on what else the process has mapped; every drawn call \
                 says where",
    },
    Purpose {
        name: "reading ahead",
        reason: "how many of a file's neighbours the kernel reads with a page depends on the \
                 device and on earlier reads; drawn files are in memory and stay there: they \
                 never become longer again, nothing punches holes (MADV_REMOVE is in the vectors), \
                 and programs draw MADV_PAGEOUT only where the file is one dirty folio",
    },
    Purpose {
        name: "cutting a large folio of a file in two",
        reason: "Linux leaves pieces of several sizes, the engine single pages: files of one \
                 folio are drawn without truncation and MADV_REMOVE",
    },
    Purpose {
        name: "transparent huge pages in the usual set",
        reason: "--set huge draws them, and with --setup hugetlb; khugepaged, when it comes \
                 around, shows as unsteady",
    },
    Purpose {
        name: "which page of a large folio mapped page by page is exclusive",
        reason: "/proc/kpageflags shows the first page's mark for all, and both worlds are shown \
                 so",
    },
    Purpose { name: "brk", reason: "the subject's own heap is in use" },
    Purpose {
        name: "the lazy bits, dirty and mlocked",
        reason: "Linux itself brings them up to date later, at times that depend on other work",
    },
    Purpose {
        name: "MADV_HWPOISON and MADV_SOFT_OFFLINE",
        reason: "they take memory out of the machine",
    },
    Purpose {
        name: "MADV_COLLAPSE of shared memory and of files",
        reason: "the engine has no huge pages of files; --set slow draws it on private memory",
    },
    Purpose {
        name: "merging by KSM in the usual set",
        reason: "ksmd merges when it comes around; --set slow draws it",
    },
];
