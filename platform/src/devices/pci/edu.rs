//! QEMU's `edu`: a PCI function to learn driving functions with. It computes factorials, moves memory
//! to and from a buffer of its own, and interrupts. QEMU's documentation, "EDU device".
//!
//! Base address register 0 places 1 MiB of registers. Interrupts are signalled by INTx or by the
//! one message of MSI. With `msix=on`, which QEMU's has not, base address register 2 (64-bit) places
//! the table of MSI-X: vector 1 tells of the end of a transfer, vector 0 of everything else.
//!
//! A factorial takes 10 µs and a transfer 100 µs; the documentation says nothing of either.

use serde::{Deserialize, Serialize};

use super::{
    bar::Bar,
    config::{BUS_MASTER, ConfigSpace, INTX_DISABLE, MEMORY_SPACE, Register},
    function::PciFunction,
    msix::{self, MsixTable},
};
use crate::{
    device::{DmaMemory, IoError, Timed},
    time::{Icount, Rate, Scale},
};

#[rustfmt::skip]
const REGISTERS: &[Register] = &[
    (0x00, 4, 0x11e8_1234, 0),          // vendor, device
    (0x04, 2, 0, (MEMORY_SPACE | BUS_MASTER | INTX_DISABLE) as u32),
    (0x08, 4, 0x00ff_0010, 0),          // class: none of the defined ones; revision
    (0x2c, 4, 0x1100_1af4, 0),          // subsystem, as QEMU's functions have it
    (0x3c, 1, 0, 0xff),                 // interrupt line
    (0x3d, 1, 1, 0),                    // interrupt pin: INTA
];

/// Base address register of the registers, and their size.
const REGISTER_BAR: u8 = 0;
const REGISTER_SIZE: u32 = 1 << 20;
/// Base address register of the table of MSI-X.
const TABLE_BAR: u8 = 2;
/// Vectors of MSI-X.
const VECTORS: usize = 2;

/// Identification: version 1.0.
const IDENTIFICATION: u32 = 0x0100_00ed;
/// Status: a factorial is being computed.
const COMPUTING: u32 = 1 << 0;
/// Status: the end of a computation interrupts.
const INTERRUPT_AFTER: u32 = 1 << 7;
/// What the end of a computation is in the interrupt status.
const COMPUTED: u32 = 1;
/// What the end of a transfer is in the interrupt status.
const TRANSFERRED: u32 = 0x100;
/// DMA command: start, and still running.
const RUN: u32 = 1 << 0;
/// DMA command: from the buffer to memory, not from memory to the buffer.
const TO_MEMORY: u32 = 1 << 1;
/// DMA command: the end interrupts.
const INTERRUPT: u32 = 1 << 2;

/// The buffer's address for transfers, and its size.
const BUFFER: u64 = 0x4_0000;
const BUFFER_SIZE: usize = 4096;
/// The address bits of memory that transfers reach.
const DMA_MASK: u64 = (1 << 28) - 1;

/// Ticks of the clock for what takes time: microseconds.
const CLOCK_HZ: u64 = 1_000_000;
const FACTORIAL_TIME: u64 = 10;
const TRANSFER_TIME: u64 = 100;

/// The registers of a transfer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Transfer {
    source: u64,
    destination: u64,
    count: u64,
    command: u32,
    /// The end, while it lies ahead.
    due: Option<Icount>,
}

/// The function with its registers and buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edu {
    scale: Scale,
    liveness: u32,
    factorial: u32,
    status: u32,
    /// The end of the computation.
    computed: Option<Icount>,
    interrupts: u32,
    /// Vectors to signal: [`MsixTable`]'s numbers.
    vectors: u32,
    transfer: Transfer,
    buffer: Vec<u8>,
    msix: Option<MsixTable>,
}

impl Edu {
    /// The function in a machine that runs at `rate`, with MSI-X or without.
    #[must_use]
    pub fn new(rate: Rate, msix: bool) -> Self {
        Self {
            scale: rate.scale(CLOCK_HZ),
            liveness: 0,
            factorial: 0,
            status: 0,
            computed: None,
            interrupts: 0,
            vectors: 0,
            transfer: Transfer::default(),
            buffer: vec![0; BUFFER_SIZE],
            msix: msix.then(|| MsixTable::new(VECTORS)),
        }
    }

    /// The instant `microseconds` after `now`.
    fn after(&self, now: Icount, microseconds: u64) -> Icount {
        self.scale.instant(self.scale.ticks(now).saturating_add(microseconds))
    }

    fn raise(&mut self, interrupts: u32) {
        self.interrupts |= interrupts;
        if self.interrupts != 0 {
            self.vectors |= if interrupts == TRANSFERRED { 1 << 1 } else { 1 << 0 };
        }
    }

    fn register(&self, offset: u64) -> Result<u64, IoError> {
        match offset {
            0x00 => Ok(IDENTIFICATION.into()),
            0x04 => Ok((!self.liveness).into()),
            0x08 => Ok(self.factorial.into()),
            0x20 => Ok(self.status.into()),
            0x24 => Ok(self.interrupts.into()),
            0x80 => Ok(self.transfer.source),
            0x88 => Ok(self.transfer.destination),
            0x90 => Ok(self.transfer.count),
            0x98 => Ok(self.transfer.command.into()),
            _ => Err(IoError::InvalidRegister),
        }
    }

    fn set_register(&mut self, offset: u64, value: u64, now: Icount) -> Result<(), IoError> {
        match offset {
            0x04 => self.liveness = value as u32,
            0x08 if self.computed.is_none() => self.compute(value as u32, now),
            0x20 => self.status = self.status & COMPUTING | value as u32 & INTERRUPT_AFTER,
            0x60 => self.raise(value as u32),
            0x64 => self.interrupts &= !value as u32,
            // What is under way is not disturbed.
            0x08 => {}
            0x80 | 0x88 | 0x90 | 0x98 if self.transfer.command & RUN != 0 => {}
            0x80 => self.transfer.source = value,
            0x88 => self.transfer.destination = value,
            0x90 => self.transfer.count = value,
            0x98 => self.command(value as u32, now),
            _ => return Err(IoError::InvalidRegister),
        }
        Ok(())
    }

    fn compute(&mut self, number: u32, now: Icount) {
        self.factorial = number;
        self.status |= COMPUTING;
        self.computed = Some(self.after(now, FACTORIAL_TIME));
    }

    fn command(&mut self, command: u32, now: Icount) {
        self.transfer.command = command & (RUN | TO_MEMORY | INTERRUPT);
        if command & RUN != 0 {
            self.transfer.due = Some(self.after(now, TRANSFER_TIME));
        }
    }

    /// The transfer's time has passed and it waits for memory.
    fn ready(&self) -> bool {
        self.transfer.command & RUN != 0 && self.transfer.due.is_none()
    }

    /// Moves the bytes. What is not all inside the buffer, or not all memory, is not moved.
    fn carry(&mut self, memory: &mut dyn DmaMemory) -> Result<(), IoError> {
        let Transfer { source, destination, count, command, .. } = self.transfer;
        let to_memory = command & TO_MEMORY != 0;
        let (inside, outside) =
            if to_memory { (source, destination) } else { (destination, source) };
        let from = inside.checked_sub(BUFFER).ok_or(IoError::InvalidRegister)?;
        let end = from.checked_add(count).ok_or(IoError::InvalidRegister)?;
        let range = from.min(usize::MAX as u64) as usize..end.min(usize::MAX as u64) as usize;
        let bytes = self.buffer.get_mut(range).ok_or(IoError::InvalidRegister)?;
        if to_memory {
            memory.write(outside & DMA_MASK, bytes)
        } else {
            memory.read(outside & DMA_MASK, bytes)
        }
    }
}

/// `number!`, as far as 32 bits hold it. From 34! on they are all 0.
fn factorial(number: u32) -> u32 {
    (1..=number.min(34)).fold(1, u32::wrapping_mul)
}

impl Timed for Edu {
    fn deadline(&self, now: Icount) -> Option<Icount> {
        [self.computed, self.transfer.due].into_iter().flatten().min().filter(|&due| due > now)
    }

    fn advance(&mut self, now: Icount) {
        if self.computed.is_some_and(|due| due <= now) {
            self.computed = None;
            self.factorial = factorial(self.factorial);
            self.status &= !COMPUTING;
            if self.status & INTERRUPT_AFTER != 0 {
                self.raise(COMPUTED);
            }
        }
        self.transfer.due = self.transfer.due.filter(|&due| due > now);
    }
}

impl PciFunction for Edu {
    fn config_space(&self) -> ConfigSpace {
        let mut config = ConfigSpace::new(REGISTERS);
        config.add_bar(REGISTER_BAR, Bar::Memory32(REGISTER_SIZE));
        config.add_msi();
        if self.msix.is_some() {
            config.add_bar(TABLE_BAR, Bar::Memory64(msix::SIZE));
            config.add_msix(VECTORS as u16, TABLE_BAR);
        }
        config
    }

    /// Doublewords below 80h, doublewords and quadwords from there on.
    fn bar_read(&mut self, bar: u8, offset: u64, size: u8, _now: Icount) -> Result<u64, IoError> {
        match (bar, size, &self.msix) {
            (TABLE_BAR, _, Some(table)) => table.read(offset, size),
            (REGISTER_BAR, 4, _) => self.register(offset),
            (REGISTER_BAR, 8, _) if offset >= 0x80 => self.register(offset),
            _ => Err(IoError::InvalidAccessSize),
        }
    }

    fn bar_write(
        &mut self,
        bar: u8,
        offset: u64,
        size: u8,
        value: u64,
        now: Icount,
    ) -> Result<(), IoError> {
        match (bar, size, &mut self.msix) {
            (TABLE_BAR, _, Some(table)) => table.write(offset, size, value),
            (REGISTER_BAR, 4, _) => self.set_register(offset, value, now),
            (REGISTER_BAR, 8, _) if offset >= 0x80 => self.set_register(offset, value, now),
            _ => Err(IoError::InvalidAccessSize),
        }
    }

    fn intx(&self) -> bool {
        self.interrupts != 0
    }

    fn take_vectors(&mut self) -> u32 {
        std::mem::take(&mut self.vectors)
    }

    fn msix_table(&mut self) -> Option<&mut MsixTable> {
        self.msix.as_mut()
    }

    fn wants_bus(&self) -> bool {
        self.ready() || self.vectors != 0 || self.msix.as_ref().is_some_and(MsixTable::wants_bus)
    }

    fn transfer(&mut self, memory: &mut dyn DmaMemory, _now: Icount) {
        if !self.ready() {
            return;
        }
        // A driver is told of the end, not of what came of the transfer: there is no such bit.
        _ = self.carry(memory);
        self.transfer.command &= !RUN;
        if self.transfer.command & INTERRUPT != 0 {
            self.raise(TRANSFERRED);
        }
    }
}
