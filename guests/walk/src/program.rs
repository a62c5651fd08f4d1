//! The processor's own program, and its answers: [`Program`].
//!
//! Its page has one part for each kind of access, which ends in a breakpoint. How a processor is
//! made to use tables, and to run the program, is the architecture's module's.

use crate::{Room, processor};
use alloc::sync::Arc;
use bare::Ram;
use core::marker::PhantomData;
use exam::{CannotAsk, Processor, Walk};
use gup::addr::Pfn;
use gup::host::Memory;
use gup::pgtable::{Format, Perms, Touch};

/// Bytes from one part to the next.
const PART: u64 = 16;

/// A program of the processor that this runs on, for tables of format `F`.
pub(crate) struct Program<F> {
    memory: Arc<Ram>,
    page: Pfn,
    format: PhantomData<F>,
}

impl<F: Format> Program<F> {
    /// Writes its instructions into the first of the processor's own frames.
    pub(crate) fn new(room: &Room) -> Self {
        let (memory, page) = (&room.memory, room.own);
        for (part, instructions) in (0..).step_by(PART as usize).zip(processor::PARTS) {
            for (place, word) in (part..).step_by(4).zip(instructions) {
                memory.write(page, place, &word.to_le_bytes());
            }
        }
        Self { memory: Arc::clone(memory), page, format: PhantomData }
    }
}

impl<F: Format> Processor for Program<F> {
    type Format = F;
    type Memory = Ram;
    const FILL: [u8; 4] = processor::BREAKPOINT.to_le_bytes();
    const ALIGN: u64 = 4;
    fn memory(&self) -> &Arc<Ram> {
        &self.memory
    }
    fn largest(&self) -> u8 {
        2
    }
    fn never(&self) -> Perms {
        Perms { uffd_wp: processor::RESERVES_UFFD_WP, ..Perms::default() }
    }
    fn program(&self) -> Pfn {
        self.page
    }
    fn take(&mut self, walks: &mut [Walk]) -> Result<(), CannotAsk> {
        for walk in walks {
            processor::load::<F>(walk.root);
            let take = |&(addr, touch): &(u64, Touch)| {
                let part = match touch {
                    Touch::Read => 0,
                    Touch::Write => 1,
                    Touch::Execute => 2,
                };
                // What is stored is what was there.
                let byte = Self::FILL[addr as usize % 4];
                processor::run(walk.program + part * PART, (addr, touch), byte)
            };
            walk.ended = walk.accesses.iter().map(take).collect();
        }
        Ok(())
    }
}
