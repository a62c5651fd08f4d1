//! The engine as a world: a player, and what can be seen of its processes.

use super::token::Classes;
use super::{Area, Heard, Space, WATCHED_PAGES, Window, World};
use crate::scenario::{At, Player, Seen, Setup, Step};
use gup::addr::VirtAddr;
use gup::observe::Event;

/// The engine, in the middle of a program.
pub struct Engine {
    player: Player,
    watch: Vec<(u64, u64)>,
    exact: bool,
}

impl Engine {
    /// A machine as `setup` says, otherwise like a fresh system on which processes may lock
    /// `memlock` bytes.
    /// # Errors
    /// Why it cannot be made, in words.
    pub fn new(setup: &Setup, memlock: u64) -> Result<Self, String> {
        let player = Player::new(setup)?.like_a_fresh_system(memlock);
        Ok(Self { player, watch: setup.watch.clone(), exact: false })
    }
    /// The same, which also says what it has of each page.
    #[must_use]
    pub fn exactly(self) -> Self {
        Self { exact: true, ..self }
    }
    /// The player.
    pub fn player(&self) -> &Player {
        &self.player
    }
    /// Ends the program; what was left behind, which should be nothing.
    pub fn finish(self) -> Vec<String> {
        self.player.finish()
    }
    /// The address that `at` stands for in `process`.
    pub(super) fn address(&self, process: &str, at: &At) -> Option<u64> {
        self.player.addr(process, at).ok().map(VirtAddr::get)
    }
    fn spaces(&self) -> Vec<Space> {
        if self.exact {
            self.player.settle();
        }
        let mut classes = Classes::default();
        let names = self.player.process_names();
        names.into_iter().map(|process| self.space(process, &mut classes)).collect()
    }
    fn space(&self, process: String, classes: &mut Classes) -> Space {
        let watch = match &self.watch[..] {
            [] => self.player.named_ranges(&process, WATCHED_PAGES),
            said => said.to_vec(),
        };
        let areas: Vec<Area> = self.player.areas(&process, &watch);
        let window = |(start, pages)| {
            let pages = self.player.tokens(&process, start, pages, classes);
            let exact = self.exact.then(|| self.player.exact(&process, start, &pages));
            Window { start, pages, exact }
        };
        let windows = watch.into_iter().map(window).collect();
        Space { process, areas, windows }
    }
}

impl World for Engine {
    fn play(&mut self, step: &Step) -> Heard {
        let before = self.player.faults_of(&step.op);
        let (value, seen) = self.player.perform(&step.op);
        let after = self.player.faults_of(&step.op);
        let charged = |((minor, major), (minor_now, major_now)): ((u64, u64), (u64, u64))| {
            (minor_now.saturating_sub(minor), major_now.saturating_sub(major))
        };
        let faults = before.zip(after).map(charged);
        Heard { value, faults, pins: Some(pins(&seen)), spaces: self.spaces() }
    }
}

/// Pins acquired and released.
fn pins(seen: &[Seen]) -> (u64, u64) {
    seen.iter().fold((0, 0), |(taken, given), seen| match seen {
        Seen::Event(Event::Pinned(count)) => (taken + u64::from(*count), given),
        Seen::Event(Event::Unpinned(count)) => (taken, given + u64::from(*count)),
        _ => (taken, given),
    })
}
