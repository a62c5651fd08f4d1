//! The running kernel's version, from `uname`.

use std::fmt;

/// The running kernel's version: `release` as it names itself, and its first two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelVersion {
    /// The whole release, such as `6.18.44-generic`.
    pub release: String,
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl KernelVersion {
    /// The version of the running kernel.
    pub fn running() -> Self {
        Self::parse(&rustix::system::uname().release().to_string_lossy())
    }

    /// Reads a release; numbers that are missing count as 0.
    pub fn parse(release: &str) -> Self {
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(|digits| digits.parse::<u32>().unwrap_or(0));
        let major = numbers.next().unwrap_or(0);
        let minor = numbers.next().unwrap_or(0);
        Self { release: release.to_owned(), major, minor }
    }

    /// Whether pagemap has no bit for guard regions, which there are since 6.13.
    pub(crate) const fn guards_need_a_scan(&self) -> bool {
        self.major == 6 && (self.minor == 13 || self.minor == 14)
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::KernelVersion;

    #[test]
    fn a_release_of_any_shape_gives_two_numbers() {
        for (release, want) in [("6.18.44-fc-v657", "6.18"), ("5.4", "5.4"), ("odd", "0.0")] {
            assert_eq!(KernelVersion::parse(release).to_string(), want, "{release}");
        }
    }
}
