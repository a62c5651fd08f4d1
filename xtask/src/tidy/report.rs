//! What tidy found, and how it says so.
//!
//! A *finding* fails the check; a *hint* does not.

use super::{engine, files, links, map, sizes, words};
use crate::repo;
use crate::rust_source::RustSource;
use anyhow::{Result, ensure};

/// A rule that is not kept, as one line that begins with the place.
pub(crate) type Finding = String;

/// The files that tidy looks at.
pub(crate) struct Tree {
    /// Every file's path.
    pub(crate) paths: Vec<String>,
    /// Every Rust file.
    pub(crate) rust: Vec<RustSource>,
}

impl Tree {
    /// Reads the repository.
    pub(crate) fn read() -> Result<Self> {
        let paths = repo::files()?;
        let mut rust = Vec::new();
        for path in paths.iter().filter(|path| repo::is_rust(path)) {
            rust.push(RustSource::new(path, repo::read(path)?));
        }
        Ok(Self { paths, rust })
    }
}

/// Everything that needs nothing but the files.
pub(crate) fn static_findings(tree: &Tree) -> Result<Vec<Finding>> {
    let mut found = sizes::findings(tree);
    found.extend(files::findings(tree)?);
    found.extend(words::findings(tree));
    found.extend(engine::findings(tree));
    found.extend(map::findings()?);
    found.extend(links::findings(tree));
    Ok(found)
}

/// The verb: prints hints and findings, and fails if there is a finding.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "tidy takes no argument");
    let tree = Tree::read()?;
    for hint in sizes::hints(&tree) {
        println!("hint: {hint}");
    }
    let mut found = static_findings(&tree)?;
    found.extend(map::staleness()?);
    for finding in &found {
        println!("{finding}");
    }
    ensure!(found.is_empty(), "{} findings", found.len());
    println!("tidy: {} files, nothing to say", tree.paths.len());
    Ok(())
}
