//! What the consumers were before 6.18: calls that were not there yet, other flags, and a check of
//! their own.
//!
//! Each is a rule of the catalogue (C-105 … C-109); which kernels have it stands there. *Missing*:
//! a kind of page or mapping that the kernel asked about does not have, so that nothing is known of
//! what would stand there instead.
//!
//! Linux: `io_uring/rsrc.c` `io_pin_pages`, drivers/infiniband/core/umem.c `ib_umem_get`,
//! block/bio.c `bio_iov_iter_get_pages` (6.1 and 6.12).

use crate::consumer::Consumer;
use crate::kernel::Forced;
use crate::proc::backing::Backing as Seen;
use crate::window::{PageState, Window};
use crate::world::host::MirrorHost;
use gup::addr::VirtAddr;
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::Foll;
use gup::gup::Stop;
use gup::host::Host;
use gup::linux::Version;
use gup::mm::Mm;
use gup::rule::{Rule, c};
use gup::vma::Backing;

/// A call that came after v4.4: who makes it, with which kernel, and what older ones answer.
pub struct Arrival {
    /// The consumer.
    pub consumer: Consumer,
    /// The first kernel that has the call.
    pub since: Version,
    /// The errno of a kernel that does not have it.
    pub errno: Errno,
    /// The rule that stands for the call, where one does: it may have been carried back.
    rule: Option<Rule>,
}

const fn arrival(consumer: Consumer, since: Version, errno: Errno, rule: Option<Rule>) -> Arrival {
    Arrival { consumer, since, errno, rule }
}

/// Every call that came after v4.4.
const ARRIVALS: [Arrival; 5] = [
    arrival(Consumer::MadvisePopulateRead, Version(5, 14), Errno::EINVAL, Some(c::C_95)),
    arrival(Consumer::MadvisePopulateWrite, Version(5, 14), Errno::EINVAL, Some(c::C_95)),
    arrival(Consumer::IoUringBuffer, Version(5, 1), Errno::ENOSYS, None),
    arrival(Consumer::IoUringPbuf, Version(5, 19), Errno::EINVAL, None),
    arrival(Consumer::XdpUmem, Version(4, 18), Errno::EAFNOSUPPORT, None),
];

/// When the call of `consumer` came, if that was after v4.4.
pub fn arrival_of(consumer: Consumer) -> Option<&'static Arrival> {
    ARRIVALS.iter().find(|arrival| arrival.consumer == consumer)
}

/// The refusal of a kernel that does not have the call yet.
pub(crate) fn not_there(host: &MirrorHost, consumer: Consumer, start: VirtAddr) -> Option<Stop> {
    let (kernel, arrival) = (host.kernel()?, arrival_of(consumer)?);
    let there = match arrival.rule {
        Some(rule) => kernel.has(rule),
        None => kernel.version >= arrival.since,
    };
    if there {
        return None;
    }
    host.decided(c::C_109, start);
    Some(Stop::with(c::C_109, arrival.errno))
}

/// The flags that reach GUP from `consumer` in this kernel.
pub(crate) fn flags(host: &MirrorHost, consumer: Consumer, start: VirtAddr) -> Foll {
    let flags = consumer.flags();
    let direct = matches!(consumer, Consumer::ODirectRead | Consumer::ODirectWrite);
    if host.past_rule(c::C_108, direct, start) {
        return (flags - Foll::PIN) | Foll::GET;
    }
    if host.past_rule(c::C_107, consumer == Consumer::RdmaReadonly, start) {
        return flags | Foll::WRITE | Foll::FORCE;
    }
    let proc_mem = matches!(consumer, Consumer::ProcMemRead | Consumer::ProcMemWrite);
    if host.rule(c::C_99, proc_mem && host.forced() == Forced::No, start) {
        return flags - Foll::FORCE;
    }
    flags
}

/// The own look of `io_uring` at what it pinned, for one page: whose memory it does not take.
pub(crate) fn refuses_page(
    mm: &Mm<MirrorHost>,
    consumer: Consumer,
    addr: VirtAddr,
) -> Option<Stop> {
    if !matches!(consumer, Consumer::IoUringBuffer | Consumer::IoUringPbuf) {
        return None;
    }
    let host = mm.machine().host();
    host.kernel()?;
    let map = mm.read();
    let Backing::File(mapping) = &map.lookup(addr)?.backing else { return None };
    let rule = match mapping.file.kind() {
        FileKind::Hugetlb(_) => return None,
        FileKind::Shmem => c::C_106,
        FileKind::Regular | FileKind::NoWriteback | FileKind::Fsdax | FileKind::Secret => c::C_105,
    };
    host.past_rule(rule, true, addr).then(|| Stop::by(rule))
}

/// Whether `window` has pages or mappings of a kind that its kernel does not have.
pub(crate) fn has_missing_kinds(window: &Window) -> bool {
    if window.kernel.seen_on {
        return false;
    }
    let version = window.kernel.version();
    let end = window.start.saturating_add((window.pages.len() as u64) << 12);
    let inside = |start: u64, stop: u64| start < end && window.start < stop;
    let guards = version < Version(6, 13);
    let missing = |place: &&crate::window::Place| {
        let area = &place.area;
        let has = |name| area.flags.as_ref().is_some_and(|flags| flags.has(name));
        inside(area.start, area.end)
            && (place.backing == Seen::Secretmem && version < Version(5, 14)
                || has("dp") && version < Version(6, 11)
                || has("ss") && version < Version(6, 6))
    };
    guards && window.pages.iter().any(|page| page.state == PageState::Guard)
        || window.places.iter().any(|place| missing(&place))
}
