//! The `VmFlags` line of smaps: the area's kernel flags as two-letter names.
//!
//! Names are kept as they come, so a flag of a newer kernel is not lost. Linux:
//! `fs/proc/task_mmu.c`.

use std::fmt;

/// The two-letter flags of one area, in the kernel's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmFlagNames(Vec<[u8; 2]>);

impl VmFlagNames {
    /// Reads the words of a `VmFlags` line; words that are not two letters are left out.
    pub fn parse(words: &str) -> Self {
        Self(words.split_whitespace().filter_map(|w| w.as_bytes().try_into().ok()).collect())
    }

    /// Whether the flag with this two-letter name is set.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|flag| flag == name.as_bytes())
    }

    /// The names, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|flag| std::str::from_utf8(flag).ok())
    }
}

impl fmt::Display for VmFlagNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::VmFlagNames;

    #[test]
    fn a_flag_that_this_version_does_not_know_is_kept() {
        let flags = VmFlagNames::parse("rd wr zz mr ");
        assert!(flags.has("zz") && flags.has("mr") && !flags.has("ex"));
        assert_eq!(flags.to_string(), "rd wr zz mr");
    }
}
