//! Primes by Eratosthenes' sieve: byte stores with growing strides.

#[path = "../../../../hypervisor/guests/src/work/primes.rs"]
mod primes;

use super::{Memory, fold};
use primes::count_primes;

const BELOW: usize = 200_000;

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    // The bound differs from round to round, so that no round's work can be done once for all.
    let primes = |round: u32| primes(&mut memory.bytes[..BELOW - round as usize % 7]);
    (0..count).map(primes).fold(0, |sum, primes| fold(sum, u64::from(primes)))
}

fn primes(sieve: &mut [u8]) -> u32 {
    for byte in sieve.iter_mut() {
        *byte = 1;
    }
    count_primes(sieve)
}
