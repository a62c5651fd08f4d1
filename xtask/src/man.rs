//! `cargo xtask man`: the manual pages, as the command writes them.
//!
//! Absent: their text, which the command's arguments have.

use crate::repo;
use anyhow::{Context, Result, bail, ensure};

/// The verb.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let folder = match arguments {
        [] => repo::target().join("man"),
        [folder] => std::env::current_dir()?.join(folder),
        _ => bail!("man takes a folder or nothing"),
    };
    let status = repo::cargo()
        .args(["run", "--quiet", "-p", "gup-cli", "--bin", "gup", "--", "man"])
        .arg(&folder)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "`gup man` failed");
    println!("wrote {}: man {}/gup.1", folder.display(), folder.display());
    Ok(())
}
