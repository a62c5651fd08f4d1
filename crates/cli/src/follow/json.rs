//! `gup explain --json -- CMD`: one object a line, schema `gup.follow/1`. Its fields are a
//! contract: `docs/json.md`.

use crate::explain::Answered;
use crate::explain::json::Object as Explained;
use crate::follow::report::Report;
use gup_follow::trace::foreign::Note;
use serde::Serialize;

const SCHEMA: &str = "gup.follow/1";

/// The object for one failed call.
#[derive(Debug, Serialize)]
pub(crate) struct Object<'a> {
    schema: &'static str,
    pid: u32,
    thread: u32,
    comm: &'a str,
    call: &'static str,
    request: Option<&'static str>,
    args: Vec<String>,
    ret: i64,
    errno: Option<&'static str>,
    ranges: usize,
    range: Option<usize>,
    explain: Option<Explained>,
    look_at: &'a [String],
    unknown: Option<&'a str>,
}

impl<'a> Object<'a> {
    /// The object for one report.
    pub(crate) fn new(report: &'a Report<'_>, answered: Option<&Answered<'_>>) -> Self {
        let failed = report.failed;
        let args = failed.args.iter().take(failed.row.arity.into());
        let fine = answered.is_none_or(|answered| answered.verdict.is_fine());
        Self {
            schema: SCHEMA,
            pid: failed.pid,
            thread: failed.tid,
            comm: &report.comm,
            call: failed.row.name,
            request: failed.row.request.map(|(_, name)| name),
            args: args.map(|arg| format!("{arg:#x}")).collect(),
            ret: if failed.value < 0 { -1 } else { failed.value },
            errno: failed.errno(),
            ranges: failed.asked.ranges.len(),
            range: answered.map(|_| report.index),
            explain: answered.map(Explained::new),
            look_at: if fine { &report.look_at } else { &[] },
            unknown: report.unknown.as_deref(),
        }
    }
}

/// The object for something that is to be known about an executed program.
#[derive(Debug, Serialize)]
pub(crate) struct NoteObject {
    schema: &'static str,
    pid: u32,
    note: &'static str,
}

impl NoteObject {
    /// The object for `note` on process `pid`.
    pub(crate) const fn new(pid: u32, note: Note) -> Self {
        let note = match note {
            Note::Foreign => "foreign",
            Note::WithoutItsRights => "without-its-rights",
        };
        Self { schema: SCHEMA, pid, note }
    }
}
