//! The kernels that the rules are exact for.
//!
//! Claims are graded: 6.18 was measured on a running kernel, v4.4 was read from its source.
//! [`Kernel`] stands for any version: 6.18's form, with the rules that this version has.

use crate::rule::Rule;
use alloc::vec::Vec;

/// A kernel whose behaviour the engine reproduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Linux {
    /// v4.4: the form with `vmas` and `nonblocking`; rows A-… and N-….
    V4_4,
    /// 6.18: get, pin, long-term, fast; rows C-… and F-….
    V6_18,
}

/// A kernel version, as rules carry it in `since` and `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16, pub u16);

impl Linux {
    /// The version it stands for.
    pub const fn version(self) -> Version {
        match self {
            Self::V4_4 => Version(4, 4),
            Self::V6_18 => Version(6, 18),
        }
    }
}

/// A kernel by its version: which rules it has ([`Host::kernel`](crate::host::Host::kernel)).
///
/// Distributions carry rules to older kernels: `otherwise` names those that this kernel has
/// although its version says no, or lacks although it says yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The version that it gives itself.
    pub version: Version,
    /// Rules that are there, or not, against the version.
    pub otherwise: Vec<Rule>,
}

impl Kernel {
    /// The kernel of this version, as it was released.
    pub const fn released(version: Version) -> Self {
        Self { version, otherwise: Vec::new() }
    }

    /// Whether this kernel has `rule`.
    pub fn has(&self, rule: Rule) -> bool {
        rule.row().is_in(self.version) != self.otherwise.contains(&rule)
    }
}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}
