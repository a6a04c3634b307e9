//! What an exit is about, by its qualification and the guest's registers. SDM vol. 3, "Exit Qualification for …".

use super::{Exit, xen};

/// Basic exit reasons whose details are told.
const VMCALL: u32 = 18;
const CR_ACCESS: u32 = 28;
const MOV_DR: u32 = 29;
const IO: u32 = 30;
const RDMSR: u32 = 31;
const WRMSR: u32 = 32;
const EPT_VIOLATION: u32 = 48;
const EPT_MISCONFIG: u32 = 49;

/// General-purpose registers by number.
const REGISTERS: [&str; 16] = [
    "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13",
    "R14", "R15",
];

/// Names and values; with `xen` calls have the names of Xen's.
pub(super) fn details(exit: &Exit, xen: bool) -> Vec<(&'static str, String)> {
    let hex = |value: u64| format!("{value:#x}");
    let q = exit.qualification;
    match exit.reason & 0xFFFF {
        VMCALL => match xen::hypercall(exit.rax).filter(|_| xen) {
            Some(name) => vec![("hypercall", name.into())],
            None => vec![("rax", hex(exit.rax))],
        },
        CR_ACCESS => control_register(q),
        MOV_DR => {
            let way = if q >> 4 & 1 == 0 { "write" } else { "read" };
            vec![("register", format!("DR{}", q & 7)), ("access", way.into())]
        }
        IO => {
            let way = if q >> 3 & 1 == 0 { "write" } else { "read" };
            let size = (q & 7) + 1;
            vec![
                ("port", hex(q >> 16 & 0xFFFF)),
                ("access", way.into()),
                ("bytes", size.to_string()),
            ]
        }
        RDMSR | WRMSR => vec![("msr", hex(exit.rcx & 0xFFFF_FFFF))],
        EPT_VIOLATION => vec![("gpa", hex(exit.physical)), ("access", ept_access(q))],
        EPT_MISCONFIG => vec![("gpa", hex(exit.physical))],
        _ if q != 0 => vec![("qualification", hex(q))],
        _ => Vec::new(),
    }
}

fn control_register(q: u64) -> Vec<(&'static str, String)> {
    let register = format!("CR{}", q & 15);
    let way = match q >> 4 & 3 {
        0 => "write",
        1 => "read",
        2 => return vec![("access", "CLTS".into())],
        _ => return vec![("access", "LMSW".into())],
    };
    let operand = REGISTERS[(q >> 8 & 15) as usize];
    vec![("register", register), ("access", way.into()), ("operand", operand.into())]
}

/// What the access was, and what the entries of the EPT structures together permit.
fn ept_access(q: u64) -> String {
    let accesses = [(0, "read"), (1, "write"), (2, "fetch")];
    let named: Vec<_> =
        accesses.iter().filter(|(bit, _)| q >> bit & 1 != 0).map(|(_, name)| *name).collect();
    let permitted = if q >> 3 & 7 == 0 { ", not mapped" } else { "" };
    format!("{}{permitted}", named.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: u32, qualification: u64, expect: &str) {
        let exit = Exit {
            at: 0,
            rip: 0,
            reason,
            qualification,
            physical: 0xFEE0_0020,
            rax: 29,
            rcx: 0x1B,
        };
        let found = details(&exit, true);
        let found: Vec<_> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(found.join(" "), expect);
    }

    #[test]
    fn qualifications() {
        check(VMCALL, 0, "hypercall=sched_op");
        check(CR_ACCESS, 0, "register=CR0 access=write operand=RAX");
        check(CR_ACCESS, 0x313, "register=CR3 access=read operand=RBX");
        check(CR_ACCESS, 0x20, "access=CLTS");
        check(MOV_DR, 0x17, "register=DR7 access=read");
        check(IO, 0x3F8_0000, "port=0x3f8 access=write bytes=1");
        check(IO, 0xCF8_000B, "port=0xcf8 access=read bytes=4");
        check(WRMSR, 0, "msr=0x1b");
        check(EPT_VIOLATION, 0x181, "gpa=0xfee00020 access=read, not mapped");
        check(EPT_VIOLATION, 0x1A, "gpa=0xfee00020 access=write");
        check(10, 0, "");
        check(7, 5, "qualification=0x5");
    }
}
