//! The example in C is compiled with the header, linked with the static library, and run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The static library that cargo built with this program: the newest one beside it.
fn library() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let is_library = |path: &PathBuf| {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let ours = name.is_some_and(|name| name.starts_with("libgup_preflight"));
        ours && path.extension().is_some_and(|extension| extension == "a")
    };
    let entries = std::fs::read_dir(program.parent()?).ok()?.flatten();
    let found = entries.map(|entry| entry.path()).filter(is_library);
    found.max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok())
}

#[test]
fn the_example_in_c_is_built_and_says_what_would_work() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    if Command::new(&compiler).arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "cannot ask: there is no C compiler ({compiler})");
        return;
    }
    let library = library().expect("cargo builds the static library with the tests");
    let program = library.with_file_name("preflight-example");
    let built = Command::new(&compiler)
        .args(["-std=c99", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(here.join("examples/preflight.c"))
        .arg("-I")
        .arg(here.join("include"))
        .arg(&library)
        .args(["-lpthread", "-ldl", "-lm"])
        .output()
        .expect("the compiler runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let run = Command::new(&program).output().expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("a buffer of malloc: would work on"), "{said}");
    assert!(said.contains("read-only memory: Bad address (EFAULT at page 0"), "{said}");
}
