//! v4.4's `FOLL_…` words, as `gup_flags` takes them.

#![allow(missing_docs, reason = "the kernel's names and values")]

pub const FOLL_WRITE: u32 = 0x01;
pub const FOLL_TOUCH: u32 = 0x02;
pub const FOLL_GET: u32 = 0x04;
pub const FOLL_DUMP: u32 = 0x08;
pub const FOLL_FORCE: u32 = 0x10;
pub const FOLL_NOWAIT: u32 = 0x20;
pub const FOLL_POPULATE: u32 = 0x40;
pub const FOLL_SPLIT: u32 = 0x80;
pub const FOLL_HWPOISON: u32 = 0x100;
pub const FOLL_NUMA: u32 = 0x200;
pub const FOLL_MIGRATION: u32 = 0x400;
pub const FOLL_TRIED: u32 = 0x800;
pub const FOLL_MLOCK: u32 = 0x1000;
