//! What this machine offers to programs, beyond what every machine has.

/// What can be drawn because the machine has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// Swap is on.
    pub swap: bool,
    /// Free pages in the pool of 2 MiB hugetlb pages.
    pub huge_pages: u64,
    /// `MADV_HUGEPAGE` gives huge pages.
    pub thp: bool,
    /// userfaultfd can be opened.
    pub userfaultfd: bool,
}

impl Means {
    /// Those of this machine, with its reasons for what it does not have.
    pub fn probe() -> (Self, Vec<String>) {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let swap = text("/proc/swaps").lines().count() > 1;
        let free = text("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
        let huge_pages = free.trim().parse().unwrap_or(0);
        let enabled = text("/sys/kernel/mm/transparent_hugepage/enabled");
        let thp = enabled.contains("[madvise]");
        let userfaultfd = crate::vectors::can_watch();
        let reasons = [
            (swap, "no swap is on: nothing is swapped out"),
            (huge_pages > 0, "no free 2 MiB page in the hugetlb pool: no hugetlb"),
            (thp, "transparent huge pages are not set to madvise: no huge pages"),
            (userfaultfd, "userfaultfd cannot be opened"),
        ];
        let missing = reasons.into_iter().filter(|(has, _)| !has);
        let reasons = missing.map(|(_, why)| why.to_owned()).collect();
        (Self { swap, huge_pages, thp, userfaultfd }, reasons)
    }
}

impl std::fmt::Display for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let yes = |has: bool, name: &str| if has { format!(", {name}") } else { String::new() };
        let huge = format!("{} huge pages", self.huge_pages);
        write!(
            f,
            "memory{}{}{}{}",
            yes(self.thp, "transparent huge pages"),
            yes(self.userfaultfd, "userfaultfd"),
            yes(self.swap, "swap"),
            yes(self.huge_pages > 0, &huge)
        )
    }
}
