//! The bitmaps that say which ports and MSRs exit.
//! SDM vol. 3, "I/O-Bitmap Addresses" and "MSR-Bitmap Address".

/// Both I/O bitmaps, one after the other: a set bit exits.
pub type IoBitmaps = [u8; 8192];
/// The MSR bitmap: reads low, reads high, writes low, writes high; a set bit exits.
pub type MsrBitmap = [u8; 4096];

/// Only the ranges (first port, count) exit.
pub fn ports_that_exit(ranges: impl IntoIterator<Item = (u16, u16)>) -> IoBitmaps {
    let mut bitmaps = [0; 8192];
    for (first, count) in ranges {
        for port in (0..count).map(|i| first.wrapping_add(i)) {
            bitmaps[usize::from(port / 8)] |= 1 << (port % 8);
        }
    }
    bitmaps
}

/// Every access exits but to the MSRs (number, also for writes).
pub fn msrs_that_do_not_exit(free: impl IntoIterator<Item = (u32, bool)>) -> MsrBitmap {
    let mut bitmap = [0xFF; 4096];
    for (msr, writes) in free {
        let half = if msr >= 0xC000_0000 { 1024 } else { 0 };
        let (byte, bit) = (half + (msr as usize & 0x1FFF) / 8, 1 << (msr % 8));
        bitmap[byte] &= !bit;
        if writes {
            bitmap[2048 + byte] &= !bit;
        }
    }
    bitmap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_port(bitmaps: &IoBitmaps, port: u16, exits: bool) {
        assert_eq!(bitmaps[usize::from(port / 8)] >> (port % 8) & 1 != 0, exits, "port {port:#x}");
    }

    #[test]
    fn ports() {
        let bitmaps = ports_that_exit([(0x20, 2), (0x3F8, 8), (0xFFFF, 1), (0, 0)]);
        for (port, exits) in
            [(0x1F, false), (0x20, true), (0x21, true), (0x22, false), (0x3F8, true)]
        {
            check_port(&bitmaps, port, exits);
        }
        check_port(&bitmaps, 0x3FF, true);
        check_port(&bitmaps, 0x400, false);
        check_port(&bitmaps, 0xFFFF, true);
        check_port(&bitmaps, 0, false);
    }

    #[track_caller]
    fn check_msr(bitmap: &MsrBitmap, quarter: usize, msr: usize, exits: bool) {
        assert_eq!(bitmap[quarter * 1024 + msr / 8] >> (msr % 8) & 1 != 0, exits);
    }

    #[test]
    fn msrs() {
        let bitmap = msrs_that_do_not_exit([(0x10, false), (0x277, true), (0xC000_0080, true)]);
        check_msr(&bitmap, 0, 0x10, false);
        check_msr(&bitmap, 2, 0x10, true);
        check_msr(&bitmap, 2, 0x277, false);
        check_msr(&bitmap, 1, 0x80, false);
        check_msr(&bitmap, 3, 0x80, false);
        check_msr(&bitmap, 0, 0x80, true);
    }
}
