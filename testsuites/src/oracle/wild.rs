//! Cases from random bytes.

use super::aim::aim;
use super::vary::vary;
use super::{Case, Mode, Random};

/// Random bytes after some prefixes.
pub fn case(mode: Mode, page: u64, r: &mut Random) -> Case {
    const PREFIXES: [u8; 11] = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
    let mut b = Vec::with_capacity(32);
    while r.one_in(3) && b.len() < 5 {
        b.push(PREFIXES[r.below(11) as usize]);
    }
    if mode == Mode::Bits64 && r.one_in(4) {
        b.push(0x40 | r.below(16) as u8);
    }
    match r.below(8) {
        0 | 1 => b.push(0x0f),
        2 => b.extend([0x0f, 0x38]),
        3 => b.extend([0x0f, 0x3a]),
        4 => vex(&mut b, r),
        _ => {}
    }
    while b.len() < 15 {
        b.push(if r.one_in(4) { 0 } else { r.draw() as u8 });
    }
    b.truncate(15);
    let code = b.try_into().unwrap_or([0xcc; 15]);
    let mut case = Case::new(mode, code, r.draw() >> 16, page);
    aim(&mut case, r);
    vary(&mut case, r);
    case
}

/// A VEX prefix with a map that exists.
fn vex(b: &mut Vec<u8>, r: &mut Random) {
    let [x, y, ..] = r.draw().to_le_bytes();
    if r.one_in(3) {
        return b.extend([0xc5, x | 0x80]);
    }
    let map = 1 + r.below(3) as u8;
    b.extend([0xc4, x & 0xe0 | 0xc0 | map, y]);
}
