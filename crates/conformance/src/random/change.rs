//! Simpler forms of an operation, for shrinking: every one is strictly simpler, so shrinking ends.

use crate::scenario::{At, Length, Op, Span, Sys, Touch};
use gup::addr::PAGE_SIZE;

/// Simpler forms of `op`, the simplest first.
pub(super) fn simpler(op: &Op) -> Vec<Op> {
    match op {
        Op::Sys { process, name, call } => {
            let op = |call| Op::Sys { process: process.clone(), name: name.clone(), call };
            calls(call).into_iter().map(op).collect()
        }
        Op::Ask { process, driver, span } => spans(span)
            .into_iter()
            .map(|span| Op::Ask { process: process.clone(), driver: *driver, span })
            .collect(),
        Op::Touch { process, span, touch } => {
            let op = |span, touch| Op::Touch { process: process.clone(), span, touch };
            let less = spans(span).into_iter().map(|span| op(span, *touch));
            let load = (*touch == Touch::Store).then(|| op(span.clone(), Touch::Load));
            less.chain(load).collect()
        }
        Op::Load { process, at, count } if *count > 1 => {
            vec![Op::Load { process: process.clone(), at: at.clone(), count: 1 }]
        }
        _ => Vec::new(),
    }
}

fn spans(span: &Span) -> Vec<Span> {
    let pages = span.len.pages();
    let (at, bytes) = (&span.at, |pages: u64| pages * PAGE_SIZE);
    let first = |pages| Span { at: at.clone(), len: Length::Pages(pages) };
    let last = |pages: u64, all: u64| Span {
        at: At { base: at.base.clone(), offset: at.offset.wrapping_add(bytes(all - pages)) },
        len: Length::Pages(pages),
    };
    match pages {
        0 | 1 => Vec::new(),
        2 => vec![first(1), last(1, 2)],
        more => {
            vec![first(1), last(1, more), first(more / 2), last(more / 2, more), first(more - 1)]
        }
    }
}

/// Lengths that are shorter, or whole pages where they were not.
fn lengths(bytes: u64) -> Vec<u64> {
    let whole = bytes & !(PAGE_SIZE - 1);
    let mut all =
        vec![PAGE_SIZE, (whole / 2) & !(PAGE_SIZE - 1), whole.saturating_sub(PAGE_SIZE), whole];
    all.retain(|shorter| *shorter < bytes && *shorter > 0);
    all.dedup();
    all
}

fn calls(call: &Sys) -> Vec<Sys> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Sys)| {
        let mut other = call.clone();
        change(&mut other);
        if other != *call {
            all.push(other);
        }
    };
    let bytes = match call {
        Sys::Mmap { bytes, .. }
        | Sys::Munmap { bytes, .. }
        | Sys::Mprotect { bytes, .. }
        | Sys::Madvise { bytes, .. }
        | Sys::Mlock { bytes, .. }
        | Sys::Munlock { bytes, .. }
        | Sys::Mseal { bytes, .. }
        | Sys::Mremap { old: bytes, .. } => *bytes,
        Sys::Brk { .. } => 0,
    };
    for shorter in lengths(bytes) {
        with(&|other| set_bytes(other, shorter));
        if bytes % PAGE_SIZE == 0 {
            with(&|other| {
                set_bytes(other, shorter);
                move_on(other, bytes - shorter);
            });
        }
    }
    match call {
        Sys::Mmap { flags, prot, .. } => {
            // From a file to anonymous memory, from rare flags to none, to reading and writing.
            if flags & 0x20 == 0 {
                let plain = flags & 0x13 | 0x20;
                with(&|other| {
                    if let Sys::Mmap { flags, file, .. } = other {
                        (*flags, *file) = (plain, None);
                    }
                });
            }
            if flags & !0x33 != 0 {
                let usual = flags & 0x33;
                with(&|other| {
                    if let Sys::Mmap { flags, .. } = other {
                        *flags = usual;
                    }
                });
            }
            if *prot != 3 && *prot != 0 {
                with(&|other| {
                    if let Sys::Mmap { prot, .. } = other {
                        *prot = 3;
                    }
                });
            }
        }
        Sys::Mremap { new, .. } => {
            for shorter in lengths(*new) {
                with(&|other| {
                    if let Sys::Mremap { new, .. } = other {
                        *new = shorter;
                    }
                });
            }
        }
        _ => {}
    }
    all
}

/// Sets the length; of mremap both, if they were the same.
fn set_bytes(call: &mut Sys, to: u64) {
    match call {
        Sys::Mmap { bytes, .. }
        | Sys::Munmap { bytes, .. }
        | Sys::Mprotect { bytes, .. }
        | Sys::Madvise { bytes, .. }
        | Sys::Mlock { bytes, .. }
        | Sys::Munlock { bytes, .. }
        | Sys::Mseal { bytes, .. } => *bytes = to,
        Sys::Mremap { old, new, .. } => {
            if *new == *old {
                *new = to;
            }
            *old = to;
        }
        Sys::Brk { .. } => {}
    }
}

fn move_on(call: &mut Sys, by: u64) {
    match call {
        Sys::Mmap { at, file, .. } => {
            at.offset = at.offset.wrapping_add(by);
            if let Some((.., offset)) = file {
                *offset = offset.wrapping_add(by);
            }
        }
        Sys::Munmap { at, .. }
        | Sys::Mprotect { at, .. }
        | Sys::Madvise { at, .. }
        | Sys::Mlock { at, .. }
        | Sys::Munlock { at, .. }
        | Sys::Mseal { at, .. } => at.offset = at.offset.wrapping_add(by),
        Sys::Mremap { at, to, .. } => {
            at.offset = at.offset.wrapping_add(by);
            to.offset = to.offset.wrapping_add(by);
        }
        Sys::Brk { .. } => {}
    }
}
