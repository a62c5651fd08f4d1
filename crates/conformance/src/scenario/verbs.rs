//! What a process does: `P: …`.
//!
//! Absent: calls that get or pin pages ([`super::grabs`]), lines that are no act of a process
//! ([`super::parse`]).

use super::cursor::Cursor;
use super::grabs::{self, count, functions_of};
use super::mistake::Mistake;
use super::program::{Map, Op, Reach, Setup, Source};
use super::scope::Scope;
use super::sysverbs;
use gup::flags::{MapFlags, Prot};
use gup::mapping::Advice;

pub(super) const PROTS: [(&str, Prot); 8] = [
    ("none", Prot::NONE),
    ("r", Prot::READ),
    ("w", Prot::WRITE),
    ("x", Prot::EXEC),
    ("rw", Prot::READ.union(Prot::WRITE)),
    ("rx", Prot::READ.union(Prot::EXEC)),
    ("wx", Prot::WRITE.union(Prot::EXEC)),
    ("rwx", Prot::READ.union(Prot::WRITE).union(Prot::EXEC)),
];

pub(super) const ADVICES: [(&str, Advice); 24] = [
    ("normal", Advice::Normal),
    ("random", Advice::Random),
    ("sequential", Advice::Sequential),
    ("willneed", Advice::WillNeed),
    ("dontneed", Advice::DontNeed),
    ("dontneed-locked", Advice::DontNeedLocked),
    ("free", Advice::Free),
    ("remove", Advice::Remove),
    ("pageout", Advice::PageOut),
    ("cold", Advice::Cold),
    ("hugepage", Advice::HugePage),
    ("nohugepage", Advice::NoHugePage),
    ("populate-read", Advice::PopulateRead),
    ("populate-write", Advice::PopulateWrite),
    ("dontfork", Advice::DontFork),
    ("dofork", Advice::DoFork),
    ("wipeonfork", Advice::WipeOnFork),
    ("keeponfork", Advice::KeepOnFork),
    ("dontdump", Advice::DontDump),
    ("dodump", Advice::DoDump),
    ("mergeable", Advice::Mergeable),
    ("unmergeable", Advice::Unmergeable),
    ("guard-install", Advice::GuardInstall),
    ("guard-remove", Advice::GuardRemove),
];

pub(super) const MAP_FLAGS: [(&str, MapFlags); 7] = [
    ("private", MapFlags::PRIVATE),
    ("shared", MapFlags::SHARED),
    ("populate", MapFlags::POPULATE),
    ("locked", MapFlags::LOCKED),
    ("growsdown", MapFlags::GROWSDOWN),
    ("noreserve", MapFlags::NORESERVE),
    ("noreplace", MapFlags::FIXED_NOREPLACE),
];

/// Advice that needs the mmap lock for reading only.
const ABOUT_PAGES: [Advice; 5] =
    [Advice::DontNeed, Advice::Free, Advice::Cold, Advice::PageOut, Advice::WillNeed];

/// An act of process `name`; `NAME:` has been read.
pub(super) fn of_process(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    setup: &Setup,
    process: String,
) -> Result<Op, Mistake> {
    let name = scope.result_name(cursor)?;
    if let Some(function) = cursor.find_in(&functions_of(setup)) {
        return grabs::gup(cursor, scope, setup, (process, name), function).map(Op::Gup);
    }
    if cursor.take_word("mmap") {
        return map(cursor, scope, process, name).map(Op::Map);
    }
    if !setup.nommu && cursor.take_word("mremap") {
        return mremap(cursor, scope, process, name);
    }
    if !setup.nommu
        && let Some(call) = sysverbs::call(cursor, scope, &process)?
    {
        if let Some(name) = &name {
            scope.add_mapping(&process, name);
        }
        return Ok(Op::Sys { process, name, call });
    }
    if name.is_some() {
        return Err(cursor.mistake(results(setup)));
    }
    let word = cursor.word(&acts(setup))?;
    let plain = match word.as_str() {
        "munmap" => Op::Munmap { span: scope.span(cursor, &process)?, process },
        "write" => {
            let at = scope.at(cursor, &process)?;
            Op::Store { process, at, bytes: cursor.text("a text in quotes to write")? }
        }
        "read" => {
            let at = scope.at(cursor, &process)?;
            Op::Load { process, at, count: count(cursor)? }
        }
        "kill" => Op::Kill { process },
        "interrupt" => Op::Interrupt { process },
        "exit" => {
            scope.drop_process(&process);
            Op::Exit { process }
        }
        "ptrace-read" | "process_vm_readv" => {
            let at = scope.at(cursor, &process)?;
            Op::RemoteLoad { process, reach: reach(&word), at, count: count(cursor)? }
        }
        "ptrace-write" | "process_vm_writev" => {
            let at = scope.at(cursor, &process)?;
            let bytes = cursor.text("a text in quotes to write")?;
            Op::RemoteStore { process, reach: reach(&word), at, bytes }
        }
        _ if setup.nommu => return Err(cursor.mistake_before(acts(setup))),
        _ => return with_mmu(cursor, scope, setup, process, &word),
    };
    Ok(plain)
}

fn reach(word: &str) -> Reach {
    if word.starts_with("ptrace") { Reach::Ptrace } else { Reach::ProcessVm }
}

/// Acts that need an MMU.
fn with_mmu(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    setup: &Setup,
    process: String,
    word: &str,
) -> Result<Op, Mistake> {
    if let Some(op) = sysverbs::driver(cursor, scope, &process, word)? {
        return Ok(op);
    }
    Ok(match word {
        "mprotect" => {
            let span = scope.span(cursor, &process)?;
            Op::Mprotect { process, span, prot: cursor.one_of("permissions", &PROTS)? }
        }
        "madvise" => {
            let span = scope.span(cursor, &process)?;
            Op::Madvise { process, span, advice: cursor.one_of("an advice", &ADVICES)? }
        }
        "mlock" => Op::Mlock { span: scope.span(cursor, &process)?, process },
        "munlock" => Op::Munlock { span: scope.span(cursor, &process)?, process },
        "meanwhile" => meanwhile(cursor, scope, setup, process)?,
        "fork" => Op::Fork { child: scope.new_child(cursor, &process)?, process },
        _ => return Err(cursor.mistake_before(acts(setup))),
    })
}

/// `meanwhile [after N faults] ACT`: done by another thread of the process during the next call.
fn meanwhile(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    setup: &Setup,
    process: String,
) -> Result<Op, Mistake> {
    const ACTS: [&str; 5] = ["madvise", "read", "write", "kill", "interrupt"];
    let mut after = 1;
    if cursor.take_word("after") {
        after = cursor.number("a number of faults")?.max(1);
        if !cursor.take_word("faults") && !cursor.take_word("fault") {
            return Err(cursor.mistake("`faults`"));
        }
    }
    if !cursor.peek_word().is_some_and(|word| ACTS.contains(&word)) {
        return Err(cursor.mistake(format!("one of {}", ACTS.join(", "))));
    }
    let op = of_process(cursor, scope, setup, process)?;
    if let Op::Madvise { advice, .. } = &op
        && !ABOUT_PAGES.contains(advice)
    {
        return Err(cursor.mistake_before(
            "an advice about pages: dontneed, free, cold, pageout or willneed (the call holds the \
             lock that others need)",
        ));
    }
    Ok(Op::Meanwhile { after, op: Box::new(op) })
}

fn results(setup: &Setup) -> String {
    let functions: Vec<&str> = functions_of(setup).into_iter().map(|(name, _)| name).collect();
    let mremap = if setup.nommu { "" } else { "mremap, " };
    format!("what gives a result: mmap, {mremap}{}", functions.join(", "))
}

fn acts(setup: &Setup) -> String {
    let mmu = if setup.nommu {
        ""
    } else {
        "mprotect, madvise, mremap, mlock, munlock, load, store, fork, meanwhile, sys_…, uffd_…, \
         a driver (vmsplice, od_read, iou_reg, …), "
    };
    let functions: Vec<&str> = functions_of(setup).into_iter().map(|(name, _)| name).collect();
    format!(
        "what it does: mmap, munmap, {mmu}exit, kill, interrupt, read, write, ptrace-read, \
         ptrace-write, process_vm_readv, process_vm_writev, {}",
        functions.join(", ")
    )
}

fn map(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    process: String,
    name: Option<String>,
) -> Result<Map, Mistake> {
    let len = cursor.length()?;
    let prot = cursor.one_of("permissions", &PROTS)?;
    let (mut flags, mut source, mut at) = (MapFlags::empty(), None, None);
    loop {
        if let Some(flag) = cursor.find_in(&MAP_FLAGS) {
            flags |= flag;
        } else if cursor.take_word("at") {
            at = Some(scope.at(cursor, &process)?);
        } else if cursor.take_word("anon") {
            source = Some(Source::Anon);
        } else if cursor.take_word("device") {
            source = Some(Source::Device);
        } else if cursor.take_word("hugetlb") {
            source = Some(Source::Hugetlb);
        } else if cursor.take_word("file") {
            let (file, from) = file_from(cursor, scope)?;
            source = Some(Source::File(file, from));
        } else if cursor.take_word("rofile") {
            let (file, from) = file_from(cursor, scope)?;
            source = Some(Source::ReadOnlyFile(file, from));
        } else {
            break;
        }
    }
    let Some(source) = source else {
        return Err(cursor.mistake(
            "what to map: anon, file NAME [from PAGE], hugetlb or device (after private or shared, \
             populate, locked, growsdown, noreserve, at ADDRESS)",
        ));
    };
    if !flags.intersects(MapFlags::PRIVATE | MapFlags::SHARED) {
        return Err(cursor.mistake("private or shared"));
    }
    if let Some(name) = &name {
        scope.add_mapping(&process, name);
    }
    Ok(Map { process, name, len, prot, flags, source, at })
}

/// `NAME [from PAGE]`.
fn file_from(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<(String, u64), Mistake> {
    let file = scope.file(cursor)?;
    let said = cursor.take_word("from");
    let from = if said { cursor.number("the file's first page to show, a number")? } else { 0 };
    Ok((file, from))
}

fn mremap(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    process: String,
    name: Option<String>,
) -> Result<Op, Mistake> {
    let span = scope.span(cursor, &process)?;
    let to = if cursor.take_word("to") { cursor.length()? } else { span.len };
    let at = if cursor.take_word("at") { Some(scope.at(cursor, &process)?) } else { None };
    if let Some(name) = &name {
        scope.add_mapping(&process, name);
    }
    Ok(Op::Mremap { process, name, span, to, at })
}
