//! Where the repository is, which files it tracks, and how cargo is called in it.
//!
//! Paths are relative to the root and use `/`, as git prints them. Absent: any change of the tree.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository: the folder above this package.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Every file of the repository, sorted: what git tracks or would track. Where git cannot say (it
/// is not installed, or this is no checkout of its own), every file outside `target` and `.git`.
pub(crate) fn files() -> Result<Vec<String>> {
    let mut files = match listed_by_git() {
        Some(listed) => listed,
        None => found_below(&root(), "")?,
    };
    files.retain(|name| root().join(name).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

fn listed_by_git() -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.lines().map(str::to_owned).collect())
}

fn found_below(folder: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_dir() {
            found.push(format!("{prefix}{name}"));
        } else if name != "target" && name != ".git" {
            found.extend(found_below(&entry.path(), &format!("{prefix}{name}/"))?);
        }
    }
    Ok(found)
}

/// Whether a path names a Rust file.
pub(crate) fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// The text of one file of the repository.
pub(crate) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// Cargo, started in the root. The variables that an outer cargo sets for this package are left
/// out, so that nothing that it runs is rebuilt because of them.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_the_same_rust_files_are_found() {
        let Some(listed) = listed_by_git() else { return };
        let rust = |files: Vec<String>| {
            let mut rust: Vec<String> = files.into_iter().filter(|path| is_rust(path)).collect();
            rust.retain(|path| root().join(path).is_file());
            rust.sort();
            rust
        };
        assert_eq!(rust(listed), rust(found_below(&root(), "").unwrap()));
    }
}
