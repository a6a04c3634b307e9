//! A domU's COM1: a 16550A whose transmitter is infinitely fast and whose receiver is idle
//! unless input is queued. The interrupt line is a level the caller samples after each access.

use alloc::collections::VecDeque;

/// The first port.
pub const BASE: u16 = 0x3F8;
/// The number of ports.
pub const LEN: u16 = 8;
/// The interrupt pin.
pub const GSI: u32 = 4;

const IER_RX: u8 = 1;
const IER_TX: u8 = 2;
const LCR_DLAB: u8 = 0x80;
const MCR_OUT2: u8 = 8;
const MCR_LOOP: u8 = 0x10;
const LSR_DATA: u8 = 1;
const LSR_EMPTY: u8 = 0x60;
/// Input beyond this many bytes is dropped.
const INPUT_LIMIT: usize = 4096;

/// The UART's registers.
#[derive(Debug, Clone, Default)]
pub struct Vuart {
    ier: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: [u8; 2],
    fifo: bool,
    /// The transmitter-empty interrupt waits to be seen.
    tx_pending: bool,
    input: VecDeque<u8>,
}

impl Vuart {
    /// Queues a byte for the guest to read.
    pub fn push_input(&mut self, byte: u8) {
        if self.input.len() < INPUT_LIMIT {
            self.input.push_back(byte);
        }
    }

    /// The interrupt line.
    pub fn line(&self) -> bool {
        self.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2 && self.cause() != 1
    }

    /// The identification of the most urgent interrupt; 1 is none.
    fn cause(&self) -> u8 {
        if self.ier & IER_RX != 0 && !self.input.is_empty() {
            4
        } else if self.ier & IER_TX != 0 && self.tx_pending {
            2
        } else {
            1
        }
    }

    /// Reads the register at `offset` (0 to 7).
    pub fn read(&mut self, offset: u16) -> u8 {
        let dlab = self.lcr & LCR_DLAB != 0;
        match offset {
            0 | 1 if dlab => self.divisor[offset as usize],
            0 => self.input.pop_front().unwrap_or(0),
            1 => self.ier,
            2 => {
                let cause = self.cause();
                if cause == 2 {
                    self.tx_pending = false;
                }
                cause | if self.fifo { 0xC0 } else { 0 }
            }
            3 => self.lcr,
            4 => self.mcr,
            5 => LSR_EMPTY | if self.input.is_empty() { 0 } else { LSR_DATA },
            6 => self.modem_status(),
            7 => self.scratch,
            _ => 0xFF,
        }
    }

    /// CTS, DSR and DCD are on; in loop mode the outputs feed the inputs.
    fn modem_status(&self) -> u8 {
        if self.mcr & MCR_LOOP == 0 {
            return 0xB0;
        }
        let bit = |from: u8, to: u8| if self.mcr & from != 0 { to } else { 0 };
        bit(2, 0x10) | bit(1, 0x20) | bit(4, 0x40) | bit(8, 0x80)
    }

    /// Writes the register at `offset` (0 to 7); yields a byte that was sent.
    pub fn write(&mut self, offset: u16, value: u8) -> Option<u8> {
        let dlab = self.lcr & LCR_DLAB != 0;
        match offset {
            0 | 1 if dlab => self.divisor[offset as usize] = value,
            0 => {
                self.tx_pending = true;
                if self.mcr & MCR_LOOP == 0 {
                    return Some(value);
                }
                self.push_input(value);
            }
            1 => {
                // Enabling the interrupt while the transmitter is empty raises it.
                self.tx_pending |= value & IER_TX != 0 && self.ier & IER_TX == 0;
                self.ier = value & 0xF;
            }
            2 => {
                self.fifo = value & 1 != 0;
                if value & 2 != 0 {
                    self.input.clear();
                }
            }
            3 => self.lcr = value,
            4 => self.mcr = value & 0x1F,
            7 => self.scratch = value,
            _ => {}
        }
        None
    }
}
