//! What the exploration found in the engine, as the programs that showed it, in many orders: each
//! would show it again.

use crate::flat;
use crate::program::{Edit, Op, Steps, Upkeep, explore, perform};
use crate::scene::Scene;
use crate::scheduler::Numbers;
use crate::world::{Ask, Way, World};

/// Orders tried: several times as many as it took to find the fault again.
const ORDERS: u64 = 400;

#[track_caller]
fn holds(scene: Scene, programs: &[Steps]) {
    for seed in 0..ORDERS {
        let world = World::new(scene, &mut Numbers::new(seed));
        assert!(perform(seed, world, programs).is_ok(), "seed {seed}: {programs:?}");
    }
}

fn merge(at: usize, other: usize) -> Op {
    Op::Upkeep { at, upkeep: Upkeep::Merge(other) }
}

#[test]
fn f_37_a_page_that_is_pinned_between_the_protection_and_the_merge_is_not_merged() {
    let pin = Op::Get { at: 1, ask: Ask::one(Way::Fast, false) };
    holds(Scene::Merged, &[vec![merge(3, 1)], vec![pin]]);
}

#[test]
fn f_37_a_page_stored_to_and_protected_again_while_it_is_compared_is_compared_again() {
    let write = Op::Write { at: 0, way: Way::Fast };
    holds(Scene::Merged, &[vec![write], vec![merge(3, 0)], vec![merge(0, 3), merge(0, 0)]]);
}

#[test]
fn f_36_what_is_written_while_a_page_moves_is_not_left_behind() {
    let pin = Op::Get { at: 3, ask: Ask::one(Way::SlowLong, false) };
    holds(Scene::Movable, &[vec![Op::WriteAt { at: 3 }], vec![pin]]);
}

fn page_out(at: usize) -> Op {
    Op::Upkeep { at, upkeep: Upkeep::PageOut }
}

#[test]
fn f_49_a_page_stored_to_while_it_is_written_to_swap_is_kept() {
    let write = Op::Write { at: 0, way: Way::Fast };
    holds(Scene::Small, &[vec![page_out(0)], vec![write, page_out(0)]]);
    holds(Scene::Movable, &[vec![page_out(3)], vec![Op::WriteAt { at: 3 }]]);
}

#[test]
fn a_page_of_the_swap_cache_that_nobody_needs_is_freed_though_it_moves() {
    let long = Op::Get { at: 0, ask: Ask::one(Way::SlowLong, false) };
    let fork = Op::Fork { store: false };
    let map = Op::Edit { at: 0, edit: Edit::Map };
    holds(Scene::Movable, &[vec![long, long], vec![page_out(0), map], vec![fork]]);
}

#[test]
fn f_36_a_reference_outlives_a_move_during_which_the_page_leaves_the_swap_cache() {
    // Four threads, one order: it showed once in 104,408 schedules.
    assert!(explore(104_407, None).is_ok());
}

#[test]
fn without_an_mmu_a_shared_file_is_joined_only_when_it_has_been_read() {
    let map = |mm| flat::Op::MapFile { mm, pgoff: 0 };
    for seed in 0..ORDERS {
        assert!(flat::perform(seed, &[vec![map(0)], vec![map(1)]]).is_ok(), "seed {seed}");
    }
}
