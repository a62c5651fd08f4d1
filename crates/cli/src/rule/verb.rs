//! The verb `rule`: prints rows of the rule table, and the phrases that lead to them.

use super::json::Object;
use super::pages;
use super::phrases::{self, Phrase};
use crate::args::RuleArgs;
use crate::manners::{Wrapping, width_of};
use crate::status::{Answer, Failure, yes_or_no};
use crate::stories;
use anstyle::Style;
use gup::errno::Errno;
use gup::rule::{Before, Row, Rule};
use std::io::Write;
use std::process::ExitCode;

/// What was found.
pub(super) struct Found {
    /// The rules, in the order of their ids.
    pub(super) rules: Vec<&'static Row>,
    /// What people see of them.
    pub(super) phrases: Vec<&'static Phrase>,
}

/// Runs `gup rule`.
pub(crate) fn run(args: &RuleArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    if let Some(folder) = &args.pages {
        pages::write(folder)?;
        return Ok(yes_or_no(Answer::Yes));
    }
    let found = find(args)?;
    if args.json {
        let text = serde_json::to_string(&Object::new(&found)).map_err(std::io::Error::from)?;
        writeln!(out, "{text}")?;
    } else if let (Some(_), [row]) = (&args.id, &found.rules[..]) {
        let mut lines = Wrapping::new(out, width_of(&std::io::stdout()));
        print(row, &mut lines)?;
        lines.finish()?;
    } else {
        list(&found, args, out)?;
    }
    let empty = found.rules.is_empty() && found.phrases.is_empty();
    Ok(yes_or_no(if empty { Answer::No } else { Answer::Yes }))
}

fn find(args: &RuleArgs) -> Result<Found, Failure> {
    if let Some(id) = &args.id {
        let unknown = || {
            Failure::Usage(format!(
                "{id:?} is not a rule: ids look like C-32, and `gup rule --search TEXT` finds them"
            ))
        };
        let rule = Rule::parse(id).ok_or_else(unknown)?;
        let phrases = phrases::ALL.iter().filter(|phrase| phrase.rules.contains(&rule)).collect();
        return Ok(Found { rules: vec![rule.row()], phrases });
    }
    let errno = match &args.errno {
        None => None,
        Some(name) => Some(Errno::from_name(&name.to_uppercase()).ok_or_else(|| {
            Failure::Usage(format!("{name:?} is no errno that a rule answers with"))
        })?),
    };
    let text = args.search.as_ref().map(|text| text.to_lowercase());
    let of_errno = |row: &&Row| errno.is_none_or(|errno| row.errno == Some(errno));
    let of_text = |row: &&Row| text.as_ref().is_none_or(|text| contains(row, text));
    let rules = Rule::all().filter(of_errno).filter(of_text).collect();
    let mut phrases = args.search.as_deref().map(phrases::found).unwrap_or_default();
    let leads = |rule: &Rule| errno.is_none_or(|errno| rule.row().errno == Some(errno));
    phrases.retain(|phrase| errno.is_none() || phrase.rules.iter().any(leads));
    Ok(Found { rules, phrases })
}

fn contains(row: &Row, text: &str) -> bool {
    row.meaning.to_lowercase().contains(text) || row.remedy.to_lowercase().contains(text)
}

fn print(row: &Row, out: &mut impl Write) -> Result<(), Failure> {
    let bold = Style::new().bold();
    writeln!(out, "{bold}{}{bold:#}  {}", row.rule, row.meaning)?;
    writeln!(out)?;
    if let Some(errno) = row.errno {
        writeln!(out, "  errno    {errno}")?;
    }
    writeln!(out, "  kernels  {}", kernels(row))?;
    if let Some(origin) = row.rule.origin() {
        writeln!(out, "  decided  {origin}")?;
    }
    if !row.remedy.is_empty() {
        writeln!(out, "  instead  {}", row.remedy)?;
    }
    for (n, phrase) in said(row.rule).into_iter().take(PHRASES).enumerate() {
        let head = if n == 0 { "seen as" } else { "" };
        writeln!(out, "  {head:8} {:?} ({})", phrase.text, phrase.by)?;
    }
    writeln!(out, "  more     docs/semantics.md, row {}", row.rule)?;
    let Some(shown) = stories::shown(row.rule) else { return Ok(()) };
    writeln!(out)?;
    writeln!(out, "  It decides in the last of these steps (gup run --trace {})", shown.path)?;
    writeln!(out)?;
    for step in &shown.steps {
        writeln!(out, "    {step}")?;
    }
    Ok(())
}

/// The most phrases that are printed of one rule.
const PHRASES: usize = 5;

/// The phrases that a rule may stand behind, those where it is most likely first.
pub(super) fn said(rule: Rule) -> Vec<&'static Phrase> {
    let place = |phrase: &Phrase| phrase.rules.iter().position(|other| *other == rule);
    let mut found: Vec<(usize, &Phrase)> =
        phrases::ALL.iter().filter_map(|phrase| Some((place(phrase)?, phrase))).collect();
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, phrase)| phrase).collect()
}

/// The kernels in which a row holds, in words.
pub(super) fn kernels(row: &Row) -> String {
    let since = |since| match row.before {
        Before::Nothing => format!("since {since}"),
        Before::Otherwise => format!("in this form since {since}; before, to the same effect"),
    };
    match (row.since, row.until) {
        (None, None) if row.rule.family() == 'A' => "v4.4, read from its source".into(),
        (None, None) => "6.18; when it came is not recorded".into(),
        (Some(first), None) => since(first),
        (None, Some(until)) => format!("before {until}"),
        (Some(first), Some(until)) => format!("{}, before {until}", since(first)),
    }
}

fn list(found: &Found, args: &RuleArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut told: Vec<Rule> = Vec::new();
    for phrase in &found.phrases {
        writeln!(out, "{:?}, from {}", phrase.text, phrase.by)?;
        let (again, new): (Vec<Rule>, Vec<Rule>) =
            phrase.rules.iter().partition(|rule| told.contains(rule));
        for rule in &new {
            line(rule.row(), "  ", out)?;
        }
        if !again.is_empty() {
            let ids: Vec<String> = again.iter().map(ToString::to_string).collect();
            writeln!(out, "  as above: {}", ids.join(" "))?;
        }
        told.extend(new);
        if !phrase.elsewhere.is_empty() {
            writeln!(out, "  or no rule: {}", phrase.elsewhere)?;
        }
        writeln!(out)?;
    }
    if !found.phrases.is_empty() && !found.rules.is_empty() {
        let text = args.search.as_deref().unwrap_or_default();
        writeln!(out, "rules whose text has {text:?}")?;
    }
    for row in &found.rules {
        line(row, "", out)?;
    }
    Ok(())
}

fn line(row: &Row, indent: &str, out: &mut impl Write) -> Result<(), Failure> {
    let errno = row.errno.map_or("", Errno::name);
    writeln!(out, "{indent}{:6} {errno:10} {}", row.rule.to_string(), row.meaning)?;
    Ok(())
}
