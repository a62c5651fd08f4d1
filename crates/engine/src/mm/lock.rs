//! The mmap lock as guards: what may be done is what you hold.
//!
//! [`MmRead`]: look areas up, fault, pin. [`MmWrite`]: edit areas as well. [`Lock`] is either, or
//! the memory of a lock that was dropped: an entry point that may drop it takes `&mut Lock`, and
//! its caller can see.
//! Linux: `mmap_lock` (v4.4: `mmap_sem`).

use super::space::Mm;
use crate::host::Host;
use crate::observe::Event;
use crate::vma::Map;
use core::ops::{Deref, DerefMut};
use lock_api::{RwLockReadGuard, RwLockWriteGuard};

/// The mmap lock of `mm`, held for reading.
///
/// Areas are edited by the exclusive lock's holder alone (rows S-30, S-31):
/// ```compile_fail,E0596
/// # use gup::{addr::VirtAddr, flags::VmFlags, heap_host::HeapHost, mm::Mm};
/// fn grow(mm: &Mm<HeapHost>) {
///     let lock = mm.read();
///     lock.lookup_mut(VirtAddr::new(0x1000)).unwrap().flags |= VmFlags::GROWSDOWN;
/// }
/// ```
/// and are looked up with the lock only (row S-33):
/// ```compile_fail,E0599
/// # use gup::{addr::VirtAddr, heap_host::HeapHost, mm::Mm};
/// fn look(mm: &Mm<HeapHost>) -> bool {
///     mm.lookup(VirtAddr::new(0x1000)).is_some()
/// }
/// ```
pub struct MmRead<'m, H: Host> {
    mm: &'m Mm<H>,
    map: RwLockReadGuard<'m, H::RawRwLock, Map<H>>,
}

/// The mmap lock of `mm`, held for writing.
pub struct MmWrite<'m, H: Host> {
    mm: &'m Mm<H>,
    map: RwLockWriteGuard<'m, H::RawRwLock, Map<H>>,
}

impl<'m, H: Host> MmRead<'m, H> {
    pub(super) fn new(mm: &'m Mm<H>, map: RwLockReadGuard<'m, H::RawRwLock, Map<H>>) -> Self {
        Self { mm, map }
    }
    /// Whose lock it is.
    #[inline]
    pub fn mm(&self) -> &'m Mm<H> {
        self.mm
    }
}

impl<'m, H: Host> MmWrite<'m, H> {
    pub(super) fn new(mm: &'m Mm<H>, map: RwLockWriteGuard<'m, H::RawRwLock, Map<H>>) -> Self {
        Self { mm, map }
    }
    /// Whose lock it is.
    #[inline]
    pub fn mm(&self) -> &'m Mm<H> {
        self.mm
    }
    /// Goes on with the lock held for reading, without letting a writer in between.
    pub fn downgrade(self) -> MmRead<'m, H> {
        MmRead::new(self.mm, RwLockWriteGuard::downgrade(self.map))
    }
}

impl<H: Host> Deref for MmRead<'_, H> {
    type Target = Map<H>;
    #[inline]
    fn deref(&self) -> &Map<H> {
        &self.map
    }
}
impl<H: Host> Deref for MmWrite<'_, H> {
    type Target = Map<H>;
    #[inline]
    fn deref(&self) -> &Map<H> {
        &self.map
    }
}
impl<H: Host> DerefMut for MmWrite<'_, H> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Map<H> {
        &mut self.map
    }
}

/// The mmap lock, held or dropped.
pub enum Lock<'m, H: Host> {
    /// Held for reading.
    Read(MmRead<'m, H>),
    /// Held for writing.
    Write(MmWrite<'m, H>),
    /// Not held (any more).
    Dropped(&'m Mm<H>),
}

impl<'m, H: Host> Lock<'m, H> {
    /// Whose lock it is.
    #[inline]
    pub fn mm(&self) -> &'m Mm<H> {
        match self {
            Self::Read(guard) => guard.mm(),
            Self::Write(guard) => guard.mm(),
            Self::Dropped(mm) => mm,
        }
    }
    /// The areas, while it is held.
    #[inline]
    pub fn map(&self) -> Option<&Map<H>> {
        match self {
            Self::Read(guard) => Some(guard),
            Self::Write(guard) => Some(guard),
            Self::Dropped(_) => None,
        }
    }
    /// Whether it is held.
    #[inline]
    pub fn is_held(&self) -> bool {
        !matches!(self, Self::Dropped(_))
    }
    /// Drops it, if it is held.
    pub fn drop_lock(&mut self) {
        if self.is_held() {
            let mm = self.mm();
            *self = Self::Dropped(mm);
            mm.machine().host().see(Event::LockDropped);
        }
    }
    /// Takes it for reading, if it is not held. Waits for writers, not for signals.
    pub fn take(&mut self) {
        if let Self::Dropped(mm) = *self {
            *self = Self::Read(mm.read());
            mm.machine().host().see(Event::LockTaken);
        }
    }
}
