//! Primes by Eratosthenes' sieve: byte stores with growing strides.

use super::{Memory, fold};

const BELOW: usize = 200_000;

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    (0..count)
        .fold(0, |sum, round| fold(sum, u64::from(primes(&mut memory.bytes, round as usize % 7))))
}

/// Counts the primes below [`BELOW`] less `less`.
fn primes(sieve: &mut [u8], less: usize) -> u32 {
    let sieve = &mut sieve[..BELOW - less];
    for byte in sieve.iter_mut() {
        *byte = 1;
    }
    let mut count = 0;
    for n in 2..sieve.len() {
        if sieve[n] == 0 {
            continue;
        }
        count += 1;
        let mut multiple = n * n;
        while multiple < sieve.len() {
            sieve[multiple] = 0;
            multiple += n;
        }
    }
    count
}
