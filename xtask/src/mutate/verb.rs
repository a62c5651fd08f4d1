//! The verb: plays each rule, prints the table, and fails if a loss goes unnoticed.

use super::play::RowTests;
use super::rules::{Switch, switchable};
use crate::rows::RowId;
use anyhow::{Context, Result, bail, ensure};

/// What the command line asks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    /// The rules to switch off; empty stands for every rule that can be.
    rules: Vec<RowId>,
    /// How many rules must have been noticed.
    at_least: usize,
}

/// Plays what the command line asks.
///
/// # Errors
/// A rule's loss goes unnoticed, or fewer rules than asked for were noticed.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let request = parse(arguments)?;
    let switches = of_request(&request.rules, switchable()?);
    let tests = RowTests::build()?;
    let (mut noticed, mut unnoticed) = (0, Vec::new());
    println!("{:<7} {:<7} noticed by", "row", "off");
    for switch in switches {
        let verdict = tests.without(switch)?;
        println!("{:<7} {:<7} {verdict}", switch.row.to_string(), switch.off.to_string());
        if verdict.is_unnoticed() {
            unnoticed.push(switch.row.to_string());
        } else {
            noticed += 1;
        }
    }
    println!("{noticed} losses noticed, {} not", unnoticed.len());
    ensure!(unnoticed.is_empty(), "no test notices the loss of {}", unnoticed.join(" "));
    ensure!(noticed >= request.at_least, "{noticed} are fewer than {}", request.at_least);
    Ok(())
}

/// The switches of these rows; all of them if no row is named. A row that no test has seen decided
/// is its own.
fn of_request(rows: &[RowId], all: Vec<Switch>) -> Vec<Switch> {
    if rows.is_empty() {
        return all;
    }
    let of_row = |row: &RowId| {
        let found: Vec<Switch> = all.iter().copied().filter(|switch| switch.row == *row).collect();
        if found.is_empty() { vec![Switch { row: *row, off: *row }] } else { found }
    };
    rows.iter().flat_map(of_row).collect()
}

fn parse(arguments: &[String]) -> Result<Request> {
    let mut request = Request::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--at-least" => request.at_least = value()?.parse().context("--at-least: a number")?,
            "--rules" => {
                let ids = value()?.split(',').map(|id| {
                    RowId::parse(id).with_context(|| format!("--rules: `{id}` is no row's id"))
                });
                request.rules = ids.collect::<Result<_>>()?;
            }
            _ => bail!("unknown argument {argument}"),
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_row_is_played_with_the_rule_that_keeps_it() {
        let id = |id| RowId::parse(id).unwrap();
        let kept = Switch { row: id("I-01"), off: id("S-01") };
        assert_eq!(of_request(&[], vec![kept]), [kept]);
        let own = Switch { row: id("A-31"), off: id("A-31") };
        assert_eq!(of_request(&[id("I-01"), id("A-31")], vec![kept]), [kept, own]);
    }

    #[test]
    fn rules_and_their_least_number_are_read() {
        let request = parse(&words("--rules A-30,A-31 --at-least 2")).unwrap();
        assert_eq!(request.rules.len(), 2);
        assert_eq!(request.at_least, 2);
        assert!(parse(&words("--rules A30")).is_err());
        assert!(parse(&words("--at-least")).is_err());
    }
}
