//! Sizes: lines of a file, lines of a function, columns.
//!
//! Tests are exempt from the first two. Columns count everywhere, but where a line holds a link.

use super::report::{Finding, Tree};
use crate::rust_source::RustSource;

/// A file's limit in lines, tests not counted.
const FILE_LINES_MAX: usize = 700;
/// A file's wanted size in lines, tests not counted.
const FILE_LINES_WANTED: usize = 400;
/// A function's limit in lines.
const FUNCTION_LINES_MAX: usize = 70;
/// A line's limit in characters.
const COLUMNS_MAX: usize = 100;

/// Everything beyond a limit.
pub(crate) fn findings(tree: &Tree) -> Vec<Finding> {
    tree.rust
        .iter()
        .flat_map(|file| [long_file(file), long_functions(file), wide_lines(file)].concat())
        .collect()
}

/// Files beyond the wanted size but not beyond the limit.
pub(crate) fn hints(tree: &Tree) -> Vec<String> {
    let lines = |file: &RustSource| (file.path.clone(), file.lines_without_tests());
    tree.rust
        .iter()
        .map(lines)
        .filter(|&(_, lines)| lines > FILE_LINES_WANTED && lines <= FILE_LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines; {FILE_LINES_WANTED} are wanted"))
        .collect()
}

fn long_file(file: &RustSource) -> Vec<Finding> {
    let lines = file.lines_without_tests();
    let found = (lines > FILE_LINES_MAX).then(|| {
        format!("{}: {lines} lines without tests; {FILE_LINES_MAX} is the limit", file.path)
    });
    found.into_iter().collect()
}

fn long_functions(file: &RustSource) -> Vec<Finding> {
    let mut found = Vec::new();
    for function in file.functions() {
        let first = *function.lines.start();
        let lines = function.lines.count();
        if lines > FUNCTION_LINES_MAX && !file.is_test_line(first) {
            found.push(format!(
                "{}:{first}: `{}` has {lines} lines; {FUNCTION_LINES_MAX} is the limit",
                file.path, function.name
            ));
        }
    }
    found
}

fn wide_lines(file: &RustSource) -> Vec<Finding> {
    let wide = |line: &str| line.chars().count() > COLUMNS_MAX && !line.contains("https://");
    let found = file.text.lines().enumerate().filter(|(_, line)| wide(line));
    found
        .map(|(index, line)| {
            let columns = line.chars().count();
            format!("{}:{}: {columns} columns; {COLUMNS_MAX} is the limit", file.path, index + 1)
        })
        .collect()
}
