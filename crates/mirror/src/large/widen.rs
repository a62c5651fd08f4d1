//! The verdict on a long range, from the one on what was left of it.

use crate::consumer::Answers;
use crate::explain::request::Request;
use crate::explain::verdict::{Call, Segment, Verdict};
use crate::large::condense::Cuts;
use crate::window::Place;

/// `verdict`, which was found for what `cuts` left of the range of `request`, for all of it. The
/// areas are `places`.
pub(crate) fn widened(
    verdict: Verdict,
    request: &Request,
    cuts: &Cuts,
    places: &[Place],
) -> Verdict {
    let count = |pages: u64| pages.saturating_add(cuts.pages_before(pages));
    let mut stop = verdict.stop;
    if let Some(stop) = &mut stop {
        stop.index = count(stop.index);
        stop.addr = cuts.old_address(stop.addr);
        stop.place = places.iter().find(|place| place.area.contains(stop.addr)).cloned();
    }
    let got = verdict.segments.iter().map(|segment| segment.pages).sum::<u64>();
    let bytes = request.ask.consumer().is_some_and(|consumer| match consumer.answers() {
        Answers::Bytes | Answers::AllBytes => true,
        Answers::All | Answers::PerPage | Answers::Status => false,
    });
    let gone = cuts.pages_before(got) << 12;
    let call = verdict.call.map(|call| match call {
        Call { ret, .. } if bytes && ret > 0 => {
            Call { ret: ret.saturating_add_unsigned(gone), ..call }
        }
        call => call,
    });
    let mut index = 0;
    let mut segments = Vec::with_capacity(verdict.segments.len());
    for segment in verdict.segments {
        let next = index + segment.pages;
        let pages = count(next) - count(index);
        let start = request.range.first_page().wrapping_add(count(index) << 12);
        segments.push(Segment { start, pages, ..segment });
        index = next;
    }
    Verdict {
        nr_pages: request.range.pages(),
        gup: verdict.gup.map(count),
        call,
        segments,
        stop,
        ..verdict
    }
}
