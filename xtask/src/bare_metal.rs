//! What builds for bare-metal targets: Debian's second toolchain, beside whichever one is in use.
//!
//! It comes with the sources of core and alloc, so that they can be built for any target. Linking
//! takes rust-lld, which rustup's toolchains have, or LLVM's. Absent: installing any of it.

use crate::repo;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const CARGO: &str = "/usr/bin/cargo";
const RUSTC: &str = "/usr/bin/rustc";
/// The sources of core and alloc that fit it.
const SOURCES: &str = "/usr/lib/rustlib/src/rust/library";
/// Where it comes from.
pub(crate) const PACKAGES: &str = "Debian: rustc-web, cargo-web, rust-web-src";

/// The first part of the toolchain that is not here.
pub(crate) fn missing() -> Option<&'static str> {
    [CARGO, RUSTC, SOURCES].into_iter().find(|path| !Path::new(path).exists())
}

/// Its cargo, about to build for `target` in the root.
pub(crate) fn build(target: &str) -> Command {
    let mut command = Command::new(CARGO);
    command
        .args(["build", "--quiet", "-Zbuild-std=core,alloc", "--target", target, "--target-dir"])
        .arg(repo::target().join("bare-metal"))
        .env("RUSTC", RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(repo::root());
    command
}

/// A linker for bare-metal targets.
pub(crate) fn linker() -> Result<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = String::from_utf8(output.context("cannot start rustc")?.stdout)?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib");
    let hosts = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    let bundled = hosts.map(|host| host.path().join("bin/rust-lld"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let installed = folders.iter().flat_map(|at| [at.join("rust-lld"), at.join("ld.lld")]);
    match bundled.chain(installed).find(|path| path.exists()) {
        Some(found) => Ok(found),
        None => bail!("no rust-lld or ld.lld here"),
    }
}
