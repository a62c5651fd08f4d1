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

/// The file that has the setting for large folios of `size_kib`.
pub fn file_of(size_kib: u32) -> String {
    format!("/sys/kernel/mm/transparent_hugepage/hugepages-{size_kib}kB/enabled")
}

/// Sizes of large folios below a huge page that faults make everywhere, bit n for 2^n pages.
/// `text` is the setting of a size in KiB; where it inherits, `thp` counts. Sizes that only
/// `MADV_HUGEPAGE` brings are left out.
pub fn orders(thp: Thp, text: impl Fn(u32) -> String) -> u16 {
    let everywhere = |order: &u32| {
        let text = text(4 << order);
        let inherits = text.contains("[inherit]") && thp == Thp::Always;
        inherits || text.contains("[always]")
    };
    (2..=8).filter(everywhere).map(|order| 1 << order).sum()
}

#[cfg(test)]
mod tests {
    use super::{Thp, orders};

    #[test]
    fn sizes_that_are_made_everywhere_are_found() {
        let text = |size: u32| match size {
            16 => "always [inherit] madvise never\n".to_owned(),
            64 => "[always] inherit madvise never\n".to_owned(),
            128 => "always inherit [madvise] never\n".to_owned(),
            _ => "always inherit madvise [never]\n".to_owned(),
        };
        assert_eq!(orders(Thp::Madvise, text), 1 << 4);
        assert_eq!(orders(Thp::Always, text), 1 << 4 | 1 << 2);
        assert_eq!(orders(Thp::Always, |_| String::new()), 0, "Linux before 6.8");
    }

    #[test]
    fn the_word_in_brackets_counts() {
        assert_eq!(Thp::parse("always [madvise] never\n"), Thp::Madvise);
        assert_eq!(Thp::parse("[always] madvise never\n"), Thp::Always);
        assert_eq!(Thp::parse("always madvise [never]\n"), Thp::Never);
        assert_eq!(Thp::parse(""), Thp::Madvise);
    }
}
