//! What `info` prints, and registers by name.

use super::{Control, Target};
use platform::machine::{Machine, Mapping};
use std::fmt::Write;

/// Lines that a list has at most.
const LINES: usize = 10_000;

/// The subcommands of `info`, for its help.
pub(super) const HELP: &str = "\
info cpus -- the processors
info lapic -- the local APIC
info mem -- ranges of linear addresses and their rights
info mtree -- addresses of the devices
info qtree -- the devices
info registers [-a] -- the registers, of all processors
info snapshots -- snapshots that were written
info status -- whether the machine runs
info tlb -- mappings of linear addresses
info version -- the version
";

/// `info`.
pub(super) fn info(
    text: &str,
    processor: usize,
    control: &Control,
    target: &mut dyn Target,
) -> Result<String, String> {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(match name {
        "" => HELP.into(),
        "registers" if rest.trim() == "-a" => {
            let count = target.machine().processors().count();
            (0..count).map(|n| registers(target, n)).collect::<Vec<_>>().join("\n")
        }
        "registers" => registers(target, processor),
        "cpus" => cpus(target, processor),
        "lapic" => lapic(target.machine(), processor),
        "mem" => ranges(target.machine(), processor),
        "tlb" => mappings(target.machine(), processor),
        "mtree" => map(target.machine()),
        "qtree" => devices(target.machine()),
        "snapshots" if control.saved.is_empty() => "There is no snapshot available.\n".into(),
        "snapshots" => control.saved.iter().map(|name| format!("{name}\n")).collect(),
        "status" => format!("VM status: {}\n", control.status()),
        "version" => format!("8.2.0 (Strata {})\n", env!("CARGO_PKG_VERSION")),
        _ => return Err(format!("unknown command: 'info {name}'")),
    })
}

/// Names of the general-purpose registers in the order of their numbers.
const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
/// The order in which they are shown.
const SHOWN: [usize; 16] = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
/// Segment registers by number.
const SEGMENTS: [&str; 6] = ["ES", "CS", "SS", "DS", "FS", "GS"];

/// A register by its name.
pub(super) fn register(machine: &Machine, processor: usize, name: &str) -> Option<u64> {
    let cpu = machine.processors().nth(processor)?;
    let state = cpu.save();
    let general = NAMES.iter().position(|known| *known == name).map(|n| state.regs[n]);
    let low = || {
        let wide = format!("r{}", name.strip_prefix('e')?);
        NAMES.iter().position(|known| *known == wide).map(|n| state.regs[n] & 0xFFFF_FFFF)
    };
    let system = || match name {
        "rip" | "pc" => Some(state.rip),
        "eip" => Some(state.rip & 0xFFFF_FFFF),
        "rflags" | "eflags" => Some(cpu.rflags()),
        "cr0" => Some(state.sys.cr0),
        "cr2" => Some(state.sys.cr2),
        "cr3" => Some(state.sys.cr3),
        "cr4" => Some(state.sys.cr4),
        "efer" => Some(state.sys.efer),
        _ => None,
    };
    let segment = || {
        let number = SEGMENTS.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        Some(state.sys.seg[number].selector.into())
    };
    general.or_else(low).or_else(system).or_else(segment)
}

/// `info registers`, in QEMU's form.
fn registers(target: &mut dyn Target, processor: usize) -> String {
    let level = target.level(processor);
    let machine = target.machine();
    let Some(cpu) = machine.processors().nth(processor) else { return String::new() };
    let state = cpu.save();
    let s = &state.sys;
    let mut out = format!("CPU#{processor} ({level})\n");
    for (n, register) in SHOWN.into_iter().enumerate() {
        let end = if n % 4 == 3 { '\n' } else { ' ' };
        let name = NAMES[register].to_uppercase();
        _ = write!(out, "{name:<3}={:016x}{end}", state.regs[register]);
    }
    let halted = u8::from(format!("{:?}", s.activity) != "Active");
    let (smm, flags) = (u8::from(s.smm.active), cpu.rflags());
    let cpl = s.cpl;
    _ = writeln!(
        out,
        "RIP={:016x} RFL={flags:08x} [{}] CPL={cpl} II={} A20=1 SMM={smm} HLT={halted}",
        state.rip,
        letters(flags),
        u8::from(s.sti_shadow || s.ss_shadow)
    );
    let rows = SEGMENTS.iter().zip(&s.seg).chain([(&"LDT", &s.ldtr), (&"TR", &s.tr)]);
    for (name, segment) in rows {
        _ = writeln!(
            out,
            "{name:<3}={:04x} {:016x} {:08x} {:08x} DPL={}",
            segment.selector,
            segment.base,
            segment.limit,
            segment.ar << 8,
            segment.dpl()
        );
    }
    for (name, table) in [("GDT", s.gdtr), ("IDT", s.idtr)] {
        _ = writeln!(out, "{name}=     {:016x} {:08x}", table.base, table.limit);
    }
    _ = writeln!(out, "CR0={:08x} CR2={:016x} CR3={:016x} CR4={:08x}", s.cr0, s.cr2, s.cr3, s.cr4);
    for (n, value) in s.dr.iter().enumerate() {
        _ = write!(out, "DR{n}={value:016x}{}", if n == 3 { '\n' } else { ' ' });
    }
    _ = writeln!(out, "DR6={:016x} DR7={:016x}", s.dr6, s.dr7);
    _ = writeln!(out, "EFER={:016x}", s.efer);
    out
}

/// The flags that are set, as QEMU shows them.
fn letters(flags: u64) -> String {
    let bits = [(10, 'D'), (11, 'O'), (7, 'S'), (6, 'Z'), (4, 'A'), (2, 'P'), (0, 'C')];
    bits.iter().map(|(bit, letter)| if flags >> bit & 1 != 0 { *letter } else { '-' }).collect()
}

fn cpus(target: &mut dyn Target, chosen: usize) -> String {
    let count = target.machine().processors().count();
    let mut line = |n: usize| {
        let (mark, level) = (if n == chosen { '*' } else { ' ' }, target.level(n));
        format!("{mark} CPU #{n}: thread_id={} ({level})\n", std::process::id())
    };
    (0..count).map(&mut line).collect()
}

/// The local APIC as it is saved.
fn lapic(machine: &Machine, processor: usize) -> String {
    let Some(cpu) = machine.processors().nth(processor) else { return String::new() };
    let fields = serde_json::to_value(&cpu.save().apic).unwrap_or_default();
    let number = |value: &serde_json::Value| match value.as_u64() {
        Some(number) => format!("{number:#x}"),
        None => value.to_string(),
    };
    let line = |(name, value): (&String, &serde_json::Value)| {
        let value = match value.as_array() {
            Some(values) => values.iter().map(number).collect::<Vec<_>>().join(" "),
            None => number(value),
        };
        format!("{name:<12} {value}\n")
    };
    let lines: String = fields.as_object().into_iter().flatten().map(line).collect();
    format!("dumping local APIC state for CPU {processor}\n{lines}")
}

/// `info tlb`: the mappings in the paging structures.
fn mappings(machine: &Machine, processor: usize) -> String {
    let mut out = String::new();
    let mut lines = 0;
    let flags =
        [(63, 'X'), (8, 'G'), (7, 'P'), (6, 'D'), (5, 'A'), (4, 'C'), (3, 'T'), (2, 'U'), (1, 'W')];
    machine.mappings(processor, &mut |mapping| {
        let Mapping { linear, physical, entry, .. } = mapping;
        let letters: String =
            flags.iter().map(|(bit, c)| if entry >> bit & 1 != 0 { *c } else { '-' }).collect();
        _ = writeln!(out, "{linear:016x}: {physical:016x} {letters}");
        lines += 1;
        lines < LINES
    });
    if out.is_empty() { "PG disabled\n".into() } else { out }
}

/// `info mem`: ranges of the same rights.
fn ranges(machine: &Machine, processor: usize) -> String {
    let mut ranges: Vec<(u64, u64, bool, bool)> = Vec::new();
    machine.mappings(processor, &mut |mapping| {
        let Mapping { linear, size, writable, user, .. } = *mapping;
        match ranges.last_mut() {
            Some(last) if last.1 == linear && (last.2, last.3) == (user, writable) => {
                last.1 = linear.wrapping_add(size);
            }
            _ => ranges.push((linear, linear.wrapping_add(size), user, writable)),
        }
        ranges.len() < LINES
    });
    if ranges.is_empty() {
        return "PG disabled\n".into();
    }
    let line = |(from, to, user, writable): &(u64, u64, bool, bool)| {
        let letter = |set: bool, letter: char| if set { letter } else { '-' };
        let rights = [letter(*user, 'u'), 'r', letter(*writable, 'w')];
        let size = to.wrapping_sub(*from);
        format!("{from:016x}-{to:016x} {size:016x} {}\n", rights.iter().collect::<String>())
    };
    ranges.iter().map(line).collect()
}

/// `info mtree`.
fn map(machine: &Machine) -> String {
    let (mut io, mut memory) = ("I/O\n".to_owned(), "memory\n".to_owned());
    for (port, base, length, name) in machine.board().map() {
        let to = base + length.saturating_sub(1);
        _ = writeln!(if port { &mut io } else { &mut memory }, "  {base:016x}-{to:016x} {name}");
    }
    memory + &io
}

/// `info qtree`.
fn devices(machine: &Machine) -> String {
    let mut names: Vec<_> = machine.board().map().map(|(_, _, _, name)| name).collect();
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| format!("dev: {name}\n")).collect()
}
