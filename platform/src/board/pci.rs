//! PCI on the board: what follows from a write of configuration space, interrupts by line and by
//! message, and bus mastering.

use std::mem;

use super::{
    Board,
    table::{self, FUNCTIONS, LPC_BRIDGE},
};
use crate::{
    device::{DmaMemory, InterruptMessage, IoError},
    devices::{
        fsb::Fsb,
        pci::{
            bus::Bdf,
            config::{BUS_MASTER, ConfigSpace},
            function::PciFunction,
            lpc_bridge::{self, PIRQS},
        },
    },
};

/// The bus as a function masters it: memory, and the interrupt messages that part of the address
/// space is. An IOMMU would translate here, by function.
struct Mastered<'a> {
    memory: &'a mut dyn DmaMemory,
    fsb: &'a mut Fsb,
    /// The function may be a bus master.
    enabled: bool,
}

impl DmaMemory for Mastered<'_> {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), IoError> {
        if !self.enabled {
            return Err(IoError::NoResponse);
        }
        self.memory.read(address, bytes)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), IoError> {
        if !self.enabled {
            return Err(IoError::NoResponse);
        }
        let message = <[u8; 4]>::try_from(bytes)
            .ok()
            .and_then(|data| InterruptMessage::decode(address, u32::from_le_bytes(data)));
        match message {
            Some(message) => {
                self.fsb.send(message);
                Ok(())
            }
            None => self.memory.write(address, bytes),
        }
    }
}

/// Signals what waits to be signalled, by the kind of message that the guest has enabled. A message
/// is a posted write: nobody looks whether it has arrived.
fn signal(function: &mut dyn PciFunction, config: &ConfigSpace, bus: &mut Mastered<'_>) {
    let vectors = function.take_vectors();
    let by_table = config.msix_control().zip(function.msix_table());
    let enabled = by_table.as_ref().is_some_and(|(control, _)| control.enabled);
    let mut messages =
        by_table.map(|(control, table)| table.deliver(vectors, control)).unwrap_or_default();
    if !enabled && vectors != 0 {
        messages.extend(config.msi_message());
    }
    for message in messages {
        _ = bus.write(message.address, &message.data.to_le_bytes());
    }
}

/// The PIRQ line (0: A) to which a pin of a function leads: rotated by the device number.
fn pirq(place: Bdf, pin: u8) -> u8 {
    (((place >> 3) as u8).wrapping_add(pin)) % PIRQS
}

impl Board {
    /// A device is about to move memory, or to signal by a message.
    #[must_use]
    pub fn wants_memory(&self) -> bool {
        self.devices.want_bus()
    }

    /// Lends memory to the functions and devices that want it, one after the other.
    pub fn lend_memory(&mut self, memory: &mut dyn DmaMemory) {
        let pci = mem::take(&mut self.devices.pci);
        let mut fsb = mem::take(&mut self.devices.fsb);
        for &(id, place) in FUNCTIONS {
            let function = self.devices.function(id).filter(|function| function.wants_bus());
            if let (Some(function), Some(config)) = (function, pci.config(place)) {
                let enabled = config.command() & BUS_MASTER != 0;
                let mut bus = Mastered { memory, fsb: &mut fsb, enabled };
                function.transfer(&mut bus, self.now);
                signal(function, config, &mut bus);
            }
        }
        self.devices.pci = pci;
        self.devices.fsb = fsb;
        let masters = self.devices.masters();
        masters.filter(|device| device.wants_memory()).for_each(|device| device.transfer(memory));
        self.settle();
    }

    /// The functions that want to assert their INTx, as a bit for each of [`FUNCTIONS`], with their
    /// places.
    fn intx_requests(&self) -> impl Iterator<Item = Bdf> {
        let requests = self.devices.intx_requests();
        let all = FUNCTIONS.iter().enumerate();
        all.filter(move |(bit, _)| requests >> bit & 1 != 0).map(|(_, &(_, place))| place)
    }

    /// The levels of the PIRQ lines, A in bit 0.
    pub(super) fn pirq_lines(&self) -> u8 {
        self.intx_requests().fold(0, |lines, place| {
            let config = self.devices.pci.config(place).filter(|config| config.signals_intx());
            let pin = config.and_then(ConfigSpace::interrupt_pin);
            lines | pin.map_or(0, |pin| 1 << pirq(place, pin))
        })
    }

    /// The ISA lines to which PIRQ lines are routed.
    pub(super) fn routed_to_isa(&self, pirqs: u8) -> u16 {
        if pirqs == 0 {
            return 0;
        }
        let bridge = self.devices.pci.config(LPC_BRIDGE);
        bridge.map_or(0, |config| lpc_bridge::isa_lines(config, pirqs))
    }

    /// Shows in the status registers which functions want to assert their INTx.
    pub(super) fn show_interrupts(&mut self) {
        let requests = self.devices.intx_requests();
        for (bit, &(_, place)) in FUNCTIONS.iter().enumerate() {
            if let Some(config) = self.devices.pci.config_mut(place) {
                config.set_interrupt_status(requests >> bit & 1 != 0);
            }
        }
    }

    /// What follows from an access to configuration space.
    pub(super) fn configured(&mut self) {
        let Some(place) = self.devices.pci.take_written() else { return };
        let mut pci = mem::take(&mut self.devices.pci);
        let function = table::function_at(place).and_then(|id| self.devices.function(id));
        if let (Some(function), Some(config)) = (function, pci.config_mut(place)) {
            function.config_written(config);
            if let Some(table) = function.msix_table() {
                table.look_again();
            }
        }
        self.devices.pci = pci;
        self.sample(false);
    }
}
