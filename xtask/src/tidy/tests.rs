//! Tidy as a test: the repository keeps the rules that its files alone can show.

use super::report::{Tree, static_findings};

#[test]
fn the_repository_is_tidy() {
    let tree = Tree::read().unwrap();
    let found = static_findings(&tree).unwrap();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
