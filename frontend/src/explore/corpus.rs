//! The states from which futures go on: the begin, and those at which a future came to something new.
//!
//! What is new is told by *features*, numbers made of what a future meets: a VM exit's reason, qualification and place,
//! and where the processors are at each look. A future with a feature that none before it has had leaves a state.

use super::plan::{Chance, Plan, Space};
use platform::machine::{Branch, Machine, Transition, TransitionKind};
use platform::time::Icount;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most states that are kept besides the begin; the oldest go.
const STATES: usize = 48;
/// The most states that a batch of futures adds.
const ADDED: usize = 4;

/// A state from which futures go on.
#[derive(Clone)]
pub(crate) struct State {
    /// What leads to it from the begin.
    pub(crate) plan: Plan,
    pub(crate) branch: Arc<Branch>,
}

/// What a future has come to that was new, and where it was then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) features: Vec<u64>,
    /// The machine's time at the last look at which there was something new.
    pub(crate) at: Icount,
}

impl News {
    /// At machine time `at` there are `features` that are new.
    pub(crate) fn add(&mut self, at: Icount, features: impl Iterator<Item = u64>) {
        let before = self.features.len();
        self.features.extend(features);
        if self.features.len() > before {
            self.at = at;
        }
    }
}

/// All states, and all features that have been met.
pub(crate) struct Corpus {
    begin: State,
    states: Vec<State>,
    known: BTreeSet<u64>,
}

impl Corpus {
    /// Futures go on from `begin`.
    pub(crate) fn new(begin: Branch) -> Corpus {
        let begin = State { plan: Plan::new(), branch: Arc::new(begin) };
        Corpus { begin, states: Vec::new(), known: BTreeSet::new() }
    }

    /// The state from which future `number` goes on, and all that it is given.
    pub(crate) fn future(&self, space: &Space, number: u64) -> (&State, Plan) {
        let mut chance = Chance::new(!space.seed, number);
        let from = match chance.below(2) {
            1 if !self.states.is_empty() => {
                &self.states[chance.below(self.states.len() as u64) as usize]
            }
            _ => &self.begin,
        };
        let own = Space { from: from.branch.now().0, ..space.clone() }.plan(number);
        let before = from.plan.iter().filter(|(at, _)| *at <= from.branch.now());
        (from, before.cloned().chain(own).collect())
    }

    /// Whether nothing with this feature has been met.
    pub(crate) fn is_new(&self, feature: u64) -> bool {
        !self.known.contains(&feature)
    }

    /// Takes the news of a batch of futures, in their order: which of them have something that is new still, and are to
    /// leave a state.
    pub(crate) fn learn<'a>(&mut self, news: impl Iterator<Item = &'a News>) -> Vec<usize> {
        learn(&mut self.known, news)
    }

    /// Adds a state.
    pub(crate) fn add(&mut self, state: State) {
        if self.states.len() >= STATES {
            self.states.remove(0);
        }
        self.states.push(state);
    }

    /// How many features have been met, and how many states there are besides the begin.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.known.len(), self.states.len())
    }
}

fn learn<'a>(known: &mut BTreeSet<u64>, news: impl Iterator<Item = &'a News>) -> Vec<usize> {
    let mut leave = Vec::new();
    for (n, news) in news.enumerate() {
        let before = known.len();
        known.extend(&news.features);
        if known.len() > before && leave.len() < ADDED {
            leave.push(n);
        }
    }
    leave
}

/// The features of what a machine has met since the last call, and if `here` of where it is.
pub(crate) fn features(machine: &mut Machine, here: bool) -> BTreeSet<u64> {
    let exits = machine.take_transitions();
    let mut features: BTreeSet<u64> = exits.iter().filter_map(|(_, t)| of_exit(t)).collect();
    if !here {
        return features;
    }
    let places = machine.processors().zip(1..).map(|(cpu, n)| mixed([n, cpu.linear_rip() >> 4, 0]));
    features.insert(places.fold(0, |all, place| all.rotate_left(7) ^ place));
    features
}

fn of_exit(transition: &Transition) -> Option<u64> {
    match transition.kind {
        TransitionKind::Exit { reason, qualification, .. } => {
            Some(mixed([reason.into(), qualification, transition.rip]))
        }
        TransitionKind::Entry => None,
    }
}

/// One number of three.
fn mixed(parts: [u64; 3]) -> u64 {
    parts.into_iter().fold(0x9e37_79b9_7f4a_7c15, |hash: u64, part| {
        let next = (hash ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        next ^ (next >> 29)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_leaves_a_state() {
        let news = |features: &[u64]| News { features: features.to_vec(), at: Icount(1) };
        let all = [news(&[1]), news(&[2, 1]), news(&[2]), news(&[]), news(&[3])];
        assert_eq!(learn(&mut BTreeSet::from([1]), all.iter()), [1, 4]);
        let many: Vec<_> = (10..20).map(|n| news(&[n])).collect();
        assert_eq!(learn(&mut BTreeSet::new(), many.iter()).len(), ADDED);
    }

    #[test]
    fn the_time_is_that_of_the_last_news() {
        let mut news = News::default();
        news.add(Icount(5), [7, 8].into_iter());
        news.add(Icount(9), [].into_iter());
        assert_eq!((news.at, &news.features[..]), (Icount(5), &[7, 8][..]));
    }
}
