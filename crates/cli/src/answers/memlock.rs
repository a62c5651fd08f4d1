//! `--memlock`: whose limit on locked memory counts, how much is used, what is missing.

use super::words::{count, size_of};
use anstyle::{AnsiColor, Style};
use gup::errno::Errno;
use gup_mirror::answer::buffers::Buffer;
use gup_mirror::answer::memlock::{Bucket, Enough, Memlock};
use gup_mirror::answer::user_bucket::{Besides, Holder};
use gup_mirror::proc::limits::Limit;
use gup_mirror::range::PAGE;
use serde::Serialize;
use std::io::{self, Write};

const BAD: Style = AnsiColor::Red.on_default().bold();

/// The field `memlock`.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    enough: &'static str,
    bucket: &'static str,
    uid: Option<u32>,
    limit: Option<u64>,
    limit_seen: bool,
    used: u64,
    used_exact: bool,
    used_unknown: Vec<&'static str>,
    holders: Vec<HolderObject>,
    needed: u64,
    needed_exact: bool,
    shortfall: u64,
    capability: &'static str,
    errno: Option<&'static str>,
    call_errno: Option<&'static str>,
    buffers: Vec<BufferObject>,
}

#[derive(Debug, Serialize)]
struct HolderObject {
    pid: u32,
    comm: String,
    buffers: u64,
    rings: u64,
}

#[derive(Debug, Serialize)]
struct BufferObject {
    start: String,
    len: u64,
    needed: u64,
    errno: Option<&'static str>,
}

impl Object {
    /// The JSON form.
    pub(crate) fn new(ledger: &Memlock) -> Self {
        let besides = &ledger.in_use.besides;
        Self {
            enough: name_of(ledger.enough),
            bucket: bucket_name(ledger.bucket),
            uid: uid(ledger),
            limit: limit(ledger),
            limit_seen: ledger.limit != Limit::Unseen,
            used: ledger.used * PAGE,
            used_exact: besides.is_empty(),
            used_unknown: besides.iter().map(|besides| besides.name()).collect(),
            holders: ledger.in_use.holders.iter().map(holder).collect(),
            needed: ledger.needed * PAGE,
            needed_exact: ledger.needed_exact,
            shortfall: ledger.shortfall(),
            capability: ledger.capability.name(),
            errno: ledger.refusal.map(Errno::name),
            call_errno: ledger.errno.map(Errno::name),
            buffers: ledger.buffers.iter().map(buffer).collect(),
        }
    }
}

fn holder(holder: &Holder) -> HolderObject {
    HolderObject {
        pid: holder.pid,
        comm: holder.name.clone(),
        buffers: holder.buffers * PAGE,
        rings: holder.rings * PAGE,
    }
}

fn buffer(buffer: &Buffer) -> BufferObject {
    BufferObject {
        start: format!("{:#x}", buffer.range.start()),
        len: buffer.range.len_bytes(),
        needed: buffer.pages * PAGE,
        errno: buffer.refused.map(Errno::name),
    }
}

const fn name_of(enough: Enough) -> &'static str {
    match enough {
        Enough::NotCounted => "not-counted",
        Enough::Exempt => "exempt",
        Enough::Fits => "fits",
        Enough::Exceeds => "exceeds",
        Enough::Unknown => "unknown",
    }
}

const fn bucket_name(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::None => "none",
        Bucket::User(_) => "user",
        Bucket::Pinned => "pinned",
        Bucket::Locked => "locked",
    }
}

const fn uid(ledger: &Memlock) -> Option<u32> {
    match ledger.bucket {
        Bucket::User(uid) => Some(uid),
        Bucket::None | Bucket::Pinned | Bucket::Locked => None,
    }
}

const fn limit(ledger: &Memlock) -> Option<u64> {
    match ledger.limit {
        Limit::Bytes(limit) => Some(limit),
        Limit::None | Limit::Unseen => None,
    }
}

/// The paragraph.
pub(crate) fn print(ledger: &Memlock, out: &mut impl Write) -> io::Result<()> {
    let needed = size_of(ledger.needed * PAGE);
    match (ledger.enough, ledger.refusal) {
        (Enough::NotCounted, _) => {
            return writeln!(
                out,
                "  memlock   these pages count against no limit on locked memory"
            );
        }
        (Enough::Exceeds, Some(errno)) => {
            let short = size_of(ledger.shortfall());
            writeln!(out, "  memlock   {BAD}would fail with {errno}{BAD:#}: {short} too little")?;
        }
        (Enough::Exceeds, None) => {
            let short = size_of(ledger.shortfall());
            writeln!(out, "  memlock   the limit is {short} too small for all of it")?;
        }
        (Enough::Exempt, _) => writeln!(out, "  memlock   no limit counts for this process")?,
        (Enough::Fits, _) => writeln!(out, "  memlock   the limit is enough")?,
        (Enough::Unknown, _) => {
            writeln!(out, "  memlock   the limit is enough for what could be seen")?;
        }
    }
    let limit = match ledger.limit {
        Limit::Bytes(limit) => size_of(limit),
        Limit::None => "none".to_owned(),
        Limit::Unseen => "unknown".to_owned(),
    };
    writeln!(out, "  limit     RLIMIT_MEMLOCK of this process: {limit}; {}", whose(ledger))?;
    writeln!(out, "  in use    {}", size_of(ledger.used * PAGE))?;
    for holder in &ledger.in_use.holders {
        writeln!(out, "            {}", holder_line(holder))?;
    }
    for besides in &ledger.in_use.besides {
        writeln!(out, "            unknown: {}", besides.sentence())?;
    }
    let pages = count(ledger.needed, "page");
    let folios = if ledger.needed_exact { "" } else { ", more if they are parts of huge pages" };
    writeln!(out, "  needs     {needed}: {pages}, whole pages counted{folios}")?;
    writeln!(out, "            {}", ledger.capability.sentence())?;
    if ledger.enough == Enough::Exceeds {
        writeln!(out, "  instead   {}", remedy(ledger))?;
    }
    Ok(())
}

/// Whom the limit is compared for.
fn whose(ledger: &Memlock) -> String {
    match ledger.bucket {
        Bucket::None => String::new(),
        Bucket::User(uid) => format!("compared with what all processes of user {uid} have in use"),
        Bucket::Pinned => "compared with what this process has pinned (VmPin)".to_owned(),
        Bucket::Locked => "compared with what this process has locked (VmLck)".to_owned(),
    }
}

fn holder_line(holder: &Holder) -> String {
    let parts = [(holder.buffers, "registered buffers"), (holder.rings, "rings")];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(pages, _)| *pages > 0)
        .map(|(pages, what)| format!("{} of {what}", size_of(pages * PAGE)))
        .collect();
    format!("{} ({}): {}", holder.name, holder.pid, parts.join(", "))
}

fn remedy(ledger: &Memlock) -> &'static str {
    match ledger.bucket {
        Bucket::User(_) if ledger.in_use.besides.contains(&Besides::Processes) => {
            "raise the limit (ulimit -l, LimitMEMLOCK=), or look as root who else holds memory"
        }
        Bucket::User(_) => {
            "raise the limit (ulimit -l, LimitMEMLOCK=), close rings that nobody uses, or run \
             it as a user of its own"
        }
        Bucket::None | Bucket::Pinned | Bucket::Locked => {
            "raise the limit (ulimit -l, LimitMEMLOCK=), or register less at once"
        }
    }
}
