//! A file of vectors: one JSON object a line, plain or gzip-compressed.

use super::answer::Answer;
use super::family::Entry;
use super::{layout, words};
use crate::rows;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use thiserror::Error;

/// One vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector {
    /// Its name, unique in its file.
    pub id: String,
    /// The entry point.
    pub entry: String,
    /// What is special about it, for a person.
    pub situation: String,
    /// The window before the call, one letter a page.
    pub layout: String,
    /// The arguments.
    pub args: Vec<String>,
    /// What Linux answers.
    #[serde(flatten)]
    pub answer: Answer,
    /// The kernels that answered so.
    pub kernels: Vec<String>,
}

/// Why a file holds no vectors.
#[derive(Debug, Error)]
pub enum BadVectors {
    /// It cannot be read.
    #[error("could not read it: {0}")]
    Unreadable(#[from] io::Error),
    /// A line is not what it should be; numbered from 1.
    #[error("line {line}: {why}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl Vector {
    pub(super) fn entry_point(&self) -> Result<Entry, String> {
        Entry::from_name(&self.entry).ok_or_else(|| format!("no such entry point: {}", self.entry))
    }
    /// Its arguments' values.
    pub(super) fn values(&self) -> Result<Vec<u64>, String> {
        self.args.iter().map(|arg| words::value(arg)).collect()
    }
    fn check(&self) -> Result<(), String> {
        let (entry, values) = (self.entry_point()?, self.values()?);
        layout::runs(&self.layout)?;
        if entry.takes(values.len()) {
            return Ok(());
        }
        Err(format!("{} does not take {} arguments", self.entry, values.len()))
    }
}

/// The vectors of the file at `path`.
///
/// # Errors
/// [`BadVectors`]: nothing of it should be played.
pub fn open(path: &Path) -> Result<Vec<Vector>, BadVectors> {
    let mut vectors = Vec::new();
    for (line, text) in (1..).zip(rows::lines(path)?) {
        let bad = |why: String| BadVectors::Line { line, why };
        let text = text.map_err(|error| bad(error.to_string()))?;
        let vector: Vector = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        vector.check().map_err(bad)?;
        vectors.push(vector);
    }
    Ok(vectors)
}
