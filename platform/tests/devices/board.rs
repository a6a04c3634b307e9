//! The board itself: dispatch, unclaimed accesses, and time.

use super::*;
use platform::{
    board::{Space, Unclaimed},
    device::{Ending, IoError},
    time::Rate,
};

#[test]
fn unclaimed_accesses_read_all_ones_and_are_noted_once() {
    let mut board = Board::new(&BoardConfig::default());
    let twice =
        [In(0x1234, 2, 0xffff), In(0x1234, 1, 0xff), out(0x1234, 0), Load(0xfe00_0000, 1, 0xff)];
    run(&mut board, &twice);
    let port = |address, write| Unclaimed { space: Space::Port, address, write };
    let memory = Unclaimed { space: Space::Memory, address: 0xfe00_0000, write: false };
    let expect = [port(0x1234, false), port(0x1234, true), port(0x1235, false), memory];
    assert_eq!(board.unclaimed().iter().copied().collect::<Vec<_>>(), expect);
}

#[test]
fn the_list_of_unclaimed_accesses_is_bounded() {
    let mut board = Board::new(&BoardConfig::default());
    for address in 0..5000 {
        board.mmio_read(0xfe00_0000 + address, 1, Icount(0));
    }
    assert_eq!(board.unclaimed().len(), 1024);
}

/// What a device refuses reads all-ones too; the board counts refusals, and no state differs thereby.
#[test]
fn refused_accesses_read_all_ones_and_are_counted() {
    let mut board = Board::new(&BoardConfig::default());
    let untouched = board.clone();
    // The timer's control word and the clock's index are write-only; CF8h takes doublewords only;
    // there is no device 1.
    run(&mut board, &[inb(0x43, 0xff), inb(0x43, 0xff), inb(0x70, 0xff), In(0xcf8, 2, 0xffff)]);
    assert!(board == untouched && board.unclaimed().is_empty());
    run(&mut board, &[Load(0xb000_8000, 4, 0xffff_ffff), Store(0xb000_8000, 4, 0)]);
    let expect = [
        ("pci", IoError::InvalidAccessSize, 1),
        ("pci", IoError::NoResponse, 2),
        ("pit", IoError::InvalidRegister, 2),
        ("rtc", IoError::InvalidRegister, 1),
    ];
    assert_eq!(board.refused().collect::<Vec<_>>(), expect);
    let expect = [("pci", 2, 1), ("pit", 2, 0), ("rtc", 1, 0)];
    assert_eq!(board.accesses().collect::<Vec<_>>(), expect);
}

#[test]
fn the_first_of_two_devices_of_a_kind_counts() {
    let exit = |base| OptionalDevice::DebugExit { base, length: 1 };
    let devices = vec![exit(0x501), exit(0x601)];
    let mut board = Board::new(&BoardConfig { devices, ..BoardConfig::default() });
    run(&mut board, &[out(0x601, 1)]);
    assert_eq!(board.ending(), None);
    run(&mut board, &[out(0x501, 2)]);
    assert_eq!(board.ending(), Some(Ending::Status(5)));
}

#[test]
fn devices_at_the_same_address() {
    let clash = |devices: &[OptionalDevice]| {
        BoardConfig { devices: devices.to_vec(), ..BoardConfig::default() }.clash()
    };
    let exit = |base, length| OptionalDevice::DebugExit { base, length };
    let com1 = "ports 0x3f8 to 0x3ff of com1";
    for (base, length) in [(0x3f8, 1), (0x3ff, 1), (0x3f7, 2), (0x3ff, 4)] {
        let clash = clash(&[exit(base, length)]).unwrap();
        assert!(clash.ends_with(com1), "{clash}");
    }
    for (base, length) in [(0x3f7, 1), (0x400, 4), (0xffff, 1), (0xf4, 4)] {
        assert_eq!(clash(&[exit(base, length)]), None);
    }
    let expect = "ports 0x504 to 0x507 of debug_exit are in the ports 0x505 to 0x505 of pvpanic";
    assert_eq!(clash(&[OptionalDevice::Pvpanic, exit(0x504, 4)]).as_deref(), Some(expect));
    assert_eq!(clash(&[OptionalDevice::Pvpanic, OptionalDevice::TestDevice]), None);
}

#[test]
fn wide_accesses_are_split() {
    // Data and interrupt enable registers of COM1; past the end of port space.
    check(&[Out(0x3f8, 2, 0x0541), Sent(b"A"), inb(0x3f9, 5), In(0xffff, 4, 0xffff_ffff)]);
    check(&[Load(u64::MAX, 8, u64::MAX), Store(u64::MAX, 8, 0)]);
}

/// Every access at every place, with the largest values, at the end of time: no panic, no hang.
#[test]
fn nothing_panics() {
    for now in [0, 1 << 40, u64::MAX] {
        let mut board = Board::new(&BoardConfig::default());
        for port in 0..=u16::MAX {
            for (size, value) in [(1, 0xff), (2, 0xffff), (4, u32::MAX)] {
                board.port_write(port, size, value, Icount(now));
                board.port_read(port, size, Icount(now));
            }
        }
        for base in [0xfec0_0000u64, 0xfed0_0000] {
            for address in base..base + 0x400 {
                for size in [1, 2, 4, 8] {
                    board.mmio_write(address, size, u64::MAX, Icount(now));
                    board.mmio_read(address, size, Icount(now));
                }
            }
        }
    }
}

/// The same accesses at the same instants leave the same state, however often time is looked at.
#[test]
fn time_in_steps_or_at_once() {
    let program = |board: &mut Board| {
        run(board, &INIT_PICS);
        run(board, &[out(0x43, 0x34), out(0x40, 0x10), out(0x40, 0x27)]);
        run(board, &[out(0x70, 0x0b), out(0x71, 0x72)]);
        run(board, &[Out(0x602, 2, 1), Store(0xfed0_0108, 8, 12345), Store(0xfed0_0010, 8, 1)]);
        run(board, &[out(0x3f9, 1), out(0x3fa, 0xc1), Serial(b"abc")]);
    };
    let mut coarse = Board::new(&BoardConfig::default());
    program(&mut coarse);
    let mut fine = coarse.clone();
    let end = 1_500_000_000;
    (0..end).step_by(99_991).for_each(|now| fine.advance(Icount(now)));
    fine.advance(Icount(end));
    coarse.advance(Icount(end));
    assert_eq!(fine, coarse);
}

#[test]
fn scales_are_exact_and_monotone() {
    #[track_caller]
    fn check(hz: u64, ticks_hz: u64, now: u64, ticks: u64, instant: u64) {
        let scale = Rate { hz }.scale(ticks_hz);
        assert_eq!((scale.ticks(Icount(now)), scale.instant(ticks)), (ticks, Icount(instant)));
    }
    check(1_000_000_000, 1_193_182, 1_000_000_000, 1_193_182, 1_000_000_000);
    check(1_000_000_000, 1_193_182, 838, 0, 0);
    check(1_000_000_000, 1_193_182, 839, 1, 839);
    check(2_000_000_000, 3_579_545, 7_200_000_000_000, 12_886_362_000, 7_200_000_000_000);
    check(1, 1_000_000_000, u64::MAX, 1 << 63, 9_223_372_037);
    assert_eq!(Rate { hz: 3_000_000_000 }.nanoseconds(Icount(10)), 3);
}
