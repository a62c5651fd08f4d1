//! The kernel's description of its types: at which byte a field is, and how large a structure.
//!
//! Linux: `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`.

use std::fs;

const MAGIC: u16 = 0xeb9f;
const PTR_OR_ALIAS: [u32; 6] = [8, 9, 10, 11, 18, 2];
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// All types of the running kernel.
pub(super) struct Btf {
    bytes: Vec<u8>,
    /// Where the descriptions of types 1, 2, … begin.
    types: Vec<usize>,
    strings: usize,
}

/// One type: what kind it is, how many members it has, its size or what it refers to.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    members: usize,
    flag: bool,
    size: u32,
}

impl Btf {
    /// Those in `/sys/kernel/btf/vmlinux`.
    /// # Errors
    /// Why they cannot be read, in words.
    pub(super) fn open() -> Result<Self, String> {
        const PATH: &str = "/sys/kernel/btf/vmlinux";
        let bytes = fs::read(PATH).map_err(|error| format!("{PATH}: {error}"))?;
        Self::parse(bytes).ok_or_else(|| format!("{PATH} is not understood"))
    }
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?));
        let word = |at: usize| word(&bytes, at);
        if half(0)? != MAGIC {
            return None;
        }
        let header = word(4)? as usize;
        let start = header.checked_add(word(8)? as usize)?;
        let end = start.checked_add(word(12)? as usize)?;
        let strings = header.checked_add(word(16)? as usize)?;
        let (mut types, mut at) = (Vec::new(), start);
        while at < end {
            types.push(at);
            let info = word(at + 4)?;
            let members = (info & 0xffff) as usize;
            at += 12
                + match info >> 24 & 0x1f {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    STRUCT | UNION | 15 | 19 => 12 * members,
                    6 | 13 => 8 * members,
                    _ => 0,
                };
        }
        Some(Self { bytes, types, strings })
    }
    fn kind(&self, id: usize) -> Option<Type> {
        let at = *self.types.get(id.checked_sub(1)?)?;
        let (name, info) = (word(&self.bytes, at)?, word(&self.bytes, at + 4)?);
        let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let size = word(&self.bytes, at + 8)?;
        Some(Type { at, name, kind, members, flag: info >> 31 == 1, size })
    }
    fn is_called(&self, name: u32, want: &str) -> bool {
        let at = self.strings.saturating_add(name as usize);
        let text = self.bytes.get(at..).unwrap_or_default();
        text.strip_prefix(want.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
    fn structure(&self, name: &str) -> Result<Type, String> {
        let types = (1..=self.types.len()).filter_map(|id| self.kind(id));
        let mut found = types.filter(|found| found.kind == STRUCT && found.members > 0);
        let found = found.find(|found| self.is_called(found.name, name));
        found.ok_or_else(|| format!("this kernel has no struct {name}"))
    }
    /// How many bytes `struct name` has.
    /// # Errors
    /// There is none.
    pub(super) fn size(&self, name: &str) -> Result<u64, String> {
        self.structure(name).map(|found| found.size.into())
    }
    /// At which byte of `struct name` the field `path` is, a name or several with dots between.
    /// # Errors
    /// There is no such structure or field.
    pub(super) fn offset(&self, name: &str, path: &str) -> Result<u64, String> {
        let mut inside = self.structure(name)?;
        let mut bits = 0;
        for field in path.split('.') {
            let found = self.field(inside, field);
            let (at, id) = found.ok_or_else(|| format!("struct {name} has no {path}"))?;
            bits += at;
            inside = self.kind(id).unwrap_or(inside);
        }
        Ok(u64::from(bits / 8))
    }
    /// The bit at which `field` is, also in a member without a name, and its type.
    fn field(&self, inside: Type, field: &str) -> Option<(u32, usize)> {
        let mut inside = inside;
        while PTR_OR_ALIAS.contains(&inside.kind) {
            inside = self.kind(inside.size as usize)?;
        }
        if ![STRUCT, UNION].contains(&inside.kind) {
            return None;
        }
        (0..inside.members).find_map(|n| {
            let member = inside.at + 12 + 12 * n;
            let [name, id, bits] = [0, 4, 8].map(|at| word(&self.bytes, member + at));
            let (name, id, bits) = (name?, id? as usize, bits?);
            let bits = if inside.flag { bits & 0xff_ffff } else { bits };
            if self.is_called(name, field) {
                return Some((bits, id));
            }
            let nameless = self.is_called(name, "");
            let (more, id) = nameless.then(|| self.field(self.kind(id)?, field)).flatten()?;
            Some((bits + more, id))
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}
