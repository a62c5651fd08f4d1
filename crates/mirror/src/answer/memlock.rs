//! The memlock ledger: which limit on locked memory counts, whose, how much of it is used, what
//! this range needs, what is missing.
//!
//! *Bucket*: the counter that the limit is compared with. `io_uring` and `AF_XDP` count for a
//! user, all its processes together; RDMA for an address space, apart from locked memory; `mlock`
//! and VFIO for an address space, together with it. The limit is always that of the process that
//! calls. All ask `capable(CAP_IPC_LOCK)`, so in the initial user namespace; `io_uring` when the
//! ring is made, the others in the call. Numbers are pages inside, bytes at the surface.
//!
//! Absent: why a page is refused ([`crate::explain`]); mlock's refusal, which the engine decides.
//!
//! Linux: `io_uring/rsrc.c`, `net/xdp/xdp_umem.c` `xdp_umem_account_pages`,
//! `drivers/infiniband/core/umem.c` `ib_umem_get`, `drivers/vfio/vfio_iommu_type1.c`,
//! `mm/mlock.c` `do_mlock`.

use crate::answer::buffers::{self, Buffer, Counted};
use crate::answer::user_bucket::InUse;
use crate::consumer::Consumer;
use crate::explain::NoVerdict;
use crate::explain::look::Look;
use crate::proc::limits::{Limit, memlock_limit};
use crate::proc::privilege::IpcLock;
use crate::range::{ByteRange, PAGE};
use gup::errno::Errno;

/// The counter that a consumer's pages are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// None: these pages count against no limit.
    None,
    /// `user_struct.locked_vm`, of this user (real user id).
    User(u32),
    /// `mm->pinned_vm`, the `VmPin` of the process.
    Pinned,
    /// `mm->locked_vm`, the `VmLck` of the process.
    Locked,
}

/// Whether the limit is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enough {
    /// Nothing is counted.
    NotCounted,
    /// The process is privileged: it has no limit.
    Exempt,
    /// It is.
    Fits,
    /// It is not.
    Exceeds,
    /// It is, unless what was not seen takes what is left.
    Unknown,
}

/// Whether a limit is enough, and all that decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memlock {
    /// The counter.
    pub bucket: Bucket,
    /// `RLIMIT_MEMLOCK` of the process.
    pub limit: Limit,
    /// Its `CAP_IPC_LOCK`.
    pub capability: IpcLock,
    /// What the counter holds, in pages, as far as that was seen.
    pub used: u64,
    /// Who holds it, where the counter is a user's, and what was not seen.
    pub in_use: InUse,
    /// What the call adds to it, in pages.
    pub needed: u64,
    /// Whether `needed` rests on nothing unseen.
    pub needed_exact: bool,
    /// Each range of the call.
    pub buffers: Vec<Buffer>,
    /// Whether it is enough.
    pub enough: Enough,
    /// The errno for which the call fails, or would with what was seen; the limit's or another.
    pub errno: Option<Errno>,
    /// The limit's errno, if it is not enough.
    pub refusal: Option<Errno>,
}

impl Memlock {
    /// How many bytes the limit is too small by.
    pub fn shortfall(&self) -> u64 {
        let Limit::Bytes(limit) = self.limit else { return 0 };
        let over = self.used.saturating_add(self.needed).saturating_sub(limit / PAGE);
        if self.enough == Enough::Exceeds { over.saturating_mul(PAGE) } else { 0 }
    }
}

/// Whether the limit on locked memory is enough for the call of `look`.
///
/// # Errors
/// [`NoVerdict`].
pub fn memlock(look: &Look<'_>) -> Result<Memlock, NoVerdict> {
    let consumer = look.request.ask.consumer();
    let bucket = bucket_of(consumer, look);
    let counted = counted(look, consumer, bucket)?;
    let status = look.process.status();
    let in_use = match bucket {
        Bucket::User(uid) => InUse::of(look.process, uid, look.window.kernel.version()),
        Bucket::None | Bucket::Pinned | Bucket::Locked => InUse::default(),
    };
    let used = match bucket {
        Bucket::None => 0,
        Bucket::User(_) => in_use.pages(),
        Bucket::Pinned => status.pinned_kib.unwrap_or(0) / 4,
        Bucket::Locked => status.locked_kib.unwrap_or(0) / 4,
    };
    let mut ledger = Memlock {
        bucket,
        limit: memlock_limit(look.process),
        capability: IpcLock::of(look.process),
        used,
        in_use,
        needed: counted.buffers.iter().map(|buffer| buffer.pages).sum(),
        needed_exact: counted.exact,
        buffers: counted.buffers,
        enough: Enough::NotCounted,
        errno: None,
        refusal: None,
    };
    ledger.decide(look, consumer);
    Ok(ledger)
}

impl Memlock {
    fn decide(&mut self, look: &Look<'_>, consumer: Option<Consumer>) {
        self.enough = self.is_enough();
        let by_limit = if self.enough == Enough::Exceeds { self.errno_of(consumer) } else { None };
        self.refusal = by_limit;
        let of_pin = look.verdict.call.and_then(|call| call.errno);
        self.errno = match consumer {
            // One buffer after the other: pinned, then counted.
            Some(Consumer::IoUringBuffer) => self.first_refusal(),
            Some(Consumer::Mlock | Consumer::MlockOnfault) => of_pin,
            // Counted before the first page is looked at.
            _ => by_limit.or(of_pin),
        };
        if consumer == Some(Consumer::IoUringBuffer) && self.errno != Some(Errno::ENOMEM) {
            self.refusal = None;
        }
    }

    fn is_enough(&self) -> Enough {
        if self.bucket == Bucket::None {
            return Enough::NotCounted;
        }
        if self.capability == IpcLock::Effective {
            return Enough::Exempt;
        }
        let sure = self.in_use.besides.is_empty()
            && self.needed_exact
            && self.capability != IpcLock::Unknown;
        match self.limit {
            Limit::None => Enough::Fits,
            Limit::Unseen => Enough::Unknown,
            Limit::Bytes(limit) => {
                let fits = self.used.saturating_add(self.needed) <= limit / PAGE;
                let no_right = limit == 0 && self.asks_for_a_right();
                match fits && !no_right {
                    true if sure => Enough::Fits,
                    true => Enough::Unknown,
                    false if self.capability == IpcLock::Unknown => Enough::Unknown,
                    false => Enough::Exceeds,
                }
            }
        }
    }

    /// Whether a limit of 0 takes away the right to lock anything, which has an errno of its own.
    fn asks_for_a_right(&self) -> bool {
        matches!(self.bucket, Bucket::Pinned | Bucket::Locked)
    }

    /// The errno of `consumer` for a limit that is not enough.
    fn errno_of(&self, consumer: Option<Consumer>) -> Option<Errno> {
        match consumer? {
            Consumer::XdpUmem => Some(Errno::ENOBUFS),
            Consumer::Vfio => Some(Errno::ENOMEM),
            _ if self.limit == Limit::Bytes(0) && self.asks_for_a_right() => Some(Errno::EPERM),
            _ => Some(Errno::ENOMEM),
        }
    }

    /// What ends a registration of buffers first.
    fn first_refusal(&self) -> Option<Errno> {
        // Where it is not known whether the limit counts, nothing is said to fail by it.
        let counts = matches!(self.enough, Enough::Exceeds | Enough::Fits);
        let room = match self.limit {
            Limit::Bytes(limit) if counts => limit / PAGE,
            Limit::Bytes(_) | Limit::None | Limit::Unseen => u64::MAX,
        };
        let mut used = self.used;
        for buffer in &self.buffers {
            used = used.saturating_add(buffer.pages);
            let too_much = buffer.pages > 0 && used > room;
            let errno = buffer.refused.or(too_much.then_some(Errno::ENOMEM));
            if errno.is_some() {
                return errno;
            }
        }
        None
    }
}

fn bucket_of(consumer: Option<Consumer>, look: &Look<'_>) -> Bucket {
    let Some(consumer) = consumer else { return Bucket::None };
    match consumer {
        Consumer::IoUringBuffer | Consumer::IoUringPbuf | Consumer::XdpUmem => {
            look.process.status().ruid.map_or(Bucket::None, Bucket::User)
        }
        Consumer::Rdma | Consumer::RdmaReadonly => Bucket::Pinned,
        Consumer::Mlock | Consumer::MlockOnfault | Consumer::Vfio => Bucket::Locked,
        Consumer::ProcessVmReadv
        | Consumer::ProcessVmWritev
        | Consumer::ProcMemRead
        | Consumer::ProcMemWrite
        | Consumer::PtracePeek
        | Consumer::PtracePoke
        | Consumer::ProcCmdline
        | Consumer::MadvisePopulateRead
        | Consumer::MadvisePopulateWrite
        | Consumer::Vmsplice
        | Consumer::GetMempolicy
        | Consumer::Futex
        | Consumer::ODirectWrite
        | Consumer::ODirectRead
        | Consumer::Kvm
        | Consumer::Uprobe
        | Consumer::Coredump => Bucket::None,
    }
}

/// What the ranges of the call count.
fn counted(
    look: &Look<'_>,
    consumer: Option<Consumer>,
    bucket: Bucket,
) -> Result<Counted, NoVerdict> {
    let ranges: Vec<ByteRange> =
        std::iter::once(look.request.range).chain(look.also.iter().copied()).collect();
    if consumer == Some(Consumer::IoUringBuffer) {
        return buffers::count(look, &ranges);
    }
    let pages = |range: &ByteRange| match (bucket, consumer) {
        (Bucket::None, _) => 0,
        (_, Some(Consumer::Mlock | Consumer::MlockOnfault)) => range.pages() - locked(look, *range),
        _ => range.pages(),
    };
    let buffer = |range: &ByteRange| Buffer { range: *range, pages: pages(range), refused: None };
    Ok(Counted { buffers: ranges.iter().map(buffer).collect(), exact: true })
}

/// Pages of `range` that are locked already, and count no second time.
fn locked(look: &Look<'_>, range: ByteRange) -> u64 {
    let is_locked = |page: &u64| {
        let addr = range.first_page().wrapping_add(page << 12);
        look.window.place_at(addr).is_some_and(|place| place.has("lo"))
    };
    (0..range.pages()).filter(is_locked).count() as u64
}
