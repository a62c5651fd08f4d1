//! Numbers that look random and are the same in every run.

use gup::pgtable::{Perms, Touch};

/// A xorshift generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    /// Permissions, of which most allow something.
    pub(crate) fn perms(&mut self) -> Perms {
        Perms {
            write: self.one_in(2),
            exec: self.one_in(2),
            protnone: self.one_in(6),
            young: self.one_in(2),
            dirty: self.one_in(3),
            special: self.one_in(5),
            uffd_wp: self.one_in(5),
            soft_dirty: self.one_in(2),
        }
    }
    /// An access.
    pub(crate) fn touch(&mut self) -> Touch {
        [Touch::Read, Touch::Write, Touch::Execute][self.below(3) as usize]
    }
}
