//! QEMU's firmware configuration: items by number and files by name, which the host gives to firmware and
//! kernels. QEMU's documentation, "QEMU Firmware Configuration (fw_cfg) Device".
//!
//! Offsets: 0 the selector (2 bytes), 1 the data, 4 to 11 the address for transfers, big-endian.
//! A transfer is done at once, before the next instruction of the guest.

use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, DmaMemory, IoError, Masters},
    time::Icount,
};

/// Offset of the first register for transfers.
pub const DMA: u64 = 4;

/// What the address registers read: "QEMU CFG".
const DMA_SIGNATURE: u64 = 0x5145_4d55_2043_4647;
/// The interface: registers, and transfers.
const FEATURES: u32 = 3;

/// Numbers of the items.
mod key {
    pub(super) const SIGNATURE: u16 = 0x00;
    pub(super) const ID: u16 = 0x01;
    pub(super) const RAM_SIZE: u16 = 0x03;
    pub(super) const NOGRAPHIC: u16 = 0x04;
    pub(super) const NB_CPUS: u16 = 0x05;
    pub(super) const MAX_CPUS: u16 = 0x0f;
    pub(super) const FILE_DIR: u16 = 0x19;
    /// The first file.
    pub(super) const FILE_FIRST: u16 = 0x20;
}

/// Bits of a transfer's control word, whose high half is an item's number.
mod control {
    pub(super) const ERROR: u32 = 1;
    pub(super) const READ: u32 = 2;
    pub(super) const SKIP: u32 = 4;
    pub(super) const SELECT: u32 = 8;
    pub(super) const WRITE: u32 = 16;
}

/// Bytes that a transfer moves at most, beyond those of the item, which are zeros: the emulator would
/// have to write them while the guest waits.
const MOST_ZEROS: u64 = 16 << 20;
/// Bytes of a file's name, with the zero at its end.
const NAME_SIZE: usize = 56;

/// A file for the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Name, such as `opt/org.example/answer`.
    pub name: String,
    /// Content of the file.
    pub bytes: Vec<u8>,
}

impl File {
    /// The longest name.
    pub const MOST_NAME: usize = NAME_SIZE - 1;
    /// The most files.
    pub const MOST: usize = 256;
}

/// State of the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwCfg {
    items: Vec<(u16, Vec<u8>)>,
    /// The item that is read.
    selected: u16,
    /// Offset of the next byte in the item.
    at: u64,
    /// Address of a transfer's control structure.
    address: u64,
    /// A transfer has been asked for.
    asked: bool,
}

impl FwCfg {
    /// The items of a machine with `ram` bytes of memory and so many processors; the first
    /// [`File::MOST`] files, in the order of their names.
    #[must_use]
    pub fn new(ram: u64, processors: u8, files: &[File]) -> Self {
        let cpus = u16::from(processors).to_le_bytes();
        let mut items = vec![
            (key::SIGNATURE, b"QEMU".to_vec()),
            (key::ID, FEATURES.to_le_bytes().to_vec()),
            (key::RAM_SIZE, ram.to_le_bytes().to_vec()),
            (key::NOGRAPHIC, vec![1, 0]),
            (key::NB_CPUS, cpus.to_vec()),
            (key::MAX_CPUS, cpus.to_vec()),
        ];
        let mut files: Vec<&File> = files.iter().take(File::MOST).collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        items.push((key::FILE_DIR, directory(&files)));
        let keys = key::FILE_FIRST..;
        items.extend(keys.zip(files).map(|(key, file)| (key, file.bytes.clone())));
        Self { items, selected: 0, at: 0, address: 0, asked: false }
    }

    fn select(&mut self, key: u16) {
        (self.selected, self.at) = (key, 0);
    }

    /// The selected item; one that is not there is empty.
    fn item(&self) -> &[u8] {
        let item = self.items.iter().find(|(key, _)| *key == self.selected);
        item.map_or(&[], |(_, bytes)| bytes)
    }

    /// The bytes of the selected item that are left.
    fn rest(&self) -> &[u8] {
        let item = self.item();
        &item[item.len().min(self.at as usize)..]
    }

    /// The next byte; zeros follow the last.
    fn next_byte(&mut self) -> u8 {
        let byte = self.rest().first().copied().unwrap_or(0);
        self.at = self.at.saturating_add(1);
        byte
    }

    /// Does what a control structure says; `Err` is its error bit.
    fn obey(
        &mut self,
        asked: u32,
        length: u32,
        address: u64,
        memory: &mut dyn DmaMemory,
    ) -> Result<(), IoError> {
        if asked & control::SELECT != 0 {
            self.select((asked >> 16) as u16);
        }
        let length = u64::from(length);
        if asked & control::READ != 0 {
            let bytes = self.rest();
            let bytes = &bytes[..bytes.len().min(length as usize)];
            let zeros = length - bytes.len() as u64;
            if zeros > MOST_ZEROS {
                return Err(IoError::InvalidAccessSize);
            }
            memory.write(address, bytes)?;
            let behind = address.checked_add(bytes.len() as u64).ok_or(IoError::NoResponse)?;
            if zeros > 0 {
                memory.write(behind, &vec![0; zeros as usize])?;
            }
        } else if asked & control::WRITE != 0 {
            // No item can be written.
            return Err(IoError::InvalidRegister);
        }
        if asked & (control::READ | control::SKIP) != 0 {
            self.at = self.at.saturating_add(length);
        }
        Ok(())
    }
}

/// The list of files: their number, then of each its size, its item and its name.
fn directory(files: &[&File]) -> Vec<u8> {
    let mut list = (files.len() as u32).to_be_bytes().to_vec();
    for (key, file) in (key::FILE_FIRST..).zip(files) {
        list.extend((file.bytes.len() as u32).to_be_bytes());
        list.extend(key.to_be_bytes());
        list.extend([0; 2]);
        let mut name = [0; NAME_SIZE];
        let length = file.name.len().min(File::MOST_NAME);
        name[..length].copy_from_slice(&file.name.as_bytes()[..length]);
        list.extend(name);
    }
    list
}

impl Device for FwCfg {
    fn read(&mut self, offset: u64, size: u8, _now: Icount) -> Result<u64, IoError> {
        match (offset, size) {
            (1, 1) => Ok(self.next_byte().into()),
            (DMA.., _) => {
                let bytes = DMA_SIGNATURE.to_be_bytes();
                let at = (offset - DMA) as usize;
                let bytes =
                    bytes.get(at..at + usize::from(size)).ok_or(IoError::InvalidRegister)?;
                Ok(crate::device::little_endian(bytes))
            }
            _ => Err(IoError::InvalidRegister),
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Icount) -> Result<(), IoError> {
        match (offset, size) {
            (0, 2) => self.select(value as u16),
            (DMA, 4) => self.address = u64::from((value as u32).swap_bytes()) << 32,
            (8, 4) => {
                self.address |= u64::from((value as u32).swap_bytes());
                self.asked = true;
            }
            _ => return Err(IoError::InvalidRegister),
        }
        Ok(())
    }
}

impl Masters for FwCfg {
    fn wants_memory(&self) -> bool {
        self.asked
    }

    fn transfer(&mut self, memory: &mut dyn DmaMemory) {
        self.asked = false;
        let at = std::mem::take(&mut self.address);
        let mut structure = [0; 16];
        // Where there is no memory, nobody could be told.
        if memory.read(at, &mut structure).is_err() {
            return;
        }
        let [a, b, c, d] = [0, 4, 8, 12].map(|n| {
            let word = [structure[n], structure[n + 1], structure[n + 2], structure[n + 3]];
            u32::from_be_bytes(word)
        });
        let address = u64::from(c) << 32 | u64::from(d);
        let failed = self.obey(a, b, address, memory).is_err();
        let result = if failed { control::ERROR } else { 0 };
        _ = memory.write(at, &result.to_be_bytes());
    }
}
