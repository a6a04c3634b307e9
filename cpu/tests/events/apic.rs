//! The local APIC as programs meet it: reserved bits and missing registers, where the registers lie, IDs,
//! the TSC deadline.

use crate::support::*;
use cpu::bus::{Destination, Message};
use cpu::model::Model;
use cpu::state::Apic;

/// IA32_APIC_BASE of a boot processor whose registers lie over RAM.
const BASE: u64 = 0x1_2000;
const BSP_ENABLED: u64 = 0x900;

fn rig(model: &str) -> Rig {
    let mut r = Rig::new(Long, 0);
    r.cpu.state.model = Model::parse(model).unwrap();
    r.cpu.state.apic = Apic::new(0);
    r
}

/// Code that writes `v` to an MSR.
fn wrmsr(msr: u32, v: u64) -> String {
    format!("mov ecx, {msr}; mov eax, {}; mov edx, {}; wrmsr;", v as u32, v >> 32)
}

/// Code that enters x2APIC mode.
fn x2apic() -> String {
    wrmsr(0x1b, 0xfee0_0d00)
}

/// Whether `code` ends in #GP(0) in x2APIC mode.
#[track_caller]
fn faults(model: &str, code: &str) -> bool {
    let mut r = rig(model);
    r.code(CODE, &format!("{} {code} hlt", x2apic()));
    r.run();
    assert!(matches!(r.vector(), None | Some(GP)), "{:?}", r.vector());
    r.vector().is_some()
}

/// `bits` of x2APIC register `msr` may be written, the others are reserved.
#[track_caller]
fn check_bits(msr: u32, bits: u64) {
    for n in 0..64 {
        let reserved = bits >> n & 1 == 0;
        assert_eq!(faults("default", &wrmsr(msr, 1 << n)), reserved, "{msr:#x} bit {n}");
    }
    assert!(!faults("default", &wrmsr(msr, 0)), "{msr:#x}");
}

#[test]
fn reserved_bits() {
    check_bits(0x808, 0xff);
    check_bits(0x80b, 0);
    check_bits(0x80f, 0x13ff);
    check_bits(0x828, 0);
    check_bits(0x832, 0x7_10ff);
    check_bits(0x833, 0x1_17ff);
    check_bits(0x834, 0x1_17ff);
    check_bits(0x835, 0x1_f7ff);
    check_bits(0x836, 0x1_f7ff);
    check_bits(0x837, 0x1_10ff);
    check_bits(0x838, 0xffff_ffff);
    check_bits(0x83e, 0xb);
    check_bits(0x83f, 0xff);
    // The mode bit that comes with the TSC deadline.
    assert!(faults("default,-tsc-deadline", &wrmsr(0x832, 1 << 18)));
    assert!(!faults("default,-tsc-deadline", &wrmsr(0x832, 1 << 17)));
}

#[test]
fn reserved_bits_of_the_command() {
    // Of a fixed interrupt with vector 40h to nobody.
    for n in 8..32 {
        let reserved = 0xfff3_2000u64 >> n & 1 != 0;
        let v = 0x40 | 1 << n | 7 << 32;
        assert_eq!(faults("default", &wrmsr(0x830, v)), reserved, "bit {n}");
    }
}

#[test]
fn registers_that_are_not_there() {
    // LVT CMCI: the version names six entries, and MCG_CAP has no CMCI_P. ICR's high half and DFR are gone.
    for msr in [0x80e, 0x82f, 0x831, 0x840, 0x801] {
        assert!(faults("default", &format!("mov ecx, {msr}; rdmsr;")), "{msr:#x}");
        assert!(faults("default", &wrmsr(msr, 0)), "{msr:#x}");
    }
    for read_only in [0x802, 0x803, 0x80a, 0x80d, 0x810, 0x818, 0x820, 0x839] {
        assert!(!faults("default", &format!("mov ecx, {read_only}; rdmsr;")), "{read_only:#x}");
        assert!(faults("default", &wrmsr(read_only, 0)), "{read_only:#x}");
    }
    for write_only in [0x80b, 0x83f] {
        assert!(faults("default", &format!("mov ecx, {write_only}; rdmsr;")), "{write_only:#x}");
    }
    let mut r = rig("default");
    r.code(CODE, &format!("{} mov ecx, 0x803; rdmsr; hlt", x2apic()));
    r.run();
    assert_eq!(r.reg(gpr::RAX) >> 16 & 0xff, 5, "Max LVT Entry");
}

/// The same in xAPIC mode, where the error status tells.
#[test]
fn illegal_registers() {
    let status = |code: String| {
        let mut r = rig("default");
        let at = |offset: u64| BASE + offset;
        let write = format!("mov dword [{}], 0; mov eax, [{}];", at(0x280), at(0x280));
        r.code(CODE, &format!("{} {code} {write} hlt", wrmsr(0x1b, BASE | BSP_ENABLED)));
        r.run();
        assert_eq!(r.vector(), None);
        r.reg(gpr::RAX)
    };
    for offset in [0x2f0, 0x40, 0x3f0] {
        assert_eq!(status(format!("mov eax, [{}];", BASE + offset)), 0x80, "{offset:#x}");
        assert_eq!(status(format!("mov dword [{}], 0;", BASE + offset)), 0x80, "{offset:#x}");
    }
    // A register that can only be read is one.
    for offset in [0x30, 0xa0, 0x100, 0x390] {
        assert_eq!(status(format!("mov dword [{}], 0;", BASE + offset)), 0, "{offset:#x}");
    }
}

/// Where the registers lie, they hide RAM, for this processor's loads and stores.
#[test]
fn registers_over_ram() {
    let mut r = rig("default");
    r.put(BASE + 0x80, &0x1234u32.to_le_bytes());
    let there = [BASE + 0x80, BASE + 0x30, BASE + 0x1000];
    let code = [
        // Cached as RAM first.
        format!("mov ebp, [{}]; mov [{}], ebp;", there[0], there[0]),
        wrmsr(0x1b, BASE | BSP_ENABLED),
        format!("mov dword [{}], 0x30; mov ebx, [{}];", there[0], there[0]),
        format!("mov esi, {}; lodsd; mov r8d, eax; mov r9d, [{}];", there[1], there[2]),
        wrmsr(0x1b, 0xfee0_0900),
        format!("mov edi, [{}]; hlt", there[0]),
    ];
    r.code(CODE, &code.concat());
    r.run();
    assert_eq!(r.vector(), None);
    assert_eq!((r.reg(gpr::RBP), r.reg(gpr::RBX)), (0x1234, 0x30));
    assert_eq!((r.reg(8), r.reg(9)), (0x0105_0015, 0), "version, and RAM beside the registers");
    assert_eq!(r.reg(gpr::RDI), 0x1234, "the RAM has kept its contents");
    assert_eq!(r.cpu.state.apic.tpr, 0x30);
}

#[test]
fn the_id_of_xapic_mode_can_be_written() {
    let is_named = |r: &Rig, id: u32| {
        let destination = Destination::Physical(id);
        let m = Message { destination, delivery: 0, vector: 0x40, level: false, source: 1 };
        r.cpu.is_destination(&m)
    };
    let mut r = rig("default");
    let id = BASE + 0x20;
    r.code(
        CODE,
        &format!(
            "{} mov dword [{id}], 0x05ffffff; mov ebx, [{id}]; hlt; {} mov ecx, 0x802; rdmsr; hlt",
            wrmsr(0x1b, BASE | BSP_ENABLED),
            wrmsr(0x1b, BASE | BSP_ENABLED | 0x400),
        ),
    );
    r.run();
    assert_eq!(r.reg(gpr::RBX), 0x0500_0000);
    assert_eq!((is_named(&r, 5), is_named(&r, 0), is_named(&r, 0xff)), (true, false, true));
    assert_eq!(r.cpu.cpuid(1, 0)[1] >> 24, 0, "CPUID shows the first one");
    r.cpu.state.sys.activity = cpu::state::Activity::Active;
    r.run();
    assert_eq!(r.reg(gpr::RAX), 0, "x2APIC mode has the first one");
    assert_eq!((is_named(&r, 5), is_named(&r, 0)), (false, true));
    // Off and on again, it is as after power-up.
    let mut r = rig("default");
    let off = format!("{} {}", wrmsr(0x1b, BASE | 0x100), wrmsr(0x1b, BASE | BSP_ENABLED));
    let on = wrmsr(0x1b, BASE | BSP_ENABLED);
    r.code(CODE, &format!("{on} mov dword [{id}], 0x05000000; {off} mov ebx, [{id}]; hlt"));
    r.run();
    assert_eq!(r.reg(gpr::RBX), 0);
}

/// A deadline `v` where the TSC stands at about `tsc`: instructions to the interrupt, if it comes.
#[track_caller]
fn check_deadline(tsc: u64, v: u64, then: Option<u64>) {
    let mut r = rig("default");
    r.cpu.state.sys.tsc_offset = tsc;
    let code = [x2apic(), wrmsr(0x832, 0x4_0040), wrmsr(0x6e0, v), "hlt".to_owned()];
    r.code(CODE, &code.concat());
    r.slice(12);
    let fires = r.cpu.state.apic.deadline();
    // The twelfth instruction writes.
    assert_eq!(fires, then.map_or(u64::MAX, |n| 11 + n), "{v:#x} at {tsc:#x}");
}

#[test]
fn deadlines() {
    // Two ticks an instruction.
    let now = 22;
    let after = |ticks: u64| Some(ticks.div_ceil(2));
    check_deadline(0, now + 100, after(100));
    check_deadline(0, now + 101, after(101));
    check_deadline(0, 1, Some(0));
    check_deadline(0, 0, None);
    check_deadline(0, 1 << 63, after((1 << 63) - now));
    check_deadline(0, u64::MAX >> 1, after((u64::MAX >> 1) - now));
    check_deadline(1 << 40, u64::MAX, after(u64::MAX - (1 << 40) - now));
    check_deadline(0, u64::MAX, after(u64::MAX - now));
    // Near the end of the TSC, small deadlines are past.
    check_deadline(u64::MAX - 1000, 5, Some(0));
    check_deadline(u64::MAX - 1000, u64::MAX, after(1000 - now));
}
