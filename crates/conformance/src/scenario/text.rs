//! Operations as the lines that [`super::parse`] reads: what is read back is the same operation.

use super::program::{At, Base, FileSort, FileSpec, Gup, Length, Map, Op, Place, Reach, Source};
use super::program::{Cached, Counted, Program, Setup, Span, Sys, Touch, Uffd};
use super::verbs::{ADVICES, MAP_FLAGS, PROTS};
use gup::flags::Prot;
use gup::linux::Linux;
use gup::mapping::Advice;
use std::fmt::{self, Display, Formatter};

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pages(1) => f.write_str("1 page"),
            Self::Pages(count) => write!(f, "{count} pages"),
            Self::Bytes(count) => write!(f, "{count} bytes"),
        }
    }
}

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.base, self.offset) {
            (Base::Absolute, number) => write!(f, "{number:#x}"),
            (Base::Mapping(name), 0) => f.write_str(name),
            (Base::Mapping(name), bytes) if bytes % gup::addr::PAGE_SIZE == 0 => {
                write!(f, "{name}+{}p", bytes / gup::addr::PAGE_SIZE)
            }
            (Base::Mapping(name), bytes) => write!(f, "{name}+{bytes:#x}"),
        }
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.len)
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped { process, at } => write!(f, "{process}:{at}"),
            Self::Pinned { pin, index } => write!(f, "{pin}+{index}p"),
        }
    }
}

/// Bytes between quotes.
struct Quoted<'b>(&'b [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                0x20..0x7f => write!(f, "{}", char::from(*byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_str("\"")
    }
}

/// `NAME = `, or nothing.
struct Result<'n>(&'n Option<String>);

impl Display for Result<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(f, "{name} = "))
    }
}

fn prot_word(prot: Prot) -> &'static str {
    PROTS.iter().find(|(_, known)| *known == prot).map_or("none", |(word, _)| word)
}

fn advice_word(advice: Advice) -> &'static str {
    ADVICES.iter().find(|(_, known)| *known == advice).map_or("normal", |(word, _)| word)
}

impl Display for Map {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { process, name, len, prot, flags, source, at } = self;
        write!(f, "{process}: {}mmap {len} {}", Result(name), prot_word(*prot))?;
        let said = MAP_FLAGS.iter().filter(|(_, flag)| flags.contains(*flag));
        said.clone().try_for_each(|(word, _)| write!(f, " {word}"))?;
        match source {
            Source::Anon => f.write_str(" anon")?,
            Source::Device => f.write_str(" device")?,
            Source::Hugetlb => f.write_str(" hugetlb")?,
            Source::File(file, from) => write!(f, " file {file} from {from}")?,
            Source::ReadOnlyFile(file, from) => write!(f, " rofile {file} from {from}")?,
        }
        at.as_ref().map_or(Ok(()), |at| write!(f, " at {at}"))
    }
}

impl Display for Sys {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, at) = self.name();
        write!(f, "sys_{name} {at}")?;
        match self {
            Self::Mmap { bytes, prot, flags, file, .. } => {
                write!(f, " {bytes:#x} {prot:#x} {flags:#x}")?;
                match file {
                    None => Ok(()),
                    Some((file, true, offset)) => write!(f, " rofile {file} {offset:#x}"),
                    Some((file, false, offset)) => write!(f, " file {file} {offset:#x}"),
                }
            }
            Self::Munmap { bytes, .. } | Self::Munlock { bytes, .. } => write!(f, " {bytes:#x}"),
            Self::Mprotect { bytes, prot, .. } => write!(f, " {bytes:#x} {prot:#x}"),
            Self::Mremap { old, new, flags, to, .. } => {
                write!(f, " {old:#x} {new:#x} {flags:#x} {to}")
            }
            Self::Madvise { bytes, advice, .. } => write!(f, " {bytes:#x} {advice}"),
            Self::Mlock { bytes, flags, .. } => write!(f, " {bytes:#x} {flags:#x}"),
            Self::Mseal { bytes, flags, .. } => write!(f, " {bytes:#x} {flags:#x}"),
            Self::Brk { .. } => Ok(()),
        }
    }
}

impl Display for Uffd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenSigbus => f.write_str("uffd_open sigbus"),
            Self::OpenAsync => f.write_str("uffd_open wp-async"),
            Self::Register { span, modes } => write!(f, "uffd_register {span} {}", modes.bits()),
            Self::Unregister { span } => write!(f, "uffd_unregister {span}"),
            Self::Zeropage { span } => write!(f, "uffd_zeropage {span}"),
            Self::Copy { to, from } => write!(f, "uffd_copy {to} {from}"),
            Self::Continue { span } => write!(f, "uffd_continue {span}"),
            Self::Poison { span } => write!(f, "uffd_poison {span}"),
            Self::Protect { span } => write!(f, "uffd_protect {span}"),
            Self::Unprotect { span } => write!(f, "uffd_unprotect {span}"),
            Self::Move { to, from } => write!(f, "uffd_move {to} {from}"),
        }
    }
}

impl Display for FileSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { len, kind, fill, slow, cached } = self;
        let kind = match kind {
            FileSort::Regular => "regular",
            FileSort::Ramfs => "ramfs",
            FileSort::Fsdax => "fsdax",
            FileSort::Memfd => "memfd",
            FileSort::Secret => "secret",
        };
        write!(f, "{len} {kind}")?;
        if !fill.is_empty() {
            write!(f, " filled {}", Quoted(fill))?;
        }
        f.write_str(if *slow { " slow" } else { "" })?;
        f.write_str(match cached {
            Cached::Nothing => "",
            Cached::Pages => " cached",
            Cached::Folio => " one-folio",
        })
    }
}

impl Display for Gup {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { process, by, name, function, at, nr_pages, foll, may_drop, no_pages } = self;
        let pages = Length::Pages(*nr_pages);
        write!(f, "{process}: {}{} {at} {pages}", Result(name), function.name())?;
        let mut sign = ' ';
        for (flag, _) in foll.iter_names() {
            write!(f, "{sign}{flag}")?;
            sign = '|';
        }
        if *may_drop {
            let old = *function == super::program::Function::UnderGetUserPages;
            f.write_str(if old { " nonblocking" } else { " locked" })?;
        }
        f.write_str(if *no_pages { " no-pages" } else { "" })?;
        by.as_ref().map_or(Ok(()), |by| write!(f, " by {by}"))
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { name } => write!(f, "process {name}"),
            Self::File { name, spec } => write!(f, "file {name} {spec}"),
            Self::Truncate { file, len } => write!(f, "truncate {file} {len}"),
            Self::Complete { file } => write!(f, "complete {file}"),
            Self::Seal { file, seals } => write!(f, "seal {file} {seals:#x}"),
            Self::Map(map) => map.fmt(f),
            Self::Gup(gup) => gup.fmt(f),
            Self::PinRead { pin, offset, count } => write!(f, "{pin}: read {offset:#x} {count}"),
            Self::PinWrite { pin, offset, bytes } => {
                write!(f, "{pin}: write {offset:#x} {}", Quoted(bytes))
            }
            Self::PinDirty { pin } => write!(f, "{pin}: dirty"),
            Self::PinRelease { pin } => write!(f, "{pin}: release"),
            Self::ExpectState { process, at, tokens, .. } => {
                write!(f, "expect state {process}:{at} \"{}\"", tokens.join(" "))
            }
            Self::ExpectAreas { process, at, pages, areas } => {
                write!(f, "expect areas {process}:{at} {pages} pages \"{areas}\"")
            }
            Self::ExpectSame { left, right } => write!(f, "expect same {left} {right}"),
            Self::ExpectOther { left, right } => write!(f, "expect other {left} {right}"),
            Self::ExpectCount { place, counted, value } => {
                let counted = match counted {
                    Counted::Refs => "refs",
                    Counted::Pins => "pins",
                    Counted::Mapcount => "mapcount",
                };
                write!(f, "expect {counted} {place} {value}")
            }
            Self::Meanwhile { after, op } => {
                let text = op.to_string();
                let (process, act) = text.split_once(": ").unwrap_or(("", &text));
                write!(f, "{process}: meanwhile after {after} faults {act}")
            }
            other => act(other, f),
        }
    }
}

/// What a process does: `P: …`.
fn act(op: &Op, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{}: ", op.process().unwrap_or_default())?;
    match op {
        Op::Kill { .. } => f.write_str("kill"),
        Op::Interrupt { .. } => f.write_str("interrupt"),
        Op::Munmap { span, .. } => write!(f, "munmap {span}"),
        Op::Mprotect { span, prot, .. } => write!(f, "mprotect {span} {}", prot_word(*prot)),
        Op::Madvise { span, advice, .. } => write!(f, "madvise {span} {}", advice_word(*advice)),
        Op::Mremap { name, span, to, at, .. } => {
            write!(f, "{}mremap {span} to {to}", Result(name))?;
            at.as_ref().map_or(Ok(()), |at| write!(f, " at {at}"))
        }
        Op::Mlock { span, .. } => write!(f, "mlock {span}"),
        Op::Munlock { span, .. } => write!(f, "munlock {span}"),
        Op::Sys { name, call, .. } => write!(f, "{}{call}", Result(name)),
        Op::Ask { driver, span, .. } => write!(f, "{} {span}", driver.name()),
        Op::Unregister { .. } => f.write_str("iou_unreg"),
        Op::Touch { span, touch: Touch::Load, .. } => write!(f, "load {span}"),
        Op::Touch { span, touch: Touch::Store, .. } => write!(f, "store {span}"),
        Op::Uffd { call, .. } => call.fmt(f),
        Op::Fork { child, .. } => write!(f, "fork {child}"),
        Op::Exit { .. } => f.write_str("exit"),
        Op::Store { at, bytes, .. } => write!(f, "write {at} {}", Quoted(bytes)),
        Op::Load { at, count, .. } => write!(f, "read {at} {count}"),
        Op::RemoteStore { reach, at, bytes, .. } => {
            let word = match reach {
                Reach::ProcessVm => "process_vm_writev",
                Reach::Ptrace => "ptrace-write",
            };
            write!(f, "{word} {at} {}", Quoted(bytes))
        }
        Op::RemoteLoad { reach, at, count, .. } => {
            let word = match reach {
                Reach::ProcessVm => "process_vm_readv",
                Reach::Ptrace => "ptrace-read",
            };
            write!(f, "{word} {at} {count}")
        }
        // The others are no acts of a process.
        _ => Ok(()),
    }
}

impl Display for Setup {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let usual = Self::default();
        let kernel = match self.linux {
            Linux::V4_4 => "4.4",
            Linux::V6_18 => "6.18",
        };
        writeln!(f, "linux {kernel}")?;
        if self.frames != usual.frames {
            writeln!(f, "memory {}p", self.frames)?;
        }
        let said = [
            (self.dirty_cow, "quirk dirty-cow"),
            (self.nommu, "nommu"),
            (self.thp_always, "thp always"),
        ];
        said.iter().filter(|(is, _)| *is).try_for_each(|(_, line)| writeln!(f, "{line}"))?;
        if self.swap_pages > 0 {
            writeln!(f, "swap {}p", self.swap_pages)?;
        }
        if self.huge_pages > 0 {
            writeln!(f, "hugepages {}", self.huge_pages)?;
        }
        self.watch
            .iter()
            .try_for_each(|(start, pages)| writeln!(f, "watch {start:#x} {pages} pages"))
    }
}

impl Display for Program {
    /// The whole file; what is expected of steps is left out.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.setup)?;
        for step in &self.steps {
            step.story.iter().try_for_each(|line| writeln!(f, "# {line}"))?;
            writeln!(f, "{}", step.op)?;
        }
        self.epilogue.iter().try_for_each(|line| writeln!(f, "# {line}"))
    }
}

impl Op {
    /// The process that acts, or is acted upon; of fork, the parent.
    pub fn process(&self) -> Option<&str> {
        match self {
            Self::Kill { process }
            | Self::Interrupt { process }
            | Self::Map(Map { process, .. })
            | Self::Gup(Gup { process, .. })
            | Self::Munmap { process, .. }
            | Self::Mprotect { process, .. }
            | Self::Madvise { process, .. }
            | Self::Mremap { process, .. }
            | Self::Mlock { process, .. }
            | Self::Munlock { process, .. }
            | Self::Sys { process, .. }
            | Self::Ask { process, .. }
            | Self::Unregister { process }
            | Self::Touch { process, .. }
            | Self::Uffd { process, .. }
            | Self::Fork { process, .. }
            | Self::Exit { process }
            | Self::Store { process, .. }
            | Self::Load { process, .. }
            | Self::RemoteStore { process, .. }
            | Self::RemoteLoad { process, .. }
            | Self::ExpectState { process, .. }
            | Self::ExpectAreas { process, .. } => Some(process),
            Self::Process { name } => Some(name),
            Self::Meanwhile { op, .. } => op.process(),
            Self::File { .. }
            | Self::Truncate { .. }
            | Self::Complete { .. }
            | Self::Seal { .. }
            | Self::PinRead { .. }
            | Self::PinWrite { .. }
            | Self::PinDirty { .. }
            | Self::PinRelease { .. }
            | Self::ExpectSame { .. }
            | Self::ExpectOther { .. }
            | Self::ExpectCount { .. } => None,
        }
    }
}
