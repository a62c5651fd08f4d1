//! `--rss`: how much memory the pin adds.

use super::words::size;
use gup_mirror::answer::rss::{Added, Memory};
use serde::Serialize;
use std::io::{self, Write};

/// The field `rss`.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    #[serde(flatten)]
    memory: Bytes,
    if_shared: Option<Bytes>,
}

#[derive(Debug, Serialize)]
struct Bytes {
    total: i64,
    anon: i64,
    file: i64,
    shmem: i64,
    hugetlb: i64,
    swap: i64,
    machine_at_most: i64,
    new_anon: i64,
    new_cache_at_most: i64,
    page_tables_at_most: i64,
}

impl Bytes {
    fn new(memory: &Memory) -> Self {
        Self {
            total: memory.resident(),
            anon: memory.anon,
            file: memory.file,
            shmem: memory.shmem,
            hugetlb: memory.hugetlb,
            swap: memory.swap,
            machine_at_most: memory.machine(),
            new_anon: memory.new_anon,
            new_cache_at_most: memory.new_cache,
            page_tables_at_most: memory.tables,
        }
    }
}

impl Object {
    /// The JSON form.
    pub(crate) fn new(added: &Added) -> Self {
        let if_shared = added.if_shared.as_ref().map(Bytes::new);
        Self { memory: Bytes::new(&added.memory), if_shared }
    }
}

/// The paragraph.
pub(crate) fn print(added: &Added, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  memory    {}", sentence(&added.memory, added.range))?;
    if let Some(other) = &added.if_shared {
        writeln!(out, "            or, if pages that are mapped once were shared before:")?;
        writeln!(out, "            {}", sentence(other, added.range))?;
    }
    let memory = &added.memory;
    if memory.machine() > memory.resident().max(memory.hugetlb) {
        let (cache, tables) = (size(memory.new_cache), size(memory.tables));
        let anon = size(memory.new_anon);
        writeln!(
            out,
            "  machine   {anon} of new anonymous pages; at most {cache} of new pages in files and \
             shared memory, {tables} of page tables"
        )?;
    }
    Ok(())
}

/// What is added to the process, in words.
fn sentence(memory: &Memory, range: u64) -> String {
    let parts = [
        (memory.anon, "anonymous"),
        (memory.file, "of files"),
        (memory.shmem, "of shared memory"),
        (memory.hugetlb, "of huge pages from the pool"),
        (memory.swap, "in swap"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(bytes, _)| *bytes != 0)
        .map(|(bytes, what)| format!("{} {what}", signed(bytes)))
        .collect();
    let range = size(i64::try_from(range).unwrap_or(i64::MAX));
    if parts.is_empty() {
        return format!("nothing is added to the process by these {range}");
    }
    format!("{} for {range}: {}", signed(memory.resident() + memory.hugetlb), parts.join(", "))
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { '-' } else { '+' };
    format!("{sign}{}", size(bytes))
}
