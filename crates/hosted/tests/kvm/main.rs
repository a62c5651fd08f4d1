//! The processor agrees: a virtual one walks the engine's own x86-64 tables in the engine's own
//! memory, and every access ends as the engine says.
//!
//! What is compared is `guests/exam`'s. Built with the feature `kvm` alone; where KVM cannot be
//! used the tests say why and pass.

mod guest;

use exam::{CannotAsk, Counts, Layout, Processor, examine};
use guest::{Guest, KERNEL_FRAMES};
use gup::addr::Pfn;
use gup_hosted::HostedMemory;
use std::io::Write;
use std::sync::Arc;

/// Frames for the engine's tables; then the guest's kernel; then data, from a multiple of 2 MiB on.
const TABLE_FRAMES: u64 = 8000;
const DATA: u64 = 8192;
const ALL_FRAMES: u64 = DATA + 1024;

const _: () = assert!(TABLE_FRAMES + KERNEL_FRAMES <= DATA);

/// Address spaces that are compared, with four accesses each.
const ROUNDS: u64 = 10_000;

fn play<const LEVELS: u8>() -> Result<(u8, Counts), CannotAsk> {
    let memory = HostedMemory::anonymous(ALL_FRAMES).map_err(|error| error.to_string())?;
    let mut guest = Guest::<LEVELS>::new(Arc::new(memory), Pfn::new(TABLE_FRAMES))?;
    let layout = Layout { tables: 0..TABLE_FRAMES, data: DATA..ALL_FRAMES };
    Ok((guest.largest(), examine(&mut guest, &layout, ROUNDS)?))
}

/// Says it past the test runner, which hides what tests print that pass.
fn say(line: &str) {
    let _unread = writeln!(std::io::stderr(), "{line}");
}

fn ask<const LEVELS: u8>() {
    match play::<LEVELS>() {
        Ok((largest, counts)) => {
            say(&format!(
                "{LEVELS} levels, leaves up to level {largest}: {counts:?}, no difference"
            ));
            if largest < 2 {
                say("cannot ask, 1 GiB leaves: a guest's processor has none here");
            }
            assert!(counts.tables >= 10_000 && counts.accesses >= 10_000, "{counts:?}");
        }
        Err(reason) => say(&format!("cannot ask, {LEVELS} levels: {reason}")),
    }
}

#[test]
fn a_processor_walks_tables_of_4_levels_as_the_engine_says() {
    ask::<4>();
}

#[test]
fn a_processor_walks_tables_of_5_levels_as_the_engine_says() {
    ask::<5>();
}
