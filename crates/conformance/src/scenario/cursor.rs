//! Reading one line's tokens: words, numbers, lengths, addresses; each refusal names what would
//! have been right.
//!
//! Absent: names and whether they exist ([`super::scope`]).

use super::lex::{Kind, Token, tokens};
use super::mistake::Mistake;
use super::program::Length;

/// A unit, as a word.
#[derive(Clone, Copy)]
enum Unit {
    Pages,
    Bytes,
}

/// A line, read up to somewhere.
pub(super) struct Cursor<'a> {
    pub(super) line: u32,
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `text`, which is line `line`.
    /// # Errors
    /// It is no sequence of tokens.
    pub(super) fn new(line: u32, text: &'a str) -> Result<Self, Mistake> {
        Ok(Self { line, text, tokens: tokens(line, text)?, at: 0 })
    }
    /// Whether all has been read.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }
    fn kind(&self, ahead: usize) -> Option<&Kind> {
        self.tokens.get(self.at.saturating_add(ahead)).map(|token| &token.kind)
    }
    /// A mistake at the token at hand.
    pub(super) fn mistake(&self, expected: impl Into<String>) -> Mistake {
        self.mistake_at(self.at, expected.into())
    }
    /// A mistake at the token just read.
    pub(super) fn mistake_before(&self, expected: impl Into<String>) -> Mistake {
        self.mistake_at(self.at.saturating_sub(1), expected.into())
    }
    fn mistake_at(&self, at: usize, expected: String) -> Mistake {
        let token = self.tokens.get(at);
        let end = || u32::try_from(self.text.chars().count()).unwrap_or(u32::MAX).saturating_add(1);
        Mistake {
            line: self.line,
            column: token.map_or_else(end, |token| token.column),
            expected,
            found: token.map(|token| token.source.clone()).unwrap_or_default(),
            text: self.text.to_owned(),
        }
    }
    /// The word at hand, if it is one.
    pub(super) fn peek_word(&self) -> Option<&str> {
        match self.kind(0) {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }
    /// Whether the token `ahead` is this sign.
    pub(super) fn is_sign(&self, ahead: usize, sign: char) -> bool {
        self.kind(ahead) == Some(&Kind::Sign(sign))
    }
    /// Goes past `word` if it is at hand.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let there = self.peek_word() == Some(word);
        self.at += usize::from(there);
        there
    }
    /// Goes past `sign` if it is at hand.
    pub(super) fn take_sign(&mut self, sign: char) -> bool {
        let there = self.is_sign(0, sign);
        self.at += usize::from(there);
        there
    }
    /// Goes past `->` if it is at hand.
    pub(super) fn take_arrow(&mut self) -> bool {
        let there = self.kind(0) == Some(&Kind::Arrow);
        self.at += usize::from(there);
        there
    }
    /// Whether the number at hand has no unit after it.
    pub(super) fn is_bare_number(&self) -> bool {
        let unit = match self.kind(1) {
            Some(Kind::Word(word)) => ["page", "pages", "byte", "bytes"].contains(&word.as_str()),
            _ => false,
        };
        self.peek_word().is_some_and(|word| plain(word).is_some()) && !unit
    }
    /// Any word.
    pub(super) fn word(&mut self, expected: &str) -> Result<String, Mistake> {
        let word = self.peek_word().map(str::to_owned).ok_or_else(|| self.mistake(expected))?;
        self.at += 1;
        Ok(word)
    }
    /// A word that is in `table`, as the value beside it.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        what: &str,
        table: &[(&str, T)],
    ) -> Result<T, Mistake> {
        self.find_in(table).ok_or_else(|| {
            let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
            self.mistake(format!("{what}: {}", words.join(", ")))
        })
    }
    /// The same, or nothing if no word of `table` is at hand.
    pub(super) fn find_in<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        let found = self.peek_word().and_then(|word| {
            table.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
        });
        self.at += usize::from(found.is_some());
        found
    }
    /// This sign.
    pub(super) fn sign(&mut self, sign: char) -> Result<(), Mistake> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.mistake(format!("{sign:?}"))) }
    }
    /// Bytes in quotes.
    pub(super) fn text(&mut self, expected: &str) -> Result<Vec<u8>, Mistake> {
        let Some(Kind::Text(bytes)) = self.kind(0).cloned() else {
            return Err(self.mistake(expected));
        };
        self.at += 1;
        Ok(bytes)
    }
    /// The bytes in quotes at hand, if there are some.
    pub(super) fn take_text(&mut self) -> Option<Vec<u8>> {
        self.text("").ok()
    }
    /// A number without a unit.
    pub(super) fn number(&mut self, expected: &str) -> Result<u64, Mistake> {
        let number = self.peek_word().and_then(plain).ok_or_else(|| self.mistake(expected))?;
        self.at += 1;
        Ok(number)
    }
    /// A length: `4 pages`, `10 bytes`, `4p`, `64K`.
    pub(super) fn length(&mut self) -> Result<Length, Mistake> {
        const WANTED: &str = "a length, such as `4 pages`, `10 bytes`, `4p` or `64K`";
        let word = self.peek_word().ok_or_else(|| self.mistake(WANTED))?.to_owned();
        if let Some(length) = with_unit(&word) {
            self.at += 1;
            return Ok(length);
        }
        let count = plain(&word).ok_or_else(|| self.mistake(WANTED))?;
        self.at += 1;
        let units = [
            ("pages", Unit::Pages),
            ("page", Unit::Pages),
            ("bytes", Unit::Bytes),
            ("byte", Unit::Bytes),
        ];
        match self.find_in(&units) {
            Some(Unit::Pages) => Ok(Length::Pages(count)),
            Some(Unit::Bytes) => Ok(Length::Bytes(count)),
            None => Err(self.mistake("`pages` or `bytes`")),
        }
    }
    /// Bytes to add to an address: `1p`, `0x10`, `64K`, `5`.
    pub(super) fn offset(&mut self) -> Result<u64, Mistake> {
        let word = self.peek_word().and_then(offset);
        let bytes = word.ok_or_else(|| self.mistake("an offset, such as `1p`, `0x10` or `64K`"))?;
        self.at += 1;
        Ok(bytes)
    }
    /// Nothing more.
    pub(super) fn end(&self) -> Result<(), Mistake> {
        if self.is_done() { Ok(()) } else { Err(self.mistake("the end of the line")) }
    }
    /// The line without its comment.
    pub(super) fn source(&self) -> String {
        let end = self
            .tokens
            .last()
            .map_or(0, |last| last.column as usize - 1 + last.source.chars().count());
        self.text.chars().take(end).collect::<String>().trim().to_owned()
    }
}

/// A number, decimal or `0x`.
pub(super) fn plain(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if word.starts_with('+') => None,
        None => word.parse().ok(),
    }
}

/// A number with a unit.
fn with_unit(word: &str) -> Option<Length> {
    let (number, unit) = word.split_at_checked(word.len().checked_sub(1)?)?;
    let number = number.parse::<u64>().ok().filter(|_| !number.starts_with('+'))?;
    let scaled = |shift: u32| number.checked_mul(1 << shift).map(Length::Bytes);
    match unit {
        "p" => Some(Length::Pages(number)),
        "K" => scaled(10),
        "M" => scaled(20),
        "G" => scaled(30),
        _ => None,
    }
}

/// A number of bytes, with a unit or without.
pub(super) fn offset(word: &str) -> Option<u64> {
    plain(word).or_else(|| match with_unit(word)? {
        Length::Pages(count) => count.checked_mul(gup::addr::PAGE_SIZE),
        Length::Bytes(count) => Some(count),
    })
}
