//! A Rust file, read just well enough to measure it: code without comments and literals, functions,
//! test parts.
//!
//! It relies on rustfmt's output and on code that compiles; it does not expand macros. The *mask*
//! of a file has the same bytes and lines with comments and literals blanked, so that braces and
//! words found there are code.

use std::ops::RangeInclusive;

/// A Rust file and its mask.
pub(crate) struct RustSource {
    /// Path below the repository's root.
    pub(crate) path: String,
    /// The text as it is.
    pub(crate) text: String,
    /// The text with comments and literals blanked. Invariant: as many bytes and lines as `text`.
    pub(crate) mask: String,
    /// The lines (from 1) of parts under `#[cfg(test)]`.
    tests: Vec<RangeInclusive<usize>>,
}

/// A function with a body, or any other piece of code that begins with `fn NAME`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Its lines, from 1, from `fn` to the closing brace.
    pub(crate) lines: RangeInclusive<usize>,
}

impl RustSource {
    /// Reads a file's text.
    pub(crate) fn new(path: &str, text: String) -> Self {
        let mask = mask(&text);
        let tests = test_parts(&mask);
        Self { path: path.to_owned(), text, mask, tests }
    }

    /// Whether the whole file is test or example code.
    pub(crate) fn is_test_file(&self) -> bool {
        let folder = |name: &str| self.path.split('/').any(|part| part == name);
        folder("tests") || folder("benches") || self.path.ends_with("/tests.rs")
    }

    /// Whether a line (from 1) is test code.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.tests.iter().any(|part| part.contains(&line))
    }

    /// The number of lines that are not test code.
    pub(crate) fn lines_without_tests(&self) -> usize {
        (1..=self.text.lines().count()).filter(|&line| !self.is_test_line(line)).count()
    }

    /// Every function that has a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        words(&self.mask)
            .filter(|(_, word)| *word == "fn")
            .filter_map(|(at, _)| function_at(&self.mask, at))
            .collect()
    }

    /// The name of the innermost function that holds a line (from 1).
    pub(crate) fn function_around(&self, line: usize) -> Option<String> {
        let around = self.functions().into_iter().filter(|f| f.lines.contains(&line));
        around.min_by_key(|f| f.lines.end() - f.lines.start()).map(|f| f.name)
    }

    /// The files that this one declares with `mod NAME;`, as the paths at which each may lie.
    pub(crate) fn declared_modules(&self) -> Vec<Vec<String>> {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = file.trim_end_matches(".rs");
        // A file that is a crate's or folder's root declares its neighbours; another one, files in
        // its own folder.
        let is_root = matches!(stem, "lib" | "main" | "mod") || is_target_folder(folder);
        let below = if is_root { folder.to_owned() } else { format!("{folder}/{stem}") };
        let mut found = Vec::new();
        for (at, _) in words(&self.mask).filter(|(_, word)| *word == "mod") {
            let rest = self.mask[at + 3..].trim_start();
            let name: String = rest.chars().take_while(|&c| is_word(c)).collect();
            if !rest[name.len()..].trim_start().starts_with(';') {
                continue;
            }
            let mut places = vec![format!("{below}/{name}.rs"), format!("{below}/{name}/mod.rs")];
            places.extend(self.path_attribute_before(at).map(|path| format!("{folder}/{path}")));
            found.push(places);
        }
        found
    }

    /// The `x` of a `#[path = "x"]` on the line before the one that holds byte `at`.
    fn path_attribute_before(&self, at: usize) -> Option<&str> {
        let line_start = self.text[..at].rfind('\n')?;
        let previous = self.text[..line_start].rsplit('\n').next()?;
        previous.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]")
    }
}

/// Whether files directly in this folder are crate roots of their own.
fn is_target_folder(folder: &str) -> bool {
    ["tests", "benches", "examples", "src/bin"].iter().any(|name| folder.ends_with(name))
}

/// Whether a character can stand in a word of code.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words of a mask with their byte positions.
pub(crate) fn words(mask: &str) -> impl Iterator<Item = (usize, &str)> {
    mask.split(|c: char| !is_word(c))
        .map(|word| (word.as_ptr() as usize - mask.as_ptr() as usize, word))
        .filter(|(_, word)| !word.is_empty())
}

/// The line, from 1, that holds byte `at`.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].bytes().filter(|&byte| byte == b'\n').count() + 1
}

/// The function whose `fn` stands at byte `at`, if it has a name and a body.
fn function_at(mask: &str, at: usize) -> Option<Function> {
    let rest = mask[at + 2..].trim_start();
    let name: String = rest.chars().take_while(|&c| is_word(c)).collect();
    if name.is_empty() {
        return None;
    }
    let open = body_start(mask, at)?;
    let close = matching_brace(mask, open)?;
    Some(Function { name, lines: line_of(mask, at)..=line_of(mask, close) })
}

/// The first `{` after `at` that is outside parentheses and brackets, unless a `;` comes before it.
fn body_start(mask: &str, at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in mask[at..].bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(at + offset),
            _ => {}
        }
    }
    None
}

/// The brace that closes the one at `open`.
fn matching_brace(mask: &str, open: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in mask[open..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(open + offset);
        }
    }
    None
}

/// The lines of every item under `#[cfg(test)]` that has a body here.
fn test_parts(mask: &str) -> Vec<RangeInclusive<usize>> {
    let starts = mask.match_indices("#[cfg(test)]").map(|(at, _)| at);
    let part = |at: usize| {
        let close = matching_brace(mask, body_start(mask, at + "#[cfg(test)]".len())?)?;
        Some(line_of(mask, at)..=line_of(mask, close))
    };
    starts.filter_map(part).collect()
}

/// The text with comments and the insides of literals blanked, newlines kept.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skipped(text, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    // Only whole characters were blanked (see `skipped`), so this is UTF-8 still.
    String::from_utf8(out).unwrap_or_default()
}

/// The end of the comment or literal that begins at `at`, or `at` itself where code goes on.
fn skipped(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment_length(rest),
        [b'"', ..] => at + string_length(&text.as_bytes()[..at], rest),
        [b'\'', ..] => at + char_length(&text[at..]),
        _ => at,
    }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string literal that `rest` begins with; `before` tells whether it is a raw
/// one.
fn string_length(before: &[u8], rest: &[u8]) -> usize {
    let hashes = before.iter().rev().take_while(|&&b| b == b'#').count();
    let raw = before.len() > hashes && before[before.len() - hashes - 1] == b'r';
    if raw {
        let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
        let inside = rest[1..].windows(end.len()).position(|window| window == end);
        return inside.map_or(rest.len(), |inside| 1 + inside + end.len());
    }
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of the character literal that `rest` begins with, or 0 if the quote begins a
/// lifetime.
fn char_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    let Some((_, first)) = chars.next() else { return 0 };
    if first == '\\' {
        let escaped = chars.next().map_or(rest.len(), |(at, c)| at + c.len_utf8());
        return rest[escaped..].find('\'').map_or(rest.len(), |quote| escaped + quote + 1);
    }
    match chars.next() {
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
