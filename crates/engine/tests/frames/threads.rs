//! Counts, locks and lists from several threads at once.

use crate::support::{Bare, anon, frames};
use gup::frame::{AllocFlags, Kind, Last};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;

#[test]
fn gets_and_pins_of_many_threads_add_up() {
    let frames = frames(16);
    let folio = anon(&frames, 2);
    thread::scope(|scope| {
        for n in 0..4 {
            let (frames, page) = (&frames, folio.offset(n));
            scope.spawn(move || {
                for _ in 0..20_000 {
                    frames.get(page, 1).expect("known");
                    frames.pin(page, 2).expect("known");
                    assert_eq!(frames.put(page, 1), Last::No);
                    assert_eq!(frames.unpin(page, 1), Last::No);
                }
            });
        }
    });
    assert_eq!((frames.refs(folio), frames.pins(folio)), (80_001, 80_000));
}

/// One thread allocates and frees the same frames, as small and as large folios; others grab them
/// without any right to. Whatever they get they give back; nothing may be lost or freed twice.
#[test]
fn speculative_grabs_of_frames_that_come_and_go_lose_nothing() {
    let frames = frames(8);
    let (stop, hits) = (AtomicBool::new(false), AtomicU32::new(0));
    let before = frames.free_blocks();
    thread::scope(|scope| {
        for n in 0..2 {
            let (frames, stop, hits) = (&frames, &stop, &hits);
            scope.spawn(move || {
                let page = gup::addr::Pfn::new(4 + n);
                while !stop.load(Relaxed) {
                    if frames.try_pin(page, 1) {
                        hits.fetch_add(1, Relaxed);
                        if frames.unpin(page, 1) == Last::Yes {
                            frames.free(frames.head(page));
                        }
                    }
                }
            });
        }
        let host = Bare::new();
        for turn in 0..20_000_u32 {
            let order = if turn % 3 == 0 { 2 } else { 0 };
            if let Ok(folio) = frames.alloc(&host, order, Kind::Anon, AllocFlags::empty()) {
                frames.put_and_free(folio, 1);
            }
        }
        stop.store(true, Relaxed);
    });
    assert_eq!(frames.free_blocks(), before, "after {} hits", hits.load(Relaxed));
}

#[test]
fn one_lock_at_a_time() {
    let frames = frames(8);
    let table = anon(&frames, 0);
    let inside = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let _guard = frames.lock_table(table);
                    assert_eq!(inside.fetch_add(1, Relaxed), 0);
                    inside.fetch_sub(1, Relaxed);
                }
            });
        }
    });
}

#[test]
fn allocation_from_many_threads_hands_out_each_frame_once() {
    let frames = frames(1024);
    let before = frames.free_blocks();
    thread::scope(|scope| {
        for seed in 0..4_u8 {
            let frames = &frames;
            scope.spawn(move || {
                let host = Bare::new();
                for turn in 0..300_u32 {
                    let order = turn.to_le_bytes()[0].wrapping_mul(7).wrapping_add(seed) % 5;
                    let Ok(folio) = frames.alloc(&host, order, Kind::Anon, AllocFlags::MOVABLE)
                    else {
                        continue;
                    };
                    assert_eq!(frames.refs(folio), 1);
                    frames.get(folio, 5).expect("ours");
                    frames.put_and_free(folio, 6);
                }
            });
        }
    });
    assert_eq!(frames.free_blocks(), before);
}
