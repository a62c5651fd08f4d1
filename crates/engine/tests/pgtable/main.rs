//! Page tables as their users see them: bits, walks, ranges, splits, failures, races.

mod bits;
mod edges;
mod machine;
mod model;
mod races;
mod ranges;
