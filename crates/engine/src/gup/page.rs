//! A page handed out, as C has it: a handle that must be given back.
//!
//! [`Page`] is the size of a pointer and owns nothing the compiler sees; [`crate::abi::put_page`]
//! gives its reference back. Rust programs use guards instead (`Pins`), which cannot be forgotten.

use crate::addr::Pfn;
use core::num::NonZeroU64;

/// One page with one reference (or pin) of the caller's. Frame 0 is never handed out, so
/// `Option<Page>` is 8 bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Page(NonZeroU64);

impl Page {
    /// The page in frame `pfn`; `None` for frame 0.
    #[inline]
    pub(crate) const fn from_pfn(pfn: Pfn) -> Option<Self> {
        match NonZeroU64::new(pfn.get()) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
    /// Its frame.
    #[inline]
    pub const fn pfn(&self) -> Pfn {
        Pfn::new(self.0.get())
    }
}
