//! `--readers`: the three ways to read from outside, side by side.

use gup::errno::Errno;
use gup_mirror::answer::readers::{Reach, Reader, Readers};
use serde::Serialize;
use std::io::{self, Write};

/// The field `readers`.
#[derive(Debug, Serialize)]
pub(crate) struct Object(Vec<One>);

#[derive(Debug, Serialize)]
struct One {
    #[serde(rename = "as")]
    consumer: &'static str,
    bytes: u64,
    errno: Option<&'static str>,
    reach: &'static str,
    stopped_at: Option<String>,
    rule: Option<String>,
}

impl Object {
    /// The JSON form.
    pub(crate) fn new(readers: &Readers) -> Self {
        Self(readers.readers.iter().map(one).collect())
    }
}

fn one(reader: &Reader) -> One {
    let stop = reader.stop.as_ref();
    One {
        consumer: reader.consumer.name(),
        bytes: reader.bytes,
        errno: reader.errno.map(Errno::name),
        reach: reader.reach.name(),
        stopped_at: stop.map(|stop| format!("{:#x}", stop.addr)),
        rule: stop.map(|stop| stop.rule.to_string()),
    }
}

/// The paragraph.
pub(crate) fn print(readers: &Readers, out: &mut impl Write) -> io::Result<()> {
    let len = readers.len;
    for (i, reader) in readers.readers.iter().enumerate() {
        let head = if i == 0 { "readers" } else { "" };
        let name = reader.consumer.name();
        let got = match (reader.bytes, reader.errno) {
            (bytes, None) => format!("{bytes} of {len} bytes"),
            (0, Some(errno)) => errno.name().to_owned(),
            (bytes, Some(errno)) => format!("{bytes} of {len} bytes, then {errno}"),
        };
        writeln!(out, "  {head:9} {name:16} {got}{}", why(reader))?;
    }
    Ok(())
}

fn why(reader: &Reader) -> String {
    let Some(stop) = &reader.stop else { return String::new() };
    match (reader.reach, &stop.place) {
        (Reach::Refused, Some(place)) => {
            format!(
                ": {:#x} is mapped ({}) and refused, {}",
                stop.addr, place.area.perms, stop.rule
            )
        }
        (Reach::NoMapping | Reach::Refused | Reach::Whole, _) => {
            format!(": nothing is mapped at {:#x}", stop.addr)
        }
    }
}
