//! Lines that expect something of pages: their states, which of them are the same, their counts.
//!
//! Absent: what is expected of a step ([`super::report`]).

use super::player::{Player, Space, no_process};
use super::program::{At, Counted, Place};
use super::report::Value;
use super::{access, tokens};
use crate::world::Area;
use gup::addr::Pfn;
use gup::gup::Page;

/// How many pages of a mapping are looked at after each step.
const WATCHED_PAGES: u64 = 16;

/// Whether the areas of `pages` pages from `start` on are as they are wanted.
pub(crate) fn areas_fit(want: &str, areas: &[Area], (start, pages): (u64, u64)) -> Value {
    let is: Vec<String> = areas.iter().map(|area| area.within(start, pages)).collect();
    let is = is.join("; ");
    if is == want {
        Value::Holds
    } else {
        Value::DoesNotHold(format!("expected \"{want}\", it is \"{is}\""))
    }
}

impl Player {
    /// States of the first pages of every mapping that are not as they were shown last.
    pub(super) fn changed_states(&mut self) -> Vec<(String, String)> {
        let mut changed = Vec::new();
        for (name, process) in &self.processes {
            for (mapping, (start, pages)) in &process.names {
                let watched = (*pages).min(WATCHED_PAGES);
                let mut state = process.space.tokens(*start, watched).join(" ");
                if *pages > watched {
                    state.push_str(" …");
                }
                let label = format!("{name}:{mapping}");
                if self.shown.get(&label) != Some(&state) {
                    changed.push((label, state));
                }
            }
        }
        self.shown.extend(changed.iter().cloned());
        changed
    }
    pub(super) fn expect_state(
        &self,
        process: &str,
        at: &At,
        pages: u64,
        want: &[String],
    ) -> Value {
        let addr = match self.addr(process, at) {
            Ok(addr) => addr,
            Err(value) => return value,
        };
        let Some(owner) = self.processes.get(process) else { return no_process(process) };
        let is = owner.space.tokens(addr, pages);
        if want.iter().zip(&is).all(|(want, is)| tokens::fits(want, is)) {
            Value::Holds
        } else {
            Value::DoesNotHold(format!("expected {}, it is {}", want.join(" "), is.join(" ")))
        }
    }
    pub(super) fn expect_areas(&self, process: &str, at: &At, pages: u64, want: &str) -> Value {
        let addr = match self.addr(process, at) {
            Ok(addr) => addr.page_floor().get(),
            Err(value) => return value,
        };
        if !self.processes.contains_key(process) {
            return no_process(process);
        }
        areas_fit(want, &self.areas(process, &[(addr, pages)]), (addr, pages))
    }
    /// The frame at `place`.
    fn frame(&self, place: &Place) -> Result<Pfn, Value> {
        match place {
            Place::Pinned { pin, index } => {
                let held = self.pins.get(pin);
                let page = held.and_then(|held| held.pages.get(usize::try_from(*index).ok()?));
                let pfn = page.and_then(Option::as_ref).map(Page::pfn);
                pfn.ok_or_else(|| Value::DoesNotHold(format!("{pin} has no page {index}")))
            }
            Place::Mapped { process, at } => {
                let addr = self.addr(process, at)?;
                let owner = self.processes.get(process).ok_or_else(|| no_process(process))?;
                let pfn = match &owner.space {
                    Space::Mmu(mm) => access::mapped(mm, addr, access::Access::Load),
                    Space::Flat(mm) => mm.flat().frame_at(addr),
                };
                pfn.ok_or_else(|| Value::DoesNotHold(format!("nothing is mapped at {addr}")))
            }
        }
    }
    pub(super) fn expect_same(&self, left: &Place, right: &Place, same: bool) -> Value {
        match (self.frame(left), self.frame(right)) {
            (Err(value), _) | (_, Err(value)) => value,
            (Ok(left), Ok(right)) if (left == right) == same => Value::Holds,
            (Ok(left), Ok(right)) => Value::DoesNotHold(format!(
                "one is {left:?}, the other {right:?}: {}",
                if same { "not the same page" } else { "the same page" }
            )),
        }
    }
    pub(super) fn expect_count(&self, place: &Place, counted: Counted, want: u64) -> Value {
        let pfn = match self.frame(place) {
            Ok(pfn) => pfn,
            Err(value) => return value,
        };
        let frames = self.machine.frames();
        let is = u64::from(match counted {
            Counted::Refs => frames.refs(pfn),
            Counted::Pins => frames.pins(pfn),
            Counted::Mapcount => frames.mapcount(pfn),
        });
        if is == want {
            Value::Holds
        } else {
            Value::DoesNotHold(format!("expected {want}, it is {is}"))
        }
    }
}
