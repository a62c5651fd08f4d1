//! The verb `explain`: opens the process, asks for the verdict, prints it.

use super::human;
use super::json::Object;
use crate::answers::{AnswerArgs, Answers};
use crate::args::ExplainArgs;
use crate::follow;
use crate::manners::{self, Watched, Wrapping, width_of};
use crate::status::{Answer, Failure, yes_or_no};
use gup::flags::Foll;
use gup::linux::Version;
use gup_conformance::cost::calibrate;
use gup_mirror::bundle;
use gup_mirror::consumer::Consumer;

use gup_mirror::explain::hints;
use gup_mirror::explain::look::Look;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::explain::verdict::Verdict;
use gup_mirror::explain::{Glance, glance};
use gup_mirror::kernel::changes::{Change, changes};
use gup_mirror::kernel::{Facts, parse};
use gup_mirror::meanwhile::pages_read;
use gup_mirror::proc::kernel::KernelVersion;
use gup_mirror::process::Process;
use gup_mirror::range::{Address, ByteRange, Length};
use std::io::Write;
use std::process::ExitCode;

/// A verdict, and whom it is about.
pub(crate) struct Answered<'a> {
    /// The process.
    pub(crate) process: &'a Process,
    /// The kernel that it runs on.
    pub(crate) kernel: &'a KernelVersion,
    /// The kernel that is answered for.
    pub(crate) rules: Version,
    /// What changed between the two, for this range.
    pub(crate) changed: &'a [Change],
    /// The verdict.
    pub(crate) verdict: &'a Verdict,
    /// The process changed while it was looked at.
    pub(crate) raced: bool,
    /// How many pages were asked about, if the look was interrupted before it saw them all.
    pub(crate) interrupted: Option<u64>,
    /// What else was asked.
    pub(crate) answers: &'a Answers,
}

impl Answered<'_> {
    /// What to look at when the call fails although the pin would not.
    pub(crate) fn why_fine(&self) -> Vec<String> {
        hints::why_fine(self.process, self.verdict)
    }

    /// Whether the rules are those of the running kernel, and were measured.
    pub(crate) fn is_exact(&self) -> bool {
        (self.kernel.major, self.kernel.minor) == (6, 18) && !self.is_other()
    }

    /// Whether another kernel is answered for than the one that it runs on.
    pub(crate) fn is_other(&self) -> bool {
        let Version(major, minor) = self.rules;
        (u32::from(major), u32::from(minor)) != (self.kernel.major, self.kernel.minor)
    }
}

/// Runs `gup explain`.
pub(crate) fn run(args: &ExplainArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    if !args.follow.command.is_empty() {
        return follow::run(args);
    }
    let address: Address = args.addr.as_deref().unwrap_or_default().parse()?;
    let Length(len) = args.len.as_deref().unwrap_or_default().parse()?;
    let ask = ask(args)?;
    let asked = args.kernel.as_deref().map(kernel_named).transpose()?;
    if let Address::At(start) = address {
        ByteRange::new(start, len)?;
    }
    let process = opened(args)?;
    let range = ByteRange::new(address.resolve(&process)?, len)?;
    // What was probed of the kernel that it runs on counts for its own version.
    let asked = asked.filter(|version| *version != process.facts().version());
    let facts = asked.map_or_else(|| process.facts(), Facts::released);
    let request = Request { ask, range };
    let (read, pages) = (pages_read(), range.pages());
    let progress = Watched::new(pages, "pages", move || pages_read() - read);
    let (glance, changed, answers) = if asked.is_some() || args.answers.any() {
        let mut look = Look::under(&process, request, &facts)?;
        let changed = match asked {
            Some(_) => changes(&look.window, &look.request, &process.facts())?,
            None => Vec::new(),
        };
        look.also = also(args, &process)?;
        let answers = answers_of(&args.answers, &mut look)?;
        (Glance { raced: look.raced(), verdict: look.verdict, interrupted: None }, changed, answers)
    } else {
        manners::heed();
        (glance(&process, &request, &facts)?, Vec::new(), Answers::default())
    };
    drop(progress);
    let verdict = &glance.verdict;
    let kernel = process.kernel();
    let (process, kernel, answers) = (&process, &kernel, &answers);
    let (rules, changed) = (facts.version(), &changed[..]);
    // A name may stand for another address by now.
    let raced = glance.raced || address.resolve(process).ok() != Some(range.start());
    let interrupted = glance.interrupted;
    let answered =
        Answered { process, kernel, rules, changed, verdict, raced, interrupted, answers };
    if args.json {
        let object = Object::new(&answered);
        let text = serde_json::to_string(&object).map_err(std::io::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        let mut lines = Wrapping::new(out, width_of(&std::io::stdout()));
        human::print(&answered, &mut lines)?;
        answers.print(&mut lines)?;
        lines.finish()?;
    }
    if interrupted.is_some() {
        return Ok(manners::status());
    }
    let no = args.check && (!verdict.is_fine() || answers.refuse());
    let answer = if no { Answer::No } else { Answer::Yes };
    Ok(yes_or_no(answer))
}

/// What else is asked about `look`.
pub(crate) fn answers_of(args: &AnswerArgs, look: &mut Look<'_>) -> Result<Answers, Failure> {
    look.what_if = args.what_if.what_if();
    look.rates = if args.cost { calibrate(look.request.range.pages() << 12) } else { None };
    Answers::of(args, look)
}

/// The further ranges of the call.
fn also(args: &ExplainArgs, process: &Process) -> Result<Vec<ByteRange>, Failure> {
    let range = |pair: &[String]| {
        let address: Address = pair[0].parse()?;
        let Length(len) = pair[1].parse()?;
        Ok(ByteRange::new(address.resolve(process)?, len)?)
    };
    args.also.chunks_exact(2).map(range).collect()
}

/// The process that is asked about: a live one, or one in a bundle.
fn opened(args: &ExplainArgs) -> Result<Process, Failure> {
    match &args.bundle {
        Some(path) => {
            let bad = |why| Failure::Unreadable(format!("{}: {why}", path.display()));
            Ok(Process::from_bundle(bundle::read(path).map_err(bad)?))
        }
        // Without a bundle there is one; 0 is nobody.
        None => Ok(Process::open(args.pid.unwrap_or(0))?),
    }
}

/// The version that `--kernel` names.
pub(crate) fn kernel_named(text: &str) -> Result<Version, Failure> {
    parse(text).map_err(|bad| Failure::Usage(format!("--kernel: {bad}")))
}

/// What is asked: a consumer, or raw flags.
fn ask(args: &ExplainArgs) -> Result<Ask, Failure> {
    if let Some(words) = &args.foll {
        return Ok(Ask::Flags(flags_named(words)?));
    }
    Ok(Ask::Consumer(consumer_named(args.consumer.as_deref().unwrap_or_default())?))
}

/// The consumer with this name.
pub(crate) fn consumer_named(name: &str) -> Result<Consumer, Failure> {
    let unknown = || {
        let names: Vec<&str> = Consumer::ALL.iter().map(|consumer| consumer.name()).collect();
        Failure::Usage(format!("{name:?} is no consumer; --as takes one of: {}", names.join(", ")))
    };
    Consumer::from_name(name).ok_or_else(unknown)
}

/// A flag set such as `WRITE|PIN|LONGTERM`, with or without `FOLL_`.
pub(crate) fn flags_named(words: &str) -> Result<Foll, Failure> {
    let mut flags = Foll::empty();
    for word in words.split(['|', ',', '+']).map(str::trim).filter(|word| !word.is_empty()) {
        let upper = word.to_uppercase();
        let name = upper.strip_prefix("FOLL_").unwrap_or(&upper);
        let unknown = || {
            let names: Vec<&str> = Foll::all().iter_names().map(|(name, _)| name).collect();
            Failure::Usage(format!("{word:?} is no FOLL flag; there are: {}", names.join(" ")))
        };
        flags |= Foll::from_name(name).ok_or_else(unknown)?;
    }
    Ok(flags)
}
