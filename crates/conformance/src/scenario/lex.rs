//! One line of a scenario as tokens, each with its column.
//!
//! *Word*: letters, digits, `_`, `.` and inner `-`; numbers are words too. *Text*: what stands
//! between quotes, as bytes. A `#` outside quotes ends the line.
//! Absent: what words mean ([`super::cursor`]).

use super::mistake::Mistake;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, a keyword or a number.
    Word(String),
    /// Bytes between quotes.
    Text(Vec<u8>),
    /// `:` `=` `+` `,` `|`.
    Sign(char),
    /// `->`.
    Arrow,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Its first character's column, from 1.
    pub(super) column: u32,
    /// As it is written.
    pub(super) source: String,
}

/// A reader of one line's characters.
struct Reader<'a> {
    line: u32,
    text: &'a str,
    chars: Vec<char>,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at.saturating_add(ahead)).copied()
    }
    fn mistake(&self, at: usize, expected: &str) -> Mistake {
        Mistake {
            line: self.line,
            column: column(at),
            expected: expected.into(),
            found: self.chars.get(at).map(char::to_string).unwrap_or_default(),
            text: self.text.into(),
        }
    }
    fn token(&self, from: usize, kind: Kind) -> Token {
        let source = self.chars[from..self.at].iter().collect();
        Token { kind, column: column(from), source }
    }
    fn word(&mut self) -> Token {
        let from = self.at;
        while let Some(next) = self.peek(0) {
            let dash = next == '-' && self.peek(1) != Some('>');
            if !(next.is_alphanumeric() || next == '_' || next == '.' || dash) {
                break;
            }
            self.at += 1;
        }
        let word = self.chars[from..self.at].iter().collect();
        self.token(from, Kind::Word(word))
    }
    fn quoted(&mut self) -> Result<Token, Mistake> {
        let from = self.at;
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err(self.mistake(self.at, "a closing quote")),
                Some('"') => break,
                Some('\\') => {
                    self.at += 1;
                    bytes.push(self.escape()?);
                }
                Some(other) => {
                    bytes.extend(other.encode_utf8(&mut [0; 4]).bytes());
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(self.token(from, Kind::Text(bytes)))
    }
    /// The byte that an escape stands for; the backslash has been read.
    fn escape(&mut self) -> Result<u8, Mistake> {
        let byte = match self.peek(0) {
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('"') => b'"',
            Some('x') => {
                let digit = |c: Option<char>| c.and_then(|c| c.to_digit(16));
                let (high, low) = (digit(self.peek(1)), digit(self.peek(2)));
                let Some((high, low)) = high.zip(low) else {
                    return Err(self.mistake(self.at + 1, "two hexadecimal digits"));
                };
                self.at += 2;
                u8::try_from(high * 16 + low).unwrap_or(0)
            }
            _ => return Err(self.mistake(self.at, "n, t, 0, x41, \\ or \" after a backslash")),
        };
        self.at += 1;
        Ok(byte)
    }
}

fn column(index: usize) -> u32 {
    u32::try_from(index.saturating_add(1)).unwrap_or(u32::MAX)
}

/// The tokens of line `line`, whose text is `text`, up to a comment.
///
/// # Errors
/// A character that begins no token, an unknown escape, a quote that is not closed.
pub(super) fn tokens(line: u32, text: &str) -> Result<Vec<Token>, Mistake> {
    let mut reader = Reader { line, text, chars: text.chars().collect(), at: 0 };
    let mut found = Vec::new();
    while let Some(next) = reader.peek(0) {
        let from = reader.at;
        match next {
            '#' => break,
            '"' => found.push(reader.quoted()?),
            ':' | '=' | '+' | ',' | '|' => {
                reader.at += 1;
                found.push(reader.token(from, Kind::Sign(next)));
            }
            '-' if reader.peek(1) == Some('>') => {
                reader.at += 2;
                found.push(reader.token(from, Kind::Arrow));
            }
            _ if next.is_whitespace() => reader.at += 1,
            _ if next.is_alphanumeric() || next == '_' || next == '-' || next == '.' => {
                found.push(reader.word());
            }
            _ => return Err(reader.mistake(from, "a name, a number, a text in quotes, or a sign")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        tokens(1, text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn a_line_falls_into_words_signs_texts_and_arrows() {
        let word = |text: &str| Kind::Word(text.into());
        assert_eq!(
            kinds("P: write a+1p \"h\\x41\\n\" -> -EFAULT # why"),
            [
                word("P"),
                Kind::Sign(':'),
                word("write"),
                word("a"),
                Kind::Sign('+'),
                word("1p"),
                Kind::Text(b"hA\n".to_vec()),
                Kind::Arrow,
                word("-EFAULT"),
            ]
        );
        assert_eq!(kinds("a->1"), [word("a"), Kind::Arrow, word("1")], "a word stops at an arrow");
        assert_eq!(kinds("dirty-cow"), [word("dirty-cow")]);
    }

    #[test]
    fn columns_count_characters_from_one() {
        let columns: Vec<u32> = tokens(1, "é  = x").unwrap().iter().map(|t| t.column).collect();
        assert_eq!(columns, [1, 4, 6]);
        let mistake = tokens(3, "a \"open").unwrap_err();
        assert_eq!((mistake.line, mistake.column, mistake.found.as_str()), (3, 8, ""));
        assert_eq!(tokens(1, "a \"\\q\"").unwrap_err().column, 5);
        assert_eq!(tokens(1, "a $").unwrap_err().column, 3);
    }
}
