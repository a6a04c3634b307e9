//! PCI configuration space by ports and by memory.

use super::*;

const ECAM: u64 = 0xb000_0000;

/// Selects a register by CONFIG_ADDRESS.
fn select(bus: u32, device: u32, register: u32) -> Step {
    Out(0xcf8, 4, 1 << 31 | bus << 16 | device << 11 | register)
}

#[test]
fn config_address() {
    check(&[Out(0xcf8, 4, 0xffff_ffff), In(0xcf8, 4, 0x80ff_fffc)]);
    // Only doublewords reach it; CF9h is the reset control.
    check(&[Out(0xcf8, 4, 0x8000_0000), Out(0xcf8, 2, 0x1234), In(0xcf8, 4, 0x8000_0000)]);
    check(&[out(0xcfb, 1), In(0xcf8, 4, 0), In(0xcf8, 1, 0xff), inb(0xcf9, 0)]);
}

#[test]
fn functions() {
    check(&[
        select(0, 0, 0),
        In(0xcfc, 4, 0x29c0_8086),
        In(0xcfc, 2, 0x8086),
        In(0xcfe, 2, 0x29c0),
    ]);
    check(&[select(0, 31, 8), In(0xcfc, 4, 0x0601_0002), In(0xcff, 1, 6), In(0xcfd, 1, 0)]);
    check(&[select(0, 0, 0x0c), In(0xcfe, 1, 0)]);
}

#[test]
fn nobody_there_reads_all_ones() {
    check(&[select(0, 1, 0), In(0xcfc, 4, 0xffff_ffff), Out(0xcfc, 4, 0), In(0xcfc, 2, 0xffff)]);
    check(&[select(1, 0, 0), In(0xcfc, 4, 0xffff_ffff)]);
    // Not enabled.
    check(&[Out(0xcf8, 4, 0), In(0xcfc, 4, 0xffff_ffff)]);
}

#[test]
fn write_masks() {
    check(&[select(0, 0, 0), Out(0xcfc, 4, 0), In(0xcfc, 4, 0x29c0_8086)]);
    check(&[select(0, 31, 0x60), Out(0xcfd, 1, 0xff), In(0xcfc, 4, 0x8080_8f80)]);
    check(&[select(0, 31, 4), Out(0xcfc, 2, 0xffff), In(0xcfc, 2, 7)]);
}

#[test]
fn memory_mapped() {
    check(&[
        Load(ECAM, 4, 0x29c0_8086),
        Load(ECAM + 2, 2, 0x29c0),
        Load(ECAM + 0x100, 4, 0xffff_ffff),
    ]);
    check(&[Load(ECAM + (31 << 15), 8, 0x0007_2918_8086)]);
    check(&[Load(ECAM + (1 << 15), 4, 0xffff_ffff), Load(ECAM + (1 << 20), 2, 0xffff)]);
    check(&[Store(ECAM + (31 << 15) + 0x68, 1, 0x0b), Load(ECAM + (31 << 15) + 0x68, 1, 0x0b)]);
}

/// The byte at 9Dh of the host bridge: D_OPEN 40h, D_CLS 20h, D_LCK 10h, G_SMRAME 8, and 2.
#[test]
fn smram_control() {
    use platform::devices::pci::host_bridge::Smram;
    let written = |values: &[u32], reads: u32, smram: (bool, bool, bool)| {
        let mut board = Board::new(&BoardConfig::default());
        run(&mut board, &[select(0, 0, 0x9c), In(0xcfc, 4, 0x0038_0200)]);
        values.iter().for_each(|v| run(&mut board, &[Out(0xcfd, 1, *v)]));
        run(&mut board, &[In(0xcfd, 1, reads)]);
        let (enabled, open, closed) = smram;
        assert_eq!(board.smram(), Smram { enabled, open, closed }, "{values:x?}");
    };
    written(&[], 0x02, (false, false, false));
    written(&[0xef], 0x6a, (true, true, true));
    written(&[0x4a], 0x4a, (true, true, false));
    written(&[0x48, 0], 0x02, (false, false, false));
    // D_LCK closes and locks all but D_CLS.
    written(&[0x58], 0x1a, (true, false, false));
    written(&[0x18, 0x40], 0x1a, (true, false, false));
    written(&[0x10, 0x48, 0x20], 0x32, (false, false, true));
    written(&[0x18, 0x20, 0], 0x1a, (true, false, false));
}
