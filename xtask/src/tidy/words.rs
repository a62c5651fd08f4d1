//! Words: what may not be left in the code, and what would tie the repository to one machine.

use super::report::{Finding, Tree};
use crate::repo;

/// Words that mean unfinished work. Written in two halves so that this file does not find itself.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/"), concat!("../sha", "red")];

/// The only registry that `Cargo.lock` may name.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Every finding of this kind.
pub(crate) fn findings(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in &tree.rust {
        found.extend(lines_with(&file.path, &file.text, &UNFINISHED, "left open"));
    }
    for path in &tree.paths {
        // What is no text (compressed vectors) is not read.
        let Ok(text) = repo::read(path) else { continue };
        if path.ends_with("Cargo.lock") {
            found.extend(other_registries(path, &text));
        } else {
            found.extend(lines_with(path, &text, &MACHINE_PATHS, "a machine's path"));
        }
        if path.contains(".cargo/config") && text.contains("[source") {
            found.push(format!("{path}: names a registry of one machine"));
        }
    }
    found
}

fn lines_with(path: &str, text: &str, words: &[&str], what: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(word) = words.iter().find(|word| line.contains(**word)) {
            found.push(format!("{path}:{}: {what}: `{word}`", index + 1));
        }
    }
    found
}

fn other_registries(path: &str, text: &str) -> Vec<Finding> {
    let sources = text.lines().filter_map(|line| line.strip_prefix("source = \""));
    let other = sources.filter(|source| source.trim_end_matches('"') != REGISTRY);
    other.map(|source| format!("{path}: a package comes from {source}")).collect()
}
