//! A program as a scenario that can be kept: with the kernel's answers as what is expected.

use super::run::Pair;
use crate::scenario::{Op, Program, Signal, Value};
use crate::world::{Heard, Space};
use std::fmt::Write as _;

/// `program` as text, each step with what the right world says of it, and its last state at the
/// end. If that world cannot be had, without expectations.
pub fn scenario_of(program: &Program, pair: &mut dyn Pair) -> String {
    let mut text = format!("{}\n", program.setup);
    let mut right = pair.start(&program.setup).ok().map(|[_, right]| right);
    let mut last = None;
    for step in &program.steps {
        let heard = right.as_mut().map(|world| world.play(step));
        let wish = heard.as_ref().map_or_else(|| "any".to_owned(), |heard| wish(&heard.value));
        // Writing to a string cannot fail.
        let _ = match &step.op {
            Op::Process { .. } | Op::File { .. } => writeln!(text, "{}", step.op),
            op => writeln!(text, "{op} -> {wish}"),
        };
        last = heard;
    }
    if let Some(heard) = last {
        states(&heard, &mut text);
    }
    text
}

/// What is expected where `value` came.
fn wish(value: &Value) -> String {
    match value {
        Value::Done => "ok".to_owned(),
        Value::Count(count) => count.to_string(),
        Value::Failed(errno) => errno.name().to_owned(),
        Value::Signal(Signal::Sigsegv) => "SIGSEGV".to_owned(),
        Value::Signal(Signal::Sigbus) => "SIGBUS".to_owned(),
        Value::Signal(Signal::Sigkill) => "SIGKILL".to_owned(),
        Value::At(_)
        | Value::Bytes(_)
        | Value::PerPage { .. }
        | Value::Holds
        | Value::DoesNotHold(_)
        | Value::CannotPlay(_) => "any".to_owned(),
    }
}

/// The areas as comments, and the state of every window up to its last page that has an area.
fn states(heard: &Heard, text: &mut String) {
    for Space { process, areas, windows } in &heard.spaces {
        for area in areas {
            let _ = writeln!(text, "# {process}: {area}");
        }
        for window in windows {
            let mut pages: Vec<String> =
                window.pages.iter().map(|page| page.without_class().to_string()).collect();
            while pages.last().is_some_and(|page| page == ".") {
                pages.pop();
            }
            if !pages.is_empty() {
                let (start, pages) = (window.start, pages.join(" "));
                let _ = writeln!(text, "expect state {process}:{start:#x} \"{pages}\"");
            }
        }
    }
}
