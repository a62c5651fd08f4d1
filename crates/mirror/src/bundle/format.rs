//! The file of a bundle, schema `gup.bundle/1`: one JSON object on each line, plain or gzip.
//!
//! The first line is the head, the last says how many lines came before it, so that a file that was
//! cut off is noticed. What is in between may be in any order. A file is not trusted: everything
//! that look-ups rest on is checked here, and no number in it makes this program allocate.
//! The lines are described in `docs/bundle.md`.

use crate::bundle::kept::{Bundle, Run};
use crate::proc::backing::Backing;
use crate::proc::hugepages::HugePages;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use thiserror::Error;

/// The schema's name.
pub const SCHEMA: &str = "gup.bundle/1";

/// The most bytes that a bundle has, unpacked.
const MOST_BYTES: u64 = 1 << 30;

/// Why a file is no bundle that can be explained.
#[derive(Debug, Error)]
pub enum BadBundle {
    /// It cannot be read.
    #[error("could not read it: {0}")]
    Unreadable(#[from] io::Error),
    /// It begins with something else.
    #[error("it does not begin as a bundle does ({SCHEMA}); `gup collect` writes one")]
    NoBundle,
    /// A line is not what it should be; numbered from 1.
    #[error("line {line}: {why}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// It ends before its end.
    #[error("it was cut off after line {lines}: collect or copy it again")]
    CutOff {
        /// Lines that are there.
        lines: u64,
    },
    /// Runs of pages overlap, or are not at pages.
    #[error("the run of pages at {at:#x} overlaps another, wraps around or is not at a page")]
    Runs {
        /// Its address, in bytes.
        at: u64,
    },
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
enum Line {
    Head(Head),
    File { name: String, text: String },
    Behind { at: u64, backing: Backing },
    Run(Run),
    Folio { head: u64, pages: u64 },
    End { lines: u64 },
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    schema: String,
    pid: u32,
    release: String,
    looked_at: (u64, u64),
    userfaultfd: Option<u64>,
    huge_pages_free: u64,
    huge_pages_reserved: u64,
    scanned: bool,
    last_byte_is_zero: Option<(u64, bool)>,
}

/// Writes `bundle` to the file at `path`; compressed if its name ends in `.gz`.
///
/// # Errors
/// Those of the file.
pub fn write(bundle: &Bundle, path: &Path) -> io::Result<()> {
    let file = io::BufWriter::new(std::fs::File::create(path)?);
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut packed = GzEncoder::new(file, Compression::default());
        write_to(bundle, &mut packed)?;
        packed.finish()?.flush()
    } else {
        let mut file = file;
        write_to(bundle, &mut file)?;
        file.flush()
    }
}

/// Writes `bundle` as lines, not compressed.
///
/// # Errors
/// Those of `out`.
pub fn write_to(bundle: &Bundle, out: &mut impl Write) -> io::Result<()> {
    let head = Line::Head(Head {
        schema: SCHEMA.to_owned(),
        pid: bundle.pid,
        release: bundle.release.clone(),
        looked_at: bundle.looked_at,
        userfaultfd: bundle.userfaultfd,
        huge_pages_free: bundle.huge_pages.free,
        huge_pages_reserved: bundle.huge_pages.reserved,
        scanned: bundle.scanned,
        last_byte_is_zero: bundle.last_byte,
    });
    let files = bundle.files.iter();
    let files = files.map(|(name, text)| Line::File { name: name.clone(), text: text.clone() });
    let behind = bundle.backings.iter();
    let behind = behind.map(|(&at, backing)| Line::Behind { at, backing: backing.clone() });
    let runs = bundle.runs.iter().map(|run| Line::Run(*run));
    let folios = bundle.folios.iter().map(|(&head, &pages)| Line::Folio { head, pages });
    let mut lines = 0;
    for line in std::iter::once(head).chain(files).chain(behind).chain(runs).chain(folios) {
        put(&line, out)?;
        lines += 1;
    }
    put(&Line::End { lines }, out)
}

fn put(line: &Line, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Reads the bundle at `path`, compressed or not.
///
/// # Errors
/// [`BadBundle`].
pub fn read(path: &Path) -> Result<Bundle, BadBundle> {
    read_from(std::fs::File::open(path)?)
}

/// Reads a bundle from `from`, compressed or not.
///
/// # Errors
/// [`BadBundle`].
pub fn read_from(from: impl Read) -> Result<Bundle, BadBundle> {
    let mut from = BufReader::new(from);
    let packed = from.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    if packed { lines_of(BufReader::new(GzDecoder::new(from))) } else { lines_of(from) }
}

fn lines_of(from: impl BufRead) -> Result<Bundle, BadBundle> {
    let mut from = from.take(MOST_BYTES);
    let mut text = Vec::new();
    let mut bundle: Option<Bundle> = None;
    let mut lines = 0;
    loop {
        text.clear();
        if from.read_until(b'\n', &mut text)? == 0 {
            return Err(if lines == 0 { BadBundle::NoBundle } else { BadBundle::CutOff { lines } });
        }
        lines += 1;
        let parsed = serde_json::from_slice(&text);
        let line = match (parsed, &bundle) {
            (Ok(line), _) => line,
            (Err(_), None) => return Err(BadBundle::NoBundle),
            (Err(_), Some(_)) if text.last() != Some(&b'\n') => {
                return Err(BadBundle::CutOff { lines: lines - 1 });
            }
            (Err(why), Some(_)) => return Err(bad(lines, &why)),
        };
        match (line, &mut bundle) {
            (Line::Head(head), None) if head.schema == SCHEMA => bundle = Some(begun(head)),
            (_, None) => return Err(BadBundle::NoBundle),
            (Line::End { lines: all }, Some(_)) if all != lines - 1 => {
                return Err(BadBundle::CutOff { lines });
            }
            (Line::End { .. }, Some(_)) => break,
            (Line::Head(_), Some(_)) => return Err(bad(lines, &"a second head")),
            (line, Some(bundle)) => add(line, bundle),
        }
    }
    checked(bundle.ok_or(BadBundle::NoBundle)?)
}

fn bad(line: u64, why: &impl ToString) -> BadBundle {
    BadBundle::Line { line, why: why.to_string() }
}

fn begun(head: Head) -> Bundle {
    Bundle {
        pid: head.pid,
        release: head.release,
        looked_at: head.looked_at,
        files: BTreeMap::new(),
        backings: BTreeMap::new(),
        userfaultfd: head.userfaultfd,
        huge_pages: HugePages { free: head.huge_pages_free, reserved: head.huge_pages_reserved },
        scanned: head.scanned,
        last_byte: head.last_byte_is_zero,
        runs: Vec::new(),
        folios: BTreeMap::new(),
    }
}

fn add(line: Line, bundle: &mut Bundle) {
    match line {
        Line::File { name, text } => drop(bundle.files.insert(name, text)),
        Line::Behind { at, backing } => drop(bundle.backings.insert(at, backing)),
        Line::Run(run) => bundle.runs.push(run),
        Line::Folio { head, pages } => drop(bundle.folios.insert(head, pages)),
        Line::Head(_) | Line::End { .. } => {}
    }
}

/// The bundle with its runs in order, if they are what look-ups rest on.
fn checked(mut bundle: Bundle) -> Result<Bundle, BadBundle> {
    bundle.runs.sort_by_key(|run| run.at);
    let mut end = 0;
    for run in &bundle.runs {
        let bytes = run.pages.checked_mul(4096).and_then(|bytes| run.at.checked_add(bytes));
        let whole = run.at.is_multiple_of(4096) && run.pages > 0 && run.step <= 1;
        match bytes.filter(|_| whole && run.at >= end) {
            Some(next) => end = next,
            None => return Err(BadBundle::Runs { at: run.at }),
        }
    }
    Ok(bundle)
}
