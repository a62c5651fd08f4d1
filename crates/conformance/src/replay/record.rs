//! One recorded operation, and files of them.

use crate::rows;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// An operation, and what the kernel answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Record {
    /// Names the program.
    pub seed: u64,
    /// The operation's place in it; some are left out.
    pub i: u64,
    /// The slot that acts, or is acted upon.
    #[serde(rename = "proc")]
    pub slot: usize,
    /// What is done.
    pub op: String,
    /// The first page of the arena.
    pub pg: u64,
    /// Pages; of fork, the new slot.
    pub n: u64,
    /// Permissions of `mmap_*` and `mprotect`.
    pub prot: u32,
    /// What the call returned.
    pub ret: i64,
    /// The errno, 0 for none.
    pub errno: i32,
    /// Every page of every process afterwards.
    pub state: String,
}

/// The programs of the file at `path`, plain or gzip-compressed, in order.
/// # Errors
/// Those of the file, or `InvalidData` for a line that is not a record.
pub fn programs(path: &Path) -> io::Result<Vec<Vec<Record>>> {
    let mut programs: Vec<Vec<Record>> = Vec::new();
    for line in rows::lines(path)? {
        add(&mut programs, serde_json::from_str(&line?)?);
    }
    Ok(programs)
}

/// Adds `record` to the last program, or begins one with it if its seed is another.
pub(super) fn add(programs: &mut Vec<Vec<Record>>, record: Record) {
    match programs.last_mut() {
        Some(last) if last.first().is_some_and(|first| first.seed == record.seed) => {
            last.push(record);
        }
        Some(_) | None => programs.push(vec![record]),
    }
}
