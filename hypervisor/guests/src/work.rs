//! Work with results that can be checked: primes and SHA-256.

mod compress;
mod primes;

use compress::{START, compress};

/// The bound of the sieve.
pub const PRIMES_BELOW: usize = 500_000;
/// The number of primes below it, from tables.
pub const PRIMES: u32 = 41_538;
/// Links of the chain of hashes.
pub const LINKS: u32 = 500;

/// Counts the primes below the length of `sieve`, whose bytes are overwritten.
#[inline]
pub fn count_primes(sieve: &mut [u8]) -> u32 {
    sieve.fill(1);
    primes::count_primes(sieve)
}

/// SHA-256 of SHA-256 of … of `seed`, [`LINKS`] times.
pub fn chain(seed: &[u8]) -> [u8; 32] {
    (1..LINKS).fold(sha256(seed), |hash, _| sha256(&hash))
}

/// FIPS 180-4, "SHA-256", of a message of at most 55 bytes (one block); a longer one is cut.
pub fn sha256(message: &[u8]) -> [u8; 32] {
    let message = &message[..message.len().min(55)];
    let mut block = [0; 64];
    block[..message.len()].copy_from_slice(message);
    block[message.len()] = 0x80;
    block[56..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let hash = compress(START, &block);
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(4).zip(hash) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], expected: &str) {
        let hex: String = sha256(message).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn sha256_of_known_messages() {
        check(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check(b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn primes_match_the_tables() {
        assert_eq!(count_primes(&mut [0; 100]), 25);
        assert_eq!(count_primes(&mut vec![0; PRIMES_BELOW]), PRIMES);
    }
}
