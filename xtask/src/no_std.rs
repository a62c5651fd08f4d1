//! `cargo xtask no-std`: the engine needs no std.
//!
//! Two proofs. On any machine: `xtask/no-std-proof` is a program without std, with its own panic
//! handler and allocator, that links the engine; were std in the tree, the panic handler would be
//! there twice and the check fail. Where Debian's second toolchain (`rustc-web`, with the sources
//! of core and alloc) is installed: a build for bare-metal targets, for which no std exists.

use crate::{bare_metal, repo};
use anyhow::{Context, Result, bail, ensure};

/// The program without std.
const PROOF: &str = "xtask/no-std-proof/Cargo.toml";
/// Bare-metal targets; the first one, which differs most from this machine (32 bits, no 64-bit
/// atomics), is built always, the others when asked.
const TARGETS: [&str; 4] = [
    "thumbv7m-none-eabi",
    "x86_64-unknown-none",
    "aarch64-unknown-none",
    "riscv64gc-unknown-none-elf",
];

/// The verb.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let targets = match arguments {
        [] => &TARGETS[..1],
        [flag] if flag == "--all-targets" => &TARGETS[..],
        _ => bail!("no-std takes --all-targets or nothing"),
    };
    host()?;
    if let Some(missing) = bare_metal::missing() {
        let packages = bare_metal::PACKAGES;
        println!("no-std: bare-metal targets skipped: no {missing} here ({packages})");
        return Ok(());
    }
    for target in targets {
        let status = bare_metal::build(target).args(["-p", "gup"]).status();
        let status = status.context("cannot start the second cargo")?;
        ensure!(status.success(), "the engine does not build for {target}");
        println!("no-std: the engine builds for {target}");
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
