//! Boots a kernel with the library: `boot KERNEL [INITRD] [COMMAND LINE]`. What the guest sends to COM1
//! goes to standard output, why it ended to standard error. Ctrl-C stops it.
#![expect(clippy::print_stderr, reason = "a program")]

use platform::boot::{BootFile, BootModule};
use platform::machine::{Boot, Config, Machine, MachineStop};
use std::io::Write;

/// Instructions between two looks at what the guest has sent.
const SLICE: u64 = 4_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().ok_or("usage: boot KERNEL [INITRD] [COMMAND LINE]")?;
    let kernel = std::fs::read(name)?;
    let kernel = BootFile { name, bytes: &kernel };
    let initrd = args.get(1).map(std::fs::read).transpose()?;
    let module = |bytes| BootModule { file: BootFile { name: "initrd", bytes }, cmdline: "" };
    let modules: Vec<_> = initrd.iter().map(|bytes| module(bytes)).collect();
    let cmdline = args.get(2).map_or("console=ttyS0", String::as_str);

    let mut machine = Machine::new(&Config { ram: 512 << 20, ..Config::default() })?;
    machine.boot(&Boot { kernel, modules: &modules, cmdline })?;
    let stop = loop {
        let stop = machine.run(SLICE);
        std::io::stdout().write_all(&machine.serial_output(0))?;
        if stop != MachineStop::Budget {
            break stop;
        }
    };
    eprintln!("{stop:?} after {} instructions", machine.retired());
    Ok(())
}
