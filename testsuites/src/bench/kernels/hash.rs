//! A chained hash table: loads at scattered addresses, and calls through a pointer.

use super::{END, Memory, Node, Random, fold};
use core::hint::black_box;

const BUCKETS: usize = 16 << 10;
const FILLED: u32 = 40 << 10;
const LOOKUPS: u32 = 10_000;

/// Whether two keys are the same.
type Same = fn(u64, u64) -> bool;

#[inline(never)]
fn whole(a: u64, b: u64) -> bool {
    a == b
}

#[inline(never)]
fn without_case(a: u64, b: u64) -> bool {
    (a ^ b) & !0x2020 == 0
}

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    let (buckets, nodes) = (&mut memory.words[..BUCKETS], &mut memory.nodes);
    buckets.fill(END);
    let mut random = Random(4);
    for at in 0..FILLED {
        let key = key(random.next() % FILLED);
        let bucket = &mut buckets[place(key)];
        nodes[at as usize] = Node { key, value: u64::from(at), next: *bucket, order: at };
        *bucket = at;
    }
    // The compiler must not see which function is called.
    let compare: [Same; 2] = black_box([whole, without_case]);
    (0..count).fold(0, |sum, round| {
        let same = compare[round as usize & 1];
        (0..LOOKUPS).fold(sum, |sum, _| {
            let wanted = key(random.next() % FILLED);
            fold(sum, find(buckets, nodes, wanted, same))
        })
    })
}

fn key(n: u32) -> u64 {
    u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) & !0x2020
}

fn place(key: u64) -> usize {
    (key >> 40) as usize % BUCKETS
}

/// Looks `wanted` up; counts the visit in its node.
fn find(buckets: &[u32], nodes: &mut [Node], wanted: u64, same: Same) -> u64 {
    let mut at = buckets[place(wanted)];
    while let Some(node) = nodes.get_mut(at as usize) {
        if same(node.key, wanted) {
            node.value += 1;
            return node.value;
        }
        at = node.next;
    }
    u64::from(at)
}
