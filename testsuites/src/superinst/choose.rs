//! Which sequences save the most dispatches.

use std::collections::{BTreeMap, BTreeSet};

/// Operations in a row, by number, and what a dispatch among them weighs.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The operations of the run.
    pub ops: Vec<u32>,
    /// The weight of the run.
    pub weight: f64,
}

/// Sequences that are taken at once, as long as they have no pair of operations in common.
const BATCH: usize = 50;
/// How far down the list a batch looks.
const LOOK: usize = 3000;

/// At most `count` sequences of two to `longest` operations: those first that save most, then what saves most in what
/// they leave.
pub fn choose(mut runs: Vec<Run>, count: usize, longest: usize) -> Vec<Vec<u32>> {
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let batch = batch(&runs, longest, BATCH.min(count - chosen.len()));
        if batch.is_empty() {
            break;
        }
        let taken: BTreeSet<&[u32]> = batch.iter().map(Vec::as_slice).collect();
        runs = runs.iter().flat_map(|run| rest(run, &taken, longest)).collect();
        chosen.extend(batch);
    }
    chosen
}

/// The sequences that save most, without those that have a pair of operations in common with a better one.
fn batch(runs: &[Run], longest: usize, size: usize) -> Vec<Vec<u32>> {
    let mut saved: BTreeMap<&[u32], f64> = BTreeMap::new();
    for run in runs {
        for length in 2..=longest {
            for sequence in run.ops.windows(length) {
                *saved.entry(sequence).or_default() += run.weight * (length - 1) as f64;
            }
        }
    }
    let mut sequences: Vec<(&[u32], f64)> = saved.into_iter().collect();
    sequences.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (mut batch, mut pairs) = (Vec::new(), BTreeSet::new());
    for (sequence, _) in sequences.into_iter().take(LOOK) {
        if batch.len() < size && !sequence.windows(2).any(|pair| pairs.contains(pair)) {
            pairs.extend(sequence.windows(2));
            batch.push(sequence.to_vec());
        }
    }
    batch
}

/// What `sequences` leave of a run, if they are taken from its begin on, the longest first.
fn rest(run: &Run, sequences: &BTreeSet<&[u32]>, longest: usize) -> Vec<Run> {
    let (mut left, mut at) = (vec![Vec::new()], 0);
    while at < run.ops.len() {
        let most = longest.min(run.ops.len() - at);
        match (2..=most).rev().find(|n| sequences.contains(&run.ops[at..at + n])) {
            Some(length) => {
                left.push(Vec::new());
                at += length;
            }
            None => {
                left.last_mut().expect("never empty").push(run.ops[at]);
                at += 1;
            }
        }
    }
    left.retain(|ops| ops.len() > 1);
    left.into_iter().map(|ops| Run { ops, weight: run.weight }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_saves_most() {
        let check = |runs: &[(&[u32], f64)], longest: usize, sequences: &[&[u32]]| {
            let run = |&(ops, weight): &(&[u32], f64)| Run { ops: ops.to_vec(), weight };
            assert_eq!(choose(runs.iter().map(run).collect(), 2, longest), sequences, "{runs:?}");
        };
        check(&[], 4, &[]);
        check(&[(&[1], 9.0)], 4, &[]);
        check(&[(&[1, 2, 3], 1.0)], 4, &[&[1, 2, 3]]);
        check(&[(&[1, 2, 3], 1.0)], 2, &[&[1, 2], &[2, 3]]);
        check(&[(&[1, 2], 1.0), (&[3, 4], 3.0), (&[5, 6], 2.0)], 4, &[&[3, 4], &[5, 6]]);
        // What is taken is no longer there to be taken in part.
        check(&[(&[1, 2, 3, 4], 2.0)], 4, &[&[1, 2, 3, 4]]);
        check(&[(&[1, 2, 3, 4], 2.0), (&[3, 4], 1.0)], 4, &[&[1, 2, 3, 4], &[3, 4]]);
    }
}
