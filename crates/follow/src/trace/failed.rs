//! A call that failed, and which failures are told of.
//!
//! Registrations are rare and all their failures are told. Calls that programs make often, and
//! that fail for daily reasons (a pipe is full), are told of only with the errnos that a refused
//! pin gives.

use crate::calls::completions;
use crate::calls::decode::{self, Asked};
use crate::calls::memory::Memory;
use crate::calls::table::{Kind, Row};
use crate::errno;

/// A call that was refused, or did less than it was asked; its thread is stopped at the return.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Which call.
    pub row: &'static Row,
    /// Its arguments.
    pub args: [u64; 6],
    /// What it returned to the kernel's edge: a negative errno, or how much it did. Of completions,
    /// what the first one that failed was given.
    pub value: i64,
    /// What it asked for.
    pub asked: Asked,
}

impl Failed {
    /// The name of its errno; `None` if it did a part.
    pub fn errno(&self) -> Option<&'static str> {
        let value = i32::try_from(self.value.checked_neg()?).ok()?;
        (value > 0).then(|| errno::name(value))
    }

    /// The arguments that it has, for a person: names of requests, small numbers in decimal.
    pub fn arguments(&self) -> Vec<String> {
        let named = |index: usize| {
            let (at, name) = self.row.request?;
            (usize::from(at) == index).then(|| name.to_owned())
        };
        let args = self.args.iter().take(usize::from(self.row.arity)).enumerate();
        args.map(|(index, arg)| named(index).unwrap_or_else(|| shown(*arg))).collect()
    }
}

/// An argument: descriptors, process ids, lengths and -1 in decimal, addresses in hexadecimal.
fn shown(arg: u64) -> String {
    let low = i64::from((arg as u32).cast_signed());
    if arg < 1 << 24 {
        arg.to_string()
    } else if (-4096..0).contains(&low) && (arg >> 32 == 0 || arg >> 32 == 0xffff_ffff) {
        low.to_string()
    } else {
        format!("{arg:#x}")
    }
}

/// The largest errno that a program sees; beyond it are the kernel's own, of calls that begin
/// anew.
const MAX_SEEN: i64 = 511;

/// What is told of a call of `row` that returned `value`: what failed with what, and what was asked
/// for. `None` if there is nothing to tell.
pub(crate) fn judged(
    row: &'static Row,
    args: &[u64; 6],
    value: i64,
    memory: &impl Memory,
) -> Option<(i64, Asked)> {
    if row.kind == Kind::Completions {
        return completions::failed(args[3], u64::try_from(value).ok()?, memory);
    }
    let short = || {
        let may = matches!(row.kind, Kind::RemoteRead | Kind::RemoteWrite);
        may && value.cast_unsigned() < decode::remote_bytes(args, memory)
    };
    let told = if value < 0 { is_told(row.kind, value.checked_neg()?) } else { short() };
    if told { Some((value, decode::asked(row.kind, args, memory)?)) } else { None }
}

fn is_told(kind: Kind, errno: i64) -> bool {
    let errno = i32::try_from(errno).unwrap_or(i32::MAX);
    let one_of = |errnos: &[i32]| errnos.contains(&errno);
    if i64::from(errno) > MAX_SEEN || errno == libc::EINTR {
        return false;
    }
    match kind {
        Kind::Futex | Kind::FutexPair | Kind::Policy => one_of(&[libc::EFAULT]),
        Kind::Peek | Kind::Poke => one_of(&[libc::EFAULT, libc::EIO]),
        Kind::Splice => one_of(&[libc::EFAULT, libc::ENOMEM]),
        Kind::Send | Kind::SendMessage => one_of(&[libc::EFAULT, libc::ENOMEM, libc::ENOBUFS]),
        Kind::DirectRead | Kind::DirectWrite | Kind::DirectReadVector | Kind::DirectWriteVector => {
            one_of(&[libc::EFAULT, libc::ENOMEM, libc::EINVAL])
        }
        Kind::RemoteRead
        | Kind::RemoteWrite
        | Kind::Lock
        | Kind::LockFlagged
        | Kind::LockWithoutRange
        | Kind::PopulateRead
        | Kind::PopulateWrite
        | Kind::RingBuffers
        | Kind::RingBuffers2
        | Kind::RingBuffersUpdate
        | Kind::RingProvided
        | Kind::RingRegion
        | Kind::RingSetup
        | Kind::Umem
        | Kind::ReceiveMap
        | Kind::VfioMap
        | Kind::IommufdMap
        | Kind::KvmSlot
        | Kind::KvmEncrypted
        | Kind::Udmabuf
        | Kind::Verbs
        | Kind::VerbsWrite => true,
        Kind::Completions | Kind::Watched | Kind::Closing => false,
    }
}
