//! `gup rule --json`: one object, schema `gup.rule/1` (`docs/json.md`).

use super::phrases::Phrase;
use super::verb::Found;
use crate::stories;
use gup::errno::Errno;
use gup::linux::Version;
use gup::rule::{Before, Row};
use serde::Serialize;

/// The object that is printed.
#[derive(Debug, Serialize)]
pub(super) struct Object {
    schema: &'static str,
    rules: Vec<RuleObject>,
    phrases: Vec<PhraseObject>,
}

#[derive(Debug, Serialize)]
struct RuleObject {
    rule: String,
    meaning: &'static str,
    errno: Option<&'static str>,
    since: Option<String>,
    until: Option<String>,
    same_before: bool,
    linux: Option<&'static str>,
    remedy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<Scenario>,
}

#[derive(Debug, Serialize)]
struct Scenario {
    path: &'static str,
    steps: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PhraseObject {
    text: &'static str,
    by: &'static str,
    rules: Vec<String>,
    elsewhere: &'static str,
}

impl Object {
    /// The object for what was found. The scenario is shown where it is one rule.
    pub(super) fn new(found: &Found) -> Self {
        let one = found.rules.len() == 1;
        Self {
            schema: "gup.rule/1",
            rules: found.rules.iter().map(|row| rule(row, one)).collect(),
            phrases: found.phrases.iter().map(|phrase| of(phrase)).collect(),
        }
    }
}

fn rule(row: &Row, one: bool) -> RuleObject {
    let version = |version: Version| version.to_string();
    let shown = if one { stories::shown(row.rule) } else { None };
    RuleObject {
        rule: row.rule.to_string(),
        meaning: row.meaning,
        errno: row.errno.map(Errno::name),
        since: row.since.map(version),
        until: row.until.map(version),
        same_before: row.before == Before::Otherwise,
        linux: row.rule.origin(),
        remedy: row.remedy,
        scenario: shown.map(|shown| Scenario { path: shown.path, steps: shown.steps }),
    }
}

fn of(phrase: &Phrase) -> PhraseObject {
    PhraseObject {
        text: phrase.text,
        by: phrase.by,
        rules: phrase.rules.iter().map(ToString::to_string).collect(),
        elsewhere: phrase.elsewhere,
    }
}
