//! The text page and the CRTC's registers.

use super::*;

#[test]
fn the_page_is_memory() {
    check(&[Store(0xb_8000, 2, 0x0741), Load(0xb_8000, 2, 0x0741), Load(0xb_8001, 1, 0x07)]);
    check(&[Store(0xb_fff8, 8, u64::MAX), Load(0xb_ffff, 1, 0xff), Load(0xb_fff0, 8, 0)]);
    check(&[Store(0xb_8001, 4, 0x0403_0201), Load(0xb_8000, 8, 0x04_0302_0100)]);
}

#[test]
fn the_cursor_is_kept() {
    check(&[out(0x3d4, 14), inb(0x3d5, 0), out(0x3d5, 7), out(0x3d4, 15), inb(0x3d5, 0)]);
    check(&[Out(0x3d4, 2, 0x120e), Out(0x3d4, 2, 0x340f), inb(0x3d5, 0x34), out(0x3d4, 14)]);
    let kept = [Out(0x3d4, 2, 0x120e), out(0x3d4, 15), out(0x3d4, 14), inb(0x3d5, 0x12)];
    check(&kept);
    // Registers that there are not.
    check(&[out(0x3d4, 0xff), inb(0x3d4, 0xff), out(0x3d5, 1), inb(0x3d5, 0)]);
}

#[test]
fn the_retrace_comes_and_goes() {
    // Of 449 lines, 400 are shown; 70 pictures a second.
    check(&[inb(0x3da, 0), At(12_000_000), inb(0x3da, 0), At(13_000_000), inb(0x3da, 9)]);
    check(&[At(14_290_000), inb(0x3da, 0)]);
}
