//! What one of the two worlds answered to a vector.

use gup::errno::Errno;
use serde::{Deserialize, Serialize};

/// An answer: what the call returned, and the window afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What it returned: a number, an address of the window (`@2p`), or `elsewhere`; a list of
    /// numbers where there is one for each page; `SIGSEGV` or `SIGBUS` for loads and stores.
    pub ret: String,
    /// The errno's name; absent if it did not fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// The window's 16 pages afterwards: `.` no area; else permissions as in the maps file, `l` if
    /// locked, `+` if a page is there.
    pub after: String,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// It answered.
    Answer(Answer),
    /// It could not be asked; the reason, for a person.
    Cannot(String),
}

/// What the call itself returned: a value in words, or an errno.
pub(super) type Returned = Result<String, i32>;

impl Answer {
    pub(super) fn new(returned: Returned, after: String) -> Self {
        match returned {
            Ok(ret) => Self { ret, errno: None, after },
            Err(errno) => Self { ret: "-1".to_owned(), errno: Some(name(errno)), after },
        }
    }
}

/// The errno's name; those that never leave the engine have theirs here.
fn name(raw: i32) -> String {
    match (raw, Errno::from_raw(raw).name()) {
        (3, _) => "ESRCH".to_owned(),
        (25, _) => "ENOTTY".to_owned(),
        (29, _) => "ESPIPE".to_owned(),
        (_, "E?") => format!("E{raw}"),
        (_, name) => name.to_owned(),
    }
}
