//! Quicksort: recursion, and branches that cannot be foreseen.

use super::{Memory, Random, fold};

const LENGTH: usize = 20_000;
/// Shorter pieces are sorted by insertion.
const SHORT: usize = 12;

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    let words = &mut memory.words[..LENGTH];
    let mut random = Random(3);
    (0..count).fold(0, |sum, _| {
        words.fill_with(|| random.next());
        quicksort(words);
        let sorted = words.is_sorted();
        let sum = words.iter().step_by(97).fold(sum, |sum, word| fold(sum, u64::from(*word)));
        fold(sum, u64::from(sorted))
    })
}

fn quicksort(words: &mut [u32]) {
    if words.len() <= SHORT {
        return insertion(words);
    }
    let (left, right) = partition(words);
    quicksort(left);
    quicksort(right);
}

/// Hoare's partition around the middle of three; both parts are shorter than the whole.
fn partition(words: &mut [u32]) -> (&mut [u32], &mut [u32]) {
    let (first, middle, last) = (words[0], words[words.len() / 2], words[words.len() - 1]);
    let pivot = first.max(middle).min(first.min(middle).max(last));
    let (mut low, mut high) = (0, words.len() - 1);
    loop {
        while words[low] < pivot {
            low += 1;
        }
        while words[high] > pivot {
            high -= 1;
        }
        if low >= high {
            return words.split_at_mut(low.clamp(1, LENGTH));
        }
        words.swap(low, high);
        low += 1;
        high -= 1;
    }
}

fn insertion(words: &mut [u32]) {
    for n in 1..words.len() {
        let word = words[n];
        let mut at = n;
        while at > 0 && words[at - 1] > word {
            words[at] = words[at - 1];
            at -= 1;
        }
        words[at] = word;
    }
}
