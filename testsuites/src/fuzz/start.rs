//! The registers that an input starts with: real, virtual-8086, 16- and 32-bit protected, compatibility
//! and 64-bit mode, at any privilege level, with any control bits that go together.

use super::memory::{
    self, CODE, DATA, DESCRIPTORS, GDT, IDT, Image, LDT, PD32, PDPT32, PML4, SMI, STACKS, TSS,
};
use super::{Input, model, virtual_machine};
use cpu::state::fpu::F80;
use cpu::state::{Apic, Fpu, Segment, Smram, TableRegister, Vmx, ar, seg};
use cpu::{Cpu, feature};

/// Modes of operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Real,
    V86,
    Protected16,
    Protected32,
    Compatibility,
    Long,
}

const MODES: [Mode; 8] = [
    Mode::Long,
    Mode::Protected32,
    Mode::Real,
    Mode::V86,
    Mode::Protected16,
    Mode::Compatibility,
    Mode::Long,
    Mode::Protected32,
];

/// Makes of `cpu` and `image` what `input` describes.
pub(super) fn build(input: &mut Input, cpu: &mut Cpu, image: &mut Image) {
    cpu.reset();
    (cpu.state.fpu, cpu.state.apic, cpu.state.vmx) = (Fpu::default(), Apic::new(0), Vmx::default());
    cpu.state.model = model(input.knob(0));
    let mut mode = MODES[input.knob(1) as usize % MODES.len()];
    if matches!(mode, Mode::Long | Mode::Compatibility) && !cpu.state.model.has(feature::LM) {
        mode = Mode::Protected32;
    }
    let vmx = mode == Mode::Long && input.knob(2) & 1 != 0 && cpu.state.model.has(feature::VMX);
    let long = matches!(mode, Mode::Long | Mode::Compatibility);
    memory::build(input, image, long);
    let cpl = match mode {
        Mode::Real => 0,
        Mode::V86 => 3,
        _ if vmx => 0,
        _ => [0, 3, 0, 3, 1, 0, 3, 2][input.knob(3) as usize % 8],
    };
    control(input, cpu, mode);
    tables(input, cpu, mode);
    segments(input, cpu, mode, cpl);
    registers(input, cpu, mode);
    floating(input, cpu);
    model_specific(input, cpu);
    if vmx {
        virtual_machine::enter(input, cpu, image);
    }
    // Last, so that what an input was before there were SMIs it still is.
    management(input, cpu, image);
}

/// An SMI at the start or by a write to a port, a handler that changes some of the save area and
/// resumes, or is the code; system-management RAM seen or not.
fn management(input: &mut Input, cpu: &mut Cpu, image: &mut Image) {
    memory::smi_handler(input, image);
    let smm = &mut cpu.state.sys.smm;
    smm.base = if input.once_in(8) { CODE } else { SMI } as u32 - 0x8000;
    smm.pending = input.knob(15) & 0xe0 == 0xe0;
    let bits = input.random();
    smm.smram = Smram { enabled: bits & 3 != 0, open: bits & 0xc == 0, closed: bits & 0x30 == 0 };
}

/// CR0, CR3, CR4, EFER, XCR0, debug registers. Knobs turn single bits.
fn control(input: &mut Input, cpu: &mut Cpu, mode: Mode) {
    let long = matches!(mode, Mode::Long | Mode::Compatibility);
    let has = |f| cpu.state.model.has(f);
    let mut cr4 = u64::from(input.wide_knob(4)) | u64::from(input.knob(6)) << 16;
    // OSFXSR, OSXMMEXCPT and OSXSAVE are on, most of the time.
    cr4 |= if input.once_in(8) { 0 } else { 0x4_0600 };
    cr4 &= cpu.state.model.cr4_bits() & !0x2000;
    if long {
        cr4 |= 0x20;
    } else {
        cr4 &= !(1 << 17);
    }
    let paging = long || mode != Mode::Real && input.knob(7) & 1 != 0;
    let mut cr0 = 0x10 | u64::from(mode != Mode::Real) | u64::from(paging) << 31;
    let bits = u64::from(input.knob(8));
    cr0 |= (bits & 7) << 16 & 0x5_0000 | bits >> 3 & 2 | (bits >> 5 & 1) << 5;
    cr0 |= if bits >> 6 == 3 { 1 << 3 } else { 0 } | if bits == 0x55 { 1 << 2 } else { 0 };
    let nx = has(feature::NX) && bits & 8 != 0;
    let syscall = u64::from(has(feature::LM) && bits & 0x10 != 0);
    cpu.state.sys.efer =
        syscall | u64::from(long) << 8 | u64::from(long) << 10 | u64::from(nx) << 11;
    cpu.state.sys.cr0 = cr0;
    cpu.state.sys.cr4 = cr4;
    cpu.state.sys.cr3 = match (long, cr4 & 0x20 != 0) {
        (true, _) => PML4,
        (false, true) => PDPT32,
        (false, false) => PD32,
    };
    if paging && !long && cr4 & 0x20 != 0 {
        cpu.state.sys.pdpte = [0x3001, 0x3001, 0x3001, 0x5001];
    }
    if cr4 & 1 << 18 != 0 {
        cpu.state.sys.xcr0 = if has(feature::AVX) { input.pick(&[7, 7, 7, 3, 1]) } else { 3 };
    }
    if input.knob(9) & 0xe0 == 0xe0 {
        cpu.state.sys.dr = [CODE + input.below(64), DATA + input.below(64), input.value(), STACKS];
        cpu.state.sys.dr7 = 0x400 | input.random() & 0xffff_23ff;
    }
}

fn tables(input: &mut Input, cpu: &mut Cpu, mode: Mode) {
    let long = matches!(mode, Mode::Long | Mode::Compatibility);
    cpu.state.sys.gdtr = TableRegister { base: GDT, limit: DESCRIPTORS as u16 * 8 - 1 };
    cpu.state.sys.idtr = match mode {
        Mode::Real => TableRegister { base: 0, limit: 0x3ff },
        _ if long => TableRegister { base: IDT, limit: 0xfff },
        _ => TableRegister { base: IDT, limit: 0x7ff },
    };
    if input.once_in(32) {
        cpu.state.sys.idtr.limit = input.below(0x400) as u16;
    }
    if mode != Mode::Real {
        let kind = if long || !input.once_in(16) { 11 } else { 3 };
        cpu.state.sys.tr = Segment { selector: 0x28, ar: ar::P | kind, limit: 0xfff, base: TSS };
        cpu.state.sys.ldtr = Segment { selector: 0x40, ar: ar::P | 2, limit: 0x1ff, base: LDT };
    }
}

fn segments(input: &mut Input, cpu: &mut Cpu, mode: Mode, cpl: u8) {
    let rights = ar::P | ar::S | ar::RW | ar::ACCESSED | u32::from(cpl) << ar::DPL_SHIFT;
    let rpl = u16::from(cpl);
    let (code, big) = match mode {
        Mode::Real | Mode::V86 => (0, 0),
        Mode::Protected16 => (0, 0),
        Mode::Protected32 | Mode::Compatibility => (ar::DB, ar::DB),
        Mode::Long => (ar::L, ar::DB),
    };
    let flat = Segment { selector: 0x10 | rpl, ar: rights | big | ar::G, limit: u32::MAX, base: 0 };
    for s in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
        let g = match mode {
            Mode::Real | Mode::V86 => real(input, rights, s),
            Mode::Long => Segment { base: long_base(input, s), ..flat },
            _ => legacy(input, flat, s),
        };
        cpu.set_segment(s, g);
    }
    let cs = match mode {
        Mode::Real | Mode::V86 => {
            let base = CODE;
            Segment {
                selector: (base >> 4) as u16,
                ar: rights | (ar::CODE * u32::from(mode == Mode::Real)),
                limit: 0xffff,
                base,
            }
        }
        Mode::Protected16 => {
            Segment { selector: 0x48 | rpl, ar: rights | ar::CODE, limit: 0xffff, base: CODE }
        }
        _ => Segment { selector: 8 | rpl, ar: rights | ar::CODE | code | ar::G, ..flat },
    };
    cpu.set_segment(seg::CS, cs);
    cpu.state.rip = CODE - cs.base + u64::from(input.knob(10)) * u64::from(input.knob(11) & 1);
    cpu.set_cpl(cpl);
}

/// A segment of real or virtual-8086 mode.
fn real(input: &mut Input, rights: u32, s: usize) -> Segment {
    let base = if s == seg::SS { STACKS } else { input.pick(&[0, DATA, DATA, 0x9_fff0, 0xf_fff0]) };
    Segment { selector: (base >> 4) as u16, ar: rights, limit: 0xffff, base }
}

fn long_base(input: &mut Input, s: usize) -> u64 {
    if s < seg::FS {
        return 0;
    }
    let base = input.pick(&[0, 0, DATA, 0xffff_8000_0000_0000, 0x7fff_ffff_f000]);
    base.wrapping_add(input.below(64))
}

/// A data segment of protected mode: flat, or with a base, a limit, a type.
fn legacy(input: &mut Input, flat: Segment, s: usize) -> Segment {
    if input.knob(11) & 2 == 0 || s == seg::SS && input.knob(11) & 4 == 0 {
        return flat;
    }
    let mut g = flat;
    match input.below(6) {
        0 => g.base = input.value() & 0xffff_ffff,
        1 => g.limit = input.value() as u32 | 0xfff,
        2 => (g.ar, g.limit) = (g.ar & !ar::G | ar::DC, input.below(0x2_0000) as u32),
        3 if s != seg::SS => g.ar &= !ar::RW,
        4 if s != seg::SS => g = Segment { selector: 0, ar: ar::UNUSABLE, limit: 0, base: 0 },
        _ => g.ar ^= ar::DB,
    }
    g
}

fn registers(input: &mut Input, cpu: &mut Cpu, mode: Mode) {
    for n in 0..16 {
        let wide = input.value();
        cpu.state.regs[n] = if mode == Mode::Long { wide } else { wide & 0xffff_ffff };
    }
    let inside = matches!(mode, Mode::Real | Mode::V86);
    cpu.state.regs[4] = if inside { 0x800 } else { STACKS + 0x800 } + 8 * input.below(0x80);
    let mut flags = 2 | u64::from(input.wide_knob(12)) & 0xed5;
    if input.knob(14) & 0xf0 == 0xf0 {
        flags |= 0x100;
    }
    flags |= u64::from(input.knob(14) & 3) << 12 | u64::from(input.knob(14) & 4) << 16;
    flags |= u64::from(input.knob(14) & 8) << 18 | u64::from(input.knob(13) >> 7) << 14;
    if mode == Mode::V86 {
        flags |= 1 << 17 | u64::from(input.knob(15) & 3) << 19;
    }
    if mode == Mode::Long {
        flags &= !(1 << 14);
    }
    cpu.set_rflags(flags);
}

fn floating(input: &mut Input, cpu: &mut Cpu) {
    for n in 0..16 {
        cpu.state.fpu.xmm[n] = u128::from(element(input)) << 64 | u128::from(element(input));
        if cpu.state.model.has(feature::AVX) {
            cpu.state.fpu.upper[n] = u128::from(element(input)) << 64 | u128::from(element(input));
        }
    }
    let masked = !input.once_in(4);
    cpu.state.fpu.mxcsr = input.random() as u32 & 0xe03f | if masked { 0x1f80 } else { 0 };
    for n in 0..8 {
        let se = input.pick(&[0, 0x3fff, 0x7fff, 0xffff, 0x8000, 1, 0x4003, 0xbffe]);
        let v = F80 { m: input.value() | 1 << 63, se };
        cpu.state.fpu.set_value(n, v);
    }
    cpu.state.fpu.set_tags(input.random() as u8);
    cpu.state.fpu.cw = input.random() as u16 & 0xf00 | if masked { 0x7f } else { 0x40 };
    cpu.state.fpu.sw.set(input.random() as u16 & 0x3800);
}

/// Two floats, a double, or integers.
fn element(input: &mut Input) -> u64 {
    let float = |input: &mut Input| {
        let all =
            [0u32, 0x3f80_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001, 1, 0xc2f7_0000];
        u64::from(input.pick(&all))
    };
    match input.below(4) {
        0 => float(input) << 32 | float(input),
        1 => input.pick(&[
            0x3ff0 << 48,
            0x7ff0 << 48,
            0x7ff8 << 48,
            0x7ff0 << 48 | 1,
            1,
            0xc008 << 48,
        ]),
        _ => input.value(),
    }
}

fn model_specific(input: &mut Input, cpu: &mut Cpu) {
    let m = &mut cpu.state.sys.msr;
    m.star = 0x0008_0008 << 32 | CODE;
    (m.lstar, m.cstar) = (CODE + input.below(0x400), CODE + input.below(0x400));
    m.sfmask = input.random() & 0x4_7700;
    (m.sysenter_cs, m.sysenter_eip) = (8, CODE + input.below(0x400));
    m.sysenter_esp = STACKS + 0xf00;
    m.feature_control = if input.once_in(2) { 5 } else { 0 };
    cpu.state.sys.random = input.random();
    cpu.state.apic.svr = 0x1ff;
}

/// Makes `to` what `from` is: everything architectural. What it caches is another machine's.
pub(super) fn copy(from: &Cpu, to: &mut Cpu) {
    to.restore(from.save());
    to.stats = Default::default();
}
