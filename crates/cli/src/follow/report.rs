//! What is known of one failed call: the verdict on the first of its ranges that would be refused,
//! or on the first of all if none would.

use crate::answers::{AnswerArgs, Answers};
use crate::explain::{Answered, answers_of};
use gup::flags::Foll;
use gup_follow::calls::decode::Range;
use gup_follow::calls::table::Kind;
use gup_follow::trace::failed::Failed;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::look::Look;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::explain::{Glance, glance};
use gup_mirror::proc::limits::LockRights;
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;

/// Ranges of one call that are looked at; the thread waits meanwhile.
const LOOKED_AT: usize = 1024;

/// What the reader gets about one failed call.
pub(crate) struct Report<'a> {
    /// The call.
    pub(crate) failed: &'a Failed,
    /// The name of the process.
    pub(crate) comm: String,
    /// Which of its ranges the verdict is on, from 0.
    pub(crate) index: usize,
    /// Why there is no verdict, if that is not because it has no range.
    pub(crate) unknown: Option<String>,
    /// Where to look when no page stops it.
    pub(crate) look_at: Vec<String>,
}

/// Looks at the ranges of `failed`, and calls `then` with the report, and with the verdict if there
/// is one.
pub(crate) fn with_report<T>(
    failed: &Failed,
    args: &AnswerArgs,
    then: impl FnOnce(&Report<'_>, Option<&Answered<'_>>) -> T,
) -> T {
    let own = Process::open(failed.pid).ok();
    let mut report = Report {
        failed,
        comm: own.as_ref().map_or_else(String::new, |process| process.name().to_owned()),
        index: 0,
        unknown: None,
        look_at: failed.asked.advice.iter().map(|advice| (*advice).to_owned()).collect(),
    };
    if matches!(failed.row.kind, Kind::LockWithoutRange | Kind::RingSetup) {
        report.look_at.extend(own.as_ref().and_then(locked));
    }
    let Some(first) = failed.asked.ranges.first() else { return then(&report, None) };
    let process = match Process::open(first.pid.unwrap_or(failed.pid)) {
        Ok(process) => process,
        Err(why) => {
            report.unknown = Some(why.to_string());
            return then(&report, None);
        }
    };
    let found = decisive(&process, &failed.asked.ranges).and_then(|(index, request, glance)| {
        report.index = index;
        let answers = answers(&process, request, index, failed, args)?;
        Ok((glance, answers))
    });
    match found {
        Ok((glance, answers)) => {
            let (kernel, rules) = (process.kernel(), process.facts().version());
            let (process, kernel, answers) = (&process, &kernel, &answers);
            let (changed, verdict, raced) = (&[][..], &glance.verdict, glance.raced);
            let interrupted = glance.interrupted;
            let answered =
                Answered { process, kernel, rules, changed, verdict, raced, interrupted, answers };
            then(&report, Some(&answered))
        }
        Err(why) => {
            report.unknown = Some(why);
            then(&report, None)
        }
    }
}

/// What else is asked, about that range of the call which is decisive.
fn answers(
    process: &Process,
    request: Request,
    index: usize,
    failed: &Failed,
    args: &AnswerArgs,
) -> Result<Answers, String> {
    let limited = may_be_the_limit(failed, request);
    if !args.any() && !limited {
        return Ok(Answers::default());
    }
    let mut look = match Look::at(process, request) {
        Ok(look) => look,
        // What nobody asked for is not missed.
        Err(_) if !args.any() => return Ok(Answers::default()),
        Err(why) => return Err(why.to_string()),
    };
    let others = failed.asked.ranges.iter().enumerate().filter(|(other, _)| *other != index);
    look.also = others.filter_map(|(_, other)| of_bytes(other).ok()).collect();
    let args = AnswerArgs { memlock: args.memlock || limited, ..args.clone() };
    answers_of(&args, &mut look).map_err(|why| why.to_string())
}

/// Whether it may be the limit on locked memory that refuses, so that it is told unasked.
fn may_be_the_limit(failed: &Failed, request: Request) -> bool {
    let counted = request.ask.consumer().is_some_and(|consumer| match consumer {
        Consumer::Mlock | Consumer::MlockOnfault => true,
        consumer => consumer.flags().contains(Foll::LONGTERM),
    });
    counted && matches!(failed.errno(), Some("ENOMEM" | "EAGAIN" | "EPERM" | "ENOBUFS"))
}

/// The first range that would be refused, or else the first; or why the first has no verdict.
fn decisive(process: &Process, ranges: &[Range]) -> Result<(usize, Request, Glance), String> {
    let mut fine = None;
    for (index, range) in ranges.iter().enumerate().take(LOOKED_AT) {
        let (request, found) = match look(process, range) {
            Ok(found) => found,
            Err(why) if fine.is_none() => return Err(why),
            Err(_) => continue,
        };
        if !found.verdict.is_fine() {
            return Ok((index, request, found));
        }
        fine.get_or_insert((index, request, found));
    }
    fine.ok_or_else(|| "the call names no memory".to_owned())
}

fn look(process: &Process, range: &Range) -> Result<(Request, Glance), String> {
    let request = Request { ask: Ask::Consumer(range.consumer), range: of_bytes(range)? };
    let found = glance(process, &request, &process.facts());
    found.map(|found| (request, found)).map_err(|why| why.to_string())
}

fn of_bytes(range: &Range) -> Result<ByteRange, String> {
    ByteRange::new(range.start, range.len).map_err(|why| why.to_string())
}

/// How much the process may lock, for calls that name no range.
fn locked(process: &Process) -> Option<String> {
    let rights = LockRights::of(process);
    let limit = rights.memlock.filter(|_| !rights.ipc_lock)?;
    let (limit, used) = (limit / 1024, rights.locked_pages * 4);
    Some(format!("RLIMIT_MEMLOCK is {limit} KiB, of which {used} KiB are used (ulimit -l)"))
}
