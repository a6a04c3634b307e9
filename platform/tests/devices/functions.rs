//! PCI functions on their bus: base addresses that guests size and move, capabilities, MSI-X.

use platform::{
    device::{Device, InterruptMessage, IoError},
    devices::pci::{
        bar::Bar,
        bus::{ECAM, PciBus, Target},
        config::ConfigSpace,
        msi::Message,
        msix::{Control, MsixTable},
    },
    time::Icount,
};

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
