//! Asking the running kernel: one system call about one range of one subject.
//!
//! A *driver* ([`driver`]) is a system call that pins. Some are made by the asking process
//! ([`remote`]), some only by the process whose memory it is ([`inside`]). The answer is the return
//! value and the errno, and for calls that are made page by page a mask of the pages that worked.

pub mod answer;
mod cmdline;
pub(crate) mod core;
pub mod driver;
mod guest;
pub(crate) mod inside;
pub(crate) mod remote;
pub(crate) mod ring;
mod udmabuf;
pub(crate) mod uprobe;

pub use inside::ask_inside;
pub use remote::ask_remote;
