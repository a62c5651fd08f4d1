//! What two worlds said of one step, side by side.

use super::{Area, Exact, Heard, Space, Window};
use crate::scenario::Value;

/// How what two worlds said relates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that both looked at is the same.
    Same,
    /// Something is not; the first of it.
    Differs(Difference),
    /// One of the two could not play the step: which, and why.
    CannotAsk(String),
}

/// The first thing that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// What the operation gave.
    Value,
    /// Faults charged to the caller.
    Faults,
    /// Pins acquired and released.
    Pins,
    /// Which processes live.
    Processes,
    /// Areas of this process.
    Areas {
        /// The process.
        process: String,
        /// The first area that the other world does not have, in the engine and in the kernel.
        first: (Option<Area>, Option<Area>),
    },
    /// The state of a page.
    Page {
        /// The process.
        process: String,
        /// The page's address.
        addr: u64,
        /// Its state in the engine and in the kernel.
        states: (String, String),
    },
    /// The counts of a page, or what its entry says.
    Exact {
        /// The process.
        process: String,
        /// The page's address.
        addr: u64,
        /// What the engine and the kernel have of it.
        has: (Exact, Exact),
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let area = |area: &Option<Area>| {
            area.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
        };
        match self {
            Self::Value => f.write_str("the answer"),
            Self::Faults => f.write_str("the faults charged to the caller"),
            Self::Pins => f.write_str("the pins acquired and released"),
            Self::Processes => f.write_str("which processes live"),
            Self::Areas { process, first: (engine, kernel) } => {
                let (engine, kernel) = (area(engine), area(kernel));
                write!(f, "the areas of {process}: engine {engine}, kernel {kernel}")
            }
            Self::Page { process, addr, states: (engine, kernel) } => {
                write!(f, "the page at {addr:#x} of {process}: engine {engine}, kernel {kernel}")
            }
            Self::Exact { process, addr, has: (engine, kernel) } => {
                write!(f, "the page at {addr:#x} of {process}: engine {engine}; kernel {kernel}")
            }
        }
    }
}

/// Compares what `engine` and `kernel` said. What one of them did not look at is left out.
pub fn compare(engine: &Heard, kernel: &Heard) -> Verdict {
    for (heard, who) in [(kernel, "kernel"), (engine, "engine")] {
        if let Value::CannotPlay(why) = &heard.value {
            return Verdict::CannotAsk(format!("{who}: {why}"));
        }
    }
    difference(engine, kernel).map_or(Verdict::Same, Verdict::Differs)
}

fn both<T: PartialEq>(left: Option<&T>, right: Option<&T>) -> bool {
    left.zip(right).is_some_and(|(left, right)| left != right)
}

fn difference(engine: &Heard, kernel: &Heard) -> Option<Difference> {
    if engine.value != kernel.value {
        return Some(Difference::Value);
    }
    let names = |heard: &Heard| -> Vec<String> {
        heard.spaces.iter().map(|space| space.process.clone()).collect()
    };
    if engine.spaces.len() != kernel.spaces.len() || names(engine) != names(kernel) {
        return Some(Difference::Processes);
    }
    let pairs = || engine.spaces.iter().zip(&kernel.spaces);
    pairs()
        .find_map(|(left, right)| areas(left, right))
        .or_else(|| pairs().find_map(|(left, right)| pages(left, right)))
        .or_else(|| pairs().find_map(|(left, right)| exact(left, right)))
        .or_else(|| both(engine.pins.as_ref(), kernel.pins.as_ref()).then_some(Difference::Pins))
        .or_else(|| {
            both(engine.faults.as_ref(), kernel.faults.as_ref()).then_some(Difference::Faults)
        })
}

fn areas(engine: &Space, kernel: &Space) -> Option<Difference> {
    if engine.areas == kernel.areas {
        return None;
    }
    let odd =
        |these: &[Area], those: &[Area]| these.iter().find(|area| !those.contains(area)).cloned();
    let first = (odd(&engine.areas, &kernel.areas), odd(&kernel.areas, &engine.areas));
    Some(Difference::Areas { process: engine.process.clone(), first })
}

fn pages(engine: &Space, kernel: &Space) -> Option<Difference> {
    let page = |(left, right): (&Window, &Window)| {
        let mut pages = (0_u64..).zip(left.pages.iter().zip(&right.pages));
        let (n, (left_page, right_page)) = pages.find(|(_, (left, right))| left != right)?;
        Some(Difference::Page {
            process: engine.process.clone(),
            addr: left.start + (n << gup::addr::PAGE_SHIFT),
            states: (left_page.to_string(), right_page.to_string()),
        })
    };
    engine.windows.iter().zip(&kernel.windows).find_map(page)
}

/// What both worlds have of pages, where both were looked at.
fn exact(engine: &Space, kernel: &Space) -> Option<Difference> {
    let page = |(left, right): (&Window, &Window)| {
        let pages = left.exact.iter().flatten().zip(right.exact.iter().flatten());
        let (n, has) = (0_u64..).zip(pages).find(|(_, (left, right))| left != right)?;
        Some(Difference::Exact {
            process: engine.process.clone(),
            addr: left.start + (n << gup::addr::PAGE_SHIFT),
            has: (*has.0, *has.1),
        })
    };
    engine.windows.iter().zip(&kernel.windows).find_map(page)
}
