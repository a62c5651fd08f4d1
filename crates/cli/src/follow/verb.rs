//! Runs the command, and prints what is told of it: on standard error, so that its own output
//! stays as it is, or into a file.

use crate::args::ExplainArgs;
use crate::follow::human;
use crate::follow::json::{NoteObject, Object};
use crate::follow::report::with_report;
use crate::manners::{Wrapping, width_of};
use crate::status::{COULD_NOT_LOOK, Failure};
use anstream::AutoStream;
use gup_follow::start::NotStarted;
use gup_follow::trace::{Children, DirectIo, Ended, Options, Told, follow};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Runs `gup explain -- CMD`. The exit status is the command's.
pub(crate) fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let mut out: Box<dyn Write> = match &args.follow.output {
        Some(path) => {
            let bad =
                |why| Failure::Unreadable(format!("could not write {}: {why}", path.display()));
            Box::new(AutoStream::never(File::create(path).map_err(bad)?))
        }
        None => Box::new(AutoStream::auto(io::stderr())),
    };
    let options = Options {
        children: if args.follow.follow { Children::Followed } else { Children::Left },
        direct_io: if args.follow.no_direct_io { DirectIo::Left } else { DirectIo::Followed },
        still_here,
    };
    let ended = follow(&args.follow.command, options, &mut |told| {
        // One write each, so that the command's own lines do not come between. A reader that is
        // gone does not end the command.
        let _ =
            printed(args, &told).and_then(|text| out.write_all(&text).and_then(|()| out.flush()));
    });
    Ok(match ended {
        Ok(ended) => ExitCode::from(status(ended)),
        Err(why) => {
            anstream::eprintln!("gup: {why}");
            ExitCode::from(match why {
                NotStarted::NotFound(_) => NOT_FOUND,
                NotStarted::NotExecutable(..) => NOT_EXECUTABLE,
                NotStarted::ZeroByte(_) | NotStarted::Refused(..) => COULD_NOT_LOOK,
            })
        }
    })
}

/// The exit status that a shell gives a command that ended so.
fn status(ended: Ended) -> u8 {
    let status = match ended {
        Ended::Exited(status) => status,
        Ended::Killed(signal) => 128 + signal,
    };
    u8::try_from(status).unwrap_or(u8::MAX)
}

/// What is printed of `told`.
fn printed(args: &ExplainArgs, told: &Told) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match told {
        Told::Failed(failed) => with_report(failed, &args.answers, |report, answered| {
            if args.json {
                line(&Object::new(report, answered), &mut text)
            } else {
                let width =
                    args.follow.output.as_ref().map_or_else(|| width_of(&io::stderr()), |_| None);
                let mut lines = Wrapping::new(&mut text, width);
                human::print(report, answered, &mut lines)?;
                lines.finish()
            }
        })?,
        Told::Note { pid, note } if args.json => line(&NoteObject::new(*pid, *note), &mut text)?,
        Told::Note { pid, note } => {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let sentence = human::sentence(*note);
            writeln!(text, "gup: {} ({pid}): {sentence}", name.trim_end())?;
        }
    }
    Ok(text)
}

fn line(object: &impl Serialize, text: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(&mut *text, object)?;
    text.push(b'\n');
    Ok(())
}

/// Said when the command outlives the first interruption.
fn still_here(pid: u32) {
    anstream::eprintln!("gup: no longer looking; the command ({pid}) goes on; ^C again ends it");
}
