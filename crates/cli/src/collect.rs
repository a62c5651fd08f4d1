//! The verb `collect`: writes a bundle, and says what is in it.

use crate::args::CollectArgs;
use crate::manners::Watched;
use crate::status::{Answer, Failure, yes_or_no};
use gup_mirror::bundle::{Wanted, collect, write};
use gup_mirror::process::Process;
use gup_mirror::range::{Address, ByteRange, Length};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs `gup collect`.
pub(crate) fn run(args: &CollectArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let range = match (&args.addr, &args.len) {
        (Some(addr), Some(len)) => Some((addr.parse::<Address>()?, len.parse::<Length>()?)),
        (_, _) => None,
    };
    let process = Process::open(args.pid)?;
    let wanted = match range {
        Some((address, Length(len))) => {
            Wanted::Range(ByteRange::new(address.resolve(&process)?, len)?)
        }
        None => Wanted::Everything,
    };
    let progress = Watched::busy("reading the process");
    let bundle = collect(&process, wanted)?;
    drop(progress);
    let default = || PathBuf::from(format!("gup-{}.jsonl.gz", args.pid));
    let path = args.output.clone().unwrap_or_else(default);
    let shown = path.display();
    write(&bundle, &path)
        .map_err(|error| Failure::Unreadable(format!("could not write {shown}: {error}")))?;
    let pages: u64 = bundle.runs.iter().map(|run| run.pages).sum();
    let areas = bundle.backings.len();
    writeln!(out, "{shown}: {} ({}), {areas} areas, {pages} pages", process.name(), args.pid)?;
    writeln!(out, "no contents of pages; names of mapped files are in it")?;
    writeln!(out, "explain it anywhere: gup explain --bundle {shown} ADDR LEN --as CONSUMER")?;
    Ok(yes_or_no(Answer::Yes))
}
