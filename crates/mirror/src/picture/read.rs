//! Reading the picture of a process: its areas once, then the runs of pages that are there.
//!
//! What is not there costs nothing: reservations are not read page by page. Frames' flags are
//! looked up for so many pages, and the rest is called *mapped once*. Nothing is stopped meanwhile:
//! where the areas had changed at the end, the picture says so.

use super::fate::Fates;
use super::look::{Frames, Huge, Look};
use super::runs::{Builder, Kind, Run};
use crate::error::MirrorError;
use crate::explain::NoVerdict;
use crate::explain::request::Ask;
use crate::kernel::Facts;
use crate::proc::backing::Backing;
use crate::proc::limits::LockRights;
use crate::proc::maps::{self, Area};
use crate::proc::mounts::Mounts;
use crate::proc::pagemap::{self, PagemapWord};
use crate::proc::scan::{Categories, Runs};
use crate::proc::uffd;
use crate::process::Process;
use crate::window::{Around, PageState, Place, is_watched};
use crate::world::dumped;
use gup::linux::Version;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::collections::HashMap;

/// One area with its pages.
#[derive(Clone, Debug)]
pub struct Region {
    /// The area, and what stands behind it.
    pub place: Place,
    /// The kinds of its pages.
    pub kinds: Vec<Kind>,
    /// Its pages, in address order.
    pub runs: Vec<Run>,
}

impl Region {
    /// Number of pages.
    pub const fn pages(&self) -> u64 {
        self.place.area.end.saturating_sub(self.place.area.start) >> 12
    }
}

/// A whole address space.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Who pins; `None` if only states were asked for.
    pub ask: Option<Ask>,
    /// The kernel whose rules apply.
    pub rules: Version,
    /// Its areas, in address order.
    pub regions: Vec<Region>,
    /// Whether the areas changed while they were read.
    pub raced: bool,
}

impl Picture {
    /// About so many runs are kept of all regions together.
    const RUNS: usize = 1 << 17;
    /// The pages of a larger area are not read one by one on kernels without `PAGEMAP_SCAN`.
    const ONE_BY_ONE: u64 = 1 << 24;

    /// Reads the picture of `process`, with what `ask` would meet.
    ///
    /// # Errors
    /// [`NoVerdict`].
    pub fn read(process: &Process, ask: Option<Ask>) -> Result<Self, NoVerdict> {
        Self::under(process, ask, &process.facts())
    }

    /// As [`Picture::read`], if `process` ran on another kernel.
    ///
    /// # Errors
    /// [`NoVerdict`].
    pub fn under(process: &Process, ask: Option<Ask>, facts: &Facts) -> Result<Self, NoVerdict> {
        let areas = maps::around(process, 0, u64::MAX)?;
        let mut reader = Reader::open(process)?;
        let budget = (Self::RUNS / areas.len().max(1)).clamp(64, 4096);
        let mut regions = Vec::with_capacity(areas.len());
        for area in areas {
            regions.push(reader.region(area, budget)?);
        }
        let raced = changed(&regions, &maps::all(process)?);
        if let Some(ask) = ask {
            reader.fates(&mut regions, ask, facts)?;
        }
        let (pid, name) = (process.pid(), process.name().to_owned());
        Ok(Self { pid, name, ask, rules: facts.version(), regions, raced })
    }
}

/// Whether the areas are not those of the regions.
fn changed(regions: &[Region], now: &[Area]) -> bool {
    let bare = |area: &Area| (area.start, area.end, area.perms, area.inode);
    let before = regions.iter().map(|region| bare(&region.place.area));
    !before.eq(now.iter().map(bare))
}

/// Everything that is opened once.
struct Reader<'a> {
    process: &'a Process,
    mounts: Mounts,
    backings: HashMap<(String, (u32, u32), u64), Backing>,
    runs: Option<Runs>,
    pagemap: OwnedFd,
    frames: Frames,
}

/// The error of a read, or the kernel's.
struct Stopped(MirrorError);

impl From<Errno> for Stopped {
    fn from(errno: Errno) -> Self {
        Self(MirrorError::Io { pid: 0, tried: "pagemap".to_owned(), errno })
    }
}

impl<'a> Reader<'a> {
    fn open(process: &'a Process) -> Result<Self, MirrorError> {
        let mounts = process.read_file("mountinfo").unwrap_or_default();
        Ok(Self {
            process,
            mounts: Mounts::parse(&String::from_utf8_lossy(&mounts)),
            backings: HashMap::new(),
            runs: Runs::open(process)?,
            pagemap: process.open_file("pagemap")?,
            frames: Frames::open(),
        })
    }

    fn region(&mut self, area: Area, budget: usize) -> Result<Region, MirrorError> {
        let backing = self.backing(&area);
        let place = Place { area, backing };
        let mut builder = Builder::new(place.area.start, budget);
        let end = place.area.end;
        // The vsyscall page is no page of the process's tables.
        if place.backing != Backing::Gate {
            match self.runs.take() {
                Some(runs) => {
                    let read = self.by_runs(&runs, &place, &mut builder);
                    self.runs = Some(runs);
                    read?;
                }
                None => self.one_by_one(&place, &mut builder)?,
            }
        }
        absent(&place, &mut builder, end);
        let Builder { kinds, runs, .. } = builder;
        Ok(Region { place, kinds, runs })
    }

    /// What stands behind `area`; one file is looked at once, however many areas it has.
    fn backing(&mut self, area: &Area) -> Backing {
        if area.inode == 0 || area.name.starts_with("anon_inode:") {
            return Backing::of(self.process, area, &self.mounts);
        }
        let key = (area.name.clone(), area.dev, area.inode);
        let private_zero = area.name == "/dev/zero";
        if let Some(known) = self.backings.get(&key).filter(|_| !private_zero) {
            return known.clone();
        }
        let backing = Backing::of(self.process, area, &self.mounts);
        self.backings.insert(key, backing.clone());
        backing
    }

    fn by_runs(
        &mut self,
        runs: &Runs,
        place: &Place,
        builder: &mut Builder,
    ) -> Result<(), MirrorError> {
        let Area { start, end, .. } = place.area;
        // Its marks and markers are in the words alone.
        let words_matter = is_watched(place);
        let read = runs.each(start, end, |from, to, categories| {
            absent(place, builder, from);
            let look = Look::of_categories(categories);
            let anon = match look.state {
                PageState::AnonExclusive | PageState::AnonShared | PageState::AnonOnce => true,
                PageState::Ksm | PageState::AnonOrZero => true,
                PageState::Absent | PageState::Zero | PageState::File => false,
                PageState::Swap | PageState::Guard => false,
                PageState::Poisoned | PageState::Marked => false,
            };
            if anon || words_matter {
                return self.words(place, to, Some(categories), builder).map_err(Stopped);
            }
            builder.push(to, look);
            Ok(())
        });
        read.map_err(|Stopped(error)| match error {
            MirrorError::Io { pid: 0, errno, .. } => self.process.error("pagemap", errno),
            other => other,
        })
    }

    /// Looks at every page up to `end`.
    fn words(
        &mut self,
        place: &Place,
        end: u64,
        categories: Option<Categories>,
        builder: &mut Builder,
    ) -> Result<(), MirrorError> {
        const CHUNK: u64 = 1 << 16;
        while builder.at() < end {
            let at = builder.at();
            let pages = (end.saturating_sub(at) >> 12).min(CHUNK);
            let count = usize::try_from(pages).unwrap_or(0);
            let fd = self.pagemap.as_fd();
            let words = pagemap::words_from(self.process, fd, at, count)?;
            let huge = if categories.is_some_and(Categories::huge) { Huge::Yes } else { Huge::No };
            for page in 0..pages {
                let word = words.get(page as usize).copied().unwrap_or(PagemapWord(0));
                let flags = self.frames.flags(word, huge);
                let next = at.saturating_add((page + 1) << 12);
                match Look::of_word(word, categories, flags) {
                    Look { state: PageState::Absent, .. } => absent(place, builder, next),
                    look => builder.push(next, look),
                }
            }
            if builder.at() <= at {
                break;
            }
        }
        Ok(())
    }

    fn one_by_one(&mut self, place: &Place, builder: &mut Builder) -> Result<(), MirrorError> {
        let Area { start, end, .. } = place.area;
        if (end - start) >> 12 > Picture::ONE_BY_ONE {
            builder.skip(end);
            return Ok(());
        }
        self.words(place, end, None, builder)
    }

    fn fates(&self, regions: &mut [Region], ask: Ask, facts: &Facts) -> Result<(), NoVerdict> {
        let watched = regions.iter().any(|region| is_watched(&region.place));
        let around = Around {
            userfault: if watched { uffd::features(self.process) } else { None },
            rights: LockRights::of(self.process),
            huge_pages: self.process.huge_pages(),
            kernel: facts.clone(),
            core_filter: dumped::filter_of(self.process),
            frames_seen: self.frames.are_seen(),
        };
        let mut fates = Fates::new(ask, &around);
        for region in regions {
            for kind in &mut region.kinds {
                kind.fate = Some(fates.of(&region.place, kind.sample, kind.look)?);
            }
        }
        Ok(())
    }
}

/// Empty entries up to `end`, told apart by whether the file reaches that far.
fn absent(place: &Place, builder: &mut Builder, end: u64) {
    if let Some(size) = place.backing.file_size() {
        let whole = size.checked_next_multiple_of(4096).unwrap_or(u64::MAX);
        let reaches = whole.saturating_sub(place.area.offset);
        let file_end = place.area.start.saturating_add(reaches);
        builder.push(end.min(file_end), Look::ABSENT);
        builder.push(end, Look { past_end: true, ..Look::ABSENT });
    } else {
        builder.push(end, Look::ABSENT);
    }
}
