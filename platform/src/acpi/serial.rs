//! The tables that tell of COM1: where the console may go, and where a debugger finds a port.
//!
//! Microsoft, "Serial Port Console Redirection Table" (revision 2) and "Debug Port Table 2".

use crate::board::COM;

use super::port_address;

/// Interface: a 16550 in port space.
const SERIAL: u16 = 0x8000;
const UART_16550: u16 = 0;
/// The name of COM1 in the DSDT.
const NAME: &[u8] = b"\\_SB.PCI0.ISA.COM1\0";
/// Bytes of a device's entry before its address.
const ENTRY_HEAD: usize = 22;
const ADDRESS_SIZE: usize = 12;
/// Offset of the first device's entry: behind the common header and two fields.
const FIRST_ENTRY: u32 = 36 + 8;

/// Where COM1's registers are.
fn address() -> Vec<u8> {
    port_address(COM[0].0, 8, 1)
}

/// The body of SPCR: COM1 by the 8259s and the I/O APIC, 115200 baud, no parity, one stop bit, ANSI.
pub(super) fn redirection() -> Vec<u8> {
    let irq = COM[0].1;
    let mut body = [&[0; 4][..], &address(), &[3, irq]].concat();
    body.extend(u32::from(irq).to_le_bytes());
    body.extend([7, 0, 1, 0, 3, 0]);
    // No PCI device.
    body.extend([0xff; 4]);
    body.extend([0; 12]);
    body
}

/// The body of DBG2: one device, COM1.
pub(super) fn debug_port() -> Vec<u8> {
    let (size_at, name_at) = (ENTRY_HEAD + ADDRESS_SIZE, ENTRY_HEAD + ADDRESS_SIZE + 4);
    let length = name_at + NAME.len();
    let half = |value: usize| (value as u16).to_le_bytes();
    let mut body = [FIRST_ENTRY.to_le_bytes(), 1u32.to_le_bytes()].concat();
    body.push(0);
    body.extend(half(length));
    body.push(1);
    for value in [NAME.len(), name_at, 0, 0, SERIAL.into(), UART_16550.into(), 0] {
        body.extend(half(value));
    }
    body.extend([half(ENTRY_HEAD), half(size_at)].concat());
    body.extend(address());
    body.extend(8u32.to_le_bytes());
    body.extend(NAME);
    body
}
