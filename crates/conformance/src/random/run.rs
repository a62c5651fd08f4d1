//! Playing random programs in a pair of worlds, counting, and stopping at a difference.

use super::generate::{Set, program};
use super::means::Means;
use super::shrink::{Shrunk, shrink};
use super::tally::Tally;
use crate::live::{Kernel, Lab};
use crate::replay::{FirstDifference, Side};
use crate::scenario::{Program, Setup, Signal, Step, Value};
use crate::world::{Difference, Engine, Heard, Verdict, World, beside};
use gup::errno::Errno;
use gup_mirror::proc::kernel::KernelVersion;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Two worlds: the engine, and the one that is right.
pub type Worlds<'w> = [Box<dyn World + 'w>; 2];

/// Makes two worlds for each program.
pub trait Pair {
    /// Fresh worlds on a machine such as `setup` says.
    /// # Errors
    /// Why there are none, in words.
    fn start(&mut self, setup: &Setup) -> Result<Worlds<'_>, String>;
}

/// Pages of the hugetlb pool that is made for programs.
const HUGE_PAGES: u64 = 16;

/// The engine, and the running kernel.
#[derive(Debug)]
pub struct Live {
    lab: Lab,
    /// Bytes that a process may lock.
    memlock: u64,
}

impl Live {
    /// The kernel is asked in `lab`.
    pub fn new(lab: Lab) -> Self {
        Self { lab, memlock: crate::sys::memlock() }
    }
    /// What programs can be drawn on here, made now where the laboratory may make it, and the
    /// reasons for what is missing.
    pub fn means(&mut self) -> (Means, Vec<String>) {
        let wanted = Setup { swap_pages: 1, huge_pages: HUGE_PAGES, ..Setup::default() };
        self.lab.provide(&wanted);
        Means::probe()
    }
    /// What cannot be seen here, in words.
    pub fn shortcomings(&self) -> Vec<&'static str> {
        self.lab.shortcomings()
    }
}

impl Pair for Live {
    fn start(&mut self, setup: &Setup) -> Result<Worlds<'_>, String> {
        let running = KernelVersion::running();
        if (running.major, running.minor) != (6, 18) {
            return Err(format!("programs are of Linux 6.18, this is {}", running.release));
        }
        let engine = Engine::new(setup, self.memlock)?;
        let engine = if self.lab.watch.exact { engine.exactly() } else { engine };
        Ok([Box::new(engine), Box::new(Kernel::new(&mut self.lab, setup)?)])
    }
}

/// What is to be played.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first program's seed; the next ones count on from it.
    pub seed: u64,
    /// Programs; `None`: until the time is up.
    pub programs: Option<u64>,
    /// Drawn operations of each.
    pub ops: usize,
    /// When to stop at the latest.
    pub time: Option<Duration>,
    /// Which operations.
    pub set: Set,
    /// What the machine has.
    pub means: Means,
    /// Go on after a difference.
    pub keep_going: bool,
}

/// The first difference, in the program as it was drawn and as short as it could be made.
#[derive(Clone, Debug, PartialEq)]
pub struct First {
    /// Where it is, and both answers.
    pub difference: FirstDifference,
    /// The shortest program found that differs.
    pub shrunk: Shrunk,
}

/// What a world said, in the numbers of recorded programs: of a signal its negated number, of calls
/// per page their mask, of a load how many bytes.
fn side(heard: &Heard) -> Side {
    let (ret, errno) = match &heard.value {
        Value::Done | Value::Holds => (0, 0),
        Value::At(addr) => (addr.get().cast_signed(), 0),
        Value::Count(count) => (*count, 0),
        Value::Failed(errno) => (-1, errno.raw()),
        Value::Signal(Signal::Sigsegv) => (-11, 0),
        Value::Signal(Signal::Sigbus) => (-7, 0),
        Value::Signal(Signal::Sigkill) => (-9, 0),
        Value::Bytes(bytes) => (i64::try_from(bytes.len()).unwrap_or(i64::MAX), 0),
        Value::PerPage { mask, last } => (mask.cast_signed(), last.map_or(0, Errno::raw)),
        Value::DoesNotHold(_) | Value::CannotPlay(_) => (-1, 0),
    };
    Side { ret, errno, state: heard.state() }
}

/// What came of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Programs played.
    pub programs: u64,
    /// Operations that both worlds played.
    pub operations: u64,
    /// Answered alike.
    pub ok: u64,
    /// Programs that ended in a difference.
    pub differs: u64,
    /// Programs that ended in a difference that says nothing: the kernel, asked the same again,
    /// answered otherwise. It had done something on the side.
    pub unsteady: u64,
    /// Operations that one world could not play.
    pub cannot_ask: u64,
    /// Why not, and how often.
    pub reasons: BTreeMap<String, u64>,
    /// By operation and kind of memory.
    pub tally: Tally,
    /// The first difference.
    pub first: Option<First>,
    /// Time spent, without shrinking.
    pub took: Duration,
}

/// What a listener is told.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'t> {
    /// A program has ended.
    Played(&'t Totals),
    /// The worlds differ.
    Differs(&'t First),
    /// The worlds differ, and the kernel differs from itself.
    Unsteady(&'t FirstDifference),
}

/// How often the kernel is asked again about a program that differs.
const AGAIN: u32 = 2;

/// Plays `plan`. `heard` is told how it goes, and answers whether to go on.
pub fn run(
    plan: &Plan,
    pair: &mut dyn Pair,
    mut heard: impl FnMut(Progress<'_>) -> bool,
) -> Totals {
    let (mut totals, began, mut shrinking) = (Totals::default(), Instant::now(), Duration::ZERO);
    for n in 0.. {
        let over = plan.programs.is_some_and(|programs| n >= programs)
            || plan.time.is_some_and(|time| began.elapsed() >= time);
        if over {
            break;
        }
        let seed = plan.seed.wrapping_add(n);
        let program = program(seed, plan.ops, plan.set, plan.means);
        let played = play(&program, pair, &mut |told| count(&mut totals, &told));
        totals.programs += 1;
        totals.took = began.elapsed().saturating_sub(shrinking);
        let mut go_on = heard(Progress::Played(&totals));
        if let Some(found) = played {
            let start = Instant::now();
            let difference = FirstDifference {
                seed: Some(seed),
                i: found.step as u64,
                op: program.steps[found.step].op.to_string(),
                kernel: side(&found.kernel),
                engine: side(&found.engine),
                note: Some(note(&found)),
            };
            if is_steady(&program, pair, &found) {
                let first = First { difference, shrunk: shrink(&program, found.step, pair) };
                totals.differs += 1;
                go_on &= heard(Progress::Differs(&first)) && plan.keep_going;
                totals.first.get_or_insert(first);
            } else {
                totals.unsteady += 1;
                go_on &= heard(Progress::Unsteady(&difference));
            }
            shrinking += start.elapsed();
        }
        if !go_on {
            break;
        }
    }
    totals
}

/// Whether the kernel answers `program` each time in the same way when it is asked again. The
/// engine always does, so another difference, or none, is the kernel's doing.
fn is_steady(program: &Program, pair: &mut dyn Pair, found: &Found) -> bool {
    (0..AGAIN).all(|_| {
        let mut cannot = false;
        let again = play(program, pair, &mut |told| cannot = told.cannot.is_some());
        // A program that could not be asked has said nothing else.
        again.map_or(cannot, |again| {
            let (now, then) = (&again.kernel, &found.kernel);
            (again.step, &again.difference) == (found.step, &found.difference)
                && (&now.value, now.faults, now.pins) == (&then.value, then.faults, then.pins)
        })
    })
}

/// What is not the same, in words.
fn note(found: &Found) -> String {
    let Found { difference, engine, kernel, .. } = found;
    match difference {
        Difference::Value => format!("engine {}, kernel {}", engine.value, kernel.value),
        Difference::Faults => {
            format!("faults: engine {:?}, kernel {:?}", engine.faults, kernel.faults)
        }
        Difference::Pins => format!("pins: engine {:?}, kernel {:?}", engine.pins, kernel.pins),
        Difference::Processes
        | Difference::Areas { .. }
        | Difference::Page { .. }
        | Difference::Exact { .. } => difference.to_string(),
    }
}

/// A step at which the worlds differ.
pub(super) struct Found {
    pub(super) step: usize,
    pub(super) difference: Difference,
    pub(super) engine: Heard,
    pub(super) kernel: Heard,
}

/// What came of one step.
pub(super) struct StepTold<'s> {
    step: &'s Step,
    /// What the engine had said of the step before.
    before: Option<&'s Heard>,
    /// `None`: both said the same, or differ; else why it could not be asked.
    cannot: Option<String>,
    same: bool,
}

fn count(totals: &mut Totals, told: &StepTold<'_>) {
    let cell = totals.tally.of(&told.step.op, told.before);
    if let Some(why) = &told.cannot {
        cell.cannot_ask += 1;
        totals.cannot_ask += 1;
        *totals.reasons.entry(why.clone()).or_default() += 1;
        return;
    }
    cell.asked += 1;
    totals.operations += 1;
    if told.same {
        cell.agreed += 1;
        totals.ok += 1;
    }
}

/// Plays `program` up to its first difference.
///
/// The engine is asked first: what it cannot play is not put to the kernel. Where the kernel cannot
/// play what the engine has played, the program ends.
pub(super) fn play(
    program: &Program,
    pair: &mut dyn Pair,
    told: &mut dyn FnMut(StepTold<'_>),
) -> Option<Found> {
    let mut cannot = |why: String| {
        for step in program.steps.iter().take(1) {
            told(StepTold { step, before: None, cannot: Some(why.clone()), same: false });
        }
    };
    let [mut engine, mut kernel] = match pair.start(&program.setup) {
        Ok(worlds) => worlds,
        Err(why) => {
            cannot(why);
            return None;
        }
    };
    let mut last: Option<Heard> = None;
    for (n, step) in program.steps.iter().enumerate() {
        let ours = engine.play(step);
        let before = last.as_ref();
        if let Value::CannotPlay(why) = &ours.value {
            let cannot = Some(format!("engine: {why}"));
            told(StepTold { step, before, cannot, same: false });
            continue;
        }
        let (right, verdict) = beside(&ours, &mut *kernel, step);
        match verdict {
            Verdict::Same => told(StepTold { step, before, cannot: None, same: true }),
            Verdict::CannotAsk(why) => {
                told(StepTold { step, before, cannot: Some(why), same: false });
                return None;
            }
            Verdict::Differs(difference) => {
                told(StepTold { step, before, cannot: None, same: false });
                return Some(Found { step: n, difference, engine: ours, kernel: right });
            }
        }
        last = Some(ours);
    }
    None
}
