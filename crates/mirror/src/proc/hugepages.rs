//! How many free 2 MiB pages the machine's pool has, from `/sys/kernel/mm/hugepages`.
//!
//! Pages that some mapping was promised are among the free ones. Absent: who was promised them.

/// Free pages of the 2 MiB pool, and those of them that nobody was promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugePages {
    /// `free_hugepages`.
    pub free: u64,
    /// `resv_hugepages`.
    pub reserved: u64,
}

impl HugePages {
    /// The pool as it is now; a file that cannot be read counts as 0 pages.
    pub fn now() -> Self {
        Self { free: read("free_hugepages"), reserved: read("resv_hugepages") }
    }
    /// Pages that a mapping can take: all free ones if it was promised its pages, else the others.
    pub const fn for_mapping(self, promised: bool) -> u64 {
        if promised { self.free } else { self.free.saturating_sub(self.reserved) }
    }
}

fn read(name: &str) -> u64 {
    let path = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
