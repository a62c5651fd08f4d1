//! Counts of frames and entries of page tables, as the kernel has them.
//!
//! Linux: `include/linux/mm_types.h`; `arch/x86/include/asm/pgtable_types.h`.

use super::btf::Btf;
use super::calls::KernelWords;
use super::place::{Fields, Place};
use crate::world::{Counts, Marks};
use rustix::fd::AsFd;
use rustix::io::Errno;

/// Sees what the kernel has of pages.
#[derive(Debug)]
pub struct Sight {
    kernel: KernelWords,
    place: Place,
}

/// The highest page table of a process, as the kernel sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root(u64);

impl Sight {
    /// Loads the program, and finds where the kernel has what is read.
    /// # Errors
    /// Why that cannot be, in words.
    pub fn open() -> Result<Self, String> {
        let fields = Fields::new(&Btf::open()?)?;
        let kernel = KernelWords::open()?;
        let place = Place::find(&kernel, fields)?;
        Ok(Self { kernel, place })
    }
    /// The counts of the frames `pfns`, in their order.
    /// # Errors
    /// The kernel's.
    pub fn counts(&self, pfns: &[u64]) -> Result<Vec<Counts>, Errno> {
        let fields = self.place.fields;
        let at = |pfn: &u64, field: u64| self.place.frame(*pfn) + field;
        let heads = pfns.iter().map(|pfn| at(pfn, fields.page_head));
        let heads = self.kernel.read(&heads.collect::<Vec<u64>>())?;
        let heads = pfns.iter().zip(heads).map(|(pfn, word)| match word & 1 {
            1 => word - 1,
            _ => self.place.frame(*pfn),
        });
        let heads: Vec<u64> = heads.collect();
        let of_heads = |field: u64| heads.iter().map(|head| head + field).collect::<Vec<u64>>();
        let small = self.numbers(&of_heads(fields.page_refcount))?;
        let own = pfns.iter().map(|pfn| at(pfn, fields.page_mapcount)).collect::<Vec<u64>>();
        let own = self.numbers(&own)?;
        // Only a large folio has a second page, which says so by naming the first.
        let second = self.kernel.read(&of_heads(fields.page_size + fields.page_head))?;
        let pins = self.numbers(&of_heads(fields.folio_pincount))?;
        let entire = self.numbers(&of_heads(fields.folio_entire))?;
        let total = self.numbers(&of_heads(fields.folio_mapcount))?;
        let counts = |n: usize| {
            let large = second[n] == heads[n] + 1;
            let mapped = |counts: &[i32]| counts[n].wrapping_add(1).unsigned_abs();
            Counts {
                refs: small[n],
                pins: large.then(|| pins[n]),
                mapcount: mapped(&own) + if large { mapped(&entire) } else { 0 },
                of_folio: mapped(if large { &total } else { &own }),
            }
        };
        Ok((0..pfns.len()).map(counts).collect())
    }
    /// The numbers of 32 bits at `addrs`.
    fn numbers(&self, addrs: &[u64]) -> Result<Vec<i32>, Errno> {
        let words = self.kernel.read(&addrs.iter().map(|addr| addr & !7).collect::<Vec<u64>>())?;
        let half = |(addr, word): (&u64, u64)| (word >> (8 * (addr & 4))) as i32;
        Ok(addrs.iter().zip(words).map(half).collect())
    }
    /// The highest page table that an open `/proc/PID/pagemap` shows.
    /// # Errors
    /// The kernel's.
    pub(crate) fn root(&self, pagemap: impl AsFd) -> Result<Root, Errno> {
        self.place.root_of(&self.kernel, pagemap).map(Root)
    }
    /// What the entries say that map the pages at `addrs`; `None` where none is present.
    /// # Errors
    /// The kernel's.
    pub(crate) fn marks(&self, root: Root, addrs: &[u64]) -> Result<Vec<Option<Marks>>, Errno> {
        const FRAME: u64 = 0x000f_ffff_ffff_f000;
        const LOWEST_OF_FOUR: u64 = 0xffff_8000_0000_0000;
        let levels = if self.place.memory < LOWEST_OF_FOUR { 5 } else { 4 };
        let mut tables = vec![Some(root.0); addrs.len()];
        let mut entries = vec![0; addrs.len()];
        for level in (0..levels).rev() {
            let place = |(addr, table): (&u64, &Option<u64>)| {
                table.map_or(0, |table| table + 8 * (addr >> (12 + 9 * level) & 511))
            };
            let places: Vec<u64> = addrs.iter().zip(&tables).map(place).collect();
            for (n, word) in self.kernel.read(&places)?.into_iter().enumerate() {
                if tables[n].is_none() {
                    continue;
                }
                entries[n] = word;
                let goes_down = level > 0 && word & PRESENT != 0 && word & LEAF == 0;
                tables[n] = goes_down.then(|| self.place.memory.wrapping_add(word & FRAME));
            }
        }
        Ok(entries.into_iter().map(marks).collect())
    }
}

const PRESENT: u64 = 1;
const LEAF: u64 = 1 << 7;

/// What an entry of x86-64 says, if it is present or `PROT_NONE`.
fn marks(entry: u64) -> Option<Marks> {
    const WRITE: u64 = 1 << 1;
    const YOUNG: u64 = 1 << 5;
    /// The processor's own, and where Linux keeps it of an entry that may not be written through.
    const DIRTY: u64 = 1 << 6 | 1 << 58;
    /// Of one that is not present: `PROT_NONE`.
    const GLOBAL: u64 = 1 << 8;
    const UFFD_WP: u64 = 1 << 10;
    let has = |bits: u64| entry & bits != 0;
    has(PRESENT | GLOBAL).then(|| Marks {
        present: has(PRESENT),
        write: has(WRITE),
        dirty: has(DIRTY),
        young: has(YOUNG),
        uffd_wp: has(UFFD_WP),
    })
}
