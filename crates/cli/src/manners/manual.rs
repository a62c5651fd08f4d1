//! Shell completions and manual pages, made from the arguments themselves.

use crate::args::Args;
use crate::status::{Answer, Failure, yes_or_no};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Prints what `shell` loads to complete the command's words.
pub(crate) fn completions(shell: Shell, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "gup", &mut text);
    out.write_all(&text)?;
    Ok(yes_or_no(Answer::Yes))
}

/// Writes `gup.1` and a page for each verb into `folder`.
pub(crate) fn man(folder: &Path) -> Result<ExitCode, Failure> {
    let bad = |why| Failure::Unreadable(format!("could not write {}: {why}", folder.display()));
    std::fs::create_dir_all(folder).map_err(bad)?;
    clap_mangen::generate_to(Args::command(), folder).map_err(bad)?;
    Ok(yes_or_no(Answer::Yes))
}
