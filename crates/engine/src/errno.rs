//! The errnos that leave the engine, by the kernel's names and values.
//!
//! Only [`crate::abi`] turns one into `-errno`. ERESTARTSYS is the kernel-internal value that
//! v4.4 returns for a pending SIGKILL (row A-13).

use core::fmt;

/// An error number of Linux.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $value:literal),* $(,)?) => {
        #[allow(missing_docs, reason = "the kernel's names say it")]
        impl Errno {
            $(pub const $name: Self = Self($value);)*
            /// Its name, such as `EFAULT`, or `E?` for a value without one here.
            pub const fn name(self) -> &'static str {
                match self.0 { $($value => stringify!($name),)* _ => "E?" }
            }
            /// The errno of that name, if the engine knows it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$name),)* _ => None }
            }
        }
    };
}

errnos! {
    EPERM = 1, ENOENT = 2, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, EBADF = 9, EAGAIN = 11,
    ENOMEM = 12, EACCES = 13, EFAULT = 14, EBUSY = 16, EEXIST = 17, ENODEV = 19, EINVAL = 22,
    ETXTBSY = 26, ENOSPC = 28, EMLINK = 31, ENOSYS = 38, EOVERFLOW = 75, EOPNOTSUPP = 95,
    EAFNOSUPPORT = 97, ENOBUFS = 105,
    EREMOTEIO = 121, EHWPOISON = 133, ERESTARTSYS = 512,
}

impl Errno {
    /// The errno with this (positive) value.
    pub const fn from_raw(value: i32) -> Self {
        Self(value)
    }
    /// Its value, positive.
    pub const fn raw(self) -> i32 {
        self.0
    }
    /// Its value as the kernel returns it, negative.
    pub const fn negated(self) -> i64 {
        -(self.0 as i64)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl core::error::Error for Errno {}
