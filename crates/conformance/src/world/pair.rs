//! Two worlds that play the same steps: the engine, and another that is asked the same.
//!
//! Where a step lets its world choose an address, the engine chooses first and the other is told.
//! A step that only the engine could play leaves the two in different states: from then on nothing
//! is asked, except what changes nothing.

use super::{Difference, Engine, Heard, Verdict, World, compare};
use crate::scenario::{At, Base, Op, Step, Value};
use gup::flags::MapFlags;

/// The engine beside another world.
pub struct Pair<W> {
    /// The engine.
    pub engine: Engine,
    /// The other.
    pub other: W,
    /// Why nothing can be asked any more.
    parted: Option<String>,
}

/// What came of one step.
#[derive(Clone, Debug)]
pub struct Both {
    /// What the engine said.
    pub engine: Heard,
    /// What the other said, if it was asked.
    pub other: Option<Heard>,
    /// How they relate.
    pub verdict: Verdict,
}

impl<W: World> Pair<W> {
    /// The two, before the first step of a program.
    pub fn new(engine: Engine, other: W) -> Self {
        Self { engine, other, parted: None }
    }
    /// Plays one step in both.
    pub fn play(&mut self, step: &Step) -> Both {
        let old = match &step.op {
            Op::Mremap { process, span, .. } => self.engine.address(process, &span.at),
            _ => None,
        };
        let engine = self.engine.play(step);
        if let Some(why) = &self.parted {
            let verdict = Verdict::CannotAsk(why.clone());
            return Both { engine, other: None, verdict };
        }
        if let Value::CannotPlay(why) = &engine.value {
            let verdict = Verdict::CannotAsk(format!("engine: {why}"));
            return Both { engine, other: None, verdict };
        }
        let (other, verdict) = beside(&engine, &mut self.other, &placed(step, &engine, old));
        if matches!(other.value, Value::CannotPlay(_)) && changes(&step.op) {
            self.parted = Some(match step.line {
                0 => format!("{} could not be asked", step.op),
                line => format!("line {line} could not be asked"),
            });
        }
        Both { engine, other: Some(other), verdict }
    }
}

/// Plays `step`, of which the engine has said `engine`, in the other world. Counts are looked at
/// again as long as what changes them may be on its way.
pub(crate) fn beside(engine: &Heard, other: &mut dyn World, step: &Step) -> (Heard, Verdict) {
    let mut heard = other.play(step);
    loop {
        let verdict = compare(engine, &heard);
        if !matches!(verdict, Verdict::Differs(Difference::Exact { .. })) {
            return (heard, verdict);
        }
        match other.again() {
            Some(spaces) => heard.spaces = spaces,
            None => return (heard, verdict),
        }
    }
}

/// Whether the operation changes anything.
fn changes(op: &Op) -> bool {
    !matches!(
        op,
        Op::ExpectState { .. }
            | Op::ExpectAreas { .. }
            | Op::ExpectSame { .. }
            | Op::ExpectOther { .. }
            | Op::ExpectCount { .. }
            | Op::PinRead { .. }
    )
}

/// The step as the other world gets it: where the engine chose an address, that address. An area
/// that stayed where it was, at `old`, stays there in the other world too.
fn placed(step: &Step, engine: &Heard, old: Option<u64>) -> Step {
    let mut step = step.clone();
    let Value::At(chosen) = &engine.value else { return step };
    let there = Some(At { base: Base::Absolute, offset: chosen.get() });
    match &mut step.op {
        Op::Map(map) if map.at.is_none() => {
            map.at = there;
            map.flags |= MapFlags::FIXED_NOREPLACE;
        }
        Op::Mremap { at, .. } if at.is_none() && old != Some(chosen.get()) => *at = there,
        _ => {}
    }
    step
}
