//! What could not be seen, and what it would take to see it.
//!
//! An *unseen* fact is carried to the reader of a verdict; it is never replaced by a likely value.

/// One fact about a process that this reader may not see or that Linux does not publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unseen {
    /// Frame numbers of pages (`/proc/PID/pagemap` gives zeros without `CAP_SYS_ADMIN`).
    FrameNumbers,
    /// Whether a page that is mapped once is `PageAnonExclusive` (`/proc/kpageflags`).
    Exclusive,
    /// Whether a page is the zero page (`PAGEMAP_SCAN`, Linux 6.7).
    ZeroPage,
    /// Whether a page is a KSM page (`/proc/kpageflags`).
    Ksm,
    /// The `VmFlags` of an area (`/proc/PID/smaps`).
    VmFlags,
    /// The size of a mapped file, so whether a page lies past its end.
    FileSize,
    /// The file system of a mapped file, so whether it tracks dirty pages.
    FileSystem,
    /// Whether a userfaultfd handler waits for faults, and in which mode.
    Userfault,
    /// Which pages of a file are cached that no entry maps, where a userfaultfd hears of those.
    PageCache,
    /// The last byte of a text, on which it depends how much of it is read.
    Contents,
    /// What a driver does when its mapping is touched where no page is, or read without a page.
    Driver,
    /// What a kernel would have where there is a page or mapping of a kind that it does not know.
    OtherKernel,
}

impl Unseen {
    /// The short name that `--json` prints; a closed list.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FrameNumbers => "frame-numbers",
            Self::Exclusive => "exclusive",
            Self::ZeroPage => "zero-page",
            Self::Ksm => "ksm",
            Self::VmFlags => "vm-flags",
            Self::FileSize => "file-size",
            Self::FileSystem => "file-system",
            Self::Userfault => "userfault",
            Self::PageCache => "page-cache",
            Self::Contents => "contents",
            Self::Driver => "driver",
            Self::OtherKernel => "other-kernel",
        }
    }

    /// What was not seen and what would show it, for a person.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::FrameNumbers => "frame numbers (needs CAP_SYS_ADMIN)",
            Self::Exclusive => {
                "whether a page mapped once is exclusive, or was shared with a process now gone \
                 (needs CAP_SYS_ADMIN for /proc/kpageflags)"
            }
            Self::ZeroPage => "which pages are the zero page (needs PAGEMAP_SCAN, Linux 6.7)",
            Self::Ksm => "which pages were merged by KSM (needs CAP_SYS_ADMIN)",
            Self::VmFlags => "the flags of an area (its smaps file has no VmFlags line)",
            Self::FileSize => {
                "the size of a mapped file (needs its path, a descriptor of the process, or \
                 CAP_CHECKPOINT_RESTORE)"
            }
            Self::FileSystem => "the file system of a mapped file",
            Self::Userfault => "what the userfaultfd handler of an area would answer",
            Self::PageCache => {
                "which pages of a file are cached and not mapped (a userfaultfd hears of those)"
            }
            Self::Contents => "the last byte of the text (its page is not there to be looked at)",
            Self::Driver => "what the driver behind an area does where there is no page",
            Self::OtherKernel => {
                "what the program would have there on that kernel, which has no such memory"
            }
        }
    }
}
