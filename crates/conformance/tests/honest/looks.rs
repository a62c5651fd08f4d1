//! A verdict as JSON, so that two readers' can be compared.

use gup::errno::Errno;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::glance;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::explain::verdict::Verdict;
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use serde_json::{Value, json};

/// What `consumer` would get from `len` bytes at `start` of `pid`, or why there is no answer.
pub(crate) fn look(pid: u32, start: u64, len: u64, consumer: Consumer) -> Value {
    let verdict = || -> Result<Value, String> {
        let process = Process::open(pid).map_err(|error| error.to_string())?;
        let range = ByteRange::new(start, len).map_err(|error| error.to_string())?;
        let request = Request { ask: Ask::Consumer(consumer), range };
        let seen = glance(&process, &request, &process.facts());
        Ok(of(&seen.map_err(|error| error.to_string())?.verdict))
    };
    verdict().unwrap_or_else(|error| json!({ "error": error }))
}

fn of(verdict: &Verdict) -> Value {
    let stop = verdict.stop.as_ref();
    let parts = verdict.segments.iter();
    json!({
        "gup": verdict.gup.map_or_else(Errno::negated, |got| got as i64),
        "call": verdict.call.map(|call| (call.ret, call.errno.map(Errno::name), call.mask)),
        "stop": stop.map(|stop| (stop.index, stop.errno.name(), stop.rule.to_string())),
        "pages": parts.flat_map(|part| vec![part.action.name(); part.pages as usize])
            .collect::<Vec<_>>(),
        "unseen": verdict.unseen.iter().map(|unseen| unseen.name()).collect::<Vec<_>>(),
    })
}
