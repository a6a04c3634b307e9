//! The small devices, and power, reset and exit.

use super::*;
use platform::device::Ending;

#[test]
fn keyboard_controller() {
    // Self test, interface test, and the command byte's system flag.
    check(&[inb(0x64, 0x10), out(0x64, 0xaa), inb(0x64, 0x1d), inb(0x60, 0x55), inb(0x64, 0x1c)]);
    check(&[out(0x64, 0xab), inb(0x60, 0)]);
    check(&[out(0x64, 0x60), out(0x60, 0x47), inb(0x64, 0x14), out(0x64, 0x20), inb(0x60, 0x47)]);
    // Its output buffer interrupts when the command byte says so.
    let enabled = [out(0x64, 0x60), out(0x60, 1), out(0x64, 0xaa), Intr(true), Ack(0x21)];
    check(&[&INIT_PICS[..], &enabled, &[inb(0x60, 0x55), out(0x20, 0x20), Intr(false)]].concat());
}

#[test]
fn post_code_and_debug_console() {
    check(&[out(0x80, 0x5a), inb(0x80, 0x5a), inb(0xe9, 0xe9), inb(0x92, 2)]);
    let mut board = Board::new(&BoardConfig::default());
    run(&mut board, &[out(0xe9, b'o'), out(0xe9, b'k')]);
    assert_eq!((board.take_debug_output(), board.take_debug_output()), (b"ok".to_vec(), vec![]));
}

#[test]
fn pm_timer() {
    let second = 1_000_000_000;
    check(&[In(0x608, 4, 0), At(second), In(0x608, 4, 3_579_545), In(0x608, 1, 0x99)]);
    // Bit 31 changes after 2³¹ ticks, and interrupts if it may.
    let half = (1u64 << 31) * second;
    let half = half.div_ceil(3_579_545);
    let enabled = [Out(0x602, 2, 1), Deadline(Some(half)), At(half - 1), Intr(false), At(half)];
    let raised = [Intr(true), Ack(0x29), In(0x600, 2, 1), Out(0x600, 2, 1), In(0x600, 2, 0)];
    let next = [Deadline(Some(((1u64 << 32) * second).div_ceil(3_579_545)))];
    check(&[&INIT_PICS[..], &enabled, &raised, &next].concat());
}

#[test]
fn pm_registers_in_bytes() {
    check(&[
        out(0x603, 0xff),
        In(0x602, 2, 0x0700),
        Out(0x600, 4, 0xffff_0000),
        In(0x602, 2, 0x0721),
    ]);
    check(&[In(0x604, 2, 1), out(0x605, 0x14), In(0x604, 2, 0x1401)]);
}

/// What the guest asked for.
#[track_caller]
fn outcome(steps: &[Step], expect: Option<Ending>) {
    let mut board = Board::new(&with_debug_exit());
    run(&mut board, steps);
    assert_eq!(board.ending(), expect, "{steps:x?}");
}

#[test]
fn outcomes() {
    let (off, reset, none) = (Some(Ending::PowerOff), Some(Ending::Reset), None);
    outcome(&[], none);
    outcome(&[Out(0x604, 2, 0x2000)], off);
    outcome(&[out(0x605, 0x20)], off);
    outcome(&[Out(0x604, 2, 0x3400)], none);
    outcome(&[Out(0x604, 2, 0x2400)], none);
    outcome(&[Out(0x604, 2, 0x1400)], none);
    outcome(&[out(0xcf9, 0x02)], none);
    outcome(&[out(0xcf9, 0x06)], reset);
    outcome(&[out(0x64, 0xfe)], reset);
    outcome(&[out(0x64, 0xff)], none);
    outcome(&[out(0x64, 0xd1), out(0x60, 0xfe)], reset);
    outcome(&[out(0x92, 3)], reset);
    outcome(&[out(0x92, 2)], none);
    outcome(&[out(0x501, 0)], Some(Ending::Status(1)));
    outcome(&[Out(0x501, 2, 0x1234), out(0x501, 9)], Some(Ending::Status(0x2469)));
    outcome(&[In(0x501, 2, 0), out(0x503, 1)], none);
}

/// Port 505h: bit 0 a panic, bit 1 one that the guest deals with, bit 2 a shutdown; reads show the
/// three.
#[test]
fn pvpanic() {
    let told = |value: u8, expect: Option<Ending>| {
        let devices = vec![OptionalDevice::Pvpanic];
        let mut board = Board::new(&BoardConfig { devices, ..BoardConfig::default() });
        run(&mut board, &[inb(0x505, 7), out(0x505, value)]);
        assert_eq!(board.ending(), expect, "{value:#x}");
    };
    told(0, None);
    told(2, None);
    told(0xf8, None);
    told(1, Some(Ending::GuestPanicked));
    told(5, Some(Ending::GuestPanicked));
    told(4, Some(Ending::PowerOff));
    check(&[inb(0x505, 0xff)]);
}

#[test]
fn power_button() {
    let mut board = Board::new(&BoardConfig::default());
    run(&mut board, &INIT_PICS);
    run(&mut board, &[Out(0x602, 2, 0x100), Intr(false)]);
    board.press_power_button(Icount(0));
    run(&mut board, &[Intr(true), Ack(0x29), In(0x600, 2, 0x100)]);
}

/// APM_CNT and APM_STS at B2h and B3h, SMI_EN and SMI_STS at PMBASE + 30h.
#[test]
fn smi_sources() {
    let smi = |steps: &[Step], raised: bool| {
        let mut board = Board::new(&BoardConfig::default());
        run(&mut board, steps);
        assert_eq!((board.take_smi(), board.take_smi()), (raised, false), "{steps:x?}");
    };
    smi(&[In(0x630, 4, 2), In(0x634, 4, 0), out(0xb2, 5), inb(0xb2, 5)], false);
    smi(
        &[out(0xb3, 7), inb(0xb3, 7), inb(0xb2, 0), Out(0xb2, 2, 0x0908), In(0xb2, 2, 0x0908)],
        false,
    );
    // APMC_EN alone sets the status, both enables are an SMI.
    smi(&[Out(0x630, 4, 0x20), out(0xb2, 1), In(0x634, 4, 0x20)], false);
    smi(&[Out(0x630, 4, 1), out(0xb2, 1), In(0x634, 4, 0)], false);
    let both = [Out(0x630, 4, u32::MAX), In(0x630, 4, 0x23), out(0xb2, 1)];
    smi(&both, true);
    smi(
        &[&both[..], &[out(0x634, 0xdf), inb(0x634, 0x20), out(0x634, 0x20), inb(0x634, 0)]]
            .concat(),
        true,
    );
    smi(&[out(0x630, 0x20), out(0x631, 0xff), out(0x630, 0x21), out(0xb2, 0)], true);
}

/// `pc-testdev`: latch, interrupt lines, memory; nobody answers without the device.
#[test]
fn test_device() {
    let rows = [
        Out(0xe0, 4, 0x1234_5678),
        In(0xe0, 4, 0x1234_5678),
        In(0xe2, 2, 0x1234),
        out(0xe1, 0xff),
        In(0xe0, 2, 0xff78),
        Out(0xe4, 4, 0),
        Store(0xff00_fff8, 8, 0x1122_3344_5566_7788),
        Load(0xff00_fffc, 4, 0x1122_3344),
        Load(0xff00_0000, 8, 0),
        out(0x2005, 1),
        Intr(true),
        Ack(0x25),
        out(0x2005, 0),
        out(0x20, 0x20),
        Intr(false),
    ];
    let devices = vec![OptionalDevice::TestDevice];
    let mut board = Board::new(&BoardConfig { devices, ..BoardConfig::default() });
    run(&mut board, &[&INIT_PICS[..], &rows].concat());
    check(&[In(0xe0, 4, u32::MAX), Load(0xff00_0000, 8, u64::MAX), inb(0x2005, 0xff)]);
}
