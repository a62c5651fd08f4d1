//! Words that the answers share: sizes and numbers.

/// A number of bytes without its sign, in the largest unit that divides it.
pub(super) fn size(bytes: i64) -> String {
    size_of(bytes.unsigned_abs())
}

/// A number of bytes, in the largest unit that divides it.
pub(super) fn size_of(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        n if n.is_multiple_of(1 << 30) => format!("{} GiB", n >> 30),
        n if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

/// A number and a noun.
pub(crate) fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
