//! Arithmetic on ranges of memory: what is left of the RAM when everything in use is taken out.

use crate::boot::Range;
use alloc::vec::Vec;

const PAGE: u64 = 4096;

/// The whole frames of `ram` that no range of `taken` touches, in order of address.
pub fn free_ranges(ram: &[Range], taken: &[Range]) -> Vec<Range> {
    let mut free: Vec<Range> = ram
        .iter()
        .map(|r| Range { start: r.start.next_multiple_of(PAGE), end: r.end & !(PAGE - 1) })
        .filter(|r| r.start < r.end)
        .collect();
    for hole in taken {
        let (start, end) = (hole.start & !(PAGE - 1), hole.end.next_multiple_of(PAGE));
        free = free
            .into_iter()
            .flat_map(|r| {
                let below = Range { start: r.start, end: r.end.min(start.max(r.start)) };
                let above = Range { start: r.start.max(end.min(r.end)), end: r.end };
                if start >= end { [r, Range { start: 0, end: 0 }] } else { [below, above] }
            })
            .filter(|r| r.start < r.end)
            .collect();
    }
    free.sort_by_key(|r| r.start);
    free
}

/// Cuts `len` bytes (a multiple of a page) off the end of the last range below `limit` that has
/// them; the start of the piece.
pub fn carve(free: &mut [Range], len: u64, limit: u64) -> Option<u64> {
    let fits = |r: &&mut Range| r.end <= limit && r.end - r.start >= len;
    let range = free.iter_mut().rev().find(fits)?;
    range.end -= len;
    Some(range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(pairs: &[(u64, u64)]) -> Vec<Range> {
        pairs.iter().map(|&(start, end)| Range { start, end }).collect()
    }

    #[track_caller]
    fn check(ram: &[(u64, u64)], taken: &[(u64, u64)], expected: &[(u64, u64)]) {
        assert_eq!(free_ranges(&ranges(ram), &ranges(taken)), ranges(expected));
    }

    #[test]
    fn holes_are_taken_out_by_whole_frames() {
        check(&[(0, 0x9_F400)], &[], &[(0, 0x9_F000)]);
        check(&[(0x1234, 0x8000)], &[(0x3001, 0x3002)], &[(0x2000, 0x3000), (0x4000, 0x8000)]);
        check(&[(0, 0x4000)], &[(0, 0x4000)], &[]);
        check(&[(0, 0x4000)], &[(0x4000, 0x5000), (0, 0)], &[(0, 0x4000)]);
        check(
            &[(0x8000, 0x9000), (0, 0x2000)],
            &[(0, 0x1000)],
            &[(0x1000, 0x2000), (0x8000, 0x9000)],
        );
        check(&[(0, 0x4000)], &[(0x3000, 0x9000)], &[(0, 0x3000)]);
    }

    #[test]
    fn pieces_come_from_the_end_below_the_limit() {
        let mut free = ranges(&[(0, 0x4000), (0x8000, 0xA000), (0x1_0000, 0x9_0000)]);
        assert_eq!(carve(&mut free, 0x2000, 0x1_0000), Some(0x8000));
        assert_eq!(carve(&mut free, 0x1000, 0x1_0000), Some(0x3000));
        assert_eq!(carve(&mut free, 0x8000, 0x1_0000), None);
    }
}
