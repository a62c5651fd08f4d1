//! What a host lends the engine: memory, locks, waiting, signals, notices.
//!
//! A [`Host`] is a value, not a global; the engine reaches it through [`crate::mm::Machine`].
//! Invariant: [`Host::wait`] is the only place where anything sleeps.
//! Absent: files and swap devices, which are values of their own ([`Store`]), one per file.

use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::linux::Kernel;
use crate::observe::{Event, Observer};
use crate::pgtable::{Format, Reclaim};
use crate::rule::Rule;
use crate::task::Task;

/// A word of a table: core's, or `portable-atomic`'s on a processor that has none so wide.
pub use crate::sync::Word as AtomicU64;

/// Physical memory: a run of frames numbered from 0.
///
/// Frames hold page tables, read and written entry by entry through [`Memory::table`], or data,
/// moved in bulk. The engine never asks for a byte outside a frame that it allocated.
pub trait Memory: Send + Sync {
    /// How many frames there are; valid frame numbers are `0..frames()`.
    fn frames(&self) -> u64;
    /// Frame `pfn` as the 512 entries of a page table.
    fn table(&self, pfn: Pfn) -> &[AtomicU64; 512];
    /// Zeroes `count` frames from `pfn`.
    fn zero(&self, pfn: Pfn, count: u64);
    /// Copies `count` frames from `from` to `to`; they do not overlap.
    fn copy(&self, to: Pfn, from: Pfn, count: u64);
    /// Reads bytes of one frame: `offset + into.len() <= 4096`.
    fn read(&self, pfn: Pfn, offset: usize, into: &mut [u8]);
    /// Writes bytes of one frame: `offset + from.len() <= 4096`.
    fn write(&self, pfn: Pfn, offset: usize, from: &[u8]);
}

/// Something to wait for, chosen by whoever is not ready (a [`Store`], a userfault handler).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// Which signals end a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitMode {
    /// None.
    Uninterruptible,
    /// SIGKILL.
    Killable,
    /// Any.
    Interruptible,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// What was waited for is there.
    Ready,
    /// A signal came first.
    Signal,
}

/// Signals that wait for a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// SIGKILL is pending.
    pub fatal: bool,
    /// Any signal is pending (true whenever `fatal` is).
    pub any: bool,
}

/// Points at which a host may let the engine fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Injection {
    /// A page-table page is being allocated.
    TableAlloc,
    /// A data folio of this order is being allocated.
    FolioAlloc(u8),
    /// The engine needs bookkeeping memory (an area, an `anon_vma`).
    Bookkeeping,
    /// A swap slot is being allocated.
    SwapSlot,
    /// The mmap lock is taken killably, and would have to be waited for.
    LockContended,
    /// A fault ends in a way that its caller does not know: a bug of the fault's (row A-140). Not a
    /// failure that the engine can meet by itself.
    StrayOutcome,
}

/// Places between two steps of one thread where it matters what another does ([`Host::gap`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gap {
    /// A table's lock is about to be taken.
    Lock,
    /// A table's lock is another's; in each turn of the wait.
    Contended,
    /// The lockless walk begins.
    Entered,
    /// The lockless walk has read an entry, and is about to count.
    Seen,
    /// It has counted, and is about to look again.
    Counted,
    /// It has all pages, and is about to compare fork's sequence.
    Gathered,
    /// An entry was emptied, and pins are about to be looked for.
    Emptied,
    /// There were no pins, and the page is about to lose what made it exclusive.
    Unpinned,
    /// Tables were unlinked, and walkers are about to be waited for.
    Unlinked,
    /// The walkers have left, and the tables are about to be freed.
    Left,
}

/// How a [`Store`] is to answer when the data is not at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Wait for it; only a failure may prevent [`StoreRead::Ready`].
    Block,
    /// Start reading, and say [`StoreRead::NotYet`].
    Start,
}

/// A store's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRead {
    /// The page's bytes are in `into`.
    Ready,
    /// The read has been started; the ticket is ready when asking again would succeed.
    NotYet(Ticket),
    /// The read failed (EIO): the fault becomes SIGBUS.
    Failed,
}

/// Where the pages of a file, or of a swap device, come from and go to.
pub trait Store: Send + Sync {
    /// Reads page `index` into `into` (4096 bytes).
    fn read_page(&self, index: u64, mode: ReadMode, into: &mut [u8]) -> StoreRead;
    /// Writes page `index`, 4096 bytes; returns when they are kept, or cannot be.
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite;
    /// Pages `first..end` are holes from now on, or past the end: later reads find zeroes.
    fn discard(&self, first: u64, end: u64) {
        let _ = (first, end);
    }
}

/// A store's answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreWrite {
    /// The bytes are kept.
    Done,
    /// They are not (EIO, ENOSPC); the page stays dirty.
    Failed,
}

/// What the engine runs on. One value per machine; every type parameter of the engine is one of
/// these.
pub trait Host: Sized + Send + Sync + 'static {
    /// Physical memory.
    type Memory: Memory;
    /// The lock behind short critical sections (free lists, page caches).
    type RawMutex: lock_api::RawMutex + Send + Sync;
    /// The lock behind an address space (`mmap_lock`): fair enough that a writer gets in.
    type RawRwLock: lock_api::RawRwLockDowngrade + Send + Sync;
    /// The page-table format.
    type Format: Format;
    /// Who receives events.
    type Observer: Observer;
    /// How freed tables wait for walks without locks ([`crate::pgtable::Walkers`]).
    type Reclaim: Reclaim;

    /// Whether hardware walks these page tables, and may therefore mark any present entry accessed
    /// or dirty at any moment. Where it does not, a locked table's entries are edited without
    /// atomic exchanges, which is several times faster.
    const HARDWARE_WALKS: bool = true;

    /// The memory.
    fn memory(&self) -> &Self::Memory;
    /// The observer.
    fn observer(&self) -> &Self::Observer;

    /// Waits until `ticket` is ready. The mmap lock is held if the fault could not drop it.
    fn wait(&self, ticket: Ticket, mode: WaitMode, task: &Task) -> Woken;

    /// The signals pending for `task`. Called before every lookup of a page.
    #[inline]
    fn signals(&self, task: &Task) -> Signals {
        task.signals()
    }
    /// Whether the engine is to fail at this point. Called once per point passed.
    #[inline]
    fn inject(&self, _point: Injection) -> bool {
        false
    }
    /// A number for the calling thread, or for its processor if a walk without locks cannot be
    /// moved to another: which slot of [`crate::pgtable::Walkers`] is its own. Threads that
    /// have the same number share lines of cache, and nothing else.
    #[inline]
    fn walker(&self) -> usize {
        0
    }
    /// A chance to run something else; called between pages of a long call (`cond_resched`).
    #[inline]
    fn relax(&self) {}
    /// Another thread may come in between here; the default only waits a moment where it must. For
    /// hosts that try out the orders in which threads may run.
    #[inline(always)]
    fn gap(&self, gap: Gap) {
        if gap == Gap::Contended {
            core::hint::spin_loop();
        }
    }
    /// Translations of `range` in the address space whose root table is `root` are no longer valid.
    #[inline]
    fn flush_tlb(&self, _root: Pfn, _range: VirtRange) {}
    /// The caller looks at a page through another mapping (`flush_anon_page` and
    /// `flush_dcache_page`).
    #[inline]
    fn flush_page(&self, _pfn: Pfn, _addr: VirtAddr) {}
    /// A caller broke a precondition that the kernel asserts (`VM_BUG_ON`, BUG). Panics in debug
    /// builds; returns in others, and the engine goes on as a kernel without `CONFIG_DEBUG_VM`
    /// does.
    fn bug(&self, rule: Rule) {
        #[cfg(debug_assertions)]
        panic!("caller's bug, {rule}: {}", rule.row().meaning);
        #[cfg(not(debug_assertions))]
        let _ = rule;
    }
    /// The kernel prints a warning here (`WARN_ON_ONCE`).
    fn warn(&self, _rule: Rule) {}

    /// Reports an event; nothing where the observer is off.
    #[inline(always)]
    #[track_caller]
    fn see(&self, event: Event) {
        if Self::Observer::ON {
            self.observer().event(&event, core::panic::Location::caller());
        }
    }
    /// The kernel whose rules apply: one that it does not have is as if it were switched off.
    /// `None`: all rules of the machine's own kernel ([`crate::linux::Linux`]), and no past ones.
    #[inline(always)]
    fn kernel(&self) -> Option<&Kernel> {
        None
    }
    /// Reports that `rule` decided about `addr`, if the kernel has it.
    #[inline(always)]
    #[track_caller]
    fn decided(&self, rule: Rule, addr: VirtAddr) {
        if Self::Observer::ON && self.kernel().is_none_or(|kernel| kernel.has(rule)) {
            self.observer().event(&Event::Rule { rule, addr }, core::panic::Location::caller());
        }
    }
    /// As [`Host::decided`], if `cond` holds: for what needs no branch of its own.
    #[inline(always)]
    #[track_caller]
    fn decided_if(&self, rule: Rule, cond: bool, addr: VirtAddr) {
        if cond {
            self.decided(rule, addr);
        }
    }
    /// Whether `rule` applies: `cond`, unless the rule is switched off or the kernel does not have
    /// it. Reports it if `cond`, off or not, so that what a test notices is what the engine does.
    #[inline(always)]
    #[track_caller]
    fn rule(&self, rule: Rule, cond: bool, addr: VirtAddr) -> bool {
        let cond = cond && self.kernel().is_none_or(|kernel| kernel.has(rule));
        if Self::Observer::ON && cond {
            self.observer().event(&Event::Rule { rule, addr }, core::panic::Location::caller());
        }
        rule.when(cond)
    }
    /// As [`Host::rule`], for a rule that 6.18 no longer has: it applies only where
    /// [`Host::kernel`] names a kernel that has it.
    #[inline(always)]
    #[track_caller]
    fn past_rule(&self, rule: Rule, cond: bool, addr: VirtAddr) -> bool {
        let cond = cond && self.kernel().is_some_and(|kernel| kernel.has(rule));
        if Self::Observer::ON && cond {
            self.observer().event(&Event::Rule { rule, addr }, core::panic::Location::caller());
        }
        rule.when(cond)
    }
}
