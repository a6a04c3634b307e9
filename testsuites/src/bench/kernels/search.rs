//! Words in a text: a scan byte by byte, a scan by Horspool's jumps, and lengths of strings.

use super::{Memory, Random, fold};

const LENGTH: usize = 32 << 10;
const WORDS: [&[u8]; 6] =
    [b"hypervisor", b"page", b"interrupt", b"of the", b"segment ", b"virtual m"];

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    let (text, jumps) = (&mut memory.bytes[..LENGTH], &mut memory.words[..256]);
    write(text);
    (0..count).fold(0, |sum, round| {
        let word = WORDS[round as usize % WORDS.len()];
        let plain = plain(text, word);
        let horspool = horspool(text, WORDS[(round as usize + 1) % WORDS.len()], jumps);
        fold(fold(fold(sum, plain), horspool), lengths(text))
    })
}

/// A text of words and spaces, in which the words are found now and then; lines end with a zero.
fn write(text: &mut [u8]) {
    let mut random = Random(6);
    let mut at = 0;
    while at + 64 < text.len() {
        let pick = random.next();
        if pick.is_multiple_of(11) {
            let word = WORDS[(pick >> 8) as usize % WORDS.len()];
            text[at..at + word.len()].copy_from_slice(word);
            at += word.len();
        } else {
            for _ in 0..pick >> 8 & 7 {
                text[at] = b"etaoinshrdlucmfwypvbgk"[(random.next() % 22) as usize];
                at += 1;
            }
        }
        text[at] = if pick.is_multiple_of(17) { 0 } else { b' ' };
        at += 1;
    }
    text[at..].fill(0);
}

/// How often `word` is in `text`, and where, folded.
fn plain(text: &[u8], word: &[u8]) -> u64 {
    let (mut sum, mut at) = (0, 0);
    let first = word[0];
    while at + word.len() <= text.len() {
        if text[at] == first && equal(&text[at..at + word.len()], word) {
            sum = fold(sum, at as u64);
        }
        at += 1;
    }
    sum
}

fn equal(a: &[u8], b: &[u8]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// The same by R. N. Horspool's method: "Practical fast searching in strings", 1980.
fn horspool(text: &[u8], word: &[u8], jumps: &mut [u32]) -> u64 {
    let last = word.len() - 1;
    jumps.fill(word.len() as u32);
    for (n, byte) in word[..last].iter().enumerate() {
        jumps[usize::from(*byte)] = (last - n) as u32;
    }
    let (mut sum, mut at) = (0, 0);
    while at + word.len() <= text.len() {
        let end = text[at + last];
        if end == word[last] && equal(&text[at..at + last], &word[..last]) {
            sum = fold(sum, at as u64);
        }
        at += jumps[usize::from(end)] as usize;
    }
    sum
}

/// The lengths of the strings that end with a zero.
fn lengths(text: &[u8]) -> u64 {
    let (mut sum, mut length) = (0, 0);
    for byte in text {
        if *byte == 0 {
            sum = fold(sum, length);
            length = 0;
        } else {
            length += 1;
        }
    }
    sum
}
