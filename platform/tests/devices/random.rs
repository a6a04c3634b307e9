//! Random guests: whatever they write, the state is a function of the accesses and their instants
//! alone, and it survives being saved.

use proptest::prelude::*;

use super::*;

/// The registers that have something to do with time or interrupts.
const PORTS: &[u16] = &[
    0x20, 0x21, 0xa0, 0xa1, 0x40, 0x42, 0x43, 0x61, 0x64, 0x60, 0x70, 0x71, 0x3f8, 0x3f9, 0x3fa,
    0x3fb, 0x3fc, 0x3fd, 0x600, 0x602, 0x4d0, 0x4d1, 0xe0, 0x2005,
];
const MEMORY: &[u64] = &[
    0xfec0_0000,
    0xfec0_0010,
    0xfec0_0040,
    0xfed0_0010,
    0xfed0_0020,
    0xfed0_00f0,
    0xfed0_0100,
    0xfed0_0108,
    0xfed0_0120,
    0xfed0_0128,
    0xfed0_0140,
    0xfed0_0148,
];

#[derive(Clone, Debug)]
enum Access {
    Out(u16, u8, u32),
    In(u16),
    Store(u64, u8, u64),
    Load(u64),
    Serial(u8),
    Acknowledge,
    Eoi(u8),
}

fn access() -> impl Strategy<Value = Access> {
    let port = || prop::sample::select(PORTS);
    let memory = || prop::sample::select(MEMORY);
    // Small values hit modes and enables, indices of CMOS and IOAPIC; large ones the rest.
    let value = || prop_oneof![0..0x40u64, any::<u64>()];
    prop_oneof![
        6 => (port(), 0..2u8, value()).prop_map(|(port, size, v)| Access::Out(port, 1 << size, v as u32)),
        2 => port().prop_map(Access::In),
        4 => (memory(), 2..4u8, value()).prop_map(|(at, size, v)| Access::Store(at, 1 << size, v)),
        1 => memory().prop_map(Access::Load),
        1 => any::<u8>().prop_map(Access::Serial),
        1 => Just(Access::Acknowledge),
        1 => any::<u8>().prop_map(Access::Eoi),
    ]
}

fn make(board: &mut Board, access: &Access, now: Icount) {
    board.advance(now);
    match *access {
        Access::Out(port, size, value) => board.port_write(port, size, value, now),
        Access::In(port) => _ = board.port_read(port, 1, now),
        Access::Store(address, size, value) => board.mmio_write(address, size, value, now),
        Access::Load(address) => _ = board.mmio_read(address, 4, now),
        Access::Serial(byte) => board.push_serial_input(0, &[byte], now),
        Access::Acknowledge => _ = board.acknowledge(),
        Access::Eoi(vector) => board.eoi(vector),
    }
}

/// Runs the accesses, looking at the clock every `step` instructions on the way to the next.
fn play(accesses: &[(u64, Access)], step: u64) -> Board {
    let devices = vec![OptionalDevice::TestDevice];
    let mut board = Board::new(&BoardConfig { devices, ..BoardConfig::default() });
    let mut now = 0;
    for (wait, access) in accesses {
        let then = now + wait;
        (now..then).step_by(step as usize).for_each(|instant| board.advance(Icount(instant)));
        now = then;
        make(&mut board, access, Icount(now));
    }
    board
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn time_does_not_depend_on_who_looks(
        accesses in prop::collection::vec((0..3_000_000u64, access()), 1..40),
        step in 9_973..1_000_003u64,
    ) {
        prop_assert!(play(&accesses, u64::MAX) == play(&accesses, step));
    }

    #[test]
    fn a_saved_board_goes_on_the_same(
        accesses in prop::collection::vec((0..3_000_000u64, access()), 2..40),
    ) {
        let mut board = play(&accesses, u64::MAX);
        let bytes = postcard::to_stdvec(&board).unwrap();
        let mut copy: Board = postcard::from_bytes(&bytes).unwrap();
        prop_assert!(copy == board);
        for (number, (_, access)) in (1u64..).zip(&accesses) {
            for board in [&mut board, &mut copy] {
                make(board, access, Icount(200_000_000 + number * 1_000_000));
            }
        }
        prop_assert!(copy == board);
    }

    /// The state after an access is settled: sampling once more changes nothing.
    #[test]
    fn deadlines_lie_ahead(accesses in prop::collection::vec((0..3_000_000u64, access()), 1..40)) {
        let board = play(&accesses, u64::MAX);
        let now = accesses.iter().map(|(wait, _)| wait).sum();
        if let Some(due) = board.next_deadline() {
            prop_assert!(due > Icount(now), "{due:?} at {now}");
        }
    }
}
