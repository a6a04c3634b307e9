//! Copies and fills by REP MOVS and REP STOS, from 8 bytes to 8 KiB.
#![expect(unsafe_code, reason = "string instructions are assembly")]

use super::{Memory, Random, fold};
use core::arch::asm;

const HALF: usize = 128 << 10;
const LENGTHS: [usize; 8] = [8, 24, 64, 200, 512, 1500, 4096, 8192];

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    let (from, to) = memory.bytes.split_at_mut(HALF);
    let to = &mut to[..HALF];
    let mut random = Random(5);
    from.fill_with(|| random.next() as u8);
    to.fill(0);
    let mut sum = 0;
    for _ in 0..count {
        for length in LENGTHS {
            let at = |n: u32| n as usize % (HALF - 8192);
            let (a, b) = (at(random.next()), at(random.next()));
            bytes(&mut to[b..b + length], &from[a..a + length]);
            let (a, b) = (a & !7, b & !7);
            quadwords(&mut from[a..a + length], &to[b..b + length]);
            fill(&mut to[a..a + length / 2], u64::from(random.next()));
            sum = fold(sum, u64::from(to[b]) << 8 | u64::from(from[a]));
        }
    }
    from.iter().chain(&*to).step_by(61).fold(sum, |sum, byte| fold(sum, u64::from(*byte)))
}

fn bytes(to: &mut [u8], from: &[u8]) {
    assert_eq!(to.len(), from.len());
    // SAFETY: two slices of one length that do not overlap.
    unsafe {
        asm!("rep movsb", inout("rcx") to.len() => _, inout("rdi") to.as_mut_ptr() => _,
            inout("rsi") from.as_ptr() => _, options(nostack, preserves_flags));
    }
}

/// Copies whole quadwords.
fn quadwords(to: &mut [u8], from: &[u8]) {
    assert_eq!(to.len(), from.len());
    // SAFETY: as above; what is left of the length is not touched.
    unsafe {
        asm!("rep movsq", inout("rcx") to.len() / 8 => _, inout("rdi") to.as_mut_ptr() => _,
            inout("rsi") from.as_ptr() => _, options(nostack, preserves_flags));
    }
}

/// Fills whole quadwords.
fn fill(to: &mut [u8], value: u64) {
    // SAFETY: one slice, and not beyond it.
    unsafe {
        asm!("rep stosq", inout("rcx") to.len() / 8 => _, inout("rdi") to.as_mut_ptr() => _,
            in("rax") value, options(nostack, preserves_flags));
    }
}
