//! The configuration mechanism of bus 0: ports CF8h and CFCh, and memory (ECAM).
//!
//! PCI Local Bus Specification 3.0, "Configuration Mechanism #1"; PCI Express Base Specification,
//! "PCI Express Enhanced Configuration Access Mechanism".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    bar::{self, Window},
    config::ConfigSpace,
};
use crate::{
    device::{Device, IoError},
    time::Icount,
};

/// Offset of the configuration space in memory; offsets 0 to 7 are the ports.
pub const ECAM: u64 = 1 << 32;
/// Enable bit of CONFIG_ADDRESS.
const ENABLE: u32 = 1 << 31;
/// Bits of CONFIG_ADDRESS that exist.
const ADDRESS_MASK: u32 = 0x80ff_fffc;

/// Bus, device and function as configuration addresses hold them: 8, 5 and 3 bits.
pub type Bdf = u16;

/// A place in a range that a base address register gives to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Place of the function.
    pub function: Bdf,
    /// The number of its base address register.
    pub bar: u8,
    /// Offset in the register's range.
    pub offset: u64,
}

/// The ranges of all functions as they are decoded now; none when they have to be looked up anew.
/// They follow from the configuration spaces: two buses do not differ by them.
#[derive(Clone, Debug, Default)]
struct Decoded(Option<Vec<(Bdf, u8, Window)>>);

impl PartialEq for Decoded {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Decoded {}

/// The bus: CONFIG_ADDRESS, and the functions' configuration spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciBus {
    address: u32,
    functions: BTreeMap<Bdf, ConfigSpace>,
    #[serde(skip)]
    decoded: Decoded,
    /// The function whose configuration space the last access has written.
    #[serde(skip)]
    written: Option<Bdf>,
}

impl PciBus {
    /// Puts a function on the bus.
    pub fn attach(&mut self, function: Bdf, config: ConfigSpace) {
        self.functions.insert(function, config);
        self.decoded = Decoded(None);
    }

    /// The configuration space of a function.
    #[must_use]
    pub fn config(&self, function: Bdf) -> Option<&ConfigSpace> {
        self.functions.get(&function)
    }

    /// The configuration space of a function, to change.
    pub fn config_mut(&mut self, function: Bdf) -> Option<&mut ConfigSpace> {
        self.functions.get_mut(&function)
    }

    /// The function that has been written since the last call.
    pub fn take_written(&mut self) -> Option<Bdf> {
        self.written.take()
    }

    /// The function that answers to an access of `size` bytes of port or memory space; where ranges
    /// overlap, the first.
    pub fn target(&mut self, ports: bool, address: u64, size: u8) -> Option<Target> {
        self.windows().iter().find_map(|&(function, bar, window)| {
            let offset = address.checked_sub(window.base)?;
            let inside = offset < window.size && window.size - offset >= size.into();
            let fits = inside && window.ports == ports && address.is_multiple_of(size.into());
            fits.then_some(Target { function, bar, offset })
        })
    }

    fn windows(&mut self) -> &[(Bdf, u8, Window)] {
        let functions = &self.functions;
        self.decoded.0.get_or_insert_with(|| {
            let all = functions.iter().flat_map(|(&function, config)| {
                let window = move |bar| Some((function, bar, config.window(bar)?));
                (0..bar::COUNT).filter_map(window)
            });
            all.collect()
        })
    }

    /// The function and register that an access to CONFIG_DATA or to ECAM is for.
    fn selected(&self, offset: u64) -> Result<(Bdf, usize), IoError> {
        if let Some(at) = offset.checked_sub(ECAM) {
            return Ok(((at >> 12) as Bdf, (at & 0xfff) as usize));
        }
        if self.address & ENABLE == 0 {
            return Err(IoError::NoResponse);
        }
        let register = (self.address & 0xfc) as usize + offset as usize - 4;
        Ok(((self.address >> 8) as Bdf, register))
    }
}

impl Device for PciBus {
    fn read(&mut self, offset: u64, size: u8, _now: Icount) -> Result<u64, IoError> {
        match (offset, size) {
            (0, 4) => Ok(self.address.into()),
            // CONFIG_ADDRESS answers to doublewords only.
            (0..=3, _) => Err(IoError::InvalidAccessSize),
            _ => {
                let (function, register) = self.selected(offset)?;
                self.config(function).ok_or(IoError::NoResponse)?.read(register, size)
            }
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        match (offset, size) {
            (0, 4) => self.address = value as u32 & ADDRESS_MASK,
            (0..=3, _) => return Err(IoError::InvalidAccessSize),
            _ => {
                let (function, register) = self.selected(offset)?;
                let config = self.config_mut(function).ok_or(IoError::NoResponse)?;
                config.write(register, size, value);
                self.written = Some(function);
                self.decoded = Decoded(None);
            }
        }
        Ok(())
    }
}
