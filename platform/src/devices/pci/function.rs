//! What a PCI function is to the board, besides its configuration space.

use crate::{
    device::{DmaMemory, IoError},
    time::Icount,
};

use super::{config::ConfigSpace, msix::MsixTable};

/// A PCI function.
///
/// Its configuration space is kept by the bus, which does what all functions have in common: masks,
/// base addresses, the command register, which interrupts leave it and how.
pub trait PciFunction {
    /// The configuration space at reset.
    fn config_space(&self) -> ConfigSpace;

    /// A guest has written the configuration space.
    fn config_written(&mut self, _config: &mut ConfigSpace) {}

    /// Reads `size` bytes at `offset` of the range that base address register `bar` places.
    fn bar_read(
        &mut self,
        _bar: u8,
        _offset: u64,
        _size: u8,
        _now: Icount,
    ) -> Result<u64, IoError> {
        Err(IoError::InvalidRegister)
    }

    /// Writes `size` bytes at `offset` of that range.
    fn bar_write(
        &mut self,
        _bar: u8,
        _offset: u64,
        _size: u8,
        _value: u64,
        _now: Icount,
    ) -> Result<(), IoError> {
        Err(IoError::InvalidRegister)
    }

    /// The function has an interrupt that INTx would signal.
    fn intx(&self) -> bool {
        false
    }

    /// Takes the messages that the function has to signal: a bit for each vector.
    fn take_vectors(&mut self) -> u32 {
        0
    }

    /// The table of MSI-X, if the function has one.
    fn msix_table(&mut self) -> Option<&mut MsixTable> {
        None
    }

    /// The function has memory to move or messages to signal.
    fn wants_bus(&self) -> bool {
        false
    }

    /// Moves what there is to move. Memory is lent for the call.
    fn transfer(&mut self, _memory: &mut dyn DmaMemory, _now: Icount) {}
}
