//! The recorded answers of a running kernel: one row per memory kind and driver.
//!
//! `vectors/linux-6.18/kernel-rows.md` says how they were made and what each field means. Files are
//! JSON objects, one a line, plain or gzip-compressed.

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// One recorded answer; fields that are not needed here are left out.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Row {
    /// The memory kind.
    pub kind: String,
    /// The driver, or `none`.
    pub driver: String,
    /// Number of pages in the range.
    pub np: u64,
    /// The return value; of drivers that ask page by page, the number of pages that worked.
    pub ret: i64,
    /// The errno, 0 for none.
    pub errno: i32,
    /// Of drivers that ask page by page, one bit per page that worked.
    #[serde(default)]
    pub mask: u64,
    /// The state of each page before the call.
    pub before: String,
    /// The state of each page after the call.
    pub after: String,
    /// What became of each page's frame: `=` the same, `!` another, `+` new, `.` none.
    #[serde(default)]
    pub pfn: String,
    /// Minor faults charged to the caller; like the next three, `None` if it was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minflt: Option<u64>,
    /// Major faults charged to the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub majflt: Option<u64>,
    /// Pins taken during the call, of the whole machine (`nr_foll_pin_acquired`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_acq: Option<u64>,
    /// Pins given back meanwhile (`nr_foll_pin_released`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_rel: Option<u64>,
    /// The state of the same pages of a forked relative, if there is one.
    #[serde(default)]
    pub sib: String,
    /// The relative's frames beside the subject's: `=` the same, `!` another, `+` only its own, `.`
    /// none.
    #[serde(default)]
    pub sib_pfn: String,
}

/// Reads every row of the file at `path`.
///
/// # Errors
/// Those of the file, or `InvalidData` for a line that is not a row.
pub fn read(path: &Path) -> io::Result<Vec<Row>> {
    lines(path)?.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// The lines of the file at `path`, decompressed if its name ends in `.gz`.
///
/// # Errors
/// Those of opening the file.
pub fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let file = std::fs::File::open(path)?;
    let text: Box<dyn Read> = if path.extension().is_some_and(|ext| ext == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    Ok(BufReader::new(text).lines())
}

/// A file of lines that is being written.
pub enum Writing {
    /// As it is.
    Plain(io::BufWriter<std::fs::File>),
    /// Compressed.
    Gzip(flate2::write::GzEncoder<std::fs::File>),
}

/// Begins the file at `path`, compressed if its name ends in `.gz`.
///
/// # Errors
/// Those of making the file.
pub fn create(path: &Path) -> io::Result<Writing> {
    let file = std::fs::File::create(path)?;
    Ok(if path.extension().is_some_and(|ext| ext == "gz") {
        Writing::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::best()))
    } else {
        Writing::Plain(io::BufWriter::new(file))
    })
}

impl Writing {
    /// Ends the file.
    ///
    /// # Errors
    /// Those of writing what is left.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut file) => io::Write::flush(&mut file),
            Self::Gzip(file) => file.finish().map(drop),
        }
    }
}

impl io::Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(file) => file.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(file) => file.flush(),
        }
    }
}
