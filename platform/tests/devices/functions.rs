//! PCI functions on their bus: base addresses that guests size and move, capabilities, MSI-X.

use platform::{
    device::{Device, DmaMemory, InterruptMessage, IoError},
    devices::pci::{
        bar::Bar,
        bus::{ECAM, PciBus, Target},
        config::ConfigSpace,
        msi::Message,
        msix::{Control, MsixTable},
    },
    time::Icount,
};

use super::*;

/// The function's place: 05.0.
const PLACE: u16 = 5 << 3;

/// A bus with a function of 1 KiB of memory, 8 KiB of memory with 64-bit addresses, and 32 ports.
fn bus() -> PciBus {
    let mut config = ConfigSpace::new(&[(0x04, 2, 0, 7)]);
    config.add_bar(0, Bar::Memory32(1 << 10));
    config.add_bar(1, Bar::Memory64(8 << 10));
    config.add_bar(3, Bar::Ports(32));
    let mut bus = PciBus::default();
    bus.attach(PLACE, config);
    bus
}

fn write(bus: &mut PciBus, register: u64, value: u64) {
    bus.write(ECAM + (5 << 15) + register, 4, value, Icount(0)).unwrap();
}

fn read(bus: &mut PciBus, register: u64) -> u64 {
    bus.read(ECAM + (5 << 15) + register, 4, Icount(0)).unwrap()
}

#[test]
fn all_ones_show_the_size() {
    let mut bus = bus();
    let sizes =
        [(0x10, 0xffff_fc00), (0x14, 0xffff_e004), (0x18, 0xffff_ffff), (0x1c, 0xffff_ffe1)];
    for (register, size) in sizes {
        write(&mut bus, register, 0xffff_ffff);
        assert_eq!(read(&mut bus, register), size, "{register:#x}");
    }
    // There is no register after them.
    write(&mut bus, 0x20, 0xffff_ffff);
    assert_eq!(read(&mut bus, 0x20), 0);
}

#[test]
fn ranges_are_where_the_guest_puts_them() {
    #[track_caller]
    fn check(bus: &mut PciBus, ports: bool, address: u64, size: u8, expect: Option<(u8, u64)>) {
        let expect = expect.map(|(bar, offset)| Target { function: PLACE, bar, offset });
        assert_eq!(bus.target(ports, address, size), expect, "{address:#x}");
    }
    let mut bus = bus();
    for (register, value) in [(0x10, 0xd000_0000), (0x14, 0x4000), (0x18, 3), (0x1c, 0xc040)] {
        write(&mut bus, register, value);
    }
    let (memory, wide, ports) = (0xd000_0000, 0x3_0000_4000, 0xc040);
    // Neither space is enabled.
    check(&mut bus, false, memory, 4, None);
    check(&mut bus, true, ports, 4, None);
    write(&mut bus, 4, 2);
    check(&mut bus, false, memory, 4, Some((0, 0)));
    check(&mut bus, false, memory + 0x3fc, 4, Some((0, 0x3fc)));
    check(&mut bus, false, memory + 0x3fe, 4, None);
    check(&mut bus, false, memory + 0x400, 1, None);
    check(&mut bus, false, wide + 0x1ff8, 8, Some((1, 0x1ff8)));
    check(&mut bus, false, 0x4000, 4, None);
    check(&mut bus, true, ports, 4, None);
    write(&mut bus, 4, 1);
    check(&mut bus, true, ports + 0x1f, 1, Some((3, 0x1f)));
    check(&mut bus, true, ports + 0x20, 1, None);
    check(&mut bus, false, memory, 4, None);
    // They move.
    write(&mut bus, 4, 3);
    write(&mut bus, 0x10, 0xd000_0400);
    check(&mut bus, false, memory, 4, None);
    check(&mut bus, false, memory + 0x400, 4, Some((0, 0)));
}

#[test]
fn capabilities_are_a_list() {
    let mut config = ConfigSpace::new(&[]);
    assert_eq!((config.word(6), config.byte(0x34), config.capability(5)), (0, 0, None));
    config.add_msi();
    config.add_msix(2, 4);
    let list = (config.word(6), config.byte(0x34), config.word(0x50), config.word(0x40));
    assert_eq!(list, (0x10, 0x50, 0x4011, 0x0005));
    assert_eq!((config.capability(0x11), config.capability(5)), (Some(0x50), Some(0x40)));
    // Two vectors, masked by nobody, disabled; table and pending bits in range 4.
    assert_eq!([0x52, 0x54, 0x58].map(|at| config.dword(at) as u16), [1, 4, 0x804]);
}

#[test]
fn msi_is_a_message_once_enabled() {
    let mut config = ConfigSpace::new(&[]);
    config.add_msi();
    config.write(0x44, 4, 0xfee0_1003);
    config.write(0x4c, 2, 0x4041);
    assert_eq!(config.msi_message(), None);
    config.write(0x42, 2, 0xffff);
    assert_eq!(config.word(0x42), 0x81);
    assert_eq!(config.msi_message(), Some(Message { address: 0xfee0_1000, data: 0x4041 }));
}

#[test]
fn messages_are_decoded() {
    let of = |address, data| {
        let message = InterruptMessage::decode(address, data)?;
        let InterruptMessage { destination, logical, delivery, vector, level } = message;
        Some((destination, logical, delivery, vector, level))
    };
    assert_eq!(of(0xfee0_1000, 0x41), Some((1, false, 0, 0x41, false)));
    assert_eq!(of(0xfeef_f00c, 0xc1fe), Some((0xff, true, 1, 0xfe, true)));
    assert_eq!(
        (of(0xfedf_fffc, 0x41), of(0xfef0_0000, 0x41), of(0x1_fee0_0000, 0x41)),
        (None, None, None)
    );
}

#[test]
fn msix_waits_for_masks() {
    const OPEN: Control = Control { enabled: true, masked: false };
    let mut table = MsixTable::new(2);
    let vectors = |messages: Vec<Message>| messages.iter().map(|m| m.data).collect::<Vec<_>>();
    table.write(0x00, 8, 0xfee0_0000).unwrap();
    table.write(0x08, 8, 0x42).unwrap();
    table.write(0x18, 4, 0x43).unwrap();
    assert_eq!((table.read(0x08, 8), table.read(0x1c, 4)), (Ok(0x42), Ok(1)));
    // Vector 1 is masked: its pending bit waits.
    assert_eq!(vectors(table.deliver(3, OPEN)), [0x42]);
    assert_eq!((table.read(0x800, 8), table.wants_bus()), (Ok(2), false));
    table.write(0x1c, 4, 0).unwrap();
    assert!(table.wants_bus());
    // So does all of the function's mask, and what is not enabled is forgotten.
    assert_eq!(vectors(table.deliver(0, Control { masked: true, ..OPEN })), []);
    assert_eq!(vectors(table.deliver(1, OPEN)), [0x42, 0x43]);
    assert_eq!(vectors(table.deliver(3, Control { enabled: false, ..OPEN })), []);
    assert_eq!(vectors(table.deliver(0, OPEN)), []);
    assert_eq!(table.read(0x20, 4), Err(IoError::InvalidRegister));
    assert_eq!(table.read(0x00, 2), Err(IoError::InvalidAccessSize));
    assert_eq!(table.write(0x800, 4, 1), Err(IoError::InvalidRegister));
}

/// Memory of 64 KiB for bus masters.
struct Ram(Vec<u8>);

impl DmaMemory for Ram {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), IoError> {
        let at = address as usize;
        let from = self.0.get(at..at + bytes.len()).ok_or(IoError::NoResponse)?;
        bytes.copy_from_slice(from);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), IoError> {
        let at = address as usize;
        let to = self.0.get_mut(at..at + bytes.len()).ok_or(IoError::NoResponse)?;
        to.copy_from_slice(bytes);
        Ok(())
    }
}

/// A board with `edu` at 03.0, its registers at D0000000h, as a bus master or not.
fn board_with_edu(master: bool) -> Board {
    let devices = vec![OptionalDevice::Edu { msix: false }];
    let mut board = Board::new(&BoardConfig { devices, ..BoardConfig::default() });
    let command = if master { 6 } else { 2 };
    run(&mut board, &[Store(0xb001_8010, 4, 0xd000_0000), Store(0xb001_8004, 2, command)]);
    board
}

#[test]
fn registers_take_the_documented_sizes() {
    let mut board = board_with_edu(true);
    let base = 0xd000_0000;
    run(&mut board, &[Load(base, 4, 0x0100_00ed), Load(base, 2, 0xffff), Load(base, 8, u64::MAX)]);
    run(&mut board, &[Store(base + 4, 4, 0x1234_5678), Load(base + 4, 4, 0xedcb_a987)]);
    run(&mut board, &[Store(base + 0x80, 8, 0x1_0000_0002), Load(base + 0x80, 8, 0x1_0000_0002)]);
    // The buffer is for transfers only.
    run(&mut board, &[Load(base + 0x4_0000, 4, 0xffff_ffff)]);
    assert!(board.unclaimed().is_empty());
    let refused: Vec<_> = board.refused().collect();
    let expect = [("edu", IoError::InvalidRegister, 1), ("edu", IoError::InvalidAccessSize, 2)];
    assert_eq!(refused, expect);
}

/// A transfer moves when memory is lent, and only that of a bus master.
#[test]
fn transfers_are_due_and_need_bus_mastering() {
    for master in [true, false] {
        let mut board = board_with_edu(master);
        let mut ram = Ram((0..=255).cycle().take(0x1_0000).collect());
        let base = 0xd000_0000;
        let transfer = |source, destination, command| {
            let registers = [(0x80, source), (0x88, destination), (0x90, 0x1000), (0x98, command)];
            registers.map(|(at, value)| Store(base + at, 8, value))
        };
        run(&mut board, &transfer(0x100, 0x4_0000, 1));
        run(&mut board, &[Deadline(Some(100_000)), Load(base + 0x98, 4, 1)]);
        assert!(!board.wants_memory());
        board.arrive(Icount(100_000));
        assert!(board.wants_memory());
        board.lend_memory(&mut ram);
        assert!(!board.wants_memory());
        ram.0.fill(0xee);
        let back = transfer(0x4_0000, 0x8001, 3);
        back.into_iter().for_each(|step| make(&mut board, &step, 100_000));
        board.arrive(Icount(200_000));
        board.lend_memory(&mut ram);
        let moved: Vec<u8> = (0..=255).cycle().take(0x1000).collect();
        assert_eq!(ram.0[0x8001..0x9001] == moved, master);
        assert_eq!((ram.0[0x8000], ram.0[0x9001]), (0xee, 0xee));
    }
}

fn make(board: &mut Board, step: &Step, now: u64) {
    if let Store(address, size, value) = *step {
        board.mmio_write(address, size, value, Icount(now));
    }
}

/// INTA of device 3 is PIRQD: input 19 of the I/O APIC, and the ISA line that the bridge names.
#[test]
fn intx_is_routed() {
    let mut board = board_with_edu(true);
    let (base, ioapic) = (0xd000_0000, 0xfec0_0000);
    let input = [Store(ioapic, 1, 0x36), Store(ioapic + 0x10, 4, 0x8044)];
    run(&mut board, &[&INIT_PICS[..], &input].concat());
    run(&mut board, &[Store(base + 0x60, 4, 2), Messages(&[0x44]), Intr(false)]);
    // The status register shows it: there are capabilities too.
    run(&mut board, &[Load(0xb001_8006, 2, 0x18), Eoi(0x44), Messages(&[0x44])]);
    // Level triggered, PIRQD to IRQ11.
    run(&mut board, &[out(0x4d1, 8), Store(0xb00f_8063, 1, 11), Intr(true), Ack(0x2b)]);
    run(&mut board, &[out(0xa0, 0x20), out(0x20, 0x20), Intr(true)]);
    run(&mut board, &[Store(0xb001_8004, 2, 0x406), Intr(false), Load(0xb001_8006, 2, 0x18)]);
    run(&mut board, &[Store(0xb001_8004, 2, 6), Intr(true), Store(base + 0x64, 4, 2), Intr(false)]);
    run(&mut board, &[Load(0xb001_8006, 2, 0x10), Eoi(0x44), Messages(&[])]);
}

/// A board with functions is saved and goes on the same.
#[test]
fn a_saved_function_goes_on_the_same() {
    let mut board = board_with_edu(true);
    run(&mut board, &[Store(0xd000_0020, 4, 0x80), Store(0xd000_0008, 4, 5)]);
    let bytes = postcard::to_stdvec(&board).unwrap();
    let mut copy: Board = postcard::from_bytes(&bytes).unwrap();
    assert!(copy == board);
    for board in [&mut board, &mut copy] {
        board.advance(Icount(10_000));
        run(board, &[Load(0xd000_0008, 4, 120), Load(0xd000_0024, 4, 1)]);
    }
    assert!(copy == board);
}
