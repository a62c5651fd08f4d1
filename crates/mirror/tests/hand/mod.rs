//! Windows made by hand, by the name of their situation.

use gup_mirror::kernel::Facts;
use gup_mirror::proc::backing::Backing;
use gup_mirror::proc::hugepages::HugePages;
use gup_mirror::proc::limits::LockRights;
use gup_mirror::proc::maps::Area;
use gup_mirror::proc::vmflags::VmFlagNames;
use gup_mirror::window::{Page, PageState, Place, Window};
use std::collections::BTreeSet;

/// Where every range begins; whole huge pages fit.
pub(crate) const START: u64 = 0x2000_0000_0000;

fn ext4() -> Backing {
    Backing::File { fs_type: Some("ext4".into()), size: Some(1 << 20) }
}

/// One page in `state`, in an area with these flags that begins `above` pages further up.
fn one(flags: &str, backing: Backing, state: PageState, above: u64, pages: u64) -> Window {
    let start = START + (above << 12);
    let shared = flags.split(' ').any(|flag| flag == "sh");
    let letters = if shared { "rw-s" } else { "rw-p" };
    let line = format!("{start:x}-{:x} {letters} 0 00:00 0", start + (pages << 12));
    let mut area = Area::parse(&line).expect("a line of maps");
    area.flags = Some(VmFlagNames::parse(flags));
    let page = Page {
        state,
        huge: flags.split(' ').any(|flag| flag == "ht"),
        userfault_wp: false,
        pfn: None,
        mapcount: None,
        hwpoison: None,
    };
    Window {
        start: START,
        places: vec![Place { area, backing }],
        pages: vec![page],
        last_byte: Some(0),
        userfault: None,
        rights: LockRights::FREE,
        huge_pages: HugePages { free: 4, reserved: 0 },
        core_filter: gup_mirror::world::dumped::DEFAULT,
        kernel: Facts::default(),
        unseen: BTreeSet::new(),
        raced: false,
    }
}

/// The window of this name: one page.
pub(crate) fn situation(name: &str) -> Window {
    let anon = || Backing::Anonymous;
    let own = PageState::AnonExclusive;
    match name {
        "own" => one("rd wr mr mw me ac", anon(), own, 0, 1),
        "forked" => one("rd wr mr mw me ac", anon(), PageState::AnonShared, 0, 1),
        "zero" => one("rd wr mr mw me ac", anon(), PageState::Zero, 0, 1),
        "guard" => one("rd wr mr mw me ac gu", anon(), PageState::Guard, 0, 1),
        "read-only" => one("rd mr mw me ac", anon(), own, 0, 1),
        "hole" => one("rd wr mr mw me ac", anon(), PageState::Absent, 4, 1),
        "below-stack" => one("rd wr mr mw me gd ac", anon(), PageState::Absent, 1, 4),
        "shared-file" => one("rd wr sh mr mw me ms", ext4(), PageState::File, 0, 1),
        "shared-file-ro" => one("rd sh mr mw me ms", ext4(), PageState::File, 0, 1),
        "private-file" => one("rd wr mr mw me ac", ext4(), PageState::File, 0, 1),
        "file-title" => one("rd mr mw me", ext4(), PageState::File, 0, 1),
        "memfd" => {
            let backing = Backing::Shmem { size: Some(1 << 20) };
            one("rd wr sh mr mw me ms", backing, PageState::File, 0, 1)
        }
        "secret" => one("rd wr sh mr mw me ms lo", Backing::Secretmem, PageState::File, 0, 1),
        "hugetlb-ro" => {
            let backing = Backing::Hugetlb { size: Some(1 << 21) };
            one("rd mr mw me ht de", backing, own, 0, 512)
        }
        other => panic!("no situation named {other}"),
    }
}
