//! Page tables as their users see them: bits, walks, ranges, splits, failures.

mod machine;
mod ranges;
