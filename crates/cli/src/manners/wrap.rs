//! Lines for a person, no wider than the terminal: broken between words, and continued under the
//! beginning of their text.
//!
//! A *label* is what stands before a column of text, as in `  because   …`. What goes to a pipe or
//! a file is left as it is: programs read lines. Escape sequences take no room.

use rustix::fd::AsFd;
use rustix::termios;
use std::io::{self, IsTerminal, Write};

/// The narrowest width for which lines are broken.
const NARROWEST: usize = 40;

/// The columns of the terminal that `stream` is; `None` if it is none, or does not say.
pub(crate) fn width_of(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let size = termios::tcgetwinsize(stream).ok().filter(|_| stream.is_terminal())?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns >= NARROWEST)
}

/// A writer that breaks lines.
pub(crate) struct Wrapping<'a, W: Write> {
    out: &'a mut W,
    width: Option<usize>,
    line: Vec<u8>,
}

impl<'a, W: Write> Wrapping<'a, W> {
    /// Breaks lines at `width` columns (`None`: nowhere).
    pub(crate) const fn new(out: &'a mut W, width: Option<usize>) -> Self {
        Self { out, width, line: Vec::new() }
    }

    /// Writes what there is of a last line.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.end_line(b"")
    }

    fn end_line(&mut self, end: &[u8]) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        match (self.width, std::str::from_utf8(&line)) {
            (Some(width), Ok(text)) => self.out.write_all(folded(text, width).as_bytes())?,
            _ => self.out.write_all(&line)?,
        }
        self.out.write_all(end)
    }
}

impl<W: Write> Write for Wrapping<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, end) =
                part.strip_suffix(b"\n").map_or((part, None), |text| (text, Some(())));
            self.line.extend_from_slice(text);
            if end.is_some() {
                self.end_line(b"\n")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Columns that `text` takes: escape sequences take none.
fn columns(text: &str) -> usize {
    let mut count = 0;
    let mut escape = false;
    for character in text.chars() {
        match (escape, character) {
            (false, '\u{1b}') => escape = true,
            (false, _) => count += 1,
            (true, 'm') => escape = false,
            (true, _) => {}
        }
    }
    count
}

/// Where the continuation of `line` begins: under its text.
fn hanging(line: &str) -> usize {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let rest = &line[indent..];
    if rest.starts_with("- ") {
        return indent + 2;
    }
    let gap = rest.find("  ").filter(|at| *at > 0 && columns(&rest[..*at]) <= 12);
    match gap {
        Some(at) if indent > 0 => {
            let spaces = rest[at..].len() - rest[at..].trim_start_matches(' ').len();
            indent + columns(&rest[..at]) + spaces
        }
        _ => indent + 2,
    }
}

/// `line` with breaks so that none of its parts is wider than `width`, if its words allow.
fn folded(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let hang = hanging(line);
    let hang = if hang + NARROWEST / 2 > width { 2 } else { hang };
    let (mut text, mut used, mut begun) = (String::new(), 0, false);
    for word in line.split_inclusive(' ') {
        let room = columns(word.trim_end_matches(' '));
        if begun && room > 0 && used + room > width {
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', hang));
            used = hang;
        }
        begun |= room > 0;
        text.push_str(word);
        used += columns(word);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Wrapping, columns, folded};
    use std::io::Write;

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
        let lines = [
            "  because   a long-term write pin of a shared file that tracks dirty pages    C-32",
            "  - permission to trace the process (kernel.yama.ptrace_scope), and the local buffers",
            "io-uring-buffer, 16 pages at 0x7f12a4c00000 of postgres (4321), Linux 6.18, and more",
            "  \u{1b}[1mwould fail with EFAULT\u{1b}[0m at page 5, 0x7f12a4c05000, this is long",
        ];
        for line in lines {
            for width in [40, 50, 60] {
                let text = folded(line, width);
                assert!(text.lines().all(|line| columns(line) <= width), "{width}: {text}");
                let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
                assert_eq!(words(&text), words(line));
                assert!(text.lines().count() > 1);
            }
            assert_eq!(folded(line, 200), line, "what fits stays");
        }
    }

    #[test]
    fn a_line_is_continued_under_its_text() {
        let text = folded("  because   one two three four five six seven eight nine ten", 40);
        let begins: Vec<_> =
            text.lines().map(|line| line.len() - line.trim_start().len()).collect();
        assert_eq!(begins, [2, 12]);
        let text = folded("  - one two three four five six seven eight nine ten eleven", 40);
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("    eight")), "{text}");
    }

    #[test]
    fn a_word_that_is_wider_than_the_terminal_stays_whole() {
        let path = "/".repeat(90);
        assert!(folded(&format!("  mapping   {path} end"), 40).contains(&path));
    }

    #[test]
    fn without_a_width_bytes_pass_as_they_are() {
        let mut out = Vec::new();
        let mut wrapping = Wrapping::new(&mut out, None);
        let text = format!("{}\n\n{}", "word ".repeat(50), "end without a line");
        wrapping.write_all(text.as_bytes()).unwrap();
        wrapping.finish().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
