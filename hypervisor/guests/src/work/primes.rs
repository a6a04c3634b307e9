//! Primes by Eratosthenes' sieve. The bench's kernel `sieve` is this file, too.

/// Counts the primes below the length of `sieve`, whose bytes are all 1.
#[inline]
pub(super) fn count_primes(sieve: &mut [u8]) -> u32 {
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
