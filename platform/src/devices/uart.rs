//! The 16550A serial port. Bytes the guest sends go to an output queue; bytes for the guest wait in
//! an input queue and enter the receive FIFO as it has room, so that none is ever lost.
//!
//! DEPARTURE: sending takes no time: the transmitter is always empty again at once.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, IoError, Timed},
    output::Output,
    time::{Icount, Rate, Scale},
};

const FIFO_SIZE: usize = 16;
/// Input clock: the baud rate times 16 times the divisor.
const UART_HZ: u64 = 1_843_200;

const IER_RECEIVED: u8 = 1;
const IER_THR_EMPTY: u8 = 2;
const IER_LINE_STATUS: u8 = 4;
const IER_MODEM_STATUS: u8 = 8;
const LCR_DLAB: u8 = 0x80;
const LCR_BREAK: u8 = 0x40;
const LSR_DATA_READY: u8 = 1;
const LSR_OVERRUN: u8 = 2;
const LSR_BREAK: u8 = 0x10;
const LSR_TRANSMITTER_EMPTY: u8 = 0x60;
/// The bits of LSR that raise a line status interrupt and go away when read.
const LSR_ERRORS: u8 = 0x1e;
const MCR_LOOPBACK: u8 = 0x10;
/// The other side is connected and ready: DCD, DSR, CTS.
const MSR_CONNECTED: u8 = 0xb0;

/// One serial port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uart {
    scale: Scale,
    ier: u8,
    fifo_enabled: bool,
    /// Receive FIFO level that raises the interrupt.
    trigger: u8,
    lcr: u8,
    mcr: u8,
    /// Error bits of LSR; the rest is derived.
    lsr: u8,
    /// Modem status lines and their "has changed" bits.
    msr: u8,
    scratch: u8,
    divisor: u16,
    fifo: VecDeque<u8>,
    /// The byte read last, which an empty receiver goes on showing.
    last: u8,
    /// The transmitter has become empty and nobody has been told.
    thr_empty_pending: bool,
    /// Tick of the receiver's last event, for the character timeout.
    touched: u64,
    timed_out: bool,
    input: VecDeque<u8>,
    output: Output,
}

impl Uart {
    /// The port of a machine that runs at `rate`, after reset, connected to a ready peer.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            scale: rate.scale(UART_HZ),
            ier: 0,
            fifo_enabled: false,
            trigger: 1,
            lcr: 0,
            mcr: 0,
            lsr: 0,
            msr: MSR_CONNECTED,
            scratch: 0,
            divisor: 12,
            fifo: VecDeque::new(),
            last: 0,
            thr_empty_pending: false,
            touched: 0,
            timed_out: false,
            input: VecDeque::new(),
            output: Output::default(),
        }
    }

    /// The bytes sent since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.output.take()
    }

    /// Queues bytes for the guest to receive.
    pub fn push_input(&mut self, bytes: &[u8], now: Icount) {
        self.input.extend(bytes);
        self.fill(self.scale.ticks(now));
    }

    /// Receives a break: a null character, if there is room, and the bit in LSR at once, as with QEMU.
    pub fn push_break(&mut self, now: Icount) {
        if self.mcr & MCR_LOOPBACK != 0 {
            return;
        }
        let tick = self.scale.ticks(now);
        self.lsr |= LSR_BREAK;
        if self.fifo.len() < self.capacity() {
            self.fifo.push_back(0);
            self.restart_timeout(tick);
        }
    }

    /// How many bytes wait for room in the receive FIFO.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.input.len()
    }

    /// The level of the interrupt line.
    ///
    /// DEPARTURE: as with QEMU's, OUT2 does not gate it, as it does on a PC's card: there are kernels
    /// (xv6) that do without.
    #[must_use]
    pub fn irq(&self) -> bool {
        self.cause().is_some()
    }

    /// The pending interrupt of highest priority, in the encoding of IIR.
    fn cause(&self) -> Option<u8> {
        let level = self.fifo.len() >= usize::from(self.trigger);
        let received = self.ier & IER_RECEIVED != 0;
        let causes = [
            (self.ier & IER_LINE_STATUS != 0 && self.lsr & LSR_ERRORS != 0, 0x06),
            (received && level, 0x04),
            (received && self.timed_out, 0x0c),
            (self.ier & IER_THR_EMPTY != 0 && self.thr_empty_pending, 0x02),
            (self.ier & IER_MODEM_STATUS != 0 && self.msr & 0x0f != 0, 0x00),
        ];
        causes.into_iter().find_map(|(pending, code)| pending.then_some(code))
    }

    fn capacity(&self) -> usize {
        if self.fifo_enabled { FIFO_SIZE } else { 1 }
    }

    /// Moves queued input into the receiver while there is room.
    fn fill(&mut self, tick: u64) {
        if self.mcr & MCR_LOOPBACK != 0 {
            return;
        }
        while self.fifo.len() < self.capacity() {
            let Some(byte) = self.input.pop_front() else { return };
            self.fifo.push_back(byte);
            self.restart_timeout(tick);
        }
    }

    fn restart_timeout(&mut self, tick: u64) {
        self.touched = tick;
        self.timed_out = false;
    }

    /// The tick of the character timeout: four character times without a transfer.
    fn timeout(&self) -> Option<u64> {
        let waits = self.fifo_enabled && !self.fifo.is_empty() && !self.timed_out;
        let bits = 7 + u64::from(self.lcr & 3) + u64::from(self.lcr >> 2 & 1);
        let bit = 16 * u64::from(self.divisor.max(1));
        waits.then(|| self.touched + 4 * (bits + u64::from(self.lcr >> 3 & 1)) * bit)
    }

    fn receive(&mut self, tick: u64) -> u8 {
        if let Some(byte) = self.fifo.pop_front() {
            self.last = byte;
            self.restart_timeout(tick);
        }
        self.fill(tick);
        self.last
    }

    fn transmit(&mut self, byte: u8, tick: u64) {
        if self.mcr & MCR_LOOPBACK == 0 {
            self.output.push(byte);
        } else if self.fifo.len() < self.capacity() {
            self.fifo.push_back(byte);
            self.restart_timeout(tick);
        } else {
            self.lsr |= LSR_OVERRUN;
            if !self.fifo_enabled {
                self.fifo[0] = byte;
            }
        }
        self.thr_empty_pending = true;
    }

    fn read_iir(&mut self) -> u8 {
        let cause = self.cause();
        if cause == Some(0x02) {
            self.thr_empty_pending = false;
        }
        cause.unwrap_or(1) | if self.fifo_enabled { 0xc0 } else { 0 }
    }

    fn read_lsr(&mut self) -> u8 {
        let ready = if self.fifo.is_empty() { 0 } else { LSR_DATA_READY };
        let errors = std::mem::take(&mut self.lsr);
        errors | ready | LSR_TRANSMITTER_EMPTY
    }

    fn read_msr(&mut self) -> u8 {
        let value = self.msr;
        self.msr &= 0xf0;
        value
    }

    fn set_ier(&mut self, value: u8) {
        let enabled = value & !self.ier;
        self.ier = value & 0x0f;
        // The transmitter is empty: enabling its interrupt raises it.
        self.thr_empty_pending |= enabled & IER_THR_EMPTY != 0;
    }

    fn set_fcr(&mut self, value: u8, tick: u64) {
        let enabled = value & 1 != 0;
        if enabled != self.fifo_enabled || enabled && value & 2 != 0 {
            self.fifo.clear();
            self.timed_out = false;
        }
        self.fifo_enabled = enabled;
        self.trigger = if enabled { [1, 4, 8, 14][usize::from(value >> 6 & 3)] } else { 1 };
        self.fill(tick);
    }

    fn set_lcr(&mut self, value: u8) {
        let break_begins = value & !self.lcr & LCR_BREAK != 0;
        self.lcr = value;
        if break_begins && self.mcr & MCR_LOOPBACK != 0 {
            self.lsr |= LSR_BREAK;
        }
    }

    fn set_mcr(&mut self, value: u8, tick: u64) {
        self.mcr = value & 0x1f;
        let lines = if value & MCR_LOOPBACK == 0 {
            MSR_CONNECTED
        } else {
            // RTS → CTS, DTR → DSR, OUT1 → RI, OUT2 → DCD.
            (value & 2) << 3 | (value & 1) << 5 | (value & 4) << 4 | (value & 8) << 4
        };
        let changed = (lines ^ self.msr) >> 4;
        // RI reports its trailing edge only.
        let ring_ended = changed & 4 != 0 && lines & 0x40 == 0;
        self.msr = lines | self.msr & 0x0f | changed & 0x0b | u8::from(ring_ended) << 2;
        self.fill(tick);
    }
}

impl Device for Uart {
    fn read(&mut self, offset: u64, _size: u8, now: Icount) -> Result<u64, IoError> {
        let [low, high] = self.divisor.to_le_bytes();
        let value = match (offset, self.lcr & LCR_DLAB != 0) {
            (0, true) => low,
            (1, true) => high,
            (0, false) => self.receive(self.scale.ticks(now)),
            (1, false) => self.ier,
            (2, _) => self.read_iir(),
            (3, _) => self.lcr,
            (4, _) => self.mcr,
            (5, _) => self.read_lsr(),
            (6, _) => self.read_msr(),
            _ => self.scratch,
        };
        Ok(value.into())
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, now: Icount) -> Result<(), IoError> {
        let (value, tick) = (value as u8, self.scale.ticks(now));
        match (offset, self.lcr & LCR_DLAB != 0) {
            (0, true) => self.divisor = self.divisor & 0xff00 | u16::from(value),
            (1, true) => self.divisor = self.divisor & 0x00ff | u16::from(value) << 8,
            (0, false) => self.transmit(value, tick),
            (1, false) => self.set_ier(value),
            (2, _) => self.set_fcr(value, tick),
            (3, _) => self.set_lcr(value),
            (4, _) => self.set_mcr(value, tick),
            (7, _) => self.scratch = value,
            // LSR and MSR are read-only.
            _ => return Err(IoError::InvalidRegister),
        }
        Ok(())
    }
}

impl Timed for Uart {
    fn deadline(&self, _now: Icount) -> Option<Icount> {
        let wanted = self.ier & IER_RECEIVED != 0;
        self.timeout().filter(|_| wanted).map(|tick| self.scale.instant(tick))
    }

    fn advance(&mut self, now: Icount) {
        let tick = self.scale.ticks(now);
        self.timed_out |= self.timeout().is_some_and(|due| tick >= due);
    }
}
