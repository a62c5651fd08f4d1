//! `cargo xtask package`: the command as one file that needs no library, and a `.deb` of it.
//!
//! The file is linked with musl where rustup has that target, else with the C library's static
//! form. The `.deb` also has the manual's pages and the shells' completions, as that file writes
//! them. What is made lies in `target/package`. Absent: signing, uploading.

use crate::repo;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The verb.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "package takes no argument");
    let folder = repo::target().join("package");
    fs::create_dir_all(&folder)?;
    let arch = std::env::consts::ARCH;
    let version = version()?;
    let built = build(arch)?;
    let elf = fs::read(&built).with_context(|| built.display().to_string())?;
    ensure!(is_static(&elf), "{} needs a library", built.display());
    let binary = folder.join(format!("gup-{version}-{arch}-linux"));
    fs::copy(&built, &binary)?;
    let told = Command::new(&binary).arg("--version").output()?;
    ensure!(told.status.success(), "{} does not run", binary.display());
    println!("{} ({} KiB)", binary.display(), elf.len() / 1024);
    match deb(&folder, &binary, arch, &version)? {
        Some(deb) => println!("{}", deb.display()),
        None => println!("no .deb: there is no dpkg-deb here"),
    }
    Ok(())
}

/// The version of the workspace.
fn version() -> Result<String> {
    let manifest = fs::read_to_string(repo::root().join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"')).context("Cargo.toml: no version")?;
    Ok(version.to_owned())
}

/// Builds the command for `arch` without libraries; where it is.
fn build(arch: &str) -> Result<PathBuf> {
    let musl = format!("{arch}-unknown-linux-musl");
    let mut cargo = repo::cargo();
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    let target = if has_target(&musl)? {
        musl
    } else {
        println!("rustup has no {musl} here (`rustup target add {musl}`): linked with glibc");
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
        format!("{arch}-unknown-linux-gnu")
    };
    let status = cargo
        .args(["build", "--quiet", "--release", "-p", "gup-cli", "--bin", "gup", "--target"])
        .arg(&target)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "cargo could not build gup for {target}");
    Ok(repo::target().join(target).join("release/gup"))
}

/// Whether there is a standard library for `target`.
fn has_target(target: &str) -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(repo::root())
        .output()
        .context("cannot start rustc")?;
    let folder = String::from_utf8(told.stdout)?;
    Ok(told.status.success() && Path::new(folder.trim()).is_dir())
}

/// Whether a 64-bit ELF file asks for no interpreter, which would load libraries.
fn is_static(elf: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, len: usize| {
        let bytes = elf.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0_usize, |n, byte| n << 8 | usize::from(*byte)))
    };
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2))
    else {
        return false;
    };
    let kinds = (0..count).map(|i| number(table.saturating_add(i * size), 4));
    elf.starts_with(b"\x7fELF\x02\x01")
        && kinds.into_iter().all(|kind| kind.is_some_and(|kind| kind != INTERPRETER as usize))
}

/// Makes the package of `binary`; `None` where the tool for it is missing.
fn deb(folder: &Path, binary: &Path, arch: &str, version: &str) -> Result<Option<PathBuf>> {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        return Ok(None);
    }
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let tree = folder.join("deb");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for (from, to, mode) in contents(binary)? {
        put(&from, &tree.join(to), mode)?;
    }
    put_told_by(binary, &tree)?;
    let kib = fs::metadata(binary)?.len().div_ceil(1024) + 64;
    fs::create_dir_all(tree.join("DEBIAN"))?;
    fs::write(tree.join("DEBIAN/control"), control(arch, version, kib))?;
    let copyright = tree.join("usr/share/doc/gup/copyright");
    fs::write(&copyright, copyright_file()?)?;
    let deb = folder.join(format!("gup_{version}_{arch}.deb"));
    let status = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .args([&tree, &deb])
        .stdout(std::process::Stdio::null())
        .status()?;
    ensure!(status.success(), "dpkg-deb could not build {}", deb.display());
    Ok(Some(deb))
}

/// Files of the package: from where, to where, with which mode.
fn contents(binary: &Path) -> Result<Vec<(PathBuf, String, u32)>> {
    let mut contents = vec![(binary.to_owned(), "usr/bin/gup".to_owned(), 0o755)];
    for name in repo::files()? {
        let is_page = Path::new(&name).extension().is_some_and(|extension| extension == "md");
        let to = match name.rsplit_once('/') {
            Some(("docs", page)) if is_page => page,
            None if ["README.md", "CHANGELOG.md"].contains(&&*name) => &name,
            _ => continue,
        };
        let to = format!("usr/share/doc/gup/{to}");
        contents.push((repo::root().join(&name), to, 0o644));
    }
    Ok(contents)
}

/// Puts the manual's pages and the completions, as `binary` writes them, where Debian looks.
fn put_told_by(binary: &Path, tree: &Path) -> Result<()> {
    let shells = [
        ("bash", "usr/share/bash-completion/completions/gup"),
        ("zsh", "usr/share/zsh/vendor-completions/_gup"),
        ("fish", "usr/share/fish/vendor_completions.d/gup.fish"),
    ];
    for (shell, to) in shells {
        let told = Command::new(binary).args(["completions", shell]).output()?;
        ensure!(told.status.success(), "`gup completions {shell}` failed");
        let to = tree.join(to);
        fs::create_dir_all(to.parent().unwrap_or(tree))?;
        fs::write(to, told.stdout)?;
    }
    let pages = tree.join("usr/share/man/man1");
    fs::create_dir_all(&pages)?;
    let status = Command::new(binary).arg("man").arg(&pages).status()?;
    ensure!(status.success(), "`gup man` failed");
    Ok(())
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn control(arch: &str, version: &str, kib: u64) -> String {
    format!(
        "\
Package: gup
Version: {version}
Architecture: {arch}
Maintainer: the gup authors <gup@localhost>
Section: devel
Priority: optional
Installed-Size: {kib}
Description: what a pin would do on a live process, and why it fails
 gup shows page by page what get_user_pages and pin_user_pages would do on a
 live process: which page stops io_uring, RDMA, VFIO, O_DIRECT or ptrace, by
 which rule of Linux, since which kernel, and what to do about it. It reads
 /proc only and never touches the pages of the process.
"
    )
}

fn copyright_file() -> Result<String> {
    let read = |name: &str| fs::read_to_string(repo::root().join(name));
    let (mit, apache) = (read("LICENSE-MIT")?, read("LICENSE-APACHE")?);
    Ok(format!("gup may be used under either of the licences below.\n\n{mit}\n\n{apache}"))
}

#[cfg(test)]
mod tests {
    use super::{control, is_static};

    /// A 64-bit ELF header with program headers of these kinds.
    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            file.extend(kind.to_le_bytes());
            file.extend([0; 52]);
        }
        file
    }

    #[test]
    fn a_file_that_asks_for_an_interpreter_is_not_static() {
        assert!(is_static(&elf(&[1, 2])));
        assert!(!is_static(&elf(&[1, 3])));
        assert!(!is_static(&elf(&[1])[..66]), "cut off");
        assert!(!is_static(b"#!/bin/sh"));
    }

    #[test]
    fn the_control_file_has_one_field_a_line_and_ends_with_a_newline() {
        let text = control("amd64", "0.1.0", 9);
        let fields = text.lines().filter(|line| !line.starts_with(' '));
        assert!(fields.clone().all(|line| line.contains(": ")) && fields.count() == 8);
        assert!(text.ends_with(".\n") && text.contains("\nInstalled-Size: 9\n"));
    }
}
