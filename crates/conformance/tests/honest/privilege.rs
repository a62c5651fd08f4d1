//! Every kind and consumer, explained by root and by nobody: what nobody says is the same, or says
//! unknown; and neither leaves a trace. `GUP_KINDS` names what to ask about, as a part of the
//! names.

use crate::looks;
use crate::reader::{NOBODY, Reader};
use crate::trace::{Trace, pins};
use gup_conformance::fixture::files::usable_dir;
use gup_conformance::fixture::kind::Kind;
use gup_conformance::fixture::subject::{NoSubject, Subject, Workshop};
use gup_mirror::consumer::Consumer;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// How often a trace may be somebody else's (reclaim, KSM, other programs' pins).
const TRIES: u32 = 4;

/// A folder that nobody can use, with this program in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Option<Self> {
        let folder = usable_dir()?.join(format!("gup-honest-{}", std::process::id()));
        fs::create_dir_all(&folder).ok()?;
        let made = Self(folder);
        fs::set_permissions(&made.0, Permissions::from_mode(0o777)).ok()?;
        let program = made.program();
        fs::copy(std::env::current_exe().ok()?, &program).ok()?;
        fs::set_permissions(&program, Permissions::from_mode(0o755)).ok()?;
        Some(made)
    }

    fn program(&self) -> PathBuf {
        self.0.join("program")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    kinds: u32,
    verdicts: u32,
    same: u32,
    unknown: u32,
    by_name: BTreeMap<String, u32>,
    /// Consumers that were explained while nobody on this machine pinned a page.
    without_pins: BTreeSet<&'static str>,
}

/// The check.
pub(crate) fn check() {
    if !rustix::process::geteuid().is_root() {
        return cannot_ask("only root can compare its own verdicts with nobody's");
    }
    let Some(folder) = Folder::new() else {
        return cannot_ask("no folder that user 65534 can use");
    };
    let mut reader = match Reader::start(&folder.program()) {
        Ok(reader) => reader,
        Err(error) => return cannot_ask(&format!("no process of user 65534: {error}")),
    };
    let workshop = Workshop::new(&folder.program(), &folder.0).of_user(NOBODY);
    let (mut counts, mut wrong) = (Counts::default(), Vec::new());
    let wanted = std::env::var("GUP_KINDS").unwrap_or_default();
    for kind in Kind::ALL.iter().filter(|kind| kind.name().contains(&wanted)) {
        match workshop.start(*kind) {
            Ok(subject) => of_kind(*kind, &subject, &mut reader, &mut counts, &mut wrong),
            Err(NoSubject::CannotMake(why)) => cannot_ask(&format!("{}: {why}", kind.name())),
            Err(NoSubject::Broken(error)) => cannot_ask(&format!("{}: {error}", kind.name())),
        }
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    if counts.kinds == 0 {
        return cannot_ask("user 65534 can make no kind here");
    }
    for consumer in Consumer::ALL {
        let seen = counts.without_pins.contains(consumer.name());
        assert!(seen, "{}: pages were pinned at each look", consumer.name());
    }
    assert!(counts.unknown * 5 < counts.verdicts, "more is unknown than must be: {counts:?}");
}

fn of_kind(
    kind: Kind,
    subject: &Subject,
    reader: &mut Reader,
    counts: &mut Counts,
    wrong: &mut Vec<String>,
) {
    let range = subject.range();
    let (pid, start, len) = (subject.pid(), range.start, range.len_bytes() as u64);
    counts.kinds += 1;
    for consumer in Consumer::ALL {
        let what = format!("{}, {}", kind.name(), consumer.name());
        let mut left = None;
        for _ in 0..TRIES {
            let (before, pins_before) = (Trace::of(pid, start, range.pages()), pins());
            let root = looks::look(pid, start, len, *consumer);
            if pins_before == pins() {
                counts.without_pins.insert(consumer.name());
            }
            let nobody = reader.look(pid, start, len, *consumer);
            let after = Trace::of(pid, start, range.pages());
            left = (before != after).then(|| format!("{what}: {before:?}\nbecame {after:?}"));
            if left.is_none() {
                count(&what, &root, &nobody, counts, wrong);
                break;
            }
        }
        wrong.extend(left);
    }
}

/// Compares the verdicts of root and of nobody.
fn count(what: &str, root: &Value, nobody: &Value, counts: &mut Counts, wrong: &mut Vec<String>) {
    counts.verdicts += 1;
    let names = |verdict: &Value| -> Vec<String> {
        let names = verdict["unseen"].as_array().cloned().unwrap_or_default();
        names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    };
    let (known, unseen) = (names(root), names(nobody));
    let more: Vec<String> = unseen.into_iter().filter(|name| !known.contains(name)).collect();
    let alike = |field: &str| root[field] == nobody[field];
    let pages = |verdict: &Value| verdict["pages"].as_array().cloned().unwrap_or_default();
    let (ours, theirs) = (pages(root), pages(nobody));
    let same_pages = ours.len() == theirs.len()
        && ours.iter().zip(&theirs).all(|(a, b)| a == b || *b == "unknown");
    let same = alike("gup") && alike("call") && alike("stop") && alike("error") && same_pages;
    if more.is_empty() {
        counts.same += u32::from(same);
        if !same {
            wrong.push(format!("{what}: root {root}, nobody {nobody}"));
        }
        return;
    }
    counts.unknown += 1;
    for name in more {
        *counts.by_name.entry(name).or_default() += 1;
    }
}

fn cannot_ask(why: &str) {
    let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
}
