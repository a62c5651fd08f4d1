//! The gaps between areas: where is the highest, or the lowest, one of at least this many bytes?
//!
//! *Gap*: addresses of no area, named by its first address, which is the end of the area below, or
//! 0. The index is a balanced (AVL) tree by that address; each node knows the longest gap below it,
//! so that a search skips what is too short: O(log n) whatever the sizes are. Invariant: a recorded
//! length is never less than the true one. A stack that grows under the read lock shortens a gap
//! without telling; whoever searches compares with the areas and corrects the record. Absent:
//! areas, alignment, limits of the search (`super::map`).
//! Linux: mm/vma.c `unmapped_area`, `unmapped_area_topdown`, and the gap arrays of
//! `lib/maple_tree.c`.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// No node.
const NIL: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    start: u64,
    bytes: u64,
    /// The longest gap in this subtree.
    longest: u64,
    left: u32,
    right: u32,
    height: u8,
}

/// A gap: first address and length, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// All gaps of one map.
pub(super) struct Gaps {
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: u32,
}

impl Gaps {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), root: NIL }
    }
    /// Records that the gap at `start` has `bytes` bytes; 0 forgets it.
    pub(super) fn set(&mut self, start: u64, bytes: u64) {
        self.root = if bytes == 0 {
            self.remove(self.root, start)
        } else {
            self.insert(self.root, start, bytes)
        };
    }
    /// The highest gap of at least `bytes` bytes that starts below `limit`.
    pub(super) fn highest(&self, limit: u64, bytes: u64) -> Option<Gap> {
        self.highest_in(self.root, limit, bytes)
    }
    /// The lowest gap of at least `bytes` bytes that starts at or above `limit`.
    pub(super) fn lowest(&self, limit: u64, bytes: u64) -> Option<Gap> {
        self.lowest_in(self.root, limit, bytes)
    }
    /// The last gap that starts at or below `addr`.
    pub(super) fn at_or_below(&self, addr: u64) -> Option<Gap> {
        self.highest(addr.checked_add(1)?, 1)
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)
    }
    fn longest(&self, at: u32) -> u64 {
        self.node(at).map_or(0, |node| node.longest)
    }
    fn height(&self, at: u32) -> u8 {
        self.node(at).map_or(0, |node| node.height)
    }
    /// Depth of recursion: twice the height at most, since only one of two subtrees can fail for
    /// its limit.
    fn highest_in(&self, at: u32, limit: u64, bytes: u64) -> Option<Gap> {
        let node = self.node(at).filter(|node| node.longest >= bytes)?;
        if node.start >= limit {
            return self.highest_in(node.left, limit, bytes);
        }
        let right = self.highest_in(node.right, limit, bytes);
        let here = || (node.bytes >= bytes).then_some(Gap { start: node.start, bytes: node.bytes });
        right.or_else(here).or_else(|| self.highest_in(node.left, limit, bytes))
    }
    fn lowest_in(&self, at: u32, limit: u64, bytes: u64) -> Option<Gap> {
        let node = self.node(at).filter(|node| node.longest >= bytes)?;
        if node.start < limit {
            return self.lowest_in(node.right, limit, bytes);
        }
        let left = self.lowest_in(node.left, limit, bytes);
        let here = || (node.bytes >= bytes).then_some(Gap { start: node.start, bytes: node.bytes });
        left.or_else(here).or_else(|| self.lowest_in(node.right, limit, bytes))
    }

    fn insert(&mut self, at: u32, start: u64, bytes: u64) -> u32 {
        let Some(node) = self.node(at).copied() else {
            return self.new_node(start, bytes);
        };
        match start.cmp(&node.start) {
            Ordering::Less => {
                let left = self.insert(node.left, start, bytes);
                self.nodes[at as usize].left = left;
            }
            Ordering::Greater => {
                let right = self.insert(node.right, start, bytes);
                self.nodes[at as usize].right = right;
            }
            Ordering::Equal => self.nodes[at as usize].bytes = bytes,
        }
        self.balance(at)
    }
    fn remove(&mut self, at: u32, start: u64) -> u32 {
        let Some(node) = self.node(at).copied() else { return NIL };
        match start.cmp(&node.start) {
            Ordering::Less => {
                let left = self.remove(node.left, start);
                self.nodes[at as usize].left = left;
            }
            Ordering::Greater => {
                let right = self.remove(node.right, start);
                self.nodes[at as usize].right = right;
            }
            Ordering::Equal => return self.remove_node(at, node),
        }
        self.balance(at)
    }
    fn remove_node(&mut self, at: u32, node: Node) -> u32 {
        if node.left == NIL || node.right == NIL {
            self.free.push(at);
            return if node.left == NIL { node.right } else { node.left };
        }
        let (next, right) = self.take_first(node.right);
        self.nodes[next as usize].left = node.left;
        self.nodes[next as usize].right = right;
        self.free.push(at);
        self.balance(next)
    }
    /// Takes the lowest node out of a subtree that is not empty: that node, and the rest.
    fn take_first(&mut self, at: u32) -> (u32, u32) {
        let left = self.nodes[at as usize].left;
        if left == NIL {
            return (at, self.nodes[at as usize].right);
        }
        let (first, rest) = self.take_first(left);
        self.nodes[at as usize].left = rest;
        (first, self.balance(at))
    }
    fn new_node(&mut self, start: u64, bytes: u64) -> u32 {
        let node = Node { start, bytes, longest: bytes, left: NIL, right: NIL, height: 1 };
        if let Some(at) = self.free.pop() {
            self.nodes[at as usize] = node;
            return at;
        }
        self.nodes.push(node);
        // Fewer than 2^32 areas exist: each takes more than a hundred bytes of memory.
        u32::try_from(self.nodes.len() - 1).unwrap_or(NIL)
    }

    fn update(&mut self, at: u32) {
        let node = self.nodes[at as usize];
        let below = self.longest(node.left).max(self.longest(node.right));
        let height = self.height(node.left).max(self.height(node.right));
        let node = &mut self.nodes[at as usize];
        node.longest = node.bytes.max(below);
        node.height = height + 1;
    }
    fn rotate_right(&mut self, at: u32) -> u32 {
        let up = self.nodes[at as usize].left;
        self.nodes[at as usize].left = self.nodes[up as usize].right;
        self.nodes[up as usize].right = at;
        self.update(at);
        self.update(up);
        up
    }
    fn rotate_left(&mut self, at: u32) -> u32 {
        let up = self.nodes[at as usize].right;
        self.nodes[at as usize].right = self.nodes[up as usize].left;
        self.nodes[up as usize].left = at;
        self.update(at);
        self.update(up);
        up
    }
    /// Restores the balance at `at`, whose subtrees are balanced and differ by at most 2; the new
    /// top.
    fn balance(&mut self, at: u32) -> u32 {
        let Node { left, right, .. } = self.nodes[at as usize];
        let (low, high) = (self.height(left), self.height(right));
        if low > high + 1 {
            let Node { left: outer, right: inner, .. } = self.nodes[left as usize];
            if self.height(inner) > self.height(outer) {
                self.nodes[at as usize].left = self.rotate_left(left);
            }
            return self.rotate_right(at);
        }
        if high > low + 1 {
            let Node { left: inner, right: outer, .. } = self.nodes[right as usize];
            if self.height(inner) > self.height(outer) {
                self.nodes[at as usize].right = self.rotate_right(right);
            }
            return self.rotate_left(at);
        }
        self.update(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    fn next(state: &mut u64) -> u64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    #[test]
    fn the_tree_answers_as_a_scan_does_and_stays_low() {
        let (mut gaps, mut model, mut state) = (Gaps::new(), BTreeMap::new(), 7);
        for round in 0..20_000 {
            let start = next(&mut state) % 512;
            let bytes = if round % 3 == 0 { 0 } else { next(&mut state) % 40 };
            gaps.set(start, bytes);
            if bytes == 0 {
                model.remove(&start)
            } else {
                model.insert(start, bytes)
            };
            let (limit, want) = (next(&mut state) % 520, 1 + next(&mut state) % 45);
            let fits = |(start, bytes): (&u64, &u64)| {
                (*bytes >= want).then_some(Gap { start: *start, bytes: *bytes })
            };
            assert_eq!(gaps.highest(limit, want), model.range(..limit).rev().find_map(fits));
            assert_eq!(gaps.lowest(limit, want), model.range(limit..).find_map(fits));
        }
        assert!(gaps.height(gaps.root) <= 14, "1.44 log2(512)");
        for start in 0..512 {
            gaps.set(start, 0);
        }
        assert!(gaps.root == NIL && gaps.free.len() == gaps.nodes.len(), "no node is lost");
    }
}
