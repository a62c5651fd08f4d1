//! A scenario's text as a [`Program`]: the machine first, then a line for each step.
//!
//! One operation a line; `#` begins a comment, and a comment of its own tells the story of the next
//! step. Absent: what a process does ([`super::verbs`]), what is expected
//! ([`super::wishes`]). The language is described in `scenarios/README.md`.

use super::cursor::Cursor;
use super::mistake::Mistake;
use super::program::{Cached, FileSort, FileSpec, Op, Program, Setup, Step};
use super::scope::Scope;
use super::{grabs, verbs, wishes};
use gup::addr::PAGE_SIZE;
use gup::linux::Linux;

/// The most memory that a scenario may ask for, in frames: 4 GiB.
const FRAMES_MAX: u64 = 1 << 20;
/// The most pages that are looked at after each step.
const WATCH_MAX: u64 = 1 << 16;

/// Reads a scenario.
/// # Errors
/// The first mistake in it.
pub fn parse(text: &str) -> Result<Program, Mistake> {
    let mut parser = Parser::default();
    for (index, line) in text.lines().enumerate() {
        parser.line(u32::try_from(index.saturating_add(1)).unwrap_or(u32::MAX), line)?;
    }
    let Parser { setup, steps, story, .. } = parser;
    Ok(Program { setup, steps, epilogue: story })
}

/// Reads a scenario from bytes, which must be UTF-8.
/// # Errors
/// The first mistake in it.
pub fn parse_bytes(bytes: &[u8]) -> Result<Program, Mistake> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            let text = good.rsplit('\n').next().unwrap_or("").to_owned();
            let count = |number: usize| u32::try_from(number.saturating_add(1)).unwrap_or(u32::MAX);
            Err(Mistake {
                line: count(good.matches('\n').count()),
                column: count(text.chars().count()),
                expected: "text in UTF-8".into(),
                found: format!("byte {:#04x}", bytes.get(error.valid_up_to()).unwrap_or(&0)),
                text,
            })
        }
    }
}

#[derive(Default)]
struct Parser {
    setup: Setup,
    scope: Scope,
    steps: Vec<Step>,
    story: Vec<String>,
}

impl Parser {
    fn line(&mut self, number: u32, text: &str) -> Result<(), Mistake> {
        if let Some(comment) = text.trim_start().strip_prefix('#') {
            self.story.push(comment.strip_prefix(' ').unwrap_or(comment).trim_end().to_owned());
            return Ok(());
        }
        let mut cursor = Cursor::new(number, text)?;
        if cursor.is_done() {
            return Ok(());
        }
        if self.header(&mut cursor)? {
            return cursor.end();
        }
        let op = self.operation(&mut cursor)?;
        let expect = wishes::after_arrow(&mut cursor)?;
        cursor.end()?;
        let story = std::mem::take(&mut self.story);
        self.steps.push(Step { line: number, text: cursor.source(), story, op, expect });
        Ok(())
    }

    /// A line about the machine; whether it was one.
    fn header(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, Mistake> {
        const WORDS: [&str; 8] =
            ["linux", "memory", "quirk", "nommu", "thp", "swap", "hugepages", "watch"];
        let known = cursor.peek_word().is_some_and(|word| WORDS.contains(&word));
        if !known || cursor.is_sign(1, ':') {
            return Ok(false);
        }
        if !self.steps.is_empty() {
            return Err(cursor.mistake("a step: the machine is described before the first one"));
        }
        let setup = &mut self.setup;
        let word = cursor.word("a word")?;
        match word.as_str() {
            "linux" => {
                setup.linux =
                    cursor.one_of("a kernel", &[("4.4", Linux::V4_4), ("6.18", Linux::V6_18)])?;
            }
            "memory" => setup.frames = frames(cursor)?,
            "quirk" => setup.dirty_cow = cursor.one_of("a defect", &[("dirty-cow", true)])?,
            "nommu" => setup.nommu = true,
            "thp" => setup.thp_always = cursor.one_of("when", &[("always", true)])?,
            "swap" => setup.swap_pages = frames(cursor)?,
            "watch" => {
                let start = cursor.number("an address")?;
                let pages = cursor.length()?.pages();
                if start % PAGE_SIZE != 0 || pages == 0 || pages > WATCH_MAX {
                    return Err(cursor.mistake_before("1 to 65536 whole pages"));
                }
                setup.watch.push((start, pages));
            }
            _ => {
                let count = cursor.number("a number of 2 MiB pages")?;
                if count > FRAMES_MAX / 512 {
                    return Err(cursor.mistake_before("at most 2048 huge pages"));
                }
                setup.huge_pages = count;
            }
        }
        Ok(true)
    }

    fn operation(&mut self, cursor: &mut Cursor<'_>) -> Result<Op, Mistake> {
        let scope = &mut self.scope;
        if let Some(name) = cursor.peek_word().map(str::to_owned)
            && cursor.is_sign(1, ':')
        {
            let (process, pin) = (scope.is_process(&name), scope.is_pin(&name));
            if !process && !pin {
                return Err(cursor.mistake(scope.actors()));
            }
            cursor.word("")?;
            cursor.sign(':')?;
            return if process {
                verbs::of_process(cursor, scope, &self.setup, name)
            } else {
                grabs::of_pin(cursor, scope, name)
            };
        }
        if cursor.take_word("process") {
            return scope.new_process(cursor).map(|name| Op::Process { name });
        }
        if cursor.take_word("file") {
            let name = scope.new_file(cursor)?;
            return Ok(Op::File { name, spec: file(cursor)? });
        }
        if cursor.take_word("truncate") {
            return Ok(Op::Truncate { file: scope.file(cursor)?, len: cursor.length()? });
        }
        if cursor.take_word("seal") {
            let file = scope.file(cursor)?;
            let seals = cursor.number("seals, a number (8 against writing)")?;
            let seals = u32::try_from(seals).map_err(|_| cursor.mistake_before("32 bits"))?;
            return Ok(Op::Seal { file, seals });
        }
        if cursor.take_word("complete") {
            return scope.file(cursor).map(|file| Op::Complete { file });
        }
        if cursor.take_word("expect") {
            return wishes::expectation(cursor, scope);
        }
        Err(cursor.mistake(scope.actors()))
    }
}

fn frames(cursor: &mut Cursor<'_>) -> Result<u64, Mistake> {
    let frames = cursor.length()?.pages();
    if (16..=FRAMES_MAX).contains(&frames) {
        return Ok(frames);
    }
    Err(cursor.mistake_before("a size from 64K to 4G"))
}

fn file(cursor: &mut Cursor<'_>) -> Result<FileSpec, Mistake> {
    const SORTS: [(&str, FileSort); 5] = [
        ("regular", FileSort::Regular),
        ("ramfs", FileSort::Ramfs),
        ("fsdax", FileSort::Fsdax),
        ("memfd", FileSort::Memfd),
        ("secret", FileSort::Secret),
    ];
    let len = cursor.length()?;
    let mut spec = FileSpec {
        len,
        kind: FileSort::Regular,
        fill: Vec::new(),
        slow: false,
        cached: Cached::Nothing,
    };
    loop {
        if cursor.take_word("slow") {
            spec.slow = true;
        } else if cursor.take_word("cached") {
            spec.cached = Cached::Pages;
        } else if cursor.take_word("one-folio") {
            spec.cached = Cached::Folio;
        } else if cursor.take_word("filled") {
            spec.fill = cursor.text("a text in quotes to fill the file with")?;
        } else if let Some(kind) = cursor.find_in(&SORTS) {
            spec.kind = kind;
        } else {
            return if cursor.is_done() {
                Ok(spec)
            } else {
                Err(cursor.mistake(
                    "slow, cached, one-folio, filled \"…\", regular, ramfs, fsdax, memfd, secret",
                ))
            };
        }
    }
}
