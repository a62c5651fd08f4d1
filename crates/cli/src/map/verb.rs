//! The verb `map`: reads the picture, then draws it in the way that was asked for.

use super::ink::By;
use super::{html, json, plain, svg, terminal};
use crate::args::MapArgs;
use crate::explain::{consumer_named, flags_named, kernel_named};
use crate::manners;
use crate::status::{Answer, Failure, yes_or_no};
use gup_conformance::fixture::gallery::Gallery;
use gup_mirror::explain::request::Ask;
use gup_mirror::kernel::Facts;
use gup_mirror::picture::Picture;
use gup_mirror::proc::kernel::KernelVersion;
use gup_mirror::process::Process;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// A picture, and how it is shown.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// The picture.
    pub(crate) picture: &'a Picture,
    /// The running kernel.
    pub(crate) kernel: &'a KernelVersion,
    /// What colours stand for.
    pub(crate) by: By,
}

/// Runs `gup map`.
pub(crate) fn run(args: &MapArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let ask = ask(args)?;
    let by = match (args.by.as_deref(), ask) {
        (Some("verdict"), None) => {
            return Err(Failure::Usage(
                "--by verdict needs to know who pins: add --as CONSUMER or --foll FLAGS".to_owned(),
            ));
        }
        (Some("state"), _) | (_, None) => By::State,
        (_, Some(_)) => By::Verdict,
    };
    let gallery = if args.demo { Some(start_gallery()?) } else { None };
    let pid = gallery.as_ref().map(Gallery::pid).or(args.pid).unwrap_or_default();
    let process = Process::open(pid)?;
    let asked = args.kernel.as_deref().map(kernel_named).transpose()?;
    let facts = asked.map_or_else(|| process.facts(), Facts::released);
    let mut picture = Picture::under(&process, ask, &facts)?;
    if let Some(gallery) = &gallery {
        name_areas(&mut picture, gallery);
    }
    let kernel = KernelVersion::running();
    let shown = Shown { picture: &picture, kernel: &kernel, by };
    if args.json {
        writeln!(out, "{}", json::object(&shown)?)?;
    }
    if let Some(file) = &args.svg {
        write_to(file, &svg::drawing(&shown), out)?;
    }
    if let Some(file) = &args.html {
        write_to(file, &html::page(&shown)?, out)?;
    }
    if args.json || args.svg.is_some() || args.html.is_some() {
        return Ok(yes_or_no(Answer::Yes));
    }
    if args.plain || !is_screen() {
        plain::print(&shown, width(), out)?;
    } else {
        terminal::run(|| Picture::under(&process, ask, &facts), &shown)?;
    }
    Ok(yes_or_no(Answer::Yes))
}

/// A process of our own with many kinds of memory.
fn start_gallery() -> Result<Gallery, Failure> {
    let broken = |error| Failure::Mirror(format!("the process to be shown broke off: {error}"));
    std::env::current_exe().and_then(|program| Gallery::start(&program)).map_err(broken)
}

/// Calls the areas of the gallery what it calls them.
fn name_areas(picture: &mut Picture, gallery: &Gallery) {
    for region in &mut picture.regions {
        let area = &mut region.place.area;
        if let Some((_, name)) = gallery.names().iter().find(|(start, _)| *start == area.start) {
            area.name.clone_from(name);
        }
    }
}

/// Who pins, if anybody was named.
fn ask(args: &MapArgs) -> Result<Option<Ask>, Failure> {
    if let Some(words) = &args.foll {
        return Ok(Some(Ask::Flags(flags_named(words)?)));
    }
    args.consumer.as_deref().map(|name| consumer_named(name).map(Ask::Consumer)).transpose()
}

/// Whether there is a terminal that can be drawn on, and keys can be read.
fn is_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !dumb
}

/// The terminal's width in columns; 100 where there is none.
fn width() -> usize {
    let stated = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || manners::width_of(&std::io::stdout());
    stated.filter(|columns| *columns > 0).or_else(seen).unwrap_or(100)
}

/// Writes `text` to `file`, or to standard output for `-`.
fn write_to(file: &Path, text: &str, out: &mut impl Write) -> Result<(), Failure> {
    if file == Path::new("-") {
        return Ok(out.write_all(text.as_bytes())?);
    }
    let failed =
        |error| Failure::Unreadable(format!("could not write {}: {error}", file.display()));
    std::fs::write(file, text).map_err(failed)
}
