//! Which blocks a guest runs, and how often: where it is each so many instructions.

use anyhow::{Context, Result, bail};
use cpu::CodeMode;
use cpu::limits::{MAX_BLOCK, MAX_LEN};
use iced_x86::{Decoder, DecoderOptions};
use platform::boot::{BootFile, BootModule};
use platform::machine::{Boot, Config, Machine, MachineStop};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A guest that powers off when its work is done.
#[derive(Debug, clap::Args)]
pub struct Guest {
    /// The kernel to run
    #[arg(long)]
    kernel: PathBuf,
    /// The initial ramdisk, or multiboot modules as with QEMU: "FILE WORDS,FILE WORDS"
    #[arg(long, value_delimiter = ',')]
    initrd: Vec<String>,
    /// The kernel's command line
    #[arg(long, default_value = "console=ttyS0 panic=-1")]
    append: String,
    /// Memory in MiB
    #[arg(short, default_value_t = 512)]
    memory: u64,
    /// The CPU model
    #[arg(long, default_value = "default")]
    cpu: String,
}

/// Where a block begins: enough to decode the block.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Begin {
    /// Page offset.
    pub po: u16,
    /// 16-, 32- or 64-bit code.
    pub mode: CodeMode,
    /// The bytes of the code.
    pub bytes: Vec<u8>,
}

/// Blocks, each with the number of times that it was met.
pub type Blocks = BTreeMap<Begin, u64>;

impl Guest {
    /// Runs the guest to its end; the block that it enters next after each `period` instructions (not 0).
    /// Fails if that end is a triple fault, or a halt that nothing ends.
    pub fn blocks(&self, period: u64) -> Result<Blocks> {
        let mut machine = self.boot()?;
        let mut blocks = Blocks::new();
        let mut retired = 0;
        loop {
            match machine.run(period) {
                MachineStop::Budget => {}
                MachineStop::TripleFault(report) => bail!("the guest failed: {report}"),
                MachineStop::Idle => bail!("the guest halts, and nothing can ever wake it"),
                _ => return Ok(blocks),
            }
            machine.serial_output(0);
            // Time passes for a halted processor too.
            let halted = machine.retired() == retired;
            retired = machine.retired();
            if !halted && let Some(begin) = next_block(&mut machine) {
                *blocks.entry(begin).or_default() += 1;
            }
        }
    }

    fn boot(&self) -> Result<Machine> {
        let config = Config {
            ram: self.memory.saturating_mul(1 << 20),
            cpu_model: self.cpu.clone(),
            ..Config::default()
        };
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        let kernel = read(&self.kernel)?;
        let parts = self.initrd.iter().map(|text| text.split_once(' ').unwrap_or((text, "")));
        let contents: Vec<_> = parts
            .map(|(path, words)| anyhow::Ok((path, read(Path::new(path))?, words)))
            .collect::<Result<_>>()?;
        let modules: Vec<_> = contents
            .iter()
            .map(|(name, bytes, cmdline)| BootModule { file: BootFile { name, bytes }, cmdline })
            .collect();
        let (kernel, cmdline) = (BootFile { name: "kernel", bytes: &kernel }, &self.append);
        let mut machine = Machine::new(&config)?;
        machine.boot(&Boot { kernel, modules: &modules, cmdline })?;
        Ok(machine)
    }
}

/// Goes on to the next jump or interrupt, and says what block begins there.
fn next_block(machine: &mut Machine) -> Option<Begin> {
    for _ in 0..MAX_BLOCK {
        let after = after_next(machine)?;
        if machine.run(1) != MachineStop::Budget {
            return None;
        }
        if place(machine).0 != after {
            break;
        }
    }
    let (_, mode) = place(machine);
    let (at, bytes) = machine.ahead((MAX_BLOCK + 1) * MAX_LEN);
    (!bytes.is_empty()).then_some(Begin { po: at.0 as u16 & 0xfff, mode, bytes })
}

/// The instruction pointer and the mode.
fn place(machine: &Machine) -> (u64, CodeMode) {
    machine.processors().next().map_or((0, CodeMode::Bits64), |cpu| (cpu.state.rip, cpu.mode()))
}

/// The address after the next instruction.
fn after_next(machine: &mut Machine) -> Option<u64> {
    let (rip, mode) = place(machine);
    let (_, bytes) = machine.ahead(MAX_LEN);
    let bits = match mode {
        CodeMode::Bits16 => 16,
        CodeMode::Bits32 | CodeMode::Flat32 => 32,
        CodeMode::Bits64 => 64,
    };
    let mut decoder = Decoder::with_ip(bits, &bytes, rip, DecoderOptions::NONE);
    decoder.can_decode().then(|| decoder.decode().next_ip())
}
