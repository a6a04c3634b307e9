//! The description of a processor as CPUID leaves, in the form that the tools read and write:
//! what the machine has, what a domain is offered, and what the tools have chosen for one.

use super::abi::layout::CpuidLeaf;
use alloc::vec::Vec;

/// The most leaves of a description: `CPUID_MAX_SERIALISED_LEAVES`.
pub const MAX_LEAVES: u32 = 120;
/// The most MSRs of a description, of which there are none here: `MSR_MAX_SERIALISED_ENTRIES`.
pub const MAX_MSRS: u32 = 2;
/// Words of a featureset.
pub const FEATURE_WORDS: usize = 19;
/// `XEN_CPUID_NO_SUBLEAF`.
pub const NO_SUBLEAF: u32 = u32::MAX;

const EXTENDED: u32 = 0x8000_0000;
/// The limits of what is described: the last basic leaf, the last extended one.
const LAST_BASIC: u32 = 0xD;
const LAST_EXTENDED: u32 = EXTENDED + 0x21;
/// Sub-leaves of leaves 4, 7, Bh and Dh.
const SUBLEAVES: [(u32, u32); 4] = [(4, 6), (7, 3), (0xB, 2), (0xD, 63)];
/// The leaves of hypervisors, of which there is only the limit.
const HYPERVISORS: [u32; 2] = [0x4000_0000, 0x4000_0100];

/// The words of a featureset in their order: leaf, sub-leaf, register. The two words of
/// `IA32_ARCH_CAPABILITIES` have no leaf.
const FEATURES: [Option<(u32, u32, usize)>; FEATURE_WORDS] = [
    Some((1, NO_SUBLEAF, 3)),
    Some((1, NO_SUBLEAF, 2)),
    Some((EXTENDED + 1, NO_SUBLEAF, 3)),
    Some((EXTENDED + 1, NO_SUBLEAF, 2)),
    Some((0xD, 1, 0)),
    Some((7, 0, 1)),
    Some((7, 0, 2)),
    Some((EXTENDED + 7, NO_SUBLEAF, 3)),
    Some((EXTENDED + 8, NO_SUBLEAF, 1)),
    Some((7, 0, 3)),
    Some((7, 1, 0)),
    Some((EXTENDED + 0x21, NO_SUBLEAF, 0)),
    Some((7, 1, 1)),
    Some((7, 2, 3)),
    Some((7, 1, 2)),
    Some((7, 1, 3)),
    None,
    None,
    Some((EXTENDED + 0x21, NO_SUBLEAF, 2)),
];

/// The reason why a leaf is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLeaf {
    /// The number of the leaf.
    pub leaf: u32,
    /// The number of the sub-leaf.
    pub subleaf: u32,
}

/// A processor's leaves, in order, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuPolicy {
    leaves: Vec<CpuidLeaf>,
}

/// The sub-leaves that leaf `leaf` may have; none if it has no sub-leaves.
fn subleaves(leaf: u32) -> Option<u32> {
    SUBLEAVES.iter().find(|row| row.0 == leaf).map(|row| row.1)
}

/// True if a description may hold the leaf.
fn known(leaf: u32, subleaf: u32) -> bool {
    match leaf {
        0..=LAST_BASIC => subleaves(leaf).map_or(subleaf == NO_SUBLEAF, |count| subleaf < count),
        EXTENDED..=LAST_EXTENDED => subleaf == NO_SUBLEAF,
        _ => HYPERVISORS.contains(&leaf) && subleaf == NO_SUBLEAF,
    }
}

impl CpuPolicy {
    /// The description of the processor whose CPUID is `cpuid`.
    pub fn of(cpuid: impl Fn(u32, u32) -> [u32; 4]) -> Self {
        let mut policy = Self::default();
        let last = cpuid(0, 0)[0].min(LAST_BASIC);
        for leaf in 0..=last {
            let Some(count) = subleaves(leaf) else {
                policy.push(leaf, NO_SUBLEAF, cpuid(leaf, 0));
                continue;
            };
            for subleaf in 0..count {
                let regs = cpuid(leaf, subleaf);
                // One that says that there are no more ends caches and topology.
                let more = match leaf {
                    4 => regs[0] & 0x1F != 0,
                    7 => subleaf < policy.word(7, 0, 0).min(2),
                    0xB => regs[2] >> 8 & 0xFF != 0,
                    _ => subleaf < 1,
                };
                policy.push(leaf, subleaf, regs);
                if !more {
                    break;
                }
            }
        }
        for leaf in HYPERVISORS {
            policy.push(leaf, NO_SUBLEAF, [0; 4]);
        }
        let last = cpuid(EXTENDED, 0)[0].clamp(EXTENDED, LAST_EXTENDED);
        (EXTENDED..=last).for_each(|leaf| policy.push(leaf, NO_SUBLEAF, cpuid(leaf, 0)));
        policy.limit(0, LAST_BASIC);
        policy.limit(EXTENDED, LAST_EXTENDED);
        policy
    }

    fn push(&mut self, leaf: u32, subleaf: u32, [a, b, c, d]: [u32; 4]) {
        self.leaves.push(CpuidLeaf { leaf, subleaf, a, b, c, d });
    }

    /// Cuts the highest leaf that `leaf` tells to `most`.
    fn limit(&mut self, leaf: u32, most: u32) {
        if let Some(found) = self.leaves.iter_mut().find(|found| found.leaf == leaf) {
            found.a = found.a.min(most);
        }
    }

    /// The leaves, in order.
    pub fn leaves(&self) -> &[CpuidLeaf] {
        &self.leaves
    }

    fn find(&self, leaf: u32, subleaf: u32) -> Option<&CpuidLeaf> {
        self.leaves.iter().find(|found| (found.leaf, found.subleaf) == (leaf, subleaf))
    }

    /// Register `register` (EAX to EDX) of a leaf; 0 if that does not exist.
    fn word(&self, leaf: u32, subleaf: u32, register: usize) -> u32 {
        self.find(leaf, subleaf).map_or(0, |leaf| [leaf.a, leaf.b, leaf.c, leaf.d][register])
    }

    /// CPUID as the description has it; zeros where that says nothing.
    pub fn answer(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let found = self.find(leaf, subleaf).or_else(|| self.find(leaf, NO_SUBLEAF));
        found.map_or([0; 4], |found| [found.a, found.b, found.c, found.d])
    }

    /// The words of its features.
    pub fn features(&self) -> [u32; FEATURE_WORDS] {
        let word = |place: Option<(u32, u32, usize)>| {
            place.map_or(0, |(leaf, subleaf, register)| self.word(leaf, subleaf, register))
        };
        FEATURES.map(word)
    }

    /// Replaces leaves by those that the tools give; what is beyond its own limits then goes.
    pub fn merge(&mut self, leaves: &[CpuidLeaf]) -> Result<(), BadLeaf> {
        for new in leaves {
            let CpuidLeaf { leaf, subleaf, .. } = *new;
            if !known(leaf, subleaf) {
                return Err(BadLeaf { leaf, subleaf });
            }
            let place = |old: &CpuidLeaf| (old.leaf, old.subleaf).cmp(&(leaf, subleaf));
            match self.leaves.binary_search_by(place) {
                Ok(index) => self.leaves[index] = *new,
                Err(index) => self.leaves.insert(index, *new),
            }
        }
        let [basic, extended] = [0, EXTENDED].map(|leaf| self.word(leaf, NO_SUBLEAF, 0));
        let sub = self.word(7, 0, 0);
        self.leaves.retain(|leaf| match leaf.leaf {
            7 => basic >= 7 && leaf.subleaf <= sub,
            0..=LAST_BASIC => leaf.leaf <= basic,
            EXTENDED.. => leaf.leaf <= extended.max(EXTENDED),
            _ => true,
        });
        Ok(())
    }

    /// An error unless `self` has no leaf beyond those of `most`: the checks that Xen 4.17 makes.
    pub fn within(&self, most: &Self) -> Result<(), BadLeaf> {
        let limits = [(0, NO_SUBLEAF), (7, 0), (EXTENDED, NO_SUBLEAF)];
        for (leaf, subleaf) in limits {
            if self.word(leaf, subleaf, 0) > most.word(leaf, subleaf, 0) {
                return Err(BadLeaf { leaf, subleaf });
            }
        }
        Ok(())
    }

    /// CPUID of a processor that answers `answer`, as far as this description allows it: leaves
    /// beyond its limits are 0, and features that it lacks are not there.
    pub fn allowed(&self, leaf: u32, subleaf: u32, answer: [u32; 4]) -> [u32; 4] {
        let base = leaf & EXTENDED;
        if leaf > self.word(base, NO_SUBLEAF, 0) {
            return [0; 4];
        }
        let mut answer = answer;
        if leaf == base || (leaf, subleaf) == (7, 0) {
            let known = if leaf == 7 { 0 } else { NO_SUBLEAF };
            answer[0] = answer[0].min(self.word(leaf, known, 0));
        }
        for (place, sub, register) in FEATURES.into_iter().flatten() {
            if place == leaf && (sub == subleaf || sub == NO_SUBLEAF) {
                answer[register] &= self.word(leaf, sub, register);
            }
        }
        answer
    }
}
