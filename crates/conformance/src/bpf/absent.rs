//! What stands for the sight of the kernel's own counts and entries in a program that was built
//! without the feature `bpf`: there is none.

use crate::world::{Counts, Marks};
use rustix::fd::AsFd;
use rustix::io::Errno;

/// Never there.
#[derive(Debug)]
pub(crate) enum Sight {}

/// Never there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Root {}

impl Sight {
    pub(crate) fn open() -> Result<Self, String> {
        Err("this program was built without the feature bpf".to_owned())
    }
    pub(crate) fn counts(&self, _: &[u64]) -> Result<Vec<Counts>, Errno> {
        match *self {}
    }
    pub(crate) fn root(&self, _: impl AsFd) -> Result<Root, Errno> {
        match *self {}
    }
    pub(crate) fn marks(&self, _: Root, _: &[u64]) -> Result<Vec<Option<Marks>>, Errno> {
        match *self {}
    }
}
