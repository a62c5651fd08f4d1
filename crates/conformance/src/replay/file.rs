//! A file of recorded answers: programs or rows, told apart by their first line, and checked before
//! anything of them is played.
//!
//! Invariant: what is in a [`Recording`] is in the arena, and in the slots that there are; so it
//! can be played, whatever the file says. Operations, kinds and drivers that nobody knows are let
//! through: they cannot be asked, which is for the player to count.

use super::record::Record;
use super::world::{PAGES, SLOTS};
use crate::rows::{self, Row};
use serde::Deserialize;
use std::io;
use std::path::Path;
use thiserror::Error;

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Recording {
    /// Programs: operations that follow one another.
    Programs(Vec<Vec<Record>>),
    /// Rows: one driver put to one fresh range each.
    Rows(Vec<Row>),
}

/// Why a file cannot be played.
#[derive(Debug, Error)]
pub enum BadRecording {
    /// It cannot be read.
    #[error("could not read it: {0}")]
    Unreadable(io::Error),
    /// A line is not what it should be; numbered from 1.
    #[error("line {line}: {why}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// It has no lines.
    #[error("it is empty: expected one JSON object a line")]
    Empty,
}

/// Reads the file at `path`, plain or, if its name ends in `.gz`, gzip-compressed.
/// # Errors
/// [`BadRecording`]: nothing of it should be played.
pub fn open(path: &Path) -> Result<Recording, BadRecording> {
    let mut recording: Option<Recording> = None;
    for (line, text) in (1..).zip(rows::lines(path).map_err(BadRecording::Unreadable)?) {
        let text = text.map_err(|error| unreadable(line, error))?;
        let bad = |why| BadRecording::Line { line, why };
        match &mut recording {
            None if is_row(&text).map_err(bad)? => {
                recording = Some(Recording::Rows(vec![row(&text).map_err(bad)?]));
            }
            None => recording = Some(Recording::Programs(vec![vec![record(&text).map_err(bad)?]])),
            Some(Recording::Rows(rows)) => rows.push(row(&text).map_err(bad)?),
            Some(Recording::Programs(programs)) => {
                super::record::add(programs, record(&text).map_err(bad)?);
            }
        }
    }
    recording.ok_or(BadRecording::Empty)
}

/// Bytes that are no text, or no gzip, are a bad line; anything else is the machine's failure.
fn unreadable(line: usize, error: io::Error) -> BadRecording {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            BadRecording::Line { line, why: error.to_string() }
        }
        _ => BadRecording::Unreadable(error),
    }
}

/// Which of the two it is: rows have a `driver`, operations an `op`.
fn is_row(text: &str) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Either {
        driver: Option<String>,
        op: Option<String>,
    }
    let either: Either = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match either {
        Either { driver: Some(_), op: None } => Ok(true),
        Either { driver: None, op: Some(_) } => Ok(false),
        Either { .. } => Err("expected an operation (`op`) or a row (`driver`)".to_owned()),
    }
}

fn row(text: &str) -> Result<Row, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn record(text: &str) -> Result<Record, String> {
    let record: Record = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let slots = SLOTS as u64;
    if record.slot >= SLOTS {
        return Err(format!("proc is {}: processes are 0 to {}", record.slot, slots - 1));
    }
    match record.op.as_str() {
        // Their `pg` and `n` mean nothing.
        "exit" | "iou_unreg" => Ok(record),
        "fork" if record.n >= slots => {
            Err(format!("fork into {}: processes are 0 to {}", record.n, slots - 1))
        }
        "fork" => Ok(record),
        _ if record.pg.checked_add(record.n).is_none_or(|end| end > PAGES) => {
            let (op, pg, n) = (&record.op, record.pg, record.n);
            Err(format!("{op} of {n} pages from page {pg}: the arena has {PAGES}"))
        }
        _ => Ok(record),
    }
}
