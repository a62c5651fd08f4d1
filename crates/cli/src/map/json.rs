//! `gup map --json`: one object, schema `gup.map/1`. Its fields are a contract: `docs/json.md`.

use super::verb::Shown;
use super::words;
use gup_mirror::picture::fate::Fate;
use gup_mirror::picture::{Kind, Region, Run};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Object {
    schema: &'static str,
    pid: u32,
    comm: String,
    kernel: String,
    rules: String,
    #[serde(rename = "as")]
    asker: Option<String>,
    raced: bool,
    areas: Vec<AreaObject>,
}

#[derive(Debug, Serialize)]
struct AreaObject {
    start: String,
    end: String,
    perms: String,
    offset: u64,
    name: String,
    flags: Vec<String>,
    kinds: Vec<KindObject>,
    runs: Vec<RunObject>,
}

#[derive(Debug, Serialize)]
struct KindObject {
    state: &'static str,
    huge: bool,
    past_end: bool,
    pages: u64,
    verdict: Option<&'static str>,
    action: Option<&'static str>,
    rule: Option<String>,
    errno: Option<&'static str>,
    unknown: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct RunObject {
    start: String,
    pages: u64,
    parts: Vec<(u16, u64)>,
}

/// The object, as text on one line.
pub(crate) fn object(shown: &Shown<'_>) -> std::io::Result<String> {
    let picture = shown.picture;
    let object = Object {
        schema: "gup.map/1",
        pid: picture.pid,
        comm: picture.name.clone(),
        kernel: shown.kernel.to_string(),
        rules: picture.rules.to_string(),
        asker: words::asker(picture),
        raced: picture.raced,
        areas: picture.regions.iter().map(area).collect(),
    };
    Ok(serde_json::to_string(&object)?)
}

fn area(region: &Region) -> AreaObject {
    let area = &region.place.area;
    let flags = area.flags.as_ref().map(|flags| flags.iter().map(str::to_owned).collect());
    AreaObject {
        start: format!("{:#x}", area.start),
        end: format!("{:#x}", area.end),
        perms: area.perms.to_string(),
        offset: area.offset,
        name: area.name.clone(),
        flags: flags.unwrap_or_default(),
        kinds: region.kinds.iter().map(kind).collect(),
        runs: region.runs.iter().map(run).collect(),
    }
}

fn run(run: &Run) -> RunObject {
    RunObject { start: format!("{:#x}", run.start), pages: run.pages, parts: run.parts.clone() }
}

fn kind(kind: &Kind) -> KindObject {
    let mut object = KindObject {
        state: kind.look.state.name(),
        huge: kind.look.huge,
        past_end: kind.look.past_end,
        pages: kind.pages,
        verdict: None,
        action: None,
        rule: None,
        errno: None,
        unknown: Vec::new(),
    };
    match &kind.fate {
        None => {}
        Some(Fate::Done(action)) => {
            object.verdict = Some("obtained");
            object.action = Some(action.name());
        }
        Some(Fate::Refused { rule, errno }) => {
            object.verdict = Some("refused");
            object.rule = Some(rule.to_string());
            object.errno = Some(errno.name());
        }
        Some(Fate::Unknown(unseen)) => {
            object.verdict = Some("unknown");
            object.unknown = unseen.iter().map(|unseen| unseen.name()).collect();
        }
    }
    object
}
