//! What the reader must see through: literals, comments, nested functions, test parts.

use super::*;

fn source(text: &str) -> RustSource {
    RustSource::new("crates/x/src/a.rs", text.to_owned())
}

#[test]
fn braces_in_literals_and_comments_are_no_code() {
    let literals = "let s = \"}\"; let c = '{'; let l: &'static str = r#\"}\"}\"#; // }";
    let text = format!("fn a() {{\n    {literals}\n    /* }} /* }} */ */\n}}\nfn b() {{}}\n");
    let found: Vec<_> = source(&text).functions().into_iter().map(|f| (f.name, f.lines)).collect();
    assert_eq!(found, [("a".to_owned(), 1..=4), ("b".to_owned(), 5..=5)]);
}

#[test]
fn an_escaped_quote_ends_no_literal() {
    let file = source("fn a() { x('\\'', \"\\\"}\", b'\\\\'); }\n");
    assert_eq!(file.functions().len(), 1);
    assert_eq!(file.mask.len(), file.text.len());
}

#[test]
fn a_declared_function_and_a_function_type_have_no_body() {
    let file = source("trait T { fn a(&self) -> [u8; 4]; }\ntype F = fn(u8) -> u8;\n");
    assert_eq!(file.functions(), []);
}

#[test]
fn the_innermost_function_is_found_by_line() {
    let file = source("fn outer() {\n    fn inner() {\n        1;\n    }\n}\n");
    assert_eq!(file.function_around(3).as_deref(), Some("inner"));
    assert_eq!(file.function_around(5).as_deref(), Some("outer"));
    assert_eq!(file.function_around(6), None);
}

#[test]
fn lines_under_cfg_test_do_not_count() {
    let file = source("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
    assert_eq!(file.lines_without_tests(), 2);
    assert!(file.is_test_line(4) && !file.is_test_line(6));
}

#[test]
fn a_declared_test_file_hides_no_line_here() {
    let file = source("fn a() {}\n#[cfg(test)]\nmod tests;\nfn c() {\n}\n");
    assert_eq!(file.lines_without_tests(), 5);
    assert_eq!(file.declared_modules()[0][0], "crates/x/src/a/tests.rs");
}

#[test]
fn a_root_declares_its_neighbours() {
    let file = RustSource::new("crates/x/src/lib.rs", "mod a;\nmod b {}\n".to_owned());
    let places = file.declared_modules();
    assert_eq!(places, [["crates/x/src/a.rs".to_owned(), "crates/x/src/a/mod.rs".to_owned()]]);
}
