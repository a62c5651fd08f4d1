//! The engine's promises that its source shows: no std, no unsafe code.

use super::report::{Finding, Tree};

/// The engine's crate root.
const ENGINE: &str = "crates/engine/src/lib.rs";
/// What it must state.
const PROMISES: [&str; 2] = ["#![no_std]", "#![forbid(unsafe_code)]"];

/// Every finding of this kind.
pub(crate) fn findings(tree: &Tree) -> Vec<Finding> {
    let Some(root) = tree.rust.iter().find(|file| file.path == ENGINE) else {
        return vec![format!("{ENGINE}: not there")];
    };
    let missing = PROMISES.iter().filter(|promise| !root.mask.contains(**promise));
    missing.map(|promise| format!("{ENGINE}: does not state `{promise}`")).collect()
}
