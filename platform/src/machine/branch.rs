//! States from which many runs go on: each costs the pages in which it differs from the first of them.
//!
//! A machine that runs from one state after the other is put back in place, so that what was decoded from memory that
//! stays the same need not be decoded again.

use super::save::Saved;
use super::{Icount, Machine};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A page of memory.
type Page = [u8; 4096];

/// A machine at one time, as it differs from a root: a machine that never runs.
#[derive(Clone)]
pub struct Branch {
    saved: Arc<Saved>,
    /// The pages that are not as in the root.
    pages: BTreeMap<usize, Arc<Page>>,
}

impl Branch {
    /// The state of `root`, which is not to run.
    #[must_use]
    pub fn root(root: &Machine) -> Branch {
        Branch { saved: Arc::new(root.save()), pages: BTreeMap::new() }
    }

    /// The state of `machine`, which was put to `from` last.
    #[must_use]
    pub fn of(machine: &mut Machine, from: &Branch) -> Branch {
        let mut pages = from.pages.clone();
        for n in machine.unmarked() {
            pages.insert(n, Arc::new(*machine.page(n)));
        }
        Branch { saved: Arc::new(machine.save()), pages }
    }

    /// The machine's time.
    #[must_use]
    pub fn now(&self) -> Icount {
        self.saved.now()
    }

    /// How many pages of memory it has of its own.
    #[must_use]
    pub fn own_pages(&self) -> usize {
        self.pages.len()
    }

    /// Puts `machine`, which was put to `from` last, to this state. `root` is the machine that never runs.
    pub fn put(&self, machine: &mut Machine, from: &Branch, root: &Machine) {
        let mut differ: BTreeSet<usize> = machine.take_unmarked().into_iter().collect();
        if !Arc::ptr_eq(&self.saved, &from.saved) {
            differ.extend(self.pages.keys().chain(from.pages.keys()));
        }
        let page = |n: usize| (n, self.pages.get(&n).map_or_else(|| root.page(n), |page| &**page));
        machine.put_back((*self.saved).clone(), 0, differ.into_iter().map(page));
    }
}
