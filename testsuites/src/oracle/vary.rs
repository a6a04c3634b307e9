//! Control bits and flags that a case meets now and then: what its form does not ask for.

use super::{Case, Random};

const DF: u64 = 0x400;
const NT: u64 = 0x4000;
const AC: u64 = 0x4_0000;
const ID: u64 = 0x20_0000;
const CF_TO_OF: u64 = 0x8d5;

/// Sets control words, DF, AC, TF and the like, each seldom enough that most cases are plain.
pub fn vary(case: &mut Case, r: &mut Random) {
    case.step = r.one_in(24) || case.inward();
    let s = &mut case.state;
    for (bit, n) in [(DF, 8), (AC, 12), (NT, 64), (ID, 64)] {
        s.flags |= if r.one_in(n) { bit } else { 0 };
    }
    if r.one_in(32) {
        s.flags = s.flags & !CF_TO_OF | if r.one_in(2) { CF_TO_OF } else { 0 };
    }
    // Rounding, flush to zero, denormals are zeros; then exceptions that are not masked.
    match r.below(8) {
        0..=2 => s.mxcsr |= (r.draw() & 0xe07f) as u32,
        3 => s.mxcsr = (r.draw() & 0xffff) as u32,
        _ => {}
    }
    match r.below(8) {
        0..=2 => s.cw = s.cw & 0x3f | (r.draw() & 0xf00) as u16 | 0x40,
        3 => s.cw = (r.draw() & 0xf3f) as u16 | 0x40,
        _ => {}
    }
    if r.one_in(8) {
        s.sw |= (r.draw() & 0x7f) as u16;
    }
    // The error summary follows from flags and masks.
    s.sw &= !0x8080;
    if s.sw & !s.cw & 0x3f != 0 {
        s.sw |= 0x8080;
    }
}
