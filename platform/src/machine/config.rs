//! What a machine is made of and booted from, and why it cannot be.

pub use crate::board::OptionalDevice;
use crate::board::{Board, BoardConfig};
use crate::boot::{BootError, BootFile, BootModule, MemoryError};
pub use crate::devices::fw_cfg::File as FwCfgFile;
use crate::devices::rtc;
use crate::memory_map::MemoryMap;
use cpu::CodeCache;
pub use cpu::state::trace::Items as TraceItems;
use serde::{Deserialize, Serialize};

/// How decoded code is cut and kept: a matter of speed only, no guest can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeOptions {
    /// Longest block in instructions, 1 to [`CodeOptions::MAX_BLOCK`].
    pub block: usize,
    /// Operations that the cache holds, 32 bytes each, from 1.
    pub cache: usize,
    /// Whether one handler may do several instructions.
    pub fuse: bool,
}

impl CodeOptions {
    /// The longest block there is.
    pub const MAX_BLOCK: usize = cpu::limits::MAX_BLOCK;

    /// An empty cache with these options.
    pub(super) fn cache(self) -> CodeCache {
        let mut code = CodeCache::new(self.cache);
        code.max_block = self.block.clamp(1, CodeOptions::MAX_BLOCK);
        code.fuse = self.fuse;
        code
    }
}

impl Default for CodeOptions {
    fn default() -> CodeOptions {
        CodeOptions { block: CodeOptions::MAX_BLOCK, cache: 2 << 20, fuse: true }
    }
}

/// What a machine is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Bytes of memory.
    pub ram: u64,
    /// Processors, 1 to 255.
    pub vcpus: u32,
    /// Name of the CPU model.
    pub cpu_model: String,
    /// IA32_FEATURE_CONTROL stays as after reset, for programs that test it; else VMX is on and locked.
    pub vmx_unlocked: bool,
    /// The optional devices; of each kind the first counts.
    pub devices: Vec<OptionalDevice>,
    /// The files of `fw_cfg`, if it is one of the devices.
    pub fw_cfg: Vec<FwCfgFile>,
    /// What the clock shows at power-on: seconds since 1970, UTC.
    pub clock: u64,
    /// What is written down for [`super::Machine::take_trace`]; no part of a saved machine.
    #[serde(skip)]
    pub trace: TraceItems,
    /// How decoded code is cut and kept; no part of a saved machine.
    #[serde(skip)]
    pub code: CodeOptions,
}

impl Default for Config {
    /// One processor of the default model, 128 MiB, no optional devices, no trace.
    fn default() -> Config {
        Config {
            ram: 128 << 20,
            vcpus: 1,
            cpu_model: "default".into(),
            vmx_unlocked: false,
            devices: Vec::new(),
            fw_cfg: Vec::new(),
            clock: rtc::DEFAULT_START,
            trace: TraceItems::default(),
            code: CodeOptions::default(),
        }
    }
}

impl Config {
    /// The board of a machine with memory by `map`.
    pub(super) fn board(&self, map: &MemoryMap) -> Board {
        Board::new(&self.wiring(map))
    }

    /// What the board of a machine with memory by `map` is built from.
    fn wiring(&self, map: &MemoryMap) -> BoardConfig {
        BoardConfig {
            low_memory: map.acpi_base(),
            high_memory: map.high,
            processors: self.vcpus as u8,
            devices: self.devices.clone(),
            ram: self.ram,
            files: self.fw_cfg.clone(),
            start: self.clock,
            ..BoardConfig::default()
        }
    }

    /// Refuses devices that would answer at one address.
    pub(super) fn check_devices(&self, map: &MemoryMap) -> Result<(), Error> {
        self.wiring(map).clash().map_or(Ok(()), |clash| Err(Error::Devices(clash)))
    }
}

/// Files and texts to be booted.
pub struct Boot<'a> {
    /// File of the kernel.
    pub kernel: BootFile<'a>,
    /// Modules; for Linux its initial ramdisk.
    pub modules: &'a [BootModule<'a>],
    /// The kernel's command line.
    pub cmdline: &'a str,
}

/// Why a machine cannot be made or booted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no such memory.
    #[error("memory: {0}")]
    Ram(#[from] mmu::RamError),
    /// The number of processors is out of range.
    #[error("{0} processors; accepted are 1 to 255")]
    Vcpus(u32),
    /// There is no such CPU model or feature.
    #[error("{0}")]
    CpuModel(String),
    /// Two devices would answer at one address.
    #[error("{0}; accepted are addresses of a device's own")]
    Devices(String),
    /// The image cannot be booted.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// What is to be restored is no machine that could have been saved.
    #[error("the saved state contradicts itself")]
    Saved,
    /// The tables do not fit into memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}
