//! The function that C calls, and the struct that it fills.
//!
//! `include/gup_preflight.h` declares both; this file must say the same. The only unsafe code is
//! what C hands over: a name and a place for the answer. A panic does not leave the library: it is
//! an answer that could not be had.

use gup::errno::Errno;
use gup_mirror::consumer::Consumer;
use gup_mirror::preflight::{Preflight, preflight};
use gup_mirror::range::ByteRange;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::catch_unwind;

/// What a registration would come to, as the header has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The errno that the call would set; 0 if it would work.
    pub error: i32,
    /// Pages that the range touches.
    pub pages: u64,
    /// Number of the page that stops it, from 0; `u64::MAX` for none.
    pub stop_page: u64,
    /// Bytes by which `RLIMIT_MEMLOCK` is too small.
    pub memlock_short: u64,
    /// The rule that refuses.
    pub rule: [u8; 16],
    /// Why it fails, or why it could not be looked at.
    pub why: [u8; 256],
    /// What to do.
    pub instead: [u8; 256],
}

impl Answer {
    const EMPTY: Self = Self {
        error: 0,
        pages: 0,
        stop_page: u64::MAX,
        memlock_short: 0,
        rule: [0; 16],
        why: [0; 256],
        instead: [0; 256],
    };

    /// No answer, for this reason.
    fn none(why: &str) -> Self {
        Self { why: text(why), ..Self::EMPTY }
    }

    fn of(found: &Preflight) -> Self {
        let stop = found.verdict.stop.as_ref();
        Self {
            error: found.errno().map_or(0, Errno::raw),
            pages: found.verdict.nr_pages,
            stop_page: stop.map_or(u64::MAX, |stop| stop.index),
            memlock_short: found.memlock.shortfall(),
            rule: text(&stop.map_or(String::new(), |stop| stop.rule.to_string())),
            why: text(&found.why().unwrap_or_default()),
            instead: text(found.instead()),
        }
    }
}

/// `text` with a 0 byte at its end, cut to fit between two characters.
fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let fits = (0..N.min(text.len() + 1)).rev().find(|end| text.is_char_boundary(*end));
    let fits = fits.unwrap_or(0);
    bytes[..fits].copy_from_slice(&text.as_bytes()[..fits]);
    bytes
}

fn look(addr: u64, len: u64, consumer: &str) -> Result<Preflight, String> {
    let unknown = || format!("{consumer:?} is no consumer; `gup explain --help` lists them");
    let consumer = Consumer::from_name(consumer).ok_or_else(unknown)?;
    let range = ByteRange::new(addr, len).map_err(|bad| bad.to_string())?;
    preflight(&range, consumer).map_err(|reason| reason.to_string())
}

/// What `consumer` would get from `len` bytes at `addr` of this process: 0 if the call would work,
/// 1 if it would fail, -1 if it could not be looked at.
///
/// # Safety
/// `consumer` points to a string that ends with a 0 byte; `out` to a `struct gup_preflight` that
/// may be written and that nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gup_preflight(
    addr: *const c_void,
    len: usize,
    consumer: *const c_char,
    out: *mut Answer,
) -> c_int {
    let name = if consumer.is_null() {
        ""
    } else {
        // SAFETY: the caller's string ends with a 0 byte and lives until this call returns.
        unsafe { CStr::from_ptr(consumer) }.to_str().unwrap_or_default()
    };
    let (start, len) = (addr.addr() as u64, len as u64);
    let found = catch_unwind(|| look(start, len, name));
    let (status, answer) = match &found {
        Ok(Ok(found)) => (c_int::from(found.errno().is_some()), Answer::of(found)),
        Ok(Err(why)) => (-1, Answer::none(why)),
        Err(_) => (-1, Answer::none("gup itself failed; please report this")),
    };
    if out.is_null() {
        return -1;
    }
    // SAFETY: the caller gives a place for the answer that nobody else uses; it is not null.
    unsafe { out.write(answer) };
    status
}

#[cfg(test)]
mod tests {
    use super::{Answer, gup_preflight, text};

    #[test]
    fn the_struct_is_as_large_as_the_example_in_c_says() {
        assert_eq!(size_of::<Answer>(), 560);
    }

    #[test]
    fn texts_are_cut_between_characters_and_end_with_a_zero() {
        assert_eq!(text::<8>("abc"), *b"abc\0\0\0\0\0");
        assert_eq!(text::<4>("abcdef"), *b"abc\0");
        assert_eq!(text::<4>("ab\u{e4}c"), *b"ab\0\0");
    }

    #[test]
    fn a_name_that_is_no_consumer_is_no_answer() {
        let mut answer = Answer::EMPTY;
        // SAFETY: the name is a C string, the answer a local variable.
        let status =
            unsafe { gup_preflight(std::ptr::null(), 4096, c"nobody".as_ptr(), &raw mut answer) };
        assert_eq!((status, answer.error), (-1, 0));
        assert!(String::from_utf8_lossy(&answer.why).starts_with("\"nobody\" is no consumer"));
    }
}
