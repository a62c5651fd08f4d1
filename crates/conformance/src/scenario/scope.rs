//! Which names exist at a line of a scenario, and of what kind.
//!
//! A child has its parent's mappings under the same names. A process that exited, and a pin that
//! was released, are gone. Absent: values.

use super::cursor::{Cursor, offset, plain};
use super::mistake::Mistake;
use super::program::{At, Base, Place, Span};
use std::collections::{BTreeMap, BTreeSet};

/// The names.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Processes, each with its mappings.
    processes: BTreeMap<String, BTreeSet<String>>,
    files: BTreeSet<String>,
    pins: BTreeSet<String>,
}

/// Words that no name may be: they begin a line of another meaning.
const RESERVED: [&str; 7] = ["process", "file", "truncate", "complete", "seal", "expect", "linux"];

fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none so far".into() } else { names.join(", ") }
}

impl Scope {
    /// A new name.
    fn new_name(cursor: &mut Cursor<'_>, what: &str) -> Result<String, Mistake> {
        let expected = format!("a name for the {what}: letters, digits and _");
        let name = cursor.word(&expected)?;
        let first = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
        let fits = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !first || !fits || RESERVED.contains(&name.as_str()) {
            return Err(cursor.mistake_before(expected));
        }
        Ok(name)
    }
    fn is_taken(&self, name: &str) -> bool {
        self.processes.contains_key(name) || self.files.contains(name) || self.pins.contains(name)
    }
    fn free_name(&self, cursor: &mut Cursor<'_>, what: &str) -> Result<String, Mistake> {
        let name = Self::new_name(cursor, what)?;
        if self.is_taken(&name) {
            return Err(cursor.mistake_before(format!("a name for the {what} that is not in use")));
        }
        Ok(name)
    }
    /// A name for a new process, without mappings.
    pub(super) fn new_process(&mut self, cursor: &mut Cursor<'_>) -> Result<String, Mistake> {
        let name = self.free_name(cursor, "process")?;
        self.processes.insert(name.clone(), BTreeSet::new());
        Ok(name)
    }
    /// A name for a child of `parent`.
    pub(super) fn new_child(
        &mut self,
        cursor: &mut Cursor<'_>,
        parent: &str,
    ) -> Result<String, Mistake> {
        let name = self.free_name(cursor, "child")?;
        let mappings = self.processes.get(parent).cloned().unwrap_or_default();
        self.processes.insert(name.clone(), mappings);
        Ok(name)
    }
    /// A name for a new file.
    pub(super) fn new_file(&mut self, cursor: &mut Cursor<'_>) -> Result<String, Mistake> {
        let name = self.free_name(cursor, "file")?;
        self.files.insert(name.clone());
        Ok(name)
    }
    /// `NAME =`, if that is at hand: the name of what the line makes.
    pub(super) fn result_name(&self, cursor: &mut Cursor<'_>) -> Result<Option<String>, Mistake> {
        if !cursor.is_sign(1, '=') {
            return Ok(None);
        }
        let name = Self::new_name(cursor, "result")?;
        if self.processes.contains_key(&name) || self.files.contains(&name) {
            return Err(cursor.mistake_before("a name that no process or file has"));
        }
        cursor.sign('=')?;
        Ok(Some(name))
    }
    /// Notes that `name` is a mapping of `process` from now on.
    pub(super) fn add_mapping(&mut self, process: &str, name: &str) {
        if let Some(mappings) = self.processes.get_mut(process) {
            mappings.insert(name.to_owned());
        }
    }
    /// Notes that `name` is a pin from now on.
    pub(super) fn add_pin(&mut self, name: &str) {
        self.pins.insert(name.to_owned());
    }
    /// Notes that the pin is gone.
    pub(super) fn drop_pin(&mut self, name: &str) {
        self.pins.remove(name);
    }
    /// Notes that the process is gone.
    pub(super) fn drop_process(&mut self, name: &str) {
        self.processes.remove(name);
    }
    /// Whether a process, or a pin, of this name exists.
    pub(super) fn is_process(&self, name: &str) -> bool {
        self.processes.contains_key(name)
    }
    /// Whether there is a pin of this name.
    pub(super) fn is_pin(&self, name: &str) -> bool {
        self.pins.contains(name)
    }
    /// What a line may begin with, in words.
    pub(super) fn actors(&self) -> String {
        let names = listed(self.processes.keys().chain(&self.pins));
        format!(
            "`process NAME`, `file NAME …`, `expect …`, or `NAME: …` for a process or a pin \
             ({names})"
        )
    }
    /// A process that exists.
    pub(super) fn process(&self, cursor: &mut Cursor<'_>) -> Result<String, Mistake> {
        let known = listed(self.processes.keys());
        let name = cursor.word(&format!("a process ({known})"))?;
        if self.is_process(&name) {
            return Ok(name);
        }
        Err(cursor.mistake_before(format!("a process ({known})")))
    }
    /// A file that exists.
    pub(super) fn file(&self, cursor: &mut Cursor<'_>) -> Result<String, Mistake> {
        let known = listed(self.files.iter());
        let name = cursor.word(&format!("a file ({known})"))?;
        if self.files.contains(&name) {
            return Ok(name);
        }
        Err(cursor.mistake_before(format!("a file ({known})")))
    }
    /// An address of `process`: `a`, `a+1p`, `a-1p`, `0x1000+5`.
    pub(super) fn at(&self, cursor: &mut Cursor<'_>, process: &str) -> Result<At, Mistake> {
        let mappings = self.processes.get(process);
        let known = listed(mappings.into_iter().flatten());
        let expected =
            format!("an address: 0x…, or a mapping of {process} ({known}), with +OFFSET");
        let word = cursor.word(&expected)?;
        let (name, below) = word.split_once('-').unwrap_or((&word, ""));
        let minus = if below.is_empty() { Some(0) } else { offset(below) };
        let minus = minus.ok_or_else(|| cursor.mistake_before(expected.as_str()))?;
        let (base, start) = if mappings.is_some_and(|names| names.contains(name)) {
            (Base::Mapping(name.to_owned()), 0)
        } else if let Some(number) = plain(name) {
            (Base::Absolute, number)
        } else {
            return Err(cursor.mistake_before(expected));
        };
        let mut sum = start.wrapping_sub(minus);
        while cursor.take_sign('+') {
            sum = sum.wrapping_add(cursor.offset()?);
        }
        Ok(At { base, offset: sum })
    }
    /// An address and a length.
    pub(super) fn span(&self, cursor: &mut Cursor<'_>, process: &str) -> Result<Span, Mistake> {
        Ok(Span { at: self.at(cursor, process)?, len: cursor.length()? })
    }
    /// A page: `P:a+1p`, or a pin with the index of a page: `x`, `x+1p`.
    pub(super) fn place(&self, cursor: &mut Cursor<'_>) -> Result<Place, Mistake> {
        let known = listed(self.processes.keys().chain(&self.pins));
        let expected = format!("a page: `P:a+1p` or `x+1p`, of a process or a pin ({known})");
        let name = cursor.word(&expected)?;
        if self.is_pin(&name) {
            let bytes = if cursor.take_sign('+') { cursor.offset()? } else { 0 };
            return Ok(Place::Pinned { pin: name, index: bytes / gup::addr::PAGE_SIZE });
        }
        if !self.is_process(&name) {
            return Err(cursor.mistake_before(expected));
        }
        cursor.sign(':')?;
        let at = self.at(cursor, &name)?;
        Ok(Place::Mapped { process: name, at })
    }
}
