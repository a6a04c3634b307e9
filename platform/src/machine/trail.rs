//! The way back: earlier states of a machine in memory, to which it can be put in place, so that what was decoded
//! and translated need not be made anew where memory is the same.
//!
//! A [`Trail`] has points in the order of their positions. Of each it has the machine as data, and the pages that
//! are other than at the point before. A page that has changed and has changed back between two points is with the
//! later of them only if there is a point in between.

use super::debugging::Position;
use super::save::Saved;
use super::{Icount, Machine};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

/// A page of memory.
type Page = [u8; 4096];
/// What a page holds where nothing else is known.
const ZERO: Page = [0; 4096];

/// A machine at one position.
struct Point {
    saved: Saved,
    /// The pages that are not as at the point before.
    changed: BTreeSet<usize>,
}

/// Earlier states of a machine.
pub struct Trail {
    points: BTreeMap<Position, Point>,
    /// What each page holds, from which position on.
    pages: BTreeMap<usize, BTreeMap<Position, Arc<Page>>>,
    /// The point that the machine has come from last.
    base: Position,
    /// How many pages are held.
    held: usize,
}

impl Trail {
    /// A trail that begins where `machine` is.
    pub fn new(machine: &mut Machine) -> Trail {
        machine.count_steps();
        let base = machine.position();
        let mut trail = Trail { points: BTreeMap::new(), pages: BTreeMap::new(), base, held: 0 };
        let pages = machine.all_pages();
        trail.add(machine, pages);
        trail
    }

    /// The positions of all points, in order.
    pub fn positions(&self) -> impl DoubleEndedIterator<Item = Position> {
        self.points.keys().copied()
    }

    /// The last point at `position` or before.
    #[must_use]
    pub fn last_at(&self, position: Position) -> Option<Position> {
        self.points.range(..=position).next_back().map(|(at, _)| *at)
    }

    /// The last point before `position`.
    #[must_use]
    pub fn last_before(&self, position: Position) -> Option<Position> {
        self.points.range(..position).next_back().map(|(at, _)| *at)
    }

    /// The last point whose machine time is `time` or before.
    #[must_use]
    pub fn last_at_time(&self, time: Icount) -> Option<Position> {
        self.points.keys().rev().find(|position| position.at <= time).copied()
    }

    /// How many pages are held, of 4 KiB.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Adds a point where `machine` is, if it can be saved there.
    pub fn mark(&mut self, machine: &mut Machine) {
        if machine.is_between() {
            return;
        }
        let changed = machine.take_unmarked();
        if self.points.contains_key(&machine.position()) {
            self.base = machine.position();
        } else {
            self.add(machine, changed);
        }
    }

    fn add(&mut self, machine: &Machine, changed: Vec<usize>) {
        let at = machine.position();
        let next = self.points.range((Excluded(at), Unbounded)).next().map(|(next, _)| *next);
        let mut own = BTreeSet::new();
        for n in changed {
            let (before, page) = (self.page(n, at), machine.page(n));
            if before.as_deref().unwrap_or(&ZERO) == page {
                continue;
            }
            if let Some(next) = next {
                self.keep(n, next, before.unwrap_or_else(|| Arc::new(ZERO)));
            }
            self.pages.entry(n).or_default().insert(at, Arc::new(*page));
            self.held += 1;
            own.insert(n);
        }
        self.points.insert(at, Point { saved: machine.save(), changed: own });
        self.base = at;
    }

    /// Notes that page `n` holds `page` at point `at`, unless it is known what it holds there.
    fn keep(&mut self, n: usize, at: Position, page: Arc<Page>) {
        let known = self.pages.entry(n).or_default();
        if known.contains_key(&at) {
            return;
        }
        known.insert(at, page);
        self.held += 1;
        if let Some(point) = self.points.get_mut(&at) {
            point.changed.insert(n);
        }
    }

    /// What page `n` holds at `position`, if it is not zero.
    fn page(&self, n: usize, position: Position) -> Option<Arc<Page>> {
        self.pages.get(&n)?.range(..=position).next_back().map(|(_, page)| page.clone())
    }

    /// Puts `machine` back, or forth, to point `to`. False, and nothing done, if there is no such point.
    pub fn rewind(&mut self, machine: &mut Machine, to: Position) -> bool {
        let Some(point) = self.points.get(&to) else { return false };
        let saved = point.saved.clone();
        let between = (Excluded(self.base.min(to)), Included(self.base.max(to)));
        let mut pages: BTreeSet<usize> = machine.take_unmarked().into_iter().collect();
        if self.base != to {
            pages.extend(self.points.range(between).flat_map(|(_, point)| &point.changed));
        }
        let pages = pages.into_iter().map(|n| (n, self.page(n, to)));
        let pages: Vec<_> = pages.collect();
        let pages = pages.iter().map(|(n, page)| (*n, page.as_deref().unwrap_or(&ZERO)));
        machine.put_back(saved, to.steps, pages);
        self.base = to;
        true
    }

    /// Forgets points until at most `most` pages are held: those that leave the smallest gaps, for their distance
    /// from where the machine is.
    pub fn thin(&mut self, machine: &Machine, most: usize) {
        let here = machine.position().retired;
        while self.held > most {
            let all: Vec<Position> = self.positions().collect();
            let cost = |w: &&[Position]| {
                let gap = u128::from(w[2].retired - w[0].retired);
                gap * 1000 / u128::from(w[1].retired.abs_diff(here).max(1))
            };
            let inner = all.windows(3).filter(|w| w[1] != self.base);
            let Some(which) = inner.min_by_key(cost).map(|w| (w[1], w[2])) else { return };
            self.forget(which.0, which.1);
        }
    }

    /// Forgets point `at`, the one before `next`.
    fn forget(&mut self, at: Position, next: Position) {
        let Some(point) = self.points.remove(&at) else { return };
        for n in point.changed {
            let page = self.pages.get_mut(&n).and_then(|known| known.remove(&at));
            self.held -= 1;
            if let Some(page) = page {
                self.keep(n, next, page);
            }
        }
    }
}
