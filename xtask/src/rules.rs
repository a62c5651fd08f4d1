//! `cargo xtask rules`: the pages of `docs/rules/`, as the command prints them.
//!
//! Absent: their text, which `gup rule` has.

use crate::repo;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The folder of the pages.
const PAGES: &str = "docs/rules";

/// The verb.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("rules takes --check or nothing"),
    };
    let fresh = repo::target().join("rules");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    let status = repo::cargo()
        .args(["run", "--quiet", "-p", "gup-cli", "--bin", "gup", "--", "rule", "--pages"])
        .arg(&fresh)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "`gup rule --pages` failed");
    let committed = repo::root().join(PAGES);
    if check {
        ensure!(pages(&fresh)? == pages(&committed)?, "{PAGES} is stale; run `cargo xtask rules`");
        return Ok(());
    }
    if committed.exists() {
        fs::remove_dir_all(&committed)?;
    }
    fs::create_dir_all(&committed)?;
    for (name, text) in pages(&fresh)? {
        fs::write(committed.join(name), text)?;
    }
    println!("wrote {PAGES}");
    Ok(())
}

/// The pages in `folder`, by name.
fn pages(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.insert(name, fs::read_to_string(entry.path())?);
    }
    Ok(found)
}
