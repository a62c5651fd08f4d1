//! `gup explain --json`: one object, schema `gup.explain/1`. Its fields are a contract:
//! `docs/json.md`.

use crate::answers::Objects;
use crate::explain::Answered;
use gup::errno::Errno;
use gup::flags::Foll;
use gup::linux::Version;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::verdict::{Segment, StopAt};
use gup_mirror::kernel::changes::Change;
use serde::Serialize;

/// The object that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    schema: &'static str,
    pid: u32,
    comm: String,
    kernel: String,
    rules: String,
    #[serde(rename = "as")]
    consumer: Option<&'static str>,
    measured: bool,
    flags: Vec<&'static str>,
    start: String,
    nr_pages: u64,
    ret: i64,
    errno: Option<&'static str>,
    syscall_ret: Option<i64>,
    syscall_errno: Option<&'static str>,
    segments: Vec<SegmentObject>,
    stop: Option<StopObject>,
    pages_fine: bool,
    why_fine: Vec<String>,
    unknown: Vec<&'static str>,
    raced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    interrupted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Vec<ChangeObject>>,
    #[serde(flatten)]
    answers: Objects,
}

#[derive(Debug, Serialize)]
struct ChangeObject {
    rule: String,
    since: Option<String>,
    until: Option<String>,
    why: &'static str,
    with: String,
    without: String,
}

#[derive(Debug, Serialize)]
struct SegmentObject {
    start: String,
    pages: u64,
    state: &'static str,
    action: &'static str,
    rule: Option<String>,
}

#[derive(Debug, Serialize)]
struct StopObject {
    index: u64,
    addr: String,
    errno: &'static str,
    rule: String,
    why: &'static str,
    remedy: &'static str,
    since: Option<String>,
    until: Option<String>,
    mapping: Option<String>,
    fault: Option<&'static str>,
}

impl Object {
    /// The object for one answer.
    pub(crate) fn new(answered: &Answered<'_>) -> Self {
        let verdict = answered.verdict;
        let call = verdict.call;
        Self {
            schema: "gup.explain/1",
            pid: answered.process.pid(),
            comm: answered.process.name().to_owned(),
            kernel: answered.kernel.to_string(),
            rules: answered.rules.to_string(),
            consumer: verdict.consumer.map(Consumer::name),
            measured: verdict.consumer.is_some_and(Consumer::measured),
            flags: flag_names(verdict.flags),
            start: format!("{:#x}", verdict.start),
            nr_pages: verdict.nr_pages,
            ret: verdict
                .gup
                .map_or_else(Errno::negated, |got| i64::try_from(got).unwrap_or(i64::MAX)),
            errno: verdict.gup.err().map(Errno::name),
            syscall_ret: call.map(|call| call.ret),
            syscall_errno: call.and_then(|call| call.errno).map(Errno::name),
            segments: verdict.segments.iter().map(segment).collect(),
            stop: verdict.stop.as_ref().map(stop),
            pages_fine: verdict.is_fine() && answered.interrupted.is_none(),
            why_fine: if verdict.is_fine() && answered.interrupted.is_none() {
                answered.why_fine()
            } else {
                Vec::new()
            },
            unknown: verdict.unseen.iter().map(|unseen| unseen.name()).collect(),
            raced: answered.raced,
            interrupted: answered.interrupted,
            changed: answered.is_other().then(|| answered.changed.iter().map(change).collect()),
            answers: answered.answers.objects(),
        }
    }
}

fn change(change: &Change) -> ChangeObject {
    let version = |version: Version| version.to_string();
    ChangeObject {
        rule: change.rule.to_string(),
        since: change.since.map(version),
        until: change.until.map(version),
        why: change.rule.row().meaning,
        with: change.with.clone(),
        without: change.without.clone(),
    }
}

fn segment(segment: &Segment) -> SegmentObject {
    SegmentObject {
        start: format!("{:#x}", segment.start),
        pages: segment.pages,
        state: segment.state.name(),
        action: segment.action.name(),
        rule: segment.rule.map(|rule| rule.to_string()),
    }
}

fn stop(stop: &StopAt) -> StopObject {
    let row = stop.rule.row();
    let version = |version: Version| version.to_string();
    StopObject {
        index: stop.index,
        addr: format!("{:#x}", stop.addr),
        errno: stop.errno.name(),
        rule: stop.rule.to_string(),
        why: row.meaning,
        remedy: row.remedy,
        since: row.since.map(version),
        until: row.until.map(version),
        mapping: stop.place.as_ref().map(|place| place.area.to_string()),
        fault: stop.fault,
    }
}

/// The names of the flags in `flags`, without `FOLL_`: how pages are held, whose they are, then
/// the rest in the order of their bits.
pub(crate) fn flag_names(flags: Foll) -> Vec<&'static str> {
    let first = [Foll::PIN, Foll::GET, Foll::REMOTE, Foll::FORCE];
    let held = first.iter().flat_map(|flag| (flags & *flag).iter_names());
    let rest = first.iter().fold(flags, |rest, flag| rest - *flag);
    held.chain(rest.iter_names()).map(|(name, _)| name).collect()
}
