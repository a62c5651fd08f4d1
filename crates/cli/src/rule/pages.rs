//! The pages of `docs/rules/`: an index by what people see, and one page an errno with a section
//! for each rule that refuses with it.
//!
//! Written by `cargo xtask rules` and by nobody's hand. Absent: rules that refuse nothing; those
//! are in `docs/linux-map.md`.

use super::phrases;
use super::verb::{kernels, said};
use crate::status::Failure;
use crate::stories;
use gup::errno::Errno;
use gup::rule::{Row, Rule};
use std::fmt::Write as _;
use std::path::Path;

/// How each page begins.
const MADE: &str = "Made by `cargo xtask rules` from the rules in `crates/engine/src/rule/`; not \
                    edited by hand.";

/// Writes every page into `folder`, which is there.
pub(super) fn write(folder: &Path) -> Result<(), Failure> {
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .map_err(|error| Failure::Unreadable(format!("{}: {error}", path.display())))
    };
    put("README.md", index())?;
    for errno in errnos() {
        put(&format!("{}.md", errno.name()), page(errno))?;
    }
    Ok(())
}

/// The errnos that rules refuse with, by name.
fn errnos() -> Vec<Errno> {
    let mut found: Vec<Errno> = Rule::all().filter_map(|row| row.errno).collect();
    found.sort_by_key(|errno| errno.name());
    found.dedup();
    found
}

/// The rules that refuse with `errno`: today's kernel first.
fn refusing(errno: Errno) -> Vec<&'static Row> {
    const ORDER: [char; 9] = ['C', 'F', 'M', 'A', 'N', 'W', 'S', 'I', 'O'];
    let mut rows: Vec<&Row> = Rule::all().filter(|row| row.errno == Some(errno)).collect();
    rows.sort_by_key(|row| ORDER.iter().position(|family| *family == row.rule.family()));
    rows
}

/// A link to the section of a rule: where it refuses, else to the map of rows.
fn link(rule: Rule) -> String {
    match rule.row().errno {
        Some(errno) => {
            format!("[{rule}]({}.md#{})", errno.name(), rule.to_string().to_lowercase())
        }
        None => format!("[{rule}](../linux-map.md)"),
    }
}

fn index() -> String {
    let mut out = format!(
        "# Why a pin fails: the rules by what people see\n\n{MADE}\n\n`gup rule ID` prints one \
         section, `gup rule --search TEXT` searches all of this, and `gup explain` says which rule \
         it is in a live process.\n\n## By errno\n\n| errno | rules |\n| --- | --- |\n"
    );
    for errno in errnos() {
        let name = errno.name();
        let _ = writeln!(out, "| [{name}]({name}.md) | {} |", refusing(errno).len());
    }
    out +=
        "\n## By the text of the error\n\nThe rules are in the order of how often they are it.\n\n";
    out += "| text | from | rules | or no rule |\n| --- | --- | --- | --- |\n";
    for phrase in phrases::ALL {
        let rules: Vec<String> = phrase.rules.iter().map(|rule| link(*rule)).collect();
        let (text, by, elsewhere) = (phrase.text, phrase.by, phrase.elsewhere);
        let _ = writeln!(out, "| `{text}` | {by} | {} | {elsewhere} |", rules.join(" "));
    }
    out
}

fn page(errno: Errno) -> String {
    let name = errno.name();
    let mut out = format!(
        "# {name} ({}): rules that refuse with it\n\n{MADE} [All errnos](README.md).\n",
        errno.raw()
    );
    for row in refusing(errno) {
        section(row, &mut out);
    }
    out
}

fn section(row: &Row, out: &mut String) {
    let rule = row.rule;
    let _ = writeln!(out, "\n## {rule}\n\n{}\n", row.meaning);
    let _ = writeln!(out, "- kernels: {}", kernels(row));
    if let Some(origin) = rule.origin() {
        let _ = writeln!(out, "- decided in: {origin}");
    }
    if !row.remedy.is_empty() {
        let _ = writeln!(out, "- instead: {}", row.remedy);
    }
    let texts: Vec<String> =
        said(rule).iter().take(8).map(|phrase| format!("`{}`", phrase.text)).collect();
    if !texts.is_empty() {
        let _ = writeln!(out, "- seen as: {}", texts.join(", "));
    }
    let _ = writeln!(out, "- the whole fact: [semantics.md](../semantics.md), row {rule}");
    if let Some(shown) = stories::shown(rule) {
        let _ = writeln!(
            out,
            "\nIt decides in the last of these steps of [{0}](../../{0}):\n\n```text",
            shown.path
        );
        for step in &shown.steps {
            let _ = writeln!(out, "{step}");
        }
        out.push_str("```\n");
    }
}
