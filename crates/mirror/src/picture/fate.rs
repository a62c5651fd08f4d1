//! What a pin of one page alone would meet, by playing one page of each kind in the engine.

use super::look::Look;
use crate::explain::action::Action;
use crate::explain::explain_window;
use crate::explain::request::{Ask, Request};
use crate::proc::backing::Backing;
use crate::range::{ByteRange, PAGE};
use crate::unseen::Unseen;
use crate::window::{Around, PageState, Place, Window};
use crate::world::build::CannotBuild;
use gup::errno::Errno;
use gup::rule::Rule;
use std::collections::HashMap;
use std::sync::Arc;

/// What a pin of one page alone would meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is obtained, after this was done.
    Done(Action),
    /// It is refused.
    Refused {
        /// By this rule.
        rule: Rule,
        /// With this errno.
        errno: Errno,
    },
    /// That depends on what was not seen.
    Unknown(Arc<[Unseen]>),
}

/// The fates of pages, each kind played once.
pub(super) struct Fates<'a> {
    ask: Ask,
    around: &'a Around,
    known: HashMap<String, Fate>,
}

impl<'a> Fates<'a> {
    pub(super) fn new(ask: Ask, around: &'a Around) -> Self {
        Self { ask, around, known: HashMap::new() }
    }

    /// The fate of the page at `addr` of `place`, which looks like `look`.
    ///
    /// # Errors
    /// [`CannotBuild`].
    pub(super) fn of(&mut self, place: &Place, addr: u64, look: Look) -> Result<Fate, CannotBuild> {
        let key = key(place, look);
        if let Some(fate) = self.known.get(&key) {
            return Ok(fate.clone());
        }
        let fate = self.play(place, addr, look)?;
        self.known.insert(key, fate.clone());
        Ok(fate)
    }

    fn play(&self, place: &Place, addr: u64, look: Look) -> Result<Fate, CannotBuild> {
        let window = Window::of_page(addr, place, look.page(), self.around);
        let Ok(range) = ByteRange::new(addr, PAGE) else {
            return Ok(Fate::Unknown(Arc::from([])));
        };
        let verdict = explain_window(&window, &Request { ask: self.ask, range })?;
        let action = verdict.segments.first().map(|segment| segment.action);
        Ok(match (verdict.stop, action) {
            _ if !verdict.unseen.is_empty() => Fate::Unknown(verdict.unseen.into()),
            (Some(stop), _) => Fate::Refused { rule: stop.rule, errno: stop.errno },
            (None, Some(Action::Unknown) | None) => Fate::Unknown(Arc::from([Unseen::Exclusive])),
            (None, Some(action)) => Fate::Done(action),
        })
    }
}

/// What a fate depends on, as a text: the area without its place and name, and the look.
fn key(place: &Place, look: Look) -> String {
    let area = &place.area;
    let (backing, sized) = match &place.backing {
        Backing::Shmem { size } => (Backing::Shmem { size: None }, size.is_some()),
        Backing::Hugetlb { size } => (Backing::Hugetlb { size: None }, size.is_some()),
        Backing::File { fs_type, size } => {
            (Backing::File { fs_type: fs_type.clone(), size: None }, size.is_some())
        }
        Backing::Anonymous | Backing::Secretmem | Backing::Vdso | Backing::Vvar => {
            (place.backing.clone(), true)
        }
        Backing::Gate | Backing::AioRing | Backing::Device => (place.backing.clone(), true),
    };
    // Only where a page is missing does it matter how far the area reaches around it.
    let room = look.state == PageState::Absent && area.end - area.start >= 1 << 21;
    format!("{} {:?} {backing:?} {sized} {room} {look:?}", area.perms, area.flags)
}
