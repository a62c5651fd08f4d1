//! The picture as one HTML page that holds everything it needs: data, script and style.
//!
//! The page itself is in `assets/map.html`, `map.css` and `map.js`; a policy in its head forbids it
//! to fetch anything. Here the data are written: numbers and indices, every sentence once.

use super::ink::{By, Ink};
use super::plain::{headline, refusals};
use super::svg::escape;
use super::verb::Shown;
use super::words;
use gup_mirror::explain::request::Ask;
use gup_mirror::picture::{Kind, Region};
use serde::Serialize;
use std::collections::HashMap;

const PAGE: &str = include_str!("../../assets/map.html");
const STYLE: &str = include_str!("../../assets/map.css");
const SCRIPT: &str = include_str!("../../assets/map.js");

#[derive(Debug, Serialize)]
struct Data {
    pid: u32,
    comm: String,
    kernel: String,
    by: &'static str,
    #[serde(rename = "as")]
    asker: Option<String>,
    /// What `gup explain` takes for it.
    flag: String,
    raced: bool,
    /// Pages.
    refused: u64,
    #[serde(rename = "refusedInk")]
    refused_ink: usize,
    why: Vec<(String, u64, &'static str)>,
    inks: Vec<InkData>,
    unread: ByColouring,
    words: Vec<String>,
    areas: Vec<AreaData>,
}

#[derive(Debug, Serialize)]
struct InkData {
    light: &'static str,
    dark: &'static str,
    line: &'static str,
    weight: u8,
    hatched: bool,
}

/// An ink for each colouring, by its place in the list.
#[derive(Clone, Copy, Debug, Serialize)]
struct ByColouring {
    state: usize,
    verdict: usize,
}

/// Page numbers instead of addresses: those are exact in a script.
#[derive(Debug, Serialize)]
struct AreaData {
    s: u64,
    n: u64,
    p: String,
    label: String,
    name: String,
    f: String,
    k: Vec<KindData>,
    /// Pages, then kinds and how many pages each has.
    r: Vec<Vec<u64>>,
}

#[derive(Debug, Serialize)]
struct KindData {
    #[serde(flatten)]
    inks: ByColouring,
    n: u64,
    /// What it is, and what to do, by their places in `words`.
    t: usize,
    r: usize,
}

/// The page, as a whole file.
pub(crate) fn page(shown: &Shown<'_>) -> std::io::Result<String> {
    // `<` would end the script early, wherever it stands in a name.
    let data = serde_json::to_string(&data(shown))?.replace('<', "\\u003c");
    let title = escape(&headline(shown).join(". "));
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = PAGE;
    let parts =
        [("@TITLE@", &*title), ("@STYLE@", STYLE), ("@DATA@", &*data), ("@SCRIPT@", SCRIPT)];
    for (mark, text) in parts {
        let Some((before, after)) = rest.split_once(mark) else { continue };
        page.push_str(before);
        page.push_str(text.trim_end());
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

fn data(shown: &Shown<'_>) -> Data {
    let picture = shown.picture;
    let mut sentences = Sentences::default();
    let areas = picture.regions.iter().map(|region| area(region, &mut sentences)).collect();
    let refusals = refusals(shown);
    Data {
        pid: picture.pid,
        comm: words::clean(&picture.name),
        kernel: shown.kernel.to_string(),
        by: match shown.by {
            By::State => "state",
            By::Verdict => "verdict",
        },
        asker: words::asker_on(picture, shown.kernel),
        flag: flag(shown),
        raced: picture.raced,
        refused: refusals.iter().map(|refusal| refusal.pages).sum(),
        refused_ink: place(Ink::Refused),
        why: refusals.into_iter().map(|r| (r.why, r.pages, r.remedy)).collect(),
        inks: Ink::ALL.iter().map(|&ink| ink_data(ink)).collect(),
        unread: ByColouring {
            state: place(Ink::of(None, By::State)),
            verdict: place(Ink::of(None, By::Verdict)),
        },
        words: sentences.all,
        areas,
    }
}

/// What `gup explain` takes to ask the same.
fn flag(shown: &Shown<'_>) -> String {
    let picture = shown.picture;
    let asker = words::asker(picture).unwrap_or_default();
    let flag = match picture.ask {
        Some(Ask::Consumer(_)) => format!("--as {asker}"),
        Some(Ask::Flags(_)) => format!("--foll '{asker}'"),
        None => String::new(),
    };
    let rules = picture.rules.to_string();
    if rules == shown.kernel.to_string() { flag } else { format!("{flag} --kernel {rules}") }
}

fn ink_data(ink: Ink) -> InkData {
    InkData {
        light: ink.light(),
        dark: ink.dark(),
        line: ink.line(),
        weight: ink.weight() as u8,
        hatched: ink.hatched(),
    }
}

fn place(ink: Ink) -> usize {
    Ink::ALL.iter().position(|known| *known == ink).unwrap_or(0)
}

fn area(region: &Region, sentences: &mut Sentences) -> AreaData {
    let area = &region.place.area;
    AreaData {
        s: area.start >> 12,
        n: region.pages(),
        p: area.perms.to_string(),
        label: words::label(area),
        name: words::clean(&area.name),
        f: area.flags.as_ref().map(ToString::to_string).unwrap_or_default(),
        k: region.kinds.iter().map(|kind| kind_data(kind, sentences)).collect(),
        r: region.runs.iter().map(run).collect(),
    }
}

fn run(run: &gup_mirror::picture::Run) -> Vec<u64> {
    let parts = run.parts.iter().flat_map(|&(kind, pages)| [u64::from(kind), pages]);
    std::iter::once(run.pages).chain(parts).collect()
}

fn kind_data(kind: &Kind, sentences: &mut Sentences) -> KindData {
    let [state, verdict] = [By::State, By::Verdict].map(|by| place(Ink::of(Some(kind), by)));
    KindData {
        inks: ByColouring { state, verdict },
        n: kind.pages,
        t: sentences.place(words::sentence(kind)),
        r: sentences.place(kind.fate.as_ref().map(words::remedy).unwrap_or_default().to_owned()),
    }
}

/// Every sentence once.
#[derive(Debug, Default)]
struct Sentences {
    all: Vec<String>,
    known: HashMap<String, usize>,
}

impl Sentences {
    fn place(&mut self, sentence: String) -> usize {
        if let Some(&known) = self.known.get(&sentence) {
            return known;
        }
        let place = self.all.len();
        self.all.push(sentence.clone());
        self.known.insert(sentence, place);
        place
    }
}
