//! The snapshots of one run, each but the first an increment to an earlier one.

use super::write::write_pages;
use super::{Id, Parent};
use crate::machine::Machine;
use crate::machine::pages::PageHash;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

/// How many snapshots follow one another before one goes back further.
const RUN: u64 = 16;

/// A snapshot to which another one may be an increment.
#[derive(Debug)]
struct Ancestor {
    number: u64,
    snapshot: Parent,
    /// The pages that have changed since, up to the next ancestor.
    changed: BTreeMap<usize, PageHash>,
}

/// The snapshots of one run, numbered from 0. Number *n* is an increment to *n* − 16^*k*, where 16^*k* is the largest
/// power that divides *n*: so few files are to be read for any of them, however long the run.
#[derive(Debug, Default)]
pub struct Lineage {
    next: u64,
    /// The last snapshot, after those that it is an increment to.
    ancestors: Vec<Ancestor>,
}

/// What snapshot `number`, which is not the first, is an increment to.
fn parent(number: u64) -> u64 {
    let mut step = 1;
    while number.is_multiple_of(step * RUN) {
        step *= RUN;
    }
    number - step
}

impl Lineage {
    /// Writes `machine`, between two runs, to the empty file `to`, which has the name `file`. Nobody else asks the
    /// machine for the pages that have changed.
    pub fn write(&mut self, machine: &mut Machine, file: String, to: &impl AsFd) -> io::Result<Id> {
        let changed = machine.changed_pages();
        if let Some(last) = self.ancestors.last_mut() {
            last.changed.extend(changed);
            self.go_back_to(parent(self.next));
        }
        let id = match self.ancestors.last() {
            None => {
                let pages = machine.held_pages();
                write_pages(machine, None, pages, to)?
            }
            Some(Ancestor { snapshot, changed, .. }) => {
                let pages = changed.iter().map(|(n, hash)| (*n, *hash)).collect();
                write_pages(machine, Some(snapshot.clone()), pages, to)?
            }
        };
        let snapshot = Parent { file, id };
        self.ancestors.push(Ancestor { number: self.next, snapshot, changed: BTreeMap::new() });
        self.next += 1;
        Ok(id)
    }

    /// Forgets the snapshots after `number`; what has changed since them has changed since that.
    fn go_back_to(&mut self, number: u64) {
        while let Some(last) = self.ancestors.pop_if(|last| last.number > number) {
            if let Some(before) = self.ancestors.last_mut() {
                before.changed.extend(last.changed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_snapshots_are_in_a_chain() {
        let parents: Vec<u64> = [1, 2, 15, 16, 17, 32, 255, 256, 257, 4096].map(parent).into();
        assert_eq!(parents, [0, 1, 14, 0, 16, 16, 254, 0, 256, 0]);
        let chain =
            |number| std::iter::successors(Some(number), |n| (*n > 0).then(|| parent(*n))).count();
        assert_eq!((1..100_000).map(chain).max(), Some(15 * 4 + 1));
    }
}
