//! Drawings of made-up pictures: what is on the screen, and that SVG and HTML are whole.

use super::draw::{Colours, draw};
use super::ink::{By, Ink};
use super::rows::{Row, Scale, cells, pages_of, rows, totals};
use super::verb::Shown;
use super::view::{Key, Step, View};
use super::{html, plain, svg};
use gup::errno::Errno;
use gup::linux::Version;
use gup::rule::c;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::action::Action;
use gup_mirror::explain::request::Ask;
use gup_mirror::picture::fate::Fate;
use gup_mirror::picture::{Kind, Look, Mappings, Picture, Region, Run};
use gup_mirror::proc::backing::Backing;
use gup_mirror::proc::kernel::KernelVersion;
use gup_mirror::proc::maps::Area;
use gup_mirror::window::{PageState, Place};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

const HOSTILE: &str = "/tmp/<b>&\"</script>\u{1b}[2J";

fn look(state: PageState) -> Look {
    Look {
        state,
        huge: false,
        userfault_wp: false,
        mappings: Mappings::Unseen,
        poisoned: false,
        past_end: false,
    }
}

/// A region whose runs are so many pages of a state; absent pages are made first, files refused.
fn region(line: &str, runs: &[(u64, PageState)]) -> Region {
    let area = Area::parse(line).unwrap();
    let mut region =
        Region { place: Place { area, backing: Backing::Anonymous }, kinds: vec![], runs: vec![] };
    let mut start = region.place.area.start;
    for &(pages, state) in runs {
        let known = region.kinds.iter().position(|kind| kind.look.state == state);
        let kind = known.unwrap_or_else(|| {
            let fate = match state {
                PageState::File => Fate::Refused { rule: c::C_32, errno: Errno::EFAULT },
                PageState::Absent => Fate::Done(Action::Allocate),
                _ => Fate::Done(Action::Take),
            };
            let kind = Kind { look: look(state), pages: 0, sample: start, fate: Some(fate) };
            region.kinds.push(kind);
            region.kinds.len() - 1
        });
        region.kinds[kind].pages += pages;
        region.runs.push(Run { start, pages, parts: vec![(kind as u16, pages)] });
        start += pages << 12;
    }
    assert_eq!(start, region.place.area.end, "{line}");
    region
}

/// Ten pages, and 100 GiB with three pages in it.
fn picture() -> Picture {
    use PageState::{Absent, AnonExclusive, File};
    let hostile = format!("200000-203000 r--s 0 00:01 7 {HOSTILE}");
    let regions = vec![
        region("100000-107000 rw-p 0 00:00 0 [heap]", &[(5, AnonExclusive), (2, Absent)]),
        region(&hostile, &[(1, Absent), (2, File)]),
        region(
            "7f0000000000-7f1900000000 rw-p 0 00:00 0 ",
            &[(3, AnonExclusive), ((100 << 18) - 3, Absent)],
        ),
    ];
    let ask = Some(Ask::Consumer(Consumer::Rdma));
    Picture { pid: 7, name: "a\u{7}b".into(), ask, rules: Version(6, 18), regions, raced: false }
}

fn with_shown(by: By, test: impl FnOnce(&Shown<'_>)) {
    let (picture, kernel) = (picture(), KernelVersion::parse("6.18.1"));
    test(&Shown { picture: &picture, kernel: &kernel, by });
}

fn screen(view: &mut View<'_>, shown: &Shown<'_>, colours: Colours, size: (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| draw(view, shown, colours, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let coloured = buffer.content.iter().filter(|cell| cell.bg != Color::Reset).count();
    assert_eq!(coloured > 0, colours == Colours::Yes && size.1 > 8, "colour only where wanted");
    let rows = buffer.content.chunks(usize::from(size.0));
    let line = |row: &[ratatui::buffer::Cell]| {
        row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    rows.map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_screen_shows_every_area_and_what_is_under_the_cursor() {
    with_shown(By::State, |shown| {
        let mut view = View::new(shown.picture, shown.by);
        let text = screen(&mut view, shown, Colours::Yes, (120, 30));
        for words in
            ["a?b (7)", "[heap]", "AAAAA··", "100G anonymous", "0x100000, 1 page", "anon-exclusive"]
        {
            assert!(text.contains(words), "{words} is not on\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "a name cannot command the terminal");
    });
}

#[test]
fn without_colour_the_letters_say_the_same() {
    with_shown(By::Verdict, |shown| {
        let mut view = View::new(shown.picture, shown.by);
        let text = screen(&mut view, shown, Colours::No, (100, 30));
        assert!(text.contains("TTTTTMM") && text.contains("MXX"), "{text}");
        let mut out = Vec::new();
        plain::print(shown, 100, &mut out).unwrap();
        let printed = anstream::adapter::strip_bytes(&out).into_vec();
        let printed = String::from_utf8(printed).unwrap();
        assert!(printed.contains("TTTTTMM") && printed.contains("MXX"), "{printed}");
        assert!(printed.contains("8K would be refused"), "{printed}");
    });
}

#[test]
fn the_next_refused_page_is_found_and_after_the_last_the_first() {
    with_shown(By::Verdict, |shown| {
        let mut view = View::new(shown.picture, shown.by);
        for _ in 0..2 {
            view.key(Key::Refused(Step::On));
            assert_eq!(view.cell().unwrap().start, 0x20_1000);
            let text = screen(&mut view, shown, Colours::Yes, (120, 30));
            assert!(text.contains("refused with EFAULT") && text.contains("C-32"), "{text}");
        }
    });
}

#[test]
fn zooming_ends_with_a_cell_for_each_page_and_keeps_the_cursor_on_its_page() {
    with_shown(By::State, |shown| {
        let mut view = View::new(shown.picture, shown.by);
        screen(&mut view, shown, Colours::Yes, (100, 30));
        view.key(Key::Last);
        let (mut pages, mut start) = (u64::MAX, 0);
        for _ in 0..20 {
            let cell = view.cell().unwrap();
            assert!(cell.pages <= pages && cell.start >= start, "zooming in shows less");
            (pages, start) = (cell.pages, cell.start);
            view.key(Key::In);
            screen(&mut view, shown, Colours::Yes, (100, 30));
        }
        assert_eq!(pages, 1, "100 GiB to the last page");
        for _ in 0..30 {
            view.key(Key::Out);
        }
        assert!(view.cell().unwrap().pages > 1000);
    });
}

#[test]
fn an_address_or_a_name_is_found() {
    with_shown(By::State, |shown| {
        let mut view = View::new(shown.picture, shown.by);
        for (text, want) in
            [("7f0000002abc", 0x7f00_0000_0000), ("HEAP", 0x10_0000), ("b>", 0x20_0000)]
        {
            view.key(Key::Search);
            text.chars().for_each(|c| view.key(Key::Type(c)));
            view.key(Key::Enter);
            assert_eq!(view.cell().unwrap().start, want, "{text}");
        }
        view.key(Key::Search);
        view.key(Key::Type('%'));
        view.key(Key::Enter);
        assert!(view.note.contains("nothing is called"));
    });
}

#[test]
fn no_screen_is_too_small_and_no_picture_is_empty() {
    let kernel = KernelVersion::parse("6.18");
    let none = Picture { regions: vec![], ..picture() };
    for picture in [&picture(), &none] {
        let shown = Shown { picture, kernel: &kernel, by: By::State };
        for size in [(1, 1), (5, 3), (20, 6), (40, 8)] {
            let mut view = View::new(picture, By::State);
            for key in
                [Key::Last, Key::Lines(1), Key::In, Key::Cells(-1), Key::Screens(-1), Key::Help]
            {
                view.key(key);
                let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
                terminal.draw(|frame| draw(&mut view, &shown, Colours::Yes, frame)).unwrap();
            }
        }
        plain::print(&shown, 10, &mut Vec::new()).unwrap();
        roxmltree::Document::parse(&svg::drawing(&shown)).unwrap();
        html::page(&shown).unwrap();
    }
}

#[test]
fn the_cells_of_a_row_hold_each_page_once() {
    let picture = picture();
    for group in [0..1, 1..3, 0..3] {
        let total = pages_of(&picture, &group);
        for count in [1, 2, 3, 7, 10, 1000] {
            let all = cells(&picture, &group, count, 0..count);
            assert_eq!(all.iter().map(|cell| cell.pages).sum::<u64>(), total);
            for cell in &all {
                let parts: u64 = cell.parts.iter().map(|part| part.pages).sum();
                assert_eq!(parts, cell.pages, "{group:?} in {count}");
            }
            let middle = count / 2;
            assert_eq!(
                cells(&picture, &group, count, middle..middle + 1).first(),
                all.get(middle as usize)
            );
        }
    }
}

#[test]
fn many_areas_are_put_into_groups_and_a_longer_area_has_a_longer_strip() {
    let mut picture = picture();
    picture.regions = (0..5000_u64)
        .map(|i| {
            let line = format!("{:x}-{:x} rw-p 0 00:00 0 ", (i + 1) << 12, (i + 2) << 12);
            region(&line, &[(1, PageState::File)])
        })
        .collect();
    let rows = rows(&picture, 100);
    let groups: Vec<_> = rows.iter().filter(|row| matches!(row, Row::Areas(_))).collect();
    assert_eq!(groups.len(), 100);
    let scale = Scale::new(&picture, &rows, 60);
    let counts: Vec<u64> = (0..40).map(|shift| scale.cells(1 << shift)).collect();
    assert!(counts.is_sorted() && counts[0] == 1, "{counts:?}");
    assert_eq!(totals(&picture, By::State), [(Ink::File, 5000)]);
}

#[test]
fn an_svg_is_well_formed_whatever_names_the_process_has() {
    for by in [By::State, By::Verdict] {
        with_shown(by, |shown| {
            let text = svg::drawing(shown);
            let document = roxmltree::Document::parse(&text).unwrap();
            let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).collect();
            assert!(texts.iter().any(|text| text.contains("[heap]")));
            let shapes = document.descendants().filter(|node| node.attribute("d").is_some());
            assert!(shapes.count() >= 3);
            let ids = |node: &roxmltree::Node<'_, '_>| {
                node.has_tag_name("script") || node.has_tag_name("image")
            };
            assert!(!document.descendants().any(|node| ids(&node)), "nothing is fetched or run");
        });
    }
}

#[test]
fn an_html_page_holds_its_data_and_refers_to_nothing() {
    with_shown(By::Verdict, |shown| {
        let text = html::page(shown).unwrap();
        let begin = text.split_once("type=\"application/json\">").unwrap().1;
        let (data, _) = begin.split_once("</script>").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["areas"].as_array().unwrap().len(), 3);
        assert_eq!(data["areas"][2]["n"], 100 << 18);
        assert_eq!(data["refused"], 2);
        for outside in ["http:", "https:", "//cdn", "import ", "fetch(", "src="] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert!(!text.contains("<b>"), "a name is no markup");
        assert!(!text.contains('@') || !text.contains("@DATA@"), "every mark is filled in");
    });
}
