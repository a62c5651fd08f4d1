//! A `/proc` that lies: areas that overlap, wrap or are not at a page, flags that contradict each
//! other, pages in any state anywhere. Every consumer gets a verdict or a refusal; nothing panics
//! and nothing runs without end.

use gup::flags::Foll;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::explain_window;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::kernel::Facts;
use gup_mirror::proc::backing::Backing;
use gup_mirror::proc::hugepages::HugePages;
use gup_mirror::proc::limits::LockRights;
use gup_mirror::proc::maps::Area;
use gup_mirror::proc::status::Status;
use gup_mirror::proc::vmflags::VmFlagNames;
use gup_mirror::range::ByteRange;
use gup_mirror::window::{Page, PageState, Place, Window};
use proptest::prelude::*;
use std::collections::BTreeSet;

const WORDS: [&str; 20] = [
    "rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "gd", "pf", "io", "lo", "ht", "hg", "mm", "um",
    "uw", "sl", "gu", "zz",
];

fn state() -> impl Strategy<Value = PageState> {
    prop::sample::select(vec![
        PageState::Absent,
        PageState::Zero,
        PageState::AnonExclusive,
        PageState::AnonShared,
        PageState::AnonOnce,
        PageState::Ksm,
        PageState::File,
        PageState::Swap,
        PageState::Guard,
        PageState::Poisoned,
        PageState::Marked,
        PageState::AnonOrZero,
    ])
}

prop_compose! {
    fn page()(
        state in state(),
        huge in any::<bool>(),
        userfault_wp in any::<bool>(),
        pfn in any::<Option<u64>>(),
        mapcount in any::<Option<u64>>(),
        hwpoison in any::<Option<bool>>(),
    ) -> Page {
        Page { state, huge, userfault_wp, pfn, mapcount, hwpoison }
    }
}

fn backing() -> impl Strategy<Value = Backing> {
    let size = any::<Option<u64>>();
    prop_oneof![
        4 => Just(Backing::Anonymous),
        1 => size.prop_map(|size| Backing::Shmem { size }),
        1 => any::<Option<u64>>().prop_map(|size| Backing::Hugetlb { size }),
        1 => Just(Backing::Secretmem),
        1 => Just(Backing::Vdso),
        1 => Just(Backing::Vvar),
        1 => Just(Backing::Gate),
        1 => Just(Backing::Device),
        1 => Just(Backing::AioRing),
    ]
}

/// An address near the window, or anywhere.
fn near(start: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0u64..40).prop_map(move |n| start.wrapping_add(n << 12)),
        1 => (0u64..200_000).prop_map(move |n| start.wrapping_sub(100_000).wrapping_add(n)),
        1 => any::<u64>(),
    ]
}

fn place(start: u64) -> impl Strategy<Value = Place> {
    let flags = prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..9);
    (near(start), near(start), flags, backing(), any::<u64>()).prop_map(
        |(from, to, flags, backing, offset)| {
            let line = format!("{from:x}-{to:x} rw-p {offset:x} 00:00 0");
            let mut area = Area::parse(&line).expect("the form of a line");
            area.flags = Some(VmFlagNames::parse(&flags.join(" ")));
            Place { area, backing }
        },
    )
}

fn window() -> impl Strategy<Value = Window> {
    let starts =
        vec![0, 0x2000_0000_0000, (1 << 47) - (8 << 12), 1 << 47, u64::MAX - (16 << 12) + 1];
    prop::sample::select(starts).prop_flat_map(|start| {
        let places = prop::collection::vec(place(start), 0..6);
        let pages = prop::collection::vec(page(), 1..12);
        let pool = (any::<u64>(), any::<u64>());
        (places, pages, pool).prop_map(move |(places, pages, (free, reserved))| Window {
            last_byte: None,
            start,
            places,
            pages,
            userfault: None,
            rights: LockRights::FREE,
            huge_pages: HugePages { free, reserved },
            core_filter: free,
            kernel: Facts::default(),
            unseen: BTreeSet::new(),
            raced: false,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_window_gets_an_answer(window in window(), foll in any::<u64>()) {
        let bytes = (window.pages.len() as u64) << 12;
        let Ok(range) = ByteRange::new(window.start, bytes) else { return Ok(()) };
        for &consumer in Consumer::ALL {
            let _ = explain_window(&window, &Request { ask: Ask::Consumer(consumer), range });
        }
        let ask = Ask::Flags(Foll::from_bits_truncate(foll));
        let _ = explain_window(&window, &Request { ask, range });
    }

    #[test]
    fn no_line_of_proc_is_too_strange(line in ".{0,80}", words in "[a-z0-9 :-]{0,60}") {
        let _ = (Area::parse(&line), Area::parse(&words));
        let _ = (Status::parse(&line), VmFlagNames::parse(&words));
    }
}
