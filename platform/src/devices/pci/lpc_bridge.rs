//! The bridge to ISA at 1F.0, as an ICH9's LPC interface, and its routing of PCI interrupts.
//!
//! Data sheet of the ICH9, "LPC Interface Bridge Registers".

use serde::{Deserialize, Serialize};

use super::{
    config::{ConfigSpace, Register},
    function::PciFunction,
};

/// The number of PIRQ lines, A to H.
pub const PIRQS: u8 = 8;
/// Offsets of the routing registers of the eight lines.
const ROUTES: [u8; PIRQS as usize] = [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b];
/// A routing register: the line is not routed to an ISA interrupt.
const NOT_ROUTED: u8 = 1 << 7;

#[rustfmt::skip]
const REGISTERS: &[Register] = &[
    (0x00, 4, 0x2918_8086, 0),          // vendor, device: ICH9 LPC interface controller
    (0x04, 2, 0x0007, 0),               // command: I/O, memory, bus master
    (0x08, 4, 0x0601_0002, 0),          // class: ISA bridge
    (0x40, 4, 0x0000_0601, 0),          // PMBASE
    (0x44, 1, 0x80, 0),                 // ACPI_CNTL: enabled, SCI on IRQ9
    (0x60, 4, 0x8080_8080, 0x8f8f_8f8f),// PIRQA–D: not routed to ISA
    (0x68, 4, 0x8080_8080, 0x8f8f_8f8f),// PIRQE–H
];

/// The bridge. All of its state is in its configuration space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LpcBridge;

impl PciFunction for LpcBridge {
    fn config_space(&self) -> ConfigSpace {
        ConfigSpace::new(REGISTERS)
    }
}

/// The ISA interrupt lines to which the asserted PIRQ lines (bit 0: A) lead.
#[must_use]
pub fn isa_lines(config: &ConfigSpace, pirqs: u8) -> u16 {
    let asserted = ROUTES.iter().enumerate().filter(|(line, _)| pirqs >> line & 1 != 0);
    let routes = asserted.map(|(_, &register)| config.byte(register));
    routes
        .filter(|route| route & NOT_ROUTED == 0)
        .fold(0, |lines, route| lines | 1 << (route & 0xf))
}
