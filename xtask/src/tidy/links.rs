//! Links: what a document points to inside the repository is there.

use super::report::{Finding, Tree};
use crate::repo;
use std::path::Path;

/// Every finding of this kind.
pub(crate) fn findings(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for path in tree.paths.iter().filter(|path| is_document(path)) {
        let Ok(text) = repo::read(path) else { continue };
        let folder = repo::root().join(path);
        let folder = folder.parent().unwrap_or(Path::new(""));
        for (line, target) in links(&text) {
            if !folder.join(target).exists() {
                found.push(format!("{path}:{line}: `{target}` is not there"));
            }
        }
    }
    found
}

fn is_document(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "md")
}

/// The links to other files, without their anchors, and the lines (from 1) they stand in.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let targets = targets.map(|target| target.split('#').next().unwrap_or_default());
        let inside = targets.filter(|target| !target.is_empty() && !target.contains("://"));
        found.extend(inside.map(|target| (index + 1, target)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_elsewhere_or_inside_the_document_is_none_of_ours() {
        let text = "[a](x.md) [b](https://y)\n[c](z/w.md#part) [d](#here)\n";
        assert_eq!(links(text), [(1, "x.md"), (2, "z/w.md")]);
    }
}
