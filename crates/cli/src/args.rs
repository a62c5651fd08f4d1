//! The arguments, as clap reads them. Numbers and names are understood by the crates that use them.

use clap::{Args as ClapArgs, Parser, Subcommand};

/// What a pin would do on a live process, page by page, and why it fails.
#[derive(Debug, Parser)]
#[command(name = "gup", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXAMPLES: &str = "\
Exit status: 0 it answered; 1 the answer is no (explain --check, demo); 2 bad usage; 3 it could not look.";

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say what one rule means, in which kernels it holds, and what to do about it
    Rule(RuleArgs),
}

/// Arguments of `gup rule`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup rule C-32                 one rule
  gup rule --errno EFAULT       every rule that refuses with EFAULT
  gup rule --search 'dirty'     every rule whose text has the word")]
pub(crate) struct RuleArgs {
    /// The id of a rule, such as C-32 or A-31
    #[arg(required_unless_present_any = ["errno", "search"])]
    pub(crate) id: Option<String>,
    /// List the rules that refuse with this errno
    #[arg(long, value_name = "ERRNO")]
    pub(crate) errno: Option<String>,
    /// List the rules whose text contains this, in any case
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
}
