//! [`Facts`]: what a verdict needs of a kernel; and the versions that people write.

use gup::linux::{Kernel, Linux, Version};
use gup::rule::Rule;
use thiserror::Error;

/// What a verdict needs of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its rules; `None`: those of 6.18.
    pub kernel: Option<Kernel>,
    /// Whether `/proc/PID/mem` goes past an area's permissions.
    pub forced: Forced,
    /// Whether the pages were seen on it: then it has whatever they are, carried back or not.
    pub seen_on: bool,
}

/// Whether `/proc/PID/mem` goes past an area's permissions (`proc_mem.force_override`, row C-99).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forced {
    /// Yes, as it was before 6.12.
    #[default]
    Yes,
    /// No: this kernel was told not to, or only for debuggers.
    No,
}

/// The name under which a bundle keeps what was probed.
pub const PROBES: &str = "probes";
/// The word for [`Forced::No`].
const NOT_FORCED: &str = "not-forced";

impl Facts {
    /// The facts of the kernel of this version, as it was released.
    pub const fn released(version: Version) -> Self {
        Self { kernel: Some(Kernel::released(version)), forced: Forced::Yes, seen_on: false }
    }

    /// The facts of a kernel that calls itself `release`, with what [`Facts::probes`] wrote of it.
    pub fn kept(release: &str, probes: &str) -> Self {
        let version = parse(release).unwrap_or(Linux::V6_18.version());
        let mut facts = Self::released(version);
        let otherwise = probes.split_whitespace().filter_map(Rule::parse).collect();
        facts.kernel = Some(Kernel { version, otherwise });
        facts.seen_on = true;
        if probes.split_whitespace().any(|word| word == NOT_FORCED) {
            facts.forced = Forced::No;
        }
        facts
    }

    /// What was probed, as words: the rules that are there or not against the version.
    pub fn probes(&self) -> String {
        let rules = self.kernel.iter().flat_map(|kernel| &kernel.otherwise);
        let mut words: Vec<String> = rules.map(ToString::to_string).collect();
        if self.forced == Forced::No {
            words.push(NOT_FORCED.to_owned());
        }
        words.join(" ")
    }

    /// The version whose rules apply.
    pub fn version(&self) -> Version {
        self.kernel.as_ref().map_or(Linux::V6_18.version(), |kernel| kernel.version)
    }

    /// The kernel, where its rules are others than those of 6.18.
    pub(crate) fn older(&self) -> Option<Kernel> {
        let other = |kernel: &&Kernel| {
            kernel.version < Linux::V6_18.version() || !kernel.otherwise.is_empty()
        };
        self.kernel.as_ref().filter(other).cloned()
    }
}

/// The oldest kernel that is answered for.
const OLDEST: Version = Version(4, 4);
/// No kernel has a later first number yet.
const LAST_MAJOR: u16 = 9;

/// Why a text is no version that is answered for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadVersion {
    /// Not two numbers.
    #[error("{0:?} is no kernel version: give two numbers, such as 5.15 (or what uname -r prints)")]
    Text(String),
    /// Before the rules begin.
    #[error("Linux {0} is older than the rules that are known here, which begin with {OLDEST}")]
    TooOld(Version),
    /// There is no such kernel.
    #[error("there is no Linux {0} yet; the rules were measured on 6.18, and serve later ones too")]
    TooNew(Version),
}

/// Reads a version as people write it: `5.15`, `v5.15`, `5.15.0-91-generic`.
///
/// # Errors
/// [`BadVersion`].
pub fn parse(text: &str) -> Result<Version, BadVersion> {
    let bad = || BadVersion::Text(text.to_owned());
    let bare = text.strip_prefix('v').unwrap_or(text);
    let (major, rest) = bare.split_once('.').ok_or_else(bad)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (minor, tail) = rest.split_at(end);
    let tail_fits = tail.is_empty() || tail.starts_with(['.', '-', '+', '_']);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(major) || !digits(minor) || !tail_fits {
        return Err(bad());
    }
    let version = Version(major.parse().map_err(|_| bad())?, minor.parse().map_err(|_| bad())?);
    match version {
        old if old < OLDEST => Err(BadVersion::TooOld(old)),
        new if new.0 > LAST_MAJOR => Err(BadVersion::TooNew(new)),
        known => Ok(known),
    }
}

#[cfg(test)]
mod tests {
    use super::{BadVersion, Facts, Forced, parse};
    use gup::linux::{Kernel, Version};
    use gup::rule::c;

    #[test]
    fn versions_are_two_numbers_whatever_follows() {
        for (text, want) in [
            ("5.15", Version(5, 15)),
            ("v6.8", Version(6, 8)),
            ("5.15.0-91-generic", Version(5, 15)),
            ("6.1-rc3", Version(6, 1)),
            ("4.18.0-553.el8_10.x86_64", Version(4, 18)),
            ("7.0", Version(7, 0)),
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_was_probed_is_kept() {
        let kernel = Kernel { version: Version(5, 14), otherwise: vec![c::C_32, c::C_95] };
        let facts = Facts { kernel: Some(kernel), forced: Forced::No, seen_on: true };
        assert_eq!(facts.probes(), "C-32 C-95 not-forced");
        assert_eq!(Facts::kept("5.14.0-570.el9.x86_64", &facts.probes()), facts);
        let plain = Facts { seen_on: true, ..Facts::released(Version(6, 8)) };
        assert_eq!(Facts::kept("6.8.0", ""), plain);
    }

    #[test]
    fn what_is_no_version_is_said_to_be_none() {
        for text in ["", "5", "five", "5.", ".15", "5.15x", "-5.15", "5.x", "5.99999999"] {
            assert_eq!(parse(text), Err(BadVersion::Text(text.into())), "{text}");
        }
        assert_eq!(parse("3.10"), Err(BadVersion::TooOld(Version(3, 10))));
        assert_eq!(parse("15.4"), Err(BadVersion::TooNew(Version(15, 4))));
    }
}
