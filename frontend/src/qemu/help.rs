//! What scripts ask QEMU for, in the form in which they read it.

use super::{FLAGS, Meaning, cpu};
use crate::values::{DEVICES, Device};

/// What QEMU traces and Strata does not.
pub(crate) const QEMU_ONLY: &[&str] = &[
    "all",
    "cpu",
    "cpu_reset",
    "fpu",
    "guest_errors",
    "invalid_mem",
    "ioport",
    "mmu",
    "nochain",
    "op",
    "op_ind",
    "op_opt",
    "op_plugin",
    "out_asm",
    "page",
    "pcall",
    "plugin",
    "strace",
    "tid",
    "unimp",
    "vpu",
];

/// The version, in QEMU's form: its interface is that of this version of QEMU.
pub(crate) fn version() -> String {
    format!("QEMU emulator version 8.2.0 (Strata {})", env!("CARGO_PKG_VERSION"))
}

/// The help, whose first line is the version.
pub(crate) fn help() -> String {
    let mut out = version()
        + "\nusage: qemu-system-x86_64 [options]\n\n\
        Strata as QEMU. These options have an effect, see strata run --help; the others of QEMU are accepted \
        where nothing depends on them, and refused with a reason where something does.\n\n";
    for flag in FLAGS.iter().filter(|flag| flag.meaning == Meaning::Known) {
        out += &format!("-{}{}\n", flag.name, if flag.value { " VALUE" } else { "" });
    }
    out
}

/// What a flag takes, as a list for `-flag help`.
pub(crate) fn list(name: &str, lenient: bool) -> Option<String> {
    let lines = |title: &str, lines: &[&str]| format!("{title}\n{}\n", lines.join("\n"));
    Some(match name {
        "device" => {
            let device = |row: &Device| {
                format!("name \"{}\", bus {}, desc \"{}\"\n", row.name, row.bus, row.what)
            };
            format!("Misc devices:\n{}", DEVICES.iter().map(device).collect::<String>())
        }
        "machine" | "M" => {
            let machines = [
                "pc                   Strata's PC (alias of q35)",
                "q35                  Strata's PC: Q35 and ICH9 (default)",
            ];
            lines("Supported machines are:", &machines)
        }
        "accel" => {
            lines("Accelerators supported in QEMU binary:", &["tcg", "strata", "interpreter"])
        }
        "cpu" if lenient => cpu::help(),
        "cpu" => platform::machine::cpu_help(),
        "chardev" => lines(
            "Available chardev backend types:",
            &["  file", "  null", "  pipe", "  pty", "  socket", "  stdio"],
        ),
        "display" => lines("Available display backend types:", &["none"]),
        "d" => lines(
            "Log items (comma separated):",
            &[
                "exec       each instruction",
                "in_asm     code as it is decoded",
                "int        interrupts, exceptions, SMI and RSM",
                "vmexit     VM exits",
            ],
        ),
        _ => return None,
    })
}
