//! `cargo xtask no-std`: the engine needs no std.
//!
//! Two proofs. On any machine: `xtask/no-std-proof` is a program without std, with its own panic
//! handler and allocator, that links the engine; were std in the tree, the panic handler would be
//! there twice and the check fail. Where Debian's second toolchain (`rustc-web`, with the sources
//! of core and alloc) is installed: a build for bare-metal targets, for which no std exists.

use crate::repo;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

/// The program without std.
const PROOF: &str = "xtask/no-std-proof/Cargo.toml";
/// Bare-metal targets; the first one is built always, the others when asked.
const TARGETS: [&str; 3] =
    ["x86_64-unknown-none", "aarch64-unknown-none", "riscv64gc-unknown-none-elf"];
/// Debian's toolchain, beside whichever one is in use.
const SECOND_CARGO: &str = "/usr/bin/cargo";
/// See [`SECOND_CARGO`].
const SECOND_RUSTC: &str = "/usr/bin/rustc";
/// The sources of core and alloc that fit it.
const SECOND_SOURCES: &str = "/usr/lib/rustlib/src/rust/library";

/// Where it comes from.
const PACKAGES: &str = "Debian: rustc-web, cargo-web, rust-web-src";

/// The verb.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let targets = match arguments {
        [] => &TARGETS[..1],
        [flag] if flag == "--all-targets" => &TARGETS[..],
        _ => bail!("no-std takes --all-targets or nothing"),
    };
    host()?;
    if let Some(missing) = missing_second_toolchain() {
        println!("no-std: bare-metal targets skipped: no {missing} here ({PACKAGES})");
        return Ok(());
    }
    for target in targets {
        bare_metal(target)?;
    }
    Ok(())
}

fn host() -> Result<()> {
    let target = repo::target().join("no-std-proof");
    let status = repo::cargo()
        .args(["check", "--quiet", "--manifest-path", PROOF, "--target-dir"])
        .arg(target)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the engine does not link into a program without std");
    println!("no-std: the engine links into a program without std");
    Ok(())
}

fn missing_second_toolchain() -> Option<&'static str> {
    [SECOND_CARGO, SECOND_RUSTC, SECOND_SOURCES].into_iter().find(|path| !Path::new(path).exists())
}

fn bare_metal(target: &str) -> Result<()> {
    let status = Command::new(SECOND_CARGO)
        .args(["build", "--quiet", "-p", "gup", "-Zbuild-std=core,alloc", "--target", target])
        .arg("--target-dir")
        .arg(repo::target().join("bare-metal"))
        .env("RUSTC", SECOND_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(repo::root())
        .status()
        .context("cannot start the second cargo")?;
    ensure!(status.success(), "the engine does not build for {target}");
    println!("no-std: the engine builds for {target}");
    Ok(())
}
