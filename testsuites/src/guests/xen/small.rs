//! The smallest kernels of a hardware domU: real-mode code that says so on COM1 and powers off, or goes on saying so.
//! As a bzImage one comes by QEMU's loader, as the boot sector of a CD by the firmware.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the kernel prints, on a line of its own behind what the firmware has printed.
const TEXT: &[u8] = b"\nMARK small\n\0";

/// Prints the text that follows, up to its zero, and writes sleep type 0 (which Xen's DSDT has for S5) and the enable bit
/// to the power-management register that Xen's firmware puts at port B004h.
#[rustfmt::skip]
const CODE: [u8; 35] = [
    0xe8, 0, 0, // call next
    0x5e, // next: pop si
    0x81, 0xc6, 32, 0, // add si, text - next
    0xfc, // cld
    0x2e, 0xac, // again: lodsb cs:[si]
    0x84, 0xc0, // test al, al
    0x74, 6, // jz done
    0xba, 0xf8, 3, // mov dx, 3f8h
    0xee, // out dx, al
    0xeb, 0xf4, // jmp again
    0xba, 4, 0xb0, // done: mov dx, 0b004h
    0xb8, 0, 0x20, // mov ax, 2000h
    0xef, // out dx, ax
    0xfa, // stop: cli
    0xf4, // hlt
    0xeb, 0xfc, // jmp stop
    0x90, 0x90, 0x90,
];

/// What the other prints, once a second.
const TICK: &[u8] = b"tick\n\0";

/// Waits for 18 interrupts, which are those of the timer, prints the text that follows, and so on for ever.
#[rustfmt::skip]
const TICKS: [u8; 32] = [
    0xe8, 0, 0, // call next
    0x5e, // next: pop si
    0x81, 0xc6, 29, 0, // add si, text - next
    0xfb, // sti
    0xfc, // cld
    0xb9, 18, 0, // again: mov cx, 18
    0xf4, // wait: hlt
    0xe2, 0xfd, // loop wait
    0x56, // push si
    0x2e, 0xac, // char: lodsb cs:[si]
    0x84, 0xc0, // test al, al
    0x74, 6, // jz done
    0xba, 0xf8, 3, // mov dx, 3f8h
    0xee, // out dx, al
    0xeb, 0xf4, // jmp char
    0x5e, // done: pop si
    0xeb, 0xea, // jmp again
];

/// The kernel that powers off.
pub(super) fn bzimage() -> Vec<u8> {
    image(&[&CODE[..], TEXT].concat())
}

/// The kernel that goes on.
pub(super) fn ticks() -> Vec<u8> {
    image(&[&TICKS[..], TICK].concat())
}

/// The code of a kernel as a bzImage: one sector of header, one of code, and a paragraph of what is to be protected-mode code.
/// Linux, Documentation/arch/x86/boot.rst.
fn image(code: &[u8]) -> Vec<u8> {
    const SETUP: usize = 2 * 512;
    let mut image = vec![0; SETUP + 16];
    image[0x1f1] = 1; // Sectors of code
    image[0x1f4] = 1; // Paragraphs behind them
    image[0x1fe..0x206].copy_from_slice(&[0x55, 0xaa, 0xeb, 0x66, b'H', b'd', b'r', b'S']);
    image[0x206..0x208].copy_from_slice(&[6, 2]); // Protocol 2.06
    image[0x211] = 1; // Loaded high
    image[0x214..0x218].copy_from_slice(&0x10_0000_u32.to_le_bytes());
    // The jump at 200h leads behind the header.
    image[0x268..][..code.len()].copy_from_slice(code);
    image
}

/// Makes a CD of which firmware loads the kernel as a boot sector; `tree` is a folder to work in.
///
/// # Errors
/// When `xorriso` is not there, or fails.
pub(super) fn cd(tree: &Path, iso: &Path) -> Result<()> {
    fs::create_dir_all(tree)?;
    let mut sector = [&CODE[..], TEXT].concat();
    sector.resize(2048, 0);
    fs::write(tree.join("small.img"), sector)?;
    let mut make = Command::new("xorriso");
    make.args(["-as", "mkisofs", "-quiet", "-b", "small.img", "-no-emul-boot"]);
    make.args(["-boot-load-size", "4", "-o"]).arg(iso).arg(tree);
    // What is on the CD has the time of the recipe.
    let made = make.env("SOURCE_DATE_EPOCH", "1700000000").output().context("xorriso")?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "xorriso: {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text stands where the code looks for it, and the bzImage's jump leads to the code.
    #[test]
    fn places() {
        assert_eq!(3 + CODE[6] as usize, CODE.len());
        assert_eq!(3 + TICKS[6] as usize, TICKS.len());
        let image = bzimage();
        assert_eq!(0x202 + image[0x201] as usize, 0x268);
        assert!(image[0x268..].starts_with(&CODE));
    }
}
