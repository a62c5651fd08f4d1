//! The verdict alone, on a range of any length.
//!
//! A short range is looked at page by page ([`Look`]); of a long one, what is alike is looked at
//! once. Both give the same verdict.

use super::look::Look;
use super::request::Request;
use super::run::{NoVerdict, explain_cut};
use super::verdict::Verdict;
use crate::consumer::Consumer;
use crate::error::MirrorError;
use crate::kernel::Facts;
use crate::large::condense::{Condensed, Cuts};
use crate::large::survey::Survey;
use crate::large::widen::widened;
use crate::proc::maps;
use crate::proc::mounts::Mounts;
use crate::process::Process;
use crate::range::{BadRange, ByteRange, MAX_PAGES};
use crate::window::{Place, Window, parts, places_of};

/// The most pages that are looked at one by one.
const SHORT: u64 = 4096;
/// The most bytes that one call reads or writes (`MAX_RW_COUNT`).
const MOST_MOVED: u64 = 0x7fff_f000;
/// How many readings may disagree before the read is given up.
const TRIES: u32 = 4;

/// A verdict, and whether the process changed while it was found.
#[derive(Clone, Debug)]
pub struct Glance {
    /// The verdict.
    pub verdict: Verdict,
    /// The process changed, has ended since, or runs another program.
    pub raced: bool,
    /// How many pages were asked about, if the look was interrupted; the verdict then is about
    /// those that were looked at, and what the call would return is not known.
    pub interrupted: Option<u64>,
}

/// Says what `request` would get from `process` by the rules of `kernel`.
///
/// # Errors
/// [`NoVerdict`].
pub fn glance(process: &Process, request: &Request, kernel: &Facts) -> Result<Glance, NoVerdict> {
    let cmdline = request.ask.consumer() == Some(Consumer::ProcCmdline);
    if request.range.pages() <= SHORT || cmdline {
        let look = Look::under(process, *request, kernel)?;
        return Ok(Glance { raced: look.raced(), verdict: look.verdict, interrupted: None });
    }
    let mut asked = Request { range: moved(request), ..*request };
    let shortened = shortened(process, asked.range, kernel)?;
    let Shortened { window, cuts, places, seen } = shortened;
    let whole = seen == asked.range.pages();
    asked.range = asked.range.first_pages(seen);
    let verdict = explain_cut(&window, &asked, &cuts)?;
    let mut verdict = widened(verdict, &asked, &cuts, &places);
    verdict.nr_pages = if whole { request.range.pages() } else { seen };
    if !whole && verdict.is_fine() {
        verdict.call = None;
    }
    let ended = process.image_now().ok() != Some(process.image());
    let interrupted = (!whole).then(|| request.range.pages());
    Ok(Glance { verdict, raced: window.raced || ended, interrupted })
}

/// What is left of a range that was cut.
struct Shortened {
    window: Window,
    /// What was cut out of it.
    cuts: Cuts,
    /// Its areas, as they were.
    places: Vec<Place>,
    /// How many of its pages were read: all, if nobody interrupted.
    seen: u64,
}

/// The part of the range that one call looks at.
fn moved(request: &Request) -> ByteRange {
    let range = request.range;
    match request.ask.consumer() {
        Some(consumer) if consumer.moves_bytes() => {
            let len = range.len_bytes().min(MOST_MOVED);
            ByteRange::new(range.start(), len).unwrap_or(range)
        }
        Some(_) | None => range,
    }
}

/// What is left of the range when what is alike is cut out.
fn shortened(process: &Process, range: ByteRange, kernel: &Facts) -> Result<Shortened, NoVerdict> {
    let start = range.first_page();
    let end = start.saturating_add(range.pages() << 12);
    let mounts = process.read_file("mountinfo").unwrap_or_default();
    let mounts = Mounts::parse(&String::from_utf8_lossy(&mounts));
    for before in 0..TRIES {
        let image = process.image_now()?;
        let maps::Around { areas, huge, .. } = maps::surveyed(process, start, end)?;
        let survey = Survey::read(process, start, range.pages(), huge)?;
        let now = maps::listed(process, start, end)?;
        let same = parts(&now, start, end) == parts(&areas, start, end);
        if !same || process.image_now()? != image {
            continue;
        }
        let places = places_of(process, areas, &mounts);
        let seen = survey.runs.iter().map(|run| run.pages).sum();
        let condensed = Condensed::new(&survey, start, &places);
        if condensed.pages.len() as u64 > MAX_PAGES {
            return Err(BadRange::TooLong { pages: range.pages() }.into());
        }
        let Condensed { pages, cuts, unlocked, places: moved } = condensed;
        let mut window = Window::of(process, start, moved, pages, survey.notes);
        window.kernel.clone_from(kernel);
        window.rights.locked_pages = window.rights.locked_pages.saturating_add(unlocked);
        window.raced = before > 0 || image != process.image();
        return Ok(Shortened { window, cuts, places, seen });
    }
    Err(MirrorError::Raced { pid: process.pid(), start, tries: TRIES }.into())
}
