//! Futures as data: inputs with their times, made from a seed.

use platform::machine::{Input, QUANTUM};
use platform::time::Icount;

/// What a future is given, in order of time.
pub(crate) type Plan = Vec<(Icount, Input)>;

/// The longest time for which a processor stands still: what a time slice of a hypervisor has.
const STALL: u64 = 1 << 20;

/// What futures are made from.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    pub(crate) seed: u64,
    pub(crate) processors: u64,
    /// The machine's time at the begin.
    pub(crate) from: u64,
    /// How long a future is.
    pub(crate) budget: u64,
    /// What may be typed.
    pub(crate) dictionary: Vec<Vec<u8>>,
}

impl Space {
    /// Future `number`; the first is without any perturbation.
    pub(crate) fn plan(&self, number: u64) -> Plan {
        if number == 0 {
            return Plan::new();
        }
        let mut chance = Chance::new(self.seed, number);
        let most = 1 << chance.below(5);
        let count = 1 + chance.below(most);
        let mut plan: Plan = (0..count).map(|_| self.perturbation(&mut chance)).collect();
        plan.sort_by_key(|(at, _)| *at);
        plan
    }

    fn perturbation(&self, chance: &mut Chance) -> (Icount, Input) {
        let within = match chance.below(2) {
            0 => chance.below(self.budget),
            _ => chance.magnitude(self.budget) - 1,
        };
        let at = Icount(self.from.saturating_add(1).saturating_add(within));
        let input = match chance.below(16) {
            0 => Input::Random { seed: chance.next() },
            1 => Input::Tsc { ticks: chance.magnitude(1 << 40) },
            2 | 3 if !self.dictionary.is_empty() => {
                let which = chance.below(self.dictionary.len() as u64) as usize;
                Input::Serial { port: 0, bytes: self.dictionary[which].clone() }
            }
            4..8 if self.processors > 1 => {
                Input::Quantum { instructions: chance.magnitude(QUANTUM) }
            }
            _ => Input::Stall {
                processor: chance.below(self.processors) as usize,
                time: chance.magnitude(STALL.min(self.budget)),
            },
        };
        (at, input)
    }
}

/// Numbers that follow from a seed: SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64, number: u64) -> Chance {
        let mut mixed = Chance(seed);
        Chance(mixed.next() ^ number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number from 1 to `most`, each magnitude as likely as any other.
    fn magnitude(&mut self, most: u64) -> u64 {
        let bits = 64 - most.leading_zeros();
        let top = 1 << self.below(bits.into());
        (top + self.below(top)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Space =
        Space { seed: 5, processors: 2, from: 1000, budget: 5000, dictionary: Vec::new() };

    #[test]
    fn plans_follow_from_the_seed() {
        assert_eq!(SPACE.plan(0), []);
        let plans: Vec<_> = (1..200).map(|n| SPACE.plan(n)).collect();
        assert_eq!(plans, (1..200).map(|n| SPACE.plan(n)).collect::<Vec<_>>());
        let other = Space { seed: 6, ..SPACE };
        assert!((1..200).all(|n| other.plan(n) != SPACE.plan(n)));
        for (at, input) in plans.into_iter().flatten() {
            assert!((1001..=6000).contains(&at.0), "{at:?}");
            match input {
                Input::Stall { processor, time } => assert!(processor < 2 && time <= 5000),
                Input::Quantum { instructions } => assert!((1..=QUANTUM).contains(&instructions)),
                Input::Random { .. } | Input::Tsc { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
