//! `gup rule`: prints rows of the rule table.

use crate::args::RuleArgs;
use crate::status::{Answer, Failure, yes_or_no};
use crate::stories;
use anstyle::Style;
use gup::errno::Errno;
use gup::rule::{Row, Rule};
use std::io::Write;
use std::process::ExitCode;

/// Runs `gup rule`.
pub(crate) fn run(args: &RuleArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let Some(id) = &args.id else { return list(args, out) };
    let unknown = || {
        Failure::Usage(format!(
            "{id:?} is not a rule: ids look like C-32, and `gup rule --search TEXT` finds them"
        ))
    };
    let row = Rule::parse(id).ok_or_else(unknown)?.row();
    print(row, out)?;
    Ok(yes_or_no(Answer::Yes))
}

fn print(row: &Row, out: &mut impl Write) -> Result<(), Failure> {
    let bold = Style::new().bold();
    writeln!(out, "{bold}{}{bold:#}  {}", row.rule, row.meaning)?;
    writeln!(out)?;
    if let Some(errno) = row.errno {
        writeln!(out, "  errno    {errno}")?;
    }
    writeln!(out, "  kernels  {}", kernels(row))?;
    if !row.remedy.is_empty() {
        writeln!(out, "  instead  {}", row.remedy)?;
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

/// The kernels in which a row holds, in words.
fn kernels(row: &Row) -> String {
    match (row.since, row.until) {
        (None, None) if row.rule.family() == 'A' => "v4.4, read from its source".into(),
        (None, None) => "6.18; when it came is not recorded".into(),
        (Some(since), None) => format!("since {since}"),
        (None, Some(until)) => format!("before {until}"),
        (Some(since), Some(until)) => format!("since {since}, before {until}"),
    }
}

fn list(args: &RuleArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let errno = match &args.errno {
        None => None,
        Some(name) => Some(Errno::from_name(&name.to_uppercase()).ok_or_else(|| {
            Failure::Usage(format!("{name:?} is no errno that a rule answers with"))
        })?),
    };
    let text = args.search.as_ref().map(|text| text.to_lowercase());
    let fits = |row: &&Row| {
        errno.is_none_or(|errno| row.errno == Some(errno))
            && text.as_ref().is_none_or(|text| contains(row, text))
    };
    let mut found = Answer::No;
    for row in Rule::all().filter(fits) {
        found = Answer::Yes;
        let errno = row.errno.map_or("", Errno::name);
        writeln!(out, "{:6} {errno:10} {}", row.rule.to_string(), row.meaning)?;
    }
    Ok(yes_or_no(found))
}

fn contains(row: &Row, text: &str) -> bool {
    row.meaning.to_lowercase().contains(text) || row.remedy.to_lowercase().contains(text)
}
