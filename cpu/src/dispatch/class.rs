//! The operands that a handler is compiled for: a byte each for `dst`, `src`, `base`, `index` (see
//! [`crate::op::Op`]), which is the operand's own value or one of the classes here, and one for the scale,
//! 0 where it is not known.

use super::{PINNED, uses};

/// A register that is not pinned.
pub const UNPINNED: u8 = 0xfe;
/// An operand of which nothing is known.
pub const ANY: u8 = 0xff;
/// Operands of none of which anything is known.
pub const UNKNOWN: u64 = 0xffff_ffff;

/// The class of the register at `offset`: itself if it is pinned.
pub fn of(offset: u8) -> u8 {
    match pinned(offset) {
        None => UNPINNED,
        Some(_) if offset.is_multiple_of(8) => offset,
        Some(_) => ANY,
    }
}

/// Which of the pinned registers `offset` lies in.
pub const fn pinned(offset: u8) -> Option<usize> {
    let mut k = 0;
    while k < PINNED.len() {
        if PINNED[k] == offset as usize / 8 {
            return Some(k);
        }
        k += 1;
    }
    None
}

/// The two operands of a handler that `used` names, by which it is told from its variants.
pub const fn operands(used: u32) -> [u32; 2] {
    let first = if used & uses::DST != 0 { 0 } else { 1 };
    let second = match used {
        _ if used & uses::INDEX != 0 => 3,
        _ if used & uses::BASE != 0 => 2,
        _ => 1,
    };
    [first, second]
}

/// The class with this number in the profile's table: a pinned register, or none.
pub const fn numbered(n: u8) -> u8 {
    if (n as usize) < PINNED.len() { 8 * PINNED[n as usize] as u8 } else { UNPINNED }
}

/// What is known where the operands (see [`operands`]) have classes `a` and `b`.
pub const fn code(used: u32, a: u8, b: u8) -> u64 {
    let [first, second] = operands(used);
    let mut code = UNKNOWN;
    if used & (uses::DST << first) != 0 {
        code = with(code, first, a);
    }
    if second != first && used & (uses::DST << second) != 0 {
        code = with(code, second, b);
    }
    code
}

/// What is known where the operands that `used` names are just these, `[d, s, b, x, scale]`.
pub const fn exact(used: u32, fields: [u8; 5]) -> u64 {
    let (used, mut code, mut k) = (used | used >> 8, UNKNOWN, 0);
    while k < 4 {
        if used & (uses::DST << k) != 0 {
            code = with(code, k, fields[k as usize]);
        }
        k += 1;
    }
    if used & uses::INDEX != 0 { code | (fields[4] as u64) << 32 } else { code }
}

const fn with(code: u64, k: u32, class: u8) -> u64 {
    code & !(0xff << (8 * k)) | (class as u64) << (8 * k)
}

/// The general-purpose registers, by number, that an operation may have to do with that has to do with `used`
/// (see [`uses`]) and of whose operands `code` is known.
pub const fn registers(used: u32, code: u64) -> u32 {
    let (mut all, mut k) = (used & 0xffff, 0);
    while k < 4 {
        if used & (uses::DST << k) != 0 {
            let field = (code >> (8 * k)) as u8;
            all |= if field < 128 { 1 << (field / 8) } else { 0xffff };
        }
        k += 1;
    }
    if used & uses::ANY != 0 { 0xffff } else { all }
}
