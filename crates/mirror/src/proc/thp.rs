//! `/sys/kernel/mm/transparent_hugepage`: where faults make huge pages, and which large folios.
//!
//! Linux: `mm/huge_memory.c`, `Documentation/admin-guide/mm/transhuge.rst`.

/// Where faults make huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thp {
    /// Everywhere.
    Always,
    /// Where `MADV_HUGEPAGE` was given; also what is taken if the setting was not seen.
    #[default]
    Madvise,
    /// Nowhere.
    Never,
}

/// The file that has the setting.
pub const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

impl Thp {
    /// Reads the text of the file: the word in brackets counts.
    pub fn parse(text: &str) -> Self {
        let chosen = text.split(['[', ']']).nth(1);
        match chosen {
            Some("always") => Self::Always,
            Some("never") => Self::Never,
            Some(_) | None => Self::Madvise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Thp;

    #[test]
    fn the_word_in_brackets_counts() {
        assert_eq!(Thp::parse("always [madvise] never\n"), Thp::Madvise);
        assert_eq!(Thp::parse("[always] madvise never\n"), Thp::Always);
        assert_eq!(Thp::parse("always madvise [never]\n"), Thp::Never);
        assert_eq!(Thp::parse(""), Thp::Madvise);
    }
}
