//! The mmap lock as guards, as [`crate::mm::Lock`] has them: what may be done is what is held.
//!
//! Nothing here ever drops a caller's lock (row N-07), but callers pass the same three states.
//! Linux: `mmap_sem` (v4.4), `mmap_lock` (6.18).

use super::map::RegionMap;
use super::space::NommuMm;
use crate::host::Host;
use crate::observe::Event;
use core::ops::{Deref, DerefMut};
use lock_api::{RwLockReadGuard, RwLockWriteGuard};

/// The mmap lock of `mm`, held for reading.
pub struct NommuRead<'m, H: Host> {
    mm: &'m NommuMm<H>,
    map: RwLockReadGuard<'m, H::RawRwLock, RegionMap>,
}

/// The mmap lock of `mm`, held for writing.
pub struct NommuWrite<'m, H: Host> {
    mm: &'m NommuMm<H>,
    map: RwLockWriteGuard<'m, H::RawRwLock, RegionMap>,
}

impl<'m, H: Host> NommuRead<'m, H> {
    pub(super) fn new(
        mm: &'m NommuMm<H>,
        map: RwLockReadGuard<'m, H::RawRwLock, RegionMap>,
    ) -> Self {
        Self { mm, map }
    }
    /// Whose lock it is.
    #[inline]
    pub fn mm(&self) -> &'m NommuMm<H> {
        self.mm
    }
}

impl<'m, H: Host> NommuWrite<'m, H> {
    pub(super) fn new(
        mm: &'m NommuMm<H>,
        map: RwLockWriteGuard<'m, H::RawRwLock, RegionMap>,
    ) -> Self {
        Self { mm, map }
    }
    /// Whose lock it is.
    #[inline]
    pub fn mm(&self) -> &'m NommuMm<H> {
        self.mm
    }
    /// Goes on with the lock held for reading, without letting a writer in between.
    pub fn downgrade(self) -> NommuRead<'m, H> {
        NommuRead::new(self.mm, RwLockWriteGuard::downgrade(self.map))
    }
}

impl<H: Host> Deref for NommuRead<'_, H> {
    type Target = RegionMap;
    #[inline]
    fn deref(&self) -> &RegionMap {
        &self.map
    }
}
impl<H: Host> Deref for NommuWrite<'_, H> {
    type Target = RegionMap;
    #[inline]
    fn deref(&self) -> &RegionMap {
        &self.map
    }
}
impl<H: Host> DerefMut for NommuWrite<'_, H> {
    #[inline]
    fn deref_mut(&mut self) -> &mut RegionMap {
        &mut self.map
    }
}

/// The mmap lock, held or not.
pub enum Lock<'m, H: Host> {
    /// Held for reading.
    Read(NommuRead<'m, H>),
    /// Held for writing.
    Write(NommuWrite<'m, H>),
    /// Not held.
    Dropped(&'m NommuMm<H>),
}

impl<'m, H: Host> Lock<'m, H> {
    /// Whose lock it is.
    #[inline]
    pub fn mm(&self) -> &'m NommuMm<H> {
        match self {
            Self::Read(guard) => guard.mm(),
            Self::Write(guard) => guard.mm(),
            Self::Dropped(mm) => mm,
        }
    }
    /// The areas, while it is held.
    #[inline]
    pub fn map(&self) -> Option<&RegionMap> {
        match self {
            Self::Read(guard) => Some(guard),
            Self::Write(guard) => Some(guard),
            Self::Dropped(_) => None,
        }
    }
    /// Whether it is held.
    #[inline]
    pub fn is_held(&self) -> bool {
        match self {
            Self::Read(_) | Self::Write(_) => true,
            Self::Dropped(_) => false,
        }
    }
    /// Drops it, if it is held.
    pub fn drop_lock(&mut self) {
        if self.is_held() {
            let mm = self.mm();
            *self = Self::Dropped(mm);
            mm.host().see(Event::LockDropped);
        }
    }
}
