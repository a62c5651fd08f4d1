//! What a process does (`P: …`) and what is done with a pin (`x: …`).
//!
//! Absent: everything that is no act of theirs ([`super::parse`]).

use super::cursor::Cursor;
use super::mistake::Mistake;
use super::program::{Function, Gup, Length, Map, Op, Reach, Setup, Source};
use super::scope::Scope;
use gup::flags::{Foll, MapFlags, Prot};
use gup::linux::Linux;
use gup::mapping::Advice;

/// The most page slots one call gets.
const SLOTS_MAX: u64 = 1 << 20;
/// The most bytes one line reads.
const READ_MAX: u64 = 1 << 20;

const PROTS: [(&str, Prot); 8] = [
    ("none", Prot::NONE),
    ("r", Prot::READ),
    ("w", Prot::WRITE),
    ("x", Prot::EXEC),
    ("rw", Prot::READ.union(Prot::WRITE)),
    ("rx", Prot::READ.union(Prot::EXEC)),
    ("wx", Prot::WRITE.union(Prot::EXEC)),
    ("rwx", Prot::READ.union(Prot::WRITE).union(Prot::EXEC)),
];

const ADVICES: [(&str, Advice); 24] = [
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

/// Where a function exists.
#[derive(Clone, Copy)]
enum In {
    V4_4,
    V6_18,
    Both,
}

/// The functions, with the kernels that have them; whether the twin without an MMU has them too.
const FUNCTIONS: [(&str, Function, In, bool); 13] = [
    ("__get_user_pages", Function::UnderGetUserPages, In::V4_4, true),
    ("get_user_pages", Function::GetUserPages, In::Both, true),
    ("get_user_pages_locked", Function::GetUserPagesLocked, In::V4_4, true),
    ("get_user_pages_unlocked", Function::GetUserPagesUnlocked, In::Both, true),
    ("__get_user_pages_unlocked", Function::UnderGetUserPagesUnlocked, In::V4_4, true),
    ("get_user_pages_remote", Function::GetUserPagesRemote, In::V6_18, true),
    ("get_user_pages_fast", Function::GetUserPagesFast, In::Both, false),
    ("__get_user_pages_fast", Function::UnderGetUserPagesFast, In::V4_4, false),
    ("get_user_pages_fast_only", Function::GetUserPagesFastOnly, In::V6_18, false),
    ("pin_user_pages", Function::PinUserPages, In::V6_18, true),
    ("pin_user_pages_remote", Function::PinUserPagesRemote, In::V6_18, true),
    ("pin_user_pages_unlocked", Function::PinUserPagesUnlocked, In::V6_18, true),
    ("pin_user_pages_fast", Function::PinUserPagesFast, In::V6_18, false),
];

impl Function {
    /// Its name.
    pub fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function, ..)| *function == self).map_or("?", |row| row.0)
    }
    /// The functions that `setup` has.
    fn of(setup: &Setup) -> Vec<(&'static str, Self)> {
        let has = |kernels: In| match kernels {
            In::V4_4 => setup.linux == Linux::V4_4,
            In::V6_18 => setup.linux == Linux::V6_18,
            In::Both => true,
        };
        let rows = FUNCTIONS.iter().filter(|row| has(row.2) && (row.3 || !setup.nommu));
        rows.map(|(name, function, ..)| (*name, *function)).collect()
    }
}

/// An act of process `name`; `NAME:` has been read.
pub(super) fn of_process(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    setup: &Setup,
    process: String,
) -> Result<Op, Mistake> {
    let name = scope.result_name(cursor)?;
    if let Some(function) = cursor.find_in(&Function::of(setup)) {
        return gup(cursor, scope, process, name, function).map(Op::Gup);
    }
    if cursor.take_word("mmap") {
        return map(cursor, scope, process, name).map(Op::Map);
    }
    if !setup.nommu && cursor.take_word("mremap") {
        return mremap(cursor, scope, process, name);
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
    let op = Box::new(of_process(cursor, scope, setup, process)?);
    Ok(Op::Meanwhile { after, op })
}

fn results(setup: &Setup) -> String {
    let functions: Vec<&str> = Function::of(setup).into_iter().map(|(name, _)| name).collect();
    let mremap = if setup.nommu { "" } else { "mremap, " };
    format!("what gives a result: mmap, {mremap}{}", functions.join(", "))
}

fn acts(setup: &Setup) -> String {
    let mmu = if setup.nommu {
        ""
    } else {
        "mprotect, madvise, mremap, mlock, munlock, fork, meanwhile, "
    };
    let functions: Vec<&str> = Function::of(setup).into_iter().map(|(name, _)| name).collect();
    format!(
        "what it does: mmap, munmap, {mmu}exit, kill, interrupt, read, write, ptrace-read, \
         ptrace-write, process_vm_readv, process_vm_writev, {}",
        functions.join(", ")
    )
}

fn count(cursor: &mut Cursor<'_>) -> Result<u64, Mistake> {
    let bytes = if cursor.is_bare_number() {
        cursor.number("a number of bytes")?
    } else {
        cursor.length()?.bytes()
    };
    if bytes > READ_MAX {
        return Err(cursor.mistake_before("at most 1M to read at once"));
    }
    Ok(bytes)
}

fn map(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    process: String,
    name: Option<String>,
) -> Result<Map, Mistake> {
    const FLAGS: [(&str, MapFlags); 7] = [
        ("private", MapFlags::PRIVATE),
        ("shared", MapFlags::SHARED),
        ("populate", MapFlags::POPULATE),
        ("locked", MapFlags::LOCKED),
        ("growsdown", MapFlags::GROWSDOWN),
        ("noreserve", MapFlags::NORESERVE),
        ("noreplace", MapFlags::FIXED_NOREPLACE),
    ];
    let len = cursor.length()?;
    let prot = cursor.one_of("permissions", &PROTS)?;
    let (mut flags, mut source, mut at) = (MapFlags::empty(), None, None);
    loop {
        if let Some(flag) = cursor.find_in(&FLAGS) {
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
            let file = scope.file(cursor)?;
            let from = if cursor.take_word("from") {
                cursor.number("the file's first page to show, a number")?
            } else {
                0
            };
            source = Some(Source::File(file, from));
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

fn gup(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    process: String,
    name: Option<String>,
    function: Function,
) -> Result<Gup, Mistake> {
    let at = scope.at(cursor, &process)?;
    let nr_pages = match cursor.length()? {
        Length::Pages(count) => count,
        Length::Bytes(_) => {
            return Err(cursor.mistake_before("a number of pages, such as `4 pages` or `4p`"));
        }
    };
    let mut gup = Gup {
        process,
        by: None,
        name: None,
        function,
        at,
        nr_pages,
        foll: Foll::empty(),
        may_drop: false,
        no_pages: false,
    };
    options(cursor, scope, &mut gup)?;
    if nr_pages > SLOTS_MAX && !gup.no_pages {
        return Err(cursor.mistake("no-pages, since more than 1048576 pages are asked for"));
    }
    if let Some(name) = &name {
        if gup.no_pages {
            return Err(cursor.mistake("no `no-pages`: the result has a name"));
        }
        scope.add_pin(name);
    }
    gup.name = name;
    Ok(gup)
}

fn options(cursor: &mut Cursor<'_>, scope: &Scope, gup: &mut Gup) -> Result<(), Mistake> {
    while let Some(word) = cursor.peek_word().map(str::to_owned) {
        if let Some(flag) = Foll::from_name(&word) {
            gup.foll |= flag;
        } else {
            match word.as_str() {
                "nonblocking" | "locked" => gup.may_drop = true,
                "no-pages" => gup.no_pages = true,
                "by" => {
                    cursor.word("")?;
                    gup.by = Some(scope.process(cursor)?);
                    continue;
                }
                _ => {
                    return Err(cursor.mistake(
                        "a flag (WRITE, GET, FORCE, TOUCH, NOWAIT, LONGTERM, …), nonblocking, \
                         locked, no-pages, by PROCESS, or `->`",
                    ));
                }
            }
        }
        cursor.word("")?;
        cursor.take_sign('|');
    }
    Ok(())
}

/// What is done with pin `name`; `NAME:` has been read.
pub(super) fn of_pin(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    pin: String,
) -> Result<Op, Mistake> {
    const WANTED: &str = "what is done with the pages: read, write, dirty or release";
    let word = cursor.word(WANTED)?;
    Ok(match word.as_str() {
        "read" => {
            let offset = sum(cursor)?;
            Op::PinRead { pin, offset, count: count(cursor)? }
        }
        "write" => {
            let offset = sum(cursor)?;
            Op::PinWrite { pin, offset, bytes: cursor.text("a text in quotes to write")? }
        }
        "dirty" => Op::PinDirty { pin },
        "release" => {
            scope.drop_pin(&pin);
            Op::PinRelease { pin }
        }
        _ => return Err(cursor.mistake_before(WANTED)),
    })
}

/// An offset from the first byte of the first page: `0`, `1p`, `1p+5`.
fn sum(cursor: &mut Cursor<'_>) -> Result<u64, Mistake> {
    let mut sum = cursor.offset()?;
    while cursor.take_sign('+') {
        sum = sum.wrapping_add(cursor.offset()?);
    }
    Ok(sum)
}
