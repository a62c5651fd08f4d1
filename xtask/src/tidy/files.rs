//! Files: headers, wiring, depth, and files that nothing declares.

use super::report::{Finding, Tree};
use crate::repo;
use crate::rust_source::RustSource;
use anyhow::Result;
use std::collections::{HashMap, HashSet};

/// Every finding of this kind.
pub(crate) fn findings(tree: &Tree) -> Result<Vec<Finding>> {
    let mut found: Vec<Finding> = tree.rust.iter().flat_map(of_one_file).collect();
    found.extend(dead_files(tree)?);
    Ok(found)
}

fn of_one_file(file: &RustSource) -> Vec<Finding> {
    let mut found = Vec::new();
    if !file.text.starts_with("//!") {
        found.push(format!("{}:1: the file has no `//!` header", file.path));
    }
    if is_wiring(&file.path) {
        let bodies = file.functions().into_iter().filter(|f| !file.is_test_line(*f.lines.start()));
        found.extend(bodies.map(|function| {
            let (line, name) = (function.lines.start(), &function.name);
            format!("{}:{line}: `{name}` has a body; this file only wires", file.path)
        }));
    }
    if depth_below_src(&file.path) > 2 {
        found.push(format!("{}: deeper than src/CONCEPT/PART.rs", file.path));
    }
    found
}

/// Whether a file may only declare and re-export.
fn is_wiring(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || (path.ends_with("/mod.rs") && path.contains("/src/"))
}

/// 0 for `src/a.rs`, 1 for `src/a/b.rs`; a part's own tests (`src/a/b/tests.rs`) are one deeper and
/// allowed.
fn depth_below_src(path: &str) -> usize {
    let below = path.split_once("/src/").map_or("", |(_, below)| below);
    below.matches('/').count()
        + usize::from(below.matches('/').count() == 2 && !below.ends_with("/tests.rs"))
}

/// Rust files that belong to no target: neither a crate root nor declared by a file that does.
fn dead_files(tree: &Tree) -> Result<Vec<Finding>> {
    let by_path: HashMap<&str, &RustSource> =
        tree.rust.iter().map(|f| (f.path.as_str(), f)).collect();
    let mut waiting: Vec<&str> = Vec::new();
    for manifest in tree.paths.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let folder = manifest.trim_end_matches("Cargo.toml");
        let named = named_targets(&repo::read(manifest)?);
        let is_root = |path: &&str| {
            let below = path.strip_prefix(folder);
            below
                .is_some_and(|below| is_automatic_target(below) || named.iter().any(|n| n == below))
        };
        waiting.extend(by_path.keys().copied().filter(is_root));
    }
    let mut alive: HashSet<&str> = HashSet::new();
    while let Some(path) = waiting.pop() {
        let Some(file) = by_path.get(path) else { continue };
        if !alive.insert(path) {
            continue;
        }
        for place in file.declared_modules().into_iter().flatten() {
            waiting.extend(by_path.get_key_value(place.as_str()).map(|(path, _)| *path));
        }
    }
    let dead = tree.rust.iter().filter(|file| !alive.contains(file.path.as_str()));
    Ok(dead.map(|file| format!("{}: nothing declares this file", file.path)).collect())
}

/// Whether cargo makes a target of this file, seen from its package's folder, without being told.
fn is_automatic_target(below: &str) -> bool {
    if matches!(below, "src/lib.rs" | "src/main.rs" | "build.rs") {
        return true;
    }
    ["src/bin/", "tests/", "benches/", "examples/"].iter().any(|folder| {
        below.strip_prefix(folder).is_some_and(|rest| match rest.split_once('/') {
            None => repo::is_rust(rest),
            Some((_, file)) => file == "main.rs",
        })
    })
}

/// The `path = "…"` entries of a manifest that name Rust files.
fn named_targets(manifest: &str) -> Vec<String> {
    let value =
        |line: &str| Some(line.trim().strip_prefix("path = \"")?.strip_suffix('"')?.to_owned());
    manifest.lines().filter_map(value).filter(|path| repo::is_rust(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_folder_is_one_target() {
        assert!(is_automatic_target("tests/rows/main.rs"));
        assert!(!is_automatic_target("tests/rows/check.rs"));
        assert!(is_automatic_target("tests/edits.rs"));
        assert!(!is_automatic_target("src/a.rs"));
    }

    #[test]
    fn folders_are_one_deep_and_a_parts_tests_two() {
        assert!(depth_below_src("crates/x/src/a/b.rs") <= 2);
        assert!(depth_below_src("crates/x/src/a/b/tests.rs") <= 2);
        assert!(depth_below_src("crates/x/src/a/b/c.rs") > 2);
    }
}
