//! Tables put aside: one for each huge mapping, so that splitting it cannot fail for want of one.
//!
//! *Deposit*: a table that nothing points to, kept with the table in which the huge entry stands.
//! Which of several belongs to which entry does not matter. Invariant: a deposit is out of the list
//! before anything points to it; lists change with the table's lock held. Absent: which entries
//! have one ([`crate::fault`]).
//! Linux: `pgtable_trans_huge_deposit`, `pgtable_trans_huge_withdraw` (mm/pgtable-generic.c), 6.18.

use super::tables::Tables;
use crate::addr::Pfn;
use crate::frame::{OutOfMemory, Owner};
use crate::host::Host;

impl<H: Host> Tables<'_, H> {
    /// A table that nothing points to yet, to be put aside.
    /// # Errors
    /// [`OutOfMemory`]: no frame for it.
    pub(crate) fn new_deposit(&self) -> Result<Pfn, OutOfMemory> {
        self.spare_table()
    }
    /// Puts `spare` aside for a huge entry of `table`, whose lock is held.
    pub(crate) fn deposit(&self, table: Pfn, spare: Pfn) {
        let first = self.frames.owner(table);
        self.frames.set_owner(spare, first);
        #[allow(clippy::cast_possible_truncation, reason = "frame numbers are below 2^32")]
        self.frames.set_owner(table, Owner { owner: spare.get() as u32, index: 0 });
    }
    /// Takes back a table that was put aside for an entry of `table`, whose lock is held.
    pub(crate) fn withdraw(&self, table: Pfn) -> Option<Pfn> {
        let first = self.frames.owner(table);
        if first.owner == 0 {
            return None;
        }
        let spare = Pfn::new(u64::from(first.owner));
        self.frames.set_owner(table, self.frames.owner(spare));
        self.frames.set_owner(spare, Owner::default());
        Some(spare)
    }
    /// Takes one back and frees it: the entry is gone.
    pub(crate) fn withdraw_and_free(&self, table: Pfn) {
        if let Some(spare) = self.withdraw(table) {
            self.discard(spare);
        }
    }
}
