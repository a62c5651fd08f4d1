//! What the kernel answered, and its form on the pipe between subject and asker.

use rustix::io::Errno;
use std::fmt;

/// The kernel's answer to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The return value; for drivers that ask page by page, the number of pages that worked.
    pub ret: i64,
    /// The errno, 0 for none; for drivers that ask page by page, the last one.
    pub errno: i32,
    /// For drivers that ask page by page, one bit per page that worked; else 0.
    pub mask: u64,
}

impl Answer {
    /// The answer of one call.
    pub fn once(result: Result<i64, Errno>) -> Self {
        match result {
            Ok(ret) => Self { ret, errno: 0, mask: 0 },
            Err(errno) => Self { ret: -1, errno: errno.raw_os_error(), mask: 0 },
        }
    }

    /// The answers of one call per page.
    pub fn per_page<T>(results: impl IntoIterator<Item = Result<T, Errno>>) -> Self {
        let mut answer = Self { ret: 0, errno: 0, mask: 0 };
        for (page, result) in results.into_iter().enumerate() {
            match result {
                Ok(_) => {
                    answer.ret += 1;
                    answer.mask |= if page < 64 { 1 << page } else { 0 };
                }
                Err(errno) => answer.errno = errno.raw_os_error(),
            }
        }
        answer
    }

    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let ret = words.next()?.parse().ok()?;
        let errno = words.next()?.parse().ok()?;
        let mask = words.next()?.parse().ok()?;
        Some(Self { ret, errno, mask })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.ret, self.errno, self.mask)
    }
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The kernel answered.
    Answer(Answer),
    /// The question could not be put; the reason, for a person.
    Cannot(String),
}

impl Asked {
    /// Not askable, because of `errno` from `what`.
    pub(crate) fn cannot(what: &str, errno: Errno) -> Self {
        Self::Cannot(format!("{what}: {errno}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;
    use rustix::io::Errno;

    #[test]
    fn an_answer_survives_the_pipe() {
        let answer = Answer::per_page([Ok(1), Err(Errno::FAULT), Ok(7)]);
        assert_eq!(answer, Answer { ret: 2, errno: 14, mask: 0b101 });
        assert_eq!(Answer::parse(&answer.to_string()), Some(answer));
        assert_eq!(Answer::parse("1 2"), None);
    }
}
